"""A lock on a run folder, so that only one process at a time trains into it."""

import os
import weakref
from pathlib import Path

from tinymixer.errors import TrainingError
from tinymixer.files import Say


class FolderLock:
    """An operating system's lock on a folder. The system releases it when the process ends, even in a crash.

    Windows can lock only files, so there the package filelock locks a file in the folder. Where locks do not work
    (on some network folders), `say` receives a sentence about it and training goes on without a lock.
    """

    def __init__(self, folder: Path, say: Say) -> None:
        self._folder, self._say = folder, say
        self._finalizer: weakref.finalize | None = None  # releases the lock

    def acquire(self) -> None:
        """Take the lock, unless this object holds it already. Raises TrainingError when another process holds it."""
        if self._finalizer is not None:
            return
        try:
            from fcntl import LOCK_EX, LOCK_NB, flock  # a browser has a module fcntl without them

            descriptor = os.open(self._folder, os.O_RDONLY)
        except ImportError:
            self._lock_a_file()
            return
        except OSError as error:
            self._say_not_locked(error)
            return
        try:
            flock(descriptor, LOCK_EX | LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise self._taken() from error
        except OSError as error:  # network folders give ENOLCK, EOPNOTSUPP, EINVAL or others
            os.close(descriptor)
            self._say_not_locked(error)
            return
        self._finalizer = weakref.finalize(self, os.close, descriptor)

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
        self._finalizer = weakref.finalize(self, lock.release, force=True)

    def _taken(self) -> TrainingError:
        return TrainingError(f"another process is training into {self._folder}: wait for it or choose another --out")

    def release(self) -> None:
        """Release the lock if it is held."""
        if self._finalizer is not None:
            self._finalizer()
        self._finalizer = None

    def _say_not_locked(self, reason: object) -> None:
        why = getattr(reason, "strerror", None) or reason
        self._say(f"{self._folder} cannot be locked ({why}): see to it that no other process trains into it")
