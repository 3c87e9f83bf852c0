"""Export to TensorFlow's SavedModel, with a check that it computes the same."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import keras
import numpy as np

from fcn_keras.errors import InputError
from fcn_keras.inference import bind
from fcn_keras.saving import num_classes

TOLERANCE = 1e-3
"""Largest difference that passes, as a share of the range of the logits."""

# One photo upright, two on their side, each of an odd height: what a server would see.
CHECK_SHAPES = ((1, 375, 500), (2, 500, 333))

# Runs in a process of its own. With these packages out of reach the SavedModel must do alone.
_SERVE = """
import sys
for package in ("jax", "jaxlib", "keras", "fcn_keras"):
    sys.modules[package] = None
import numpy as np
import tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
for path in sys.argv[2:]:
    np.save(path, model.serve(tf.constant(np.load(path))).numpy())
"""


def export_saved_model(
    model: keras.Model,
    directory: str | PathLike,
    *,
    input_size: tuple[int, int] | None = None,
) -> float:
    """Writes a SavedModel that needs TensorFlow alone, and checks it in a process without JAX.

    Its ``serve`` and its signature ``serving_default`` take ``images``, RGB 0..255 as float32
    ``(B, H, W, 3)``, and return ``logits``, float32 ``(B, H, W, classes)``. Float32, since that
    is what decoding followed by any resizing yields; cast uint8 pixels. It runs on CPU and CUDA.

    Args:
        model: The model, under the JAX backend.
        directory: Where to write; must not exist, or hold an older SavedModel, which is replaced.
        input_size: ``(H, W)`` to fix; None leaves height and width open. The batch is always open.

    Returns:
        The largest difference between its logits and the model's on full-sized images, as a
        share of the logits' range.

    Raises:
        InputError: not the JAX backend, no TensorFlow, a wrong size, or `directory` holds
            something else.
        RuntimeError: the difference is above `TOLERANCE`, or TensorFlow fails to run the export.
            Nothing is left behind.
    """
    directory = Path(directory)
    num_classes(model)
    _check_arguments(directory, input_size)
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory.parent, prefix=f".{directory.name}-") as folder:
        written = Path(folder) / "saved_model"
        _write(model, written, input_size or (None, None))
        shapes = CHECK_SHAPES if input_size is None else ((1, *input_size), (2, *input_size))
        difference = largest_difference(model, written, shapes)
        if not difference <= TOLERANCE:
            raise RuntimeError(
                f"the SavedModel's logits differ from the model's by {difference:.1e} of their "
                f"range, more than {TOLERANCE:.0e}; {directory} was not written"
            )
        if directory.exists():
            shutil.rmtree(directory)
        os.replace(written, directory)
    return difference


def _check_arguments(directory: Path, input_size: tuple[int, int] | None) -> None:
    if keras.backend.backend() != "jax":
        raise InputError(
            f"the backend is {keras.backend.backend()}, but export runs on JAX: set "
            "KERAS_BACKEND=jax"
        )
    if input_size is not None and min(input_size) < 1:
        raise InputError(f"input_size={tuple(input_size)} is not possible: give pixels above 0")
    replaceable = not directory.exists() or (directory / "saved_model.pb").is_file()
    if not replaceable and not (directory.is_dir() and not any(directory.iterdir())):
        raise InputError(f"{directory} exists and is not a SavedModel: name another folder")
    try:
        import tensorflow as tf
    except ImportError as error:
        raise InputError(
            "export needs TensorFlow, which is not installed: pip install fcn-keras[export]"
        ) from error
    # JAX may be using the accelerator; TensorFlow would take all of its memory.
    tf.config.set_visible_devices([], "GPU")


def _write(model: keras.Model, directory: Path, input_size: tuple) -> None:
    """Keras' own `model.export` would assign the frozen variables at every call."""
    import tensorflow as tf
    from jax.experimental import jax2tf

    trainable = [variable.value for variable in model.trainable_variables]

    def predict(values, images):
        split = len(trainable)
        return model.stateless_call(values[:split], values[split:], images, training=False)[0]

    height, width = (size or name for size, name in zip(input_size, ("h", "w"), strict=True))
    converted = jax2tf.convert(
        predict,
        polymorphic_shapes=[None, f"(b, {height}, {width}, 3)"],
        with_gradient=False,
        native_serialization_platforms=("cpu", "cuda"),
    )
    module = tf.Module()
    values = trainable + [variable.value for variable in model.non_trainable_variables]
    module.values = [tf.Variable(np.array(value), trainable=False) for value in values]
    signature = [tf.TensorSpec((None, *input_size, 3), tf.float32, name="images")]

    @tf.function(input_signature=signature, autograph=False)
    def serve(images):
        return converted(list(module.values), images)

    module.serve = serve
    named = tf.function(lambda images: {"logits": serve(images)}, input_signature=signature)
    tf.saved_model.save(module, directory, signatures={"serving_default": named})


def largest_difference(
    model: keras.Model, directory: str | PathLike, shapes: Sequence[tuple[int, int, int]]
) -> float:
    """The largest difference of the SavedModel's logits from the model's, in a fresh process.

    Args:
        model: The model that was exported.
        directory: Its SavedModel.
        shapes: ``(B, H, W)`` of the random images to compare on.

    Returns:
        The difference as a share of the range of the model's logits.

    Raises:
        RuntimeError: TensorFlow fails to load or run the SavedModel.
    """
    import jax

    random = np.random.default_rng(0)
    images = [random.integers(0, 256, (*shape, 3)).astype(np.float32) for shape in shapes]
    predict = bind(model, lambda images: model(images, training=False))
    with jax.default_matmul_precision("highest"):
        expected = [np.asarray(predict(image)) for image in images]
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{index}.npy" for index in range(len(images))]
        for file, image in zip(files, images, strict=True):
            np.save(file, image)
        _serve(directory, files)
        served = [np.load(file) for file in files]
    return max(_difference(*pair) for pair in zip(expected, served, strict=True))


def _serve(directory: str | PathLike, files: Sequence[Path]) -> None:
    command = [sys.executable, "-P", "-c", _SERVE, str(directory), *map(str, files)]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "2"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(f"TensorFlow can't run {directory}:\n{result.stderr.strip()}")


def _difference(expected: np.ndarray, served: np.ndarray) -> float:
    if expected.shape != served.shape:
        raise RuntimeError(f"the SavedModel returns {served.shape} instead of {expected.shape}")
    spread = max(np.ptp(expected), np.finfo(np.float32).tiny)
    return float(np.abs(expected - served).max() / spread)
