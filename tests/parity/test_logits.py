"""Logits against plain ``torch.nn`` models, with random weights in every layer."""

import pytest

pytest.importorskip("torch")

from tests.parity import measure  # noqa: E402

pytestmark = pytest.mark.torch
# The issue asks for 1e-4 of the range; the sums differ in order only.
TOLERANCE = 1e-5


def case_id(case):
    return "-".join(part for part in case if part)


@pytest.fixture(scope="module", params=measure.CASES, ids=case_id)
def pair(request):
    model, reference = measure.build_pair(*request.param, upsampling="learned", **measure.NARROW)
    return measure.compiled(model), reference


@pytest.mark.parametrize("size", measure.SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_logits(pair, size):
    forward, reference = pair
    assert measure.logit_error(forward, reference, measure.random_images(size)) < TOLERANCE


def test_each_image_of_a_batch(pair):
    forward, reference = pair
    images = measure.random_images((37, 53), batch=3)
    assert measure.logit_error(forward, reference, images) < TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("case", measure.CASES, ids=case_id)
def test_full_width_logits(case):
    model, reference = measure.build_pair(*case, **measure.FULL)
    images = measure.random_images((192, 192))
    assert measure.logit_error(measure.compiled(model), reference, images) < TOLERANCE
