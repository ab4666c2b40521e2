"""Settings of Sphinx; the README says how the site is built.

Nothing is loaded from the internet, by the build or by a page: equations are MathML, fonts are
those of the system, other projects are linked by plain addresses.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

# what examples and signatures show must not depend on who builds the site
os.environ.setdefault("DASK_CONFIG", os.devnull)

from tramway_dask import __version__  # noqa: E402

project = "tramway_dask"
author = "the authors of tramway_dask"
copyright = "the authors of tramway_dask; BSD-3-Clause"
release = version = __version__

extensions = [
    "myst_nb",  # pages in Markdown, and notebooks
    "sphinx.ext.autodoc",
    "numpydoc",
    "api",  # reference pages of whole modules
    "commandline",  # the pages of the commands, from click
    "settings",
    "mathml",
]
exclude_patterns = ["_build", "_ext", "**/.ipynb_checkpoints"]
nitpicky = True

# names in single backquotes are links where something of that name is documented; see `api`
default_role = "py:obj"

toc_object_entries = False  # each module begins with a table of its names
autodoc_typehints = "none"  # docstrings say more: shapes and units
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_validation_checks: set[str] = set()  # tests/test_docstrings.py checks, without a build

# Tests run the notebooks; here they are shown as they are in the repository, without results, or as in
# the folder NOTEBOOKS, where they have been executed.
nb_execution_mode = "off"
nb_merge_streams = True
shown = HERE / "tutorials" / "notebooks"  # sources of pages must be below this folder
shutil.rmtree(shown, ignore_errors=True)
shown.mkdir()
for notebook in sorted(Path(os.environ.get("NOTEBOOKS", HERE.parent / "notebooks")).glob("*.ipynb")):
    shutil.copy2(notebook, shown)
myst_enable_extensions = ["deflist", "dollarmath", "attrs_inline"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"tramway_dask {version}"
html_math_renderer = "mathml"
html_favicon = "_static/icon.svg"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
