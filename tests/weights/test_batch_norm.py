"""The tutorial's batch-norm FCN-8s, held against the network written again in plain torch."""

import keras
import numpy as np
import pytest

from fcn_keras import InputError, fcn8s
from fcn_keras.weights import load_weights

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

pytestmark = pytest.mark.torch

WIDTHS = (4, 8, 16, 32, 32)
NARROW = {"num_classes": 5, "backbone_width": 4, "head_width": 8}
MEAN = np.array([0.485, 0.456, 0.406])
STD = np.array([0.229, 0.224, 0.225])


class Backbone(nn.Module):
    def __init__(self):
        super().__init__()
        into = 3
        for block, (out, count) in enumerate(zip(WIDTHS, (2, 2, 3, 3, 3), strict=True), start=1):
            steps = []
            for _ in range(count):
                steps += [nn.Conv2d(into, out, 3, padding=1), nn.ReLU()]
                into = out
            setattr(self, f"layer{block}", nn.Sequential(*steps, nn.MaxPool2d(2)))


def normalised(conv):
    return nn.Sequential(conv, nn.BatchNorm2d(conv.out_channels), nn.ReLU())


class Head(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc6 = normalised(nn.Conv2d(32, 8, 7, padding=3))
        self.fc7 = normalised(nn.Conv2d(8, 8, 1))


class BatchNormFCN(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone, self.head = Backbone(), Head()
        self.layer3_conv = nn.Conv2d(16, 5, 1)
        self.layer4_conv = nn.Conv2d(32, 5, 1)
        self.layer5_conv = nn.Conv2d(8, 5, 1)
        self.transpose_conv1 = normalised(nn.ConvTranspose2d(5, 5, 4, 2, 1))
        self.transpose_conv2 = normalised(nn.ConvTranspose2d(5, 5, 4, 2, 1))
        self.transpose_conv3 = normalised(nn.ConvTranspose2d(5, 5, 16, 8, 4))
        for name, value in self.state_dict().items():
            if value.dtype == torch.float32:
                value.normal_(std=0.2)
                if "running_var" in name:
                    value.abs_().add_(0.1)

    def forward(self, x):
        pools = [x]
        for block in range(1, 6):
            pools.append(getattr(self.backbone, f"layer{block}")(pools[-1]))
        y = self.layer5_conv(self.head.fc7(self.head.fc6(pools[5])))
        y = self.transpose_conv1(y) + self.layer4_conv(pools[4])
        y = self.transpose_conv2(y) + self.layer3_conv(pools[3])
        return self.transpose_conv3(y)


@pytest.fixture
def net(tmp_path):
    torch.manual_seed(0)
    net = BatchNormFCN().eval()
    torch.save({"epoch": 1, "state_dict": net.state_dict()}, tmp_path / "a.pth")
    return net


@pytest.mark.slow
def test_logits_equal_torch_s(net, tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (32, 64, 3), np.uint8)
    model = fcn8s(**NARROW, batch_norm=True)
    report = load_weights(model, tmp_path / "a.pth")
    assert len(report.loaded) == sum(len(layer.weights) for layer in model.layers)
    assert {why for _, why in report.skipped} == {"not used: a counter that no output depends on"}
    x = ((image / 255 - MEAN) / STD).transpose(2, 0, 1)[None].astype(np.float32)
    with torch.no_grad():
        truth = net(torch.from_numpy(x))[0].permute(1, 2, 0).numpy()
    assert np.ptp(truth) > 0.1
    logits = keras.ops.convert_to_numpy(model(image[None]))[0]
    np.testing.assert_allclose(logits, truth, atol=1e-5 * np.ptp(truth))


def test_a_model_without_batch_norm_is_refused(net, tmp_path):
    with pytest.raises(InputError, match=r"is a batch-norm FCN-8s; build .* batch_norm=True"):
        load_weights(fcn8s(**NARROW), tmp_path / "a.pth")
