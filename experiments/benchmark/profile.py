"""Where the time of a compiled program goes, by layer, from JAX's profiler."""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

import jax

from experiments.benchmark import ours, workers
from experiments.benchmark.case import Case, Networks, Tell
from experiments.benchmark.report import Report

OUTSIDE = "loss, update and other"
# The profiler lists what runs inside of these, too.
CONTAINERS = ("while", "call", "conditional")


@dataclass(frozen=True, kw_only=True)
class Profile(Networks):
    """Time of a call in each layer, forward and backward, from JAX's profiler."""

    training: bool = True  # Profile a training step instead of a prediction.
    calls: int = 10  # Calls to take the mean of.

    def report(self, case: Case, tell: Tell) -> Report:
        """A row for each layer."""
        tell(f"profiling {case}")
        rows = workers.apart(profile, case, self.calls)
        return Report(f"{case}; ms per call", rows, {"case": asdict(case)})


def profile(case: Case, calls: int) -> list[dict]:
    """Milliseconds per call in each layer, forward and backward, in the network's order.

    The times of several threads (on a CPU) add up, so the sum may exceed the time of a call.
    """
    program = ours.program(case)
    layer_of = instructions(program.compiled.as_text(), program.layers)
    jax.block_until_ready(program.call())
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            for _ in range(calls):
                jax.block_until_ready(program.call())
        spent = _nanoseconds(next(Path(folder).rglob("*.xplane.pb")))
    milliseconds: Counter[tuple[str, str]] = Counter()
    for instruction, nanoseconds in spent.items():
        milliseconds[layer_of.get(instruction, (OUTSIDE, "forward"))] += nanoseconds / 1e6 / calls
    return [
        {"layer": name, **{way: milliseconds[name, way] for way in ("forward", "backward")}}
        for name in (*program.layers, OUTSIDE)
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
