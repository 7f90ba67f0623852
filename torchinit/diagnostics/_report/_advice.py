"""What to do about what is marked, in a sentence each."""

import re

from torchinit.diagnostics._trend import Trend

_UNITS = "Units that are equal get equal gradients and stay equal; draw every row anew."

# What to do for each fault of a verdict, the first that matches.
_FAULTS: tuple[tuple[str, str], ...] = (
    (
        r"not finite",
        "Find what wrote NaN or infinity: an initializer with a wrong argument, memory that nothing filled, or a training"
        " run that diverged. Then draw it anew.",
    ),
    (r"too large to be measured", "Its values overflow; divide them by a scale, or draw it anew."),
    (
        r"constant \S+, and so is",
        "Neither of the two gets a gradient while the other one is zero, so the branch never learns; draw one of them.",
    ),
    (r"constant ", "All units of the layer compute the same and get the same gradient forever; draw it at random."),
    (r"all \d+ rows are equal", "Every index gives the same vector; draw the table at random."),
    (r"\d+ of \d+ rows are 0", "These units give nothing; if no pruning or padding meant that, draw the rows anew."),
    (r"\d+ of \d+ columns are 0", "These inputs are ignored; if no pruning meant that, draw the columns anew."),
    (r"\d+ of \d+ rows are copies", _UNITS),
    (r"\d+ of \d+ rows are constant", "Such a unit weighs all of its inputs alike; draw every row anew."),
    (
        r"\d+ of \d+ columns are copies",
        "Inputs with equal weights cannot be told apart; keep the copies only if the inputs do repeat.",
    ),
    (
        r"[\d.]+% of the values are 0",
        "No mask and no sparse_ gives these zeros; look for a ReLU or a dropout on the weights.",
    ),
    (r"[\d.]+% of the values lie on a bound", "Something clamped the draw; use trunc_normal_ in place of a clamp."),
    (r"mean \S+ is far from 0", "A weight with a mean shifts all units alike; draw it around 0."),
    (
        r"rank \d+ of \d+",
        "The layer lets few directions through; draw it whole, or make it a low-rank layer on purpose.",
    ),
    (
        r"only \d+ different values",
        "The values were rounded to a grid; draw in a wider type, and quantize after training.",
    ),
    (
        r"outliers",
        "No draw gives such values; look for a bound at infinity, an inverse near 0, or a write to single values.",
    ),
    (
        r"(row|column) \d+ is ",
        "One unit or input is scaled unlike the others; look for a write to a part of the weight.",
    ),
    (
        r"std \S+ is .* x He",
        "Draw it anew with the fans of its layer, for example by kaiming_normal_ or xavier_uniform_.",
    ),
)
_OTHER = "Compare how it was drawn with how its layer uses it, and draw it anew."

# What to do for each word of a note of a probe.
_NOTES: tuple[tuple[str, str], ...] = (
    ("not finite", "Look for NaN or infinity in the weights of this layer and of those before it."),
    ("vanish", "Raise the scale of the layers, or add a normalization: the first layers hardly learn."),
    ("explode", "Lower the scale of the layers, or add a normalization: one learning rate cannot serve all of them."),
    (
        "zero",
        "Nothing passes here. If a weight after it is zero on purpose, such as a last norm or a head, training moves it"
        " first; if not, draw that weight.",
    ),
)


def for_fault(verdict: str) -> str:
    """Say what to do about a parameter that is marked, by its verdict."""
    return next((said for pattern, said in _FAULTS if re.match(pattern, verdict)), _OTHER)


def for_note(note: str) -> str:
    """Say what to do about a row of a probe, by its note."""
    return next((said for word, said in _NOTES if word in note), "Look at the layers before it.")


def for_trend(what: str, fitted: Trend) -> str:
    """Say what to do about a signal that vanishes or explodes."""
    if fitted.verdict == "not finite":
        return f"The {what} are not finite. {_NOTES[0][1]}"
    if fitted.factor == 0.0:
        return f"The {what} {fitted.verdict}. {for_note(fitted.verdict)}"
    said = f"The {what} {fitted.verdict}: each {fitted.step} multiplies their scale by {fitted.factor:.3g}."
    # A sum has the stream in it as well, which no weight scales.
    if fitted.step == "layer":
        said += f" Weights {1.0 / fitted.factor:.3g} times as large would keep it."
    return f"{said} {for_note(fitted.verdict)}"
