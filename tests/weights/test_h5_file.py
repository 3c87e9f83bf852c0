"""HDF5 files: Keras' VGG16 in its old and new layouts, converted files, and saved models."""

import h5py
import keras
import numpy as np
import pytest
from safetensors.numpy import save_file

from fcn_keras import InputError, fcn8s, fcn16s, fcn32s
from fcn_keras.weights import convert, load_weights
from fcn_keras.weights.files.read import read_tensors
from fcn_keras.weights.rules import VGG16

FEATURES = (
    0,
    2,
    5,
    7,
    10,
    12,
    14,
    17,
    19,
    21,
    24,
    26,
    28,
)  # the convolutions of torchvision's VGG16
WIDTHS = (4, 4, 8, 8, 16, 16, 16, 32, 32, 32, 32, 32, 32)
NARROW = {"num_classes": 5, "backbone_width": 4, "head_width": 8}
MEAN_BGR = np.array([103.939, 116.779, 123.68])

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def random(*shape):
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def keras_vgg16(top=True):
    """Kernel and bias of each layer of a narrow VGG16 as Keras orders them."""
    layers, into = {}, 3
    for name, width in zip(VGG16, WIDTHS, strict=True):
        layers[name] = random(3, 3, into, width), random(width)
        into = width
    if top:
        layers["fc1"] = random(49 * 32, 8), random(8)
        layers["fc2"] = random(8, 8), random(8)
        layers["predictions"] = random(8, 10), random(10)
    return layers


def write_keras(path, layers, style):
    """The layouts of Keras 1 (the released files), Keras 2 and Keras 3."""
    with h5py.File(path, "w") as file:
        for number, (layer, (kernel, bias)) in enumerate(layers.items()):
            if style == 3:
                group = file.create_group(f"layers/conv2d_{number}/vars")
                group.attrs["name"] = layer
                names = "0", "1"
            elif style == 2:
                group, names = file.create_group(layer), (f"{layer}/kernel:0", f"{layer}/bias:0")
            else:
                group, names = file.create_group(layer), (f"{layer}_W_1:0", f"{layer}_b_1:0")
            group[names[0]], group[names[1]] = kernel, bias
        if style < 3:
            file.create_group("block1_pool")
    return path


@pytest.mark.parametrize("style", [1, 2, 3])
def test_keras_vgg16(tmp_path, style):
    layers = keras_vgg16()
    model = fcn8s(**NARROW)
    report = load_weights(model, write_keras(tmp_path / "vgg16.h5", layers, style))
    assert report.format == "Keras' VGG16"
    assert len(report.loaded) == 30
    reasons = {why for name, why in report.skipped if name.startswith("predictions/")}
    assert reasons == {"not used: scores of ImageNet's classes, not the model's"}

    # Caffe's preprocessing by hand: BGR minus the mean, then zeros around.
    image = np.random.default_rng(0).integers(0, 256, (6, 5, 3), np.uint8)
    padded = np.pad(image[:, :, ::-1] - MEAN_BGR, ((1, 1), (1, 1), (0, 0)))
    kernel, bias = layers["block1_conv1"]
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(0, 1))
    truth = np.maximum(np.einsum("ijcyx,yxco->ijo", windows, kernel) + bias, 0)
    first = keras.Model(model.input, model.get_layer("block1_conv1").output)
    np.testing.assert_allclose(first(image[None])[0], truth, rtol=1e-5, atol=1e-3)

    # fc1 works on a flattened (7, 7, C) map.
    features = np.abs(random(7, 7, 32))
    fc6 = np.tensordot(features, np.array(model.get_layer("fc6").kernel.value), 3)
    np.testing.assert_allclose(fc6, features.ravel() @ layers["fc1"][0], rtol=1e-4, atol=1e-3)


def test_keras_vgg16_without_top(tmp_path):
    path = write_keras(tmp_path / "notop.h5", keras_vgg16(top=False), 1)
    report = load_weights(fcn32s(**NARROW), path)
    assert len(report.loaded) == 26
    assert dict(report.skipped)["fc6"] == "not in the file: left as initialised"


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    """A narrow VGG16 in torchvision's layout."""
    tensors = {}
    for index, (kernel, bias) in zip(FEATURES, keras_vgg16(False).values(), strict=True):
        tensors[f"features.{index}.weight"] = np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))
        tensors[f"features.{index}.bias"] = bias
    for index, shape in ((0, (8, 32 * 49)), (3, (8, 8)), (6, (10, 8))):
        tensors[f"classifier.{index}.weight"] = random(*shape)
        tensors[f"classifier.{index}.bias"] = random(shape[0])
    path = tmp_path_factory.mktemp("classifier") / "vgg16.safetensors"
    save_file(tensors, path)
    return path


@pytest.mark.parametrize("build", [fcn8s, fcn16s, fcn32s])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_a_converted_file_sets_what_the_original_sets(tmp_path, classifier, build, batch_norm):
    convert(classifier, tmp_path / "a.weights.h5", head_width=8)
    direct, indirect = (build(**NARROW, batch_norm=batch_norm) for _ in range(2))
    first = load_weights(direct, classifier)
    second = load_weights(indirect, tmp_path / "a.weights.h5")
    assert [row[2:] for row in first.loaded] == [row[2:] for row in second.loaded]
    for _, _, target, _ in first.loaded:
        layer, variable = target.split("/")
        values = [getattr(model.get_layer(layer), variable).value for model in (direct, indirect)]
        np.testing.assert_array_equal(*map(np.array, values))


def test_a_converted_file_is_read_by_name_with_h5py(tmp_path, classifier):
    report = convert(classifier, tmp_path / "a.weights.h5", head_width=8)
    assert [row[2] for row in report.loaded][-4:] == [
        "fc6/kernel",
        "fc6/bias",
        "fc7/kernel",
        "fc7/bias",
    ]
    with h5py.File(tmp_path / "a.weights.h5") as file:
        kernel, bias = keras_vgg16()["block3_conv1"]
        np.testing.assert_array_equal(file["layers/block3_conv1/vars/0"], kernel)
        np.testing.assert_array_equal(file["layers/block3_conv1/vars/1"], bias)
        assert file["layers/fc6/vars/0"].shape == (7, 7, 32, 8)
        offset = file["layers/normalize/vars"].attrs["offset"]
        np.testing.assert_allclose(offset, [-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225])
    assert [path.name for path in tmp_path.iterdir()] == ["a.weights.h5"]


def test_conversion_leaves_out_a_head_of_another_width(tmp_path, classifier):
    report = convert(classifier, tmp_path / "a.weights.h5")
    assert len(report.loaded) == 26
    assert dict(report.skipped)["fc6"].startswith(
        "left out: 8 wide in the file, but head_width is 4"
    )
    loaded = load_weights(fcn32s(**NARROW), tmp_path / "a.weights.h5")
    assert dict(loaded.skipped)["fc7"] == "not in the file: left as initialised"


def test_a_converted_keras_file_keeps_its_normalisation(tmp_path):
    write_keras(tmp_path / "vgg16.h5", keras_vgg16(), 1)
    convert(tmp_path / "vgg16.h5", tmp_path / "a.weights.h5", head_width=8)
    model = fcn32s(**NARROW, weights=tmp_path / "a.weights.h5")
    assert model.get_layer("normalize").offset == [-123.68, -116.779, -103.939]


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("a.h5", "needs a name that ends in .weights.h5"),
        ("absent/a.weights.h5", "absent doesn't exist"),
        ("folder.weights.h5", "folder.weights.h5 can't be written .*Is a directory"),
    ],
)
def test_conversion_checks_the_output_s_name(tmp_path, classifier, out, message):
    (tmp_path / "folder.weights.h5").mkdir()
    with pytest.raises(InputError, match=message):
        convert(classifier, tmp_path / out)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.weights.h5"]


def test_a_saved_model_s_weights(tmp_path):
    trained, fresh = (fcn8s(**NARROW, batch_norm=True) for _ in range(2))
    for layer in trained.layers:
        for variable in layer.weights:
            variable.assign(random(*variable.shape))
    trained.save_weights(tmp_path / "a.weights.h5")
    report = load_weights(fresh, tmp_path / "a.weights.h5")
    assert report.format == "an FCN's weights"
    assert report.skipped == ()
    assert report.notes[0].startswith("normalize: not in the file, kept")
    for one, other in zip(trained.layers, fresh.layers, strict=True):
        for variable, copy in zip(one.weights, other.weights, strict=True):
            np.testing.assert_array_equal(np.array(copy.value), np.array(variable.value))
    with pytest.raises(InputError, match=r"score_fr/vars/0 .* num_classes"):
        load_weights(
            fcn8s(**NARROW | {"num_classes": 6}, batch_norm=True), tmp_path / "a.weights.h5"
        )
    with pytest.raises(InputError, match="batch_norm=True"):
        load_weights(fcn8s(**NARROW), tmp_path / "a.weights.h5")
    with pytest.raises(InputError, match="is an FCN's weights, which load_weights"):
        convert(tmp_path / "a.weights.h5", tmp_path / "b.weights.h5")


def test_a_data_set_that_claims_too_much_is_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", (2**40,), np.float32, chunks=(1024,))
    with pytest.raises(InputError, match="claims more numbers than the file holds"):
        load_weights(fcn32s(**NARROW), tmp_path / "a.h5")


def test_external_storage_and_objects_are_refused(tmp_path):
    (tmp_path / "secret").write_bytes(bytes(16))
    for options in (
        {"shape": (4,), "dtype": np.float32, "external": [(str(tmp_path / "secret"), 0, 16)]},
        {"shape": (1,), "dtype": h5py.string_dtype()},
    ):
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file.create_dataset("x", **options)
        with pytest.raises(InputError, match="doesn't hold numbers of its own"):
            load_weights(fcn32s(**NARROW), tmp_path / "a.h5")


def hostile_links(file):
    file["model_weights"] = h5py.ExternalLink("other.h5", "/")


def hostile_sizes(file):
    for index in range(20):
        file.create_dataset(f"layers/a/vars/{index}", (2000,), np.float32)


def hostile_product(file):
    file.create_dataset("layers/a/vars/0", (2**32, 2**32), np.float32, chunks=(1, 1))


def hostile_depth(file):
    group = file
    for _ in range(2000):
        group = group.create_group("g")


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (hostile_links, "has its weights behind a link"),
        (hostile_sizes, "data set 'layers/a/vars/[0-9]+' claims more numbers than the file holds"),
        (hostile_product, "data set 'layers/a/vars/0' claims more numbers than the file holds"),
        (hostile_depth, "nests its groups more than 32 deep"),
    ],
)
def test_hostile_hdf5_is_refused(tmp_path, build, message):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["layers/a/vars/0"] = np.zeros(3)
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        build(file)
    with pytest.raises(InputError, match=message):
        read_tensors(path)


@pytest.mark.parametrize("value", [np.zeros(3), 7, [b"x", b"y"]])
def test_names_of_other_types_are_no_names(tmp_path, value):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        group = file.create_group("layers/a/vars")
        group["0"] = np.zeros(3)
        group.attrs["name"] = value
    assert list(read_tensors(tmp_path / "a.h5")) == ["layers/a/vars/0"]


@pytest.mark.parametrize("length", [0, 2**64 - 16, 2**64 - 1])
def test_a_string_without_an_end_is_refused(tmp_path, length):
    """libhdf5 would look for the next one at the same place for ever."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        group = file.create_group("layers/a/vars")
        group.attrs["name"] = "a"
        group["0"] = np.zeros(3)
    content = path.read_bytes()
    first = content.index(b"GCOL") + 16
    header = (0).to_bytes(8, "little") + length.to_bytes(8, "little")
    path.write_bytes(content[:first] + header + content[first + 16 :])
    with pytest.raises(InputError, match="is a damaged HDF5 file"):
        read_tensors(path)


def test_other_sizes_of_addresses_are_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["0"] = np.zeros(3)
    content = bytearray((tmp_path / "a.h5").read_bytes())
    content[14] = 4
    (tmp_path / "a.h5").write_bytes(content)
    with pytest.raises(InputError, match="has no 8-byte addresses and lengths"):
        read_tensors(tmp_path / "a.h5")


def test_a_name_that_is_no_text_any_more_is_refused(tmp_path):
    """Read as a list of variable length, its bytes crash libhdf5."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        group = file.create_group("layers/a/vars")
        group.attrs["name"] = "a"
        group["0"] = np.zeros(3)
    text, other = b"\x19\x01", b"\x19\x03"  # the class of the type, and its kind
    assert path.read_bytes().count(text) == 1
    path.write_bytes(path.read_bytes().replace(text, other))
    with pytest.raises(InputError, match="attribute name holds neither a text nor numbers"):
        read_tensors(path)
