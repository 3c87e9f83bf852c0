import dataclasses

import numpy as np
import pytest
from PIL import Image, ImageOps

from fcn_keras.data import open_dataset
from fcn_keras.data.catalog import open_files
from fcn_keras.data.check import check
from fcn_keras.data.classes import ClassTable
from fcn_keras.data.images import turned_upright
from fcn_keras.data.pairs import pairs_source
from fcn_keras.data.photos import Photos, survey
from fcn_keras.data.sheet import overlay_sheet
from fcn_keras.data.traits import blended_share, fingerprint
from fcn_keras.recipes import load_recipe

SPLITS = {"train": range(6), "val": range(6, 9)}
RNG = np.random.default_rng(0)
PHOTOS = [np.kron(RNG.integers(0, 256, (9, 9, 3)), np.ones((5, 5, 1))) for _ in range(9)]
HALVES = np.repeat(np.array([[0, 2]], np.uint8), 45, axis=0).repeat(23, axis=1)[:, :45]


@pytest.fixture
def root(tmp_path):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    (tmp_path / "classes.txt").write_text("ground 0 0 0\ntree 0 90 0\nroad 90 0 0\n")
    for split, numbers in SPLITS.items():
        (tmp_path / f"{split}.txt").write_text("".join(f"{n}\n" for n in numbers))
    for index, photo in enumerate(PHOTOS):
        Image.fromarray(photo.astype(np.uint8)).save(tmp_path / f"images/{index}.png")
        mask = HALVES.copy()
        mask[:20, :20] = 1
        draw(tmp_path, index, mask)
    return tmp_path


def draw(root, index, mask, palette=None):
    picture = Image.fromarray(mask)
    if palette is not None:
        picture.putpalette(bytes(palette))
    picture.save(root / f"masks/{index}.png")


def warned(root):
    report = check({split: open_files("folder", root, split) for split in SPLITS})
    assert report.problems == []
    assert report.to_json()["warnings"] == report.warnings
    return report.warnings


def test_good_data_has_no_warnings(root):
    assert warned(root) == []


def test_a_class_in_no_mask_and_masks_of_a_single_class(root):
    for index in range(9):
        draw(root, index, HALVES)
    draw(root, 4, np.zeros((45, 45), np.uint8))
    assert warned(root) == [
        "classes in no mask: tree; check the order in classes.txt",
        "masks of a single class: 1 of 9, such as 4",
    ]


def test_mostly_void_and_one_class_nearly_everywhere(root):
    mask = np.full((45, 45), 255, np.uint8)
    mask[:20] = 0
    for index in range(9):
        draw(root, index, mask)
    mask[0, 0], mask[0, 1] = 1, 2
    draw(root, 0, mask)
    warnings = warned(root)
    assert "56 % of all pixels are void, which training ignores" in warnings
    assert sum("100.0 % of the labelled pixels are ground: a model" in w for w in warnings) == 1


def test_smoothed_edges_of_ids(root):
    mask = HALVES.copy()
    mask[:, 22] = 1
    for index in range(9):
        draw(root, index, mask)
    (warning,) = warned(root)
    assert warning.startswith("9 masks have thin lines of other classes between two classes, such")


def test_a_palette_of_other_colours(root):
    mask = HALVES.copy()
    mask[:20, :20] = 1
    draw(root, 2, mask, [0, 0, 0, 90, 90, 90, 90, 0, 0])
    draw(root, 3, mask, [0, 0, 0, 0, 90, 0, 90, 0, 0])  # that of classes.txt
    assert warned(root) == [
        "1 palette masks have other colours than classes.txt, such as 2; they are read by their "
        "class ids"
    ]


def test_two_ways_of_reading(root):
    colored = np.zeros((45, 45, 3), np.uint8)
    colored[:9] = (0, 90, 0)
    Image.fromarray(colored).save(root / "masks/5.png")
    assert warned(root) == [
        "8 masks are read by class ids, such as 0, and 1 by colour, such as 5; check that both "
        "are intended"
    ]


def test_validation_images_that_were_trained_on(root):
    noisy = PHOTOS[3] + np.random.default_rng(1).normal(0, 3, PHOTOS[3].shape)
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(root / "images/7.png")
    (warning,) = warned(root)
    assert warning.startswith("1 images of val look like images of train, such as 7 like 3; keep")


def test_fingerprints():
    image = PHOTOS[0].astype(np.uint8)
    small = np.asarray(Image.fromarray(image).resize((90, 90), Image.Resampling.BILINEAR))
    assert fingerprint(image) @ fingerprint(image) == 64
    assert (64 - fingerprint(image) @ fingerprint(small)) / 2 <= 4
    assert (64 - fingerprint(image) @ fingerprint(PHOTOS[1].astype(np.uint8))) / 2 > 16
    assert fingerprint(np.full((20, 20, 3), 9, np.uint8)) is None


def test_blended_share_counts_borders():
    assert blended_share(np.zeros((4, 4), np.uint8)) is None
    assert blended_share(np.array([[0, 1, 1, 0]], np.uint8)) is None  # neighbours can't blend
    assert blended_share(np.array([[0, 0, 5, 5]], np.uint8)) == 0
    assert blended_share(np.array([[0, 3, 5, 5]], np.uint8)) == 1 / 3  # 0-3 and 3-5 touch too
    assert blended_share(np.array([[0, 255, 5, 5]], np.uint8)) is None
    assert blended_share(np.array([[0, 1, 2, 2, 1, 0]], np.uint8)) == 1


def test_blended_share_of_real_masks(shared_data):
    source = open_dataset("camvid", shared_data / "CamVid", "val")
    mask = source[0][1]
    assert blended_share(mask) < 0.05
    picture = Image.fromarray(np.where(mask == 255, 0, mask))
    smooth = picture.resize((300, 200), Image.Resampling.BILINEAR)
    assert blended_share(np.asarray(smooth)) > 0.4


def test_the_picture_lays_masks_over_whole_photos(root):
    source = open_dataset("folder", root, "train")
    sheet = overlay_sheet(source, skip={"0"}, count=3, columns=2)
    assert sheet.shape == (2 * 244, 2 * 324, 3)
    image, mask = source[1]
    expected = (0.5 * image + 0.5 * source.classes.palette[mask]).astype(np.uint8)
    np.testing.assert_array_equal(sheet[:45, :45], expected)


def test_recipes_for_own_photos_follow_from_them(root):
    photos = survey(open_files("folder", root, "train"))
    assert photos == Photos(count=6, height=45, width=45)
    config = load_recipe("own_cpu", root)
    assert (config.crop_size, config.batch_size, config.dataset) == (32, 4, "folder")
    assert (config.epochs, config.warmup_steps, config.val_epochs) == (300, 15, 30)
    for count in (1, 3, 24, 200, 5000):
        for name in ("own_cpu", "own"):
            module = __import__(f"fcn_keras.recipes.{name}", fromlist=["config"])
            config = module.config(Photos(count, 3000, 4000))
            epoch_steps = count // config.batch_size
            steps = config.epochs * epoch_steps
            wanted = min(
                max(module.STEPS_PER_PHOTO * count, module.FEWEST_STEPS), module.MOST_STEPS
            )
            assert wanted <= steps < wanted + epoch_steps
            assert config.warmup_steps == steps // 20
            assert config.crop_size == module.LARGEST_CROP // 32 * 32
            flat = module.config(Photos(count, 300, 4000)).crop_size
            assert flat == module.MAX_SIDE * 300 // 4000 // 32 * 32
            assert config.max_side == 2 * config.crop_size
            assert dataclasses.replace(config) == config


def test_many_missing_files_are_one_problem(root):
    for index in range(6):
        (root / f"masks/{index}.png").unlink()
    report = check({split: open_files("folder", root, split) for split in SPLITS})
    (problem,) = report.problems
    assert problem.message.startswith("6 files do not exist, such as ")
    assert problem.message.endswith(
        "/masks/0.png, and 6 of 6 samples lack one; complete the folder or the split file"
    )
    assert report.splits["val"].pixels.sum() == 3 * 45 * 45


def test_masks_of_ids_alone_are_read_in_one_way(root):
    mask = HALVES.copy()
    mask[:20, :20] = 1
    mask[0, 0] = 9
    draw(root, 3, mask)
    lines = {name: [f"images/{n}.png masks/{n}.png" for n in ns] for name, ns in SPLITS.items()}
    for name, pairs in lines.items():
        (root / f"{name}.txt").write_text("\n".join(pairs))
    classes = ClassTable.numbered(3)
    sources = {name: pairs_source(root, name, classes, ignore_label=9) for name in SPLITS}
    report = check(sources)
    assert report.problems == report.warnings == []


@pytest.mark.parametrize("orientation", range(2, 9))
def test_masks_that_arent_turned_with_their_photos(root, orientation):
    """A square photo with a dark corner, which is the tree in its mask."""
    photo = np.full((45, 45), 200, np.uint8)
    photo[:20, :15] = 40
    mask = np.where(photo == 40, 1, 0).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    for index in SPLITS["train"]:
        Image.fromarray(photo).save(root / f"images/{index}.png", exif=exif)
        with Image.open(root / f"images/{index}.png") as stored:
            upright = np.array(ImageOps.exif_transpose(stored))
        turned = np.where(upright == 40, 1, 0).astype(np.uint8)
        np.testing.assert_array_equal(turned_upright(mask, orientation), turned)
        draw(root, index, mask if index < 4 else turned)
    (warning,) = [text for text in warned(root) if "EXIF" in text]
    assert warning == (
        "4 of 6 masks don't seem to be turned as their photos are by EXIF orientation, such as 0; "
        "turn these masks too, or save the photos upright"
    )
    for index in range(4):
        draw(root, index, turned)
    assert not [text for text in warned(root) if "EXIF" in text]
