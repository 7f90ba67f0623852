"""The page of a report: one file of HTML, with nothing from elsewhere."""

import platform

import torch

import torchinit
from torchinit.diagnostics._report._facts import Facts
from torchinit.diagnostics._report._html import Html, joined, tag
from torchinit.diagnostics._report._sections import costs, distributions, meant, overwritten, signal
from torchinit.diagnostics._report._style import STYLE
from torchinit.diagnostics._report._summary import marked, summary

_HEAD = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width,initial-scale=1"><meta name="color-scheme" content="light dark">'
)
# The parts of a page: the name in links, the heading, and what writes it.
_PARTS = (
    ("marked", "What is marked", marked),
    ("meant", "What was meant", meant),
    ("distributions", "Distributions", distributions),
    ("signal", "Signal", signal),
    ("overwritten", "Overwritten draws", overwritten),
    ("memory", "Memory", costs),
)


def page(facts: Facts) -> str:
    """Write the page; a part that has nothing to say is left out."""
    parts = [(id, heading, write(facts)) for id, heading, write in _PARTS]
    shown = [(id, heading, written) for id, heading, written in parts if written]
    links = tag("ul", *(tag("li", tag("a", heading, href=f"#{id}")) for id, heading, _ in shown))
    kind = type(facts.model).__name__
    kicker = ["Initialization report", *([kind] if kind not in (facts.title, "Module") else []), facts.date]
    header = tag(
        "header",
        tag("p", " · ".join(filter(None, kicker)), class_="kicker"),
        tag("h1", facts.title),
        summary(facts),
        tag("nav", links, aria_label="Parts of this report"),
    )
    sections = [tag("section", tag("h2", heading, id=id), written) for id, heading, written in shown]
    made = f"torchinit {torchinit.__version__}, torch {torch.__version__}, Python {platform.python_version()}"
    body = tag("body", tag("main", header, *sections, tag("footer", made)))
    style = Html(f"<style>{STYLE}</style>")
    return joined(
        Html(_HEAD),
        tag("title", f"{facts.title}: initialization report"),
        style,
        Html("</head>"),
        body,
        Html("</html>\n"),
    )
