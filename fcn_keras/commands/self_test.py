"""The self-test of `fcn-keras doctor`: a tiny model against closed forms, in a few seconds."""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Callable, Iterator

import keras
import numpy as np

from fcn_keras import Segmenter
from fcn_keras.data.shapes import draw_sample
from fcn_keras.models import fcn8s
from fcn_keras.models.convolution import Convolution
from fcn_keras.models.layers import Bilinear, Upsample

CLASSES, SIDE = 6, 32
MOST_ERROR = 1e-4


class Failed(Exception):
    """A result is wrong."""


def run_tests(failed: list[str], debug: bool = False) -> Iterator[tuple[str, str]]:
    """Yields the name and the outcome of each test.

    Args:
        failed: Receives the names of those that fail.
        debug: Print the traceback of an error.
    """
    for name, test in TESTS.items():
        begin = time.perf_counter()
        try:
            outcome = f"ok, {test()}"
        except Exception as error:  # any error means that the installation is broken
            if debug:
                traceback.print_exc()
            failed.append(name)
            outcome = f"FAILED, {type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
        yield name, f"{outcome} ({time.perf_counter() - begin:.1f} s)"


def upsampling() -> str:
    """Bilinear interpolation continues a ramp, except within a sample of the edge."""
    stride, height, width = 8, 5, 7
    ramp = np.add.outer(np.arange(height), 10 * np.arange(width)).astype(np.float32)
    layer = Upsample(
        1, 2 * stride, strides=stride, padding="same", use_bias=False,
        kernel_initializer=Bilinear(),
    )  # fmt: skip
    rows, columns = ((np.arange(stride * count) + 0.5) / stride - 0.5 for count in (height, width))
    expected = np.add.outer(rows, 10 * columns)
    inside = (slice(stride, -stride),) * 2
    found = _numpy(layer(ramp[None, :, :, None]))[0, :, :, 0]
    return _compare(found[inside], expected[inside])


def convolution() -> str:
    """Ones averaged over 3x3 windows are the share of each window that isn't padding."""
    channels, side = 64, 28
    layer = Convolution(
        128, 3, padding="same", kernel_initializer=keras.initializers.Constant(1 / 9 / channels)
    )
    inside = np.array([2, *[3] * (side - 2), 2]) / 3
    found = _numpy(layer(np.ones((1, side, side, channels), np.float32)))[0]
    return _compare(found, np.multiply.outer(inside, inside)[:, :, None])


def training() -> str:
    """Scores begin at zero, so the first loss is the logarithm of the class count, and falls."""
    if keras.backend.backend() != "jax":
        return "left out, since it needs the jax backend"
    import jax

    from fcn_keras.training import TrainConfig, init_state, make_optimizer, make_step
    from fcn_keras.training.setup import build_model

    config = TrainConfig(
        backbone_width=4, head_width=16, crop_size=SIDE, batch_size=1, dropout=0.0,
        optimizer="adamw", learning_rate=0.01, schedule="constant",
    )  # fmt: skip
    image, mask = draw_sample(np.random.default_rng(0), SIDE, SIDE)
    batch = {"image": image[None], "mask": mask[None]}
    model, optimizer = build_model(config, CLASSES), make_optimizer(config, 2)
    step, state = make_step(model, optimizer, config), init_state(model, optimizer)
    losses = []
    # It compiles in half the time; prediction tests the optimised compiler.
    jax.config.update("jax_disable_most_optimizations", True)
    try:
        for _ in range(2):
            state, metrics = step(state, batch)
            losses.append(float(metrics.loss_sum / metrics.pixels))
    finally:
        jax.config.update("jax_disable_most_optimizations", False)
    if not (abs(losses[0] - math.log(CLASSES)) < 1e-4 and losses[1] < losses[0]):
        raise Failed(f"losses {losses}, not from {math.log(CLASSES):.5f} downwards")
    return f"loss {losses[0]:.4f}, then {losses[1]:.4f}"


def prediction() -> str:
    """A model whose scores are biases alone finds the class of the largest, padding or not."""
    model, label = fcn8s(CLASSES, backbone_width=4, head_width=16), 4
    score = model.get_layer("score_fr")
    score.bias.assign(np.eye(CLASSES)[label])
    image, _ = draw_sample(np.random.default_rng(1), SIDE - 7, SIDE)
    mask = Segmenter(model, bucket=SIDE)(image)
    if mask.shape != image.shape[:2] or (mask != label).any():
        raise Failed(f"classes {np.unique(mask)} of shape {mask.shape}, not {label} everywhere")
    return f"class {label} at every pixel"


TESTS: dict[str, Callable[[], str]] = {
    test.__name__: test for test in (upsampling, convolution, training, prediction)
}


def _numpy(tensor: object) -> np.ndarray:
    return keras.ops.convert_to_numpy(tensor)


def _compare(found: np.ndarray, expected: np.ndarray) -> str:
    error = float(np.max(np.abs(found - expected)))
    if not error <= MOST_ERROR:
        raise Failed(f"an error of {error:.2g}, more than {MOST_ERROR:.0e}")
    return f"largest error {error:.1e}"
