"""Renders the data about each function: what it equals, its other names, what other libraries call it."""

from collections.abc import Iterable

import torchinit
from tools.docs.equals import EQUALS, Equal
from tools.docs.peers import LIBRARIES, PEERS, Peer
from torchinit import keyed

# The public functions, without the deprecated names.
FUNCTIONS = [name for name in torchinit.__all__ if f"{name}_" not in torchinit.__all__]


def function(name: str) -> list[str]:
    """Return the lines of reStructuredText that follow the docstring of a function."""
    lines = _equals(EQUALS[name]) if name in EQUALS else []
    others = []
    if name in keyed.__all__:
        others.append(f"`keyed.{name}` by key")
    if name.removesuffix("_") in set(torchinit.__all__) - set(FUNCTIONS):
        others.append(f"`torchinit.{name.removesuffix('_')}`, deprecated as in upstream")
    if others:
        lines += ["", f"**Other names:** {'; '.join(others)}."]
    if PEERS.get(name):
        lines += ["", ".. rubric:: In other libraries", "", *_peers(PEERS[name])]
    # The data is Markdown.
    return [line.replace("`", "``") for line in lines]


def _equals(equal: Equal) -> list[str]:
    lines = ["", ".. rubric:: Equals", "", equal.text]
    if equal.equations:
        lines += ["", ".. code-block:: python", ""]
        for equation in equal.equations:
            lines += [f"    {equation.left}", f"        {'==' if equation.exact else '~='} {equation.right}"]
        rounded = not all(equation.exact for equation in equal.equations)
        lines += ["", f"`==`: the same bits under the same seed{'; `~=`: the same but for rounding' * rounded}."]
    return lines


def _grouped(peers: Iterable[Peer]) -> dict[tuple[str, str, str], list[str]]:
    """Group the names of one call: an alias, a class and the string for it."""
    grouped: dict[tuple[str, str, str], list[str]] = {}
    for peer in peers:
        grouped.setdefault((peer.library, peer.ours, peer.note), []).append(f"`{peer.theirs}`")
    return grouped


def _peers(peers: Iterable[Peer]) -> list[str]:
    return [
        f"- {library} {', '.join(names)}: here `{ours}`. {note}".rstrip()
        for (library, ours, note), names in _grouped(peers).items()
    ]


def sort_key(theirs: str) -> str:
    """Return the key that sorts a name: without module, arguments, case and underscores."""
    return theirs.partition("(")[0].rpartition(".")[2].lower().replace("_", "")


def peers_index() -> str:
    """Render every name of every other library in alphabetical order, with ours, as Markdown."""
    parts = []
    for library, about in LIBRARIES.items():
        rows = []
        for name, peers in PEERS.items():
            for (_, ours, note), theirs in _grouped(peer for peer in peers if peer.library == library).items():
                role = "{py:func}" + f"`{ours} <torchinit.{name}>`"
                rows.append((sort_key(theirs[0].strip("`")), f"| {' '.join(theirs)} | {role} {note} |"))
        table = "\n".join(row for _, row in sorted(rows))
        parts.append(f"\n## {library}\n\n{about}\n\n| there | here |\n| --- | --- |\n{table}\n")
    return "".join(parts)
