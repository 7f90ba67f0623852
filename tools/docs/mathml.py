"""Renders TeX as MathML when the site is built: no script, no font and no server is needed to read it."""

import html
import re

from latex2mathml.converter import convert

# NB: what latex2mathml makes of these: an ASCII tilde, a slanted capital, fences that a browser would stretch.
_CORRECTED = {
    "<mi>&#x0007E;</mi>": "<mo>&#x0223C;</mo>",
    "<mi>&#x003A6;</mi>": '<mi mathvariant="normal">&#x003A6;</mi>',
    "\\_": "_",
    **{
        f"<{tag}>&#x{code};</{tag}>": f'<mo stretchy="false">&#x{code};</mo>'
        for code in ("0230A", "0230B", "02308", "02309")
        for tag in ("mi", "mo")
    },
}

# A minus that follows an opening fence, a comma or a relation is a sign, and stands close to what it negates.
_SIGN = re.compile(r"(<mo[^>]*>(?:[(\[,=]|&#x(?:00028|0005B|0002C|0003D|02208|0223C);)</mo>)<mo>(?=&#x02212;|-)")


def mathml(tex: str, display: bool = False) -> str:
    r"""Render a formula; a displayed one is cut at each ``\quad``, so that a narrow screen may break it there."""
    if not display:
        return _convert(tex, "inline")
    parts = [_convert(part.strip(), "block") for part in re.split(r"\\quad\b", tex)]
    return '<div class="formula">' + "".join(f"<span>{part}</span>" for part in parts) + "</div>"


def _convert(tex: str, display: str) -> str:
    text: str = convert(tex, display=display)
    for wrong, right in _CORRECTED.items():
        text = text.replace(wrong, right)
    # A function's name is no operator, around which there is space; mod is one.
    text = re.sub(r"<mo>(?!mod<)([A-Za-z]+)</mo>", r"<mi>\1</mi>", text)
    text = re.sub(r"(<mi>[A-Za-z]{2,}</mi>)(?=<m[ifn])", r'\1<mspace width="0.17em"/>', text)
    text = _SIGN.sub(r'\1<mo form="prefix">', text)
    if "\\" in text:
        raise ValueError(f"a formula has what latex2mathml does not know: {tex!r} became {text!r}")
    return text


def render(page: str) -> str:
    """Put MathML in the place of what ``pymdownx.arithmatex`` marked in a page of HTML."""
    page = re.sub(
        r'<div class="arithmatex">\\\[(.*?)\\\]</div>',
        lambda match: mathml(html.unescape(match[1]), display=True),
        page,
        flags=re.DOTALL,
    )
    return re.sub(r'<span class="arithmatex">\\\((.*?)\\\)</span>', lambda match: mathml(html.unescape(match[1])), page)
