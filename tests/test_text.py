"""Foreign text, errors and numbers as people read them."""

import errno

import pytest

from tinymixer.text import counted, printable, readable_number, reason_of, shortened, shown_value


def test_what_a_terminal_would_obey_is_escaped():
    assert printable("\x1b[2Jä\ud800\n", keep="\n") == "\\x1b[2Jä\\ud800\n"
    assert printable("a\tb") == "a\\tb"
    assert printable(printable("\x07")) == printable("\x07")


def test_a_reason_is_one_printable_line():
    assert reason_of(ValueError("\x1b[2Ja\nb" + "x" * 10_000)).startswith("\\x1b[2Ja b")
    assert len(reason_of(ValueError("x" * 10_000))) == 200
    assert reason_of(ImportError("====\nFailed to import.\n====\n")) == "Failed to import."
    assert reason_of(KeyError()) == "KeyError"
    assert reason_of(OSError(errno.ENOSPC, "No space left on device")) == "No space left on device"
    assert reason_of(RecursionError("maximum recursion depth exceeded")) == "it is nested too deeply"
    assert reason_of(MemoryError()) == "it does not fit into memory"
    assert reason_of(MemoryError("Out of memory allocating 512 bytes")) == "Out of memory allocating 512 bytes"


def test_a_value_is_shown_on_one_line():
    assert shown_value(10**5000) == "a value too long to be written out"
    assert shown_value("a\nb") == "'a\\nb'"
    assert shortened("a" * 50, most=10) == "aaaaaaa..."


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (counted(1, "epoch"), "1 epoch"),
        (counted(1437, "image"), "1,437 images"),
        (counted(0, "class"), "0 classes"),
        (readable_number(1234567), "1,234,567"),
        (readable_number(10**40), "about 10^40"),
    ],
)
def test_numbers(text, expected):
    assert text == expected
