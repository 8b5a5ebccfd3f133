"""Sphinx's settings for the site. `site/build.py` calls Sphinx with them; nothing is fetched from elsewhere."""

import inspect
import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from pages import NOT_IN_THE_REFERENCE  # noqa: E402

import tinymixer  # noqa: E402
from tinymixer.errors import REFERENCE, REPOSITORY  # noqa: E402

project = "tinymixer"
author = "The tinymixer maintainers"
copyright = "The tinymixer maintainers, MIT licence"  # Sphinx's name
version = release = tinymixer.__version__ if REFERENCE != "main" else f"{tinymixer.__version__} (main)"
root_doc = "contents"
language = "en"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.linkcode", "docstrings", "mathml"]
exclude_patterns = ["**/.ipynb_checkpoints"]
nitpicky = True

# Notebooks were executed when they were made; here they are only shown.
nb_execution_mode = "off"
nb_render_image_options = {}
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_dmath_double_inline = True
myst_heading_anchors = 4
myst_all_links_external = False
suppress_warnings = ["mystnb.unknown_mime_type"]


def linkcode_resolve(domain: str, info: dict[str, str]) -> str | None:
    """Where the source of a function or class stands in the repository."""
    found: object = sys.modules.get(info["module"])
    try:
        for name in info["fullname"].split("."):
            found = getattr(found, name)
        found = inspect.unwrap(found)
        path = Path(inspect.getsourcefile(found)).relative_to(HERE.parent)
        lines, start = inspect.getsourcelines(found)
    except (AttributeError, TypeError, ValueError, OSError):
        return None
    return f"{REPOSITORY}/blob/{REFERENCE}/{path.as_posix()}#L{start}-L{start + len(lines) - 1}"


autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autodoc_mock_imports = ["cupy", "cupyx", "mpi4py", "nccl4py", "nccl", "cuda", "nvmath", "optuna", "onnx"]
add_module_names = False
python_use_unqualified_type_names = True
toc_object_entries = False
# Annotations name types of Python, NumPy and other libraries, whose pages are elsewhere and are not fetched.
# Private base classes have no entry, nor has what is left out of the reference.
LEFT_OUT = "|".join(re.escape(name) for name in NOT_IN_THE_REFERENCE)
nitpick_ignore_regex = [("py:.*", r"(?!tinymixer\.).*"), ("py:.*", r".*\._.*"), ("py:.*", rf"(?:{LEFT_OUT}).*")]

html_math_renderer = "mathml"
html_theme = "furo"
html_title = "tinymixer"
html_static_path = [str(HERE / "static")]
html_css_files = ["site.css"]
html_favicon = str(HERE / "landing" / "icon.svg")
html_show_sphinx = False
html_copy_source = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0b5cad", "color-brand-content": "#0b5cad"},
    "dark_css_variables": {"color-brand-primary": "#7ab8ff", "color-brand-content": "#7ab8ff"},
}
