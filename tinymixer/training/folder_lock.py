"""One process at a time trains into a run folder."""

import os
import weakref
from pathlib import Path

from tinymixer.errors import TrainingError
from tinymixer.files import Say


class FolderLock:
    """The operating system's lock on a folder; it ends with the process, however that ends.

    Where a system or file system has no such lock (Windows, some network folders), that is said, and nothing is locked.
    """

    def __init__(self, folder: Path, say: Say) -> None:
        self._folder, self._say = folder, say
        self._descriptor: int | None = None
        self._at_the_end: weakref.finalize | None = None

    def acquire(self) -> None:
        """Take the lock, unless it is held already. Raises TrainingError when another process holds it."""
        if self._descriptor is not None:
            return
        try:
            import fcntl

            descriptor = os.open(self._folder, os.O_RDONLY)
        except ImportError:
            return
        except OSError as error:
            self._say_not_locked(error)
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise TrainingError(
                f"another process is training into {self._folder}: wait for it or choose another --out"
            ) from error
        except OSError as error:  # ENOLCK, EOPNOTSUPP, EINVAL: whatever a network folder answers
            os.close(descriptor)
            self._say_not_locked(error)
            return
        self._descriptor = descriptor
        self._at_the_end = weakref.finalize(self, os.close, descriptor)

    def release(self) -> None:
        """Give the lock back, if it is held."""
        if self._at_the_end is not None:
            self._at_the_end()
        self._descriptor = self._at_the_end = None

    def _say_not_locked(self, error: OSError) -> None:
        self._say(
            f"{self._folder} cannot be locked ({error.strerror or error}): see to it yourself that no other process "
            "trains into it"
        )
