import numpy as np
import pytest

from fcn_keras.data.classes import CAMVID, SHAPES, VOC, VOID, ClassTable, voc_color_map
from fcn_keras.errors import InputError


def test_color_map_follows_the_bits_of_the_label():
    palette = voc_color_map()
    for label in range(256):
        color = [0, 0, 0]
        rest = label
        for level in range(8):
            for channel in range(3):
                color[channel] += (rest >> channel & 1) * 2 ** (7 - level)
            rest >>= 3
        assert palette[label].tolist() == color


def test_voc_table_is_vocs():
    assert len(VOC) == 21
    np.testing.assert_array_equal(np.array(VOC.colors), voc_color_map()[:21])
    assert (VOC.names[15], VOC.colors[15]) == ("person", (192, 128, 128))


def test_voc_palette_is_the_real_files(shared_data):
    from PIL import Image

    with Image.open(shared_data / "VOC2012/SegmentationClass/2007_000033.png") as image:
        stored = np.array(image.getpalette()).reshape(-1, 3)
    np.testing.assert_array_equal(VOC.palette[: len(stored)], stored)


@pytest.mark.parametrize("table", [VOC, CAMVID, SHAPES])
def test_colors_are_distinct_and_void_has_its_own(table):
    assert len({*table.colors, tuple(table.palette[VOID])}) == len(table) + 1
    assert table.palette.shape == (256, 3)
    assert table.palette.dtype == np.uint8
    assert table.palette[VOID].tolist() == [224, 224, 192]
    np.testing.assert_array_equal(
        table.palette[len(table) : 255], voc_color_map()[len(table) : 255]
    )


def test_tables_have_the_right_sizes():
    assert [len(CAMVID), len(SHAPES)] == [11, 6]
    assert CAMVID.names[0] == "sky" and SHAPES.names[0] == "background"


def test_refuses_a_table_that_does_not_pair_up():
    with pytest.raises(InputError, match="mine has 2 names but 1 colours"):
        ClassTable("mine", ("a", "b"), ((0, 0, 0),))
    with pytest.raises(InputError, match="mine has 256 classes"):
        ClassTable("mine", ("a",) * 256, ((0, 0, 0),) * 256)
