"""The readers of files from elsewhere, each with whole files to start from."""

from __future__ import annotations

import io
import json
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from PIL import Image
from safetensors.numpy import save
from scipy.io import savemat

from fcn_keras import InputError, data, fcn32s, load_model
from fcn_keras.data import annotations, archives, folder, images, pairs, voc
from fcn_keras.recipes import load_recipe
from fcn_keras.saving import save_compact
from fcn_keras.training import TrainConfig
from fcn_keras.training.log import read_log, write_log
from fcn_keras.training.run_folder import RunFolder
from fcn_keras.weights.files.read import read_tensors


@dataclass(frozen=True)
class Reader:
    """What reads a file of this name, and the contents of good ones."""

    name: str
    read: Callable[[Path], object]
    whole: Callable[[], list[bytes]]


def _pictures(*kinds: tuple[str, str], colours: int = 3) -> Callable[[], list[bytes]]:
    """Pictures of formats and modes; `colours` lets all channels agree, as in a colour mask."""

    def whole() -> list[bytes]:
        labels = np.random.default_rng(0).integers(0, colours, (9, 11), np.uint8)
        picture = Image.fromarray(np.stack([labels] * 3, axis=-1))
        contents = []
        for kind, mode in kinds:
            buffer = io.BytesIO()
            picture.convert(mode).save(buffer, kind)
            contents.append(buffer.getvalue())
        return contents

    return whole


def _written(suffix: str, *writers: Callable[[Path], object]) -> Callable[[], list[bytes]]:
    """The files that functions of a path write."""

    def whole() -> list[bytes]:
        import tempfile

        with tempfile.TemporaryDirectory() as scratch:
            path, contents = Path(scratch) / f"a{suffix}", []
            for write in writers:
                write(path)
                contents.append(path.read_bytes())
            return contents

    return whole


def _text(*texts: str) -> Callable[[], list[bytes]]:
    return lambda: [text.encode() for text in texts]


LABELS = np.arange(12, dtype=np.uint8).reshape(3, 4)


def _mat(path: Path, compressed: bool) -> None:
    savemat(
        path,
        {"GTcls": {"Boundaries": np.eye(3), "Segmentation": LABELS}},
        do_compression=compressed,
    )


def _pickled(storage_view: bool) -> bytes:
    """A state dict of one tensor of two numbers, as torch pickles it."""
    return b"".join(
        (
            b"\x80\x02ccollections\nOrderedDict\n)R(",
            b"X\x01\x00\x00\x00xctorch._utils\n_rebuild_tensor_v2\n(",
            b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000",
            b"X\x03\x00\x00\x00cpuK\x02" + (b"N" if storage_view else b"") + b"tQ",
            b"K\x00K\x02\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtR",
            b"X\x01\x00\x00\x00y](K\x01G?\xf0\x00\x00\x00\x00\x00\x00eu.",
        )
    )


def _torch_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", _pickled(False))
        archive.writestr("a/byteorder", "little")
        archive.writestr("a/data/0", struct.pack("<2f", 1, 2))


def _torch_legacy(path: Path) -> None:
    head = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}]
    parts = [pickle.dumps(each, 2) for each in head]
    parts += [_pickled(True), pickle.dumps(["0"], 2), struct.pack("<q2f", 2, 1, 2)]
    path.write_bytes(b"".join(parts))


def _h5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        for layer in ("conv", "normalize"):
            group = file.create_group(f"layers/{layer}/vars")
            group.attrs["name"] = layer
            group["0"] = np.arange(6, dtype=np.float32).reshape(2, 3)
        group.attrs["scale"] = (1.0, 2.0, 3.0)


def _model(path: Path) -> None:
    fcn32s(2, backbone_width=1, head_width=1).save(path)


def _compact(path: Path) -> None:
    save_compact(fcn32s(2, backbone_width=1, head_width=1), path)


def _tar(path: Path) -> None:
    with tarfile.open(path, "w:gz") as tar:
        for name in ("top/in/x", "y"):
            info = tarfile.TarInfo(name)
            info.size = 3
            tar.addfile(info, io.BytesIO(b"abc"))


def _log(path: Path) -> None:
    from fcn_keras.training.log import COLUMNS

    write_log(path, [dict.fromkeys(COLUMNS, 1) | {"step": step} for step in (3, 6)])


def _run_record(path: Path) -> None:
    RunFolder(path.parent).start(TrainConfig(), "shapes")
    (path.parent / "config.json").rename(path)


def _resume(path: Path) -> None:
    run = RunFolder(path.parent)
    run.check(TrainConfig(), resume=True)
    run.changed_versions()


RECIPE = """from pathlib import Path
from fcn_keras.training import TrainConfig

config = TrainConfig(
    dataset="folder", data_dir=Path("photos"), epochs=30, learning_rate=0.01, crop_size=320
)
"""
DATA = {"train": {"classes": ["a"], "version": None, "samples": [["x", 3, 4], ["y", 5, 6]]}}


def _photo(path: Path) -> None:
    data.read_image(path)
    images.conversions(path)


def _annotation(format: str) -> Callable[[Path], None]:
    """Reads an annotation file about a photo, and draws what it holds."""
    read, _ = annotations.FORMATS[format]

    def annotated(path: Path) -> None:
        Image.new("RGB", (9, 7)).save(path.parent / "a.png")
        for photo in read(path.parent, None).photos:
            for region in photo.regions:
                assert region.draw().shape == photo.size

    return annotated


_SHAPES = (
    ("polygon", [[1, 1], [6, 2], [3, 5]]),
    ("circle", [[3, 3], [4, 4]]),
    ("linestrip", [[1, 2], [3, 4], [5, 5]]),
)
LABELME = {
    "imagePath": "a.png",
    "imageHeight": 7,
    "imageWidth": 9,
    "shapes": [{"label": "x", "shape_type": kind, "points": p} for kind, p in _SHAPES],
}
_SEGMENTATIONS = (
    [[1, 1, 6, 2, 3, 5], [2, 2, 4, 4, 5, 2]],
    {"size": [7, 9], "counts": [10, 20, 33]},
    {"size": [7, 9], "counts": ":d0n0^OSO"},
)
COCO = {
    "images": [{"id": 1, "file_name": "a.png", "height": 7, "width": 9}],
    "categories": [{"id": 3, "name": "x"}],
    "annotations": [
        {"image_id": 1, "category_id": 3, "iscrowd": 0, "segmentation": segmentation}
        for segmentation in _SEGMENTATIONS
    ],
}
CVAT = """<annotations><image id="0" name="a.png" width="9" height="7">
<polygon label="x" points="1,1;6,2;3,5" z_order="1"/>
<box label="x" xtl="1" ytl="1" xbr="3" ybr="4"/>
<mask label="x" rle="1, 2, 3" left="2" top="1" width="3" height="2"/>
<ellipse label="x" cx="4" cy="3" rx="2" ry="1" rotation="30"/></image></annotations>"""


READERS = {
    "labelme": Reader("a.json", _annotation("labelme"), lambda: [json.dumps(LABELME).encode()]),
    "COCO": Reader("a.json", _annotation("coco"), lambda: [json.dumps(COCO).encode()]),
    "CVAT": Reader("a.xml", _annotation("cvat"), _text(CVAT)),
    "image": Reader(
        "a.png",
        _photo,
        _pictures(
            *(("PNG", mode) for mode in ("RGB", "L", "P", "RGBA", "1")),
            *(("JPEG", mode) for mode in ("RGB", "L")),
            *((kind, "RGB") for kind in ("WEBP", "BMP", "TIFF")),
        ),
    ),
    "mask": Reader(
        "a.png",
        lambda path: data.read_mask(path, 3),
        _pictures(("PNG", "L"), ("PNG", "P"), ("PNG", "1"), ("TIFF", "L"), ("BMP", "P")),
    ),
    "colour mask": Reader(
        "a.png",
        lambda path: data.read_mask(path, 2, ((0, 0, 0), (1, 1, 1))),
        _pictures(("PNG", "RGB"), ("BMP", "RGB"), ("TIFF", "RGB"), colours=2),
    ),
    "SBD mask": Reader(
        "a.mat",
        lambda path: data.read_mask(path, 21),
        _written(".mat", lambda path: _mat(path, True), lambda path: _mat(path, False)),
    ),
    "classes.txt": Reader(
        "classes.txt", folder.read_classes, _text("a\nb\n", "a 0 0 0\nb c 9 200 0\n")
    ),
    "split file": Reader("train.txt", voc.read_ids, _text("one\ntwo\n", "2007_000032\n")),
    "pairs file": Reader(
        "train.txt",
        lambda path: pairs.camvid_source(path.parent, "train"),
        _text("a.png b.png\nc.png d.png\n"),
    ),
    "torch": Reader("a.pth", read_tensors, _written(".pth", _torch_zip, _torch_legacy)),
    "HDF5": Reader("a.h5", read_tensors, _written(".h5", _h5)),
    "safetensors": Reader(
        "a.safetensors",
        read_tensors,
        lambda: [save({"x": np.zeros((2, 3), np.float32), "y": np.zeros(2, np.float16)})],
    ),
    ".keras": Reader("a.keras", load_model, _written(".keras", _model)),
    "compact": Reader("a.safetensors", load_model, _written(".safetensors", _compact)),
    "archive": Reader(
        "a.tgz",
        lambda path: archives.unpack(path, path.parent / "unpacked"),
        _written(".tgz", _tar),
    ),
    "log.csv": Reader("log.csv", read_log, _written(".csv", _log)),
    "config.json": Reader("config.json", _resume, _written(".json", _run_record)),
    "plan.json": Reader(
        "plan.json",
        lambda path: RunFolder(path.parent).read_plan(),
        _text('{"plan": {"steps": 12, "step_seconds": 0.5}}\n'),
    ),
    "recipe": Reader("a.py", lambda path: load_recipe(str(path)), _text(RECIPE)),
    "data.json": Reader(
        "data.json",
        lambda path: RunFolder(path.parent).check_data(DATA),
        lambda: [json.dumps(DATA).encode()],
    ),
    "last_row.json": Reader(
        "last_row.json",
        lambda path: _read_row(path),
        _written(".json", lambda path: _row(path)),
    ),
}


def _row(path: Path) -> None:
    run = RunFolder(path.parent)
    run.write_row({"step": 3, "mean_iou": 0.5})
    run.row.rename(path)


def _read_row(path: Path) -> None:
    if RunFolder(path.parent).read_row(3) is None:  # and so the validation runs again
        raise InputError("no whole row")
