"""Builds the model, the augmentation and the devices' batches of a configuration."""

from __future__ import annotations

import contextlib
import dataclasses
import random
from collections.abc import Callable, Generator

import jax
import keras
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from fcn_keras import models
from fcn_keras.cpu.runtime import arrived
from fcn_keras.data import Augmentation, Source, train_batches
from fcn_keras.data.augmentation import Augment, OwnAugmentation
from fcn_keras.errors import InputError
from fcn_keras.models import anatomy
from fcn_keras.pretrained import load_model
from fcn_keras.training.config import TrainConfig
from fcn_keras.training.step import State
from fcn_keras.weights import load_weights


def build_model(
    config: TrainConfig, num_classes: int, tell: Callable[[str], None] = lambda _: None
) -> keras.Model:
    """The network of `config` with its starting weights, a function of ``config.seed``.

    `tell` receives what was loaded from a weights file and what was not.

    Raises:
        InputError: an option or a weights file doesn't fit.
    """
    if keras.backend.backend() != "jax":
        raise InputError(
            f"training needs the jax backend, but Keras runs on {keras.backend.backend()}: "
            "set KERAS_BACKEND=jax"
        )
    # What keras.utils.set_random_seed does for initialisers and dropout, without importing
    # TensorFlow where it is installed.
    random.seed(config.seed)
    options = {"at_once": True} if config.at_once else {}
    policy = "mixed_bfloat16" if config.precision == "bfloat16" else "float32"
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = getattr(models, config.model)(
            num_classes,
            backbone=config.backbone,
            backbone_width=config.backbone_width,
            head_width=config.head_width,
            dropout=config.dropout,
            upsampling=config.upsampling,
            geometry=config.geometry,
            batch_norm=config.batch_norm,
            **options,
        )
    finally:
        keras.config.set_dtype_policy(before)
    if config.weights is not None:
        tell(load_weights(model, config.weights).summary())
    if config.init_from is not None:
        transfer = models.init_from(model, load_model(config.init_from))
        tell(f"{config.init_from}: {len(transfer.copied)} layers copied")
        if transfer.new:
            tell(f"  {', '.join(transfer.new)}: left as initialised")
    if config.freeze_until is not None:
        freeze(model, config.freeze_until)
    return model


def freeze(model: keras.Model, block: str) -> None:
    """Makes the backbone's layers up to and including `block` untrainable.

    Raises:
        InputError: `block` is not one of block1 to block5.
    """
    blocks = [f"block{index}" for index in range(1, 6)]
    if block not in blocks:
        raise InputError(f"freeze_until={block!r} is not a block: choose from {', '.join(blocks)}")
    for layer in model.layers:
        number = anatomy.block(layer.name)
        if number is not None and number <= int(block[-1]):
            layer.trainable = False


def fit_batch(config: TrainConfig, samples: int, tell: Callable[[str], None]) -> TrainConfig:
    """The settings with a batch that `samples` can fill; `tell` is told of a change."""
    if samples >= config.batch_size:
        return config
    parts = config.accumulate * len(jax.devices())
    size = samples // parts * parts
    if not size:
        return config  # building the batches raises the error
    tell(f"The split has {samples} samples only: batch_size is {size}, not {config.batch_size}.")
    return dataclasses.replace(config, batch_size=size)


def augmentation_of(config: TrainConfig, own: Callable[..., dict] | None = None) -> Augment:
    """The augmentation of `config`, or the user's own."""
    if own is not None:
        return OwnAugmentation(own, config.crop_size)
    return Augmentation(
        crop_size=config.crop_size,
        scale=(config.min_scale, config.max_scale),
        color_jitter=config.color_jitter,
    )


class Devices:
    """All devices in a row: batches are split over them, the state is replicated.

    Attributes:
        shard: Index of this process and their number.

    Raises:
        InputError: the devices can't share the batch equally.
    """

    def __init__(self, config: TrainConfig):
        count = len(jax.devices())
        if (config.batch_size // config.accumulate) % count:
            raise InputError(
                f"batch_size={config.batch_size} (accumulate={config.accumulate}) can't be split "
                f"over {count} devices: make it a multiple"
            )
        mesh = Mesh(np.array(jax.devices()), ("batch",))
        self._split = NamedSharding(mesh, PartitionSpec("batch"))
        self._everywhere = NamedSharding(mesh, PartitionSpec())
        self.shard = (jax.process_index(), jax.process_count())

    @property
    def alone(self) -> bool:
        """Whether this process is the only one."""
        return self.shard[1] == 1

    @property
    def first_process(self) -> bool:
        """Whether this process is the one that writes."""
        return self.shard[0] == 0

    def barrier(self, where: str) -> None:
        """Waits until every process has come this far."""
        if not self.alone:
            multihost_utils.sync_global_devices(where)

    def agreed(self, number: int) -> int:
        """The number that the first process has."""
        return number if self.alone else int(multihost_utils.broadcast_one_to_all(np.int32(number)))

    def place(self, state: State) -> State:
        """Copies the state to every device."""
        return jax.device_put(state, self._everywhere)

    def batch_shapes(self, config: TrainConfig) -> dict[str, jax.ShapeDtypeStruct]:
        """Shapes, types and placement of a batch."""
        shape = (config.batch_size, config.crop_size, config.crop_size)
        return {
            "image": jax.ShapeDtypeStruct((*shape, 3), np.uint8, sharding=self._split),
            "mask": jax.ShapeDtypeStruct(shape, np.uint8, sharding=self._split),
        }

    def batches(
        self, config: TrainConfig, source: Source, start_step: int, augmentation: Augment
    ) -> Generator[tuple[dict[str, jax.Array], np.ndarray], None, None]:
        """Endless ``(batch, indices)`` from `start_step` on, the batch split over the devices."""
        stream = train_batches(
            source,
            batch_size=config.batch_size,
            augmentation=augmentation,
            seed=config.seed,
            start_step=start_step,
            workers=config.workers,
            shard=self.shard,
        )
        with contextlib.closing(stream):
            for batch in stream:
                indices = batch.pop("index")
                arrays = {
                    name: jax.make_array_from_process_local_data(self._split, array)
                    for name, array in batch.items()
                }
                yield arrived(arrays), indices
