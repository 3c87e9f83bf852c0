"""What the layers compute with JAX on a CPU, where XLA's own way is slow."""

import keras


def in_use() -> bool:
    """Whether that is where Keras computes."""
    if keras.backend.backend() != "jax":
        return False
    from fcn_keras.cpu.runtime import on_cpu

    return on_cpu()
