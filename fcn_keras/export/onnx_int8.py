"""An ONNX file in int8, by ONNX Runtime's static quantisation; OpenVINO reads it too."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fcn_keras.export.apart import run_apart

# Convolutions with all between them: kernels with a scale for each filter, maps with one each. The
# scores and their upsampling, a hundredth of the work, stay in float32: two classes' scores would
# often round to the same number. Weights have 7 bits: CPUs without VNNI add two products in 16
# bits, where those of 8 overflow. At 8 bits the model in the box was off by 12 % there.
_QUANTISE = """
import sys
from pathlib import Path
import numpy as np, onnx
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
folder, path, classes = sys.argv[1:]

class Photos(CalibrationDataReader):
    def __init__(self):
        self.paths = iter(sorted(Path(folder).glob("*.npy")))

    def get_next(self):
        path = next(self.paths, None)
        return None if path is None else {"images": np.load(path)}

model = onnx.load(path)
shapes = {constant.name: constant.dims for constant in model.graph.initializer}
convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
scores = [node.name for node in convolutions if shapes[node.input[1]][0] == int(classes)]
quantize_static(
    path,
    path,
    Photos(),
    op_types_to_quantize=["Conv", "Relu", "MaxPool"],
    per_channel=True,
    activation_type=QuantType.QUInt8,
    weight_type=QuantType.QInt8,
    reduce_range=True,
    nodes_to_exclude=scores,
)
quantised = onnx.load(path)
del quantised.metadata_props[:]  # ONNX Runtime adds its own
quantised.metadata_props.extend(model.metadata_props)
onnx.save(quantised, path)
"""


def quantise(path: Path, classes: int, photos: Sequence[np.ndarray]) -> None:
    """Rewrites the file.

    Args:
        path: An ONNX file of `fcn_keras.export.onnx_file`, in float32.
        classes: How many the model has.
        photos: Float32 ``(1, H, W, 3)``, to calibrate on.
    """
    run_apart("ONNX Runtime", _QUANTISE, path, classes, arrays=photos)
