"""A few kills; ``python -m tests.training.kill_matrix`` runs the whole matrix."""

import random

import pytest

from tests.training import kill_matrix


@pytest.fixture(scope="module")
def matrix(tmp_path_factory):
    return kill_matrix.Matrix(tmp_path_factory.mktemp("kills"))


def check(outcome):
    assert outcome.kills and not outcome.differences, outcome


def test_two_kills_and_then_bit_equal(matrix):
    check(matrix.case("two kills", ["write 8", "validating 1 of epoch 3"]))


@pytest.mark.slow
@pytest.mark.parametrize("name", kill_matrix.FIXED)
def test_killed_at(matrix, name):
    check(matrix.case(name, kill_matrix.FIXED[name]))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_killed_at_a_random_moment(matrix, seed):
    check(matrix.case(f"random {seed}", [random.Random(seed).uniform(0, matrix.seconds)]))
