"""TensorFlow's SavedModel, which needs TensorFlow alone.

Its signature ``serving_default`` takes float32 images, which is what decoding followed by any
resizing yields, and ``uint8`` takes bytes; `serve` takes either. It runs on CPU and CUDA.
"""

from __future__ import annotations

from pathlib import Path

from fcn_keras.export.job import INPUT, Job, pure


def write(job: Job, directory: Path) -> None:
    """Writes the folder."""
    import tensorflow as tf
    from jax.experimental import jax2tf

    # JAX may be using the accelerator; TensorFlow would take all of its memory.
    tf.config.set_visible_devices([], "GPU")
    predict, values = pure(job.model, job.output)
    height, width = (size or name for size, name in zip(job.size, ("h", "w"), strict=True))
    converted = jax2tf.convert(
        predict,
        polymorphic_shapes=[None, f"(b, {height}, {width}, 3)"],
        with_gradient=False,
        native_serialization_platforms=("cpu", "cuda"),
    )
    module = tf.Module()
    module.values = [tf.Variable(value, trainable=False) for value in values]
    specs = {
        dtype: tf.TensorSpec((None, *job.size, 3), dtype, name=INPUT)
        for dtype in (tf.float32, tf.uint8)
    }

    @tf.function(autograph=False)
    def serve(images):
        return converted(list(module.values), tf.cast(images, tf.float32))

    @tf.function(autograph=False)
    def named(images):
        return {job.output: serve(images)}

    module.serve = serve
    float32, uint8 = (named.get_concrete_function(spec) for spec in specs.values())
    signatures = {"serving_default": float32, "uint8": uint8}
    tf.saved_model.save(module, directory, signatures=signatures)
