"""Functions of a model, compiled once per shape of their arguments."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from fcn_keras import cpu
from fcn_keras.cpu import allocator

# Compiled programs kept for each function, the most recently used.
MAX_SHAPES = 32


def bind(model: keras.Model, function: Callable, name: str | None = None) -> Any:
    """Makes `function`, which calls `model` or its layers and is written in `keras.ops`, fast.

    Under JAX the result is compiled once per shape of its arguments, and at most `MAX_SHAPES`
    programs are kept. It reads the model's weights at each call, so training between two calls
    neither recompiles it nor goes unnoticed. On other backends `function` runs unchanged, without
    gradients. Threads can share the result. Under JAX its `compiles()` is the number of shapes
    compiled so far.

    With a `name`, which tells the function from others of the model and says all that the
    function depends on, the commands trace it once for all processes (`fcn_keras.cpu.traced`).
    """
    if keras.backend.backend() == "jax":
        return _Compiled(model, function, name)
    if keras.backend.backend() == "torch":
        import torch

        return torch.no_grad()(function)
    return function


class _Compiled:
    def __init__(self, model: keras.Model, function: Callable, name: str | None):
        from fcn_keras.cpu.turned import Weights  # needs JAX

        self._model = model
        self._weights = Weights(model)
        self._function, self._name = function, name
        self._programs: OrderedDict[tuple, Callable] = OrderedDict()
        self._compiles = 0
        self._lock = threading.Lock()

    def __call__(self, *args: Any) -> Any:
        program, compiled = self._program(args)
        result = program(self._weights.values(), *args)
        if not compiled:
            allocator.trim()  # what compiling left
        return result

    def compiles(self) -> int:
        """How many shapes have been compiled so far."""
        return self._compiles

    def _program(self, args: tuple) -> tuple[Callable, bool]:
        """The program for these arguments, and whether it has run before."""
        shapes = tuple(
            (np.shape(a), str(getattr(a, "dtype", type(a)))) for a in keras.tree.flatten(args)
        )
        with self._lock:
            if shapes in self._programs:
                self._programs.move_to_end(shapes)
                return self._programs[shapes], True
            program = self._programs[shapes] = self._jit()
            self._compiles += 1
            if len(self._programs) > MAX_SHAPES:
                self._programs.popitem(last=False)
        return program, False

    def _jit(self) -> Callable:
        from fcn_keras.cpu import traced
        from fcn_keras.cpu.runtime import tuned_jit

        def step(values: list, *args: Any) -> Any:
            with self._weights.scope(values):
                return self._function(*args)

        half = cpu.calls_onednn(self._model)
        if self._name and not half:  # JAX can't write a program that calls oneDNN
            step = traced.kept(step, self._model, self._name)
        return tuned_jit(step, half)
