"""Runs the site's notebooks again and keeps what they show.

python tools/notebooks.py [NAME ...]
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError as CellExecutionError
from nbformat import NotebookNode

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "notebooks"
# Keras imports TensorFlow where it is installed, which then has something to say.
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0"}


def run(path: Path, folder: Path, settings: str = "") -> NotebookNode:
    """Runs a notebook in a fresh kernel, which imports this checkout and works in `folder`.

    Args:
        path: The notebook; the file stays as it is.
        folder: Where the notebook's own files go.
        settings: Python that runs behind the cell tagged "settings", for a quicker run.

    Returns:
        The notebook with its outputs, without times and versions, which differ from run to run.

    Raises:
        CellExecutionError: a cell raised.
    """
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if "settings" in cell.metadata.get("tags", ()):
            cell.source += f"\n{settings}"
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}},
    )
    info = dict(notebook.metadata.language_info)
    client.execute(env=_environment())
    notebook.metadata.language_info = info
    return notebook


def _environment() -> dict[str, str]:
    """That of this process, in which the kernel finds the checkout and its command."""
    first = {"PYTHONPATH": ROOT, "PATH": Path(sys.executable).parent}
    joined = {n: os.pathsep.join([str(p), os.environ.get(n, "")]) for n, p in first.items()}
    return os.environ | joined | {"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "100", **QUIET}


def main(names: list[str]) -> None:
    """Runs these notebooks, or all, and writes each in place once it has run to its end."""
    for path in [FOLDER / f"{name}.ipynb" for name in names] or sorted(FOLDER.glob("*.ipynb")):
        print(path.relative_to(ROOT), flush=True)
        with tempfile.TemporaryDirectory() as folder:
            nbformat.write(run(path, Path(folder)), path)


if __name__ == "__main__":
    main(sys.argv[1:])
