"""Files of any kind: atomic writing, downloads, checksums, locks, and the cache folder."""

from fcn_keras.storage.atomic import SaveError, reason, replacing, system_reason
from fcn_keras.storage.download import ProgressCallback, cache_folder, download, verify
from fcn_keras.storage.lock import locked

__all__ = [
    "ProgressCallback",
    "SaveError",
    "cache_folder",
    "download",
    "locked",
    "reason",
    "replacing",
    "system_reason",
    "verify",
]
