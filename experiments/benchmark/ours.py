"""This package with or without its faster paths, and OpenVINO on what it exports."""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import keras
import numpy as np

from experiments.benchmark.case import OURS, Case, Contender
from experiments.benchmark.workers import Built
from fcn_keras import cpu
from fcn_keras.cpu.allocator import trim
from fcn_keras.cpu.runtime import tuned_jit
from fcn_keras.cpu.turned import Weights
from fcn_keras.inference.precision import in_precision
from fcn_keras.models.layers import Upsample
from fcn_keras.training.config import TrainConfig
from fcn_keras.training.optimizer import make_optimizer
from fcn_keras.training.setup import build_model
from fcn_keras.training.step import init_state, make_step, release


class Program(NamedTuple):
    """A compiled prediction or training step.

    Attributes:
        compiled: Takes `arguments`.
        arguments: Weights and images, or the training state and a batch.
        call: Runs the program without arguments; a training step continues from the last one.
        layers: The network's layers in order.
    """

    compiled: jax.stages.Compiled
    arguments: tuple
    call: Callable[[], Any]
    layers: list[str]


def build(case: Case, contender: Contender) -> Built:
    """The contender, compiled."""
    if contender == "openvino":
        return Built(_openvino(case))
    cpu.turn_off(*OURS[contender])
    cpu.prepare()
    call = _upsampler(case) if case.verb == "upsample" else program(case).call
    return Built(call, jax.block_until_ready, _device_peak)


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


def network(case: Case) -> keras.Model:
    """The network with random weights, for images of any size."""
    return build_model(configuration(case), case.num_classes)


def program(case: Case) -> Program:
    """The case's prediction or training step, as users get it."""
    return _trainer(case) if case.verb == "train" else _predictor(case)


def _predictor(case: Case) -> Program:
    model = in_precision(network(replace(case, precision="float32")), case.precision)
    gc.collect()
    trim()  # here and below, as `Segmenter` does
    weights = Weights(model)

    def predict(values, images):
        with weights.scope(values):
            return model(images, training=False)

    arguments = (weights.values(), jnp.asarray(images_and_masks(case)[0]))
    compiled = tuned_jit(predict, cpu.calls_onednn(model)).compile(*arguments)
    trim()
    return Program(compiled, arguments, lambda: compiled(*arguments), _names(model))


def _trainer(case: Case) -> Program:
    config, model = configuration(case), network(case)
    optimizer = make_optimizer(config, total_steps=1000)
    state = init_state(model, optimizer, config)
    release(model)
    images, masks = images_and_masks(case)
    batch = {"image": jnp.asarray(images), "mask": jnp.asarray(masks)}
    compiled = make_step(model, optimizer, config).compile(state, batch)
    trim()
    arguments = (state, batch)

    def call():
        nonlocal state
        state, metrics = compiled(state, batch)
        return metrics

    return Program(compiled, arguments, call, _names(model))


def _upsampler(case: Case) -> Callable[[], Any]:
    """A learned upsampling and its two gradients."""
    size = case.size // case.stride
    layer = Upsample(case.num_classes, 2 * case.stride, case.stride, padding="same", use_bias=False)
    layer.build((None, None, None, case.num_classes))
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(case.batch, size, size, case.num_classes)), "float32")
    probe = jnp.asarray(rng.normal(size=layer.compute_output_shape(x.shape)), "float32")

    def both(kernel, x):
        y, pull = jax.vjp(lambda kernel, x: layer.stateless_call([kernel], [], x)[0], kernel, x)
        return y, pull(probe)

    compiled, kernel = tuned_jit(both), layer.kernel.value
    return lambda: compiled(kernel, x)


def _names(model: keras.Model) -> list[str]:
    return [layer.name for layer in model.layers]


def images_and_masks(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Random pixels ``(B, S, S, 3)`` and labels ``(B, S, S)``, uint8; a 20th of them void."""
    rng = np.random.default_rng(0)
    shape = (case.batch, case.size, case.size)
    images = rng.integers(256, size=(*shape, 3), dtype=np.uint8)
    masks = rng.integers(case.num_classes, size=shape, dtype=np.uint8)
    return images, np.where(rng.random(shape) < 0.05, np.uint8(255), masks)


def _openvino(case: Case) -> Callable:
    """Compiled for latency, as OpenVINO does by itself, in the case's precision."""
    import openvino

    from fcn_keras.export import onnx_file
    from fcn_keras.export.job import Job

    model = network(replace(case, precision="float32"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fcn.onnx"
        onnx_file.write(Job(model, (case.size, case.size), "logits", {}), path)
        hint = {"float32": "f32", "bfloat16": "bf16"}[case.precision]
        compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": hint})
    images = images_and_masks(case)[0].astype(np.float32)
    return lambda: compiled({"images": images})[0]


def _device_peak() -> float | None:
    statistics = jax.devices()[0].memory_stats()
    return statistics["peak_bytes_in_use"] / 1e6 if statistics else None
