"""Turns a classifier's file into a ``.weights.h5`` that any FCN model takes."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

import numpy as np

from fcn_keras.errors import InputError
from fcn_keras.models.anatomy import HEAD
from fcn_keras.weights.files.h5_file import write_h5
from fcn_keras.weights.files.read import read_tensors
from fcn_keras.weights.formats import recognise
from fcn_keras.weights.load import place
from fcn_keras.weights.report import LoadReport


def convert(path: str | PathLike, out: str | PathLike, *, head_width: int = 4096) -> LoadReport:
    """Writes a VGG's convolutions, and its first two linear layers as fc6 and fc7, by layer name.

    The layout is in `fcn_keras.weights.files.h5_file`. The linear layers are left out where their
    width isn't `head_width`. The file is written atomically.

    Raises:
        InputError: the file is damaged or not a classifier, or `out` isn't a ``.weights.h5``.
        SaveError: `out` can't be written.
    """
    out = Path(out)
    if not out.name.endswith(".weights.h5"):
        raise InputError(f"{out}: Keras needs a name that ends in .weights.h5")
    if not out.parent.is_dir():
        raise InputError(f"{out}: the folder {out.parent} doesn't exist; create it first")
    if out.is_dir():
        raise InputError(f"{out} can't be written (Is a directory): name a file")
    tensors = read_tensors(path)
    try:
        form = recognise(tensors)
        if not form.pretrained or form.normalization is None:
            raise InputError(f"is {form.title}, which load_weights and weights=PATH take directly")
        placed = place(form, tensors)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    skipped: dict[str, str] = {}
    variables: dict[str, list[np.ndarray]] = {}
    rows = []
    for each in placed:
        layer, width = each.rule.layer, each.array.shape[-1]
        if layer in HEAD and width != head_width:
            skipped[layer] = (
                f"left out: {width} wide in the file, but head_width is {head_width}; "
                "a model's stays as initialised"
            )
            continue
        array = np.ascontiguousarray(each.array, np.float32)
        variables.setdefault(layer, []).append(array)
        target = f"{layer}/{each.rule.variable}"
        rows.append((each.rule.source, each.source_shape, target, array.shape))
    for layer in HEAD:
        if layer not in variables:
            skipped.setdefault(layer, "not in the file: a model's stays as initialised")
    skipped |= {name: why for name, why in form.unused.items() if name in tensors and why}
    write_h5(out, variables, form.normalization)
    return LoadReport(str(path), form.title, tuple(rows), tuple(skipped.items()))
