"""Texts for consoles whose encoding lacks some characters."""

from typing import Any

PLAIN = str.maketrans(
    {
        "\N{HEAVY CHECK MARK}": "+",
        "\N{HEAVY BALLOT X}": "x",
        "\N{MIDDLE DOT}": ".",
        "\N{MULTIPLICATION SIGN}": "x",
        "\N{RIGHT SINGLE QUOTATION MARK}": "'",
        "\N{LEFT DOUBLE QUOTATION MARK}": '"',
        "\N{RIGHT DOUBLE QUOTATION MARK}": '"',
        "\N{EN DASH}": "-",
        "\N{HORIZONTAL ELLIPSIS}": "...",
        "\N{RIGHTWARDS ARROW}": "->",
        "\N{MINUS SIGN}": "-",
    }
)


def encodable(text: str, output: Any) -> str:
    """The text as `output` can write it: marks that its encoding lacks become plain ones, other characters "?"."""
    encoding = getattr(output, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except LookupError:
        return encodable(text.translate(PLAIN), None)
    except UnicodeEncodeError:
        return text.translate(PLAIN).encode(encoding, "replace").decode(encoding)
    return text
