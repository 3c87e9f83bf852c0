import itertools
import subprocess
import sys
from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import layers

from fcn_keras import InputError
from fcn_keras.inference import large
from fcn_keras.inference.compiled import bind
from fcn_keras.inference.graph import Graph
from fcn_keras.inference.large import LargePhotos
from fcn_keras.inference.rows import Array, Resized
from fcn_keras.inference.tiling import Axis, Tiler
from fcn_keras.inference.tta import averaged
from fcn_keras.models.layers import Crop

# Tiles of such small models then have sides of 64 to 448 pixels.
TILE_BYTES = 3 * 2**20


def whole(model, image, function=lambda logits: logits):
    return np.asarray(bind(model, lambda x: function(model(x, training=False)))(image[None]))[0]


def tiled(tiler, image, step=50):
    rows = tiler.logits(Array(image))
    return np.concatenate(
        [rows.rows(i, min(i + step, len(image))) for i in range(0, len(image), step)]
    )


def tiles(tiler, image):
    """Down and across, of each stage from the last to the first."""
    source, found = tiler.logits(Array(image)), []
    while hasattr(source, "down"):
        found.append((source.down.count, source.across.count))
        source = source.source
    return found


@pytest.fixture
def small_model(randomized, optimized):
    return lambda border: randomized(three_pools(border))


def three_pools(border):
    """Three pools, a window at the largest stride and an upsampling, much like FCN-8s."""
    x = image = keras.Input((None, None, 3))
    x = layers.Rescaling(1 / 128, offset=-1)(x)
    if border:
        x = layers.ZeroPadding2D(border)(x)
    for _ in range(3):
        x = layers.MaxPooling2D(2, padding="same")(layers.Conv2D(4, 3, padding="same")(x))
    x = layers.Conv2D(5, 5, padding="valid" if border else "same")(x)
    x = layers.Conv2DTranspose(5, 16, strides=8, padding="valid" if border else "same")(x)
    return keras.Model(image, Crop(12 if border else 0)(x, image))


@pytest.mark.slow
@pytest.mark.parametrize("border", [0, 24])
def test_tiles_of_a_small_model_give_the_logits_of_the_whole(small_model, photo, change, border):
    model, image = small_model(border), photo(341, 203)
    tiler = Tiler(model, 2**20)
    assert max(np.prod(counts) for counts in tiles(tiler, image)) > 4
    exact = np.asarray(model(image[None], training=False))[0]
    assert change(exact, tiled(tiler, image)) < 1e-5


@pytest.mark.parametrize(
    ("name", "options", "size"),
    [
        pytest.param("fcn8s", {}, (417, 603), marks=pytest.mark.slow),
        pytest.param("fcn8s", {"geometry": "caffe"}, (291, 453), marks=pytest.mark.slow),
        pytest.param("fcn8s", {"batch_norm": True}, (703, 333), marks=pytest.mark.slow),
        pytest.param("fcn16s", {}, (333, 703), marks=pytest.mark.slow),
        pytest.param("fcn16s", {"geometry": "caffe"}, (501, 203), marks=pytest.mark.slow),
        pytest.param("fcn32s", {}, (640, 640), marks=pytest.mark.slow),
        pytest.param("fcn32s", {"geometry": "caffe"}, (640, 351), marks=pytest.mark.slow),
        pytest.param("fcn8s", {"backbone": "vgg16_bn"}, (417, 603), marks=pytest.mark.slow),
        pytest.param("fcn8s", {"backbone": "vgg19"}, (5, 1403), marks=pytest.mark.slow),
    ],
)
def test_tiles_give_the_logits_of_the_whole(random_model, photo, change, name, options, size):
    model, image = random_model(name, **options), photo(*size)
    tiler = Tiler(model, TILE_BYTES)
    assert max(np.prod(counts) for counts in tiles(tiler, image)) > 4
    assert change(whole(model, image), tiled(tiler, image)) < 1e-5


def test_less_margin_would_change_them(small_model, photo, change):
    model, image = small_model(0), photo(341, 203)
    tiler = Tiler(model, 2**20)
    tiler.stages = [
        (replace(s, margin=s.margin // 2 // s.stride * s.stride), r) for s, r in tiler.stages
    ]
    exact = np.asarray(model(image[None], training=False))[0]
    assert change(exact, tiled(tiler, image)) > 1e-3


def test_margins_follow_from_the_layers(random_model):
    same, caffe = Graph.of(random_model()), Graph.of(random_model(geometry="caffe"))
    # Up to pool3, to pool4, to the last sum, to the logits; all at once.
    assert [stage.margin for stage in same.stages()] == [24, 32, 192, 8]
    assert same.stage(1, same.last).margin == 256  # 245, in steps of 32
    # fc6 has no padding: its samples lie 96 pixels behind the blocks of their numbers.
    assert [stage.margin for stage in caffe.stages()] == [24, 32, 288, 16]
    assert (same.border, caffe.border) == (0, 99)


@pytest.mark.slow
@pytest.mark.parametrize("geometry", ["same", "caffe"])
def test_sizes_are_those_of_the_model(random_model, geometry):
    model = random_model(geometry=geometry)
    graph = Graph.of(model)
    names = [step.rule.layer.name for step in graph.steps[1:]]
    found = dict(zip(names, graph.sizes(101)[1:], strict=True))
    maps = keras.Model(model.input, {name: model.get_layer(name).output for name in names})
    shapes = {name: values.shape[1] for name, values in maps(np.zeros((1, 101, 64, 3))).items()}
    assert found == shapes


@pytest.mark.parametrize(("flip", "scales"), [(True, (1.0,)), (True, (0.75, 1.5))])
def test_views_of_tiles_are_those_of_the_whole(small_model, photo, change, flip, scales):
    model, image = small_model(0), photo(111, 203)
    predict = averaged(lambda x: model(x, training=False), flip=flip, scales=scales)
    exact = np.exp(np.asarray(bind(model, predict)(image[None]))[0])
    photos = LargePhotos(model, bucket=1, flip=flip, scales=scales, tile_bytes=2**20)
    found = np.exp(np.concatenate([logits for _, logits in photos.bands(image)]))
    # Photos are resized at float32 positions, which 200 pixels in are 1.5e-5 of a pixel apart.
    assert change(exact, found) < 2e-5


def test_resized_rows_are_those_of_keras(photo):
    image = photo(30, 41)
    for size in ((30, 41), (71, 20), (13, 99)):
        expected = np.asarray(
            keras.ops.image.resize(np.float32(image), size, "bilinear", antialias=False)
        )
        for mirror in (False, True):
            resized = Resized(Array(image), size, mirror)
            rows = [resized.rows(i, min(i + 7, size[0])) for i in range(0, size[0], 7)]
            wanted = expected[:, ::-1] if mirror else expected
            np.testing.assert_allclose(np.concatenate(rows), wanted, atol=1e-3)


def test_tiles_cover_every_length():
    for length, count, margin in itertools.product(range(1, 900, 37), range(1, 6), (8, 24)):
        axis = Axis.of(length, count, margin, 64)
        assert axis.side % 64 == 0
        assert (axis.count - 1) * axis.step + axis.side >= length
        assert axis.count == 1 or axis.step == axis.side - 2 * margin


def test_photos_of_many_sizes_share_compiles(small_model, photo):
    tiler = Tiler(small_model(0), 2**20)
    for size in ((400, 300), (410, 290), (405, 310)):
        tiled(tiler, photo(*size))
    assert tiler.compiles() == 3  # one for each stage


def test_a_model_with_other_layers_is_named(photo):
    image = keras.Input((None, None, 3))
    output = keras.layers.UpSampling2D(2)(keras.layers.Conv2D(5, 2, strides=2)(image))
    model = keras.Model(image, output, name="other")
    with pytest.raises(InputError, match="model other has layers that can't be run on parts"):
        next(LargePhotos(model, bucket=1).bands(photo(10, 10)))


def test_photos_are_large_once_they_are_padded_or_scaled(random_model, monkeypatch):
    monkeypatch.setattr(large, "MOST_PIXELS", 128 * 256)
    photos = LargePhotos(random_model(), bucket=128)
    assert not photos.take(128, 256)
    assert photos.take(129, 129)
    assert not LargePhotos(random_model(), bucket=1).take(129, 129)
    assert LargePhotos(random_model(), bucket=1, scales=(1, 2)).take(129, 129)


TOO_LITTLE = """
import resource
import numpy as np
import fcn_keras
segmenter = fcn_keras.Segmenter(fcn_keras.fcn8s(5, backbone_width=4, head_width=8))
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 200 * 2**20,) * 2)
try:
    segmenter(np.zeros((1200, 1200, 3), np.uint8))
except fcn_keras.InputError as error:
    print(error)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space")
def test_too_little_memory_for_a_tile_is_an_error_not_the_end(random_model):
    result = subprocess.run([sys.executable, "-c", TOO_LITTLE], capture_output=True, text=True)
    assert result.stdout.startswith("a photo of 1200x1200 pixels needs 320 MB for a tile"), result


FULL_SIZE = """
import numpy as np
import fcn_keras
model = fcn_keras.fcn8s(21, head_width=512)
photo = np.random.default_rng(0).integers(0, 256, (600, 6000, 3), np.uint8)
assert fcn_keras.Segmenter(model)(photo).shape == (600, 6000)
# Not ru_maxrss, which a new process inherits from the one that started it.
status = open("/proc/self/status").read()
print(int(status.split("VmHWM:")[1].split()[0]) // 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.usefixtures("optimized")
def test_memory_is_bounded_at_full_width():
    """A megapixel takes a gigabyte in one piece; this photo has 3.6."""
    result = subprocess.run([sys.executable, "-c", FULL_SIZE], capture_output=True, text=True)
    assert int(result.stdout) < 1500, result.stderr
