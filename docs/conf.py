"""How Sphinx makes a site of these pages: `python -m sphinx -W docs OUTPUT`."""

from __future__ import annotations

from pathlib import Path

from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

import concurra

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent

project = "concurra"
author = "concurra maintainers"
project_copyright = author
version = release = concurra.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]

# The anchors of headings are those that GitHub makes: links work in both places.
myst_heading_anchors = 4

# A name between single backquotes in a docstring is a link, if it is documented here.
default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
maximum_signature_line_length = 68
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = f"concurra {release}"
html_show_sourcelink = False
html_copy_source = False


class FoldersWithoutLinks(SphinxTransform):
    """Links to what has no page here, such as folders, become plain text.

    The README is read at the root of the project, the other pages in their folders.
    """

    default_priority = 500

    def apply(self) -> None:
        """Take the link away, and leave its words."""
        here = DOCS / self.env.docname
        for link in list(self.document.findall(addnodes.pending_xref)):
            path = str(link.get("reftarget", "")).partition("#")[0]
            if link.get("reftype") != "myst" or not path:
                continue
            if (here.parent / path).exists() or (ROOT / path).exists():
                link.replace_self(link.children)


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.add_transform(FoldersWithoutLinks)
