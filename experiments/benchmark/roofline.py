"""Each layer's time beside the least it could take on this machine."""

from __future__ import annotations

import statistics
import timeit
from collections.abc import Callable
from dataclasses import asdict, dataclass

import jax
import jax.numpy as jnp
import keras
import numpy as np

from experiments.benchmark.case import Case, Networks, Tell, installed
from experiments.benchmark.costs import costs, fixed_model
from experiments.benchmark.report import Report
from fcn_keras.cpu.runtime import on_cpu, tuned_jit

REPEATS = 5


@dataclass(frozen=True, kw_only=True)
class Roofline(Networks):
    """Operations and bytes of each layer, the least time they allow, and the time they take."""

    training: bool = False  # Count and measure the gradients too.
    measure: bool = True  # Time each layer alone.

    def report(self, case: Case, tell: Tell) -> Report:
        """A row for each layer, and their sum."""
        tell("measuring the matrix product and the memory")
        flops, bandwidth = peak_flops(case.precision, self.matrix), peak_bandwidth()
        model, rows = fixed_model(case), []
        for name, operations, moved in costs(model, case.batch, self.training):
            tell(f"{case}: {name}")
            row = {"layer": name, "GFLOP": operations / 1e9, "MB": moved / 1e6}
            row["least ms"] = 1000 * max(operations / flops, moved / bandwidth)
            if self.measure and name not in ("loss", "update"):  # These are no layers.
                seconds = layer_seconds(model.get_layer(name), case.batch, self.training)
                row |= {"alone ms": 1000 * seconds, "GFLOP/s": operations / seconds / 1e9}
            rows.append(row)
        summed = ("GFLOP", "MB", "least ms", "alone ms")
        rows.append({"layer": "total"} | {n: sum(row.get(n, 0.0) for row in rows) for n in summed})
        title = f"{case}; {flops / 1e9:.0f} GFLOP/s, {bandwidth / 1e9:.1f} GB/s measured"
        about = {"case": asdict(case), "flops_per_second": flops, "bytes_per_second": bandwidth}
        return Report(title, rows, about)


def peak_flops(precision: str, size: int | None = None) -> float:
    """Operations a second of the best large matrix product, of JAX or, on a CPU, PyTorch."""
    size = size or (4096 if on_cpu() else 16384)
    square = np.random.default_rng(0).standard_normal((size, size), np.float32)
    x = jnp.asarray(square, precision)
    seconds = _times(tuned_jit(jnp.matmul), x, x)
    if on_cpu() and installed("torch"):
        import torch

        x = torch.from_numpy(square).to(getattr(torch, precision))
        seconds += _times(torch.matmul, x, x)
    return 2 * size**3 / min(seconds)


def peak_bandwidth() -> float:
    """Bytes a second, read and written, of adding one to a large array of float32.

    In place, since fresh memory would be slower.
    """
    x = jnp.zeros(2**26 if on_cpu() else 2**30)
    add = tuned_jit(lambda x: x + 1, donate_argnums=0)

    def step():
        nonlocal x
        x = add(x)
        return x

    return 2 * x.nbytes / min(_times(step))


def layer_seconds(layer: keras.Layer, batch: int, training: bool) -> float:
    """The time of a layer alone, with its gradients if `training`, on random inputs."""
    several = isinstance(layer.input, list)
    rng = np.random.default_rng(0)
    xs = [
        jnp.asarray(rng.random((batch, *x.shape[1:]), np.float32), layer.compute_dtype)
        for x in (layer.input if several else [layer.input])
    ]
    trained = [v.value for v in layer.trainable_variables]
    other = [v.value for v in layer.non_trainable_variables]
    options = {"training": training} if isinstance(layer, keras.layers.BatchNormalization) else {}

    def forward(trained, xs):
        inputs = xs if several else xs[0]
        return layer.stateless_call(trained, other, inputs, **options)[0]

    def gradients(trained, xs):
        if not several and layer.input.shape[-1] == 3:  # The image needs no gradient.
            y, pull = jax.vjp(lambda trained: forward(trained, xs), trained)
        else:
            y, pull = jax.vjp(forward, trained, xs)
        return y, pull(y)

    half = layer.compute_dtype == "bfloat16"
    function = tuned_jit(gradients if training else forward, half)
    return statistics.median(_times(function, trained, xs))


def _times(function: Callable, *args) -> list[float]:
    """Seconds of a few calls, after one that compiles."""

    def call():
        jax.block_until_ready(function(*args))

    call()
    return timeit.repeat(call, number=1, repeat=REPEATS)
