"""Do the plots show every parameter and every layer, and can they be read?"""

import math
import sys
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

import torchinit
from tests.support.inspection import draw
from tests.support.residual_models import Residual
from tests.support.signal_models import he, tower
from torchinit.diagnostics import plot_signal, plot_statistics, signal, statistics
from torchinit.diagnostics._plots import distinct, render


def _page(state: dict[str, Tensor], **more: Any) -> Figure:
    return plot_statistics(state, statistics(state), **more)


def _texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


def test_each_parameter_has_a_panel_with_its_verdict() -> None:
    layer, told = nn.Linear(20, 30), []
    figure = plot_statistics(layer, statistics(layer), title="net.pt", progress=lambda *step: told.append(step))
    assert len(figure.axes) == 2
    assert _texts(figure)[:4] == ["net.pt", "2 parameters", "weight", "30x20, uniform, bound 0.224 = torch's default"]
    assert told == [("drawing", "weight", 2), ("drawing", "bias", 2)]
    assert "matplotlib.pyplot" not in sys.modules


def test_second_values_share_the_bins_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchinit.diagnostics._moments._CHUNK", 100)
    values, others = draw("uniform_", (40, 30), a=-0.1, b=0.1), draw("xavier_uniform_", (40, 30))
    figure = _page({"weight": values, "bias": torch.zeros(30)}, others={"weight": others}, label="recipe xavier")
    stairs = [patch.get_data() for patch in figure.axes[0].patches]
    low, high = (f(torch.cat([values, others]).double()).item() for f in (torch.min, torch.max))
    for (heights, edges, _), tensor in zip(stairs, (values, others), strict=True):
        counts, _ = np.histogram(tensor.double().numpy(), len(heights), (low, high))
        assert heights == pytest.approx(counts / counts.max())
        assert edges[[0, -1]] == pytest.approx([low, high])
    # A constant is a line; without a second set of values there is one curve.
    assert [list(line.get_xdata()) for line in figure.axes[1].lines] == [[0.0, 0.0]]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["values", "recipe xavier"]


def test_non_finite_values_are_left_out_of_a_panel() -> None:
    ((heights, edges, _),) = [
        p.get_data() for p in _page({"w": torch.tensor([1.0, math.nan, 3.0, math.inf, 1.0])}).axes[0].patches
    ]
    assert heights.tolist() == [1.0, 0, 0, 0, 0, 0, 0, 0.5]
    assert (edges[0], edges[-1]) == (1.0, 3.0)


@pytest.mark.parametrize(
    ("values", "count"), [(1 + torch.arange(9, dtype=torch.float64) * 1e-6, 3), (torch.full((3,), 2.25), 1)]
)
def test_ticks_have_the_digits_that_tell_them_apart(values: Tensor, count: int) -> None:
    figure = _page({"w": values})
    labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert len(set(labels)) == len(labels) >= count
    assert "2.25" in labels or count > 1
    assert _texts(figure)[1] == "1 parameter"


def test_long_name_loses_its_middle_at_dots_if_some_are_near() -> None:
    names = ["encoder." * 4 + "layer.10.weight", "x" * 60 + ".bias", "x" * 60, "a\033b"]
    shown = {"encoder.…layer.10.weight", f"{'x' * 11}…{'x' * 17}.bias", f"{'x' * 11}…{'x' * 22}", r"a\x1bb"}
    assert set(_texts(_page({name: torch.ones(2) for name in names}))[2::2]) == shown


@pytest.mark.parametrize(
    "form",
    [
        "h.{}.attn.c_proj.weight",
        "transformer.decoder.h.{}.attention.projection.weight",
        "{}" + ".inner" * 30 + ".weight",
        "outer." * 15 + "{}" + ".inner" * 15 + ".weight",
        "outer." * 30 + "{}",
        "a\nb{}",
    ],
)
def test_shortened_names_of_one_figure_differ(form: str) -> None:
    names = [form.format(number) for number in range(12)]
    for most in (20, 34, 46):
        cut = distinct(names, most)
        assert len(set(cut)) == 12
        assert max(map(len, cut)) <= most
    # Layers that differ at places too far apart for one cut are numbered.
    both = [f"{'outer.' * 20}{i}{'.inner' * 20}.{j}{'.last' * 20}" for i in range(3) for j in range(3)]
    assert len(set(distinct([*both, both[0]], 34))) == 9
    assert distinct([*both, both[0]], 34)[0] == distinct([*both, both[0]], 34)[-1]


def test_panels_show_the_standard_deviation_of_both_sets_of_values() -> None:
    values, others = draw("normal_", (40, 30), std=0.02), draw("normal_", (40, 30), std=3.0)
    figure = _page({"weight": values, "bias": torch.full((30,), 0.5)}, others={"weight": others})
    shown = [[text.get_text() for text in axes.texts] for axes in figure.axes]
    assert shown == [[f"std {t.std(correction=0):.3g}" for t in (values, others)], ["std 0"]]


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_pictures_are_the_same_each_time_and_hold_their_text(kind: str) -> None:
    rows = signal(tower(he, 3, 4), torch.randn(2, 4))
    picture = render(rows.plot("a model"), kind)
    assert picture == render(rows.plot("a model"), kind)
    if kind == "png":
        assert picture.startswith(b"\x89PNG\r\n")
    elif kind == "svg":
        words = [
            "".join(each.itertext())
            for each in ElementTree.fromstring(picture).iter("{http://www.w3.org/2000/svg}text")
        ]
        assert {"a model", "trend: one factor per layer", "0", "2", "4"} <= set(words)
    else:
        # A TrueType font with a table of its characters can be searched and copied.
        assert b"/CIDFontType2" in picture
        assert b"/ToUnicode" in picture


def test_page_holds_bad_panels_first_and_constant_ones_last_and_reports_missing_ones() -> None:
    layers = [layer for _ in range(40) for layer in (nn.Linear(3, 3), nn.LayerNorm(3))]
    torchinit.constant_(layers[-2].weight, math.nan)
    model = nn.Sequential(*layers)
    figure = plot_statistics(model, statistics(model))
    names = _texts(figure)[2::2]
    assert _texts(figure)[1] == "60 of 160 parameters; bad ones are kept first, constant ones last"
    assert len(names) == len(figure.axes) == 60
    assert names[-1] == "\u2717 78.weight"
    assert names[:4] == ["0.weight", "0.bias", "2.weight", "2.bias"]


def _corners(boxes: list[Any]) -> np.ndarray:
    """Return the lower left and the upper right corner of each box."""
    return np.array([[box.min, box.max] for box in boxes])


def _overlap(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return which boxes have a point in common with which others."""
    return ((boxes[:, None, 0] < others[None, :, 1]) & (others[None, :, 0] < boxes[:, None, 1])).all(2)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 60])
def test_no_label_of_a_page_covers_another(count: int) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    values = draw("normal_", (30, 30), std=123.456) + 1000
    parameters = count if count < 60 else 70
    names = [f"module.encoder.layers.layer.{i:03}.attention.output.WWWWWWWW.weight" for i in range(parameters)]
    figure = _page(
        {name: values.clone() for name in names},
        others=dict.fromkeys(names, values * 2),
        title="a-rather-long-name-of-a-model-file-" * 3 + ".safetensors",
        label="recipe " + "my-own-recipe-" * 5 + ".toml",
    )
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    labels = [*figure.texts, *figure.legends[0].get_texts()]
    for axes in figure.axes:
        low, high = axes.get_xlim()
        # Labels beyond the axis are not drawn.
        labels += [label for label in axes.get_xticklabels() if low <= label.get_position()[0] <= high]
    boxes = _corners([label.get_window_extent(renderer) for label in labels])
    page = _corners([figure.bbox])
    inside = ((page[:, 0] <= boxes[:, 0]) & (boxes[:, 1] <= page[:, 1])).all(1)
    assert [label.get_text() for label, fits in zip(labels, inside, strict=True) if not fits] == []
    plots = _corners([axes.get_window_extent(renderer) for axes in figure.axes])
    covered = np.argwhere(np.triu(_overlap(boxes, boxes), 1))
    assert [(labels[i].get_text(), labels[j].get_text()) for i, j in covered] == []
    assert not _overlap(boxes, plots).any()


@pytest.mark.parametrize("depth", [5, 100, 150])
def test_page_of_layers_grows_with_them_up_to_a_limit(depth: int) -> None:
    width, height = plot_signal(signal(tower(he, depth, 4), torch.randn(2, 4))).get_size_inches() * 110
    assert 900 < width < 1200
    # 17 pixels are enough for a line of its own.
    assert 17 * min(depth, 100) < height < 3500


def _rows_of(axes: Any, marker: str) -> set[int]:
    """Return the rows at which a marker is drawn."""
    return {int(y) for line in axes.lines if line.get_marker() == marker for y in line.get_ydata()}


def _explained(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_a_residual_stream_has_a_line_and_zeros_on_purpose_are_no_faults() -> None:
    model = Residual(depth=2)
    nn.init.zeros_(model.blocks[1].outer.weight)
    nn.init.zeros_(model.blocks[1].outer.bias)
    rows = signal(model, torch.randn(4, 8))
    figure = rows.plot("residual.pt")
    left, right = figure.axes
    labels = [label.get_text() for label in left.get_yticklabels()]
    assert [labels[index] for index in sorted(_rows_of(left, "s"))] == ["x + blocks.0", "x + blocks.1"]
    (line,) = [each for each in left.lines if each.get_gid() == "line"]
    (trend,) = [each for each in left.lines if each.get_gid() == "trend"]
    assert set(line.get_ydata()) == set(trend.get_ydata()) == _rows_of(left, "s")
    assert {labels[index] for index in _rows_of(left, "o") if rows[index].activation == 0} == {"blocks.1.outer"}
    assert {labels[index] for index in _rows_of(right, "o") if rows[index].gradient == 0} == {"blocks.1.inner"}
    assert not _rows_of(left, "<") | _rows_of(right, "<") | _rows_of(left, "D") | _rows_of(right, "D")
    assert figure.legends[0].get_title().get_text() == "residual.pt"
    assert _explained(figure) == [
        "a layer's output", "the residual stream, after a branch", "trend: one factor per residual sum", "zero on purpose"
    ]  # fmt: skip
    assert figure.get_supxlabel().endswith("\n0 on purpose until the first step: blocks.1.outer.weight")


def test_what_vanished_is_red_and_what_gets_no_gradient_is_crossed() -> None:
    rows = list(signal(tower(lambda w: nn.init.normal_(w, std=0.01), 6, 16), torch.randn(4, 16)))
    rows[1] = replace(rows[1], gradient=None, weight_gradient=None)
    left, right = plot_signal(rows).axes
    assert _rows_of(left, "D") == {i for i, row in enumerate(rows) if row.activation < rows[0].activation / 100}
    assert _rows_of(right, "x") == {1}
    colors = {label.get_text(): label.get_color() for label in left.get_yticklabels()}
    assert colors["2"] == colors["10"] != "black"
    assert _explained(left.figure)[-2:] == ["vanished or exploded", "no gradient"]


def test_names_of_many_rows_are_those_of_the_stream() -> None:
    rows = signal(Residual(depth=70), torch.randn(4, 8))
    labels = [label.get_text() for label in plot_signal(rows).axes[0].get_yticklabels()]
    assert labels == ["stem", *(f"x + blocks.{i}" for i in range(70)), "head"]
    assert len(rows) == 212


def test_every_value_and_name_of_a_signal_is_drawn() -> None:
    model = tower(he, 5, 8)
    nn.init.zeros_(model[6].weight)
    rows = list(signal(model, torch.randn(4, 8)))
    rows[4] = replace(rows[4], gradient=None)
    rows[3] = replace(rows[3], gradient=math.inf)
    left, right = plot_signal(rows).axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["0", "2", "4", "6", "8"]
    drawn = [dict(zip(line.get_ydata(), line.get_xdata(), strict=True)) for line in left.lines[:2]]
    assert drawn[0] == drawn[1] == {i: rows[i].activation for i in range(3)}
    assert _rows_of(left, "<") == {3, 4}
    assert _rows_of(right, "<") == {0, 1, 2}
    assert _rows_of(right, ">") == {3}
    assert _explained(left.figure) == ["a layer's output", "zero", "not finite"]
    assert left.get_xscale() == right.get_xscale() == "log"


@pytest.mark.parametrize("plot", [plot_statistics, plot_signal])
def test_missing_matplotlib_is_reported(plot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(RuntimeError, match=r"^a plot needs the package matplotlib: pip install 'torchinit\[plot\]'$"):
        plot(*([nn.Linear(2, 2), []] if plot is plot_statistics else [[]]))
