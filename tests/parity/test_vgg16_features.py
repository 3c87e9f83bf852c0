"""The trunk with torchvision's weights on a photo, against the same convolutions in torch."""

import pytest

pytest.importorskip("torch")

from tests.parity import features, measure

pytestmark = pytest.mark.torch
# Torch's numbers for the photo, as docs/parity.md has them: mean, maximum, share of zeros, and the
# mean of one channel on the photo's objects and on its background.
DOCUMENTED = [
    [0.823050, 31.3313, 0.4036, 1.56865, 0.01002],
    [1.314526, 53.9984, 0.5040, 1.78137, 0.00327],
    [1.412130, 133.2333, 0.7187, 8.34993, 0.07724],
    [0.610615, 48.4567, 0.8203, 6.81565, 0.26535],
    [0.257955, 20.0720, 0.8634, 9.37033, 0.00548],
]


def test_features_of_a_photo_are_torchs(shared_data, shared_weights):
    photo, mask = features.read_sample(shared_data)
    both = features.taps(photo, shared_weights)
    for tap, (ours, theirs) in enumerate(zip(*both, strict=True), start=1):
        assert measure.error(ours, theirs) < 1e-5, f"pool{tap}"
    for summary in (features.summary(pools, mask) for pools in both):
        for numbers, documented in zip(summary, DOCUMENTED, strict=True):
            assert numbers == pytest.approx(documented, rel=1e-3, abs=1e-4)


@pytest.mark.slow
def test_features_with_the_originals_padding(shared_data, shared_weights):
    photo, _ = features.read_sample(shared_data)
    for ours, theirs in zip(*features.taps(photo, shared_weights, "caffe"), strict=True):
        assert measure.error(ours, theirs) < 1e-5
