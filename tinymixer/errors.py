"""Errors meant for the person at the keyboard: each message is a sentence that says what to do."""

import difflib
from collections.abc import Iterable

REPOSITORY = "https://github.com/tinymixer/tinymixer"
SITE = "https://tinymixer.github.io/tinymixer/"  # the newest; each release stands in a folder named after its tag
REFERENCE = (
    "main"  # what links and install lines point to: at a release its tag, f"v{__version__}"; CONTRIBUTING tells when
)


class TinymixerError(Exception):
    """Something the user can mend. The command line prints the message alone, without a traceback."""


class ShapeError(TinymixerError, ValueError):
    """An array has another shape than the operation or layer was made for."""


class ConfigError(TinymixerError, ValueError):
    """A model, recipe or command line field has a value that cannot work."""


class BackendError(TinymixerError):
    """The array library that was asked for is not usable here."""


class DataError(TinymixerError):
    """A data set, an archive or an image file is missing, damaged or not what it claims to be."""


class DownloadError(DataError):
    """A file could not be fetched from any of its mirrors."""


class CheckpointError(TinymixerError):
    """A checkpoint cannot be read, or does not belong to the model it is loaded into."""


class TrainingError(TinymixerError):
    """Training cannot go on: a loss that is not finite, a run folder in use, a full disk."""


def install_line(extra: str) -> str:
    """The command that installs the package with one of its extras from the repository, at this version.

    Double quotes, which sh, PowerShell and Windows' cmd all understand.
    """
    tag = "" if REFERENCE == "main" else f"@{REFERENCE}"
    return f'pip install "tinymixer[{extra}] @ git+{REPOSITORY}{tag}"'


def browser_address(notebook: str) -> str:
    """Where one of the lessons' notebooks of this version runs in a browser, with nothing to install."""
    release = "" if REFERENCE == "main" else f"{REFERENCE}/"
    return f"{SITE}{release}lite/lab/index.html?path={notebook}"


def nearest(word: str, choices: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" for the closest of the choices, or "" when none is close."""
    matches = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.5)
    return f" Did you mean '{matches[0]}'?" if matches else ""
