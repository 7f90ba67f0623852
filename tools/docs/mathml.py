"""Renders formulas as MathML while the site is built; reading them needs no script, font or server."""

import re

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator


def mathml(tex: str, display: bool = False) -> str:
    r"""Render a formula. A displayed one is cut at each ``\quad``, where a narrow screen may break it."""
    if not display:
        return _convert(tex)
    parts = [_convert(part, as_block=True) for part in re.split(r"\\quad\b", tex)]
    return '<div class="formula">' + "".join(f"<span>{part}</span>" for part in parts) + "</div>"


def _convert(tex: str, as_block: bool = False) -> str:
    # NB: the converter keeps the backslash of \_ within \text.
    return str(tex2mathml(" ".join(tex.split()), as_block=as_block)).replace("\\_", "_")


def _visit_inline(writer: HTML5Translator, node: nodes.math) -> None:
    writer.body.append(mathml(node.astext()))
    raise nodes.SkipNode


def _visit_block(writer: HTML5Translator, node: nodes.math_block) -> None:
    writer.body.append(mathml(node.astext(), display=True))
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Offer ``html_math_renderer = "mathml"``."""
    app.add_html_math_renderer("mathml", (_visit_inline, None), (_visit_block, None))
    return {"parallel_read_safe": True}
