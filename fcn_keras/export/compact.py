"""A compact file, which only this package reads; see `fcn_keras.saving.save_compact`."""

from __future__ import annotations

from pathlib import Path

from fcn_keras.export.job import Job
from fcn_keras.saving import save_compact


def write(job: Job, path: Path) -> None:
    """Writes the file."""
    save_compact(job.model, path)
