"""Pictures with an `<img alt>`, and pictures in steps: a slider in plain HTML, with a still where scripts do not run.

JupyterLab runs the scripts of cells that the learner has run, and of no others. It also removes SVG and the attribute
`hidden` from other outputs, but leaves `<img alt>` and `<details>`. So the HTML itself is a still with an alternative
text, which a screen reader finds, and the steps in words. The script builds the slider where it runs.
"""

import base64
import hashlib
import html
import io
import json
from collections.abc import Sequence
from typing import Any

from tinymixer.lessons.pictures import DOTS_PER_INCH, quiet_legends

COLOURS_KEPT = 64  # of a picture: lines and texts have few, and an executed notebook has to stay small

# KEY names the box. `data-lm-suppress-shortcuts` tells JupyterLab to leave the arrow keys to the slider.
SCRIPT = """
for (const box of document.querySelectorAll("[data-steps='KEY']")) {
  if (box.dataset.ready) continue;
  box.dataset.ready = "yes";
  const pictures = PICTURES;
  const picture = box.querySelector("img");
  const words = [...box.querySelectorAll("li")].map((item) => item.textContent);
  const controls = document.createElement("div");
  const slider = document.createElement("input");
  Object.assign(slider, {type: "range", min: 0, max: pictures.length - 1, value: 0});
  slider.setAttribute("aria-label", "step");
  slider.style.width = "16em";
  slider.style.verticalAlign = "middle";
  const said = document.createElement("p");
  said.setAttribute("aria-live", "polite");
  said.style.minHeight = "3em";
  const go = (step) => {
    slider.value = Math.min(Math.max(step, 0), pictures.length - 1);
    const now = Number(slider.value);
    picture.src = "data:image/png;base64," + pictures[now];
    picture.alt = words[now];
    slider.setAttribute("aria-valuetext", "step " + (now + 1) + " of " + pictures.length);
    said.textContent = (now + 1) + " of " + pictures.length + ": " + words[now];
  };
  const button = (text, by) => {
    const made = Object.assign(document.createElement("button"), {type: "button", textContent: text});
    made.addEventListener("click", () => go(Number(slider.value) + by));
    return made;
  };
  slider.addEventListener("input", () => go(Number(slider.value)));
  controls.append(button("back", -1), " ", slider, " ", button("next", 1));
  box.prepend(controls);
  picture.after(said);
  go(0);
}
"""


def show_still(figure: Any, alt: str) -> None:
    """Show a Matplotlib figure as an `<img>`. alt: what it shows, for readers who cannot see it."""
    _display(_image(_png(figure), alt), alt)


def show_steps(steps: Sequence[tuple[Any, str]], alt: str) -> None:
    """Show pictures one after the other, with a slider.

    steps  pairs (Matplotlib figure, what happens in this step, in a sentence or two)
    alt    what the last picture shows: it alone is seen where scripts do not run, with all steps in words below it
    """
    pictures = [_png(figure) for figure, _ in steps]
    key = hashlib.sha256("".join(pictures).encode()).hexdigest()[:12]
    words = "".join(f"<li>{html.escape(said)}</li>" for _, said in steps)
    script = SCRIPT.replace("KEY", key).replace("PICTURES", json.dumps(pictures))
    _display(
        f'<div data-steps="{key}" data-lm-suppress-shortcuts="true">{_image(pictures[-1], alt)}'
        f"<details><summary>All steps in words</summary><ol>{words}</ol></details>"
        f"<script>{script}</script></div>",
        alt,
    )


def _display(text: str, alt: str) -> None:
    from IPython.display import display

    display({"text/html": text, "text/plain": alt}, raw=True)


def _image(picture: str, alt: str) -> str:
    return f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{picture}">'


def _png(figure: Any) -> str:
    """A figure as a PNG of few colours, in base64."""
    from PIL import Image  # comes with Matplotlib

    quiet_legends(figure)
    drawn, small = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=DOTS_PER_INCH)
    palette = Image.open(drawn).convert("RGBA").quantize(COLOURS_KEPT, method=Image.Quantize.FASTOCTREE)
    palette.save(small, format="png", optimize=True)
    return base64.b64encode(small.getvalue()).decode("ascii")
