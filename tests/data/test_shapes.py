import numpy as np
import pytest
from PIL import Image

from fcn_keras.data import catalog, open_dataset, shapes
from fcn_keras.data.classes import SHAPES
from fcn_keras.errors import InputError


def files(root):
    return {p.relative_to(root): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def test_the_seed_decides_every_byte(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        shapes.write_shapes(tmp_path / name, train=3, val=2, size=48, seed=seed)
    a, b, c = (files(tmp_path / name) for name in "abc")
    assert a == b and a.keys() == c.keys()
    assert not {v for k, v in a.items() if k.suffix != ".txt"} & set(c.values())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b", "c"]


def test_sizes_and_splits(tmp_path):
    shapes.write_shapes(tmp_path / "set", train=5, val=8, size=64)
    train = open_dataset("shapes", tmp_path / "set", "train")
    val = open_dataset("shapes", tmp_path / "set", "val")
    assert (len(train), len(val)) == (5, 8)
    assert {train[i][0].shape for i in range(5)} == {(64, 64, 3)}
    sizes = {val[i][1].shape for i in range(8)}
    assert len(sizes) > 4
    assert all(48 <= side <= 80 for size in sizes for side in size)
    assert not set(train.ids) & set(val.ids)


def test_masks_are_palette_pictures_in_class_colours(tmp_path):
    shapes.write_shapes(tmp_path / "set", train=1, val=1, size=48)
    with Image.open(tmp_path / "set/SegmentationClass/train_0000.png") as image:
        assert image.mode == "P"
        palette = np.array(image.getpalette("RGB")).reshape(-1, 3)
    np.testing.assert_array_equal(palette[:6], SHAPES.colors)


def test_every_class_and_void_border_occurs():
    counts = np.zeros(256, int)
    for seed in range(40):
        image, mask = shapes.draw_sample(np.random.default_rng(seed), 80, 100)
        assert (image.shape, mask.shape, image.dtype, mask.dtype) == (
            (80, 100, 3),
            (80, 100),
            "u1",
            "u1",
        )
        counts += np.bincount(mask.ravel(), minlength=256)
        # no two classes touch: a void line runs between them
        for a, b in ((mask[1:], mask[:-1]), (mask[:, 1:], mask[:, :-1])):
            assert not ((a != b) & (a != 255) & (b != 255)).any()
    shares = counts / counts.sum()
    assert (shares[1:6] > 0.02).all() and 0.6 < shares[0] < 0.9
    assert 0.04 < shares[255] < 0.15 and counts[6:255].sum() == 0


@pytest.mark.parametrize(
    ("shape", "area"),
    [
        ("circle", np.pi * 0.95**2),
        ("ring", np.pi * (1.02**2 - 0.48**2)),
        ("square", 1.7**2),
        ("triangle", 3 * np.sqrt(3) * 0.62**2),
        ("star", 5 * 1.2 * 0.6 * np.sin(np.pi / 5)),
    ],
)
def test_shapes_have_their_areas(shape, area):
    v, u = np.mgrid[-80:80:0.25, -80:80:0.25]
    inside = (shapes._distance(shape, u, v, 40.0) < 0).sum() / 16
    assert inside == pytest.approx(area * 40**2, rel=0.02)


def test_default_folder_is_the_users_cache_and_made_once(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    calls = []
    write = shapes.write_shapes
    small = lambda root: (calls.append(root), write(root, train=2, val=1, size=32))  # noqa: E731
    monkeypatch.setattr(catalog, "write_shapes", small)
    assert len(open_dataset("shapes")) == 2
    assert len(open_dataset("shapes", split="val")) == 1
    assert calls == [tmp_path / "fcn-keras" / f"shapes-v{shapes.VERSION}"]


def test_a_race_or_a_failure_leaves_no_half_set(tmp_path, monkeypatch):
    shapes.write_shapes(tmp_path / "set", train=1, val=1, size=32)
    before = files(tmp_path / "set")
    shapes.write_shapes(tmp_path / "set", train=2, val=1, size=32)  # another was first
    assert files(tmp_path / "set") == before
    monkeypatch.setattr(shapes, "draw_sample", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        shapes.write_shapes(tmp_path / "other", train=1, val=1, size=32)
    assert [p.name for p in tmp_path.iterdir()] == ["set"]


def test_refuses_a_folder_of_other_things(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"holds other files.*; give a new or empty folder"):
        open_dataset("shapes", tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]
