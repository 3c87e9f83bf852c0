"""Reading other people's weights: torch checkpoints, name maps, layout changes."""

from fcn_keras.weights.convert import convert
from fcn_keras.weights.files.read import read_tensors
from fcn_keras.weights.files.torch_file import read_torch
from fcn_keras.weights.load import load_weights
from fcn_keras.weights.report import LoadReport

Report = LoadReport  # the first release's name

__all__ = ["LoadReport", "Report", "convert", "load_weights", "read_tensors", "read_torch"]
