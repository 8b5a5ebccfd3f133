"""Pictures on the pages that a notebook becomes: the alternative text is there, on each."""

import base64
import importlib.util
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tinymixer.analysis.curves import COLOURS, INK
from tinymixer.lessons.pictures import new_figure, show, with_fewer_colours

IPython_display = pytest.importorskip("IPython.display", reason="IPython is not installed: pip install -e '.[dev]'")
ALT = 'a line that rises: x < y & "z"'
LAB = importlib.util.find_spec("jupyterlab")
LIGHT, DARK = {"white": "#ffffff"}, {"JupyterLab": "#111111", "VS Code": "#1f1f1f", "black": "#000000"}


class Images(HTMLParser):
    """The attributes of every `<img>` of a page."""

    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        if tag == "img":
            self.found.append(dict(attributes))


@pytest.fixture
def output(monkeypatch):
    """What `show` puts into the notebook."""
    shown = []
    monkeypatch.setattr(IPython_display, "display", lambda data, metadata, raw: shown.append((data, metadata)))
    figure, axis = new_figure(width=2, height=1)
    axis.plot([0, 1], label="line")
    axis.legend()
    show(figure, alt=ALT)
    (data, metadata) = shown[0]
    assert len(shown) == 1
    return {"output_type": "display_data", "data": data, "metadata": metadata}


def notebook_with(output):
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed: pip install -e '.[dev]'")
    cell = nbformat.v4.new_code_cell("show(figure)", outputs=[nbformat.from_dict(output)])
    return nbformat.v4.new_notebook(cells=[cell])


def test_one_output_holds_the_image_with_its_text_and_a_fallback(output):
    assert list(output["data"]) == ["text/html", "image/png", "text/plain"]
    (image,) = Images(output["data"]["text/html"]).found
    assert image["alt"] == output["data"]["text/plain"] == output["metadata"]["image/png"]["alt"] == ALT
    sizes = []
    for text in (image["src"].removeprefix("data:image/png;base64,"), output["data"]["image/png"]):
        picture = base64.b64decode(text, validate=True)
        assert picture.startswith(b"\x89PNG")
        sizes.append(len(picture))
    assert sizes[1] < 0.7 * sizes[0]


def test_the_page_of_nbconvert_has_the_text_once(output):
    exporters = pytest.importorskip("nbconvert.exporters", reason="nbconvert is not installed: pip install -e '.[dev]'")
    page, _ = exporters.HTMLExporter().from_notebook_node(notebook_with(output))
    (image,) = Images(page).found
    assert image["alt"] == ALT
    assert image["src"].startswith("data:image/png;base64,")


def test_a_paper_gets_the_picture_itself(output):
    exporters = pytest.importorskip("nbconvert.exporters", reason="nbconvert is not installed: pip install -e '.[dev]'")
    try:
        latex, resources = exporters.LatexExporter().from_notebook_node(notebook_with(output))
    except Exception as error:
        if type(error).__name__ == "PandocMissing":
            pytest.skip("pandoc is not installed: nbconvert cannot write LaTeX")
        raise
    assert "includegraphics" in latex
    assert [name for name in resources["outputs"] if name.endswith(".png")]


@pytest.mark.skipif(not LAB, reason="JupyterLab is not installed in this environment: pip install -e '.[lessons]'")
def test_jupyterlab_keeps_alt_and_a_data_address_of_an_image():
    (bundle,) = Path(LAB.origin).parent.glob("static/jlab_core.*.js")
    code = bundle.read_text(encoding="utf-8")  # its sanitiser's lists, in what its build makes of them
    attributes = re.search(r'\bimg:\["align",.{,200}', code)[0].split("}")[0]
    assert '"alt"' in attributes
    assert '"src"' in attributes
    checked = re.search(r"allowedSchemesAppliedToAttributes:\[(.*?)\]", code)[1]
    assert "src" not in checked


def luminance(colour):
    """Relative luminance as WCAG 2 defines it, of "#rrggbb"."""
    parts = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize(("name", "page"), [*LIGHT.items(), *DARK.items()])
def test_ink_and_colours_stand_out_on_light_and_dark_pages(name, page):
    assert contrast(INK, page) > 3.9, name  # no grey reaches 4.5 both on white and on #1f1f1f: here it is 3.95 and 4.17
    assert min(contrast(colour, page) for colour in COLOURS) > 2.2, name


def test_fewer_colours_keep_size_transparency_and_nearly_the_colours(output):
    import numpy as np
    from PIL import Image

    full = base64.b64decode(re.search(r"base64,([^\"]+)", output["data"]["text/html"])[1])
    pictures = [Image.open(io.BytesIO(content)).convert("RGBA") for content in (full, with_fewer_colours(full))]
    before, after = (np.asarray(picture, dtype=np.float64) for picture in pictures)
    assert before.shape == after.shape == (100, 200, 4)
    assert after[0, 0, 3] == 0
    on_white = [each[..., :3] * each[..., 3:] / 255 + 255 - each[..., 3:] for each in (before, after)]
    assert np.abs(on_white[0] - on_white[1]).max() < 24
