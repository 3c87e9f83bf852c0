"""What the writers of all formats are given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from fcn_keras.export.formats import Precision
from fcn_keras.models.scores import class_map

Output = Literal["logits", "classes", "probabilities"]

INPUT = "images"


@dataclass(frozen=True)
class Job:
    """A model to write, and the form to write it in.

    Attributes:
        model: Computes in float32.
        input_size: ``(H, W)`` to fix; None leaves height and width open.
        output: What the file returns.
        facts: Names, colours and origin of the model, by name; values that JSON can hold.
        quantize: Type of numbers to use instead; None keeps float32.
        calibration: Float32 photos ``(1, H, W, 3)`` to calibrate int8 on.
    """

    model: keras.Model
    input_size: tuple[int, int] | None
    output: Output
    facts: dict[str, Any]
    quantize: Precision | None = None
    calibration: Sequence[np.ndarray] = field(default=())

    @property
    def size(self) -> tuple[int | None, int | None]:
        """Height and width, None where open."""
        return self.input_size or (None, None)


def finish(logits: Any, output: Output) -> Any:
    """Scores ``(B, H, W, C)`` as what `output` names; `classes` are uint8 ``(B, H, W)``."""
    if output == "classes":
        return class_map(logits)
    return ops.softmax(logits, axis=-1) if output == "probabilities" else logits


def pure(model: keras.Model, output: Output = "logits") -> tuple[Callable, list[np.ndarray]]:
    """``predict(values, images)`` for JAX, and the values.

    Keras' own `model.export` would assign the frozen variables at every call.
    """
    trainable = [np.array(variable.value) for variable in model.trainable_variables]
    fixed = [np.array(variable.value) for variable in model.non_trainable_variables]

    def predict(values, images):
        split = len(trainable)
        logits, _ = model.stateless_call(values[:split], values[split:], images, training=False)
        return finish(logits, output)

    return predict, trainable + fixed
