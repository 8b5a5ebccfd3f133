"""Turns the package's docstrings, which are plain text, into what Sphinx reads.

They are written to be read in the source: formulas and tables of names stand in indented or aligned lines, and nothing
is escaped. So that the site shows exactly what stands there,

- a paragraph is a paragraph, with `names` in backticks as code and **bold** as bold;
- indented lines, and paragraphs whose lines are aligned in columns, stay as they are, in a box, but for
  names with their meanings beside them, which become a list;
- lines with ">>>" become examples;
- the files after "See:" become links.
"""

import importlib
import re
from pathlib import Path
from typing import Any, TypeVar

from pages import ROOT, _target

SPECIAL = re.compile(r"([\\*`_|<>\[\]])")
INLINE = re.compile(r"(`[^`]+`|\*\*[^*]+\*\*)")
COLUMNS = re.compile(r"\S(?:   +|  ->  )\S")
NAME = re.compile(r"(\*{0,2}[\w.]+(?:, \*{0,2}[\w.]+)*) {2,}(?!->)(\S.*)")
SEE = re.compile(r"^(?:See: )")


def setup(app: Any) -> dict[str, Any]:
    app.connect("autodoc-process-docstring", _convert)
    app.connect("missing-reference", _type_variable)
    return {"parallel_read_safe": True}


def _convert(app: Any, what: str, name: str, target: Any, options: Any, lines: list[str]) -> None:
    lines[:] = converted(lines)


def _type_variable(app: Any, env: Any, node: Any, text: Any) -> Any:
    """An annotation that names a type variable: a name that has no entry, and needs none."""
    module, _, name = node.get("reftarget", "").rpartition(".")
    if not module.startswith("tinymixer."):
        return None
    try:  # the process that writes pages has not imported what another has read
        found = getattr(importlib.import_module(module), name, None)
    except ImportError:
        return None
    return text if isinstance(found, TypeVar) else None


def converted(lines: list[str]) -> list[str]:
    """The lines of a docstring as reStructuredText."""
    out: list[str] = []
    for block in _blocks(lines):
        kind, content = block
        if kind == "literal":
            margin = min(len(line) - len(line.lstrip()) for line in content if line.strip())
            out += [".. code-block:: text", "", *(f"   {line[margin:]}".rstrip() for line in content), ""]
        elif kind == "names":
            out += [*_names(content), ""]
        elif kind == "example":
            out += [".. code-block:: pycon", "", *(f"   {line}".rstrip() for line in content), ""]
        elif kind == "see":
            out += [_see(" ".join(content)), ""]
        else:
            out += [*(_escaped(line) for line in content), ""]
    return out


def _blocks(lines: list[str]) -> list[tuple[str, list[str]]]:
    """The docstring in blocks: paragraphs between empty lines; indented ones, with the empty lines in them, as one."""
    blocks: list[tuple[str, list[str]]] = []
    for paragraph in _paragraphs(lines):
        kind = _kind(paragraph)
        if (
            blocks
            and kind == blocks[-1][0]
            and kind in ("literal", "example")
            and paragraph[0].startswith((" ", ">>>"))
        ):
            blocks[-1][1].extend(["", *paragraph])
        elif kind == "text" and any(line.startswith(" ") for line in paragraph):
            # A sentence with its formula right below it, without an empty line between.
            for line in paragraph:
                line_kind = "literal" if line.startswith(" ") else "text"
                if blocks and blocks[-1][0] == line_kind and line is not paragraph[0]:
                    blocks[-1][1].append(line)
                else:
                    blocks.append((line_kind, [line]))
        else:
            blocks.append((kind, paragraph))
    return blocks


def _paragraphs(lines: list[str]) -> list[list[str]]:
    found: list[list[str]] = [[]]
    for line in lines:
        if line.strip():
            found[-1].append(line)
        elif found[-1]:
            found.append([])
    return [paragraph for paragraph in found if paragraph]


def _kind(paragraph: list[str]) -> str:
    if paragraph[0].lstrip().startswith(">>>"):
        return "example"
    if SEE.match(paragraph[0]):
        return "see"
    if NAME.match(paragraph[0]) and all(NAME.match(line) or line.startswith("  ") for line in paragraph):
        return "names"
    if all(line.startswith(" ") for line in paragraph) or any(COLUMNS.search(line) for line in paragraph):
        return "literal"
    return "text"


def _names(paragraph: list[str]) -> list[str]:
    """ "rate    the share of zeros" and what follows it, as a list of names and meanings."""
    out = []
    for line in paragraph:
        found = NAME.match(line)
        if found:
            names = ", ".join(f"``{name}``" for name in found[1].split(", "))
            out += [names, f"   {_escaped(found[2])}"]
        else:
            out.append(f"   {_escaped(line.strip())}")
    return out


def _escaped(line: str) -> str:
    """A line of running text: backticks and bold stay what they are, everything else is letters."""
    parts = []
    for part in INLINE.split(line):
        if part.startswith("`") and part.endswith("`") and len(part) > 2:
            parts.append(f"\\ ``{part[1:-1]}``\\ ")
        elif part.startswith("**") and len(part) > 4:
            parts.append("\\ **" + SPECIAL.sub(r"\\\1", part[2:-2]) + "**\\ ")
        else:
            parts.append(SPECIAL.sub(r"\\\1", part))
    text = "".join(parts)
    # A line may begin as a list, a directive or a section would.
    return re.sub(r"^(\s*)([-+.:=#~^]|\d+[.)])(?=\s|\.|:|=|-)", r"\1\\\2", text)


def _see(text: str) -> str:
    """ "See: lessons/05_layer_norm.ipynb, ..." with links: to the site's pages, or to the repository."""

    def link(found: re.Match[str]) -> str:
        path = found[0]
        if not (ROOT / path).exists():
            raise ValueError(f'"{text}" names {path}, which does not exist')
        target = _target(path, Path())
        if target.startswith("http"):
            return f"`{path} <{target}>`__"
        return f":doc:`{path} </{Path(target).with_suffix('').as_posix()}>`"

    return re.sub(r"(?:lessons|docs|tests|tinymixer)/[\w./-]*\w", link, text)
