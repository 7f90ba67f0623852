"""Renders a page for each public submodule: keyed, recipes, deploy."""

import inspect
from types import ModuleType

from tools.docs.docstrings import markdown
from tools.docs.model import by_key, entry, methods
from tools.docs.reference import said
from torchinit import deploy, keyed, recipes

MODULES = (keyed, recipes, deploy)
_IN_DEPTH = {"keyed": "Initialization by key", "recipes": "Recipes, whole models", "deploy": "Where torchinit runs"}
# The arguments that every keyed initializer has.
_KEYED = (
    "Each is called as its sibling, with a key after the tensor and without a generator, and fills with that "
    "distribution. `full_size` is the shape of the whole tensor that this one is a piece of, and `offset` where in it "
    "the piece begins; by default it is the whole."
)


def _names(module: ModuleType) -> list[str]:
    names = list(module.__all__)
    # It is public, but `import *` must not put it in the place of the package.
    return [*names, "torch"] if module is recipes else names


def render(module: ModuleType) -> str:
    """Render all that a module exports, in its order."""
    short = module.__name__.rpartition(".")[2]
    about = markdown(inspect.getdoc(module) or "")
    parts = [f"# {module.__name__}", about, f"In depth: [{_IN_DEPTH[short]}](../{short}.md)"]
    siblings = by_key() if module is keyed else {}
    plain = [name for name in _names(module) if name not in siblings]
    for name in plain:
        parts += [f"## {short}.{name}", said(entry(module, name), level=4)]
        parts += [text for each in methods(module, name) for text in (f"### {each.name}", said(each, level=4))]
    if siblings:
        parts += ["## Initializers", _KEYED]
    for name, row in siblings.items():
        parts += [f"### {short}.{name}", f"```python\n{entry(module, name, row).signature}\n```", f"See `{name}`."]
    return "\n\n".join(parts) + "\n"
