"""What a verb found: a table for the terminal, and the same rows for a file."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version

from rich.table import Table

PACKAGES = ("fcn-keras", "keras", "jax", "jaxlib", "torch", "onnxruntime", "grain", "numpy")


@dataclass(frozen=True)
class Report:
    """One table of figures.

    Attributes:
        title: What was measured.
        rows: The figures by the heading of their column. Lists (a figure for each turn) are for
            the file only.
        about: What else belongs in the file, such as the case and the machine's limits.
    """

    title: str
    rows: list[dict]
    about: dict = field(default_factory=dict)

    def table(self) -> Table:
        """The rows under their headings, without columns that have no value."""
        shown = [{k: v for k, v in row.items() if not isinstance(v, list)} for row in self.rows]
        headings = {name: None for row in shown for name, value in row.items() if value is not None}
        table = Table(title=self.title, title_justify="left")
        for index, heading in enumerate(headings):
            table.add_column(heading, justify="right" if index else "left")
        for row in shown:
            table.add_row(*(_cell(row.get(heading)) for heading in headings))
        return table


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.1f}" if abs(value) >= 100 else f"{value:.3g}"
    return "" if value is None else str(value)


def machine() -> dict:
    """The device, what is installed, and how busy the machine is. Loads JAX."""
    import jax

    versions = {}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    return {
        "device": jax.devices()[0].device_kind,
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "versions": versions,
    }
