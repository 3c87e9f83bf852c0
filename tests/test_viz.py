import numpy as np
import pytest
from PIL import Image

from fcn_keras import InputError, viz
from fcn_keras.data import read_mask
from fcn_keras.data.classes import CAMVID, VOC, VOID

HEADER = (
    "epoch,step,learning_rate,train_loss,val_loss,pixel_accuracy,mean_accuracy,mean_iou,fw_iou,"
    "train_seconds,val_seconds,images_per_second\n"
)


@pytest.fixture
def mask():
    labels = np.random.default_rng(0).choice([*range(21), VOID], (13, 17)).astype(np.uint8)
    labels[0, 0] = VOID
    return labels


def test_a_saved_mask_holds_indices_and_class_colors(mask, tmp_path):
    viz.save_mask(tmp_path / "mask.png", mask, VOC)
    picture = Image.open(tmp_path / "mask.png")
    assert picture.mode == "P"
    np.testing.assert_array_equal(np.array(picture), mask)
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png", 21), mask)
    colors = np.array(picture.convert("RGB"))
    assert tuple(colors[0, 0]) == (224, 224, 192)
    for label, color in enumerate(VOC.colors):
        assert (colors[mask == label] == color).all()
    assert [path.name for path in tmp_path.iterdir()] == ["mask.png"]


def test_saved_masks_equal_vocs_own_files(shared_data, tmp_path):
    """Reading one of VOC's masks and saving it gives its pixels and its palette back."""
    original = Image.open(shared_data / "VOC2012" / "SegmentationClass" / "2007_000033.png")
    viz.save_mask(tmp_path / "mask.png", np.array(original), VOC)
    saved = Image.open(tmp_path / "mask.png")
    np.testing.assert_array_equal(np.array(saved), np.array(original))
    np.testing.assert_array_equal(saved.convert("RGB"), original.convert("RGB"))


def test_an_overlay_mixes_photo_and_class_color():
    image = np.full((1, 2, 3), (100, 50, 0), np.uint8)
    blend = viz.overlay(image, np.array([[0, 15]], np.uint8), VOC)
    # 0.6 * (100, 50, 0) + 0.4 * (0, 0, 0) and + 0.4 * (192, 128, 128)
    assert blend.tolist() == [[[60, 30, 0], [137, 81, 51]]]
    assert blend.dtype == np.uint8
    np.testing.assert_array_equal(viz.overlay(image, blend[..., 0], VOC, alpha=0), image)


def test_a_folder_is_made_for_a_picture(tmp_path):
    rgb = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    viz.save_image(tmp_path / "new" / "a.png", rgb)
    with Image.open(tmp_path / "new" / "a.png") as image:
        np.testing.assert_array_equal(np.array(image), rgb)
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["a.png"]


def test_a_failed_save_keeps_the_older_file(mask, tmp_path):
    path = tmp_path / "picture.png"
    path.write_bytes(b"older")
    with pytest.raises(TypeError):
        viz.save_image(path, np.zeros((2, 2, 7), np.uint8))
    assert path.read_bytes() == b"older"
    with pytest.raises(InputError, match="unknown file extension: name it"):
        viz.save_image(tmp_path / "picture.unknown", mask)
    assert [path.name for path in tmp_path.iterdir()] == ["picture.png"]


def test_a_panel_shows_image_truth_and_prediction_in_their_colors(tmp_path):
    image = np.full((40, 60, 3), (1, 254, 2), np.uint8)
    truth = np.full((40, 60), 3, np.uint8)
    truth[:20] = VOID
    prediction = np.full((40, 60), 8, np.uint8)
    viz.panel([image], [truth], [prediction], CAMVID, tmp_path / "panel.png")
    pixels = np.array(Image.open(tmp_path / "panel.png").convert("RGB"))
    third = pixels.shape[1] // 3
    shares = [
        ((pixels[:, column * third : (column + 1) * third] == color).all(axis=-1)).mean()
        for column, color in [
            (0, (1, 254, 2)),
            (1, CAMVID.colors[3]),
            (1, (224, 224, 192)),
            (2, CAMVID.colors[8]),
        ]
    ]
    assert min(shares) > 0.1
    assert shares[1] == pytest.approx(shares[2], rel=0.1)


def test_curves_draw_every_epoch(tmp_path):
    row = "{0},{0},0.1,{1},{1},0.5,0.4,0.3,0.2,1,1,2\n"
    rows = "".join(row.format(epoch, 3 / epoch) for epoch in (1, 2, 3))
    (tmp_path / "log.csv").write_text(HEADER + rows)
    viz.curves(tmp_path / "log.csv", tmp_path / "curves.png")
    pixels = np.array(Image.open(tmp_path / "curves.png").convert("RGB"))
    blue = (np.abs(pixels.astype(int) - (31, 119, 180)).max(axis=-1) < 10).any(axis=0)
    assert pixels.shape[1] > 1000
    # matplotlib's first colour is in each of the three axes
    assert all(part.any() for part in np.array_split(blue, 3))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is missing: let the run finish"),
        (HEADER, "has no rows"),
        ("epoch,step\n1,2\n", "lacks the column train_loss"),
    ],
)
def test_a_wrong_log_is_named(content, message, tmp_path):
    if content is not None:
        (tmp_path / "log.csv").write_text(content)
    with pytest.raises(InputError, match=message):
        viz.curves(tmp_path / "log.csv", tmp_path / "curves.png")
