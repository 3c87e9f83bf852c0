"""The official archives of PASCAL VOC 2012 and SBD: fetched, verified, unpacked safely."""

import shutil
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from fcn_keras.errors import InputError
from fcn_keras.storage import ProgressCallback, download


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
    """Download an archive of `ARCHIVES` into `root`, unpack it there and return its folder.

    A folder that is there already is left alone; an archive that is there already is not fetched
    again, so a copy from elsewhere can be put into `root` by hand. Raises `InputError` where
    fetching, verifying or unpacking fails.
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
