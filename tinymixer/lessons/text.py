"""Texts for consoles that do not have every letter."""

from typing import Any

PLAIN = str.maketrans(
    {
        "\N{HEAVY CHECK MARK}": "+",
        "\N{HEAVY BALLOT X}": "x",
        "\N{MIDDLE DOT}": ".",
        "\N{MULTIPLICATION SIGN}": "x",
        "\N{RIGHT SINGLE QUOTATION MARK}": "'",
        "\N{MINUS SIGN}": "-",
    }
)


def encodable(text: str, stream: Any) -> str:
    """The text as it can be written to a stream: where the stream's encoding lacks a mark, a plain one; else "?"."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except LookupError:
        return encodable(text.translate(PLAIN), None)
    except UnicodeEncodeError:
        return text.translate(PLAIN).encode(encoding, "replace").decode(encoding)
    return text
