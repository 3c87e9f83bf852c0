"""The wheel alone, outside the checkout: command, recipes, lists and version are in it."""

import importlib.metadata
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import fcn_keras

ROOT = Path(__file__).parents[1]
TINY = "--backbone-width 2 --head-width 4 --crop-size 32 --batch-size 2 --max-steps 4"


def tracked(*paths):
    """Files that git knows, without what an earlier build left behind."""
    listing = ["git", "ls-files", *paths]
    done = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """The wheel's files in a folder of their own, as pip would lay them."""
    pytest.importorskip("setuptools", minversion="77")
    folder = tmp_path_factory.mktemp("wheel")
    for name in tracked("fcn_keras", "fcn_keras_cli.py", "pyproject.toml", "README.md", "LICENSE"):
        (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / "source" / name)
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    build += ["--wheel-dir", str(folder), str(folder / "source")]
    subprocess.run(build, check=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


@pytest.fixture
def fcn(unpacked, tmp_path):
    """Runs ``fcn-keras``, whose files come from the wheel, in an empty folder."""

    def fcn(*arguments):
        (entry,) = importlib.metadata.Distribution.at(
            next(unpacked.glob("*.dist-info"))
        ).entry_points.select(name="fcn-keras")
        program = f"from {entry.module} import {entry.attr} as main; main()"
        environment = {**os.environ, "PYTHONPATH": str(unpacked), "XDG_CACHE_HOME": str(tmp_path)}
        return subprocess.run(
            [sys.executable, "-c", program, *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
        )

    return fcn


@pytest.mark.slow
def test_the_command_works_outside_the_checkout(fcn, tmp_path):
    assert fcn("--version").stdout == f"fcn-keras {fcn_keras.__version__}\n"
    assert fcn("--help").stdout.startswith("usage: fcn-keras [-h] [--version] COMMAND")
    trained = fcn("train", *TINY.split(), "--workdir", "run")
    assert trained.returncode == 0, trained.stderr
    assert "  fcn-keras evaluate run/best.keras --dataset shapes --split val" in trained.stdout
    scored = fcn("evaluate", "run/best.keras", "--json", "scores.json")
    assert scored.returncode == 0, scored.stderr
    assert (tmp_path / "scores.json").is_file()


@pytest.mark.slow
def test_what_isnt_python_is_in_the_wheel(unpacked):
    inside = {str(path.relative_to(unpacked)) for path in unpacked.rglob("*") if path.is_file()}
    assert set(tracked("fcn_keras")) <= inside
    assert not any(name.startswith(("tests", "experiments")) for name in inside)
