"""Pictures in steps: a slider in plain HTML, with a still where scripts do not run.

JupyterLab runs the scripts of cells that the learner has run, and of no others. It also removes SVG and the attribute
`hidden` from other outputs, but leaves `<img alt>` and `<details>`. So the HTML itself is a still with an alternative
text, which a screen reader finds, and the steps in words. The script builds the slider where it runs.
"""

import base64
import hashlib
import html
import json
from collections.abc import Sequence
from typing import Any

from tinymixer.lessons.pictures import image_element, png_of, show, show_html, with_fewer_colours

COLOURS_KEPT = 64  # of a step's picture: there are many of them, and an executed notebook has to stay small

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


show_still = show  # learners' copies of lesson 01b import it by this name


def show_steps(steps: Sequence[tuple[Any, str]], alt: str) -> None:
    """Show pictures one after the other, with a slider.

    steps  pairs (Matplotlib figure, what happens in this step, in a sentence or two)
    alt    what the last picture shows: it alone is seen where scripts do not run, with all steps in words below it
    """
    pictures = [with_fewer_colours(png_of(figure), COLOURS_KEPT) for figure, _ in steps]
    sources = [base64.b64encode(picture).decode("ascii") for picture in pictures]
    key = hashlib.sha256("".join(sources).encode()).hexdigest()[:12]
    words = "".join(f"<li>{html.escape(said)}</li>" for _, said in steps)
    script = SCRIPT.replace("KEY", key).replace("PICTURES", json.dumps(sources))
    show_html(
        f'<div data-steps="{key}" data-lm-suppress-shortcuts="true">{image_element(pictures[-1], alt)}'
        f"<details><summary>All steps in words</summary><ol>{words}</ol></details>"
        f"<script>{script}</script></div>",
        pictures[-1],
        alt,
    )
