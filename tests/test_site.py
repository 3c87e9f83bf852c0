"""The site builds without a warning, needs nothing from elsewhere, and has every public name."""

import html
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
    folder = tmp_path_factory.mktemp("site").resolve()
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
            if not inspect.ismodule(public) and f'.{name}"' not in reference:
                missing.append(f"{module.__name__}.{name}")
    assert not missing


def test_links_of_the_readme_and_the_changelog_lead_to_files():
    for page in (DOCS.parent / "README.md", DOCS.parent / "CHANGELOG.md"):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.slow
def test_every_link_within_the_site_has_its_target(site):
    pages = {page: page.read_text() for page in site.rglob("*.html")}
    names = {page: set(re.findall(r'\bid="([^"]+)"', text)) for page, text in pages.items()}
    missing = []
    for page, text in pages.items():
        for link in re.findall(r'<a\b[^>]*\bhref="([^"]+)"', text):
            if re.match(r"\w+:", link):
                continue
            file, _, name = html.unescape(link).partition("#")
            target = (page.parent / file).resolve() if file else page
            if not target.exists() or (name and name not in names.get(target, {name})):
                missing.append(f"{page.relative_to(site)}: {link}")
    assert not missing


@pytest.mark.slow
def test_no_page_fetches_anything(site):
    for page in site.rglob("*.html"):
        fetched = re.findall(
            r'<(?:script|img|link)[^>]+(?:src|href)="(https?:[^"]+)', page.read_text()
        )
        assert not fetched, page
