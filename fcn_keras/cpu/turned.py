"""Kernels of fc6 and fc7 turned once, since oneDNN would rearrange them for each photo (JAX only).

fc6 of VGG16 multiplies patches by 103 million numbers. As ``(k * k * C, F)`` oneDNN rearranges
them in each call; with the filters first it needn't, and takes three quarters of the time. It gets
a matrix ``(F, k * C)`` for each row of the kernel (`fcn_keras.cpu.bfloat16.convolve_turned`).

XLA copies an argument whose memory has an order of its own. So the numbers are put in that order in
the variable's value, which keeps its shape, and programs get the same memory as matrices.
"""

from __future__ import annotations

import contextlib
import contextvars
import ctypes
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
from jax.experimental.layout import Format, Layout

from fcn_keras import cpu
from fcn_keras.cpu.bfloat16 import turns

# In memory, row after row, and in each the filters are the slowest to change.
_TURNED = Layout(major_to_minor=(0, 3, 1, 2))

Matrices = tuple[jax.Array, ...]

_matrices: contextvars.ContextVar[Mapping[int, Matrices]] = contextvars.ContextVar(
    "matrices", default=MappingProxyType({})
)


class Weights:
    """A model's weights as programs for prediction take them."""

    def __init__(self, model: keras.Model):
        self._variables = model.variables
        # XLA can't split a call of oneDNN among devices.
        may = cpu.calls_onednn(model) and jax.local_device_count() == 1
        self._turned = [may and turns(variable) for variable in self._variables]
        self._known: dict[int, tuple[jax.Array, Matrices]] = {}  # values and their matrices

    def values(self) -> list[Any]:
        """The weights as they are now, in the variables' order; some kernels are matrices."""
        return [
            self._rows(variable) if turned else variable.value
            for variable, turned in zip(self._variables, self._turned, strict=True)
        ]

    @contextlib.contextmanager
    def scope(self, values: list[Any]) -> Iterator[None]:
        """The model's layers compute with `values` in here."""
        triples = list(zip(self._variables, values, self._turned, strict=True))
        mapping = [(v, _kernel(v, value) if turned else value) for v, value, turned in triples]
        token = _matrices.set({id(v): value for v, value, turned in triples if turned})
        try:
            with keras.StatelessScope(state_mapping=mapping):
                yield
        finally:
            _matrices.reset(token)

    def _rows(self, variable: keras.Variable) -> Matrices:
        value, rows = self._known.get(id(variable), (None, ()))
        if value is None or value is not variable.value:
            value = variable.value
            if value.format.layout != _TURNED:
                value = jax.device_put(value, Format(_TURNED, value.sharding))
                variable.assign(value)  # keeps its order in memory
            rows = _as_matrices(value)
            self._known[id(variable)] = value, rows
        return rows


def matrices_of(kernel: keras.Variable) -> Matrices | None:
    """What a program takes in place of a kernel: k of ``(F, k * C)``; None for most kernels."""
    return _matrices.get().get(id(kernel))


def _kernel(variable: keras.Variable, matrices: Matrices) -> jax.Array:
    """The matrices of a program as ``(k, k, C, F)``."""
    height, width, channels, filters = variable.shape
    return jnp.stack(matrices).reshape(height, filters, width, channels).transpose(0, 2, 3, 1)


def _as_matrices(value: jax.Array) -> Matrices:
    """The memory of ``(k, k, C, F)``, turned, as k of ``(F, k * C)``."""
    buffer: Any = (ctypes.c_byte * value.nbytes).from_address(value.unsafe_buffer_pointer())
    buffer.owner = value  # it lives as long as its memory is used
    size, _, _, filters = value.shape
    rows = np.frombuffer(buffer, value.dtype).reshape(size, filters, -1)
    return tuple(jax.device_put(row) for row in rows)
