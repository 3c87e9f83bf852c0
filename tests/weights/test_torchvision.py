"""torchvision's VGG16: the trunk's pools and the classifier's fc7 equal torch's."""

import keras
import numpy as np
import pytest

from fcn_keras import fcn32s
from fcn_keras.weights import load_weights

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

pytestmark = pytest.mark.torch

MEAN = np.array([0.485, 0.456, 0.406])
STD = np.array([0.229, 0.224, 0.225])


class VGG16(nn.Module):
    """Configuration D with torchvision's names; `width` 64 and `head` 4096 are the real sizes."""

    def __init__(self, width, head, classes):
        super().__init__()
        steps, into = [], 3
        for multiple, count in ((1, 2), (2, 2), (4, 3), (8, 3), (8, 3)):
            for _ in range(count):
                steps += [nn.Conv2d(into, width * multiple, 3, padding=1), nn.ReLU()]
                nn.init.kaiming_normal_(steps[-2].weight)
                nn.init.normal_(steps[-2].bias, std=0.1)
                into = width * multiple
            steps.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*steps)
        self.classifier = nn.Sequential(
            *(nn.Linear(into * 49, head), nn.ReLU(), nn.Dropout()),
            *(nn.Linear(head, head), nn.ReLU(), nn.Dropout()),
            nn.Linear(head, classes),
        )


def compare(path, *, width, head, zipped):
    """Pool 5 at every pixel, and fc7 where fc6's 7x7 window covers the whole 7x7 map."""
    torch.manual_seed(0)
    net = VGG16(width, head, 10).eval()
    torch.save(net.state_dict(), path, _use_new_zipfile_serialization=zipped)
    model = fcn32s(num_classes=5, trunk_width=width, head_width=head)
    assert len(load_weights(model, path).set) == 30
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


def test_the_model_doesn_t_hang_on_the_file(tmp_path):
    """The reader maps the file; variables must own their numbers."""
    net = VGG16(2, 8, 10)
    torch.save(net.state_dict(), tmp_path / "a.pth")
    model = fcn32s(trunk_width=2, head_width=8, weights=tmp_path / "a.pth")
    with (tmp_path / "a.pth").open("r+b") as file:
        file.write(bytes((tmp_path / "a.pth").stat().st_size))
    for index, name in ((0, "fc6"), (3, "fc7")):
        truth = net.classifier[index].bias.detach().numpy()
        np.testing.assert_array_equal(np.array(model.get_layer(name).bias.value), truth)


@pytest.mark.slow
def test_a_full_size_checkpoint_gives_torch_s_fc7(tmp_path):
    compare(tmp_path / "a.pth", width=64, head=4096, zipped=False)
