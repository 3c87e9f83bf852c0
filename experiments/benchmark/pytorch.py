"""The contenders that are PyTorch, and ONNX Runtime on what PyTorch exports."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from experiments.benchmark.case import Case, Contender
from experiments.benchmark.torch_fcn import FCN
from experiments.benchmark.workers import Built
from fcn_keras.cpu import allocator

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def build(case: Case, contender: Contender) -> Built:
    """The contender, ready to be called."""
    torch.backends.cudnn.benchmark = True
    warnings.filterwarnings("ignore")  # the compilers' hints are not about the figures
    if contender.endswith("-kept-memory"):
        allocator.keep()
        contender = contender.removesuffix("-kept-memory")
    if contender == "onnxruntime":
        return Built(_onnxruntime(case))
    builders = {"predict": _predict, "train": _train, "upsample": _upsample}
    return Built(builders[case.verb](case, contender), _wait, _device_peak)


def _network(case: Case) -> FCN:
    widths = {"width": case.backbone_width, "head": case.head_width}
    return FCN(case.model, case.num_classes, **widths).to(DEVICE)


def _images(case: Case) -> torch.Tensor:
    shape = (case.batch, 3, case.size, case.size)
    return torch.randint(256, shape, dtype=torch.uint8, device=DEVICE)


def _layout(contender: Contender) -> torch.memory_format:
    """Of images and weights. Compiled code is fastest channels last on a GPU."""
    last = contender == "torch-channels-last" or (contender == "torch-compile" and DEVICE == "cuda")
    return torch.channels_last if last else torch.contiguous_format


def _arranged(model: nn.Module, contender: Contender) -> nn.Module:
    model = model.to(memory_format=_layout(contender))
    return torch.compile(model) if contender == "torch-compile" else model


def _autocast(case: Case) -> torch.autocast:
    return torch.autocast(DEVICE, torch.bfloat16, enabled=case.precision == "bfloat16")


def _predict(case: Case, contender: Contender) -> Callable:
    model = _arranged(_network(case).eval(), contender)
    images = _images(case).contiguous(memory_format=_layout(contender))

    def call():
        with torch.inference_mode(), _autocast(case):
            return model(images)

    return call


def _train(case: Case, contender: Contender) -> Callable:
    network = _network(case).train()
    model = _arranged(network, contender)
    images = _images(case).contiguous(memory_format=_layout(contender))
    masks = torch.randint(
        case.num_classes, (case.batch, case.size, case.size), dtype=torch.int64, device=DEVICE
    )
    masks[torch.rand(masks.shape, device=DEVICE) < 0.05] = 255
    parameters = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(parameters, lr=0.01, momentum=0.9, weight_decay=5e-4)
    criterion = nn.CrossEntropyLoss(ignore_index=255)

    def call():
        optimizer.zero_grad(set_to_none=True)
        with _autocast(case):
            loss = criterion(model(images), masks)
        loss.backward()
        optimizer.step()
        return loss

    return call


def _upsample(case: Case, contender: Contender) -> Callable:
    """A learned upsampling and its two gradients."""
    classes, stride, size = case.num_classes, case.stride, case.size // case.stride
    layer = nn.ConvTranspose2d(classes, classes, 2 * stride, stride, stride // 2, bias=False)
    layer = _arranged(layer.to(DEVICE), contender)
    x = torch.randn(case.batch, classes, size, size, device=DEVICE)
    x = x.contiguous(memory_format=_layout(contender)).requires_grad_()
    probe = torch.randn(case.batch, classes, case.size, case.size, device=DEVICE)

    def call():
        return torch.autograd.grad(layer(x), [x, *layer.parameters()], probe)

    return call


def _onnxruntime(case: Case) -> Callable:
    import onnxruntime

    model, images = _network(case).eval(), _images(case)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "fcn.onnx")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        with contextlib.redirect_stdout(io.StringIO()):
            torch.onnx.export(model, (images,), path, dynamo=True)
        session = onnxruntime.InferenceSession(
            path, providers=onnxruntime.get_available_providers()
        )
    feed = {session.get_inputs()[0].name: images.cpu().numpy()}
    return lambda: session.run(None, feed)


def _wait(outputs) -> None:
    if DEVICE == "cuda":
        torch.cuda.synchronize()


def _device_peak() -> float | None:
    return torch.cuda.max_memory_allocated() / 1e6 if DEVICE == "cuda" else None
