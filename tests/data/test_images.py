import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from fcn_keras.data import mask_values, mat_file, read_image, read_mask
from fcn_keras.data.classes import VOC
from fcn_keras.data.images import conversions, decode_image, decode_mask, exif_orientation
from fcn_keras.errors import InputError

RGB = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
LABELS = np.array([[0, 1, 20], [255, 15, 0]], np.uint8)


def save(path, array, mode=None, **options):
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def palette_picture(labels, palette):
    image = Image.fromarray(labels)
    image.putpalette(palette)
    return image


def test_reads_rgb_as_it_is(tmp_path):
    image = read_image(save(tmp_path / "a.png", RGB))
    np.testing.assert_array_equal(image, RGB)
    assert image.dtype == np.uint8
    assert conversions(tmp_path / "a.png") == []


def test_gray_becomes_rgb(tmp_path):
    image = read_image(save(tmp_path / "a.png", RGB[..., 0]))
    np.testing.assert_array_equal(image, np.repeat(RGB[..., :1], 3, axis=2))
    assert conversions(tmp_path / "a.png") == ["L pixels read as RGB"]


def test_palette_pictures_become_rgb(tmp_path):
    palette_picture(LABELS, VOC.palette.tobytes()).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), VOC.palette[LABELS])


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (1, lambda a: a),
        (2, np.fliplr),
        (3, lambda a: np.rot90(a, 2)),
        (4, np.flipud),
        (5, lambda a: a.swapaxes(0, 1)),
        (6, lambda a: np.rot90(a, -1)),
        (7, lambda a: np.rot90(a, 2).swapaxes(0, 1)),
        (8, lambda a: np.rot90(a, 1)),
    ],
)
def test_turns_upright_by_exif(tmp_path, orientation, upright):
    exif = Image.Exif()
    exif[0x0112] = orientation
    save(tmp_path / "a.png", RGB, exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), upright(RGB))
    notes = [f"turned upright (EXIF orientation {orientation})"] if orientation > 1 else []
    assert conversions(tmp_path / "a.png") == notes


def test_opaque_alpha_is_dropped_and_transparency_refused(tmp_path):
    alpha = np.full((5, 7, 1), 255, np.uint8)
    save(tmp_path / "a.png", np.concatenate([RGB, alpha], axis=2))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), RGB)
    alpha[2, 3] = 254
    save(tmp_path / "b.png", np.concatenate([RGB, alpha], axis=2))
    with pytest.raises(InputError, match=r"image b.png has transparent pixels; flatten it to RGB"):
        read_image(tmp_path / "b.png")


def test_refuses_cmyk_and_16_bit(tmp_path):
    save(tmp_path / "a.jpg", RGB, "CMYK")
    with pytest.raises(InputError, match=r"^image a.jpg is CMYK; convert it to RGB$"):
        read_image(tmp_path / "a.jpg")
    save(tmp_path / "b.png", RGB[..., 0].astype(np.uint16) * 257)
    with pytest.raises(InputError, match=r"^image b.png has I;16 pixels \(over 8 bits\); convert"):
        read_image(tmp_path / "b.png")
    save(tmp_path / "c.tif", RGB[..., 0].astype(np.float32))
    with pytest.raises(InputError, match=r"^image c.tif has F pixels"):
        read_image(tmp_path / "c.tif")


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_refuses_damaged_and_missing_files(tmp_path, suffix):
    path = save(tmp_path / f"a.{suffix}", np.tile(RGB, (20, 20, 1)))
    content = path.read_bytes()
    for size in (len(content) // 2, 30):
        path.write_bytes(content[:size])
        with pytest.raises(InputError, match=rf"image .*/a.{suffix} can't be read \(.*; replace"):
            read_image(path)
    path.write_bytes(b"hello")
    with pytest.raises(InputError, match=r"can't be read \(no known picture format\)"):
        read_image(path)
    path.unlink()
    with pytest.raises(InputError, match=rf"image .*/a.{suffix} does not exist; check the path"):
        read_image(path)


def test_palette_and_gray_masks_keep_their_indices(tmp_path):
    palette_picture(LABELS, VOC.palette.tobytes()).save(tmp_path / "p.png")
    save(tmp_path / "l.png", LABELS)
    save(tmp_path / "i.png", LABELS.astype(np.uint16))
    for name in ("p.png", "l.png", "i.png"):
        mask = read_mask(tmp_path / name, 21)
        np.testing.assert_array_equal(mask, LABELS)
        assert mask.dtype == np.uint8


def test_one_bit_masks_are_0_and_1(tmp_path):
    save(tmp_path / "m.png", np.eye(4, dtype=bool))
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png", 2), np.eye(4))


def test_label_out_of_range_is_named(tmp_path):
    save(tmp_path / "2007_000033.png", np.full((2, 2), 37, np.uint8))
    with pytest.raises(InputError) as error:
        read_mask(tmp_path / "2007_000033.png", 21)
    assert str(error.value) == (
        "mask 2007_000033.png holds label 37, but the data set has 21 classes (0..20, 255 = void)"
    )
    save(tmp_path / "m.png", np.full((2, 2), 511, np.uint16))  # 255 if cut to a byte
    with pytest.raises(InputError, match=r"m.png holds label 511"):
        read_mask(tmp_path / "m.png", 21)


def test_ignored_label_becomes_void(tmp_path):
    save(tmp_path / "m.png", np.array([[0, 11], [10, 255]], np.uint8))
    mask = read_mask(tmp_path / "m.png", 11, ignore_label=11)
    assert mask.tolist() == [[0, 255], [10, 255]]


COLORS = ((0, 0, 0), (200, 0, 0), (0, 0, 90))


def test_rgb_mask_needs_a_colour_table(tmp_path):
    colored = np.array([[(200, 0, 0), (0, 0, 90)], [(0, 0, 0), (224, 224, 192)]], np.uint8)
    save(tmp_path / "m.png", colored)
    assert read_mask(tmp_path / "m.png", 3, COLORS).tolist() == [[1, 2], [0, 255]]
    with pytest.raises(InputError, match=r"m.png is a RGB picture, but class indices are expected"):
        read_mask(tmp_path / "m.png", 3)
    colored[0, 1] = (0, 0, 91)
    save(tmp_path / "m.png", colored)
    with pytest.raises(
        InputError, match=r"colour \(0, 0, 91\) at row 0, column 1, which is not in"
    ):
        read_mask(tmp_path / "m.png", 3, COLORS)


def test_palette_in_another_order_is_read_by_colour(tmp_path):
    labels = np.array([[0, 1], [1, 2]], np.uint8)
    shuffled = bytes(sum((COLORS[i] for i in (2, 0, 1)), ()))
    palette_picture(labels, shuffled).save(tmp_path / "m.png")
    assert read_mask(tmp_path / "m.png", 3, COLORS).tolist() == [[2, 0], [0, 1]]
    palette_picture(labels, bytes(range(9))).save(tmp_path / "m.png")  # colours of no class
    assert read_mask(tmp_path / "m.png", 3, COLORS).tolist() == labels.tolist()


def test_refuses_jpeg_masks(tmp_path):
    save(tmp_path / "m.jpg", LABELS)
    with pytest.raises(InputError, match=r"m.jpg is a JPEG, whose compression alters labels"):
        read_mask(tmp_path / "m.jpg", 21)


def test_decodes_pictures_in_memory():
    file = io.BytesIO()
    Image.fromarray(LABELS).save(file, "PNG")
    gray = np.repeat(LABELS[..., None], 3, axis=2)
    np.testing.assert_array_equal(decode_image(file.getvalue(), "x"), gray)
    np.testing.assert_array_equal(decode_mask(file.getvalue(), "x", 21), LABELS)
    with pytest.raises(InputError, match="mask x holds label -1"):
        decode_mask(file.getvalue(), "x", 21, first_label=1)


@pytest.mark.parametrize("compressed", [True, False])
def test_reads_sbd_files(tmp_path, compressed):
    labels = np.random.default_rng(0).integers(0, 21, (37, 50), np.uint8)
    content = {
        "other": np.arange(5.0),
        "GTcls": {"Boundaries": np.eye(3), "Segmentation": labels, "CategoriesPresent": [1, 2]},
    }
    savemat(tmp_path / "m.mat", content, do_compression=compressed)
    np.testing.assert_array_equal(read_mask(tmp_path / "m.mat", 21), labels)
    savemat(tmp_path / "s.mat", {"GTcls": {"Segmentation": LABELS[:1, :2]}})  # fits in its tag
    np.testing.assert_array_equal(read_mask(tmp_path / "s.mat", 21), LABELS[:1, :2])
    with pytest.raises(InputError, match=r"none.mat does not exist"):
        read_mask(tmp_path / "none.mat", 21)


@pytest.mark.parametrize(
    "value",
    [
        np.array([[2**40 + 1]]),
        np.array([[0.7]]),
        "text",
        {"a": 1},
        LABELS.astype(np.int8),
        LABELS.astype(np.uint16),
        LABELS[None],
        LABELS[:0],
    ],
)
def test_refuses_other_numbers_in_sbd_files(tmp_path, value):
    savemat(tmp_path / "m.mat", {"GTcls": {"Segmentation": value}})
    with pytest.raises(InputError, match=r"m.mat is not an SBD class file \(.*\); unpack it again"):
        read_mask(tmp_path / "m.mat", 21)


def test_refuses_other_and_damaged_mat_files(tmp_path):
    path = tmp_path / "m.mat"
    for content in ({"GTcls": {"Other": 1}}, {"GTcls": LABELS}, {"x": 1}):
        savemat(path, content)
        with pytest.raises(InputError, match=r"m.mat is not an SBD class file"):
            read_mask(path, 21)
    savemat(path, {"GTcls": {"Segmentation": LABELS}}, do_compression=True)
    whole = path.read_bytes()
    for content in (b"", b"MATLAB 5.0", whole[:60], whole[:-5], whole[:150] + whole[160:]):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"m.mat is not an SBD class file"):
            read_mask(path, 21)


def test_a_small_mat_file_that_unpacks_to_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(mat_file, "MAX_BYTES", 10_000)
    content = {"GTcls": {"Segmentation": np.zeros((200, 200), np.uint8)}}
    savemat(tmp_path / "m.mat", content, do_compression=True)
    with pytest.raises(InputError, match=r"m.mat .* is cut off, or has more than 256 MB"):
        read_mask(tmp_path / "m.mat", 21)


@pytest.mark.parametrize("kind", ["EPS", "DDS", "AVIF", "GIF", "PPM"])
def test_other_formats_are_refused_under_any_name(tmp_path, kind):
    if kind not in set(Image.registered_extensions().values()):
        pytest.skip(f"this Pillow knows no {kind}")
    save(tmp_path / "a.png", RGB, format=kind)
    for read in (read_image, lambda path: read_mask(path, 21), conversions, exif_orientation):
        with pytest.raises(InputError, match=r"a.png can't be read \(no known picture format\)"):
            read(tmp_path / "a.png")


def png(*chunks):
    """A PNG of the chunks (name, data)."""
    signed = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(signed)


def test_a_palette_picture_without_a_palette(tmp_path):
    header = struct.pack(">2I5B", 2, 1, 8, 3, 0, 0, 0)
    rows = zlib.compress(b"\0\1\2")
    (tmp_path / "a.png").write_bytes(png((b"IHDR", header), (b"IDAT", rows), (b"IEND", b"")))
    with pytest.raises(InputError, match=r"image .*a.png can't be read \(.*\); replace the file"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("kind", [2, 4, 6])
def test_refuses_16_bits_a_colour(tmp_path, kind):
    """Colour, gray with alpha, colour with alpha."""
    channels = {2: 3, 4: 2, 6: 4}[kind]
    header = struct.pack(">2I5B", 2, 1, 16, kind, 0, 0, 0)
    rows = zlib.compress(b"\0" + b"\xff" * (2 * 2 * channels))
    (tmp_path / "a.png").write_bytes(png((b"IHDR", header), (b"IDAT", rows), (b"IEND", b"")))
    with pytest.raises(InputError, match=r"a.png has 16 bits per channel; convert it to 8"):
        read_image(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"a.png has 16 bits per channel; convert it to 8"):
        read_mask(tmp_path / "a.png", 3, COLORS)


def test_colours_are_read_in_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(mask_values, "_BLOCK_PIXELS", 20)
    labels = np.random.default_rng(0).integers(0, 3, (11, 7))
    colored = np.array(COLORS, np.uint8)[labels]
    save(tmp_path / "m.png", colored)
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png", 3, COLORS), labels)
    colored[9, 4] = (1, 2, 3)
    save(tmp_path / "m.png", colored)
    with pytest.raises(InputError, match=r"colour \(1, 2, 3\) at row 9, column 4, which is not"):
        read_mask(tmp_path / "m.png", 3, COLORS)
