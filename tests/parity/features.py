"""The real VGG16 convolutions on a photo, in torch and here.

``python -m tests.parity.features`` prints the second table of docs/parity.md.
"""

import os
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "jax")

import keras
import numpy as np
import torch
from PIL import Image

import fcn_keras
from experiments.benchmark.torch_fcn import BLOCKS, FCN
from fcn_keras.weights import load_weights
from tests.parity import measure

PHOTO = "2007_000032"  # an aeroplane and two people on an airfield
SHARED = Path(__file__).parents[3] / "shared"
# Places of the convolutions in torchvision's vgg16.features.
FEATURES = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
# Of all channels of its pool the one that tells the photo's objects from the background best.
CHANNELS = (37, 77, 204, 79, 228)


def read_sample(data):
    """The photo ``(1, H, W, 3)`` uint8 and its mask ``(H, W)``."""
    folder = Path(data) / "VOC2012"
    photo = np.asarray(Image.open(folder / "JPEGImages" / f"{PHOTO}.jpg"))
    return photo[None], np.asarray(Image.open(folder / "SegmentationClass" / f"{PHOTO}.png"))


def taps(photo, weights, geometry="same"):
    """pool1 to pool5 ``(h, w, channels)`` of fcn_keras, and the same of torch."""
    model = fcn_keras.fcn32s(1, head_width=1, geometry=geometry)
    load_weights(model, weights)
    pools = [model.get_layer(f"block{block}_pool").output for block in BLOCKS]
    trunk = measure.compiled(keras.Model(model.input, pools))
    with torch.no_grad():
        theirs = reference(weights, geometry).pools(measure.to_pixels(photo))
    return [np.asarray(x[0]) for x in trunk(photo)], [x[0].permute(1, 2, 0).numpy() for x in theirs]


def reference(weights, geometry):
    """The torch trunk with the file's weights, read by torch itself."""
    state = torch.load(weights, weights_only=True)
    model = FCN("fcn32s", 1, caffe=geometry == "caffe", head=1)
    names = [f"conv{block}_{i}" for block, n in BLOCKS.items() for i in range(1, n + 1)]
    own = {
        f"{name}.{kind}": state[f"features.{place}.{kind}"]
        for name, place in zip(names, FEATURES, strict=True)
        for kind in ("weight", "bias")
    }
    missing, unexpected = model.load_state_dict(own, strict=False)
    assert not unexpected and not any(name.startswith("conv") for name in missing)
    return model.eval()


def summary(pools, mask):
    """Five numbers a pool: mean, maximum, share of zeros; and of the pool's channel in `CHANNELS`
    the mean on the photo's objects and on its background."""
    rows = []
    for number, (pool, channel) in enumerate(zip(pools, CHANNELS, strict=True), start=1):
        stride = 2**number
        # The label at each sample's centre; rounding up leaves a last row without one.
        labels = mask[stride // 2 :: stride, stride // 2 :: stride]
        one = pool[: labels.shape[0], : labels.shape[1], channel]
        inside, outside = one[(labels > 0) & (labels < 255)], one[labels == 0]
        whole = (pool.mean(), pool.max(), (pool == 0).mean())
        rows.append([float(x) for x in (*whole, inside.mean(), outside.mean())])
    return rows


def main():
    data = Path(os.environ.get("FCN_KERAS_DATA", SHARED / "data"))
    photo, mask = read_sample(data)
    both = taps(photo, SHARED / "weights" / "vgg16-torchvision-features.pth")
    print("| tap | computed by | mean | max | zeros | channel | on objects | on background |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for number, rows in enumerate(zip(*(summary(x, mask) for x in both), strict=True), start=1):
        for name, (mean, top, zeros, inside, outside) in zip(("ours", "torch"), rows, strict=True):
            print(
                f"| pool{number} | {name} | {mean:.6f} | {top:.4f} | {zeros:.4f} "
                f"| {CHANNELS[number - 1]} | {inside:.5f} | {outside:.5f} |"
            )


if __name__ == "__main__":
    main()
