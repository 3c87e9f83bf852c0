"""How much memory a compiled step takes, and whether the device has it."""

from __future__ import annotations

import jax

from fcn_keras.cpu.memory import free_bytes
from fcn_keras.errors import InputError
from fcn_keras.training.config import TrainConfig

GB = 1e9


def check_memory(step: jax.stages.Compiled, config: TrainConfig) -> str | None:
    """Returns one line about the memory of a step, apart from the state; None if unknown.

    XLA:CPU ends the process when memory runs out, so this is checked beforehand.

    Args:
        step: The compiled step; the state is in memory already.
        config: The message names its sizes.

    Raises:
        InputError: the step takes more than is free.
    """
    analysis, free = step.memory_analysis(), _free()
    if analysis is None or free is None:
        return None
    state = analysis.alias_size_in_bytes  # donated: the outputs take its place
    batch = analysis.argument_size_in_bytes - state
    needed = batch + analysis.output_size_in_bytes - state + analysis.temp_size_in_bytes
    if jax.default_backend() == "cpu":
        needed *= jax.local_device_count()  # which share the memory
    sizes = f"{needed / GB:.2f} GB besides weights and optimiser; {free / GB:.2f} GB are free"
    if needed > free:
        raise InputError(
            f"batch_size={config.batch_size} and crop_size={config.crop_size} need {sizes}: lower "
            f"one of them, or raise accumulate={config.accumulate}"
        )
    return f"A step takes {sizes}."


def _free() -> int | None:
    """Free bytes of the fullest of this process's devices."""
    if jax.default_backend() == "cpu":
        return free_bytes()
    stats = [device.memory_stats() for device in jax.local_devices()]
    if not all(stat and "bytes_limit" in stat for stat in stats):
        return None
    return min(stat["bytes_limit"] - stat["bytes_in_use"] for stat in stats)
