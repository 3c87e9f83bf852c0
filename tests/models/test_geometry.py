"""Centre arithmetic: the module's examples, brute force, and the centres of real models."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

import fcn_keras
from fcn_keras.cpu.runtime import tuned_jit
from fcn_keras.errors import InputError
from fcn_keras.models.feature_map import FeatureMap
from fcn_keras.models.geometry import Grid
from fcn_keras.models.vgg import BACKBONES, backbone
from tests.parity.conversion import weight_variables

OFFSETS = {
    ("fcn32s", "caffe"): {"crop": 19},
    ("fcn16s", "caffe"): {"crop_pool4": 5, "crop": 27},
    ("fcn8s", "caffe"): {"crop_pool4": 5, "crop_pool3": 9, "crop": 31},
    ("fcn32s", "same"): {"crop": 0},
    ("fcn16s", "same"): {"crop_pool4": 0, "crop": 0},
    ("fcn8s", "same"): {"crop_pool4": 0, "crop_pool3": 0, "crop": 0},
}


@pytest.mark.parametrize("border", [0, 99])
@pytest.mark.parametrize("name", ["vgg16", "vgg19"])
def test_pools_lie_at_the_centres_of_their_receptive_fields(name, border):
    """Walks back from a sample to the first and the last pixel that it sees."""
    image = FeatureMap(keras.Input((None, None, 3)), Grid())
    taps = backbone(image, BACKBONES[name], 1, border)
    layers, padding = [], border + 1  # (kernel, stride, padding)
    deep = {"vgg16": 3, "vgg19": 4}[name]
    for block, convolutions in enumerate((2, 2, deep, deep, deep), start=1):
        for _ in range(convolutions):
            layers.append((3, 1, padding))
            padding = 1
        layers.append((2, 2, 0))
        for sample in (0, 7):
            first = last = sample
            for kernel, stride, pad in reversed(layers):
                first = first * stride - pad
                last = last * stride - pad + kernel - 1
            grid = taps[f"pool{block}"].grid
            assert Fraction(first + last, 2) == grid.stride * sample + grid.start


def averaging(name, kind):
    """A model whose convolutions all average, for pixels that are taken as they are."""
    model = getattr(fcn_keras, name)(1, backbone_width=1, head_width=1, geometry=kind)
    for layer, variable in weight_variables(model):
        if variable.name == "kernel" and not layer.startswith("upscore"):
            variable.assign(np.full(variable.shape, 1 / np.prod(variable.shape[:3])))
    normalize = model.get_layer("normalize")
    normalize.scale, normalize.offset = [1, 1, 1], [0, 0, 0]
    return model


@pytest.mark.parametrize("name, kind", OFFSETS)
def test_models_crop_by_the_released_offsets(name, kind):
    model = getattr(fcn_keras, name)(1, backbone_width=1, head_width=1, geometry=kind)
    assert {n: model.get_layer(n).offset for n in OFFSETS[name, kind]} == OFFSETS[name, kind]


@pytest.mark.parametrize(
    "name, kind",
    [
        ("fcn8s", "same"),
        ("fcn8s", "caffe"),
        ("fcn32s", "caffe"),
        pytest.param("fcn16s", "caffe", marks=pytest.mark.slow),
        pytest.param("fcn16s", "same", marks=pytest.mark.slow),
        pytest.param("fcn32s", "same", marks=pytest.mark.slow),
    ],
)
def test_pixels_look_straight_ahead(name, kind):
    """The gradient of 32 rows of the output is centred on the same rows of the input.

    On a rising ramp each max pool picks its window's second row, on a falling one the first:
    the mean of the two gradients is the average pool's.
    """
    model = averaging(name, kind)
    trainable = [v.value for v in model.trainable_variables]
    frozen = [v.value for v in model.non_trainable_variables]
    height, first = 544, 256

    def rows(image):
        return model.stateless_call(trainable, frozen, image)[0][:, first : first + 32].sum()

    gradient = tuned_jit(jax.grad(rows))
    ramp = jnp.broadcast_to(jnp.linspace(1, 2, height)[:, None, None], (1, height, 2, 3))
    field = sum(np.asarray(gradient(x)).sum(axis=(0, 2, 3)) for x in (ramp, ramp[:, ::-1]))
    assert field[0] == field[-1] == 0
    centre = (field * np.arange(height)).sum() / field.sum()
    assert centre == pytest.approx(first + 15.5, abs=1e-3)


def test_grids_that_no_crop_aligns_are_refused():
    with pytest.raises(InputError, match="can't be aligned"):
        Grid(Fraction(2)).offset_to(Grid())
    with pytest.raises(InputError, match="can't be aligned"):
        Grid().window(2).offset_to(Grid())
