"""StableHLO with the weights inside, as `jax.export.deserialize` reads it; for CPU and CUDA."""

from __future__ import annotations

from pathlib import Path

from fcn_keras.export.job import Job, pure


def write(job: Job, path: Path) -> None:
    """Writes the file."""
    import jax
    from jax import export

    predict, values = pure(job.model, job.output)
    height, width = (size or name for size, name in zip(job.size, ("h", "w"), strict=True))
    shape = export.symbolic_shape(f"b, {height}, {width}, 3")
    exported = export.export(
        jax.jit(lambda images: predict(values, images)), platforms=("cpu", "cuda")
    )(jax.ShapeDtypeStruct(shape, "float32"))
    path.write_bytes(exported.serialize())
