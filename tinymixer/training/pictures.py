"""The picture that a run keeps in its folder, without which training goes on."""

from collections.abc import Sequence
from pathlib import Path

from tinymixer.errors import TinymixerError
from tinymixer.files import Say
from tinymixer.text import reason_of
from tinymixer.training.history import Row


def try_to_draw_curves(name: str, rows: Sequence[Row], path: Path, say: Say) -> None:
    """Draw a run's learning curves. If that fails for any reason, `say` receives a sentence."""
    try:
        from tinymixer.analysis.curves import draw_curves

        draw_curves({name: list(rows)}, path)
    except ImportError:
        say("curves.png is not drawn, since Matplotlib is not installed: pip install matplotlib")
    except TinymixerError as error:
        say(f"curves.png is not drawn: {error}")
    except Exception as error:  # fonts, LaTeX, the user's settings: Matplotlib raises errors of many types
        say(f"curves.png is not drawn: {reason_of(error)}")
