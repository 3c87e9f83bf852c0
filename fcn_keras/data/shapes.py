"""The built-in data set: coloured shapes on textured backgrounds, drawn from a seed.

Each class is a shape (circle, square, triangle, star, ring) that tends to its own hue, with
void borders around the objects as in VOC, so that a small network learns it in minutes.
"""

import colorsys
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from fcn_keras.data.classes import SHAPES, VOID
from fcn_keras.errors import InputError
from fcn_keras.storage import cache_folder

VERSION = 1
"""Part of the cache folder's name; increase it with every change that alters a pixel."""

BORDER = 1.5  # half the width of the void line around an object, in pixels
_HUES = (0.0, 0.13, 0.36, 0.57, 0.79)  # of class 1..; each object's is jittered


def default_root() -> Path:
    """The folder in the user's cache that holds the set if no other is given."""
    return cache_folder() / f"shapes-v{VERSION}"


def write_shapes(
    root: str | Path, *, train: int = 400, val: int = 100, size: int = 128, seed: int = 0
) -> None:
    """Draws the set into `root` in the VOC layout; the folder appears whole or not at all.

    Does nothing if another process finished the same folder first.

    Args:
        root: The folder to create.
        train: Training images.
        val: Validation images.
        size: Height and width of training images, pixels; the sides of validation images differ
            from it by up to a quarter.
        seed: Decides every pixel.

    Raises:
        InputError: the folder holds other files.
    """
    root = Path(root)
    if not (root / "ImageSets").is_dir() and root.is_dir() and any(root.iterdir()):
        raise InputError(f"data folder {root} holds other files; give a new or empty folder")
    root.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{root.name}-", dir=root.parent))
    try:
        for part, (split, count) in enumerate((("train", train), ("val", val))):
            _write_split(scratch, split, count, size, np.random.SeedSequence((seed, part)))
        scratch.chmod(0o755)
        os.replace(scratch, root)
    except OSError:
        if not (root / "ImageSets").is_dir():
            raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _write_split(
    root: Path, split: str, count: int, size: int, seeds: np.random.SeedSequence
) -> None:
    lists = root / "ImageSets" / "Segmentation"
    for folder in (lists, root / "JPEGImages", root / "SegmentationClass"):
        folder.mkdir(parents=True, exist_ok=True)
    palette = SHAPES.palette.tobytes()
    ids = [f"{split}_{index:04d}" for index in range(count)]
    for name, seed in zip(ids, seeds.spawn(count), strict=True):
        rng = np.random.default_rng(seed)
        vary = size // 4 if split == "val" else 0
        height, width = size + rng.integers(-vary, vary + 1, size=2)
        image, mask = draw_sample(rng, int(height), int(width))
        Image.fromarray(image).save(root / "JPEGImages" / f"{name}.jpg", quality=92)
        picture = Image.fromarray(mask)
        picture.putpalette(palette)
        picture.save(root / "SegmentationClass" / f"{name}.png")
    (lists / f"{split}.txt").write_text("".join(f"{name}\n" for name in ids))


def draw_sample(rng: np.random.Generator, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """An image, uint8 ``(height, width, 3)``, and its mask, uint8 ``(height, width)``."""
    image = _background(rng, height, width)
    mask = np.zeros((height, width), np.uint8)
    side = min(height, width)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    for _ in range(rng.integers(2, 5)):
        label = int(rng.integers(1, len(SHAPES)))
        radius = rng.uniform(0.14, 0.26) * side
        dy, dx = y - rng.uniform(0.08, 0.92) * height, x - rng.uniform(0.08, 0.92) * width
        angle = rng.uniform(0, 2 * np.pi)
        u = np.cos(angle) * dx + np.sin(angle) * dy
        v = np.cos(angle) * dy - np.sin(angle) * dx
        distance = _distance(SHAPES.names[label], u, v, radius)
        cover = np.clip(0.5 - distance, 0, 1)[..., None]
        image = (1 - cover) * image + cover * _paint(rng, label, u, v, radius)
        mask[distance < 0] = label
        mask[np.abs(distance) <= BORDER] = VOID
    image += rng.normal(0, 4, image.shape)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8), mask


def _distance(shape: str, u: np.ndarray, v: np.ndarray, radius: float) -> np.ndarray:
    """Signed distance in pixels to the outline, negative inside, in the shape's own axes."""
    r = np.hypot(u, v)
    match shape:
        case "circle":
            return r - 0.95 * radius
        case "ring":
            return np.abs(r - 0.75 * radius) - 0.27 * radius
        case "square":
            return np.maximum(np.abs(u), np.abs(v)) - 0.85 * radius
        case "triangle":
            sides = [np.cos(a) * u + np.sin(a) * v for a in np.pi / 3 * np.array([1, 3, 5])]
            return np.maximum.reduce(sides) - 0.62 * radius
        case "star":
            return _star_distance(u, v, 1.2 * radius)
    raise ValueError(f"no shape {shape}")


def _star_distance(u: np.ndarray, v: np.ndarray, radius: float) -> np.ndarray:
    """Distance to a five-pointed star: folds the plane into half a point, which has one edge."""
    sector = np.pi / 5
    angle = np.abs((np.arctan2(v, u) + sector) % (2 * sector) - sector)
    r = np.hypot(u, v)
    tip = np.array([radius, 0.0])
    notch = 0.5 * radius * np.array([np.cos(sector), np.sin(sector)])
    edge = (notch - tip) / np.linalg.norm(notch - tip)
    along, across = r * np.cos(angle) - tip[0], r * np.sin(angle)
    return edge[1] * along - edge[0] * across


def _paint(
    rng: np.random.Generator, label: int, u: np.ndarray, v: np.ndarray, radius: float
) -> np.ndarray:
    """The object's surface ``(H, W, 3)``: a jittered class hue, shaded, sometimes striped."""
    hue = (_HUES[label - 1] + rng.normal(0, 0.03)) % 1
    saturation, value = rng.uniform(0.6, 0.95), rng.uniform(0.6, 1.0)
    color = 255 * np.array(colorsys.hsv_to_rgb(hue, saturation, value))
    shade = 1 - 0.22 * u / radius
    if rng.random() < 0.4:
        shade = shade * (1 - 0.18 * (np.sin(2 * np.pi * v / rng.uniform(5, 9)) > 0))
    return color * shade[..., None]


def _background(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A muted texture ``(H, W, 3)``: smooth noise at three scales between two dull colours."""
    noise = np.zeros((height, width))
    for cells, weight in ((3, 1.0), (9, 0.6), (30, 0.35)):
        grid = Image.fromarray(rng.normal(size=(cells, cells)).astype(np.float32))
        noise += weight * np.asarray(grid.resize((width, height), Image.Resampling.BICUBIC))
    blend = (1 / (1 + np.exp(-1.5 * noise)))[..., None]
    ends = [
        255 * np.array(colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.05, 0.3), value))
        for value in (rng.uniform(0.2, 0.5), rng.uniform(0.5, 0.85))
    ]
    return (1 - blend) * ends[0] + blend * ends[1]
