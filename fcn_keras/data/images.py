"""Reads photos and label masks, and refuses whatever would be silently wrong."""

import importlib.util
import io
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from fcn_keras.data.classes import VOID, VOID_COLOR
from fcn_keras.data.mask_values import Colors, color_labels, gray_labels, shades_hint
from fcn_keras.data.mat_file import read_segmentation
from fcn_keras.errors import InputError
from fcn_keras.storage import reason

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
"""Picture formats, by Pillow's names. Pillow knows more, some of which run other programs."""
HEIF_SUFFIXES = (".heic", ".heif")
"""Phone photos, read if pillow-heif is installed (``fcn-keras[heif]``)."""

_EXIF_ORIENTATION = 0x0112

T = TypeVar("T")


def read_image(path: str | Path) -> np.ndarray:
    """Reads a photo as uint8 RGB ``(H, W, 3)``, upright as a viewer shows it (EXIF orientation).

    Grayscale and palette pictures become RGB.

    Raises:
        InputError: the file is missing, damaged or in none of `FORMATS`, or has CMYK, 16-bit or
            transparent pixels, which have no single right conversion to 8-bit RGB.
    """
    name = Path(path).name
    return _reading("image", str(path), lambda: to_rgb(_open("image", path), name))


def decode_image(data: bytes, name: str) -> np.ndarray:
    """Like `read_image`, for a picture in memory; `name` is for the messages."""
    return _reading("image", name, lambda: to_rgb(_decode("image", io.BytesIO(data), name), name))


def _reading(kind: str, name: str, read: Callable[[], T]) -> T:
    """The result of `read`; Pillow raises many kinds of errors for a bad file."""
    try:
        return read()
    except InputError:
        raise
    except Exception as error:
        unknown = isinstance(error, UnidentifiedImageError)
        why = "no known picture format" if unknown else reason(error)
        raise InputError(f"{kind} {name} can't be read ({why}); replace the file") from error


def to_rgb(image: Image.Image, name: str) -> np.ndarray:
    """`read_image` for a PIL image; `name` is for the messages."""
    if image.mode == "CMYK":
        raise InputError(f"image {name} is CMYK; convert it to RGB")
    if image.mode.startswith(("I", "F")):
        raise InputError(f"image {name} has {image.mode} pixels (over 8 bits); convert it to 8-bit")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        if np.asarray(image.getchannel("A")).min() < 255:
            raise InputError(f"image {name} has transparent pixels; flatten it to RGB")
    return np.array(ImageOps.exif_transpose(image).convert("RGB"))


def read_size(path: str | Path) -> tuple[int, int]:
    """Height and width of a picture, upright, from its header.

    Raises:
        InputError: it can't be read.
    """

    def size() -> tuple[int, int]:
        with Image.open(path, formats=_formats(path)) as image:
            return image.size

    width, height = _reading("image", str(path), size)
    return (width, height) if exif_orientation(path) >= 5 else (height, width)


def _formats(name: str | Path) -> tuple[str, ...]:
    """Formats allowed for a file of this name. Registers HEIF with Pillow when first needed."""
    if str(name).lower().endswith(HEIF_SUFFIXES) and importlib.util.find_spec("pillow_heif"):
        import pillow_heif

        pillow_heif.register_heif_opener()
        return (*FORMATS, "HEIF")
    return FORMATS


def exif_orientation(path: str | Path) -> int:
    """The EXIF orientation of a picture: 1 is upright, 2..8 are mirrored or rotated."""

    def orientation() -> int:
        with Image.open(path, formats=_formats(path)) as image:
            return image.getexif().get(_EXIF_ORIENTATION, 1)

    return _reading("image", str(path), orientation)


def turned_upright(labels: np.ndarray, orientation: int) -> np.ndarray:
    """A mask ``(H, W)`` of a picture's stored pixels, as it lies on the upright picture."""
    if orientation in (3, 4, 6, 7):
        labels = labels[::-1]
    if orientation in (2, 3, 7, 8):
        labels = labels[:, ::-1]
    return labels.T if orientation >= 5 else labels


def conversions(path: str | Path) -> list[str]:
    """What `read_image` does to a picture beyond decoding it, in words; usually nothing."""

    def mode() -> str:
        with Image.open(path, formats=_formats(path)) as image:
            return image.mode

    done = []
    if (found := _reading("image", str(path), mode)) != "RGB":
        done.append(f"{found} pixels read as RGB")
    if (orientation := exif_orientation(path)) != 1:
        done.append(f"turned upright (EXIF orientation {orientation})")
    return done


def read_mask(
    path: str | Path,
    num_classes: int,
    colors: Colors | None = None,
    *,
    ignore_label: int | None = None,
    label_ids: tuple[int, ...] | None = None,
) -> np.ndarray:
    """Reads a label mask as uint8 ``(H, W)``: class ids 0..num_classes-1 and 255 = void.

    Palette PNGs give their indices and gray ones their values; pixels equal to `ignore_label`
    become void. With `label_ids` the file holds ``label_ids[c]`` for class c, and all else is void.
    With `colors` (class id -> RGB) an RGB mask is translated colour by colour,
    (224, 224, 192) being void, and so is a palette PNG if the table has all its used colours, and
    a gray one if its values can't be ids (`gray_labels`). An SBD `.mat` file gives its
    segmentation.

    Raises:
        InputError: the file is missing, truncated or a JPEG, has transparent pixels, is a colour
            picture without `colors` or with one outside them, or a label is out of range.
    """
    path = Path(path)
    if path.suffix == ".mat":
        labels = _read_sbd(path)
    else:
        labels = _reading(
            "mask", str(path), lambda: _labels_of(_open("mask", path), path.name, colors)
        )
    if ignore_label is not None:
        labels = np.where(labels == ignore_label, VOID, labels)
    if label_ids is not None:
        classes = np.full(256, VOID)
        classes[list(label_ids)] = range(len(label_ids))
        labels = classes[labels.clip(0, VOID)]
    return _in_range(labels, path.name, num_classes)


def decode_mask(data: bytes, name: str, num_classes: int, first_label: int = 0) -> np.ndarray:
    """Like `read_mask`, for a picture in memory whose class ids start at `first_label`.

    `name` is for the messages.
    """
    labels = _reading(
        "mask", name, lambda: _labels_of(_decode("mask", io.BytesIO(data), name), name, None)
    ).astype(np.int32)
    labels = np.where(labels == VOID, VOID, labels - first_label)
    return _in_range(labels, name, num_classes)


def _in_range(labels: np.ndarray, name: str, num_classes: int) -> np.ndarray:
    wrong = (labels != VOID) & ((labels < 0) | (labels >= num_classes))
    if wrong.any():
        raise InputError(
            f"mask {name} holds label {labels[wrong][0]}, but the data set has "
            f"{num_classes} classes (0..{num_classes - 1}, 255 = void){shades_hint(labels)}"
        )
    return labels.astype(np.uint8)


def _open(kind: str, path: str | Path) -> Image.Image:
    if not Path(path).is_file():
        raise InputError(f"{kind} {path} does not exist; check the path or the split file")
    return _decode(kind, path, str(path))


def _decode(kind: str, file: str | Path | io.BytesIO, name: str) -> Image.Image:
    with Image.open(file, formats=_formats(name)) as image:
        wide = any("16" in str(tile[3]) for tile in image.tile)  # a raw mode such as "RGB;16B"
        if wide and image.mode in ("RGB", "RGBA", "LA"):  # Pillow would drop half of the bits
            raise InputError(f"{kind} {name} has 16 bits per channel; convert it to 8")
        image.load()
    return image


def _labels_of(image: Image.Image, name: str, colors: Colors | None) -> np.ndarray:
    if image.format == "JPEG":
        raise InputError(f"mask {name} is a JPEG, whose compression alters labels; save it as PNG")
    if image.mode == "P" and colors is not None:
        rgb = image.convert("RGB")
        used = rgb.getcolors() or ()  # never None: a palette has at most 256 colours
        if {color for _, color in used} <= {*colors, VOID_COLOR}:
            return color_labels(np.array(rgb), name, colors)
    if image.mode in ("RGBA", "LA", "PA"):
        if np.asarray(image.getchannel("A")).min() < 255:
            raise InputError(
                f"mask {name} has transparent pixels; flatten it, void onto colour {VOID_COLOR}"
            )
        image = image.convert("L" if image.mode == "LA" else "RGB")
    if image.mode == "1" and {(0, 0, 0), (255, 255, 255)} <= {*(colors or ())}:
        image = image.convert("L")
    if image.mode in ("L", "I", "I;16", "I;16B"):
        return gray_labels(np.array(image), name, colors)
    if image.mode in ("P", "1"):
        return np.array(image, np.uint8)
    if colors is None:
        raise InputError(
            f"mask {name} is a {image.mode} picture, but class indices are expected; save it as a "
            "palette or gray PNG, or give the class colours"
        )
    if image.mode != "RGB":
        raise InputError(f"mask {name} is a {image.mode} picture; save it as PNG in RGB or palette")
    return color_labels(np.array(image), name, colors)


def _read_sbd(path: Path) -> np.ndarray:
    """The segmentation of an SBD class file (`GTcls.Segmentation`, benchmark_RELEASE)."""
    if not path.is_file():
        raise InputError(f"mask {path} does not exist; check the path or the split file")
    try:
        return read_segmentation(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(
            f"mask {path} is not an SBD class file ({error}); unpack it again"
        ) from error
