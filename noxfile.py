"""Sessions in environments of their own: ``nox -l`` lists them, ``nox`` runs all but the notebooks.

``nox -s tests-3.12`` runs the quick tests with the newest dependencies, ``nox -s lowest`` with the
oldest ones that pyproject.toml allows, ``nox -s docs`` builds the site, ``nox -s links`` follows
its links, ``nox -s notebooks`` runs its notebooks again, ``nox -s wheel`` builds the package and
trains with it outside the checkout.
"""

import shutil
import tomllib
from pathlib import Path

import nox

PYTHONS = ["3.11", "3.12", "3.13"]
LOWEST = PYTHONS[0]  # later Pythons have no wheels of the oldest versions
AS_USERS = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "0"}  # with XLA's optimiser, unlike a plain `pytest`

nox.options.reuse_existing_virtualenvs = True


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Quick tests with the newest dependencies."""
    session.install("-e", ".[test]")
    session.run("pytest", "-n", "2", *session.posargs, env=AS_USERS)


@nox.session(python=LOWEST)
def lowest(session: nox.Session) -> None:
    """Quick tests with the oldest version of each dependency that names one."""
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    floors = [line.replace(">=", "==") for line in project["dependencies"] if ">=" in line]
    constraints = Path(session.create_tmp(), "lowest.txt")
    constraints.write_text("\n".join(floors) + "\n")
    session.install("-e", ".[test]", "-c", str(constraints))
    session.run("pytest", "-n", "2", *session.posargs, env=AS_USERS)


@nox.session(python=LOWEST)
def lint(session: nox.Session) -> None:
    """The linters that CI runs."""
    session.install("-e", ".[test]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")


@nox.session(python=LOWEST)
def docs(session: nox.Session) -> None:
    """The site, in build/site; any warning is an error."""
    session.install("-e", ".[docs]")
    session.run("sphinx-build", "-W", "--keep-going", "-b", "html", "docs", "build/site")


@nox.session(python=LOWEST, default=False)
def notebooks(session: nox.Session) -> None:
    """Runs the site's notebooks, or those named behind ``--``, and keeps what they show."""
    session.install("-e", ".[docs,export-onnx]")
    session.run("python", "tools/notebooks.py", *session.posargs)


@nox.session(python=LOWEST)
def links(session: nox.Session) -> None:
    """Follows every link of the site, those to other sites too."""
    session.install("-e", ".[docs]")
    session.run("sphinx-build", "-b", "linkcheck", "docs", "build/links")


@nox.session(python=LOWEST)
def wheel(session: nox.Session) -> None:
    """Builds the package, and trains with the wheel outside the checkout."""
    session.install("build")
    shutil.rmtree("dist", ignore_errors=True)
    session.run("python", "-m", "build")
    (built,) = Path("dist").glob("*.whl")
    session.install("--force-reinstall", str(built))
    session.chdir(session.create_tmp())
    session.run("fcn-keras", "--version")
    session.run("fcn-keras", "train", "--max-steps", "4", "--workdir", "run")
    session.run("fcn-keras", "evaluate", "run/best.keras")
    for name, suffix in (("stablehlo", ".stablehlo"), ("compact", ".safetensors")):
        session.run(
            "fcn-keras", "export", "run/best.keras", "--format", name, "--out", f"model{suffix}"
        )
