"""What a release states in several places agrees."""

import re
import tomllib
from pathlib import Path

import fcn_keras

ROOT = Path(__file__).parents[1]


def test_the_version_is_one():
    citation = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert fcn_keras.__version__ == citation[1] == newest[1]


def test_the_pythons_are_the_same_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    prefix = "Programming Language :: Python :: "
    pythons = [name.removeprefix(prefix) for name in project["classifiers"] if prefix in name]
    listed = re.search(r"^PYTHONS = \[(.+)\]", (ROOT / "noxfile.py").read_text(), re.MULTILINE)
    assert re.findall(r"[\d.]+", listed[1]) == pythons[1:]
    assert project["requires-python"] == f">={pythons[1]}"
    sessions = (ROOT / ".github/workflows/tests.yml").read_text()
    assert re.findall(r"tests-([\d.]+)", sessions) == pythons[1:]
