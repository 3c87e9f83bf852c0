"""Metrics, and scoring a model on a data set."""

from fcn_keras.evaluation.confusion import ConfusionMatrix, Scores
from fcn_keras.evaluation.evaluator import Evaluator

__all__ = ["ConfusionMatrix", "Evaluator", "Scores"]
