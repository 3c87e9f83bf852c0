"""Reading other people's weights: torch checkpoints, name maps, layout changes."""

from fcn_keras.weights.torch_file import read_torch

__all__ = ["read_torch"]
