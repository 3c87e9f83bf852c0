"""Runs an exported file as a server would, where nothing but its runtime can be imported.

A program of its own: ``python -P serve.py WRITER FILE FOLDER`` reads ``0.npy``, ``1.npy``, ... of
the folder and writes what the file returns to ``0.out.npy``, ..., and ``served.json`` with the
runtime's version and the time of each, the first call left out.
"""

import importlib.metadata
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

RUNTIMES = {
    "saved_model": ("tensorflow",),
    "onnx_file": ("onnxruntime",),
    "openvino_ir": ("openvino",),
    "litert": ("ai_edge_litert",),
    "stablehlo": ("jax", "jaxlib"),
    # With TensorFlow installed Keras imports it.
    "compact": ("fcn_keras", "keras", "jax", "jaxlib", "tensorflow"),
}
# The last one would report each import to OpenVINO's makers.
OTHERS = ("torch", "onnx", "openvino_telemetry")


def main() -> None:
    """The program."""
    kind, path, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    out_of_reach = {*OTHERS, *(name for names in RUNTIMES.values() for name in names)}
    for name in out_of_reach.difference(RUNTIMES[kind]):
        sys.modules[name] = None  # type: ignore[assignment]
    import numpy as np

    run = LOADERS[kind](path)
    milliseconds = []
    for source in sorted(folder.glob("[0-9]*.npy")):
        images = np.load(source)
        run(images)
        start = time.perf_counter()
        output = run(images)
        milliseconds.append(1000 * (time.perf_counter() - start))
        np.save(source.with_suffix(".out.npy"), output)
    served = {"runtime": version(RUNTIMES[kind][0]), "milliseconds": milliseconds}
    (folder / "served.json").write_text(json.dumps(served))


def version(package: str) -> str:
    """Name and version of an installed package, by the module's name."""
    distribution = importlib.metadata.packages_distributions()[package][0]
    return f"{distribution} {importlib.metadata.version(distribution)}"


def saved_model(path: str) -> Callable:
    """The signature that TensorFlow Serving uses when none is named."""
    import tensorflow as tf

    serve = tf.saved_model.load(path).signatures["serving_default"]

    def run(images):
        (output,) = serve(images=tf.constant(images)).values()
        return output.numpy()

    return run


def onnx(path: str) -> Callable:
    """ONNX Runtime on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {"images": images})[0]


def openvino(path: str) -> Callable:
    """OpenVINO on the CPU, in float32: on some CPUs it would choose bfloat16 by itself."""
    import openvino

    model = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda images: model({"images": images})[0]


def litert(path: str) -> Callable:
    """LiteRT's interpreter."""
    from ai_edge_litert.interpreter import Interpreter

    serve = Interpreter(model_path=path).get_signature_runner()

    def run(images):
        (output,) = serve(images=images).values()
        return output

    return run


def stablehlo(path: str) -> Callable:
    """JAX."""
    import jax
    import numpy as np

    exported = jax.export.deserialize(bytearray(Path(path).read_bytes()))
    serve = jax.jit(exported.call)
    return lambda images: np.asarray(serve(images))


def compact(path: str) -> Callable:
    """This package itself, the only one that reads such files."""
    from fcn_keras.saving import load_model

    model = load_model(path)
    return lambda images: model(images, training=False)


LOADERS: dict[str, Callable[[str], Callable]] = {
    "saved_model": saved_model,
    "onnx_file": onnx,
    "openvino_ir": openvino,
    "litert": litert,
    "stablehlo": stablehlo,
    "compact": compact,
}

if __name__ == "__main__":
    main()
