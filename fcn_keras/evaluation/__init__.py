"""Metrics, and scoring a model on a data set."""

from fcn_keras.evaluation.confusion import ConfusionMatrix, Scores
from fcn_keras.evaluation.details import Details
from fcn_keras.evaluation.evaluator import Evaluator
from fcn_keras.evaluation.report import Evaluated, write_report

__all__ = ["ConfusionMatrix", "Details", "Evaluated", "Evaluator", "Scores", "write_report"]
