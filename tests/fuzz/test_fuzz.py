"""A seeded sample of what ``python -m tests.fuzz`` runs in greater number."""

import pytest

from tests.fuzz.cases import fuzz
from tests.fuzz.readers import READERS

COUNTS = {".keras": 30, "compact": 30}  # a model is built for each


@pytest.mark.slow
@pytest.mark.parametrize("reader", READERS)
def test_damaged_files_are_read_or_refused(reader):
    count = COUNTS.get(reader, 250)
    outcomes, defects = fuzz(reader, 0, count)
    assert defects == [] and outcomes["refused"] > 0.02 * count
