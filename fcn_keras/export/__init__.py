"""Export to what people deploy, a module a format."""

from fcn_keras.export.saved_model import TOLERANCE, export_saved_model, largest_difference

__all__ = ["TOLERANCE", "export_saved_model", "largest_difference"]
