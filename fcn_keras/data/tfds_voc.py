"""The TFDS builder `voc2012_segmentation`: TFDS's own `voc` has boxes but no masks."""

import io
from collections.abc import Iterator
from pathlib import Path

import tensorflow_datasets as tfds
from PIL import Image

from fcn_keras.data.archives import fetch
from fcn_keras.data.source import FileSource
from fcn_keras.data.voc import voc_source
from fcn_keras.errors import InputError

SPLITS = ("train", "val", "trainaug", "seg11valid")


class Voc2012Segmentation(tfds.core.GeneratorBasedBuilder):
    """PASCAL VOC 2012 segmentation, with SBD as the split `trainaug`.

    The files are read from `manual_dir` if VOC is there (any folder that `voc_source` accepts, with
    or without SBD beside it), and fetched from their official addresses otherwise. Splits whose
    files are incomplete are left out. Masks hold class ids, 255 = void.
    """

    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Unpack VOCtrainval_11-May-2012.tar, and SBD's benchmark.tgz beside it, into manual_dir."
    )

    def _info(self) -> tfds.core.DatasetInfo:
        features = {
            "image": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg"),
            "segmentation_mask": tfds.features.Image(shape=(None, None, 1), encoding_format="png"),
            "id": tfds.features.Text(),
        }
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(features),
            homepage="http://host.robots.ox.ac.uk/pascal/VOC/voc2012/",
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        root = _find_files(dl_manager)
        sources = {}
        for split in SPLITS:
            try:
                source = voc_source(root, split)
            except InputError:
                continue
            if not source.missing():
                sources[split] = source
        if not sources:
            raise InputError(f"no split of VOC2012 is complete in {root}; unpack the archive again")
        return {split: self._generate_examples(source) for split, source in sources.items()}

    def _generate_examples(self, source: FileSource) -> Iterator[tuple[str, dict]]:
        for index, name in enumerate(source.ids):
            encoded = io.BytesIO()
            Image.fromarray(source.mask(index)).save(encoded, "PNG")
            mask = encoded.getvalue()
            yield name, {"image": source.images[index], "segmentation_mask": mask, "id": name}


def _find_files(dl_manager: tfds.download.DownloadManager) -> Path:
    try:
        return Path(dl_manager.manual_dir)
    except AssertionError:  # nothing was put there by hand
        root = Path(dl_manager.download_dir) / "voc2012_segmentation"
        for archive in ("voc2012", "sbd"):
            fetch(archive, root)
        return root
