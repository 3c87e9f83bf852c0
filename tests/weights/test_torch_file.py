"""Files written by torch itself, read back without it."""

from collections import OrderedDict

import numpy as np
import pytest

from fcn_keras import InputError
from fcn_keras.weights import read_torch


@pytest.fixture(params=["zip", "legacy"])
def save(request, tmp_path):
    torch = pytest.importorskip("torch")

    def save(content, **options):
        path = tmp_path / "file.pth"
        zipped = request.param == "zip"
        torch.save(content, path, _use_new_zipfile_serialization=zipped, **options)
        return path

    return save


def assert_same(arrays, tensors):
    assert list(arrays) == list(tensors)
    for name, tensor in tensors.items():
        assert arrays[name].shape == tuple(tensor.shape)
        np.testing.assert_array_equal(arrays[name], tensor.detach().numpy(), strict=True)


@pytest.mark.torch
@pytest.mark.parametrize(
    "kind",
    [
        *("float16", "float32", "float64", "complex64", "complex128", "bool"),
        *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    ],
)
def test_every_number_type_comes_back_equal(save, kind):
    import torch

    values = (torch.arange(24) * 7 % 5).reshape(2, 3, 4).to(getattr(torch, kind))
    assert_same(read_torch(save({"x": values})), {"x": values})


@pytest.mark.torch
def test_bfloat16_becomes_float32_exactly(save):
    import torch

    values = torch.randn(5, 6, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
    assert_same(read_torch(save({"x": values})), {"x": values.to(torch.float32)})


@pytest.mark.torch
def test_views_share_the_storage_and_keep_their_strides(save):
    import torch

    base = torch.arange(60.0).reshape(3, 4, 5)
    tensors = {
        "base": base,
        "transposed": base.permute(2, 0, 1),
        "step": base[:, ::2, 1::3],
        "late": base[2, 3],
        "scalar": base[1, 1, 1],
        "empty": base[:0],
    }
    arrays = read_torch(save(tensors))
    assert_same(arrays, tensors)
    assert np.shares_memory(arrays["base"], arrays["transposed"])
    assert arrays["transposed"].strides == (4, 80, 20)
    with pytest.raises(ValueError, match="read-only"):
        arrays["base"][0, 0, 0] = 1


@pytest.mark.torch
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_module_s_state_dict_at_every_pickle_protocol(save, protocol):
    import torch

    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    assert_same(
        read_torch(save(module.state_dict(), pickle_protocol=protocol)), module.state_dict()
    )


@pytest.mark.torch
def test_parameters_and_all_plain_containers(save):
    import torch

    parameter = torch.nn.Parameter(torch.randn(2, 3))
    content = {
        "w": parameter,
        "size": parameter.size(),
        "plain": [1, 2**70, -3.5, None, True, "é", (1,), {2: [3]}, {"a", "b"}],
        "ordered": OrderedDict(a=1),
    }
    assert_same(read_torch(save(content)), {"w": parameter})


@pytest.mark.torch
@pytest.mark.parametrize("wrapper", ["state_dict", "model_state_dict", "model_state", "model"])
def test_the_state_dict_inside_a_trainer_s_checkpoint(save, wrapper):
    import torch

    module = torch.nn.Conv2d(2, 3, 1)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    module(torch.ones(1, 2, 1, 1)).sum().backward()
    optimizer.step()
    content = {"epoch": 3, wrapper: module.state_dict(), "optim": optimizer.state_dict()}
    assert_same(read_torch(save(content)), module.state_dict())


@pytest.mark.torch
def test_a_whole_module_is_refused_by_its_class(save):
    import torch

    path = save(torch.nn.Conv2d(2, 3, 1))
    with pytest.raises(InputError, match=r"asks for torch\.nn\.modules\.conv\.Conv2d"):
        read_torch(path)


@pytest.mark.torch
@pytest.mark.parametrize("content", ["list", "tensor", "no_tensors", "expanded", "sparse"])
def test_other_contents_are_refused(save, content):
    import torch

    tensor = torch.ones(3)
    contents = {
        "list": ([tensor], "holds a list, not a state dict"),
        "tensor": (tensor, "holds a tensor, not a state dict"),
        "no_tensors": ({"epoch": 3}, "holds no tensors by name"),
        "expanded": ({"x": torch.ones(1).expand(9)}, r"'x' of shape \(9,\) doesn't fit"),
        "sparse": ({"x": torch.eye(3).to_sparse()}, r"asks for torch\._utils\._rebuild_sparse"),
    }
    value, message = contents[content]
    path = save(value)
    with pytest.raises(InputError, match=message):
        read_torch(path)


@pytest.mark.torch
def test_the_real_file_equals_what_torch_reads(shared_weights):
    torch = pytest.importorskip("torch")
    truth = torch.load(shared_weights, weights_only=True)
    assert len(truth) == 26
    assert_same(read_torch(shared_weights), truth)
