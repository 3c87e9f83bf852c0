import json
import sys

import numpy as np
import pytest
from PIL import Image

from fcn_keras.data import open_dataset
from fcn_keras.data.annotations import convert
from fcn_keras.data.classes import VOID
from fcn_keras.data.images import read_mask
from fcn_keras.errors import InputError

SQUARES = {"car": (0, 0), "truck": (8, 0), "tree": (0, 8), "__ignore__": (8, 8)}


def labelme(folder, name, labels, size=(16, 16), **more):
    """A photo whose quarters are objects with these labels."""
    folder.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, "gray").save(folder / f"{name}.jpg")
    shapes = [
        {
            "label": label,
            "shape_type": "rectangle",
            "points": [SQUARES[label], [SQUARES[label][0] + 7, SQUARES[label][1] + 7]],
        }
        for label in labels
    ]
    record = {"imagePath": f"{name}.jpg", "imageHeight": 16, "imageWidth": 16, "shapes": shapes}
    (folder / f"{name}.json").write_text(json.dumps(record | more))


def quarters(path):
    return read_mask(path, 5)[[0, 0, 8, 8], [0, 8, 0, 8]].tolist()


@pytest.fixture
def source(tmp_path):
    labelme(tmp_path / "in", "a", SQUARES)
    labelme(tmp_path / "in", "b", [])
    return tmp_path / "in"


def test_classes_are_chosen_merged_and_coloured(source, tmp_path):
    (tmp_path / "list.txt").write_text(
        "# what we want\nroad 9 9 9 = _background_\n\nvehicle #0a0b0c = car, truck # wheels\n"
    )
    report = convert(source, tmp_path / "out", "labelme", classes=tmp_path / "list.txt")
    assert (tmp_path / "out/classes.txt").read_text() == "road 9 9 9\nvehicle 10 11 12\n"
    assert quarters(tmp_path / "out/masks/a.png") == [1, 1, 0, VOID]
    (tmp_path / "list.txt").write_text("tree 9 9 9\n")
    convert(source, tmp_path / "two", "labelme", classes=tmp_path / "list.txt")
    assert (tmp_path / "two/classes.txt").read_text() == "background 0 0 0\ntree 9 9 9\n"
    assert dict(report.objects) == {"vehicle": 2, "void": 1}
    assert (dict(report.left_out), report.empty) == ({"tree": 1}, ["b"])


def test_unlabelled_pixels_are_background_or_void(source, tmp_path):
    convert(source, tmp_path / "one", "labelme")
    assert quarters(tmp_path / "one/masks/a.png") == [1, 3, 2, VOID]
    assert quarters(tmp_path / "one/masks/b.png") == [0, 0, 0, 0]
    (tmp_path / "list.txt").write_text("tree\ncar\nvoid = truck\n")
    report = convert(
        source, tmp_path / "two", "labelme", unlabelled="void", classes=tmp_path / "list.txt"
    )
    assert quarters(tmp_path / "two/masks/a.png") == [1, VOID, 0, VOID]
    assert (report.photos, report.empty) == (1, ["b"])
    assert not (tmp_path / "two/masks/b.png").exists()


def test_a_second_run_adds_and_keeps(source, tmp_path):
    out = tmp_path / "out"
    convert(source, out, "labelme")
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.*")}
    labelme(source, "c", ["car"])
    Image.new("P", (16, 16)).save(out / "masks/a.png")  # by hand
    edited = (out / "masks/a.png").stat().st_mtime_ns
    report = convert(source, out, "labelme")
    assert report.kept == [out / "masks/a.png"]
    after = {path: path.stat().st_mtime_ns for path in out.rglob("*.*")}
    assert after.keys() - before.keys() == {out / "images/c.jpg", out / "masks/c.png"}
    assert all(after[path] == time for path, time in before.items() if path.name != "a.png")
    assert after[out / "masks/a.png"] == edited
    assert convert(source, out, "labelme", overwrite=True).kept == []
    assert quarters(out / "masks/a.png") == [1, 3, 2, VOID]
    labelme(source, "d", ["car"])
    (source / "a.json").unlink()  # and with it the trees and trucks
    with pytest.raises(InputError, match=r"classes.txt has other classes than .*, car; write to"):
        convert(source, out, "labelme")
    assert not (out / "images/d.jpg").exists()


def test_a_broken_off_run_leaves_whole_files_and_goes_on(source, tmp_path, monkeypatch):
    out, save = tmp_path / "out", Image.Image.save

    def half(picture, path, *more):
        path.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(Image.Image, "save", half)
    with pytest.raises(OSError, match=r"a.png can't be written \(No space left on device\)"):
        convert(source, out, "labelme")
    assert sorted(path.name for path in out.rglob("*.*")) == ["a.jpg", "classes.txt"]
    monkeypatch.setattr(Image.Image, "save", save)
    assert convert(source, out, "labelme").photos == 2
    assert len(open_dataset("folder", out, "train")) == 1


def test_photos_are_linked_or_copied(source, tmp_path):
    convert(source, tmp_path / "copied", "labelme")
    assert not (tmp_path / "copied/images/a.jpg").is_symlink()
    convert(source, tmp_path / "linked", "labelme", link=True)
    assert (tmp_path / "linked/images/a.jpg").readlink() == (source / "a.jpg").resolve()
    image, _ = open_dataset("folder", tmp_path / "linked", "train")[0]
    assert (image == 128).all()


def refused(source, tmp_path, message, format="labelme", **options):
    with pytest.raises(InputError, match=message):
        convert(source, tmp_path / "out", format, **options)
    assert not (tmp_path / "out").exists()


def edit(path, change):
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda r: r.pop("imageWidth"), r"^a.json has no imageWidth, which must be a number"),
        (lambda r: r.update(shapes=3), r"^a.json has shapes 3, but it must be a list; correct"),
        (lambda r: r["shapes"][1].update(label=" "), r"shape 2 has label ' ', but it must be a"),
        (lambda r: r["shapes"][0].update(points=[[1, 2]]), r"1 \(car\) is a rectangle of 1 points"),
        (lambda r: r["shapes"][0].update(points=[[1, 2], [3]]), r"has the point \[3\], which is"),
        (
            lambda r: r["shapes"][0].update(points=[[1, 2], [3, float("nan")]]),
            r"has the point \[3, nan\], which is not x, y; correct it",
        ),
        (
            lambda r: r["shapes"][0].update(points=[[1, 2], [3e9, 1]]),
            r"the point \(3e\+09, 1\), far outside of the photo of 16 x 16 pixels",
        ),
        (lambda r: r["shapes"][0].update(shape_type="blob"), r"'blob', but it must be one of poly"),
        (lambda r: r["shapes"][0].update(shape_type="mask"), r"shape 1 has no mask, which must be"),
        (
            lambda r: r["shapes"][0].update(shape_type="mask", mask="AAAA"),
            r"shape 1 \(car\) has a mask that is not a picture",
        ),
        (lambda r: r.update(imageWidth=17), r"^a.json is about 17 x 16 pixels, but photo .*a.jpg"),
        (
            lambda r: r.update(imagePath="x.jpg"),
            r"is about photo x.jpg, which is not in .*`images`",
        ),
    ],
)
def test_labelme_entries_that_cant_be_used(source, tmp_path, change, message):
    edit(source / "a.json", change)
    refused(source, tmp_path, message)


def test_labelme_of_old_gives_no_size(source, tmp_path):
    edit(source / "a.json", lambda r: [r.pop(name) for name in ("imageHeight", "imageWidth")])
    convert(source, tmp_path / "out", "labelme")
    assert quarters(tmp_path / "out/masks/a.png") == [1, 3, 2, VOID]


def test_sources_that_hold_nothing_to_use(source, tmp_path):
    refused(tmp_path / "no", tmp_path, r"source .*no does not exist; name the annotation")
    empty = tmp_path / "empty"
    empty.mkdir()
    refused(empty, tmp_path, "holds no JSON file of labelme")
    refused(empty, tmp_path, "holds no JSON file of COCO's", "coco")
    refused(empty, tmp_path, 'no XML file with images; export as "CVAT for images', "cvat")
    refused(empty, tmp_path, "has neither data.yaml with `names` nor classes.txt", "yolo")
    refused(empty, tmp_path, "no SegmentationClass, and XML files of boxes say nothing", "voc")
    (source / "a.json").write_text("[" * 100_000)
    refused(source, tmp_path, r"annotation file .*a.json can't be read \(.*\); export it again")


def test_photos_of_one_name_are_refused(tmp_path):
    labelme(tmp_path / "in", "a", ["car"])
    (tmp_path / "in/a.png").write_bytes((tmp_path / "in/a.jpg").read_bytes())
    images = [
        {"id": n, "file_name": f"a.{ending}", "height": 16, "width": 16}
        for n, ending in enumerate(("jpg", "png"))
    ]
    record = {"images": images, "annotations": [], "categories": [{"id": 1, "name": "x"}]}
    (tmp_path / "in/a.json").write_text(json.dumps(record))
    refused(tmp_path / "in", tmp_path, r"a.jpg and .*a.png would both be a in the data", "coco")


def test_a_turned_photo_with_unturned_annotations_is_refused(tmp_path):
    labelme(tmp_path / "in", "a", ["car"], imageWidth=20)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (20, 16)).save(tmp_path / "in/a.jpg", exif=exif)
    refused(
        tmp_path / "in", tmp_path, "20 x 16 pixels, but photo .*a.jpg has 16 x 20; it is turned by"
    )


@pytest.mark.parametrize(
    "text, message",
    [
        ("trees\n", r"line 1 takes label trees, which no annotation has; did you mean tree\?"),
        (
            "\ncar\nvehicle = truck, car\n",
            r"line 3 takes label car, as another line does",
        ),
        ("car 1 2 300\n", r"line 1 is 'car 1 2 300'; a colour is three numbers"),
        ("car\ncar = tree\n", r"line 2 repeats class car; write it once"),
        ("# none\n", r"list.txt is empty; write one class a line"),
    ],
)
def test_class_lists_that_cant_be_used(source, tmp_path, text, message):
    (tmp_path / "list.txt").write_text(text)
    refused(source, tmp_path, message, classes=tmp_path / "list.txt")


def test_labels_that_cant_be_names_are_refused(source, tmp_path):
    edit(source / "a.json", lambda r: r["shapes"][0].update(label="12 3"))
    refused(
        source, tmp_path, r"label '12 3' can't be a class name; give it another in a class list"
    )


COCO = {
    "images": [{"id": 7, "file_name": "a.jpg", "height": 16, "width": 16}],
    "annotations": [{"id": 1, "image_id": 7, "category_id": 3, "segmentation": [[0] * 6]}],
    "categories": [{"id": 3, "name": "car"}],
}


@pytest.mark.parametrize(
    "change, message",
    [
        (
            {"category_id": 4},
            r"annotation 1 has category_id 4, but it must be the id of a cat",
        ),
        ({"image_id": 8}, r"annotation 1 is of image 8, which is not in the file"),
        ({"segmentation": [[1, 2, 3, 4]]}, r"\(car\) has a polygon of 4 numbers, but x and y of"),
        ({"segmentation": [[1, 2, "a", 4, 5, 6]]}, r"has the point \['a', 4\], which is not x, y"),
        ({"segmentation": [[1, 2, 1e7, 4, 5, 6]]}, r"point \(1e\+07, 4\), far outside"),
        ({"segmentation": "x"}, r"segmentation 'x', but it must be a list of polygons, or run"),
        ({"segmentation": {"size": [4, 4], "counts": [16]}}, r"size \[4, 4\], .* \[16, 16\]"),
        ({"segmentation": {"size": [16, 16], "counts": [255]}}, r"run lengths that add up to 256"),
        ({"segmentation": {"size": [16, 16], "counts": [-1, 257]}}, r"counts \[-1, 257\], but"),
        ({"segmentation": {"size": [16, 16], "counts": "P"}}, r"counts 'P', but it must be run"),
        ({"segmentation": {"size": [16, 16], "counts": "oooo"}}, r"run lengths that add up to"),
    ],
)
def test_coco_entries_that_cant_be_used(tmp_path, change, message):
    labelme(tmp_path / "in", "a", [])
    annotations = [COCO["annotations"][0] | change]
    (tmp_path / "in/a.json").write_text(json.dumps(COCO | {"annotations": annotations}))
    refused(tmp_path / "in", tmp_path, message, "coco")


def test_polygons_of_coco_need_pycocotools(tmp_path, monkeypatch):
    labelme(tmp_path / "in", "a", [])
    (tmp_path / "in/a.json").write_text(json.dumps(COCO))
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    refused(tmp_path / "in", tmp_path, r"not installed; pip install 'fcn-keras\[coco\]'", "coco")
    runs = {"size": [16, 16], "counts": [200, 56]}
    annotations = [COCO["annotations"][0] | {"segmentation": runs}]
    (tmp_path / "in/a.json").write_text(json.dumps(COCO | {"annotations": annotations}))
    convert(tmp_path / "in", tmp_path / "out", "coco")
    mask = read_mask(tmp_path / "out/masks/a.png", 2)
    assert mask.T.ravel().tolist() == [0] * 200 + [1] * 56


CVAT = '<annotations><image id="0" name="a.jpg" width="16" height="16">{}</image></annotations>'


@pytest.mark.parametrize(
    "text, message",
    [
        ('<!DOCTYPE x [<!ENTITY a "aa">]>' + CVAT, r"a.xml has a DOCTYPE, which CVAT doesn't"),
        (CVAT[:-3], r"annotation file .*a.xml can't be read \(.*\); export it again"),
        ("<annotation/>", r"a.xml is not a CVAT file; export as"),
        (CVAT.format('<polygon points="1,1;2,2;3,1"/>'), r"a.jpg, shape 1 has no label, which"),
        (CVAT.format('<polygon label="x" points="1,1;2,2"/>'), r"is a polygon of 2 points"),
        (CVAT.format('<polygon label="x" points="1,1;2;3,1"/>'), r"has the point \['2'\], which"),
        (CVAT.format('<blob label="x"/>'), r"shape 1 is a blob, which is not a shape of CVAT's"),
        (
            CVAT.format('<mask label="x" rle="1, 4" left="0" top="0" width="2" height="2"/>'),
            r"rle '1, 4', but it must be run lengths that add up to 2 x 2 pixels",
        ),
        (
            CVAT.format('<mask label="x" rle="1, 3" left="15" top="0" width="2" height="2"/>'),
            r"mask of 2 x 2 pixels at \(15, 0\), which leaves the photo of 16 x 16",
        ),
    ],
)
def test_cvat_entries_that_cant_be_used(tmp_path, text, message):
    labelme(tmp_path / "in", "a", [])
    (tmp_path / "in/a.xml").write_text(text)
    refused(tmp_path / "in", tmp_path, message, "cvat")


@pytest.mark.parametrize(
    "line, message",
    [
        ("2 0 0 1 1 0 1", r"a.txt, line 2 starts with '2', but a class number from 0 to 1"),
        ("0 .5 .5 1 1", r"line 2 is a box, which says nothing about pixels; export polygons"),
        ("0 .5 .5 1 1 .2 .2 .3", r"has 7 numbers after the class, but x and y of three"),
        ("0 .5 .5 1 1 .2 a", r"has the point \['.2', 'a'\], which is not x, y"),
        ("0 12 8 1 1 2 2", r"the point \(192, 128\), far outside of the photo"),
    ],
)
def test_yolo_lines_that_cant_be_used(tmp_path, line, message):
    labelme(tmp_path / "in/images", "a", [])
    (tmp_path / "in/labels").mkdir()
    (tmp_path / "in/data.yaml").write_text("names: [car, tree]")
    (tmp_path / "in/labels/a.txt").write_text(f"0 0 0 1 1 0 1\n{line}\n")
    refused(tmp_path / "in", tmp_path, message, "yolo")


def test_yolo_labels_without_a_photo_are_refused(tmp_path):
    labelme(tmp_path / "in/images", "a", [])
    (tmp_path / "in/labels").mkdir()
    (tmp_path / "in/data.yaml").write_text("names: {0: car, 2: tree}")
    for name in "ab":
        (tmp_path / f"in/labels/{name}.txt").write_text("0 0 0 1 1 0 1\n")
    refused(tmp_path / "in", tmp_path, "data.yaml has names .* but they must be a list", "yolo")
    (tmp_path / "in/data.yaml").write_text("names: [car]")
    refused(tmp_path / "in", tmp_path, r"label file .*b.txt belongs to no photo \(1 such", "yolo")


def test_overlapping_layers(tmp_path):
    """A small object under a large one of a higher layer stays below."""
    labelme(tmp_path / "in", "a", [])
    boxes = '<box label="{}" xtl="{}" ytl="0" xbr="{}" ybr="9" z_order="{}"/>'
    shapes = boxes.format("large", 0, 9, 1) + boxes.format("small", 8, 11, 0)
    (tmp_path / "in/a.xml").write_text(CVAT.format(shapes))
    for overlap in ("later", "smaller"):
        convert(tmp_path / "in", tmp_path / overlap, "cvat", overlap=overlap)
        mask = read_mask(tmp_path / overlap / "masks/a.png", 3)
        np.testing.assert_array_equal(mask[0, :13], [1] * 10 + [2, 2, 0])
