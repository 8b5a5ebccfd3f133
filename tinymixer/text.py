"""Text for people: foreign text made printable, errors as one line, numbers with their nouns."""

import re
from typing import Any

LONGEST_REASON = 200  # characters of a reason that somebody else's file or library gave


def printable(text: str, keep: str = "") -> str:
    r"""Text in which every control character is escaped (`\x1b`), except those in `keep`.

    A terminal or a picture would obey such characters instead of showing them. Names in other people's files may hold
    escape sequences, and file names bytes that are not text.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each in keep else ascii(each)[1:-1] for each in text)


def shortened(text: str, most: int = LONGEST_REASON) -> str:
    """Any text as one printable line of at most `most` characters."""
    line = printable(" ".join(text[: 4 * most].split()))
    return line if len(line) <= most else f"{line[: most - 3]}..."


def reason_of(error: BaseException) -> str:
    """What an exception says, as one printable line of at most `LONGEST_REASON` characters; its class if it says
    nothing.
    """
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    try:
        lines = str(error).splitlines()
    except Exception:  # an exception that cannot be turned into text, such as one that holds an endless number
        lines = []
    said = " ".join(line for line in lines if re.search(r"\w", line))  # without lines that only underline others
    if isinstance(error, MemoryError) and not said:  # NumPy's and CuPy's say how many bytes; Python's own says nothing
        return "it does not fit into memory"
    return shortened(said) or type(error).__name__


def shown_value(value: Any) -> str:
    """`repr` of any value, shortened to one printable line."""
    try:
        return shortened(repr(value))
    except (ValueError, RecursionError):  # Python writes no number of over 4,300 digits
        return "a value too long to be written out"


def counted(number: int, noun: str) -> str:
    """A number with its noun, such as "1 epoch", "1,437 epochs" or "2 classes"."""
    return f"{number:,} {noun}{'' if number == 1 else 'es' if noun.endswith('s') else 's'}"


def readable_number(number: int) -> str:
    """A whole number with commas; a very large one by its power of ten."""
    digits = int(number.bit_length() * 0.30103)
    return f"{number:,}" if digits < 15 else f"about 10^{digits}"
