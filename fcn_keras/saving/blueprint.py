"""Everything about one of our models except its weights, as plain JSON: how to rebuild it.

Nothing here is a Keras configuration, so reading one from a stranger can build nothing but an FCN.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import keras
from keras.src.backend.common import global_state

from fcn_keras.data.classes import VOID
from fcn_keras.errors import InputError
from fcn_keras.imports import without_tensorflow
from fcn_keras.models import Design, build
from fcn_keras.models.anatomy import read_design
from fcn_keras.models.layers import without_initial_values

# Keras' own list of variables that wait for their values; it has no public name.
_PENDING = "uninitialized_variables"

POLICIES = ("float32", "bfloat16", "mixed_bfloat16", "mixed_float16")
_INTEGERS = ("num_classes", "backbone_width", "head_width")


@without_tensorflow()
def draw(model: keras.Model) -> dict[str, Any]:
    """The blueprint of a model.

    Raises:
        InputError: the model was not built by `fcn8s`, `fcn16s` or `fcn32s`, or has been changed
            since.
    """
    blueprint = from_configs({each.name: each.get_config() for each in model.layers}, model.name)
    if _plan(raise_up(blueprint, with_variables=False)) != _plan(model):
        raise InputError(
            f"model {model.name!r} is not as fcn8s, fcn16s or fcn32s build one: keep it with "
            "model.save(PATH)"
        )
    return blueprint


def from_configs(configs: Mapping[str, Mapping[str, Any]], name: str) -> dict[str, Any]:
    """The blueprint of the model called `name` whose layers have these configurations.

    Raises:
        InputError: they are not one of our models.
    """
    design = read_design(configs, name)
    normalize, crop = configs["normalize"], configs["crop"]
    return {
        "design": dataclasses.asdict(design),
        "name": name,
        "policy": configs["block1_conv1"]["dtype"]["config"]["name"],
        "frozen": [layer for layer, config in configs.items() if config.get("trainable") is False],
        "normalize": {key: list(normalize[key]) for key in ("scale", "offset")},
        "info": crop.get("info"),
    }


def raise_up(blueprint: Mapping[str, Any], *, with_variables: bool = True) -> keras.Model:
    """The model of a blueprint, with initial values.

    Args:
        blueprint: As `draw` returns it; it may come from anywhere.
        with_variables: Otherwise the variables have shapes but no values, and take no memory.

    Raises:
        InputError, KeyError, TypeError, ValueError: it is not a blueprint.
    """
    design, policy = _design(blueprint["design"]), blueprint["policy"]
    if policy not in POLICIES:
        raise ValueError(f"policy {policy!r} is unknown")
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        if with_variables:
            model = build(design)
        else:
            with shapes_only():
                model = build(design)
    finally:
        keras.config.set_dtype_policy(before)
    model.name = _name(blueprint["name"])
    frozen = set(blueprint["frozen"])
    for layer in model.layers:
        layer.trainable = layer.name not in frozen
    normalize = model.get_layer("normalize")
    normalize.scale, normalize.offset = (
        _three(blueprint["normalize"][key]) for key in ("scale", "offset")
    )
    info = blueprint["info"]
    if not (info is None or isinstance(info, str)):
        raise TypeError("info is not a text")
    model.get_layer("crop").info = info
    return model


def raise_empty(blueprint: Mapping[str, Any]) -> keras.Model:
    """The model of a blueprint, for whoever assigns every weight of it.

    Under JAX the weights have no values until then, elsewhere they are zero.
    """
    if keras.backend.backend() != "jax":
        with without_initial_values():
            return raise_up(blueprint)
    model = raise_up(blueprint, with_variables=False)
    initialize(each for each in model.variables if "float" not in each.dtype)  # seeds of dropout
    return model


def initialize(variables: Iterable[Any]) -> None:
    """Gives the initial value to those made in `shapes_only` that were not assigned since."""
    for variable in variables:
        if variable._value is None:
            variable._deferred_initialize()


@contextlib.contextmanager
def shapes_only() -> Iterator[None]:
    """Variables made in here have shapes but no values, and take no memory."""
    before = list(global_state.get_global_attribute(_PENDING) or [])
    try:
        with keras.StatelessScope(initialize_variables=False):
            yield
    finally:
        # Otherwise Keras would give them values at the end of the next scope of any kind.
        global_state.set_global_attribute(_PENDING, before)


def _plan(model: keras.Model) -> str:
    return json.dumps(keras.saving.serialize_keras_object(model)["config"], sort_keys=True)


def _design(record: Mapping[str, Any]) -> Design:
    for name in _INTEGERS:
        if type(record[name]) is not int:
            raise TypeError(f"{name}={record[name]!r} is not a whole number")
    if record["num_classes"] > VOID:
        raise ValueError(f"num_classes={record['num_classes']} is above {VOID}")
    shape = tuple(record["input_shape"])
    if not all(size is None or type(size) is int for size in shape):
        raise TypeError(f"input_shape={shape!r} holds something else than whole numbers")
    return Design(**{**record, "input_shape": shape})


def _name(value: Any) -> str:
    if not isinstance(value, str) or not value.isprintable() or "/" in value:
        raise ValueError("the model's name is not printable")
    return value


def _three(values: Any) -> list[float]:
    if len(values) != 3 or not all(type(x) in (int, float) and math.isfinite(x) for x in values):
        raise ValueError("the normalisation is not three numbers")
    return list(values)
