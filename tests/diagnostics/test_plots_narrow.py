"""Can plots of one column be read on a phone?"""

from io import BytesIO
from itertools import pairwise
from typing import Any

import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import nn

from tests.support.signal_models import he, tower
from torchinit.diagnostics import compare, plot_signal, signal, statistics

# Points of a page as wide as a phone, and of the smallest text that can be read there.
_PHONE, _LEAST = 0.75 * 390, 6.5


def _texts(figure: Figure) -> list[Any]:
    legends = [text for legend in figure.legends for text in legend.get_texts()]
    ticks = [text for axes in figure.axes for text in (*axes.get_yticklabels(), *axes.texts, axes.title)]
    return [text for text in (*figure.texts, *legends, *ticks) if text.get_text()]


def _figures() -> dict[str, Figure]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 64))
    model[0].weight.data[:32] = model[0].weight.data[32:]
    other = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 64))
    return {
        "statistics": statistics(model).plot(columns=1),
        "compare": compare(model, other).plot(labels=("A: a.safetensors", "B: b.safetensors"), columns=1),
        "signal": signal(tower(he, 6, 8), torch.randn(4, 8)).plot("A tower of layers", columns=1),
    }


@pytest.mark.parametrize("name", ["statistics", "compare", "signal"])
def test_text_of_one_column_is_large_enough_and_inside_the_page(name: str) -> None:
    figure = _figures()[name]
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    scale = _PHONE / (72 * figure.get_figwidth())
    for text in _texts(figure):
        assert text.get_fontsize() * scale >= _LEAST, text.get_text()
        box = text.get_window_extent(renderer)
        assert box.x0 >= -1.0, text.get_text()
        assert box.x1 <= figure.bbox.x1 + 1.0, text.get_text()


def test_panels_of_one_column_stand_below_each_other() -> None:
    figures = _figures()
    for name, count in (("statistics", 4), ("signal", 2)):
        places = [axes.get_position() for axes in figures[name].axes]
        assert len(places) == count
        assert all(upper.y0 > lower.y1 for upper, lower in pairwise(places))
    assert [axes.get_title(loc="left").split()[0] for axes in figures["signal"].axes] == ["activations", "gradients"]
    assert [label.get_text() for label in figures["signal"].axes[1].get_yticklabels()] == [
        "0",
        "2",
        "4",
        "6",
        "8",
        "10",
    ]


def test_all_of_a_verdict_is_shown_in_two_lines() -> None:
    (words,) = [text.get_text() for text in _figures()["statistics"].texts if "copies" in text.get_text()]
    assert words.split("\n") == ["64x64, 32 of 64 rows are copies of others;", "uniform, bound 0.125 = torch's default"]


def test_a_signal_has_one_or_two_columns() -> None:
    rows = signal(tower(he, 3, 4), torch.randn(2, 4))
    with pytest.raises(ValueError, match=r"^plot_signal\(\) draws in 1 or 2 columns, got 3$"):
        plot_signal(rows, columns=3)
    rows.plot(columns=1).savefig(BytesIO())


@pytest.mark.parametrize("columns", [1, None])
@pytest.mark.parametrize("labels", [("A: " + "long_" * 9, "B: " + "long_" * 9), ("A", "B: " + "long_" * 9)])
def test_long_labels_leave_room_for_the_number_of_parameters(columns: int | None, labels: tuple[str, str]) -> None:
    figure = compare({"x": torch.zeros(9)}, {"x": torch.ones(9)}).plot("A title", labels=labels, columns=columns)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    legend = figure.legends[0].get_window_extent(renderer)
    assert figure.bbox.x0 <= legend.x0
    assert not any(text.get_window_extent(renderer).overlaps(legend) for text in figure.texts)
    assert all(
        text.get_text()[:2] == label[:2] for text, label in zip(figure.legends[0].get_texts(), labels, strict=True)
    )


def test_a_page_has_rows_and_columns() -> None:
    layer = nn.Linear(3, 3)
    with pytest.raises(ValueError, match=r"^a plot needs at least one column, got 0$"):
        statistics(layer).plot(columns=0)
    with pytest.raises(RuntimeError, match=r"^a plot needs at least one parameter, got none$"):
        statistics(nn.ReLU()).plot()
    assert len(statistics(layer).plot(columns=5).axes) == 2
