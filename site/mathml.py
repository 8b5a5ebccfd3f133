r"""Formulas as MathML, which browsers show by themselves: no script, no font to fetch, and screen readers read it.

MathML Core, the part that all browsers have, lacks frames, typewriter letters and a few of TeX's commands. Those are
made from what there is. A formula that is not understood stops the build.
"""

import re
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert

SIZED = re.compile(r"\\(?:Big|big|Bigg|bigg)[lr]?\s*(\\[lr](?:floor|ceil))")
FRAME = re.compile(r'<menclose notation="box">(.*?)</menclose>', re.DOTALL)


def setup(app: Any) -> dict[str, Any]:
    app.add_html_math_renderer("mathml", (_inline, None), (_display, None))
    return {"parallel_read_safe": True}


def mathml(formula: str, display: bool = False) -> str:
    """A formula of TeX as MathML. Raises ValueError for one with a command that is not understood."""
    given = SIZED.sub(r"\1", formula.strip())
    text = convert(given, display="block" if display else "inline")
    text = text.replace('mathvariant="monospace"', 'class="typewriter"').replace("negativethinmathspace", "-0.167em")
    text = re.sub(r'(<mtext class="typewriter">)([^<]*)', lambda found: found[1] + found[2].replace("\\_", "_"), text)
    text = FRAME.sub(r'<mrow class="framed">\1</mrow>', text)
    left = re.search(r">\s*(\\[^<]+)<|<merror|<menclose", text)
    if left:
        raise ValueError(f"{left[0]} is not understood in the formula {formula}")
    return text


def _inline(self: Any, node: nodes.math) -> None:
    self.body.append(mathml(node.astext()))
    raise nodes.SkipNode


def _display(self: Any, node: nodes.math_block) -> None:
    self.body.append(f'<div class="math" tabindex="0">{mathml(node.astext(), display=True)}</div>\n')
    raise nodes.SkipNode
