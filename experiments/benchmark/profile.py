"""Where the time of a compiled step goes, by layer, from JAX's profiler."""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
from rich.table import Table

from experiments.benchmark import ours, workers
from experiments.benchmark.case import Case, Networks, Tell
from experiments.benchmark.tables import table
from fcn_keras.cpu.runtime import tuned_jit
from fcn_keras.training.setup import build_model

OUTSIDE = "loss, update and other"
# Of these the profiler shows what runs inside, too.
CONTAINERS = ("while", "call", "conditional")


@dataclass(frozen=True, kw_only=True)
class Profile(Networks):
    """Time of a call in each layer, forward and backward, from JAX's profiler."""

    training: bool = True  # Profile a training step instead of a prediction.
    calls: int = 10  # Calls to take the mean of.

    def run(self, tell: Tell) -> Iterator[tuple[Table, dict]]:
        """Yields each case's table and figures."""
        for case in self.cases("train" if self.training else "predict"):
            tell(f"profiling {case}")
            rows = workers.apart(profile, case, self.calls)
            yield table(f"{case}; ms a call", rows), {"case": asdict(case), "layers": rows}


def profile(case: Case, calls: int) -> list[dict]:
    """Milliseconds a call in each layer, forward and backward, in the network's order.

    With several threads (on a CPU) their times add up, so that the sum may exceed the time of a
    call.
    """
    compiled, call, names = (_trainer if case.verb == "train" else _predictor)(case)
    layer_of = instructions(compiled.as_text(), names)
    jax.block_until_ready(call())
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            for _ in range(calls):
                jax.block_until_ready(call())
        spent = _nanoseconds(next(Path(folder).rglob("*.xplane.pb")))
    milliseconds: Counter[tuple[str, str]] = Counter()
    for instruction, nanoseconds in spent.items():
        milliseconds[layer_of.get(instruction, (OUTSIDE, "forward"))] += nanoseconds / 1e6 / calls
    return [
        {"layer": name, **{way: milliseconds[name, way] for way in ("forward", "backward")}}
        for name in (*names, OUTSIDE)
        if milliseconds[name, "forward"] or milliseconds[name, "backward"]
    ]


def instructions(program: str, layers: list[str]) -> dict[str, tuple[str, str]]:
    """Layer and direction of each instruction of a compiled program's text.

    XLA keeps the name scope that an instruction came from, such as
    ``jit(step)/transpose(jvp(fc6))/conv_general_dilated``.
    """
    known = set(layers)
    found = {}
    for name, scope in re.findall(r'%?([\w.-]+) = .*metadata=\{.*?op_name="([^"]*)"', program):
        layer = next((word for word in re.findall(r"\w+", scope) if word in known), OUTSIDE)
        found[name] = (layer, "backward" if "transpose(" in scope else "forward")
    return found


def _nanoseconds(path: Path) -> Counter[str]:
    """Time spent in each instruction, over all calls."""
    spent: Counter[str] = Counter()
    for plane in jax.profiler.ProfileData.from_file(str(path)).planes:
        for line in plane.lines:
            for event in line.events:
                instruction = dict(event.stats).get("hlo_op")
                if instruction and not instruction.startswith(CONTAINERS):
                    spent[instruction] += event.duration_ns
    return spent


def _trainer(case: Case) -> tuple[jax.stages.Compiled, Callable, list[str]]:
    step, batch, state, model = ours.trainer(case)
    return step, ours.stepping(step, batch, state), [layer.name for layer in model.layers]


def _predictor(case: Case) -> tuple[jax.stages.Compiled, Callable, list[str]]:
    model = build_model(ours.configuration(case), case.num_classes)
    weights = [variable.value for variable in model.trainable_variables]
    other = [variable.value for variable in model.non_trainable_variables]
    images = jnp.asarray(ours.images_and_masks(case)[0])

    @tuned_jit
    def predict(weights, other, images):
        return model.stateless_call(weights, other, images, training=False)[0]

    compiled = predict.lower(weights, other, images).compile()
    names = [layer.name for layer in model.layers]
    return compiled, lambda: compiled(weights, other, images), names
