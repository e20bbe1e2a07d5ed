"""The documentation site. `make docs` builds it without a network; warnings are errors.

Notebooks are shown as committed: `make notebooks` is what executes them. There is no
intersphinx, which would fetch inventories, and no script for formulas.
"""

import sys
from importlib import metadata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "jconvt"
author = "The jconvt authors"
copyright = author
release = metadata.version("jconvt")

extensions = [
    "links",
    "lowerings",
    "mathml",
    "myst_nb",
    "signatures",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
exclude_patterns = ["**/.ipynb_checkpoints"]

myst_enable_extensions = ["deflist", "dollarmath", "fieldlist"]
myst_heading_anchors = 4
nb_execution_mode = "off"
nb_ipywidgets_js = {}  # else two scripts from other hosts; static plots stand beside

# A name in single backticks is a link where it is one of ours, and else code.
default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
napoleon_attr_annotations = False
maximum_signature_line_length = 80
add_module_names = False

html_theme = "furo"
html_title = f"jconvt {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_show_copyright = False
html_show_sourcelink = False
html_copy_source = False
html_math_renderer = "mathml"
pygments_style = "default"
pygments_dark_style = "github-dark"
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
copybutton_exclude = ".linenos, .gp, .go"
