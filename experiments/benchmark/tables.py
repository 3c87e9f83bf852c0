"""The results as tables on the console and as JSON."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from experiments.benchmark.case import Case
from experiments.benchmark.workers import Result, cores
from fcn_keras.storage import replacing

PACKAGES = ("fcn-keras", "keras", "jax", "jaxlib", "torch", "onnxruntime", "grain", "numpy")


def comparison(case: Case, results: Sequence[Result], flops: float, peak: float | None) -> Table:
    """A row a contender. The ratio is ours' speed over the contender's: above 1 ours is faster."""
    table = Table(title=str(case), title_justify="left")
    table.add_column("contender")
    columns = ("ms", "min", "max", "images/s", "ours is", "GFLOP/s", "of peak", "peak MB")
    on_device = any(result.device_peak_megabytes for result in results)
    for column in (*columns, *(["device MB"] if on_device else []), "first s"):
        table.add_column(column, justify="right")
    ours = next((r.median for r in results if r.contender == "ours"), None)
    for result in results:
        if result.error:
            table.add_row(result.contender, f"[red]{result.error}")
            continue
        seconds = result.median
        device = result.device_peak_megabytes
        table.add_row(
            result.contender,
            *(f"{1000 * t:.4g}" for t in (seconds, min(result.seconds), max(result.seconds))),
            f"{case.batch / seconds:.4g}",
            f"{seconds / ours:.2f}x" if ours else "",
            f"{flops / seconds / 1e9:.1f}",
            f"{100 * flops / seconds / peak:.1f} %" if peak else "",
            f"{result.peak_megabytes:.0f}",
            *([f"{device:.0f}" if device else ""] if on_device else []),
            f"{result.first_seconds:.1f}",
        )
    return table


def layers(report: dict) -> Table:
    """The layers of a roofline report, with their sum."""
    machine, rows = report["limits"], report["layers"]
    title = (
        f"{Case(**report['case'])}; {machine['flops_per_second'] / 1e9:.0f} GFLOP/s, "
        f"{machine['bytes_per_second'] / 1e9:.1f} GB/s measured"
    )
    table = Table(title=title, title_justify="left")
    table.add_column("layer")
    for column in ("GFLOP", "MB", "FLOP/byte", "bound", "least ms", "alone ms", "GFLOP/s", "share"):
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(*_layer(row))
    total = {
        "name": "total",
        **{
            key: sum(row[key] for row in rows if row[key] is not None)
            for key in ("flops", "bytes", "least_seconds", "seconds")
        },
        "bound": "",
    }
    total["intensity"] = total["flops"] / total["bytes"]
    table.add_section()
    table.add_row(*_layer(total))
    return table


def _layer(row: dict) -> list[str]:
    seconds = row["seconds"]
    return [
        row["name"],
        f"{row['flops'] / 1e9:.3f}",
        f"{row['bytes'] / 1e6:.1f}",
        f"{row['intensity']:.1f}",
        row["bound"],
        f"{1000 * row['least_seconds']:.3g}",
        f"{1000 * seconds:.3g}" if seconds else "",
        f"{row['flops'] / seconds / 1e9:.1f}" if seconds else "",
        f"{100 * row['least_seconds'] / seconds:.0f} %" if seconds else "",
    ]


def plain(title: str, rows: Sequence[dict], formats: dict[str, str]) -> Table:
    """Rows of the same keys; `formats` names the columns shown and how."""
    table = Table(title=title, title_justify="left")
    for column in formats:
        table.add_column(column.replace("_", " "), justify="right" if formats[column] else "left")
    for row in rows:
        table.add_row(*(format(row[column], spec) for column, spec in formats.items()))
    return table


def machine() -> dict:
    """Where and with what the figures were taken. Loads JAX."""
    import jax

    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "device": jax.devices()[0].device_kind,
        "cores": cores(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "versions": versions,
    }


def write(path: Path, report: dict) -> None:
    """Replaces the file in one step."""
    with replacing(path) as draft:
        draft.write_text(json.dumps(report, indent=1) + "\n")
