"""What checkpoints cost: ``python -m tests.training.checkpoint_cost [--full]``.

Prints the time of a step alone, the time for which `save` holds the loop up, and how much longer
the steps take that run while the checkpoint is being written.
"""

import argparse
import dataclasses
import tempfile
import time
from pathlib import Path

import jax
import numpy as np

from fcn_keras.recipes import load_recipe
from fcn_keras.training import init_state, make_optimizer, make_step
from fcn_keras.training.checkpoint import Checkpoints, RunProgress
from fcn_keras.training.setup import build_model


def main(full: bool) -> None:
    config = load_recipe("shapes")
    if full:
        config = dataclasses.replace(
            config, backbone_width=64, head_width=4096, batch_size=2, crop_size=224, optimizer="sgd"
        )
    rng = np.random.default_rng(0)
    shape = (config.batch_size, config.crop_size, config.crop_size)
    batch = {
        "image": rng.integers(0, 256, (*shape, 3)).astype("uint8"),
        "mask": rng.integers(0, 6, shape).astype("uint8"),
    }
    model = build_model(config, 6)
    optimizer = make_optimizer(config, 1000)
    step = make_step(model, optimizer, config)
    state = init_state(model, optimizer, config)
    megabytes = sum(x.nbytes for x in jax.tree.leaves(state)) / 1e6

    def run(state, count):
        started = time.perf_counter()
        for _ in range(count):
            state, metrics = step(state, batch)
            float(metrics.loss_sum)
        return state, (time.perf_counter() - started) / count

    count = 4 if full else 20
    state, _ = run(state, 2)
    holds, beside = [], []
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints(Path(folder))
        checkpoints.save(state, RunProgress(step=1))  # compiles the checksum
        checkpoints.wait()
        state, alone = run(state, count)
        for index in range(3):
            started = time.perf_counter()
            checkpoints.save(state, RunProgress(step=2 + index))
            holds.append(time.perf_counter() - started)
            state, seconds = run(state, count)
            beside.append((seconds - alone) * count)
            checkpoints.wait()
        checkpoints.close()
    hold, extra = float(np.median(holds)), max(float(np.median(beside)), 0)
    print(f"state {megabytes:.0f} MB, step {alone:.3f} s, save holds up {hold:.3f} s")
    print(f"steps beside the writing: {extra:.3f} s more in all")
    for steps in (100, 1000):
        print(f"a checkpoint every {steps} steps: {(hold + extra) / (steps * alone):.2%}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="FCN-8s of full width, 2 x 224 x 224")
    main(parser.parse_args().full)
