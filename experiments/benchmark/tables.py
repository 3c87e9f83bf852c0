"""Figures as tables, and where they were taken."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Sequence

from rich.table import Table

PACKAGES = ("fcn-keras", "keras", "jax", "jaxlib", "torch", "onnxruntime", "grain", "numpy")


def table(title: str, rows: Sequence[dict]) -> Table:
    """A line a row, whose keys are the headings; a column without any value is left out.

    Text stands for itself, other numbers are rounded to four digits, and None is left blank.
    """
    names = {name: None for row in rows for name, value in row.items() if value is not None}
    result = Table(title=title, title_justify="left")
    for index, name in enumerate(names):
        result.add_column(name.replace("_", " "), justify="right" if index else "left")
    for row in rows:
        result.add_row(*(_cell(row.get(name)) for name in names))
    return result


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def machine() -> dict:
    """The device, what is installed, and how busy it is. Loads JAX."""
    import jax

    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "device": jax.devices()[0].device_kind,
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "versions": versions,
    }
