"""LiteRT (formerly TensorFlow Lite) by Keras' own exporter, under TensorFlow in its own process.

It takes one image of one size at a time.
"""

from __future__ import annotations

from pathlib import Path

from fcn_keras.errors import InputError
from fcn_keras.export.apart import run_apart
from fcn_keras.export.job import Job

_CONVERT = """
import sys
from pathlib import Path
import keras, numpy as np, tensorflow as tf
import fcn_keras
from fcn_keras.export.job import finish
folder, source, path, height, width, output, quantize = sys.argv[1:]

def photos():
    for photo in sorted(Path(folder).glob("*.npy")):
        yield [np.load(photo)]

class Finish(keras.layers.Layer):
    def call(self, logits):
        return finish(logits, output)

model = keras.models.load_model(source, compile=False)
image = keras.Input((int(height), int(width), 3), batch_size=1, name="images")
shorter = {"optimizations": [tf.lite.Optimize.DEFAULT]}
options = {
    "": {},
    "float16": shorter | {"target_spec": {"supported_types": [tf.float16]}},
    "int8": shorter | {"representative_dataset": photos},
}[quantize]
finished = keras.Model(image, Finish()(model(image)))
finished.export(path, format="litert", verbose=False, **options)
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
    arguments = (source, path, *job.input_size, job.output, job.quantize or "")
    run_apart("TensorFlow", _CONVERT, *arguments, arrays=job.calibration)
    source.unlink()
