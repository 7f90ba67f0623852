"""The parts of a report below its head."""

from torchinit._core.table import Cell, counted, dtype_name, in_bytes, text
from torchinit.diagnostics._report._facts import Facts, memory
from torchinit.diagnostics._report._histogram import histogram
from torchinit.diagnostics._report._html import TIMES, Html, Number, code, details, joined, table, tag
from torchinit.diagnostics._report._kinds import Kind
from torchinit.diagnostics._report._meant import Intent
from torchinit.diagnostics._report._scales import scales
from torchinit.diagnostics._report._summary import unlike
from torchinit.diagnostics._signal import Signal
from torchinit.diagnostics._trend import notes, path
from torchinit.recording._findings import short

# More pictures make no page that people read; the table has all kinds.
MAX_PANELS = 150
# Longer tables are closed at first.
_LONG = 24

_WASTED = "Draws of which nothing is left cost time when the model is built, and nothing afterwards."


def _folded(words: str, written: Html, rows: int) -> Html:
    return written if rows <= _LONG else details(words, written)


def meant(facts: Facts) -> Html:
    """Show the plan of a recipe, or what the recorded code does."""
    parts: list[str] = []
    shown = [facts.intent] if facts.recorded in (None, facts.intent) else [facts.intent, facts.recorded]
    for intent in filter(None, shown):
        parts += _intent(intent)
    return joined(*parts)


def _intent(intent: Intent) -> list[str]:
    lead = tag("p", f"What {intent.source} makes of each parameter and buffer; repeated layers are one row.")
    rows = table(intent.columns, intent.lines)
    note = tag("p", intent.note, class_="soft") if intent.note else ""
    return [lead, _folded(f"All {counted(len(intent.lines), 'row')}", rows, len(intent.lines)), note]


def _lines(kind: Kind) -> list[str]:
    """Say in a few lines what a kind is, beside its picture."""
    first = kind.first
    dtype = dtype_name(first.dtype)
    lines = [f"{text(first.shape)} {dtype}, std {kind.span('std')}"]
    if kind.verdict:
        lines.append(kind.verdict)
    if kind.agrees is False:
        lines.append(f"not as meant: {unlike(kind).partition('meant: ')[2]}")
    elif kind.meant is not None:
        lines.append(f"{'as meant' if kind.agrees else 'meant'}: {kind.meant.words}")
    return lines


def _panel(kind: Kind) -> Html:
    said = [tag("p", line, class_="what" if kind.is_bad and i == 1 else "soft") for i, line in enumerate(_lines(kind))]
    heading = tag("h3", kind.heading)
    return tag("section", heading, *said, histogram(kind), class_="panel bad" if kind.is_bad else "panel", id=kind.id)


def _row(kind: Kind, with_meant: bool) -> list[Cell]:
    first = kind.first
    cells: list[Cell] = [kind.heading, first.shape]
    cells += [Number(kind.span(column)) for column in ("mean", "std", "min", "max")]
    meant = [kind.meant.words if kind.meant else None] if with_meant else []
    agrees = {True: "yes", False: "no", None: None}[kind.agrees]
    return [*cells, *meant, *([agrees] if with_meant else []), kind.verdict or None]


def _numbers(found: list[Kind], with_ids: bool, with_meant: bool) -> Html:
    columns = ["tensor", "shape", "mean", "std", "min", "max"]
    columns += ["meant", "as meant"] * with_meant + ["verdict"]
    ids = {i: kind.id for i, kind in enumerate(found) if with_ids}
    bad = [i for i, kind in enumerate(found) if kind.is_bad]
    return table(columns, [_row(kind, with_meant) for kind in found], bad, ids)


def _key(facts: Facts, drawn: list[Kind]) -> Html:
    box = '<svg viewBox="0 0 28 12" aria-hidden="true"><title>{}</title><path d="{}" class="{}"/></svg>'
    items = [tag("li", Html(box.format("bar", "M0 12V2H28V12", "values")), "values")]
    if any(kind.cdf is not None for kind in drawn):
        of = facts.intent.source if facts.intent is not None else "the distribution that the values are like"
        items.append(tag("li", Html(box.format("line", "M0 6H28", "meant")), f"density of {of}"))
    return tag("ul", *items, class_="key")


def distributions(facts: Facts) -> Html:
    """Show how the values of each kind of parameter are distributed."""
    with_meant = facts.intent is not None
    drawn = sorted((k for k in facts.kinds if k.has_numbers and not k.is_constant), key=lambda k: not k.is_bad)
    rest = [kind for kind in facts.kinds if kind not in drawn]
    parts: list[str] = []
    if drawn:
        panels = [_panel(kind) for kind in drawn[:MAX_PANELS]]
        parts += [_key(facts, drawn), tag("div", *panels, class_="panels")]
        if len(drawn) > MAX_PANELS:
            parts.append(tag("p", f"{len(drawn) - MAX_PANELS:,} more kinds are in the table only.", class_="soft"))
        numbers = _numbers(drawn, False, with_meant)
        parts.append(details(f"The same in numbers: {counted(len(drawn), 'kind')}", numbers))
    if rest:
        parts.append(tag("h3", "Constant, empty or without numbers"))
        parts.append(_folded(f"All {counted(len(rest), 'kind')}", _numbers(rest, True, with_meant), len(rest)))
    return joined(*parts)


def signal(facts: Facts) -> Html:
    """Show the scale of the signal at each layer, forward and backward."""
    rows = facts.signal
    if rows is None or not rows:
        return Html("")
    figures = []
    for way in facts.ways:
        caption = tag("figcaption", tag("strong", f"{way.direction.capitalize()}: {way.what}s"), way.words)
        figures.append(tag("figure", caption, scales(rows, way)))
    lines: list[list[Cell]] = [
        [
            *(code(row.label), row.kind, row.output, row.activation, row.activation_ratio, row.gradient),
            *(row.gradient_ratio, row.weight, row.weight_gradient, note or None),
        ]
        for row, note in zip(rows, notes(rows))
    ]
    columns = ["layer", "type", "output", "activation", TIMES, "gradient", TIMES, "weight", "its gradient", "note"]
    listed = table(columns, lines, [i for i, row in enumerate(rows) if rows.is_marked(row)])
    numbers = details(f"All {counted(len(rows), 'row')} in numbers", listed)
    return joined(tag("p", _lead(rows)), tag("div", *figures, class_="pair"), numbers)


def _lead(rows: Signal) -> str:
    """Explain the pictures of a signal."""
    said = "Root mean square of each layer's output and of the gradient there, on noise, in the order of execution."
    if len(path(rows)) < len(rows):
        said += " The line is the residual stream; the dots beside it are the layers of its branches."
    said += " The dashed line is the trend; gradients come from the right."
    meant = sum(bool(row.activation_zeroed_by or row.gradient_zeroed_by) for row in rows)
    if meant:
        said += f" {counted(meant, 'row')} {'is' if meant == 1 else 'are'} zero on purpose, in grey at the bottom."
    return said + (" Squares are marked." if any(map(rows.is_marked, rows)) else "")


def overwritten(facts: Facts) -> Html:
    """Show the draws of which nothing is left, and what else an audit finds and is no fault."""
    if facts.recorded is None:
        return Html("")
    found = [finding for finding in facts.findings if finding not in facts.faults]
    draws = [finding for finding in found if finding.kind == "overwritten"]
    others = [finding for finding in found if finding.kind != "overwritten"]
    parts = [tag("p", _WASTED if draws else "Every draw of the recorded code reaches a tensor of the model.")]
    for listed in filter(None, (draws, others)):
        rows: list[list[Cell]] = [[x.tensor or None, x.what, short(x.place) or None, x.right] for x in listed]
        parts.append(table(["tensor", "what", "line of code", "instead"], rows))
    return joined(*parts)


def costs(facts: Facts) -> Html:
    """Show the memory of the model by type, and how long a draw of it takes."""
    lines: list[list[Cell]] = [
        [x.kind, x.dtype, x.tensors, Number(f"{x.values:,}"), Number(in_bytes(x.nbytes))] for x in memory(facts.model)
    ]
    parts: list[str] = [table(["of", "type", "tensors", "values", "memory"], lines)] if lines else []
    if facts.seconds:
        times: list[list[Cell]] = [[how, Number(f"{seconds:.3g} s")] for how, seconds in facts.seconds.items()]
        parts.append(tag("div", table(["a draw of all tensors", "time"], times), id="times"))
    return joined(*parts)
