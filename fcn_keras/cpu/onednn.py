"""oneDNN's convolution and matrix product in bfloat16, for CPUs that multiply it (JAX only).

jaxlib for x86 contains oneDNN, but hardly uses it by itself. It does where a program calls one of
XLA's internal targets, whose parameters are those of ``xla/service/cpu/onednn_config.proto``. They
are no public interface, so `fcn_keras.cpu.multiplies_bfloat16` is true only with the versions of
jaxlib in which they were seen to work.

XLA can't write such a program to a file, and breaks if it is asked to. So a program that is
exported doesn't call oneDNN, nor does one that may go into JAX's compilation cache, except in
`uncached`. These compute the same by XLA's own operations, and so do programs for several devices.
"""

from __future__ import annotations

import contextlib
import functools
import json
import math
import threading
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import batching, mlir

_LEAST_SECONDS = "jax_persistent_cache_min_compile_time_secs"


def convolution(
    x: jax.Array,
    kernel: jax.Array,
    bias: jax.Array | None = None,
    *,
    border: int,
    relu: bool = False,
    turned: bool = False,
) -> jax.Array:
    """Cross-correlation, bias and ReLU: ``(B, H, W, C), (k, k, C, F), (F,) -> (B, H', W', F)``.

    Sums and bias are float32, and rounded once. Without gradients.

    Args:
        x: The map, bfloat16.
        kernel: bfloat16.
        bias: float32; None adds nothing.
        border: Rows of zeros around the map; H' is ``H + 2 * border - k + 1``.
        relu: Whether negative sums become zero.
        turned: Whether the kernel leads from its filters to its channels:
            ``(B, H, W, F) -> (B, H', W', C)``.
    """
    terms = [] if bias is None else [bias]
    return _convolution.bind(x, kernel, *terms, border=border, relu=relu, turned=turned)


def product(a: jax.Array, b: jax.Array, transposed: str = "") -> jax.Array:
    """``a @ b`` in float32, of bfloat16 matrices; "a" or "b" is `transposed` before."""
    return _product.bind(a, b, transposed=transposed)


class _Scope(threading.local):
    """Whether this thread is in `uncached`."""

    entered = 0


_scope = _Scope()
_lock = threading.Lock()
_usual: list[float] = []  # what _LEAST_SECONDS was, once for each entry of any thread


@contextlib.contextmanager
def uncached() -> Iterator[None]:
    """Programs that are compiled inside may call oneDNN, and don't go into JAX's cache."""
    with _lock:
        _usual.append(_usual[0] if _usual else jax.config.values[_LEAST_SECONDS])
        jax.config.update(_LEAST_SECONDS, math.inf)  # only what takes longer is written
    _scope.entered += 1
    try:
        yield
    finally:
        _scope.entered -= 1
        with _lock:
            usual = _usual.pop()
            if not _usual:
                jax.config.update(_LEAST_SECONDS, usual)


def _may_be_cached() -> bool:
    """Whether JAX's cache would take the program that is being compiled."""
    settings = jax.config.values
    on = settings["jax_compilation_cache_dir"] and settings["jax_enable_compilation_cache"]
    return bool(on) and not _scope.entered


def _convolution_call(
    x: jax.Array, kernel: jax.Array, *bias: jax.Array, border: int, relu: bool, turned: bool
) -> jax.Array:
    shape = jax.eval_shape(
        functools.partial(_stock_convolution, border=border, relu=relu, turned=turned),
        *(x, kernel, *bias),
    )
    image = {"data": {"batch_dim": 0, "feature_dim": 3, "spatial_dims": [1, 2]}}
    channels, filters = (3, 2) if turned else (2, 3)
    kernels = {"input_feature_dim": channels, "output_feature_dim": filters}
    config = {
        "dims": 4,
        "input": image,
        "kernel": {"filter": {**kernels, "spatial_dims": [0, 1]}},
        "output": image,
        "window": {
            "pad_left": [border] * 2,
            "pad_right": [border] * 2,
            "strides": [1, 1],
            "window_dilations": [1, 1],
        },
        "feature_groups": 1,
        "fusions": {"ops": ["BIAS"] * len(bias) + ["RELU"] * relu},
    }
    return _call("convolution", {"onednn_conv_config": config}, shape)(x, kernel, *bias)


def _stock_convolution(
    x: jax.Array, kernel: jax.Array, *bias: jax.Array, border: int, relu: bool, turned: bool
) -> jax.Array:
    numbers = ("NHWC", "HWOI" if turned else "HWIO", "NHWC")
    margins = [(border, border)] * 2
    y = jax.lax.conv_general_dilated(
        *(x, kernel, (1, 1), margins),
        dimension_numbers=numbers,
        preferred_element_type=jnp.float32,
    )
    y = sum(bias, y)
    return (jax.nn.relu(y) if relu else y).astype(x.dtype)


def _product_call(a: jax.Array, b: jax.Array, transposed: str) -> jax.Array:
    shape = jax.eval_shape(functools.partial(_stock_product, transposed=transposed), a, b)
    flags = {f"transpose_{name}": name == transposed for name in "ab"}
    return _call("matmul", {"onednn_matmul_config": flags}, shape)(a, b)


def _stock_product(a: jax.Array, b: jax.Array, transposed: str) -> jax.Array:
    axes = ((0 if transposed == "a" else 1,), (1 if transposed == "b" else 0,))
    return jax.lax.dot_general(a, b, (axes, ((), ())), preferred_element_type=jnp.float32)


def _call(name: str, config: dict[str, Any], result: jax.ShapeDtypeStruct) -> Callable:
    return jax.ffi.ffi_call(
        f"__onednn${name}",
        result,
        custom_call_api_version=1,
        legacy_backend_config=json.dumps(config),
    )


def _primitive(name: str, call: Callable, stock: Callable) -> Primitive:
    """An operation that becomes `call` or `stock` once it is known what its program is for."""
    primitive = Primitive(f"fcn_keras_{name}")

    def shape(*operands: Any, **parameters: Any) -> jax.core.ShapedArray:
        result = jax.eval_shape(functools.partial(stock, **parameters), *operands)
        return jax.core.ShapedArray(result.shape, result.dtype)

    def lower(context: mlir.LoweringRuleContext, *operands: Any, **parameters: Any) -> Any:
        exported = context.module_context.lowering_parameters.for_export
        # XLA can't split a call among devices.
        called = not exported and jax.local_device_count() == 1 and not _may_be_cached()
        chosen = functools.partial(call if called else stock, **parameters)
        return mlir.lower_fun(chosen, multiple_results=False)(context, *operands)

    def batch(operands: Any, axes: Any, **parameters: Any) -> tuple[jax.Array, int]:
        return jax.vmap(functools.partial(stock, **parameters), axes)(*operands), 0

    @functools.cache
    def compiled(**parameters: Any) -> Callable:
        return jax.jit(functools.partial(primitive.bind, **parameters))

    primitive.def_impl(lambda *operands, **parameters: compiled(**parameters)(*operands))
    primitive.def_abstract_eval(shape)
    mlir.register_lowering(primitive, lower, platform="cpu")
    batching.primitive_batchers[primitive] = batch
    return primitive


_convolution = _primitive("convolution", _convolution_call, _stock_convolution)
_product = _primitive("product", _product_call, _stock_product)
