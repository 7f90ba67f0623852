"""The findings as a page of tables."""

from collections.abc import Iterable, Sequence
from typing import Any

Row = dict[str, Any]
_VERDICTS = {True: "met", False: "**not met**", None: "not measured"}


def _table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    lines = [list(header), ["---"] * len(header), *rows]
    cells = [[str(cell).replace("|", "\\|").replace("\n", " ") for cell in line] for line in lines]
    return ["| " + " | ".join(line) + " |" for line in cells]


def _number(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:.3g}"


def _ending(section: Row) -> str:
    """Say how a section ended."""
    lines = section["error"].strip().splitlines()
    parts = [f"cut: {section['cut']}" if section["cut"] else "", f"error: {lines[-1]}" if lines else ""]
    return "; ".join(filter(None, parts)) or "whole"


def _outcomes(section: Row) -> list[Any]:
    counts = [sum(row.get(outcome, 0) for row in section["rows"]) for outcome in ("passed", "skipped")]
    return [*counts, section["failed"]]


def _functions(rows: list[Row]) -> list[str]:
    lines = []
    for row in rows:
        if "error" in row:
            lines.append([row["function"], row["shape"], row["error"], *[""] * 5])
            continue
        theirs, ours = row["theirs"], row["ours"]
        waits = "ours" if ours["waits"] and not theirs["waits"] else "both" if ours["waits"] else ""
        memory = [f"{side['extra_bytes'] / 2**20:.1f}" for side in (theirs, ours)]
        times = [_number(side["median"]) for side in (theirs, ours)]
        lines.append([f"`{row['function']}`", row["shape"], *times, f"{row['ratio']:.2f}", *memory, waits])
    return _table(("function", "float32", "upstream ms", "ms", "ratio", "upstream MiB", "MiB", "waits"), lines)


def _bandwidth(rows: list[Row]) -> list[str]:
    lines = []
    for row in rows:
        if "seconds" in row:
            lines.append([row["call"], "", "", f"{row['seconds']:.1f} s", ""])
        elif "error" in row:
            lines.append([row["call"], row["shape"], row["dtype"], row["error"], ""])
        else:
            speed = f"{row['bytes_per_second'] / 1e12:.2f} TB/s"
            lines.append([row["call"], row["shape"], row["dtype"], speed, f"{row['of_copy']:.2f}"])
    return _table(("call", "shape", "dtype", "writes", "of a copy"), lines)


def _models(rows: list[Row]) -> list[str]:
    lines = []
    for row in rows:
        if "error" in row:
            lines.append([row["model"], row["error"], "", ""])
        for way, timing in row.items():
            if isinstance(timing, dict):
                extra = f"{timing['extra_bytes'] / 2**20:.0f}"
                lines.append([row["model"], way, _number(timing["median"]), extra])
    return _table(("model, bfloat16", "how", "ms", "MiB beside"), lines)


def _distances(rows: list[Row]) -> list[str]:
    names = [f"{way}_{what}" for way in ("cpu", "compiled") for what in ("unequal", "ulps", "absolute")]
    lines = [
        [f"`{row['function']}`", row["dtype"], row["error"], *[""] * 5]
        if "error" in row
        else [f"`{row['function']}`", row["dtype"], *[_number(row[name]) for name in names]]
        for row in rows
    ]
    header = (
        "by key",
        "dtype",
        "differ from the CPU",
        "ulp",
        "absolute",
        "compiled: differ from eager",
        "ulp",
        "absolute",
    )
    return _table(header, lines)


_TABLES = {"functions": _functions, "bandwidth": _bandwidth, "models": _models, "distances": _distances}
_TITLES = {
    "functions": "Functions",
    "bandwidth": "Bytes a second",
    "models": "Whole models",
    "distances": "Values by key",
}


def page(found: Row) -> str:
    """Write the page: goals, sections, failures, and a table for each measurement."""
    machine, sections = found["machine"], found["sections"]
    where = f"{machine.get('card', 'unknown card')}, torch {machine.get('torch')}, Triton {machine.get('triton')}"
    if "driver" in machine:
        where += f", driver {machine['driver']}, CUDA {machine['cuda']}"
    lines = [
        "# On a GPU",
        "",
        f"`{found['command']}` on {where}, Python {machine.get('python')}, in {found['seconds']:.0f} s. Times are medians.",
        "",
        *_table(
            ("goal", "measured", ""), [(row["goal"], row["measured"], _VERDICTS[row["met"]]) for row in found["goals"]]
        ),
        "",
        "## Sections",
        "",
        *_table(
            ("section", "s", "passed", "skipped", "failed", ""),
            [[row["name"], f"{row['seconds']:.0f}", *_outcomes(row), _ending(row)] for row in sections],
        ),
    ]
    failures = [
        (row["name"], each["failure"], each["error"]) for row in sections for each in row["rows"] if "failure" in each
    ]
    if failures:
        lines += ["", "## Failures", "", *_table(("section", "test", "error"), failures)]
    for section in sections:
        if section["rows"] and section["name"] in _TABLES:
            lines += ["", f"## {_TITLES[section['name']]}", "", *_TABLES[section["name"]](section["rows"])]
    return "\n".join(lines) + "\n"
