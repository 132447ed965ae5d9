"""Settings of the documentation site: `make docs` builds it into build/docs, without a network."""

from __future__ import annotations

import sys
from importlib.metadata import version as installed_version
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.logging import getLogger

DOCS = Path(__file__).resolve().parent
REPOSITORY = DOCS.parent
sys.path[:0] = [str(REPOSITORY), str(DOCS)]

import generated_text
import site_checks

LOGGER = getLogger(__name__)

project = "XxaCT"
author = "XxaCT developers"
project_copyright = "XxaCT developers, BSD-3-Clause"
version = release = installed_version("xxact")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["**/.ipynb_checkpoints"]
nb_execution_mode = "off"  # the notebooks are committed with their outputs, and executed by the tests
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
suppress_warnings = [
    "myst.header",  # a notebook may skip a heading level
    "config.cache",  # the settings hold functions
]

# Docstrings are in Google style, with `code` in single backticks.
default_role = "code"
smartquotes = False  # options begin with two hyphens, and quotes are typed in a shell
add_module_names = False
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_custom_sections = [("Source", "notes_style"), ("Shapes", "notes_style")]
napoleon_use_ivar = True
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_class_signature = "separated"
autodoc_default_options = {"members": True, "exclude-members": "__new__, __init__"}
python_use_unqualified_type_names = True
maximum_signature_line_length = 88
viewcode_line_numbers = True

# Types in signatures are links where the type is documented here; those of other libraries stay text.
nitpicky = True
nitpick_ignore_regex = [(r"py:.*", r"(?!xxact_).*"), (r"py:class", r".*")]

html_theme = "pydata_sphinx_theme"
html_title = f"XxaCT {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_logo = "_static/logo.svg"
html_favicon = "_static/logo.svg"
html_copy_source = False
html_show_sourcelink = False
html_sidebars = {"index": [], "glossary": [], "troubleshooting": [], "changelog": [], "contributing": []}
html_theme_options = {
    "logo": {"text": "XxaCT"},
    "navbar_align": "left",
    "navbar_end": ["theme-switcher"],
    "navbar_persistent": ["search-button-field"],
    "header_links_before_dropdown": 6,
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "footer_start": ["copyright"],
    "footer_end": [],
}
copybutton_exclude = ".linenos, .gp, .go"


def copy_notebooks(app: Sphinx) -> None:
    """Copy the notebooks into the pages, with their links to pages as seen from there."""
    for notebook in sorted((REPOSITORY / "notebooks").glob("*.ipynb")):
        target = Path(app.srcdir) / "tutorials" / notebook.name
        text = notebook.read_text(encoding="utf-8").replace("](../docs/", "](../")
        if not target.exists() or target.read_text(encoding="utf-8") != text:
            target.write_text(text, encoding="utf-8")


def fill_in(_app: Sphinx, _name: str, source: list[str]) -> None:
    """Replace `<!-- generated: NAME -->` by the text of that name, made from the code."""
    source[0] = generated_text.fill_in(source[0])


def follow_theme(_app: Sphinx, doctree: nodes.document) -> None:
    """Show a picture `...-light.png` in the light theme only, and `...-dark.png` in the dark one."""
    for image in doctree.findall(nodes.image):
        for theme in ("light", "dark"):
            if image["uri"].endswith(f"-{theme}.png"):
                image["classes"].append(f"only-{theme}")


def check_pages(app: Sphinx, exception: Exception | None) -> None:
    """Warn of everything that a built page would load from another site."""
    if exception is not None or app.builder.format != "html":
        return
    for path in sorted(Path(app.outdir).rglob("*")):
        if path.suffix in {".html", ".css"}:
            for address in site_checks.external_resources(path.read_text(encoding="utf-8")):
                LOGGER.warning("%s loads %s", path.relative_to(app.outdir), address)


def setup(app: Sphinx) -> None:
    """Connect the steps above."""
    app.connect("builder-inited", copy_notebooks)
    app.connect("source-read", fill_in)
    app.connect("doctree-read", follow_theme)
    app.connect("build-finished", check_pages)
    app.connect("autodoc-skip-member", generated_text.skip_public)
    app.connect("autodoc-process-docstring", generated_text.keep_sentence, priority=100)
    app.connect("autodoc-process-docstring", generated_text.restore_sentence, priority=600)
    app.connect("autodoc-process-docstring", generated_text.escape_markup, priority=700)
