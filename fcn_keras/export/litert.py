"""LiteRT (formerly TensorFlow Lite) by Keras' own exporter, under TensorFlow in its own process.

It takes one image of one size at a time.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from fcn_keras.errors import InputError
from fcn_keras.export.job import Job

_CONVERT = """
import sys
import keras, tensorflow as tf
import fcn_keras
from fcn_keras.export.job import finish
source, path, height, width, output = sys.argv[1:]

class Finish(keras.layers.Layer):
    # Keras' argmax takes operators that LiteRT alone doesn't have.
    def call(self, logits):
        if output == "classes":
            return tf.cast(tf.argmax(logits, axis=-1, output_type=tf.int32), tf.uint8)
        return finish(logits, output)

model = keras.models.load_model(source, compile=False)
image = keras.Input((int(height), int(width), 3), batch_size=1, name="images")
keras.Model(image, Finish()(model(image))).export(path, format="litert", verbose=False)
"""


def write(job: Job, path: Path) -> None:
    """Writes the file.

    Raises:
        InputError: no size is given, or TensorFlow can't convert the model.
    """
    if job.input_size is None:
        raise InputError("format='litert' takes images of one size: give `input_size`")
    source = path.with_suffix(".keras")
    job.model.save(source)
    arguments = [str(source), str(path), *map(str, job.input_size), job.output]
    done = subprocess.run(
        [sys.executable, "-P", "-c", _CONVERT, *arguments],
        env=os.environ | {"KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1"},
        capture_output=True,
        text=True,
    )
    source.unlink()
    if done.returncode:
        raise RuntimeError(f"TensorFlow can't convert the model: {done.stderr.strip()}")
