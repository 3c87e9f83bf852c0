import sys

import keras
import pytest
from keras.src.utils import module_utils

from fcn_keras.training.run_folder import RunFolder


def test_the_best_model_is_saved_without_tensorflow(tmp_path, monkeypatch):
    (tmp_path / "tensorflow.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    monkeypatch.setattr(module_utils.tensorflow, "_available", None)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    with pytest.raises(RuntimeError, match="imported"):
        model.save(tmp_path / "plain.keras")

    folder = RunFolder(tmp_path)
    folder.save_best(model)
    loaded = keras.models.load_model(folder.best)
    assert loaded.get_weights()[0].tolist() == model.get_weights()[0].tolist()
    assert module_utils.tensorflow._available is None
