"""Export for deployment: one module per format, one entry point, one proof."""

from fcn_keras.export.door import Exported, export_model
from fcn_keras.export.formats import FORMATS, TOLERANCE
from fcn_keras.export.former import export_saved_model, largest_difference
from fcn_keras.export.proof import ExportError, Proof

__all__ = [
    "FORMATS",
    "TOLERANCE",
    "ExportError",
    "Exported",
    "Proof",
    "export_model",
    "export_saved_model",
    "largest_difference",
]
