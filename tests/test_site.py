"""The site builds without a warning, needs nothing from elsewhere, and has every public name."""

import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fcn_keras

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("sphinx")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    done = subprocess.run([*command, str(DOCS), str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_every_public_name_has_an_entry(site):
    reference = "".join(page.read_text() for page in (site / "reference").glob("*.html"))
    packages = [module.name for module in pkgutil.iter_modules(fcn_keras.__path__) if module.ispkg]
    missing = []
    for package in ["", *(f".{name}" for name in packages)]:
        module = importlib.import_module(f"fcn_keras{package}")
        for name in getattr(module, "__all__", ()):
            public = getattr(module, name)
            documented = inspect.isclass(public) or inspect.isfunction(public)  # not type aliases
            if documented and f'.{name}"' not in reference:
                missing.append(f"{module.__name__}.{name}")
    assert not missing


@pytest.mark.slow
def test_no_page_fetches_anything(site):
    for page in site.rglob("*.html"):
        fetched = re.findall(
            r'<(?:script|img|link)[^>]+(?:src|href)="(https?:[^"]+)', page.read_text()
        )
        assert not fetched, page
