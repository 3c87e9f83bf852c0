"""Other people's converters, each in a process of its own, with which all that they change ends."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np


def run_apart(name: str, program: str, *arguments: Any, arrays: Sequence[np.ndarray] = ()) -> None:
    """Runs a Python program where Keras takes the TensorFlow backend, without a GPU.

    Args:
        name: Whose converter it is, for the error.
        program: Its text.
        arguments: What it finds in ``sys.argv[2:]``; ``sys.argv[1]`` is a folder of `arrays`.
        arrays: Saved as ``0000.npy``, ``0001.npy``, ...

    Raises:
        RuntimeError: it fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        for index, array in enumerate(arrays):
            np.save(Path(folder, f"{index:04}.npy"), array)
        done = subprocess.run(
            [sys.executable, "-P", "-c", program, folder, *map(str, arguments)],
            env=os.environ | {"KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1"},
            capture_output=True,
            text=True,
        )
    if done.returncode:
        raise RuntimeError(f"{name} can't convert the model: {done.stderr.strip()}")
