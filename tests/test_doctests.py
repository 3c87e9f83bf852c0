"""The examples in docstrings give what they show, and every room has some."""

import doctest
import importlib
from pathlib import Path

import pytest

import fcn_keras

PACKAGE = Path(fcn_keras.__file__).parent
MODULES = sorted(
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    for path in PACKAGE.rglob("*.py")
    if ">>> " in path.read_text()
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_show(name):
    results = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert results.attempted > 0 and results.failed == 0


def test_every_room_with_public_names_has_an_example():
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    without = rooms - {name.split(".")[1] for name in MODULES}
    # Recipes are settings, and the trained models are read through `fcn_keras`.
    assert without <= {"pretrained", "recipes"}
