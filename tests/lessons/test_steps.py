"""Pictures in steps: what a reader without scripts, and one with a screen reader, is given."""

import base64
import io
import json
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from shutil import which

import pytest

from tinymixer.lessons.pictures import new_figure
from tinymixer.lessons.steps import show_steps, show_still

IPython_display = pytest.importorskip("IPython.display", reason="IPython is not installed: pip install -e '.[dev]'")
NOTEBOOK = Path(__file__).parents[2] / "lessons" / "solutions" / "01b_chain_rule.ipynb"
NODE = which("node")
PAGE = """
class Element {
  constructor(tag) { Object.assign(this, {tag, children: [], style: {}, dataset: {}, attributes: {}, heard: {}}); }
  setAttribute(name, value) { this.attributes[name] = value; }
  addEventListener(name, call) { this.heard[name] = call; }
  append(...parts) { this.children.push(...parts); }
  prepend(...parts) { this.children.unshift(...parts); }
  after(part) { this.next = part; }
}
const picture = new Element("img"), box = new Element("div");
box.querySelector = () => picture;
box.querySelectorAll = () => ["first <", "second"].map((textContent) => ({textContent}));
globalThis.document = {querySelectorAll: () => [box], createElement: (tag) => new Element(tag)};
SCRIPT
const [back, , slider, , next] = box.children[0].children;
const seen = [picture.alt];
next.heard.click(); seen.push(picture.alt, picture.next.textContent);
next.heard.click(); seen.push(slider.value);
slider.value = 0; slider.heard.input(); seen.push(picture.alt);
back.heard.click(); seen.push(slider.attributes["aria-valuetext"]);
console.log(JSON.stringify(seen));
"""


def shown(monkeypatch, function, *arguments, **keywords):
    given = []
    monkeypatch.setattr(IPython_display, "display", lambda data, **_: given.append(data))
    function(*arguments, **keywords)
    assert len(given) == 1
    return given[0]


def small_figure():
    figure, axis = new_figure(width=1, height=1)
    axis.plot([0, 1], label="line")
    axis.legend()
    return figure


class Reader(HTMLParser):
    """The tags, attributes and texts of some HTML, without what is inside a script."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts, self._inside = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("img", "input"):
            self._inside.append(tag)

    def handle_endtag(self, tag):
        assert self._inside.pop() == tag

    def handle_data(self, data):
        if self._inside[-1:] != ["script"] and data.strip():
            self.texts.append(data)


def test_a_still_is_an_image_with_its_text(monkeypatch):
    data = shown(monkeypatch, show_still, small_figure(), alt='a < b & "c"')
    (tag, attributes), *others = Reader(data["text/html"]).tags
    assert (tag, others) == ("img", [])
    assert attributes["alt"] == data["text/plain"] == 'a < b & "c"'
    png = base64.b64decode(attributes["src"].removeprefix("data:image/png;base64,"))
    assert png.startswith(b"\x89PNG")


def test_without_scripts_the_last_picture_and_all_steps_in_words_are_left(monkeypatch):
    data = shown(monkeypatch, show_steps, [(small_figure(), "first <"), (small_figure(), "second")], alt="the end")
    read = Reader(data["text/html"])
    assert [attributes["alt"] for tag, attributes in read.tags if tag == "img"] == ["the end"]
    assert read.texts == ["All steps in words", "first <", "second"]
    assert not [attributes for _, attributes in read.tags if "hidden" in attributes or "style" in attributes]


@pytest.mark.skipif(NODE is None, reason="node is not installed: the script of the slider is not run")
def test_the_slider_and_the_buttons_change_picture_and_text(monkeypatch):
    data = shown(monkeypatch, show_steps, [(small_figure(), "first <"), (small_figure(), "second")], alt="the end")
    script = re.search(r"<script>(.*)</script>", data["text/html"], re.DOTALL)[1]
    done = subprocess.run([NODE, "-e", PAGE.replace("SCRIPT", script)], capture_output=True, text=True, check=False)
    assert not done.stderr
    assert json.loads(done.stdout) == ["first <", "second", "2 of 2: second", 1, "first <", "step 1 of 2"]


def test_every_picture_of_the_lesson_reaches_a_screen_reader_as_committed():
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    pages = ["".join(output["data"]["text/html"]) for output in outputs if "data" in output]
    images = [attributes for page in pages for tag, attributes in Reader(page).tags if tag == "img"]
    assert len(images) == len(pages) == 4
    assert all(len(image["alt"]) > 60 for image in images)
    steps = [page for page in pages if "data-steps" in page]
    assert len(steps) == 1
    said = [text for text in Reader(steps[0]).texts if text.startswith(("Put in", "Forward", "Backward"))]
    assert len(said) == 14
    assert said[6] == "Forward: L = e * e = (-1) * (-1) = 1."
    assert said[-1].endswith("x gets -16 times -2, which is 32. Slopes so far: w -48, x 30.")
    printed = "".join("".join(output.get("text", "")) for output in outputs)
    assert "all passed: 24 checks" in printed
    assert "FAIL" not in printed


def test_a_picture_keeps_its_size_when_its_colours_are_fewer(monkeypatch):
    from PIL import Image

    data = shown(monkeypatch, show_still, small_figure(), alt="a line")
    picture = Image.open(io.BytesIO(base64.b64decode(re.search(r"base64,([^\"]+)", data["text/html"])[1])))
    assert picture.size == (100, 100)
    assert picture.convert("RGBA").getpixel((0, 0))[3] == 0  # transparent, for a dark page
