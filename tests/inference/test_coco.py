import numpy as np
import pytest

from fcn_keras.data.classes import VOID, ClassTable
from fcn_keras.inference import coco


def test_areas_are_those_that_cocos_own_library_reads():
    maskApi = pytest.importorskip("pycocotools.mask")
    mask = np.random.default_rng(0).choice([0, 1, 2, VOID], (13, 17)).astype(np.uint8)
    found = coco.dataset([("a.png", mask)], ClassTable.numbered(4))
    assert [a["category_id"] for a in found["annotations"]] == [0, 1, 2]
    for annotation in found["annotations"]:
        encoded = maskApi.frPyObjects(annotation["segmentation"], 13, 17)
        np.testing.assert_array_equal(maskApi.decode(encoded), mask == annotation["category_id"])
        assert maskApi.area(encoded) == annotation["area"]
        assert maskApi.toBbox(encoded).tolist() == annotation["bbox"]
