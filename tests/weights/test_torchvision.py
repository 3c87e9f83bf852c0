"""torchvision's VGGs: the backbone's pools and the classifier's fc7 equal torch's."""

import keras
import numpy as np
import pytest

from fcn_keras import InputError, fcn32s
from fcn_keras.weights import convert, load_weights

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

pytestmark = pytest.mark.torch

MEAN = np.array([0.485, 0.456, 0.406])
STD = np.array([0.229, 0.224, 0.225])


# The configurations of the paper's table 1, which torchvision calls B, D and E.
COUNTS = {
    "vgg13": (2, 2, 2, 2, 2),
    "vgg16": (2, 2, 3, 3, 3),
    "vgg16_bn": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}


class VGG(nn.Module):
    """torchvision's names; `width` 64 and `head` 4096 are the real sizes."""

    def __init__(self, width, head, classes, backbone="vgg16"):
        super().__init__()
        steps, into = [], 3
        for multiple, count in zip((1, 2, 4, 8, 8), COUNTS[backbone], strict=True):
            for _ in range(count):
                convolution = nn.Conv2d(into, width * multiple, 3, padding=1)
                nn.init.kaiming_normal_(convolution.weight)
                nn.init.normal_(convolution.bias, std=0.1)
                into = width * multiple
                steps.append(convolution)
                if backbone.endswith("_bn"):
                    steps.append(normalization(into))
                steps.append(nn.ReLU())
            steps.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*steps)
        self.classifier = nn.Sequential(
            *(nn.Linear(into * 49, head), nn.ReLU(), nn.Dropout()),
            *(nn.Linear(head, head), nn.ReLU(), nn.Dropout()),
            nn.Linear(head, classes),
        )


def normalization(channels):
    """A batch normalisation that has seen data."""
    layer = nn.BatchNorm2d(channels)
    for values, low, high in (
        (layer.weight, 0.5, 1.5),
        (layer.bias, -0.5, 0.5),
        (layer.running_mean, -0.5, 0.5),
        (layer.running_var, 0.5, 2),
    ):
        nn.init.uniform_(values, low, high)
    return layer


def compare(path, *, width, head, zipped, backbone="vgg16"):
    """Pool 5 at every pixel, and fc7 where fc6's 7x7 window covers the whole 7x7 map."""
    torch.manual_seed(0)
    net = VGG(width, head, 10, backbone).eval()
    torch.save(net.state_dict(), path, _use_new_zipfile_serialization=zipped)
    model = fcn32s(num_classes=5, backbone=backbone, backbone_width=width, head_width=head)
    report = load_weights(model, path)
    used = {row[0] for row in report.loaded}
    unused = {name for name in net.state_dict() if name not in used}
    assert {name.split(".")[-1] for name in unused if "classifier.6" not in name} <= {
        "num_batches_tracked"
    }
    image = np.random.default_rng(0).integers(0, 256, (224, 224, 3), np.uint8)
    x = ((image / 255 - MEAN) / STD).transpose(2, 0, 1)[None].astype(np.float32)
    with torch.no_grad():
        pool5 = net.features(torch.from_numpy(x))
        fc7 = net.classifier[:5](pool5.flatten(1))[0].numpy()
    outputs = [model.get_layer(name).output for name in ("block5_pool", "fc7")]
    ours = [np.asarray(y) for y in keras.Model(model.input, outputs)(image[None])]
    truth = pool5[0].permute(1, 2, 0).numpy()
    assert (fc7 > 0).any()
    np.testing.assert_allclose(ours[0][0], truth, atol=1e-5 * np.ptp(truth))
    np.testing.assert_allclose(ours[1][0, 3, 3], fc7, atol=1e-5 * np.ptp(fc7))


@pytest.mark.parametrize("zipped", [True, False])
def test_a_narrow_checkpoint_gives_torch_s_fc7(tmp_path, zipped):
    compare(tmp_path / "a.pth", width=2, head=8, zipped=zipped)


@pytest.mark.parametrize("backbone", ["vgg13", "vgg16_bn", "vgg19"])
def test_the_other_backbones_give_torch_s_fc7(tmp_path, backbone):
    compare(tmp_path / "a.pth", width=2, head=8, zipped=True, backbone=backbone)


def test_a_file_of_another_backbone_is_refused(tmp_path):
    torch.save(VGG(2, 8, 10, "vgg19").state_dict(), tmp_path / "a.pth")
    model = fcn32s(num_classes=5, backbone_width=2, head_width=8)
    with pytest.raises(InputError, match=r"is torchvision's VGG19; .* backbone=\"vgg19\""):
        load_weights(model, tmp_path / "a.pth")


def test_a_converted_batch_norm_backbone_sets_the_same(tmp_path):
    torch.manual_seed(1)
    torch.save(VGG(2, 8, 10, "vgg16_bn").state_dict(), tmp_path / "a.pth")
    convert(tmp_path / "a.pth", tmp_path / "a.weights.h5", head_width=8)
    options = {"backbone": "vgg16_bn", "backbone_width": 2, "head_width": 8}
    direct, indirect = (
        fcn32s(**options, weights=tmp_path / name) for name in ("a.pth", "a.weights.h5")
    )
    for one, other in zip(direct.variables, indirect.variables, strict=True):
        if one.path.startswith(("block", "fc")) and "seed" not in one.path:
            np.testing.assert_array_equal(np.array(one.value), np.array(other.value))


def test_the_model_doesn_t_hang_on_the_file(tmp_path):
    """The reader maps the file; variables must own their numbers."""
    net = VGG(2, 8, 10)
    torch.save(net.state_dict(), tmp_path / "a.pth")
    model = fcn32s(backbone_width=2, head_width=8, weights=tmp_path / "a.pth")
    with (tmp_path / "a.pth").open("r+b") as file:
        file.write(bytes((tmp_path / "a.pth").stat().st_size))
    for index, name in ((0, "fc6"), (3, "fc7")):
        truth = net.classifier[index].bias.detach().numpy()
        np.testing.assert_array_equal(np.array(model.get_layer(name).bias.value), truth)


@pytest.mark.slow
def test_a_full_size_checkpoint_gives_torch_s_fc7(tmp_path):
    compare(tmp_path / "a.pth", width=64, head=4096, zipped=False)
