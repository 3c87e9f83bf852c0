"""Fetches a file of weights and checks it against the hash in its name."""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from fcn_keras.errors import InputError

VGG16_URL = "https://download.pytorch.org/models/vgg16-397923af.pth"
CHUNK = 1 << 20
TIMEOUT_SECONDS = 30

Progress = Callable[[int, int | None], None]


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/fcn-keras``, by default ``~/.cache/fcn-keras``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fcn-keras"


def claimed_hash(name: str) -> str | None:
    """The 8 hex digits that torch's file names end in (``vgg16-397923af.pth``), if any."""
    found = re.search(r"-([0-9a-f]{8})\.\w+$", name)
    return found and found[1]


def check_hash(path: Path) -> bool:
    """Holds a file's SHA-256 against the digits in its name; returns whether there are any.

    Raises:
        InputError: there are, and the file's hash begins otherwise.
    """
    claimed = claimed_hash(path.name)
    if claimed is None:
        return False
    found = _sha256(path)
    if not found.startswith(claimed):
        raise InputError(
            f"{path}: its SHA-256 begins with {found[:8]}, its name says {claimed}; fetch it again"
        )
    return True


def download(
    url: str = VGG16_URL, folder: Path | None = None, progress: Progress | None = None
) -> Path:
    """Fetches `url` into `folder` (the cache), continuing where an earlier try was cut off.

    A file that is there with the right hash isn't fetched again. The file gets its name only when
    it is whole and its hash is right; until then it is ``NAME.part``. If a continued file has the
    wrong hash, it is fetched once more from the beginning.

    Args:
        progress: Called with the bytes there are and, where the server says so, the file's size.

    Raises:
        InputError: the server can't be reached or refuses, the connection breaks, or the hash is
            wrong.
    """
    if not url.startswith(("http://", "https://")):
        raise InputError(f"{url} is no http(s) address; name one")
    folder = cache_folder() if folder is None else Path(folder)
    target = folder / url.rsplit("/", 1)[-1]
    if target.exists():
        check_hash(target)
        return target
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"the cache {folder} can't be made: {error.strerror}") from None
    part = target.with_name(f"{target.name}.part")
    claimed = claimed_hash(target.name) or ""
    resumed = _fetch(url, part, progress)
    if resumed and not _sha256(part).startswith(claimed):
        part.unlink()
        _fetch(url, part, progress)
    found = _sha256(part)
    if not found.startswith(claimed):
        part.unlink()
        raise InputError(
            f"{url}: the SHA-256 of what it sent is {found[:8]}..., not {claimed}...; try later"
        )
    os.replace(part, target)
    return target


def _fetch(url: str, part: Path, progress: Progress | None) -> bool:
    """Completes `part`; returns whether it began with bytes that were there before."""
    start = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "fcn-keras"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    done = start
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
            # A server that doesn't know ranges answers 200 and sends everything.
            resumed = response.status == 206
            done = start if resumed else 0
            length = response.headers.get("Content-Length")
            total = done + int(length) if length else None
            with part.open("ab" if resumed else "wb") as file:
                while chunk := response.read(CHUNK):
                    file.write(chunk)
                    done += len(chunk)
                    if progress:
                        progress(done, total)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and start:  # the part is as long as the file, or longer
            part.unlink()
            return _fetch(url, part, progress)
        raise InputError(f"{url}: the server answers {error.code} {error.reason}") from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error) or type(error).__name__
        raise InputError(
            f"{url}: {reason} after {done} bytes; run it again to continue there"
        ) from None
    if total is not None and done < total:
        raise InputError(
            f"{url}: the connection ended after {done} of {total} bytes; "
            "run it again to continue there"
        )
    return resumed


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
