"""Directives for pages that are written by the code: commands' options, recipes, public names."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import fcn_keras
from fcn_keras import recipes

ROOT = Path(__file__).parents[1]


class CommandHelp(SphinxDirective):
    """``command-help:: train`` shows what ``fcn-keras train --help`` prints."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """Runs the command as a user would, in a terminal of 88 columns."""
        program = "from fcn_keras_cli import main; main()"
        arguments = [*self.arguments[0].split(), "--help"]
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            cwd=ROOT,
            env={**os.environ, "COLUMNS": "88", "NO_COLOR": "1", "TERM": "dumb"},
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            raise self.error(f"fcn-keras {' '.join(arguments)} failed: {done.stderr}")
        return [nodes.literal_block(done.stdout, done.stdout, language="text")]


class Recipes(SphinxDirective):
    """``recipes::`` shows the lab note of every recipe in the package."""

    def run(self) -> list[nodes.Node]:
        """A section a recipe, in the order of the names."""
        lines = []
        for name in recipes.NAMES:
            lines += [name, "-" * len(name), "", f".. automodule:: {recipes.__name__}.{name}", ""]
        node = nodes.section()
        node.document = self.state.document
        self.state.nested_parse(StringList(lines), 0, node, match_titles=True)
        return node.children


def skip_what_has_a_page(
    app: Sphinx, what: str, name: str, thing: Any, skip: bool, options: Any
) -> bool | None:
    """Documents a name once: `fcn_keras` itself first, then the room that defines it."""
    page = app.env.docname.removeprefix("reference/")
    if page == "fcn_keras":
        return None
    if any(thing is getattr(fcn_keras, public) for public in fcn_keras.__all__):
        return True
    room = ".".join(str(getattr(thing, "__module__", "")).split(".")[:2])
    elsewhere = room.startswith("fcn_keras.") and room != f"fcn_keras.{page}"
    return True if elsewhere and name in getattr(sys.modules[room], "__all__", ()) else None


def setup(app: Sphinx) -> dict[str, bool]:
    """Registers the directives."""
    app.add_directive("command-help", CommandHelp)
    app.add_directive("recipes", Recipes)
    app.connect("autodoc-skip-member", skip_what_has_a_page)
    return {"parallel_read_safe": True}
