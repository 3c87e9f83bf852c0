"""Where torchvision's weights are published, and the hash that torch puts into a file's name."""

from __future__ import annotations

import re
from pathlib import Path

from fcn_keras.models.names import Backbone
from fcn_keras.storage import ProgressCallback, cache_folder, download, verify

URLS: dict[Backbone, str] = {
    "vgg13": "https://download.pytorch.org/models/vgg13-19584684.pth",
    "vgg16": "https://download.pytorch.org/models/vgg16-397923af.pth",
    "vgg16_bn": "https://download.pytorch.org/models/vgg16_bn-6c64b313.pth",
    "vgg19": "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth",
}


def claimed_hash(name: str) -> str | None:
    """The 8 hex digits that torch's file names end in (``vgg16-397923af.pth``), if any."""
    found = re.search(r"-([0-9a-f]{8})\.\w+$", name)
    return found and found[1]


def check_hash(path: Path) -> bool:
    """Compares a file's SHA-256 with the digits in its name; returns whether there are any.

    Raises:
        InputError: there are, and they don't match.
    """
    claimed = claimed_hash(path.name)
    if claimed:
        verify(path, sha256=claimed)
    return claimed is not None


def fetch_weights(url: str = URLS["vgg16"], progress: ProgressCallback | None = None) -> Path:
    """Downloads `url` into the user's cache, verified by the hash in its name.

    Raises:
        InputError: as `fcn_keras.storage.download`.
    """
    name = url.rsplit("/", 1)[-1]
    return download(url, cache_folder() / name, sha256=claimed_hash(name), progress=progress)
