"""How Sphinx builds these pages: `make docs`."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import torchinit  # noqa: E402

project = "torchinit"
release = version = torchinit.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "tools.docs.extension",
]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
# README.md links to the pages as files, and so do they to each other.
exclude_patterns = ["benchmark.*", "gpu.md"]

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autosummary_generate = False
napoleon_use_rtype = False
maximum_signature_line_length = 70
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"

# A reference to a name that does not exist is a warning. Names of other packages would need a network.
nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", r"(torch|typing|collections|pathlib|os|types)\..+"),
    ("py:.*", r"(.+\.)?_\w+|torchinit\.(\w+\.)?_.*|optional|callable|\.\.\."),
]

html_theme = "furo"
html_title = "torchinit"
html_math_renderer = "mathml"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_domain_indices = False
html_show_sphinx = False
html_show_copyright = False
pygments_dark_style = "monokai"
