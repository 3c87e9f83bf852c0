"""Trains and evaluates on what devices there are, and prints what came out as JSON.

    python -m tests.training.device_worker RUN DATA

With ``JAX_PROCESS_ID`` set it is one of several processes. All but the first may write no file.
"""

import json
import os
import resource
import sys
from pathlib import Path

if __name__ == "__main__":
    # albumentations imports torch where it is installed, which takes longer than this whole run.
    sys.modules["torch"] = None

import jax
import numpy as np

from fcn_keras.data import open_dataset
from fcn_keras.evaluation import Evaluator
from fcn_keras.training import Reporter, TrainConfig, distributed, train
from fcn_keras.training.setup import Devices, augmentation_of, build_model


class Losses(Reporter):
    def __init__(self):
        self.losses = []

    def step(self, step, loss, images):
        self.losses.append(loss)


def configuration(data: Path) -> TrainConfig:
    return TrainConfig(
        data_dir=data,
        backbone_width=2,
        head_width=4,
        dropout=0.0,
        crop_size=32,
        batch_size=4,
        epochs=2,
        learning_rate=0.05,
        bucket=64,
    )


def scores(config: TrainConfig, shard: tuple[int, int]) -> dict:
    """The validation scores of made-up weights, which predict all classes."""
    source = open_dataset(config.dataset, config.data_dir, "val")
    model = build_model(config, len(source.classes))
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(size=w.shape).astype(w.dtype) for w in model.get_weights()])
    return Evaluator(model, bucket=64).run(source, shard=shard).to_dict(source.classes.names)


def measure(run: Path, data: Path) -> dict:
    """Trains in `run` and returns what must not depend on the devices."""
    config, reporter = configuration(data), Losses()
    devices = Devices(config)
    source = open_dataset(config.dataset, config.data_dir, "train")
    _, indices = next(devices.batches(config, source, 0, augmentation_of(config)))
    result = train(config, run, reporter=reporter)
    return {
        "devices": jax.device_count(),
        "first_batch": indices.tolist(),
        "losses": reporter.losses,
        "steps": result.steps,
        "best_mean_iou": result.best_mean_iou,
        "scores": scores(config, devices.shard),
    }


def main(run: Path, data: Path) -> None:
    if "JAX_PROCESS_ID" in os.environ:
        distributed.initialize()
    if jax.process_index():
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    print(json.dumps(measure(run, data)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
