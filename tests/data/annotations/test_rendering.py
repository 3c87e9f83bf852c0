"""Masks of annotation files, pixel by pixel as the programs that own the formats draw them."""

import base64
import io
import json
import math

import numpy as np
import pytest
from PIL import Image, ImageDraw

from fcn_keras.data import open_dataset
from fcn_keras.data.annotations import convert
from fcn_keras.data.class_list import read_classes
from fcn_keras.data.classes import VOID
from fcn_keras.data.images import read_mask
from fcn_keras.inference import coco

HEIGHT, WIDTH = 60, 80


def photo(path, size=(WIDTH, HEIGHT), color="gray"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).save(path)


def polygons(rng, count, corners):
    """Random corners, some of them outside of the photo."""
    low, high = (-10, -10), (WIDTH + 10, HEIGHT + 10)
    return [rng.uniform(low, high, (corners, 2)).round(2).tolist() for _ in range(count)]


def masks(out, names, classes):
    return [read_mask(out / "masks" / f"{name}.png", classes) for name in names]


# labelme


def labelme_mask(shape):
    """How labelme's shape_to_mask fills one shape: Pillow's, outline included."""
    picture = Image.new("1", (WIDTH, HEIGHT))
    draw, xy = ImageDraw.Draw(picture), [tuple(point) for point in shape["points"]]
    match shape["shape_type"]:
        case "polygon" | "oriented_rectangle":
            draw.polygon(xy, outline=1, fill=1)
        case "rectangle":
            draw.rectangle([*map(min, *xy), *map(max, *xy)], outline=1, fill=1)
        case "circle":
            (x, y), _ = xy
            r = math.hypot(*np.subtract(*xy))
            draw.ellipse([x - r, y - r, x + r, y + r], outline=1, fill=1)
        case "line" | "linestrip":
            draw.line(xy, fill=1, width=10)
        case "point":
            ((x, y),) = xy
            draw.ellipse([x - 5, y - 5, x + 5, y + 5], outline=1, fill=1)
    return np.array(picture)


def labelme_shape(label, points, kind="polygon", **more):
    return {"label": label, "points": points, "shape_type": kind, "group_id": None, **more}


def labelme_file(folder, name, shapes):
    photo(folder / f"{name}.jpg")
    record = {"imagePath": f"{name}.jpg", "imageHeight": HEIGHT, "imageWidth": WIDTH}
    (folder / f"{name}.json").write_text(json.dumps({**record, "shapes": shapes}))


def test_labelme(tmp_path):
    rng = np.random.default_rng(0)
    labels = ["car", "_background_", "__ignore__", "tree"]
    fewest = {"circle": 2, "line": 2, "rectangle": 2, "point": 1, "oriented_rectangle": 4}
    expected = {}
    for number in range(6):
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        shapes = []
        for kind in rng.permutation(["polygon", "polygon", "linestrip", *fewest]):
            (points,) = polygons(rng, 1, fewest.get(kind, 5))
            label = str(rng.choice(labels))
            shapes.append(labelme_shape(label, points, str(kind)))
            value = {"car": 1, "_background_": 0, "__ignore__": VOID, "tree": 2}[label]
            mask[labelme_mask(shapes[-1])] = value
        expected[f"day {number}/a"] = mask
        labelme_file(tmp_path / f"in/day {number}", "a", shapes)
    report = convert(tmp_path / "in", tmp_path / "out", "labelme")
    assert (report.photos, report.overlap) == (6, "later")
    assert (tmp_path / "out/classes.txt").read_text() == (
        "background 0 0 0\ncar 128 0 0\ntree 0 128 0\n"
    )
    for found, mask in zip(masks(tmp_path / "out", expected, 3), expected.values(), strict=True):
        np.testing.assert_array_equal(found, mask)
    source = open_dataset("folder", tmp_path / "out", "train")
    image, mask = source[0]
    assert (image == 128).all() and (mask == expected[source.ids[0]]).all()


def test_labelmes_small_masks_are_pasted(tmp_path):
    small = np.random.default_rng(0).random((20, 30)) < 0.5
    for name, (x, y) in {"in": (5, 7), "over": (70, 50), "before": (-10, -5)}.items():
        buffer = io.BytesIO()
        Image.fromarray(small).save(buffer, "PNG")
        text = base64.b64encode(buffer.getvalue()).decode()
        corners = [[x, y], [x + 29, y + 19]]
        shape = labelme_shape("car", corners, "mask", mask=text)
        labelme_file(tmp_path / "in", name, [shape])
        area = np.zeros((HEIGHT + 100, WIDTH + 100), bool)
        area[50 + y :, 50 + x :][:20, :30] = small
        convert(tmp_path / "in", tmp_path / name, "labelme")
        (found,) = masks(tmp_path / name, [name], 2)
        np.testing.assert_array_equal(found, area[50:-50, 50:-50])


# COCO


def coco_file(path, images, annotations, names=("person", "dog", "kite")):
    path.parent.mkdir(parents=True, exist_ok=True)
    record = {
        "images": images,
        "annotations": [{"id": i, **one} for i, one in enumerate(annotations)],
        "categories": [{"id": 10 * i + 1, "name": name} for i, name in enumerate(names)],
    }
    path.write_text(json.dumps(record))


def coco_image(number, name):
    return {"id": number, "file_name": name, "height": HEIGHT, "width": WIDTH}


def coco_objects(rng, count):
    """Objects of every kind of segmentation, with their pixels as pycocotools has them."""
    from pycocotools import mask as coder

    for number in range(count):
        parts = [np.ravel(part).tolist() for part in polygons(rng, 1 + number % 3, 6)]
        codes = coder.merge(coder.frPyObjects(parts, HEIGHT, WIDTH))
        area = coder.decode(codes).astype(bool)
        if number % 3 == 1:  # with holes, compressed
            area &= rng.random(area.shape) < 0.9
            codes = coder.encode(np.asfortranarray(area.astype(np.uint8)))
            codes = {"size": codes["size"], "counts": codes["counts"].decode()}
        if number % 3 == 2:
            area &= ~np.roll(area, 3)
            codes = {"size": [HEIGHT, WIDTH], "counts": coco.run_lengths(area)}
        yield (parts if number % 3 == 0 else codes), area


@pytest.mark.parametrize("overlap, crowd", [("smaller", "class"), ("later", "void")])
def test_coco(tmp_path, overlap, crowd):
    rng = np.random.default_rng(1)
    annotations, expected = [], []
    for number in range(3):
        photo(tmp_path / f"photos/{number}.jpg")
        objects = [
            (shape, area, int(rng.integers(3)), int(index in (4, 7)))
            for index, (shape, area) in enumerate(coco_objects(rng, 9))
        ]
        annotations += [
            {"image_id": number, "category_id": 10 * c + 1, "segmentation": s, "iscrowd": many}
            for s, _, c, many in objects
        ]
        first = [one for one in objects if one[3]]
        rest = [one for one in objects if not one[3]]
        if overlap == "smaller":
            rest.sort(key=lambda one: -one[1].sum())
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        for _, area, category, many in first + rest:
            mask[area] = VOID if many and crowd == "void" else category + 1
        expected.append(mask)
    images = [coco_image(number, f"{number}.jpg") for number in range(3)]
    coco_file(tmp_path / "in/a.json", images, annotations)
    report = convert(
        tmp_path / "in/a.json",
        tmp_path / "out",
        "coco",
        images=tmp_path / "photos",
        overlap=overlap,
        crowd=crowd,
    )
    assert report.classes.names == ("background", "person", "dog", "kite")
    assert report.objects.total() == 27
    np.testing.assert_array_equal(masks(tmp_path / "out", "012", 4), expected)


def test_coco_as_predictions_are_written(tmp_path):
    rng = np.random.default_rng(2)
    mask = rng.integers(0, 4, (HEIGHT, WIDTH)).astype(np.uint8)
    mask[:5] = VOID
    photo(tmp_path / "in/a.jpg")
    (tmp_path / "classes.txt").write_text("sky\nroad\ncar\ntree\n")
    classes, _ = read_classes(tmp_path / "classes.txt")
    (tmp_path / "in/a.json").write_text(json.dumps(coco.dataset([("a.jpg", mask)], classes)))
    convert(tmp_path / "in", tmp_path / "out", "coco", unlabelled="void")
    (found,) = masks(tmp_path / "out", "a", 4)
    np.testing.assert_array_equal(found, mask)


# CVAT, YOLO and VOC


def cvat_file(path, shapes, more=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    photo(path.parent / "images/a.jpg")
    path.write_text(
        f"""<?xml version="1.0" encoding="utf-8"?>
        <annotations><version>1.1</version><meta><project><labels>
        <label><name>tree</name><color>#10f0A0</color></label>
        <label><name>car</name><color>#ff0000</color></label>
        </labels></project></meta>
        <image id="0" name="a.jpg" width="{WIDTH}" height="{HEIGHT}"{more}>{shapes}</image>
        </annotations>"""
    )


def test_cvat(tmp_path):
    rng = np.random.default_rng(3)
    (tree,), (car,) = polygons(rng, 1, 5), polygons(rng, 1, 7)
    points = [";".join(f"{x:.2f},{y:.2f}" for x, y in corners) for corners in (tree, car)]
    small = rng.random((8, 12)) < 0.5
    rle = ", ".join(map(str, coco.run_lengths(small.T)))  # along the rows
    cvat_file(
        tmp_path / "in/annotations.xml",
        f"""<polygon label="tree" points="{points[0]}" z_order="1"/>
        <polygon label="car" points="{points[1]}" z_order="0"/>
        <mask label="car" rle="{rle}" left="60" top="45" width="12" height="8" z_order="3"/>
        <polyline label="car" points="1,1;2,2"/><tag label="car"/>
        <box label="car" xtl="3" ytl="30" xbr="9" ybr="40" rotation="90" z_order="2"/>
        <ellipse label="tree" cx="60" cy="12" rx="8" ry="4" z_order="2"/>""",
    )
    report = convert(tmp_path / "in", tmp_path / "out", "cvat")
    assert dict(report.skipped) == {
        "polyline shapes, which have no area": 1,
        "tag shapes, which have no area": 1,
    }
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[labelme_mask(labelme_shape("car", car))] = 2
    expected[labelme_mask(labelme_shape("tree", tree))] = 1
    expected[32:39, 1:12] = 2  # 6 x 10 about (6, 35), turned to 10 x 6
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    ellipse = ((x - 60) / 8) ** 2 + ((y - 12) / 4) ** 2
    expected[45:53, 60:72][small] = 2
    (found,) = masks(tmp_path / "out", "a", 3)
    edge = np.abs(np.sqrt(ellipse) - 1) < 0.27  # a pixel
    expected[ellipse < 1] = 1
    np.testing.assert_array_equal(found[~edge], expected[~edge])
    assert (tmp_path / "out/classes.txt").read_text() == (
        "background 0 0 0\ntree 16 240 160\ncar 255 0 0\n"
    )


@pytest.mark.parametrize("names", ["names: [tree, car]", "names:\n  0: tree\n  1: car", None])
def test_yolo(tmp_path, names):
    rng = np.random.default_rng(4)
    expected = {}
    for name in ("train/a", "train/b", "val/c"):
        folder = name.split("/")[0]
        photo(tmp_path / f"in/images/{name}.jpg")
        small, large = sorted(
            polygons(rng, 2, 4), key=lambda p: labelme_mask(labelme_shape("", p)).sum()
        )
        lines = [
            f"{label} " + " ".join(f"{x / WIDTH:.9f} {y / HEIGHT:.9f}" for x, y in corners)
            for label, corners in ((1, small), (0, large))
        ]
        (tmp_path / f"in/labels/{folder}").mkdir(parents=True, exist_ok=True)
        (tmp_path / f"in/labels/{name}.txt").write_text("\n".join(lines))
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        for label, corners in ((1, large), (2, small)):
            mask[labelme_mask(labelme_shape("", corners))] = label
        expected[name] = mask
    photo(tmp_path / "in/images/train/empty.jpg")
    (tmp_path / "in/README.roboflow.txt").write_text("Exported by Roboflow")
    list_file = "data.yaml" if names else "classes.txt"
    (tmp_path / "in" / list_file).write_text(names or "tree\ncar\n")
    report = convert(tmp_path / "in", tmp_path / "out", "yolo")
    assert (report.classes.names, report.empty) == (("background", "tree", "car"), ["train/empty"])
    found = masks(tmp_path / "out", [*expected, "train/empty"], 3)
    np.testing.assert_array_equal(found, [*expected.values(), np.zeros_like(found[0])])
    assert open_dataset("folder", tmp_path / "out", "val").ids == ("val/c",)
    assert len(open_dataset("folder", tmp_path / "out", "train")) == 3


def test_voc_as_cvat_exports_it(tmp_path):
    colors = np.array([(0, 0, 0), (250, 50, 83), (10, 20, 30), (224, 224, 192)], np.uint8)
    labels = np.random.default_rng(5).integers(0, 4, (HEIGHT, WIDTH))
    photo(tmp_path / "in/JPEGImages/a.b.png")
    (tmp_path / "in/SegmentationClass").mkdir()
    Image.fromarray(colors[labels]).save(tmp_path / "in/SegmentationClass/a.b.png")
    (tmp_path / "in/labelmap.txt").write_text(
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\ntree:250,50,83::\ncar:10,20,30::\n"
    )
    convert(tmp_path / "in", tmp_path / "out", "voc")
    (found,) = masks(tmp_path / "out", ["a.b"], 3)
    np.testing.assert_array_equal(found, np.where(labels == 3, VOID, labels))


def test_voc_itself(tmp_path, shared_data):
    root = shared_data / "VOC2012"
    if not (root / "SegmentationClass").is_dir():
        pytest.skip("VOC is packed")
    name = next((root / "SegmentationClass").glob("*.png")).stem
    for folder, ending in (("JPEGImages", "jpg"), ("SegmentationClass", "png")):
        (tmp_path / "in" / folder).mkdir(parents=True)
        (tmp_path / f"in/{folder}/{name}.{ending}").symlink_to(root / folder / f"{name}.{ending}")
    convert(tmp_path / "in", tmp_path / "out", "voc")
    (found,) = masks(tmp_path / "out", [name], 21)
    np.testing.assert_array_equal(
        found, np.array(Image.open(root / f"SegmentationClass/{name}.png"))
    )
