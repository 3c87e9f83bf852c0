"""Scores as a table for the terminal."""

from __future__ import annotations

import math

from rich.table import Table

from fcn_keras.data.classes import ClassTable
from fcn_keras.evaluation import Scores


def scores_table(scores: Scores, classes: ClassTable, title: str) -> Table:
    """The four metrics, then each class's IoU and accuracy, in percent; absent classes as "-"."""

    def percent(value: float) -> str:
        return "-" if math.isnan(value) else f"{100 * value:.2f}"

    table = Table(title=title)
    table.add_column("class")
    table.add_column("IoU %", justify="right")
    table.add_column("accuracy %", justify="right")
    for name, iou, accuracy in zip(classes.names, scores.iou, scores.accuracy, strict=True):
        table.add_row(name, percent(iou), percent(accuracy))
    table.add_section()
    table.add_row("mean", percent(scores.mean_iou), percent(scores.mean_accuracy))
    table.add_row("frequency weighted", percent(scores.fw_iou), "")
    table.add_row("pixels", "", percent(scores.pixel_accuracy))
    return table
