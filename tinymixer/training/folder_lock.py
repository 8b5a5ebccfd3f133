"""One process at a time trains into a run folder."""

import os
import weakref
from pathlib import Path

from tinymixer.errors import TrainingError
from tinymixer.files import Say


class FolderLock:
    """The operating system's lock on a folder; it ends with the process, however that ends.

    On Windows, which locks files alone, the package filelock locks a file in the folder. Where there is no such lock
    (some network folders), that is said, and nothing is locked.
    """

    def __init__(self, folder: Path, say: Say) -> None:
        self._folder, self._say = folder, say
        self._at_the_end: weakref.finalize | None = None  # gives the lock back

    def acquire(self) -> None:
        """Take the lock, unless it is held already. Raises TrainingError when another process holds it."""
        if self._at_the_end is not None:
            return
        try:
            import fcntl

            descriptor = os.open(self._folder, os.O_RDONLY)
        except ImportError:
            self._lock_a_file()
            return
        except OSError as error:
            self._say_not_locked(error)
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise self._taken() from error
        except OSError as error:  # ENOLCK, EOPNOTSUPP, EINVAL: whatever a network folder answers
            os.close(descriptor)
            self._say_not_locked(error)
            return
        self._at_the_end = weakref.finalize(self, os.close, descriptor)

    def _lock_a_file(self) -> None:
        try:
            import filelock
        except ImportError:
            self._say_not_locked("the package filelock is not installed")
            return
        lock = filelock.FileLock(self._folder / ".lock")
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout as error:
            raise self._taken() from error
        except (OSError, NotImplementedError) as error:
            self._say_not_locked(error)
            return
        self._at_the_end = weakref.finalize(self, lock.release, force=True)

    def _taken(self) -> TrainingError:
        return TrainingError(f"another process is training into {self._folder}: wait for it or choose another --out")

    def release(self) -> None:
        """Give the lock back, if it is held."""
        if self._at_the_end is not None:
            self._at_the_end()
        self._at_the_end = None

    def _say_not_locked(self, reason: object) -> None:
        why = getattr(reason, "strerror", None) or reason
        self._say(f"{self._folder} cannot be locked ({why}): see to it that no other process trains into it")
