"""The machine's measured limits, and each layer's time beside the least it could take."""

from __future__ import annotations

import statistics
import timeit
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass

import jax
import jax.numpy as jnp
import keras
import numpy as np
from rich.table import Table

from experiments.benchmark.case import Case, Networks, Tell, installed
from experiments.benchmark.costs import Cost, Limits, costs
from experiments.benchmark.tables import table
from fcn_keras import models
from fcn_keras.cpu.runtime import tuned_jit

REPEATS = 5


@dataclass(frozen=True, kw_only=True)
class Roofline(Networks):
    """Operations and bytes of each layer, the least time they allow, and the time they take."""

    training: bool = False  # Count and measure the gradients too.
    measure: bool = True  # Time each layer alone.

    def run(self, tell: Tell) -> Iterator[tuple[Table, dict]]:
        """Yields each case's table and figures."""
        machine = limits(self.precision, self.matrix)
        for case in self.cases("train" if self.training else "predict"):
            rows = layers(case, machine, self.measure, tell)
            figures = {"case": asdict(case), "limits": asdict(machine), "layers": rows}
            yield _table(case, machine, rows), figures


def limits(precision: str, size: int | None = None) -> Limits:
    """Measures them with JAX, and the product with PyTorch too where that is installed.

    `size` is the matrices' height and width; by default large enough for the device.
    """
    on_cpu = jax.default_backend() == "cpu"
    size = size or (4096 if on_cpu else 16384)
    square = np.random.default_rng(0).standard_normal((size, size), np.float32)
    x = jnp.asarray(square, precision)
    product = min(_seconds(tuned_jit(jnp.matmul), x, x))
    if on_cpu and installed("torch"):
        import torch

        x = torch.from_numpy(square).to(getattr(torch, precision))
        product = min(product, *_seconds(torch.matmul, x, x))
    count = (64 if on_cpu else 1024) * 2**20 * min(size, 4096) // 4096
    return Limits(2 * size**3 / product, 2 * 4 * count / _addition(count))


def _addition(count: int) -> float:
    """Seconds of adding one to that many floats, in place: fresh memory would be slower."""
    add = tuned_jit(lambda x: x + 1, donate_argnums=0)
    x = jnp.zeros(count)

    def step():
        nonlocal x
        x = add(x)
        return x

    return min(_seconds(step))


def _seconds(function: Callable, *args) -> list[float]:
    """The times of a few calls, after one that compiles."""

    def call():
        jax.block_until_ready(function(*args))

    call()
    return timeit.repeat(call, number=1, repeat=REPEATS)


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
            backbone_width=case.backbone_width,
            head_width=case.head_width,
        )
    finally:
        keras.config.set_dtype_policy(before)


def survey(cases: Sequence[Case], matrix: int | None) -> tuple[Limits, list[float]]:
    """The machine's limits, and the operations of one call of each case."""
    flops = [
        sum(cost.flops for cost in costs(fixed_model(case), case.batch, case.verb == "train"))
        for case in cases
    ]
    return limits(cases[0].precision, matrix), flops


def layers(case: Case, machine: Limits, measure: bool, tell: Tell) -> list[dict]:
    """What each layer of a case needs and, with `measure`, the seconds that it takes by itself."""
    training = case.verb == "train"
    model = fixed_model(case)
    rows = []
    for cost in costs(model, case.batch, training):
        tell(f"measuring {cost.name}")
        rows.append(
            {
                **asdict(cost),
                "intensity": cost.intensity,
                "bound": cost.bound(machine),
                "least_seconds": cost.seconds(machine),
                "seconds": _layer_seconds(model, cost, case.batch, training) if measure else None,
            }
        )
    return rows


def _layer_seconds(model: keras.Model, cost: Cost, batch: int, training: bool) -> float | None:
    """The measured time of one layer alone, with its gradients if `training`.

    None for the loss and the update, which are no layers.
    """
    if cost.name in ("loss", "update"):
        return None
    layer = model.get_layer(cost.name)
    several = isinstance(layer.input, list)
    rng = np.random.default_rng(0)
    xs = [
        jnp.asarray(rng.random((batch, *x.shape[1:]), np.float32), layer.compute_dtype)
        for x in (layer.input if several else [layer.input])
    ]
    trained = [v.value for v in layer.trainable_variables]
    other = [v.value for v in layer.non_trainable_variables]
    options = {"training": training} if isinstance(layer, keras.layers.BatchNormalization) else {}

    def forward(trained, other, xs):
        return layer.stateless_call(trained, other, xs if several else xs[0], **options)[0]

    def gradients(trained, other, xs):
        if not several and layer.input.shape[-1] == 3:  # the image needs no gradient
            y, pull = jax.vjp(lambda trained: forward(trained, other, xs), trained)
        else:
            y, pull = jax.vjp(lambda trained, xs: forward(trained, other, xs), trained, xs)
        return y, pull(y)

    program = tuned_jit(gradients if training else forward)
    return statistics.median(_seconds(program, trained, other, xs))


def _table(case: Case, machine: Limits, rows: Sequence[dict]) -> Table:
    """The layers, and their sum below."""
    names = ("flops", "bytes", "least_seconds", "seconds")
    total = {name: sum(row[name] or 0 for row in rows) for name in names}
    total |= {"name": "total", "intensity": total["flops"] / total["bytes"], "bound": ""}
    title = (
        f"{case}; {machine.flops_per_second / 1e9:.0f} GFLOP/s, "
        f"{machine.bytes_per_second / 1e9:.1f} GB/s measured"
    )
    return table(title, [_row(**row) for row in (*rows, total)])


def _row(*, name, flops, bytes, intensity, bound, least_seconds, seconds) -> dict:
    return {
        "layer": name,
        "GFLOP": f"{flops / 1e9:.3f}",
        "MB": f"{bytes / 1e6:.1f}",
        "FLOP/byte": f"{intensity:.1f}",
        "bound": bound,
        "least ms": 1000 * least_seconds,
        "alone ms": 1000 * seconds if seconds else None,
        "GFLOP/s": f"{flops / seconds / 1e9:.1f}" if seconds else None,
        "share": f"{least_seconds / seconds:.0%}" if seconds else None,
    }
