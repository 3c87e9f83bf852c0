"""Writes files atomically: a reader sees the old one or the new one, never a part."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from fcn_keras.errors import InputError


class SaveError(OSError):
    """A file can't be written: the disk is full, a folder is missing or read-only."""


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`, with its extension, and moves it there at the end.

    After an error `path` is as it was, and the temporary file is gone.

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name) / "note.txt"
    >>> with replacing(path) as draft:
    ...     count = draft.write_text("done")
    ...     print(path.exists())
    False
    >>> path.read_text()
    'done'
    >>> folder.cleanup()

    Raises:
        SaveError: the file can't be written, in one line that names `path` and the reason.
    """
    temporary = path.with_name(f".{path.stem}-{os.getpid()}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    except InputError:
        raise
    except (OSError, RuntimeError, ValueError) as error:  # h5py raises the latter two
        raise SaveError(
            f"{path} can't be written ({reason(error)}): fix this, then try again"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


_REASONS = (
    "No space left on device",
    "Disk quota exceeded",
    "File too large",
    "Read-only file system",
    "Permission denied",
    "Is a directory",
    "No such file or directory",
)


def reason(error: BaseException) -> str:
    """What went wrong while writing: a few words from a storage library's many lines."""
    first = next(iter(str(error).splitlines()), type(error).__name__)
    return system_reason(error) or first[:200]


def system_reason(error: BaseException) -> str | None:
    """The system's words if it refused to write, whichever library reports it."""
    text = str(error)
    return next((words for words in _REASONS if words in text), None)
