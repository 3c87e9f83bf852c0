import numpy as np
import pytest
from PIL import Image

from experiments.study import box
from fcn_keras import pretrained
from fcn_keras.data import open_dataset
from fcn_keras.evaluation import Evaluator
from fcn_keras.saving import describe, load_model

SPLITS = {"first": ["a", "b"], "second": ["c"]}


@pytest.fixture
def data(tmp_path):
    random = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    for split, names in SPLITS.items():
        (tmp_path / f"data/{split}.txt").write_text("\n".join(names))
        for name in names:
            image = Image.fromarray(random.integers(0, 256, (40, 50, 3), np.uint8))
            image.save(tmp_path / f"data/images/{name}.png")
            mask = Image.fromarray(random.integers(0, 3, (40, 50), np.uint8))
            mask.save(tmp_path / f"data/masks/{name}.png")
    (tmp_path / "data/classes.txt").write_text("ground\nleaf\nstone\n")
    return tmp_path / "data"


@pytest.mark.slow
def test_the_shipped_file_tells_the_scores_of_all_splits_as_one(
    save_small_model, data, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path)
    file = save_small_model(3)
    options = {"dataset": "folder", "data_dir": data, "splits": tuple(SPLITS), "name": "plants"}
    options["max_side"] = 32
    box.main(box.Options(model=file, **options))

    shipped = load_model(tmp_path / "plants-fcn8s.safetensors")
    told = capsys.readouterr().out.split("8-bit kernels: ")[1]
    for split, images in (("first", 2), ("second", 1), ("first+second", 3)):
        expected = Evaluator(shipped).run(open_dataset("folder", data, split))
        assert f"{split}, {images} images: pixel_accuracy {expected.pixel_accuracy:.4f}" in told
    assert describe(shipped).max_side == 32
    assert describe(shipped).scores == pytest.approx(expected.overall())
    assert describe(shipped).split == "first+second"
