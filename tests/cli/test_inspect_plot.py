"""Does the picture of inspect show each parameter beside the recipe's?"""

import argparse
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import torchinit
from tests.support.inspected_models import drawn, inspected
from torchinit import cli
from torchinit.commands import _inspect, _plot


class Figures:
    """Keeps the figures that are drawn."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.figures: list[Any] = []
        render = _plot.render

        def keep(figure: Any, kind: str) -> bytes:
            self.figures.append(figure)
            return render(figure, kind)

        monkeypatch.setattr(_plot, "render", keep)

    @property
    def texts(self) -> list[str]:
        return [text.get_text() for text in self.figures[-1].texts]


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> Figures:
    return Figures(monkeypatch)


def test_plot_is_a_png_with_a_panel_a_parameter(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], figures: Figures
) -> None:
    assert inspected(nn.Linear(20, 30), tmp_path, "--plot", str(tmp_path / "out.png")) == 0
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.pt", "out.png"]
    assert len(figures.figures[0].axes) == 2
    assert figures.texts[:4] == ["model.pt", "2 parameters", "weight", "30x20, like torch's default"]
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) == 3
    assert shown.err == ""
    assert "matplotlib.pyplot" not in sys.modules


def test_recipe_is_drawn_from_a_copy_on_the_bins_of_the_values(
    tmp_path: Path, figures: Figures, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_inspect, "_CHUNK", 100)
    panels = []
    draw = _plot.draw
    monkeypatch.setattr(_plot, "draw", lambda drawn, *rest: panels.extend(drawn) or draw(drawn, *rest))
    model = nn.Linear(30, 40)
    torchinit.uniform_(model.weight, -0.1, 0.1)
    torchinit.zeros_(model.bias)
    assert inspected(model, tmp_path, "--plot", str(tmp_path / "a.png"), "--recipe", "xavier", "--seed", "3") == 0
    weight, bias = panels
    expected = torchinit.xavier_uniform_(torch.empty(40, 30), generator=torch.Generator().manual_seed(3)).double()
    values = model.weight.detach().double()
    low, high = (f(torch.cat([values, expected])).item() for f in (torch.min, torch.max))
    assert (weight.low, weight.high) == (low, high)
    for curve, tensor in ((weight.values, values), (weight.recipe, expected)):
        counts, _ = np.histogram(tensor.numpy(), len(curve.heights), (low, high))
        assert curve.heights == pytest.approx(counts / counts.max())
    assert (bias.values.constant, bias.recipe.constant) == (0.0, 0.0)
    assert [text.get_text() for text in figures.figures[0].legends[0].get_texts()] == ["values", "recipe xavier"]


def test_what_is_not_finite_is_left_out_of_a_panel() -> None:
    panel = _plot.Panel.of("w", torch.tensor([1.0, math.nan, 3.0, math.inf, 1.0]), None, "not finite", True)
    assert (panel.low, panel.high, panel.recipe) == (1.0, 3.0, None)
    assert panel.values == _plot.Curve([1.0, 0, 0, 0, 0, 0, 0, 0.5], None)


def test_ticks_have_the_digits_that_tell_them_apart(figures: Figures) -> None:
    values = 1 + torch.arange(9, dtype=torch.float64) * 1e-6
    _plot.draw([_plot.Panel.of("w", values, None, None, False)], 1, "model.pt", None)
    labels = [label.get_text() for label in figures.figures[0].axes[0].get_xticklabels()]
    assert len(set(labels)) == len(labels) > 2
    assert figures.texts[1] == "1 parameter"


def test_constant_panel_has_its_value_for_a_tick(figures: Figures) -> None:
    _plot.draw([_plot.Panel.of("w", torch.full((3,), 2.25), None, None, False)], 1, "model.pt", None)
    assert [label.get_text() for label in figures.figures[0].axes[0].get_xticklabels()] == ["2.25"]


def test_long_name_loses_its_front_up_to_a_dot() -> None:
    assert _plot.shortened("encoder.layer.0.weight", 22) == "encoder.layer.0.weight"
    assert _plot.shortened("encoder.layer.10.weight", 22) == "…layer.10.weight"
    assert _plot.shortened("x" * 30 + ".bias", 22) == "…" + "x" * 16 + ".bias"
    assert _plot.shortened("x" * 30, 22) == "…" + "x" * 21
    assert _plot.shortened("a\033b", 22) == r"a\x1bb"


def test_same_seed_draws_the_same_picture(tmp_path: Path) -> None:
    model = nn.Linear(30, 40)
    pictures = []
    for seed in ("1", "1", "2"):
        more = ["--recipe", "xavier", "--seed", seed, "--force"]
        assert inspected(model, tmp_path, "--plot", str(tmp_path / "a.png"), *more) == 0
        pictures.append((tmp_path / "a.png").read_bytes())
    assert pictures[0] == pictures[1] != pictures[2]


def test_what_a_recipe_has_no_rule_for_has_no_curve_and_is_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    panels = []
    monkeypatch.setattr(_plot, "draw", lambda drawn, *_: panels.extend(drawn) or b"")
    (tmp_path / "r.toml").write_text('[[rule]]\ninitializer = "zeros_"\nname = "*.bias"\n')
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 3))
    options = ["--plot", str(tmp_path / "a.png"), "--recipe", str(tmp_path / "r.toml")]
    torch.save(model.state_dict(), tmp_path / "net")
    assert cli.main(["inspect", str(tmp_path / "net"), *options]) == 0
    assert [panel.recipe is None for panel in panels] == [True, False, True, False]
    assert capsys.readouterr().err == (
        f"torchinit: no curve is drawn for 2 of 4 parameters, which {tmp_path}/r.toml has no rule for or keeps\n"
    )


def test_recipe_with_a_rule_for_everything_stays_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "r.toml").write_text('[[rule]]\ninitializer = "zeros_"\n')
    options = ["--plot", str(tmp_path / "a.png"), "--recipe", str(tmp_path / "r.toml")]
    assert inspected(nn.Linear(3, 4), tmp_path, *options) == 0
    assert capsys.readouterr().err == ""


def test_unknown_recipe_is_refused_before_the_file_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.png"
    assert cli.main(["inspect", str(tmp_path / "none.pt"), "--plot", str(out), "--recipe", "nonsense"]) == 1
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert "nonsense" in error
    assert not out.exists()


def test_page_holds_bad_panels_first_and_constant_ones_last_and_says_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], figures: Figures
) -> None:
    layers = [layer for _ in range(40) for layer in (nn.Linear(3, 3), nn.LayerNorm(3))]
    torchinit.constant_(layers[-2].weight, math.nan)
    assert inspected(nn.Sequential(*layers), tmp_path, "--plot", str(tmp_path / "many.png")) == 0
    note = "60 of 160 parameters; bad ones are kept first, constant ones last"
    assert capsys.readouterr().err == f"torchinit: {tmp_path}/many.png shows {note}\n"
    names = figures.texts[2::2]
    assert figures.texts[1] == note
    assert len(names) == len(figures.figures[0].axes) == 60
    assert names[-1] == "78.weight"
    assert names[:4] == ["0.weight", "0.bias", "2.weight", "2.bias"]


def test_constant_panels_fill_up_a_page_in_order() -> None:
    assert _plot.choose([2, 1, 2, 0, 1, 2], most=4) == [0, 1, 3, 4]
    assert _plot.choose([2, 1], most=4) == [0, 1]


def test_whatever_a_file_holds_can_be_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = {
        **{"empty": torch.ones(0, 3), "meta": torch.empty(3, device="meta"), "nan": torch.full((3,), math.nan)},
        **{"wide": torch.tensor([1.7e308, -1.7e308], dtype=torch.float64), "one": torch.tensor([1.00001, 1.00002])},
        **{
            "$\\frac$\n": torch.ones(3),
            "huge": torch.tensor([3.0e38]),
            "名前": torch.arange(9.0),
            "x" * 300: torch.eye(3),
        },
        **{"complex": torch.ones(2, 2, dtype=torch.complex64), "float8": torch.ones(9).to(torch.float8_e5m2)},
        **{"denormal": torch.tensor([5e-324, 0.0], dtype=torch.float64), "integer": torch.arange(3)},
    }
    torch.save(state, tmp_path / "odd")
    assert cli.main(["inspect", str(tmp_path / "odd"), "--plot", str(tmp_path / "odd.png")]) == 0
    assert (tmp_path / "odd.png").stat().st_size > 10_000
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("count", [1, 2, 3, 7, 60])
def test_no_label_of_a_page_covers_another(count: int) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    pages = []

    def keep(figure: Figure, _: str) -> bytes:
        pages.append(figure)
        return b""

    values = drawn("normal_", (30, 30), std=123.456) + 1000
    name = "module.encoder.layers.layer.11.attention.output.WWWWWWWW.weight"
    panels = [_plot.Panel.of(name, values, values * 2, "mean far from 0", True)] * count
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_plot, "render", keep)
        _plot.draw(
            panels,
            count if count < 60 else 500,
            "a-rather-long-name-of-a-model-file-" * 3 + ".safetensors",
            "my-own-recipe-" * 5 + ".toml",
        )
    figure = pages[0]
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    labels = [*figure.texts, *figure.legends[0].get_texts()]
    for axes in figure.axes:
        low, high = axes.get_xlim()
        # What lies beyond the axis is not drawn.
        labels += [label for label in axes.get_xticklabels() if low <= label.get_position()[0] <= high]
    boxes = [label.get_window_extent(renderer) for label in labels]
    page = figure.bbox
    inside = [page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1 for box in boxes]
    assert [label.get_text() for label, fits in zip(labels, inside, strict=True) if not fits] == []
    plots = [axes.get_window_extent(renderer) for axes in figure.axes]
    overlapping = [
        (labels[i].get_text(), labels[j].get_text())
        for i in range(len(boxes))
        for j in range(i)
        if boxes[i].overlaps(boxes[j])
    ]
    assert overlapping == []
    assert not any(box.overlaps(plot) for box in boxes for plot in plots)


def test_command_registers_itself() -> None:
    parser = argparse.ArgumentParser()
    _inspect.add(parser.add_subparsers())
    arguments = parser.parse_args(["inspect", "x.pt"])
    assert (arguments.file, arguments.json, arguments.plot, arguments.recipe, arguments.seed) == (
        *("x.pt", False, None, None),
        0,
    )
