"""Downloads files: resumed after an interruption, verified, never left half done."""

import hashlib
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from fcn_keras.errors import InputError

ProgressCallback = Callable[[int, int | None], None]
"""Called with the bytes so far and their total (None if the server doesn't say)."""

_CHUNK = 1 << 20


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/fcn-keras``, by default ``~/.cache/fcn-keras``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fcn-keras"


def download(
    url: str,
    path: str | Path,
    *,
    sha256: str | None = None,
    md5: str | None = None,
    progress: ProgressCallback | None = None,
    timeout_seconds: float = 60,
) -> Path:
    """Downloads `url` to the file `path` and returns it; a file that exists is kept.

    The bytes are collected in `path` + ".part", which a later call resumes if there is a checksum
    to verify the result; the file gets its name once it is complete. If a resumed file turns out
    to be a different one, it is downloaded again from the beginning.

    Args:
        url: http(s) address.
        path: File to write.
        sha256: Checksum in hex, or its first digits.
        md5: The same.
        progress: Called with the bytes so far and their total.
        timeout_seconds: How long the server may be silent.

    Raises:
        InputError: the address can't be read, the transfer breaks off, or a checksum differs.
    """
    path = Path(path)
    if not url.startswith(("http://", "https://")):
        raise InputError(f"{url} is not an http(s) address; give one")
    checksums = (("sha256", sha256), ("md5", md5))
    expected = {name: digest.lower() for name, digest in checksums if digest}
    if path.is_file():
        verify(path, **expected)
        return path
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not expected:
            part.unlink(missing_ok=True)
        continued = _transfer(url, part, progress, timeout_seconds)
        if continued and not _fits(part, expected):
            part.unlink()
            _transfer(url, part, progress, timeout_seconds)
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        raise InputError(f"can't fetch {url}: {error}; try again or save it as {path}") from error
    if not _fits(part, expected):
        part.unlink()
        raise InputError(
            f"what {url} sent is not the expected file (its checksum differs); try again or save "
            f"it as {path}"
        )
    os.replace(part, path)
    return path


def verify(path: str | Path, **expected: str) -> None:
    """Compares a file with checksums, or their first digits, as in ``verify(path, md5="...")``.

    Raises:
        InputError: one differs.
    """
    for name, digest in expected.items():
        found = _digest(path, name)
        if not found.startswith(digest):
            raise InputError(
                f"file {path} has {name} {found}, expected {digest}; delete it to fetch it again"
            )


def _fits(path: Path, expected: dict[str, str]) -> bool:
    return all(_digest(path, name).startswith(digest) for name, digest in expected.items())


def _digest(path: str | Path, name: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, name).hexdigest()


def _transfer(
    url: str, part: Path, progress: ProgressCallback | None, timeout_seconds: float
) -> bool:
    """Appends to `part` what is missing of `url`, or rewrites it if the server can't resume.

    Returns:
        Whether the result contains bytes from an earlier try.
    """
    done = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "fcn-keras"})
    if done:
        request.add_header("Range", f"bytes={done}-")
    try:
        response = urllib.request.urlopen(request, timeout=timeout_seconds)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return True  # nothing is missing; the checksum tells whether it is the right file
        raise
    with response:
        continued = (response.headers.get("Content-Range") or "").startswith(f"bytes {done}-")
        done = done if continued else 0
        length = response.headers.get("Content-Length")
        total = done + int(length) if length and length.isdecimal() else None
        with open(part, "ab" if continued else "wb") as file:
            while chunk := response.read(_CHUNK):
                file.write(chunk)
                done += len(chunk)
                if progress:
                    progress(done, total)
    if total is not None and done < total:
        raise OSError(f"the connection broke off after {done} of {total} bytes")
    return continued
