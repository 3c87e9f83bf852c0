"""A model as an ordered list of its layers, to run on parts of an image or of its feature maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import keras
from keras import layers

from fcn_keras.inference.rules import LayerRule, Part, Place, border, rule_of
from fcn_keras.models.geometry import Grid

# Pools with these strides, whose maps take less memory than the photo's logits and can be kept.
KEPT_STRIDES = (8, 16)


@dataclass(frozen=True)
class Step:
    """A layer. Its output is the map with the step's number; map 0 is the image."""

    rule: LayerRule
    inputs: tuple[int, ...]
    place: Place
    channels: int

    @property
    def read(self) -> tuple[int, ...]:
        """The maps whose values it needs; of its other inputs it needs the size only."""
        return self.inputs[self.rule.reads]

    @property
    def bytes_per_pixel(self) -> float:
        """Bytes of its map per pixel of the image: float32, except for the image itself."""
        return (4 if self.inputs else 1) * self.channels / self.place.stride**2


@dataclass(frozen=True)
class Stage:
    """Steps that run together on a part.

    Attributes:
        steps: Their numbers.
        inputs: The maps of earlier steps that these or later ones read.
        outputs: The maps that later steps read, or the logits.
        stride: The largest in the stage; parts begin and end at multiples of it.
        margin: Within this many pixels of its edges a part's outputs differ from the image's.
        bytes_per_pixel: What the largest step reads and writes per pixel of the image.
    """

    steps: range
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    stride: int
    margin: int
    bytes_per_pixel: float


class Graph:
    """The layers of a model, with the places of their maps.

    Attributes:
        steps: Each as early as its inputs allow.
        border: Zeros that the model adds on each side of the image; the result is the canvas.
    """

    def __init__(self, steps: Sequence[Step], border: int):
        self.steps = steps
        self.border = border
        self.last = len(steps) - 1

    @classmethod
    def of(cls, model: keras.Model) -> Graph | None:
        """The graph of a model, or None if a layer has no rule."""
        calls = _calls(model)
        rules = [rule for layer, _ in calls if (rule := rule_of(layer))]
        if not calls or len(rules) < len(calls):
            return None
        width = sum(border(layer) for layer, _ in calls)
        steps = [Step(LayerRule(None), (), Place(Grid(), shift=-width), 3)]
        for (layer, inputs), rule in zip(calls, rules, strict=True):
            place = rule.place(*(steps[i].place for i in inputs))
            steps.append(Step(rule, inputs, place, layer.output.shape[-1]))
        return cls(steps, width)

    def sizes(self, size: Any) -> list:
        """The heights of all maps, given the image's; or the widths."""
        sizes = [size]
        for step in self.steps[1:]:
            sizes.append(step.rule.size(*(sizes[i] for i in step.inputs)))
        return sizes

    def starts(self, pixel: Any) -> list:
        """The rows of all maps at which a part begins, given that of the canvas; or the columns.

        A program had better be given these numbers and `sizes`: XLA would compute them again in
        every loop that compares with them, which takes longer to compile and to load.
        """
        return [pixel // step.place.stride + step.place.shift for step in self.steps]

    def run(
        self, stage: Stage, inputs: Sequence, starts: Sequence[Any], sizes: Sequence[Any]
    ) -> list:
        """Computes a stage's outputs.

        Args:
            stage: One of `stages`, or any `stage`.
            inputs: A part of each of the stage's inputs ``(B, h, w, C)``.
            starts: Row and column of every map at which the part begins; those of the canvas must
                be multiples of the stride.
            sizes: Height and width of every map of the image: two numbers, or ``(B,)`` each.
        """
        maps = dict(zip(stage.inputs, inputs, strict=True))
        for number in stage.steps:
            step = self.steps[number]
            parts = [Part(maps[i], self.steps[i].place, starts[i], sizes[i]) for i in step.read]
            maps[number] = step.rule.run(*parts)
            # Without a compiler, maps would stay in memory after their last reader.
            needed = {*stage.outputs, *self._read_by(range(number + 1, stage.steps.stop))}
            maps = {i: values for i, values in maps.items() if i in needed}
        return [maps[i] for i in stage.outputs]

    def stages(self) -> list[Stage]:
        """All steps, cut where maps are small: after pools and before the last upsampling."""
        found = [step.rule.layer for step in self.steps]
        cuts = {
            number
            for number, layer in enumerate(found)
            if isinstance(layer, layers.MaxPooling2D)
            and self.steps[number].place.stride in KEPT_STRIDES
        }
        upsampled = [
            i for i, layer in enumerate(found) if isinstance(layer, layers.Conv2DTranspose)
        ]
        cuts |= {i - 1 for i in upsampled[-1:]} - {0}
        ends = [*sorted(cuts), self.last]
        return [self.stage(a + 1, b) for a, b in zip([0, *ends[:-1]], ends, strict=True)]

    def stage(self, first: int, last: int) -> Stage:
        """The stage of the steps from `first` to `last`."""
        steps = range(first, last + 1)
        later = self._read_by(range(last + 1, self.last + 1)) or {self.last}
        inputs = tuple(sorted(i for i in self._read_by(steps) | later if i < first))
        stride = max(self.steps[i].place.stride for i in (*inputs, *steps))
        return Stage(
            steps=steps,
            inputs=inputs,
            outputs=tuple(sorted(i for i in later if i <= last)),
            stride=stride,
            margin=-(-self._reach(steps, inputs) // stride) * stride,
            bytes_per_pixel=max(self._traffic(number) for number in steps),
        )

    def _reach(self, steps: range, inputs: Sequence[int]) -> Fraction:
        """How far from the pixels of an output's block its inputs' blocks can lie.

        Sample i of a map has the block of pixels ``stride * i`` to ``stride * (i + 1)``, with the
        part's first pixels in the block of its first sample. Unpadded windows and crops move a
        sample away from its block.
        """
        nothing = Fraction(0)
        places = {i: self.steps[i].place for i in range(steps.start)}
        places |= {i: replace(p, grid=replace(p.grid, reach=nothing)) for i, p in places.items()}
        furthest = nothing
        for number in steps:
            step = self.steps[number]
            place = places[number] = step.rule.place(*(places[i] for i in step.inputs))
            away = max(abs(place.away - places[i].away) for i in inputs)
            furthest = max(furthest, place.grid.reach + away)
        return furthest

    def _read_by(self, steps: range) -> set[int]:
        return {i for number in steps for i in self.steps[number].read}

    def _traffic(self, number: int) -> float:
        return sum(self.steps[i].bytes_per_pixel for i in (number, *self.steps[number].read))


def _calls(model: keras.Model) -> list[tuple[keras.Layer, tuple[int, ...]]]:
    """The layers in order of depth, and the numbers of those they read (from 1; 0 is the image).

    Empty if the model is not a graph of layers with one image as its input.
    """
    if not isinstance(model, keras.Model) or len(getattr(model, "inputs", None) or ()) != 1:
        return []
    image = keras.Input(model.inputs[0].shape[1:])
    depths = {id(image): 0}
    calls: dict[int, tuple[keras.Layer, list[int]]] = {}

    def call(layer: keras.Layer, *tensors: Any, **options: Any) -> Any:
        read = keras.tree.flatten(tensors)
        output = layer(*tensors, **options)
        depths[id(output)] = 1 + max(depths[id(tensor)] for tensor in read)
        calls[id(output)] = layer, [id(tensor) for tensor in read]
        return output

    keras.models.clone_model(
        keras.Model(model.inputs[0], model.outputs[0]),
        input_tensors=image,
        clone_function=lambda layer: layer,
        call_function=call,
    )
    order = sorted(calls, key=depths.__getitem__)
    numbers = {id(image): 0} | {output: number for number, output in enumerate(order, start=1)}
    return [(calls[o][0], tuple(numbers[i] for i in calls[o][1])) for o in order]
