"""Files written whole, and locks that a killed process cannot leave behind."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from ..errors import StoreError, writing

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_NO_LOCKS = {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOLCK, errno.EINVAL}


def temporary(path: Path) -> Path:
    """Returns a fresh name beside `path` for a file that is not yet whole."""
    return path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Writes a file so that a kill leaves either the old one or the new one, never a part.

    StoreError where the disk is full or the folder may not be written.
    """
    part = temporary(path)
    with writing(path, StoreError):
        try:
            with open(part, "wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, path)
        except BaseException:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            raise
    sync_folder(path.parent)


def remove_leftovers(path: Path) -> None:
    """Removes what killed writers of `path` left; the caller holds a lock that writers hold too."""
    for part in path.parent.glob(f".{path.name}.*.tmp"):
        part.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Makes renames inside `folder` survive a power cut, where the system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


class Lock:
    """An exclusive lock on a path, let go by the system when its holder dies.

    Where the file system has no locks, a file made with O_EXCL stands in; it is taken over when its
    holder is a dead process of this machine, or has given no sign of life for `stale_seconds`.
    """

    def __init__(self, path: Path, stale_seconds: float = 900.0):
        self.path = path
        self.stale_seconds = stale_seconds
        self._handle: int | None = None
        self._token: Path | None = None

    def take(self) -> bool:
        """Returns whether the lock could be had now; FileNotFoundError if its folder is gone."""
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if fcntl is None:
                raise OSError(errno.ENOSYS, "no locks")
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(handle)
            return self._take_token() if error.errno in _NO_LOCKS else False
        self._handle = handle
        self.beat()
        return True

    def wait(self, pause: float = 0.05) -> None:
        """Blocks until the lock is held."""
        while not self.take():
            time.sleep(pause)

    def free(self) -> None:
        """Lets go."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
        if self._token is not None:
            self._token.unlink(missing_ok=True)
            self._token = None

    def beat(self) -> None:
        """Gives a sign of life, by which others tell a slow holder from a stuck one."""
        for path in (self.path, self._token):
            if path is not None:
                with contextlib.suppress(OSError):
                    os.utime(path)

    def silent(self) -> bool:
        """Returns whether nobody has given a sign of life here for `stale_seconds`."""
        try:
            return time.time() - self.path.stat().st_mtime > self.stale_seconds
        except FileNotFoundError:
            return True

    def held_by_other(self) -> bool:
        """Returns whether somebody holds the lock now."""
        if not self.take():
            return True
        self.free()
        return False

    def _take_token(self) -> bool:
        token = self.path.with_name(self.path.name + ".owner")
        for _ in range(2):
            try:
                handle = os.open(token, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            except FileExistsError:
                if not _take_away(token, self.stale_seconds):
                    return False
                continue
            owner = f"{socket.gethostname()} {os.getpid()} {secrets.token_hex(8)}"
            os.write(handle, owner.encode())
            os.close(handle)
            self._token = token
            return True
        return False


def _take_away(token: Path, stale_seconds: float) -> bool:
    """Returns whether an abandoned owner file was removed; one that is in use is left alone."""
    try:
        owner = token.read_text()
        host, _, rest = owner.partition(" ")
        process = rest.partition(" ")[0]
        if time.time() - token.stat().st_mtime <= stale_seconds and not (
            host == socket.gethostname() and process.isdigit() and _is_dead(int(process))
        ):
            return False
        aside = temporary(token)
        os.rename(token, aside)
        if aside.read_text() != owner:  # somebody else was faster, and this one is theirs
            with contextlib.suppress(OSError):
                os.link(aside, token)
            aside.unlink()
            return False
        aside.unlink()
    except OSError:
        return False
    return True


def _is_dead(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass
    return False


@contextlib.contextmanager
def locked(path: Path) -> Iterator[Lock]:
    """Holds the lock on `path` for the length of a `with` block."""
    lock = Lock(path)
    lock.wait()
    try:
        yield lock
    finally:
        lock.free()
