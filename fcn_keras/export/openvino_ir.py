"""OpenVINO's IR, from the ONNX file: ``NAME.xml`` with the weights in ``NAME.bin`` beside it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from fcn_keras.export import onnx_file
from fcn_keras.export.job import Job


def write(job: Job, path: Path) -> None:
    """Writes the two files."""
    # Without this package OpenVINO doesn't report the import to its makers, in a forked process.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    onnx = path.with_suffix(".onnx")
    onnx_file.write(job, onnx)
    model = openvino.Core().read_model(onnx)
    for name, value in job.facts.items():
        model.set_rt_info(json.dumps(value), ["fcn_keras", name])
    openvino.save_model(model, path, compress_to_fp16=job.quantize == "float16")
    # It reads the weights from there until then.
    onnx.unlink()
