"""The head of a report: whether the initialization is any good, in words and numbers."""

from collections.abc import Iterator

from torchinit._core.table import counted, in_bytes, rounded
from torchinit.diagnostics._report._advice import for_fault, for_note, for_trend
from torchinit.diagnostics._report._facts import Facts, memory
from torchinit.diagnostics._report._html import TIMES, Html, joined, tag
from torchinit.diagnostics._report._kinds import Kind
from torchinit.diagnostics._trend import Way
from torchinit.recording._findings import listed, short

_UNMEASURED = "The signal was not measured, which takes an input for the model."


def _problems(facts: Facts) -> Iterator[str]:
    """Yield what is wrong, a sentence each."""
    marked = sum(row.bad for row in facts.rows)
    if marked:
        are = "is" if marked == 1 else "are"
        yield f"{marked:,} of {len(facts.rows):,} tensors {are} what no sound initialization gives."
    lost: dict[str, list[str]] = {}
    for way, fitted in facts.lost:
        lost.setdefault(fitted.verdict, []).append(f"{way.what}s")
    for verdict, found in lost.items():
        yield f"The {' and the '.join(found)} {'are not finite' if verdict == 'not finite' else verdict}."
    layers = {name for names in _other_faults(facts).values() for name in names}
    if layers:
        yield f"The signal does not arrive at {counted(len(layers), 'layer')}."
    if facts.others and facts.intent is not None:
        count = sum(len(kind.rows) for kind in facts.others)
        yield f"{counted(count, 'tensor')} {'is' if count == 1 else 'are'} not as {facts.intent.source} says."
    if facts.faults:
        yield f"The audit of the model's code finds {counted(len(facts.faults), 'fault')}."


def judged(facts: Facts) -> list[str]:
    """Say whether the initialization is any good, in a sentence or a few."""
    problems = list(_problems(facts))
    if problems:
        return problems
    if not facts.rows:
        return ["The model has no parameters, so there is nothing to judge."]
    if facts.is_without_numbers:
        return ["No tensor has values yet, so there is nothing to judge but the plan."]
    nothing = "Nothing is wrong with this initialization, as far as it was measured."
    if facts.intent is not None and not facts.intent.of:
        return [nothing, f"No tensor was compared, because {facts.intent.source} says nothing of any."]
    return [nothing]


def _verdict(facts: Facts) -> Html:
    first, *more = judged(facts)
    words = [tag("p", tag("strong", first)), *(tag("p", sentence) for sentence in more)]
    if facts.signal is None and facts.rows:
        words.append(tag("p", _UNMEASURED, class_="soft"))
    return tag("div", *words, class_="verdict is-bad" if any(_problems(facts)) else "verdict")


def _facts(facts: Facts) -> Html:
    total = memory(facts.model)
    marked = sum(row.bad for row in facts.rows)
    shown: list[tuple[str, str, str, bool]] = [
        ("Tensors", f"{len(facts.rows):,}", f"parameters, {counted(len(facts.kinds), 'kind')}", False),
        ("Values", rounded(facts.values), "", False),
        (
            "Memory",
            in_bytes(sum(x.nbytes for x in total)),
            ", ".join(dict.fromkeys(x.dtype for x in total)),
            False,
        ),
        ("Marked", f"{marked:,}", "" if marked else "nothing", bool(marked)),
    ]
    lost = [way for way, _ in facts.lost]
    for way in facts.ways:
        fitted = way.trend
        number = "-" if fitted is None or not fitted.factor > 0.0 else f"{TIMES}{fitted.factor:.3g}"
        per = "" if number == "-" or fitted is None else f"per {fitted.step}: "
        about = "too few layers for a trend" if fitted is None else per + fitted.verdict
        shown.append((f"Signal {way.direction}", number, about, way in lost))
    if facts.intent is not None:
        compared = [kind.agrees for kind in facts.kinds for _ in kind.rows if kind.agrees is not None]
        about = f"of {len(compared):,} compared" if compared else "nothing to compare"
        shown.append(("As meant", f"{sum(compared):,}", about, not all(compared)))
    cells = [
        tag(
            "div", tag("dt", name), tag("dd", number, tag("small", about) if about else ""), class_="bad" if bad else ""
        )
        for name, number, about, bad in shown
    ]
    return tag("dl", *cells, class_="facts")


def summary(facts: Facts) -> Html:
    """Say whether the initialization is any good, and how large the model is."""
    return joined(_verdict(facts), _facts(facts))


def _mark(name: str, what: str, advice: str, link: str = "") -> Html:
    heading = tag("h3", tag("a", name, href=f"#{link}") if link else name)
    return tag("li", heading, tag("p", what, class_="what"), tag("p", advice) if advice else "")


def _said(kind: Kind) -> str:
    verdict = kind.verdict
    others = len({row.verdict for row in kind.rows}) - 1
    return f"{verdict}; the others are alike" if others else verdict


def marked(facts: Facts) -> Html:
    """Say what is marked, why, and what to do about it."""
    marks = [_mark(kind.heading, _said(kind), for_fault(kind.verdict), kind.id) for kind in facts.bad]
    for kind in facts.others:
        marks.append(_mark(kind.heading, unlike(kind), _UNLIKE, kind.id))
    for way, fitted in facts.lost:
        name = f"{way.what}s"
        marks.append(_mark(name.capitalize(), f"{fitted}{_first(facts, way)}", for_trend(name, fitted), "signal"))
    for note, names in _other_faults(facts).items():
        marks.append(_mark(listed(names), f"{note}, at {counted(len(names), 'layer')}", for_note(note), "signal"))
    for finding in facts.faults:
        place = f" ({short(finding.place)})" if finding.place else ""
        marks.append(_mark(finding.tensor or "The code", finding.what + place, f"{finding.right.capitalize()}."))
    if not marks:
        return tag("p", "Nothing is marked." if facts.rows else "There is nothing to mark.")
    return tag("ul", *marks, class_="marks")


_UNLIKE = "Something wrote other values than it should: look for a second initializer, a checkpoint, or training."


def unlike(kind: Kind) -> str:
    """Say how a kind differs from what it is meant to be."""
    assert kind.meant is not None
    std = "" if kind.meant.std is None else f", std {kind.meant.std:.3g}"
    return f"mean {kind.span('mean')}, std {kind.span('std')}; meant: {kind.meant.words}{std}"


def _first(facts: Facts, way: Way) -> str:
    """Name the layer at which a signal is lost, in the order in which it passes them."""
    found = [row.label for row, fault in zip(facts.signal or (), way.faults) if fault]
    return f", first at {found[0 if way.direction == 'forward' else -1]}" if found else ""


def _other_faults(facts: Facts) -> dict[str, list[str]]:
    """Return the layers of the signal by what is wrong there, without what a trend explains."""
    found: dict[str, list[str]] = {}
    for way in facts.ways:
        verdict = way.trend.verdict if way.trend else ""
        for row, fault in zip(facts.signal or (), way.faults):
            if fault and fault != _EXPLAINED.get(verdict, verdict):
                found.setdefault(f"{way.what} {fault}", []).append(row.label)
    return found


_EXPLAINED = {"vanish": "vanished", "explode": "exploded"}
