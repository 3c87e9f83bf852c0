"""The official archives of PASCAL VOC 2012 and SBD."""

from dataclasses import dataclass
from pathlib import Path

from fcn_keras.data.download import Progress, download, unpack
from fcn_keras.errors import InputError


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


def fetch(name: str, root: str | Path, progress: Progress | None = None) -> Path:
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
