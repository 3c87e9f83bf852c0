"""Random weights for a fcn_keras model, and the same ones under the torch reference's names."""

import numpy as np

BATCH_NORM_NAMES = {
    "fc6": "head.fc6.0",
    "fc6_bn": "head.fc6.1",
    "fc7": "head.fc7.0",
    "fc7_bn": "head.fc7.1",
    "score_fr": "layer5_conv",
    "score_pool4": "layer4_conv",
    "score_pool3": "layer3_conv",
    "upscore2": "transpose_conv1.0",
    "upscore2_bn": "transpose_conv1.1",
    "upscore_pool4": "transpose_conv2.0",
    "upscore_pool4_bn": "transpose_conv2.1",
    "upscore8": "transpose_conv3.0",
    "upscore8_bn": "transpose_conv3.1",
}
PARAMETERS = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def weight_variables(model):
    """Every variable with a counterpart in torch, as (layer name, variable)."""
    return [
        (layer.name, v) for layer in model.layers for v in layer.weights if v.name in PARAMETERS
    ]


def randomize(model, seed=0):
    """Sets every weight of `model` to random numbers that keep activations near one."""
    rng = np.random.default_rng(seed)
    for layer, variable in weight_variables(model):
        variable.assign(_random(rng, layer, variable.name, variable.shape))
    return model


def _random(rng, layer, name, shape):
    if name == "kernel":
        # An output of a transposed convolution with k = 2s sums four taps an input channel.
        fan_in = 4 * shape[3] if layer.startswith("upscore") else np.prod(shape[:3])
        return rng.normal(0, np.sqrt(2 / fan_in), shape)
    if name in ("gamma", "moving_variance"):
        return rng.uniform(0.5, 2, shape)
    return rng.normal(0, 0.2, shape)


def torch_name(layer, variable, batch_norm=False):
    """The name in the torch reference's state dict."""
    block = layer.startswith("block")
    if block and batch_norm:
        number, index = int(layer[5]), int(layer[-1])
        module = f"backbone.layer{number}.{2 * index - 2}"
    elif block:
        module = f"conv{layer[5]}_{layer[-1]}"
    else:
        module = BATCH_NORM_NAMES[layer] if batch_norm else layer.replace("upscore32", "upscore")
    return f"{module}.{PARAMETERS[variable]}"


def to_torch(array):
    """A kernel in torch's layout, anything else as it is.

    Convolutions: (kh, kw, in, out) to (out, in, kh, kw). Transposed ones: (kh, kw, out, in) to
    (in, out, kh, kw). Both are the same reversal, and neither flips the kernel.
    """
    array = np.array(array)
    return array.transpose(3, 2, 0, 1) if array.ndim == 4 else array


def load_into(reference, model, batch_norm=False):
    """Copies the weights of the Keras `model` into the torch `reference`, all of them."""
    import torch

    state = reference.state_dict()
    for layer, variable in weight_variables(model):
        name = torch_name(layer, variable.name, batch_norm)
        value = torch.tensor(to_torch(variable.value))
        assert state[name].shape == value.shape, name
        state[name] = value
    untouched = {k for k in reference.state_dict() if not k.endswith("num_batches_tracked")}
    untouched -= {torch_name(layer, v.name, batch_norm) for layer, v in weight_variables(model)}
    assert not untouched
    reference.load_state_dict(state)
    return reference.eval()
