"""This package with or without its faster paths, and OpenVINO on what it exports."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import keras
import numpy as np

from experiments.benchmark.case import Case, Contender
from experiments.benchmark.workers import Built
from fcn_keras import cpu
from fcn_keras.cpu.allocator import trim
from fcn_keras.cpu.runtime import tuned_jit
from fcn_keras.inference import bind
from fcn_keras.models import layers
from fcn_keras.training.config import TrainConfig
from fcn_keras.training.optimizer import make_optimizer
from fcn_keras.training.setup import build_model
from fcn_keras.training.step import State, init_state, make_step, release

TURNED_OFF = {
    "ours-stock-upsampling": ("upsampling",),
    "ours-stock-convolutions": ("convolutions",),
    "ours-stock-pools": ("pools",),
    "ours-default-xla": ("compiler",),
    "ours-default-memory": ("memory",),
    "ours-stock": cpu.ALGORITHMS,
}


def build(case: Case, contender: Contender) -> Built:
    """The contender, compiled."""
    if contender == "openvino":
        return Built(_openvino(case), lambda outputs: None, lambda: None)
    cpu.turn_off(*TURNED_OFF.get(contender, ()))
    cpu.prepare()
    calls = {"predict": _predict, "train": _train, "upsample": _upsample}
    return Built(calls[case.verb](case), jax.block_until_ready, _device_peak)


def configuration(case: Case) -> TrainConfig:
    """The training run whose network and step are measured: SGD with momentum and decay."""
    return TrainConfig(
        model=case.model,
        crop_size=case.size,
        batch_size=case.batch,
        precision=case.precision,
        backbone_width=case.backbone_width,
        head_width=case.head_width,
    )


def images_and_masks(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Random pixels ``(B, S, S, 3)`` and labels ``(B, S, S)``, uint8; a 20th of them void."""
    rng = np.random.default_rng(0)
    shape = (case.batch, case.size, case.size)
    images = rng.integers(256, size=(*shape, 3), dtype=np.uint8)
    masks = rng.integers(case.num_classes, size=shape, dtype=np.uint8)
    return images, np.where(rng.random(shape) < 0.05, np.uint8(255), masks)


def _predict(case: Case) -> Callable:
    model = build_model(configuration(case), case.num_classes)
    predict = bind(model, lambda images: model(images, training=False))
    images = jnp.asarray(images_and_masks(case)[0])
    return lambda: predict(images)


def _openvino(case: Case) -> Callable:
    """Compiled for latency, as OpenVINO does by itself, in the case's precision."""
    import openvino

    from fcn_keras.export import onnx_file
    from fcn_keras.export.job import Job

    model = build_model(replace(configuration(case), precision="float32"), case.num_classes)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fcn.onnx"
        onnx_file.write(Job(model, (case.size, case.size), "logits", {}), path)
        hint = {"float32": "f32", "bfloat16": "bf16"}[case.precision]
        compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": hint})
    images = images_and_masks(case)[0].astype(np.float32)
    return lambda: compiled({"images": images})[0]


def trainer(case: Case) -> tuple[jax.stages.Compiled, dict, State, keras.Model]:
    """The compiled step, a batch on the device, the state and the network, as a run has them."""
    config = configuration(case)
    model = build_model(config, case.num_classes)
    optimizer = make_optimizer(config, total_steps=1000)
    state = init_state(model, optimizer, config)
    release(model)
    images, masks = images_and_masks(case)
    batch = {"image": jnp.asarray(images), "mask": jnp.asarray(masks)}
    step = make_step(model, optimizer, config).lower(state, batch).compile()
    trim()
    return step, batch, state, model


def stepping(step: jax.stages.Compiled, batch: dict, state: State) -> Callable:
    """``call() -> metrics``, which takes the next step on the same batch."""

    def call():
        nonlocal state
        state, metrics = step(state, batch)
        return metrics

    return call


def _train(case: Case) -> Callable:
    return stepping(*trainer(case)[:3])


def _upsample(case: Case) -> Callable:
    """Forward and backward of one learned upsampling."""
    classes, size = case.num_classes, case.size // case.stride
    layer = layers.Upsample(
        classes, 2 * case.stride, strides=case.stride, padding="same", use_bias=False
    )
    layer.build((None, None, None, classes))
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(case.batch, size, size, classes)), "float32")
    probe = jnp.asarray(rng.normal(size=layer.compute_output_shape(x.shape)), "float32")

    @tuned_jit
    def both(kernel, x):
        y, pull = jax.vjp(lambda kernel, x: layer.stateless_call([kernel], [], x)[0], kernel, x)
        return y, pull(probe)

    kernel = layer.kernel.value
    return lambda: both(kernel, x)


def _device_peak() -> float | None:
    statistics = jax.devices()[0].memory_stats()
    return statistics["peak_bytes_in_use"] / 1e6 if statistics else None
