"""Puts the weights of a recognised file into a model, all of them or none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Any

import keras
import numpy as np

from fcn_keras.errors import InputError
from fcn_keras.models.anatomy import HEAD, WIDTHS, Design, design_of, part
from fcn_keras.weights.files.read import read_tensors
from fcn_keras.weights.formats import recognise
from fcn_keras.weights.report import LoadReport, show
from fcn_keras.weights.rules import Normalization, Rule, WeightsFile


@dataclass(frozen=True)
class Placed:
    """A tensor of the file, rearranged for the variable of `rule`."""

    rule: Rule
    source_shape: tuple[int, ...]
    array: np.ndarray


def load_weights(model: keras.Model, path: str | PathLike) -> LoadReport:
    """Sets a model's weights from a file written by other software.

    The file is recognised by the names it holds: torchvision's and timm's VGGs (torch or
    safetensors), PyTorch-FCN's checkpoints, the batch-norm ``fcn_vgg16``, Keras' VGGs (``.h5``),
    and this package's ``.weights.h5``. Layers that the file doesn't have stay as initialised; so do
    fc6 and fc7 of a classifier whose width isn't the model's `head_width`. The model's
    normalisation becomes the one that the weights were trained with, so the model still takes RGB
    in 0..255.

    Everything is checked before the first variable changes. Programs compiled from the model
    earlier, as in a `Segmenter`, keep the old normalisation, so load weights first.

    Args:
        model: A model of `fcn8s`, `fcn16s` or `fcn32s`.
        path: The file.

    Returns:
        What was loaded and what was skipped; as text a table.

    Raises:
        InputError: the file is damaged or unknown, or doesn't fit the model.
    """
    tensors = read_tensors(path)
    try:
        form = recognise(tensors)
        design = design_of(model)
        layers = {layer.name: layer for layer in model.layers}
        _check_variant(form, design)
        placed, unfit = _fit(place(form, tensors), form, layers, design)
        _check_complete(placed, layers)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    for each in placed:
        # A copy, since JAX may keep the array itself, which can be a view of the file.
        _variable(layers, each.rule).assign(np.array(each.array, np.float32, order="C"))
    if form.normalization is not None:
        _normalize(model, layers["normalize"], form.normalization)
    return LoadReport(
        path=str(path),
        format=form.title,
        loaded=tuple(
            (p.rule.source, p.source_shape, f"{p.rule.layer}/{p.rule.variable}", p.array.shape)
            for p in placed
        ),
        skipped=tuple(_skipped(form, tensors, layers, placed, unfit)),
        notes=tuple(_notes(form, layers["normalize"], design)),
    )


def place(form: WeightsFile, tensors: Mapping[str, np.ndarray]) -> list[Placed]:
    """The file's tensors in the layouts of the model's variables.

    Raises:
        InputError: one has the wrong number of dimensions, holds integers or isn't finite.
    """
    placed = []
    for rule in form.rules:
        if rule.source not in tensors:
            continue
        tensor = tensors[rule.source]
        target = f"{rule.layer}/{rule.variable}"
        if tensor.dtype.kind != "f":
            raise InputError(f"{rule.source} holds {tensor.dtype}, but {target} needs float32")
        if not np.isfinite(tensor).all():
            raise InputError(f"{rule.source} holds NaN or infinity; fetch or train it again")
        try:
            placed.append(Placed(rule, tensor.shape, rule.layout(tensor)))
        except (ValueError, IndexError):
            shape = show(tensor.shape)
            raise InputError(f"{rule.source} of shape {shape} can't become {target}") from None
    return placed


def _check_variant(form: WeightsFile, design: Design) -> None:
    if form.backbone != design.backbone:
        raise InputError(f'is {form.title}; build the model with backbone="{form.backbone}"')
    if form.batch_norm is not None and form.batch_norm != design.batch_norm:
        raise InputError(f"is {form.title}; build the model with batch_norm={form.batch_norm}")


def _variable(layers: Mapping[str, keras.layers.Layer], rule: Rule) -> Any:
    """The `keras.Variable` that `rule` is for; None if the model has none."""
    return getattr(layers.get(rule.layer), rule.variable, None)


def _fit(
    candidates: list[Placed],
    form: WeightsFile,
    layers: Mapping[str, keras.layers.Layer],
    design: Design,
) -> tuple[list[Placed], dict[str, str]]:
    """The tensors that go into the model, and why fc6 and fc7 don't if their width differs."""
    known = [each for each in candidates if _variable(layers, each.rule) is not None]
    wrong = [each for each in known if each.array.shape != _variable(layers, each.rule).shape]
    widths = {p.rule.layer: p.array.shape[-1] for p in known if p.rule.layer in HEAD}
    only_head = {each.rule.layer for each in wrong} <= set(HEAD)
    if form.pretrained and only_head and design.head_width not in widths.values():
        reason = "{} wide in the file, but the model has head_width={}: left as initialised"
        unfit = {layer: reason.format(width, design.head_width) for layer, width in widths.items()}
        return [each for each in known if each.rule.layer not in HEAD], unfit
    for each in wrong:
        rule = each.rule
        its = part(rule.layer)
        argument = WIDTHS[its] if its else "options"
        raise InputError(
            f"{rule.source} of shape {show(each.source_shape)} gives "
            f"{rule.layer}/{rule.variable} the shape {show(each.array.shape)}, but the model has "
            f"{show(_variable(layers, rule).shape)}; build it with the file's {argument}"
        )
    return known, {}


def _check_complete(placed: list[Placed], layers: Mapping[str, keras.layers.Layer]) -> None:
    """Refuses layers that the file has only in part: the rest would stay random."""
    found = Counter(each.rule.layer for each in placed)
    for name, count in found.items():
        needed = len(layers[name].weights)
        if count != needed:
            raise InputError(
                f"has {count} of the {needed} variables of {name}; fetch or save it again"
            )


def _normalize(model: keras.Model, layer: keras.layers.Rescaling, to: Normalization) -> None:
    layer.scale, layer.offset = list(to.scale), list(to.offset)
    # These hold compiled programs in which the old values are constants.
    model.train_function = model.test_function = model.predict_function = None


def _skipped(
    form: WeightsFile,
    tensors: Mapping[str, np.ndarray],
    layers: Mapping[str, keras.layers.Layer],
    placed: list[Placed],
    unfit: Mapping[str, str],
) -> Iterable[tuple[str, str]]:
    filled = {each.rule.layer for each in placed}
    for name, layer in layers.items():
        if layer.weights and name not in filled:
            yield name, unfit.get(name, "not in the file: left as initialised")
    used = {each.rule.source for each in placed}
    targets = {rule.source: rule.layer for rule in form.rules}
    for name in tensors:
        if name in used or form.unused.get(name) == "" or targets.get(name) in unfit:
            continue
        missing = f"the model has no {targets[name]}" if name in targets else "an unknown name"
        yield ascii(name)[1:-1], f"not used: {form.unused.get(name, missing)}"


def _notes(form: WeightsFile, normalize: keras.layers.Rescaling, design: Design) -> Iterable[str]:
    if form.normalization is None:
        yield "normalize: not in the file, kept as the model has it (a .keras file holds it)"
    else:
        pair = (normalize.scale, normalize.offset)
        numbers = [", ".join(f"{x:.6g}" for x in values) for values in pair]
        yield f"normalize: RGB in 0..255, times {numbers[0]}, plus {numbers[1]}"
    if form.caffe and design.geometry != "caffe":
        yield 'geometry: trained with "caffe"; this model has "same", whose borders differ'
