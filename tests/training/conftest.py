import keras
import pytest

from fcn_keras.data.shapes import write_shapes
from fcn_keras.training import TrainConfig


@pytest.fixture(scope="session")
def small_shapes(tmp_path_factory):
    """Six training and three validation images of about 48 x 48 pixels."""
    root = tmp_path_factory.mktemp("data") / "shapes"
    write_shapes(root, train=6, val=3, size=48)
    return root


@pytest.fixture
def tiny(small_shapes):
    """A configuration that trains in seconds: 2 epochs of 3 steps."""
    return TrainConfig(
        dataset="shapes",
        data_dir=small_shapes,
        trunk_width=2,
        head_width=4,
        crop_size=32,
        batch_size=2,
        epochs=2,
        optimizer="adamw",
        learning_rate=0.01,
        bucket=64,
    )


@pytest.fixture(autouse=True)
def fresh_names():
    keras.backend.clear_session()
