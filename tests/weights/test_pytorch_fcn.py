"""PyTorch-FCN's checkpoints, held against the network written again in plain torch."""

import keras
import numpy as np
import pytest

from fcn_keras import InputError, fcn8s, fcn16s, fcn32s
from fcn_keras.weights import load_weights

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

pytestmark = pytest.mark.torch

MEAN_BGR = (104.00698793, 116.66876762, 122.67891434)
WIDTHS = (4, 8, 16, 32, 32)
NARROW = {"num_classes": 5, "backbone_width": 4, "head_width": 8}


class CaffeFCN(nn.Module):
    """FCN-8s, 16s and 32s with the original's padding and crops; takes BGR minus the mean."""

    def __init__(self, stride):
        super().__init__()
        self.stride = stride
        into = 3
        for block, (out, count) in enumerate(zip(WIDTHS, (2, 2, 3, 3, 3), strict=True), start=1):
            for index in range(1, count + 1):
                padding = 100 if block == index == 1 else 1
                conv = nn.Conv2d(into, out, 3, padding=padding)
                nn.init.normal_(conv.weight, std=0.2 if into > 3 else 0.02)
                nn.init.normal_(conv.bias)
                setattr(self, f"conv{block}_{index}", conv)
                into = out
        self.fc6 = nn.Conv2d(32, 8, 7)
        self.fc7 = nn.Conv2d(8, 8, 1)
        self.score_fr = nn.Conv2d(8, 5, 1)
        up = {8: (2, 8), 16: (2, 16), 32: (32,)}[stride]
        for s in up:
            name = "upscore" if s == 32 else f"upscore{s}"
            setattr(self, name, nn.ConvTranspose2d(5, 5, 2 * s, s, bias=False))
        if stride < 32:
            self.score_pool4 = nn.Conv2d(32, 5, 1)
        if stride < 16:
            self.score_pool3 = nn.Conv2d(16, 5, 1)
            self.upscore_pool4 = nn.ConvTranspose2d(5, 5, 4, 2, bias=False)

    def forward(self, x):
        height, width = x.shape[2:]
        pools = {}
        y = x
        for block, count in enumerate((2, 2, 3, 3, 3), start=1):
            for index in range(1, count + 1):
                y = F.relu(getattr(self, f"conv{block}_{index}")(y))
            y = pools[block] = F.max_pool2d(y, 2, ceil_mode=True)
        y = self.score_fr(F.relu(self.fc7(F.relu(self.fc6(y)))))
        if self.stride == 32:
            return self.upscore(y)[:, :, 19 : 19 + height, 19 : 19 + width]
        y = self.upscore2(y)
        y = y + self.score_pool4(pools[4])[:, :, 5 : 5 + y.shape[2], 5 : 5 + y.shape[3]]
        if self.stride == 16:
            return self.upscore16(y)[:, :, 27 : 27 + height, 27 : 27 + width]
        y = self.upscore_pool4(y)
        y = y + self.score_pool3(pools[3])[:, :, 9 : 9 + y.shape[2], 9 : 9 + y.shape[3]]
        return self.upscore8(y)[:, :, 31 : 31 + height, 31 : 31 + width]


def prepared(image):
    """RGB in 0..255 ``(H, W, 3)`` as the checkpoints' datasets prepared it."""
    bgr = image[:, :, ::-1].astype(np.float64) - np.array(MEAN_BGR)
    return torch.from_numpy(bgr.transpose(2, 0, 1)[None].astype(np.float32))


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (21, 37, 3), np.uint8)


# Keras' own saving makes NumPy warn.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize(("stride", "build"), [(8, fcn8s), (16, fcn16s), (32, fcn32s)])
def test_logits_equal_torch_s_up_to_the_border(tmp_path, image, stride, build):
    torch.manual_seed(stride)
    net = CaffeFCN(stride)
    torch.save(net.state_dict(), tmp_path / "a.pth")
    model = build(**NARROW, geometry="caffe")
    report = load_weights(model, tmp_path / "a.pth")
    assert len(report.loaded) == len(net.state_dict()) == sum(len(x.weights) for x in model.layers)
    assert report.skipped == ()
    with torch.no_grad():
        truth = net(prepared(image))[0].permute(1, 2, 0).numpy()
    logits = keras.ops.convert_to_numpy(model(image[None]))[0]
    assert np.ptp(truth) > 1
    np.testing.assert_allclose(logits, truth, atol=1e-5 * np.ptp(truth))

    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(again(image[None]))[0], logits)


def test_the_first_convolution_is_exact_at_every_border_pixel(tmp_path, image):
    """Mean subtraction comes before zero padding, so it can't be in the bias."""
    torch.manual_seed(0)
    net = CaffeFCN(8)
    torch.save(net.state_dict(), tmp_path / "a.pth")
    model = fcn8s(**NARROW)
    report = load_weights(model, tmp_path / "a.pth")
    assert 'this model has "same"' in str(report)
    first = keras.Model(model.input, model.get_layer("block1_conv1").output)
    with torch.no_grad():
        truth = F.relu(F.conv2d(prepared(image), net.conv1_1.weight, net.conv1_1.bias, padding=1))
    truth = truth[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(first(image[None])[0], truth, atol=1e-6 * np.ptp(truth))


def test_a_32s_starts_a_16s(tmp_path):
    torch.save(CaffeFCN(32).state_dict(), tmp_path / "a.pth")
    report = load_weights(fcn16s(**NARROW, geometry="caffe"), tmp_path / "a.pth")
    assert dict(report.skipped) == {
        "score_pool4": "not in the file: left as initialised",
        "upscore2": "not in the file: left as initialised",
        "upscore16": "not in the file: left as initialised",
        "upscore.weight": "not used: the model has no upscore32",
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 6}, "score_fr.weight of shape 5x8x1x1 .* file's num_classes"),
        ({"head_width": 4}, "fc6.weight of shape 8x32x7x7 .* file's head_width"),
        ({"backbone_width": 2}, "conv1_1.weight of shape 4x3x3x3 .* file's backbone_width"),
        ({"batch_norm": True}, "is a PyTorch-FCN checkpoint; build .* batch_norm=False"),
    ],
)
def test_other_shapes_are_refused(tmp_path, options, message):
    torch.save(CaffeFCN(8).state_dict(), tmp_path / "a.pth")
    with pytest.raises(InputError, match=message):
        load_weights(fcn8s(**NARROW | options), tmp_path / "a.pth")
