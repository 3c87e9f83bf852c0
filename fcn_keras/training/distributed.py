"""Several processes, on one machine or many, that train one model together."""

from __future__ import annotations

import os
from collections.abc import Mapping

import jax

from fcn_keras.errors import InputError

HEARTBEAT_SECONDS = 30
"""A process silent for this long counts as dead, and the others end."""

VARIABLES = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")


def initialize(environment: Mapping[str, str] = os.environ) -> None:
    """Joins the other processes, before anything else uses JAX.

    The three `VARIABLES` say where process 0 listens (``HOST:PORT``), how many processes there
    are and which one this is. Without them JAX takes these from Slurm, Open MPI or the TPU.

    Raises:
        InputError: some of the variables are missing, none of these is found, or process 0 doesn't
            answer.
    """
    given = [environment.get(name) for name in VARIABLES]
    if any(given) and not all(given):
        missing = [name for name, value in zip(VARIABLES, given, strict=True) if not value]
        raise InputError(f"distributed: {', '.join(missing)} must be set too")
    address, count, index = given
    try:
        jax.distributed.initialize(
            address,
            _number(VARIABLES[1], count),
            _number(VARIABLES[2], index),
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
            # At the end the others wait for process 0, which draws the pictures.
            shutdown_timeout_seconds=10 * HEARTBEAT_SECONDS,
        )
    except InputError:
        raise
    except (RuntimeError, ValueError) as error:
        raise InputError(
            f"distributed: the processes can't connect ({str(error).splitlines()[0]}): set "
            f"{', '.join(VARIABLES)}, or start them under Slurm or Open MPI"
        ) from error


def _number(name: str, value: str | None) -> int | None:
    if value is None:
        return None
    if not value.isdecimal():
        raise InputError(f"distributed: {name}={value} is not a whole number")
    return int(value)
