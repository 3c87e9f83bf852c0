"""Files of any kind: written atomically, fetched and verified, and where the cache lies."""

from fcn_keras.storage.atomic import SaveError, reason, replacing
from fcn_keras.storage.download import Progress, cache_folder, download, verify

__all__ = [
    "Progress",
    "SaveError",
    "cache_folder",
    "download",
    "reason",
    "replacing",
    "verify",
]
