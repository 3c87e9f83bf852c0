"""Fetching and unpacking files: resumed where possible, verified, never outside their folder."""

import hashlib
import http.client
import os
import shutil
import tarfile
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from fcn_keras.errors import InputError

Progress = Callable[[int, int | None], None]
"""Called with the bytes so far and the bytes in all (None where the server doesn't say)."""

_CHUNK = 1 << 20


def download(
    url: str,
    path: str | Path,
    *,
    sha256: str | None = None,
    md5: str | None = None,
    progress: Progress | None = None,
    timeout_seconds: float = 60,
) -> Path:
    """Fetch `url` into the file `path` and return it; a file that is there already is kept.

    Bytes gather in `path` + ".part", which a later call resumes if a checksum is given to prove
    the outcome; the file gets its name once it is whole. Raises `InputError` where the address
    can't be read, the transfer breaks off or the checksum is another.
    """
    path = Path(path)
    expected = {"sha256": sha256, "md5": md5}
    expected = {name: digest.lower() for name, digest in expected.items() if digest}
    if path.is_file():
        verify(path, **expected)
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    if not expected:
        part.unlink(missing_ok=True)
    try:
        _transfer(url, part, progress, timeout_seconds)
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as error:
        raise InputError(f"can't fetch {url}: {error}; try again or save it as {path}") from error
    try:
        verify(part, **expected)
    except InputError:
        part.unlink()
        raise InputError(
            f"what {url} sent is not the expected file (its checksum differs); try again or save "
            f"it as {path}"
        ) from None
    os.replace(part, path)
    return path


def verify(path: str | Path, **expected: str) -> None:
    """Compare a file with checksums given by name, as in `verify(path, md5="...")`.

    Raises `InputError` at the first that differs.
    """
    for name, digest in expected.items():
        with open(path, "rb") as file:
            found = hashlib.file_digest(file, name).hexdigest()
        if found != digest:
            raise InputError(
                f"file {path} has {name} {found}, expected {digest}; delete it to fetch it again"
            )


def _transfer(url: str, part: Path, progress: Progress | None, timeout_seconds: float) -> None:
    """Append to `part` what it lacks of `url`, or write it anew if the server can't resume."""
    done = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "fcn-keras"})
    if done:
        request.add_header("Range", f"bytes={done}-")
    try:
        response = urllib.request.urlopen(request, timeout=timeout_seconds)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # nothing is lacking; the checksum tells whether it is the file
        raise
    with response:
        resumed = (response.headers.get("Content-Range") or "").startswith(f"bytes {done}-")
        done = done if resumed else 0
        length = response.headers.get("Content-Length")
        total = None if length is None else done + int(length)
        with open(part, "ab" if resumed else "wb") as file:
            while chunk := response.read(_CHUNK):
                file.write(chunk)
                done += len(chunk)
                if progress:
                    progress(done, total)
    if total is not None and done < total:
        raise OSError(f"the connection broke off after {done} of {total} bytes")


def unpack(archive: str | Path, folder: str | Path) -> list[Path]:
    """Unpack a tar archive into `folder` and return what came to lie there.

    Everything is unpacked aside first and then moved, so that a broken archive leaves nothing.
    Raises `InputError` for a damaged archive, for entries that would leave the folder or are no
    plain files (`tarfile`'s data filter), and where a name is taken already.
    """
    archive, folder = Path(archive), Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".unpack-", dir=folder))
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(scratch, filter="data")
        placed = []
        for entry in sorted(scratch.iterdir()):
            if (folder / entry.name).exists():
                raise InputError(f"{folder / entry.name} exists already; move it out of the way")
            placed.append(Path(shutil.move(entry, folder / entry.name)))
        return placed
    except (tarfile.TarError, EOFError, OSError) as error:
        raise InputError(f"archive {archive} can't be unpacked: {error}") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
