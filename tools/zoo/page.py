"""Writes the page of the docs about the models that were recorded."""

import importlib.metadata
import re
import textwrap
from collections.abc import Sequence
from statistics import median

from tools.zoo.check import Result

_HEAD = """# Which models can be recorded

`make zoo` writes this page. It records each model at its library's default size, without its weights: every model type
that `AutoModel` of transformers {transformers} knows, and {timm_count} names of timm {timm}, evenly. Then it builds
the model for real, at small sizes of the same configuration where the library has one, and compares every bit of all
parameters and buffers, and the state of the generator, with those of the recording. It takes models of at most
{most:,} elements for that.

| models | tried | fail in their own code | recorded | built and compared | equal |
| --- | --- | --- | --- | --- | --- |
"""

_FAMILIES = """
## By kind

The median over the models of a kind, on one core; the time of the slowest in parentheses.

| models | recorded | compared | elements | tensors | operators | seconds |
| --- | --- | --- | --- | --- | --- | --- |
"""


def _without_paths(error: str) -> str:
    """Drop the paths of this machine from an error."""
    return re.sub(r" from '/\S+", "", error)


def _count(results: Sequence[Result], name: str) -> str:
    recorded = [result for result in results if not result.own_error and not result.error]
    compared = [result for result in results if result.compared]
    equal = [result for result in compared if not result.error]
    own = [result for result in results if result.own_error]
    return f"| {name} | {len(results)} | {len(own)} | {len(recorded)} | {len(compared)} | {len(equal)} |\n"


def _elements(count: float) -> str:
    return f"{count / 1e9:.1f} billion" if count >= 1e9 else f"{count / 1e6:.0f} million"


def _family(name: str, results: Sequence[Result]) -> str:
    found = [result for result in results if result.tensors]
    seconds = [result.seconds for result in found]
    cells = [
        name,
        str(len(found)),
        str(sum(1 for result in found if result.compared)),
        _elements(median(result.elements for result in found)),
        f"{median(result.tensors for result in found):,.0f}",
        f"{median(result.operators for result in found):,.0f}",
        f"{median(seconds):.1f} ({max(seconds):.0f})",
    ]
    return f"| {' | '.join(cells)} |\n"


def _names(title: str, results: Sequence[Result]) -> str:
    names = ", ".join(f"`{result.name}`" for result in results) or "none"
    lines = textwrap.wrap(names, 120, break_long_words=False, break_on_hyphens=False)
    return "\n".join(["", f"## {title}", "", *lines, ""])


def page(results: Sequence[Result], most: int) -> str:
    """Return the page.

    Args:
        results: of all models
        most: elements of the largest model that is built for real
    """
    libraries = {name: [r for r in results if r.library == name] for name in ("transformers", "timm")}
    versions = {name: importlib.metadata.version(name) for name in libraries}
    text = _HEAD.format(**versions, timm_count=len(libraries["timm"]), most=most)
    text += "".join(_count(found, name) for name, found in libraries.items()) + _FAMILIES
    families = sorted({(r.library, r.family) for r in results if r.tensors}, reverse=True)
    for library, family in families:
        found = [r for r in results if (r.library, r.family) == (library, family)]
        text += _family(f"{library}, {family}", found)
    failed = [r for r in results if r.error]
    if failed:
        text += "\n## Failures\n\n| model | error |\n| --- | --- |\n"
        text += "".join(f"| `{r.name}` | {_cell(r.error)} |\n" for r in failed)
    text += "\n## Models that fail in their own code\n\nEach raises the same without a recording.\n\n"
    text += "| model | error |\n| --- | --- |\n"
    text += "".join(f"| `{r.name}` | {_cell(_without_paths(r.own_error))} |\n" for r in results if r.own_error)
    transformers = [r for r in libraries["transformers"] if r.tensors]
    text += _names("Types of transformers, compared", [r for r in transformers if r.compared])
    text += _names("Types of transformers, recorded only", [r for r in transformers if not r.compared])
    text += _names("Names of timm, compared", [r for r in libraries["timm"] if r.compared])
    return text


def _cell(error: str) -> str:
    return f"`{error.replace('|', ' ').replace('`', chr(39))}`"
