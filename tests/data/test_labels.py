import numpy as np
import pytest

from fcn_keras.data.classes import VOID, ClassTable
from fcn_keras.data.labels import _spread, require_labels
from fcn_keras.errors import InputError

CLASSES = ClassTable("mine", ("ground", "tree"), ((0, 0, 0), (0, 90, 0)))


class Masks:
    """A source of masks of one value each, which counts how many were read."""

    def __init__(self, values, classes=CLASSES):
        self.values, self.classes, self.read = values, classes, 0

    def __len__(self):
        return len(self.values)

    def __getitem__(self, index):
        self.read += 1
        return None, np.full((2, 2), self.values[index], np.uint8)


def test_a_split_without_labels_is_refused():
    with pytest.raises(InputError, match=r"split val has no labelled pixel in 3 samples, all are"):
        require_labels(Masks([VOID] * 3), "val")


def test_a_split_of_one_class_is_said():
    source = Masks([0, VOID, 0, 0, 0])
    warning = require_labels(source, "train")
    assert warning.startswith("Warning: every labelled pixel of split train is ground")
    assert source.read == 5
    one = ClassTable("mine", ("ground",), ((0, 0, 0),))
    assert require_labels(Masks([0, 0], one), "train") is None


def test_ordinary_splits_need_few_reads():
    source = Masks([0] * 500 + [1] * 500)
    assert require_labels(source, "train") is None
    assert source.read == 2


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 9, 100])
def test_every_sample_has_its_turn(count):
    assert sorted(_spread(count)) == list(range(count))
