"""All generated pages of the site, and what leads to them."""

from functools import cache
from typing import Any

from tools.codegen.docstrings import ROOT as ROOT
from tools.docs import modules, reference
from tools.docs.model import by_key, public

MODULES = {module.__name__.rpartition(".")[2]: module for module in modules.MODULES}


@cache
def pages() -> dict[str, str]:
    """Render every generated page, as Markdown by its path."""
    entries, keyed = public(), by_key()
    return {
        "reference/index.md": reference.index(entries),
        "reference/peers.md": reference.peers_index(),
        **{reference.path(entry.name): reference.function(entry, keyed) for entry in entries},
        **{reference.path(name): modules.render(module) for name, module in MODULES.items()},
    }


def nav() -> list[Any]:
    """Return the reference's part of the navigation."""
    families = [
        {heading: [{entry.name: reference.path(entry.name)} for entry in chosen]}
        for heading, chosen in reference.families(public()).items()
    ]
    submodules = [{f"torchinit.{name}": reference.path(name)} for name in MODULES]
    return ["reference/index.md", {"Coming from elsewhere": "reference/peers.md"}, *families, *submodules]


@cache
def targets() -> dict[str, str]:
    """Return where each name that a page may mention is explained."""
    keyed = {f"keyed.{name}": f"{reference.path('keyed')}#keyed{name}" for name in MODULES["keyed"].__all__}
    return {**{entry.name: reference.path(entry.name) for entry in public()}, **keyed}
