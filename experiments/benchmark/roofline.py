"""The machine's measured limits, and each layer's time beside the least it could take."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import jax
import jax.numpy as jnp
import keras
import numpy as np

from experiments.benchmark.case import Case
from experiments.benchmark.costs import Cost, costs
from fcn_keras import models
from fcn_keras.cpu.runtime import jit

REPEATS = 5


@dataclass(frozen=True)
class Limits:
    """What the machine was seen to do.

    Attributes:
        flops_per_second: The best of a few large matrix products, in the case's precision.
        bytes_per_second: Of adding to a large array, read and written.
    """

    flops_per_second: float
    bytes_per_second: float


def limits(precision: str, size: int | None = None) -> Limits:
    """Measures them with JAX, and the product with PyTorch too where that is installed.

    `size` is the matrices' height and width; by default large enough for the device.
    """
    on_cpu = jax.default_backend() == "cpu"
    size = size or (4096 if on_cpu else 16384)
    rng = np.random.default_rng(0)
    square = rng.standard_normal((size, size), np.float32)
    x = jnp.asarray(square, precision)
    product = best_seconds(jit(jnp.matmul), x, x)
    if on_cpu:
        product = min(product, _torch_product(square, precision))
    count = (64 if on_cpu else 1024) * 2**20 * min(size, 4096) // 4096
    return Limits(2 * size**3 / product, 2 * 4 * count / _addition(count))


def _addition(count: int) -> float:
    """Seconds of adding one to that many floats, in place: fresh memory would be slower."""
    add = jit(lambda x: x + 1, donate_argnums=0)
    x = jax.block_until_ready(add(jnp.zeros(count)))
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        x = jax.block_until_ready(add(x))
        times.append(time.perf_counter() - start)
    return min(times)


def _torch_product(square: np.ndarray, precision: str) -> float:
    """Seconds of the product in PyTorch; infinite without it."""
    try:
        import torch
    except ImportError:
        return float("inf")
    x = torch.from_numpy(square).to(getattr(torch, precision))
    return best_seconds(torch.matmul, x, x)


def best_seconds(function: Callable, *args) -> float:
    """The least time of a few calls, after one that compiles."""
    return min(_times(function, *args))


def median_seconds(function: Callable, *args) -> float:
    """The middle time of a few calls, after one that compiles."""
    return statistics.median(_times(function, *args))


def _times(function: Callable, *args) -> list[float]:
    jax.block_until_ready(function(*args))
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        jax.block_until_ready(function(*args))
        times.append(time.perf_counter() - start)
    return times


def fixed_model(case: Case) -> keras.Model:
    """The case's network for images of exactly its size, so that every shape is known."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(
        "mixed_bfloat16" if case.precision == "bfloat16" else case.precision
    )
    try:
        return getattr(models, case.model)(
            case.num_classes,
            input_shape=(case.size, case.size, 3),
            trunk_width=case.trunk_width,
            head_width=case.head_width,
        )
    finally:
        keras.config.set_dtype_policy(before)


def layer_seconds(model: keras.Model, cost: Cost, batch: int, training: bool) -> float | None:
    """The measured time of one layer alone, with its gradients if `training`.

    None for the loss and the update, which are no layers.
    """
    if cost.name in ("loss", "update"):
        return None
    layer = model.get_layer(cost.name)
    several = isinstance(layer.input, list)
    inputs = layer.input if several else [layer.input]
    rng = np.random.default_rng(0)
    xs = [
        jnp.asarray(rng.random((batch, *x.shape[1:]), np.float32), layer.compute_dtype)
        for x in inputs
    ]
    trained = [v.value for v in layer.trainable_variables]
    other = [v.value for v in layer.non_trainable_variables]

    options = {"training": training} if isinstance(layer, keras.layers.BatchNormalization) else {}

    def forward(trained, other, xs):
        return layer.stateless_call(trained, other, xs if several else xs[0], **options)[0]

    def both(trained, other, xs):
        if not several and layer.input.shape[-1] == 3:  # the image needs no gradient
            y, pull = jax.vjp(lambda trained: forward(trained, other, xs), trained)
        else:
            y, pull = jax.vjp(lambda trained, xs: forward(trained, other, xs), trained, xs)
        return y, pull(y)

    return median_seconds(jit(both if training else forward), trained, other, xs)


def survey(cases: Sequence[Case], matrix: int | None) -> tuple[Limits, list[float]]:
    """The machine's limits, and the operations of one call of each case."""
    flops = [
        sum(cost.flops for cost in costs(fixed_model(case), case.batch, case.verb == "train"))
        for case in cases
    ]
    return limits(cases[0].precision, matrix), flops


def report(case: Case, machine: Limits, measure: bool, progress: Callable[[str], None]) -> dict:
    """Limits and layers of a case (``predict`` or ``train``) as plain data."""
    training = case.verb == "train"
    model = fixed_model(case)
    rows = []
    for cost in costs(model, case.batch, training):
        progress(f"measuring {cost.name}")
        least = cost.seconds(machine.flops_per_second, machine.bytes_per_second)
        rows.append(
            {
                **asdict(cost),
                "intensity": cost.intensity,
                "bound": cost.bound(machine.flops_per_second, machine.bytes_per_second),
                "least_seconds": least,
                "seconds": layer_seconds(model, cost, case.batch, training) if measure else None,
            }
        )
    return {"case": asdict(case), "limits": asdict(machine), "layers": rows}
