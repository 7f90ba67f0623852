"""The Sphinx extension of these pages: adds the data about each function, links names, draws the pictures."""

import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

import torchinit
from tools.docs import about, mathml, pictures
from torchinit import keyed

# Its table holds names of other libraries; some are also ours, and must not become links.
_PEERS = "reference/peers"
# A function of ours, with or without arguments.
_NAME = re.compile(r"(?:torchinit\.)?((?:keyed\.)?\w+)(?:\(.*\))?", re.DOTALL)


class LinkNames(SphinxTransform):
    """Link a function's name in backticks to the reference, except in headings and in its own description."""

    default_priority = 500

    def apply(self, **kwargs: Any) -> None:
        """Wrap each such name in a cross-reference."""
        if self.env.docname == _PEERS:
            return
        for literal in list(self.document.findall(nodes.literal)):
            match = _NAME.fullmatch(literal.astext())
            if match and _is_ours(match[1]) and _is_plain_text(literal, f"torchinit.{match[1]}"):
                reference = addnodes.pending_xref(
                    "", refdomain="py", reftype="func", reftarget=f"torchinit.{match[1]}", refdoc=self.env.docname
                )
                literal.replace_self(reference)
                reference += literal


def _is_ours(name: str) -> bool:
    if name.startswith("keyed."):
        return name.removeprefix("keyed.") in keyed.__all__
    return name in about.FUNCTIONS


def _is_plain_text(node: nodes.Node, target: str) -> bool:
    parent = node.parent
    while parent is not None:
        if isinstance(parent, nodes.title | nodes.reference | addnodes.pending_xref | addnodes.desc_signature):
            return False
        if isinstance(parent, addnodes.desc) and target in parent[0].get("ids", ()):
            return False
        parent = parent.parent
    return True


def _describe(app: Sphinx, what: str, name: str, documented: object, options: object, lines: list[str]) -> None:
    """Add the data about a function after its docstring."""
    module, _, short = name.rpartition(".")
    if module == torchinit.__name__:
        lines += about.function(short)


def _add_peers(app: Sphinx, docname: str, source: list[str]) -> None:
    if docname == _PEERS:
        source[0] += about.peers_index()


def _draw(app: Sphinx) -> None:
    """Draw the pictures beside the pages, unless they are there; git ignores them."""
    folder = Path(app.srcdir) / "pictures"
    folder.mkdir(exist_ok=True)
    for name, draw in pictures.PICTURES.items():
        if not (folder / name).exists():
            (folder / name).write_text(draw())


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    mathml.setup(app)
    app.add_transform(LinkNames)
    app.connect("builder-inited", _draw)
    app.connect("source-read", _add_peers)
    # After napoleon, which reads the docstring's own sections.
    app.connect("autodoc-process-docstring", _describe, priority=900)
    return {"parallel_read_safe": True}
