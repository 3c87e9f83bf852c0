"""The official archives of PASCAL VOC 2012 and SBD: fetched, verified, unpacked safely."""

import shutil
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from fcn_keras.errors import InputError
from fcn_keras.storage import ProgressCallback, download, locked, reason

_ASIDE = ".unpack-"
_MAX_DEPTH = 32


@dataclass(frozen=True)
class Archive:
    """Where an archive is published, its MD5 and a folder that it unpacks to."""

    url: str
    md5: str
    holds: str


ARCHIVES = {
    "voc2012": Archive(
        "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
        "6cd6e144f989b92b3379bac3b3de84fd",
        "VOCdevkit/VOC2012",
    ),
    "sbd": Archive(
        "https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours/"
        "benchmark.tgz",
        "82b4d87ceb2ed10f6038a1cba92111cb",
        "benchmark_RELEASE/dataset",
    ),
}


def fetch(name: str, root: str | Path, progress: ProgressCallback | None = None) -> Path:
    """Downloads an archive of `ARCHIVES` into `root`, unpacks it there and returns its folder.

    A folder that exists is left alone; an archive that exists is not fetched again, so a copy from
    elsewhere can be put into `root` by hand.

    Raises:
        InputError: fetching, verifying or unpacking fails.
    """
    if name not in ARCHIVES:
        raise InputError(f"no archive named {name!r}; choose from {', '.join(ARCHIVES)}")
    archive, root = ARCHIVES[name], Path(root).expanduser()
    folder = root / archive.holds
    if not folder.is_dir():
        path = root / archive.url.rsplit("/", 1)[1]
        unpack(download(archive.url, path, md5=archive.md5, progress=progress), root)
    return folder


def unpack(archive: str | Path, folder: str | Path) -> list[Path]:
    """Unpacks a tar archive into `folder` and returns the paths it created there.

    Everything is unpacked in a temporary folder first and then moved, so that a broken archive
    leaves nothing behind. What a killed process left is removed.

    Raises:
        InputError: the archive is damaged, an entry would leave the folder or is neither a plain
            file nor a folder, a name is taken, or another process is unpacking there.
    """
    archive, folder = Path(archive), Path(folder)
    with locked(folder, "folder"):
        for left in folder.glob(f"{_ASIDE}*"):
            shutil.rmtree(left, ignore_errors=True)
        scratch = Path(tempfile.mkdtemp(prefix=_ASIDE, dir=folder))
        try:
            with tarfile.open(archive) as tar:
                for entry in tar:
                    _require_plain(entry)
                    tar.extract(entry, scratch, filter="data")
            return _place(scratch, folder)
        except InputError:
            raise
        except Exception as error:  # tarfile and the decompressors raise many kinds of errors
            raise InputError(f"archive {archive} can't be unpacked: {reason(error)}") from error
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _require_plain(entry: tarfile.TarInfo) -> None:
    """Refuses links, whatever they point to: later entries could leave the folder through them."""
    name = ascii(entry.name)[1:-1][:100]
    if not (entry.isreg() or entry.isdir()):
        raise tarfile.TarError(f"{name} is neither a plain file nor a folder")
    if entry.name.count("/") > _MAX_DEPTH:
        raise tarfile.TarError(f"{name} lies more than {_MAX_DEPTH} folders deep")


def _place(scratch: Path, folder: Path) -> list[Path]:
    placed = []
    for entry in sorted(scratch.iterdir()):
        if (folder / entry.name).exists():
            raise InputError(f"{folder / entry.name} exists already; move it out of the way")
        placed.append(Path(shutil.move(entry, folder / entry.name)))
    return placed
