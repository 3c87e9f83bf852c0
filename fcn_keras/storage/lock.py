"""One process at a time in a folder."""

from __future__ import annotations

import contextlib
import os
import shlex
import socket
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from fcn_keras.errors import InputError
from fcn_keras.storage.atomic import reason

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

NAME = ".lock"


@contextlib.contextmanager
def locked(folder: Path, argument: str) -> Iterator[None]:
    """Locks `folder`, which is created if it doesn't exist, for this process alone.

    The kernel releases the lock when the process ends, whatever ends it, so that a lock is never
    stale. The file ``.lock`` says who holds it and disappears with the lock. On Windows, and on
    file systems without locks, nothing is locked.

    Args:
        folder: The folder.
        argument: What the caller's argument is called, for the messages.

    Raises:
        InputError: another process holds the lock, or the folder can't be written.
    """
    made = not folder.exists()
    try:
        file = _acquire(folder / NAME)
    except _HeldError as error:
        raise InputError(
            f"{argument} {folder} is in use by {error}: wait for its end, or name another folder"
        ) from None
    except OSError as error:
        raise InputError(
            f"{argument} {folder} can't be written ({reason(error)}): make it writable, or choose "
            "another folder"
        ) from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            (folder / NAME).unlink()
        os.close(file)
        if made:  # if the run was refused, it would stay behind empty
            with contextlib.suppress(OSError):
                folder.rmdir()


class _HeldError(Exception):
    """Another process holds the lock; the text says which."""


def _acquire(path: Path) -> int:
    """Opens and locks `path`; returns its descriptor."""
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)  # its last holder may have removed it
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if fcntl:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(file, 1000).decode(errors="replace")
            os.close(file)
            shown = "".join(c for c in holder if c.isprintable())
            raise _HeldError(shown or "another process") from None
        except OSError:
            pass  # a file system without locks
        if _is_still(path, file):
            _sign(file)
            return file
        os.close(file)


def _sign(file: int) -> None:
    command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])[:200]
    since = datetime.now().isoformat(" ", "seconds")
    holder = f"process {os.getpid()} on {socket.gethostname()}, since {since} ({command})"
    with contextlib.suppress(OSError):  # a full disk: the lock holds without a name
        os.ftruncate(file, 0)
        os.write(file, holder.encode())


def _is_still(path: Path, file: int) -> bool:
    """Whether `path` is the open file, and not one made after its holder removed it."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(file))
    except FileNotFoundError:
        return False
