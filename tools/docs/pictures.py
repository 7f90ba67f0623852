"""Draws the guide's pictures from runs, made when the site is first built."""

import io
import itertools
import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor

import torchinit
from torchinit import diagnostics
from torchinit.diagnostics._plots import render

_WIDTH, _LAYERS, _BATCH = 512, 50, 256
# Stop below this scale: nothing is visible there, and subnormal numbers are slow.
_FLOOR = 1e-9
_VALUES = 500_000
# Readable on a light and on a dark page; the pictures are transparent.
_INK = "#808690"
_COLORS = {"blue": "#3d85c6", "orange": "#e69f00", "green": "#00a078", "red": "#d9541e", "pink": "#cc79a7"}

_Name = Literal["tanh", "relu", "gelu"]
_NONLINEARITIES: Mapping[_Name, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "gelu": torch.nn.functional.gelu,
}
Scheme = Callable[[Tensor, _Name, torch.Generator], Tensor]
_SCHEMES: Mapping[str, tuple[Scheme, str, str]] = {
    "normal_, std 0.01": (lambda w, _, g: torchinit.normal_(w, 0.0, 0.01, g), _INK, "-"),
    "xavier_normal_": (lambda w, _, g: torchinit.xavier_normal_(w, 1.0, g), _COLORS["orange"], "-"),
    "lecun_normal_": (lambda w, _, g: torchinit.lecun_normal_(w, g), _COLORS["red"], "--"),
    "kaiming_normal_, relu": (
        lambda w, _, g: torchinit.kaiming_normal_(w, nonlinearity="relu", generator=g),
        _COLORS["blue"],
        "-",
    ),
    "kaiming_normal_, gelu": (
        lambda w, _, g: torchinit.kaiming_normal_(w, nonlinearity="gelu", generator=g),
        _COLORS["green"],
        "-",
    ),
    "orthogonal_, own gain": (
        lambda w, f, g: torchinit.orthogonal_(w, torchinit.calculate_gain(f), g),
        _COLORS["pink"],
        "--",
    ),
}


def scales(nonlinearity: _Name, scheme: Scheme) -> list[float]:
    """Return the standard deviation of the activations after each layer of an MLP, until it has vanished."""
    generator, apply = torch.Generator().manual_seed(0), _NONLINEARITIES[nonlinearity]
    weight = torch.empty(_WIDTH, _WIDTH)
    x = apply(torch.randn(_BATCH, _WIDTH, generator=generator))
    found = [x.std().item()]
    while len(found) <= _LAYERS and found[-1] > _FLOOR:
        x = apply(x @ scheme(weight, nonlinearity, generator).T)
        found.append(x.std().item())
    return found


def tail(fill: Callable[..., Tensor]) -> tuple[list[float], list[float]]:
    """Return edges and densities of a bfloat16 normal that is truncated to [3, 10]."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values = fill(torch.empty(_VALUES, dtype=torch.bfloat16), 0.0, 1.0, 3.0, 10.0, torch.Generator().manual_seed(0))
    # Edges lie half of bfloat16's spacing before each multiple of 1/8, so that a bin holds all that rounds into it.
    marks = [3.0 + i / 8 for i in range(57)]
    edges = [mark - (1 / 128 if mark <= 4 else 1 / 64 if mark <= 8 else 1 / 32) for mark in marks]
    counts = torch.histogram(values.double(), torch.tensor(edges, dtype=torch.float64)).hist.tolist()
    widths = [high - low for low, high in itertools.pairwise(edges)]
    return edges, [count / _VALUES / width for count, width in zip(counts, widths, strict=True)]


def _axes(height: float, count: int = 1) -> tuple[Any, Any]:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    ink = dict.fromkeys(["text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"], _INK)
    # Narrow, for a phone; the salt makes the bytes reproducible.
    with plt.rc_context({**ink, "font.size": 10, "svg.hashsalt": "torchinit", "axes.spines.top": False}):
        figure, axes = plt.subplots(count, figsize=(4.6, height), sharex=True, layout="constrained", squeeze=False)
    for each in axes[:, 0]:
        each.set_yscale("log")
        each.grid(color=_INK, alpha=0.25, linewidth=0.6)
        each.spines[["top", "right"]].set_visible(False)
    return figure, axes[:, 0]


def _svg(figure: Any) -> str:
    from matplotlib import pyplot as plt

    with io.StringIO() as file:
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
        plt.close(figure)
        return file.getvalue()


def _draw_scales() -> str:
    figure, axes = _axes(8.0, len(_NONLINEARITIES))
    for nonlinearity, each in zip(_NONLINEARITIES, axes, strict=True):
        for name, (scheme, color, style) in _SCHEMES.items():
            each.plot(scales(nonlinearity, scheme), style, color=color, linewidth=1.8, label=name)
        each.set_ylim(_FLOOR, 1e3)
        each.set_title(nonlinearity, loc="left", fontsize=11)
    axes[-1].set_xlabel("layer")
    axes[0].legend(
        loc="lower left", bbox_to_anchor=(-0.12, 1.12), ncols=2, frameon=False, fontsize=9.5, labelcolor=_INK
    )
    figure.supylabel("standard deviation of the activations", color=_INK, fontsize=10)
    return _svg(figure)


def _draw_tail() -> str:
    figure, (axes,) = _axes(3.6)
    for name, fill, color in (
        ("torch.nn.init", torch.nn.init.trunc_normal_, _COLORS["red"]),
        ("torchinit", torchinit.trunc_normal_, _COLORS["blue"]),
    ):
        edges, densities = tail(fill)
        axes.stairs(densities, edges, color=color, linewidth=1.8, label=name)
    points = [3 + i / 100 for i in range(301)]
    # The density of the normal, over its mass above 3; that above 10 is 1e-20 of it.
    mass = 0.5 * math.erfc(3 / math.sqrt(2))
    exact = [math.exp(-0.5 * x * x) / math.sqrt(2 * math.pi) / mass for x in points]
    axes.plot(points, exact, "--", color=_INK, linewidth=1.4, label="exact density")
    axes.set_ylim(2e-6, 10)
    axes.set_xlabel("value")
    axes.set_ylabel("density")
    axes.legend(frameon=False, labelcolor=_INK)
    return _svg(figure)


def _tanh_net(seed: int, gain: float = 1.0) -> torch.nn.Module:
    """Build the model of the guide's first question, which has copied rows."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = torch.nn.Linear(128, 256), torch.nn.Linear(256, 256), torch.nn.Linear(256, 4)
        for layer in layers:
            torchinit.xavier_normal_(layer.weight, gain)
    layers[1].weight.data[:32] = layers[1].weight.data[32:64]
    return torch.nn.Sequential(layers[0], torch.nn.Tanh(), layers[1], torch.nn.Tanh(), layers[2])


# One column, so that a phone shows the text at the size that it is drawn in.
def _draw_statistics() -> str:
    return render(diagnostics.statistics(_tanh_net(0)).plot(columns=1), "svg").decode()


def _draw_comparison() -> str:
    return render(diagnostics.compare(_tanh_net(0), _tanh_net(1, 1.5)).plot(columns=1), "svg").decode()


def _draw_signal() -> str:
    """Draw the signal in a Transformer of which the last branch starts at 0."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer = torch.nn.TransformerEncoderLayer(64, 4, 256, 0.0, "gelu", batch_first=True, norm_first=True)
        stack = torch.nn.TransformerEncoder(layer, 2, torch.nn.LayerNorm(64), enable_nested_tensor=False)
        torch.nn.init.zeros_(stack.layers[1].linear2.weight)
        torch.nn.init.zeros_(stack.layers[1].linear2.bias)
        rows = diagnostics.signal(stack, torch.randn(8, 16, 64))
    return render(rows.plot("The last branch starts at 0", columns=1), "svg").decode()


# File name of a picture: the function that draws it as SVG.
PICTURES: Mapping[str, Callable[[], str]] = {
    "scales.svg": _draw_scales,
    "tail.svg": _draw_tail,
    "statistics.svg": _draw_statistics,
    "comparison.svg": _draw_comparison,
    "signal.svg": _draw_signal,
}
