"""Settings of the site: ``sphinx-build -W -b html docs build/site``."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]
os.environ["KERAS_BACKEND"] = "jax"

import fcn_keras

project = "fcn-keras"
author = "The fcn-keras developers"
project_copyright = f"2026, {author}"
version = release = fcn_keras.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "generated"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # they are stored with their outputs; tools/notebooks.py makes them
napoleon_use_ivar = True
default_role = "code"  # as docstrings write names
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True

exclude_patterns = ["browser"]  # a page of its own, with its runtime where that is installed

html_theme = "furo"
html_title = f"fcn-keras {version}"
html_show_sourcelink = False
