"""The live bar of a command that lasts, and how it leaves the screen."""

import contextlib
from typing import TYPE_CHECKING, Any

from tinymixer.cli.output import tell, wrapped

if TYPE_CHECKING:
    from tqdm import tqdm


class LiveBar:
    """A display's bar, made by the display when there is something to show; it makes room for every sentence."""

    bar: "tqdm[Any] | None" = None

    def on_note(self, text: str) -> None:
        self.close()
        tell(wrapped(text, to_stderr=True), to_stderr=True)

    def close(self) -> None:
        """Remove the bar from the screen, however the command ended."""
        if self.bar is not None:
            with contextlib.suppress(OSError, ValueError):  # the terminal is gone
                self.bar.close()
            self.bar = None
