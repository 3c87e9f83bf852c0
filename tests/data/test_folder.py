import numpy as np
import pytest
from PIL import Image

from fcn_keras.data import open_dataset
from fcn_keras.data.class_list import read_classes
from fcn_keras.data.classes import VOC
from fcn_keras.data.folder import automatic_validation, is_validation, strays
from fcn_keras.data.images import read_size
from fcn_keras.errors import InputError

NAMES = [f"photo{index}" for index in range(40)]


@pytest.fixture
def root(tmp_path):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    (tmp_path / "classes.txt").write_text("background 0 0 0\npolar bear 250 250 255\n")
    for name in NAMES:
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / f"images/{name}.jpg")
        Image.fromarray(np.eye(4, dtype=np.uint8)).save(tmp_path / f"masks/{name}.png")
    return tmp_path


def test_splits_by_name_and_never_moves_a_photo(root):
    train, val = open_dataset("folder", root, "train"), open_dataset("folder", root, "val")
    assert sorted(train.ids + val.ids) == sorted(NAMES)
    assert 3 <= len(val) <= 14
    (root / "images" / f"{val.ids[0]}.jpg").unlink()
    assert set(open_dataset("folder", root, "val").ids) == set(val.ids[1:])
    assert open_dataset("folder", root, "train").ids == train.ids


def test_a_fifth_goes_to_validation():
    assert abs(sum(is_validation(f"IMG_{n:05d}") for n in range(5000)) / 5000 - 0.2) < 0.02


def test_split_files_decide_where_they_are(root):
    (root / "val.txt").write_text("photo3\nphoto1\n")
    assert open_dataset("folder", root, "val").ids == ("photo3", "photo1")
    with pytest.raises(InputError, match=r"train.txt does not exist; write one image name a line"):
        open_dataset("folder", root, "train")
    (root / "train.txt").write_text("photo99\n")
    with pytest.raises(InputError, match=r"train.txt names photo99, but .*images has no such"):
        open_dataset("folder", root, "train")


def test_masks_by_index_and_by_colour(root):
    (root / "val.txt").write_text("photo0\nphoto1\n")
    colored = np.zeros((4, 4, 3), np.uint8)
    colored[0] = (250, 250, 255)
    colored[1] = (224, 224, 192)
    Image.fromarray(colored).save(root / "masks/photo1.png")
    source = open_dataset("folder", root, "val")
    assert source.classes.names == ("background", "polar bear")
    np.testing.assert_array_equal(source[0][1], np.eye(4))
    assert source[1][1][:, 0].tolist() == [1, 255, 0, 0]


def test_classes_without_colours_get_vocs(root):
    (root / "classes.txt").write_text("background\n\npolar bear\n")
    classes, has_colors = read_classes(root / "classes.txt")
    assert classes.colors == VOC.colors[:2] and not has_colors
    source = open_dataset("folder", root, "train")
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(source.masks[0])
    with pytest.raises(InputError, match="is a RGB picture, but class indices are expected"):
        source[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("\n", "is empty; write one class a line"),
        ("a 0 0 0\nb\n", "gives 1 colours for 2 classes"),
        ("a 0 0 0\nb 0 0 300\n", "line 2 is 'b 0 0 300'; a colour is three numbers from 0 to 255"),
        ("a 0 0 0\nb 0 0 0\n", "repeats a name or a colour"),
        ("a\na\n", "repeats a name or a colour"),
    ],
)
def test_bad_class_lists(root, content, message):
    (root / "classes.txt").write_text(content)
    with pytest.raises(InputError, match=rf"class list .*/classes.txt {message}"):
        open_dataset("folder", root)


def test_missing_parts_are_named(root):
    with pytest.raises(InputError, match=r"photo5.png of split"):
        (root / "masks/photo5.png").unlink()
        [open_dataset("folder", root, split) for split in ("train", "val")]
    with pytest.raises(InputError, match=r"photo7.jpg and photo7.png in .*images share a name"):
        (root / "images/photo7.png").write_bytes(b"")
        open_dataset("folder", root)
    with pytest.raises(InputError, match=r"no such split|holiday.txt does not exist"):
        (root / "images/photo7.png").unlink()
        open_dataset("folder", root, "holiday")
    for image in (root / "images").iterdir():
        image.unlink()
    with pytest.raises(InputError, match=r"split train of .* is empty \(0 images in all\)"):
        open_dataset("folder", root)
    (root / "images").rmdir()
    with pytest.raises(InputError, match=r"image folder .*/images does not exist"):
        open_dataset("folder", root)
    (root / "classes.txt").unlink()
    with pytest.raises(InputError, match=r"class list .*/classes.txt does not exist"):
        open_dataset("folder", root)


def test_few_photos_have_both_splits(root):
    for count in range(2, 13):
        for start in range(400):
            names = [f"IMG_{start + n:04d}" for n in range(count)]
            validation = automatic_validation(names)
            assert 0 < len(validation) < count
            by_hash = {name for name in names if is_validation(name)}
            assert validation == by_hash or len(by_hash) in (0, count)
    assert automatic_validation(["one"]) == set() or is_validation("one")


def save_masks(root, picture):
    for name in NAMES:
        picture.save(root / f"masks/{name}.png")


WHITE_TABLE = "background 0 0 0\nobject 255 255 255\n"
SQUARE = np.pad(np.ones((2, 2), np.uint8), 1)


@pytest.mark.parametrize("mode", ["L", "1", "RGB", "P", "RGBA", "LA"])
def test_black_and_white_masks_are_the_classes_of_these_colours(root, mode):
    (root / "classes.txt").write_text(WHITE_TABLE)
    save_masks(root, Image.fromarray(255 * SQUARE).convert(mode))
    for split in ("train", "val"):
        np.testing.assert_array_equal(open_dataset("folder", root, split)[0][1], SQUARE)
    # White listed first: the colours decide, not their order.
    (root / "classes.txt").write_text("object 255 255 255\nbackground 0 0 0\n")
    np.testing.assert_array_equal(open_dataset("folder", root)[0][1], 1 - SQUARE)


@pytest.mark.parametrize("mode", ["L", "P"])
@pytest.mark.parametrize("classes", ["background\nobject\n", "background 0 0 0\nobject 200 0 0\n"])
def test_masks_of_0_and_255_without_a_white_class_are_refused(root, mode, classes):
    (root / "classes.txt").write_text(classes)
    save_masks(root, Image.fromarray(255 * SQUARE).convert(mode))
    with pytest.raises(
        InputError,
        match=r"masks holds the values 0 and 255 alone, and 255 is void; if it is an object, give "
        r"its colour in classes.txt: `background 0 0 0`, `object 255 255 255`",
    ):
        open_dataset("folder", root)
    # One mask with a class id is enough to tell that 255 is meant as void.
    Image.fromarray(np.full((4, 4), 1, np.uint8)).save(root / "masks/photo9.png")
    assert 255 in open_dataset("folder", root)[0][1]


def test_masks_of_0_and_1_are_ids_whatever_the_colours(root):
    (root / "classes.txt").write_text(WHITE_TABLE)
    save_masks(root, Image.fromarray(SQUARE))
    np.testing.assert_array_equal(open_dataset("folder", root)[0][1], SQUARE)
    (root / "classes.txt").write_text("object 255 255 255\nbackground 0 0 0\n")
    with pytest.raises(InputError, match=r"holds the values 0, 1, which may be class ids or shade"):
        open_dataset("folder", root)[0]


def test_shades_in_steps_are_classes_with_their_colours(root):
    levels = np.array([[0, 127], [254, 0]], np.uint8).repeat(2, 0).repeat(2, 1)
    save_masks(root, Image.fromarray(levels))
    (root / "classes.txt").write_text("a\nb\nc\n")
    with pytest.raises(InputError, match=r"label 127, .* if 0, 127, 254 are shades and not class"):
        open_dataset("folder", root)[0]
    save_masks(root, Image.fromarray(levels.astype(np.uint16) * 257))
    with pytest.raises(InputError, match=r"label 32639, .*; save the mask with 8 bits$"):
        open_dataset("folder", root)[0]
    save_masks(root, Image.fromarray(levels))
    (root / "classes.txt").write_text("a 0 0 0\nb 127 127 127\nc 254 254 254\n")
    np.testing.assert_array_equal(open_dataset("folder", root)[0][1], levels // 127)
    levels[0, 0] = 255  # no class is white
    save_masks(root, Image.fromarray(levels))
    assert open_dataset("folder", root)[0][1][0, :2].tolist() == [255, 0]


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_smoothed_edges_are_named_with_an_example(root, mode):
    (root / "classes.txt").write_text(WHITE_TABLE)
    picture = np.zeros((10, 10), np.uint8)
    picture[:, 4:] = 255
    picture[:4, 4] = 31, 90, 128, 220
    save_masks(root, Image.fromarray(picture).convert(mode))
    with pytest.raises(InputError) as error:
        open_dataset("folder", root)[0]
    assert str(error.value).endswith(
        "holds 4 colours that are not in the class table, in 4 % of its pixels, such as (31, 31, "
        "31) at row 0, column 4: edges are smoothed (anti-aliased); save it without smoothing, or "
        "repaint it"
    )


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_masks_are_refused(root, mode):
    (root / "classes.txt").write_text(WHITE_TABLE)
    picture = Image.fromarray(255 * SQUARE).convert(mode)
    picture.putalpha(Image.fromarray(255 * SQUARE))
    save_masks(root, picture)
    with pytest.raises(InputError, match=r"photo.*png has transparent pixels; flatten it, void"):
        open_dataset("folder", root)[0]


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffsky,128,128,128\r\ngarden shed, 200, 30, 30\r\n",
        "sky #808080\ngarden shed #C81E1E  # where the tools are\n",
        "# my classes\n\n0: sky 128 128 128\n1: garden shed 200 30 30\n",
        "0,sky,128,128,128\n1,garden shed,200,30,30\n",
        "128 128 128 sky\n200 30 30\tgarden shed\n",
        "#808080 sky\n#c81e1e garden shed\n",
        '"sky";128;128;128\n"garden shed";200;30;30\n',
    ],
)
def test_class_lists_as_people_write_them(root, text):
    (root / "classes.txt").write_text(text, newline="")
    classes, has_colors = read_classes(root / "classes.txt")
    assert classes.names == ("sky", "garden shed") and has_colors
    assert classes.colors == ((128, 128, 128), (200, 30, 30))


def test_names_may_hold_numbers(root):
    (root / "classes.txt").write_text("route 66\n2 wheeler\n4x4\n")
    assert read_classes(root / "classes.txt")[0].names == ("route 66", "2 wheeler", "4x4")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("1: sky", "class ids count from 0 in the order of the lines: this is 0"),
        ("12", "write `name` or `name red green blue`"),
        ("#808080", "write `name` or `name red green blue`"),
        ("sky 300 0 0", "a colour is three numbers from 0 to 255"),
    ],
)
def test_bad_lines_are_named(root, line, reason):
    (root / "classes.txt").write_text(f"# classes\n{line}\n")
    with pytest.raises(InputError, match=f"line 2 is '{line}'; {reason}"):
        read_classes(root / "classes.txt")


def test_a_class_list_must_be_utf8(root):
    (root / "classes.txt").write_bytes("Bäume\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"classes.txt is not UTF-8 text; save it as UTF-8"):
        open_dataset("folder", root)


def test_masks_under_other_names_are_found(root):
    before = open_dataset("folder", root)
    for name in NAMES:
        (root / f"masks/{name}.png").rename(root / f"masks/{name}_mask.PNG")
    source = open_dataset("folder", root)
    assert source.masks[0].name == f"{source.ids[0]}_mask.PNG" and source.ids == before.ids
    np.testing.assert_array_equal(source[0][1], np.eye(4))


def test_subfolders(root):
    for kind, ending in (("images", "jpg"), ("masks", "png")):
        (root / kind / "day 1").mkdir()
        (root / f"{kind}/photo1.{ending}").rename(root / f"{kind}/day 1/photo2.{ending}")
    (root / "val.txt").write_text("day 1/photo2\nphoto2\n")
    source = open_dataset("folder", root, "val")
    assert source.masks == (root / "masks/day 1/photo2.png", root / "masks/photo2.png")


def test_says_what_was_meant(root):
    (root / "masks").rename(root / "Labels")
    with pytest.raises(InputError, match=r"masks does not exist, but Labels does; rename it to m"):
        open_dataset("folder", root)
    for path in (root / "Labels").iterdir():
        path.rename(root / f"images/{path.stem}_mask.png")
    (root / "Labels").rmdir()
    with pytest.raises(InputError, match=r"holds 40 masks, such as photo0_mask.png; move them to"):
        open_dataset("folder", root)
    (root / "masks").mkdir()
    (root / "masks/a.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"for none of the 80 images: it holds 1 files, such as a"):
        open_dataset("folder", root)


def test_counts_what_lies_about(root):
    assert strays(root) == []
    (root / "masks/photo3.png").rename(root / "masks/phto3.png")
    (root / "images/IMG_1.CR2").write_bytes(b"")
    assert strays(root) == [
        "photos without a mask: 1, such as photo3; draw it",
        "masks without a photo: 1, such as phto3.png; add the photo",
        "files in images that are not read: 1, such as IMG_1.CR2; convert photos to JPEG or PNG",
    ]


def test_photos_of_phones(root):
    heif = pytest.importorskip("pillow_heif")
    rng = np.random.default_rng(0)
    photo = Image.fromarray(rng.integers(0, 256, (64, 64, 3)).astype(np.uint8))
    heif.from_pillow(photo).save(root / "images/photo3.HEIC", quality=-1, chroma=444)
    (root / "images/photo3.jpg").unlink()
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(root / "masks/photo3.png")
    (root / "val.txt").write_text("photo3\n")
    (image, _) = open_dataset("folder", root, "val")[0]
    assert abs(image.astype(int) - np.array(photo)).mean() < 3
    assert read_size(root / "images/photo3.HEIC") == (64, 64)


def test_sizes_are_those_of_the_upright_picture(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (7, 5)).save(tmp_path / "a.jpg", exif=exif)
    assert read_size(tmp_path / "a.jpg") == (7, 5)
    Image.new("RGB", (7, 5)).save(tmp_path / "b.jpg")
    assert read_size(tmp_path / "b.jpg") == (5, 7)


@pytest.mark.parametrize("line", [";", ", ,", '""', ":"])
def test_a_line_without_a_word_is_no_class(tmp_path, line):
    (tmp_path / "classes.txt").write_text(f"a\n{line}\nb\n")
    with pytest.raises(InputError, match=r"classes.txt line 2 is .*; write `name` or"):
        read_classes(tmp_path / "classes.txt")
