"""Renders the reference, a page a function, and what leads to it."""

from collections.abc import Mapping, Sequence

from tools.codegen.deployed import PREFIX, deployed, mobile
from tools.codegen.docstrings import entries
from tools.codegen.functions import FUNCTIONS
from tools.codegen.model import Function
from tools.docs.docstrings import markdown, rows
from tools.docs.equals import EQUALS, Equal
from tools.docs.model import FAMILIES, Entry
from tools.docs.peers import LIBRARIES, PEERS, Peer

_EVERYWHERE = (
    "Scripted, saved and loaded, in C++, in the mobile interpreter, compiled and exported it gives eager's bits; "
    "[Where torchinit runs](../deploy.md) has the exceptions."
)


def path(name: str) -> str:
    """Return where the page of a function lies in the site's sources."""
    return f"reference/{name}.md"


def _list(section: str, long_choices: Mapping[str, Sequence[str]] | None = None) -> str:
    lines = []
    for name, text in entries(section).items():
        choices = ", ".join(f'`"{value}"`' for value in (long_choices or {}).get(name, ()))
        lines.append(f"- **`{name}`**: {markdown(text)}" + (f". One of {choices}" if choices else ""))
    return "\n".join(lines)


def said(entry: Entry, level: int = 2) -> str:
    """Render signature and docstring, with headings of a level for its sections."""
    sections, mark = entry.text.sections, "#" * level
    parts = [f"```python\n{entry.signature}\n```", markdown(entry.text.summary), markdown(entry.text.body)]
    if "Args" in sections:
        parts.append(f"{mark} Arguments\n\n{_list(sections['Args'], entry.long_choices)}")
    if "Returns" in sections:
        parts.append(f"**Returns** {markdown(sections['Returns'])}")
    for title in ("Raises", "Warns"):
        if title in sections:
            parts.append(f"{mark} {title}\n\n{_list(sections[title])}")
    if "Examples" in sections:
        parts.append(f"{mark} Example\n\n```pycon\n{sections['Examples'].rstrip()}\n```")
    return "\n\n".join(part for part in parts if part)


def _equals(equal: Equal) -> str:
    parts = [f"## What it equals\n\n{equal.text}"]
    if equal.equations:
        lines = [f"{e.left}\n    {'==' if e.exact else '~='} {e.right}" for e in equal.equations]
        signs = "`==` the same bits under the same seed"
        if not all(equation.exact for equation in equal.equations):
            signs += ", `~=` the same but for rounding"
        parts.append("```python\n" + "\n".join(lines) + f"\n```\n\n{signs}.")
    return "\n\n".join(parts)


def _names(row: Function, keyed: Mapping[str, Function]) -> list[str]:
    deployable = {function.name: function for function in deployed([row])}
    lines = []
    if row.name in deployable:
        seeds = mobile(deployable[row.name]) != deployable[row.name]
        lines.append(
            f"- C++: `torchinit::Init::{row.name}`. Mobile interpreter: `torchinit::MobileInit::{row.name}`"
            + (", with a seed in the generator's place." if seeds else ".")
        )
    if row.name in keyed:
        lines.append(f"- By key: `keyed.{row.name}`; in C++ `{PREFIX}{row.name}`, in both classes.")
    if row.deprecated:
        lines.append(f"- Deprecated: `torchinit.{row.deprecated}`, which warns as upstream's does.")
    return lines


def _peers(peers: Sequence[Peer]) -> str:
    # The names of one call: an alias, a class and its string.
    grouped: dict[tuple[str, str, str], list[str]] = {}
    for peer in peers:
        grouped.setdefault((peer.library, peer.ours, peer.note), []).append(f"`{peer.theirs}`")
    lines = [
        f"- {library} {', '.join(names)}: here `{ours}`." + (f" {note}" if note else "")
        for (library, ours, note), names in grouped.items()
    ]
    return "\n".join([*lines, "", "[All names of other libraries](peers.md)"])


def function(entry: Entry, keyed: Mapping[str, Function]) -> str:
    """Render the page of one function."""
    parts = [f"# {entry.name}", said(entry)]
    if entry.name in EQUALS:
        parts += [_equals(EQUALS[entry.name]), _EVERYWHERE if entry.row else ""]
    if entry.row:
        parts.append("## Other names\n\n" + "\n".join(_names(entry.row, keyed)))
    if PEERS.get(entry.name):
        parts.append(f"## In other libraries\n\n{_peers(PEERS[entry.name])}")
    return "\n\n".join(part for part in parts if part) + "\n"


def families(public: Sequence[Entry]) -> dict[str, list[Entry]]:
    """Group the entries under the headings of the reference."""
    grouped: dict[str, list[Entry]] = {heading: [] for heading in FAMILIES.values()}
    for entry in public:
        grouped.setdefault(FAMILIES.get(entry.family, entry.family), []).append(entry)
    return {heading: chosen for heading, chosen in grouped.items() if chosen}


def index(public: Sequence[Entry]) -> str:
    """Render the list of all functions."""
    parts = [
        "# Reference\n\nEvery function of `torchinit`. The names of `torch.nn.init` have its signatures; "
        "`tensor` is filled and returned.\n\n"
        "By key: [torchinit.keyed](keyed.md). Whole models: [torchinit.recipes](recipes.md). "
        "C++ and mobile: [torchinit.deploy](deploy.md). By the names of other libraries: [peers](peers.md)."
    ]
    for heading, chosen in families(public).items():
        body = [[f"[`{e.name}`]({e.name}.md)", markdown(e.text.summary)] for e in chosen]
        parts.append(f"## {heading}\n\n{rows(['function', 'what it does'], body)}")
    private = ", ".join(f"`{row.name}`" for row in FUNCTIONS if not row.public)
    parts.append(
        f"## Private names\n\nOther packages import these from `torch.nn.init`, and they are here too: {private}."
    )
    return "\n\n".join(parts) + "\n"


def sorted_by(theirs: str) -> str:
    """Drop what does not help to find a name: the module, the arguments, the case and the underscores."""
    return theirs.partition("(")[0].rpartition(".")[2].lower().replace("_", "")


def peers_index() -> str:
    """Render every name of every other library in alphabetical order, with ours."""
    parts = [
        f"# Coming from {', '.join(list(LIBRARIES)[:-1])} or {list(LIBRARIES)[-1]}\n\n"
        "Their names, in alphabetical order, and what to write here for the same distribution. "
        "`w` is a weight, `b` a bias."
    ]
    for library, about in LIBRARIES.items():
        # A class and the string for it stand in one row.
        grouped: dict[tuple[str, str, str], list[str]] = {}
        for name, peers in PEERS.items():
            for peer in peers:
                if peer.library == library:
                    ours = f"[`{peer.ours}`]({name}.md) {peer.note}".rstrip()
                    grouped.setdefault((sorted_by(peer.theirs), name, ours), []).append(f"`{peer.theirs}`")
        body = [[" ".join(names), ours] for (_, _, ours), names in sorted(grouped.items())]
        parts.append(f"## {library}\n\n{about}\n\n{rows(['there', 'here'], body)}")
    return "\n\n".join(parts) + "\n"
