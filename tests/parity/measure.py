"""Measures how far fcn_keras' logits lie from the torch references'.

``python -m tests.parity.measure`` prints the table of docs/parity.md, ``... measure full`` the same
with VGG16's 64 and the paper's 4096 filters (5 GB of memory).
"""

import os
import sys

os.environ.setdefault("KERAS_BACKEND", "jax")

import jax
import keras
import numpy as np
import torch

import fcn_keras
from experiments.benchmark.torch_fcn import FCN
from fcn_keras.cpu.runtime import tuned_jit
from tests.parity.conversion import load_into, randomize
from tests.parity.torch_batch_norm_fcn import BatchNormFCN8s

SIZES = ((37, 53), (333, 500), (192, 192), (500, 333), (480, 480))
CASES = [
    (name, geometry, option)
    for name, option in (
        ("fcn32s", None),
        ("fcn16s", None),
        ("fcn8s", None),
        ("fcn8s", "at_once"),
        ("fcn8s", "batch_norm"),
    )
    for geometry in ("same", "caffe")
    if (option, geometry) != ("batch_norm", "caffe")
]
NARROW = {"classes": 5, "width": 4, "head": 8}
FULL = {"classes": 21, "width": 64, "head": 4096}


def build_pair(name, geometry, option, *, classes, width, head, **options):
    """A fcn_keras model with random weights, and the torch reference with the same ones."""
    if option:
        options[option] = True
    model = getattr(fcn_keras, name)(
        classes, backbone_width=width, head_width=head, geometry=geometry, **options
    )
    if option == "batch_norm":
        reference = BatchNormFCN8s(classes, width=width, head=head, dropout=0.0)
    else:
        reference = FCN(
            name,
            classes,
            caffe=geometry == "caffe",
            at_once=option == "at_once",
            width=width,
            head=head,
            dropout=0.0,
        )
    randomize(model)
    return model, load_into(reference, model, option == "batch_norm")


def compiled(model):
    """`model` in inference as one compiled function of the image."""
    forward = tuned_jit(lambda trainable, frozen, x: model.stateless_call(trainable, frozen, x)[0])
    trainable = [v.value for v in model.trainable_variables]
    frozen = [v.value for v in model.non_trainable_variables]
    return lambda x: jax.tree.map(np.asarray, forward(trainable, frozen, x))


def random_images(size, batch=1, seed=0):
    """Photo-like noise, coarse and fine, uint8 ``(batch, H, W, 3)``."""
    rng = np.random.default_rng(sum(size) + seed)
    fine = rng.normal(0, 20, (batch, *size, 3))
    coarse = rng.normal(128, 70, (batch, size[0] // 16 + 1, size[1] // 16 + 1, 3))
    coarse = coarse.repeat(16, axis=1).repeat(16, axis=2)[:, : size[0], : size[1]]
    return np.clip(coarse + fine, 0, 255).astype("uint8")


def to_pixels(images):
    """Images ``(B, H, W, 3)`` (NumPy) as torch takes them, ``(B, 3, H, W)``."""
    return torch.tensor(images).permute(0, 3, 1, 2)


def error(ours, theirs):
    """Largest difference as a part of the reference's range."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert ours.shape == theirs.shape
    return float(np.abs(ours - theirs).max() / np.ptp(theirs))


def logit_error(forward, reference, images):
    with torch.no_grad():
        expected = reference(to_pixels(images)).permute(0, 2, 3, 1).numpy()
    assert np.isfinite(expected).all() and expected.std() > 0
    return error(forward(images), expected)


def main(widths):
    print("| model | geometry |", " | ".join(f"{h}x{w}" for h, w in SIZES), "|")
    print("| --- | --- |", " | ".join("---:" for _ in SIZES), "|")
    for name, geometry, option in CASES:
        keras.backend.clear_session()
        model, reference = build_pair(name, geometry, option, **widths)
        forward = compiled(model)
        errors = [f"{logit_error(forward, reference, random_images(s)):.1e}" for s in SIZES]
        title = f"{name} {option or ''}".strip()
        print(f"| {title} | {geometry} |", " | ".join(errors), "|", flush=True)


if __name__ == "__main__":
    main(FULL if sys.argv[1:] == ["full"] else NARROW)
