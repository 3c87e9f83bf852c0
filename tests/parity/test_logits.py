"""Logits against plain ``torch.nn`` models, with random weights in every layer."""

import pytest

pytest.importorskip("torch")

from tests.parity import measure

pytestmark = pytest.mark.torch
# Rounding leaves under 3e-6. One pixel of offset in the faintest skip (pool3 at once) makes 2e-5.
TOLERANCE = 5e-6


def case_id(case):
    return "-".join(part for part in case if part)


def size_id(size):
    return f"{size[0]}x{size[1]}"


@pytest.fixture(scope="module", params=measure.CASES, ids=case_id)
def pair(request):
    model, reference = measure.build_pair(*request.param, upsampling="learned", **measure.NARROW)
    return measure.compiled(model), reference


@pytest.mark.parametrize("size", measure.SIZES[:2], ids=size_id)
def test_logits(pair, size):
    forward, reference = pair
    images = measure.random_images(size, batch=2)
    assert measure.logit_error(forward, reference, images) < TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("size", measure.SIZES[2:], ids=size_id)
def test_logits_at_more_sizes(pair, size):
    forward, reference = pair
    assert measure.logit_error(forward, reference, measure.random_images(size)) < TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize(
    "case",
    [
        ("fcn32s", "same", None),
        ("fcn16s", "caffe", None),
        ("fcn8s", "caffe", "at_once"),
        ("fcn8s", "same", "batch_norm"),
    ],
    ids=case_id,
)
def test_full_width_logits(case):
    model, reference = measure.build_pair(*case, **measure.FULL)
    images = measure.random_images((192, 192))
    assert measure.logit_error(measure.compiled(model), reference, images) < TOLERANCE
