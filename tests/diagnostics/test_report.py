"""Is a report one whole page that says what is measured, for any model?"""

import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import torchinit
from tests.support.pages import Page, check
from tests.support.signal_models import he, tower
from torchinit import recipes
from torchinit.diagnostics import Report, report
from torchinit.diagnostics._report._advice import for_trend
from torchinit.diagnostics._trend import Trend
from torchinit.recipes import Recipe, Rule


def _page(model: object, *args: object, **kwargs: object) -> Page:
    return check(report(model, *args, **kwargs).html)  # type: ignore[arg-type]


def _verdict(page: Page) -> str:
    return page.texts("strong")[0]


def _facts(page: Page) -> dict[str, str]:
    return dict(zip(page.texts("dt"), page.texts("dd"), strict=True))


def test_sound_model_is_said_to_be_sound_first() -> None:
    model = tower(he, 6, 64)
    page = _page(model, inputs=torch.randn(32, 64), title="a tower")
    assert page.texts("h1") == ["a tower"]
    assert _verdict(page) == "Nothing is wrong with this initialization, as far as it was measured."
    facts = _facts(page)
    assert page.rows("Memory")[1:] == [["parameters", "float32", "6", "24,576", "98.3 kB"]]
    assert facts["Tensors"] == "6 parameters, 1 kind"
    assert facts["Values"] == "24,576"
    assert facts["Memory"] == "98.3 kB float32"
    assert facts["Marked"] == "0 nothing"
    assert re.fullmatch(r"\u00d7(0\.9|1)\d* per layer: keep their scale", facts["Signal forward"])


def test_marked_tensors_come_with_the_reason_and_with_what_to_do() -> None:
    model = tower(he, 4, 64)
    with torch.no_grad():
        model[2].weight[3, 4] = math.nan
        model[4].weight[::2] = 0.0
    page = _page(model)
    assert _verdict(page) == "2 of 4 tensors are what no sound initialization gives."
    marks = page.all("li")
    said = page.texts("p", "what")
    assert "not finite" in said
    assert any(x.startswith("32 of 64 rows are 0; std ") for x in said)
    assert any("Find what wrote NaN or infinity" in x.text for x in marks)
    assert any("draw the rows anew" in x.text for x in marks)
    # Each leads to its picture.
    targets = [x.attributes["href"][1:] for x in page.all("a") if "kind" in x.attributes["href"]]
    panels = {x.attributes["id"]: x for x in page.all("section", "bad")}
    assert set(targets) == set(panels)


@pytest.mark.parametrize(("gain", "word"), [(0.3, "vanish"), (3, "explode")])
def test_lost_signal_is_said_first_with_the_factor_that_would_keep_it(gain: float, word: str) -> None:
    model = nn.Sequential(*[nn.Linear(64, 64, bias=False) for _ in range(12)])
    for layer in model:
        torchinit.orthogonal_(layer.weight, gain=gain)
    page = _page(model, inputs=torch.randn(32, 64))
    assert page.all("div", "verdict")[0].text.strip() == f"The activations and the gradients {word}."
    marks = [x.text for x in page.all("li") if "in all" in x.text]
    found = [re.findall(r"first at (\d+)", mark) for mark in marks]
    assert len(found) == 2
    # The activation is lost late in the model, the gradient early, coming from its end.
    assert int(found[0][0]) > 0
    assert int(found[1][0]) < 11
    assert abs(int(found[0][0]) + int(found[1][0]) - 11) <= 1
    assert any(f"Weights {1 / gain:.3g} times as large would keep it." in x.text for x in page.all("li"))
    assert _facts(page)["Signal forward"] == f"\u00d7{gain} per layer: {word}"
    titles = [x for x in page.texts("title") if x.startswith("Scale of")]
    assert [f"x{gain} per layer" in title for title in titles] == [True, True]


def test_signal_has_a_picture_each_way_and_its_numbers_as_text() -> None:
    model = tower(he, 5, 64)
    made = report(model, inputs=torch.randn(8, 64))
    page = check(made.html)
    heads, *rows = page.rows("Signal")
    assert made.signal is not None
    assert heads[:4] == ["layer", "type", "output", "activation"]
    assert [row[0] for row in rows] == [row.label for row in made.signal]
    assert [row[3] for row in rows] == [f"{row.activation:.3g}" for row in made.signal]
    dots = [x.attributes["d"] for x in page.all("path", "dots")]
    for d in dots:
        assert [float(x) for x in re.findall(r"M([\d.]+) ", d)] == [60.0, 180.0, 300.0, 420.0, 540.0]


class Residual(nn.Module):
    """A stream with a sum after each branch, of which one is zero on purpose."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(16, 32)
        self.up = nn.ModuleList(nn.Linear(32, 32) for _ in range(4))
        self.down = nn.ModuleList(nn.Linear(32, 32) for _ in range(4))
        torchinit.zeros_(self.down[1].weight), torchinit.zeros_(self.down[1].bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        for up, down in zip(self.up, self.down, strict=True):
            x = x + down(up(x).relu())
        return x


def test_residual_stream_is_a_line_and_zeros_on_purpose_are_no_marks() -> None:
    torch.manual_seed(0)
    page = _page(Residual(), inputs=torch.randn(8, 16))
    assert "Nothing is wrong" in _verdict(page)
    lead = page.texts("p")[-1]
    assert "The line is the residual stream" in lead
    assert "are zero on purpose" in lead
    line, beside, stream, zero = (
        next(x.attributes["d"] for x in page.all("path", style) if x.attributes["class"].endswith(style))
        for style in ("line", "beside", "dots", "meant-zero")
    )
    assert len(re.findall(r"[ML]", line)) == 4
    assert [dots.count("M") for dots in (beside, stream, zero)] == [8, 4, 1]
    assert re.fullmatch(r"M[\d.]+ 200h0", zero)


def test_zeros_and_infinities_of_a_signal_lie_on_the_ends_of_the_axis() -> None:
    model = tower(he, 4, 64)
    with torch.no_grad():
        model[2].weight.fill_(math.nan)
    page = _page(model, inputs=torch.randn(8, 64))
    forward = next(x for x in page.all("path", "bad")).attributes["d"]
    assert re.findall(r"M[\d.]+ ([\d.]+)h0", forward) == ["0", "0", "0"]
    assert "not finite" in page.texts("figcaption")[0]


def test_repeated_layers_are_one_panel_and_a_bad_one_has_its_own() -> None:
    model = tower(he, 6, 64)
    with torch.no_grad():
        model[4].weight[1] = model[4].weight[0]
    page = _page(model)
    assert page.texts("h3")[-2:] == ["4.weight", "{0,2,6,8,10}.weight \u00d75"]
    assert [x.attributes["class"] for x in page.all("section") if "class" in x.attributes] == ["panel bad", "panel"]


def test_histogram_counts_the_values_that_are_drawn() -> None:
    values = torch.cat([torch.full((300,), 0.5), torch.linspace(0.0, 8.0, 700)]).view(10, 100)
    page = _page({"x": values})
    path = page.all("path", "values")[-1].attributes["d"]
    heights = [100 - float(y) for y in re.findall(r"V([\d.]+)H", path)]
    counts = torch.histc(values.double(), len(heights), 0.0, 8.0)
    expected = (counts / counts.max() * 100 / 1.06).tolist()
    assert heights == pytest.approx(expected, abs=0.6)
    assert page.texts("div", "axis")[0] == "0 8"


def test_density_has_the_scale_of_the_histogram() -> None:
    weight = torch.randn(200, 200, generator=torch.Generator().manual_seed(0)) / 50
    page = _page({"x": weight})
    bars = [100 - float(y) for y in re.findall(r"V([\d.]+)H", page.all("path", "values")[-1].attributes["d"])]
    curve = [100 - float(y) for y in re.findall(r" ([\d.]+)", page.all("path", "meant")[-1].attributes["d"])]
    assert len(curve) == 4 * len(bars)
    assert sum(curve) / 4 == pytest.approx(sum(bars), rel=0.01)
    assert max(curve) == pytest.approx(max(bars), rel=0.05)


def test_range_of_a_kind_goes_from_the_least_to_the_greatest() -> None:
    state = {f"{i}.x": torch.linspace(-low, 1.0, 50) for i, low in enumerate((9.5, 10.0, 9.0))}
    page = _page(state)
    ((name, _, _, _, low, high, *_),) = page.rows("Distributions")[1:]
    assert (name, low, high) == ("{0..2}.x \u00d73", "-10 to -9", "1")


def test_outliers_do_not_squeeze_the_rest_of_a_histogram() -> None:
    weight = torch.randn(100, 100, generator=torch.Generator().manual_seed(0))
    weight[3, 3] = 1e6
    page = _page({"x": weight})
    low, said, high = (x.text for x in page.elements if x.name == "span" and "div" in x.around[-1:])
    assert -8.0 < float(low) < -3.0 < 3.0 < float(high) < 8.0
    assert said in ("1 value farther out", "")


def _odd() -> dict[str, Callable[[], object]]:
    tied = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    tied[1].weight = tied[0].weight
    return {
        "no parameter": nn.ReLU,
        "an empty state dict": dict,
        "one scalar": lambda: {"w": torch.tensor(2.0)},
        "no elements": lambda: {"fc.weight": torch.empty(0, 5), "x": torch.ones(3)},
        "only NaN": lambda: {"fc.weight": torch.full((4, 5), math.nan)},
        "the ends of float64": lambda: {"fc.weight": torch.tensor([1e308, -1e308, math.inf, 3.0] * 9).double()},
        "subnormal numbers": lambda: {"fc.weight": torch.randn(40, 50).double() * 1e-310},
        "complex": lambda: {"fc.weight": torch.randn(40, 50, dtype=torch.complex64)},
        "float8": lambda: {"fc.weight": torch.randn(40, 50).to(torch.float8_e4m3fn)},
        "integers": lambda: {"fc.weight": torch.randint(-8, 8, (40, 50), dtype=torch.int8)},
        "quantized": lambda: {"fc.weight": torch.quantize_per_tensor(torch.randn(9, 50), 0.1, 0, torch.qint8)},
        "sparse": lambda: {"fc.weight": torch.randn(40, 50).relu().to_sparse()},
        "the meta device": lambda: nn.Linear(3, 4, device="meta"),
        "tied": lambda: tied,
    }


@pytest.mark.parametrize("name", _odd())
@pytest.mark.filterwarnings("ignore")
def test_odd_tensors_have_a_page(name: str) -> None:
    model = _odd()[name]()
    page = _page(model, title=name)
    assert page.texts("h1") == [name]
    assert _page(model, Recipe([Rule("normal_", args={"std": 0.02}, optional=True)]), title=name).all("h2")


def test_model_without_values_is_judged_by_nothing() -> None:
    page = _page(nn.Linear(3, 4, device="meta"), recipes.xavier())
    assert _verdict(page) == "No tensor has values yet, so there is nothing to judge but the plan."
    empty = _page(nn.ReLU())
    assert _verdict(empty) == "The model has no parameters, so there is nothing to judge."
    assert empty.texts("h2") == ["What is marked"]


def test_names_are_shown_as_they_are_whatever_they_hold() -> None:
    names = ["<b>&amp;.weight", "\"'><script>alert(1)</script>", "a\x1b[31m\r\nb\u202e\udcff", "x" * 200]
    page = _page({name: torch.randn(9, 9) for name in names}, title="<i>&\x07")
    shown = {" ".join(x.text.split()) for x in page.all("h3")}
    assert {"<b>&amp;.weight", "\"'><script>alert(1)</script>", "x" * 200} <= shown
    assert r"a\x1b[31m\r\nb\u202e\udcff" in shown
    assert page.texts("h1") == [r"<i>&\x07"]
    assert not page.all("script")


def test_three_hundred_kinds_are_all_in_the_page() -> None:
    letters = "abcdefghijklmnopqrst"
    names = [f"{a}{b}.weight" for a in letters[:15] for b in letters]
    text = report({name: torch.randn(8, 9) for name in names}).html
    page = check(text)
    heads = page.texts("h3")
    assert len(names) == 300
    assert len([x for x in heads if x in set(names)]) == 150
    assert "150 more kinds are in the table only." in page.texts("p")
    assert {row[0] for row in page.rows("Distributions")[1:]} == set(names)
    assert len(text.encode()) < 1_000_000


def test_equal_models_give_equal_bytes_and_a_date_only_on_request() -> None:
    def made(**more: str) -> str:
        model = tower(he, 3, 32)
        recording = torchinit.record(lambda: nn.Linear(32, 32, bias=False))
        inputs = torch.ones(2, 32)
        torch.manual_seed(0)
        torchinit.recipes.xavier().apply_(model)
        assert recording.program.entries
        return report(model, recipes.xavier(), inputs=inputs, **more).html  # type: ignore[arg-type]

    assert made() == made()
    assert "2026-01-31" in made(date="2026-01-31")


def test_report_leaves_the_model_and_the_generators_as_they_were() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.Dropout(), nn.Linear(8, 8))
    before = [parameter.clone() for parameter in model.parameters()]
    state = torch.get_rng_state()
    report(model, recipes.xavier(), inputs=torch.ones(2, 8), measure_time=True)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), before, strict=True))


def test_notebook_shows_the_page_in_a_frame_of_its_own() -> None:
    made = report(nn.Linear(3, 4))
    frame = made._repr_html_()
    assert frame.startswith("<iframe ")
    assert 'title="Initialization report"' in frame
    assert "<style>" not in frame
    assert (repr(made), str(made)) == ("<Report of 2 tensors, 16 values, 0 marked>", made.summary)


def test_save_writes_the_page_and_overwrites_only_if_told(tmp_path: Path) -> None:
    made, path = report(nn.Linear(3, 4)), tmp_path / "report.html"
    made.save(path)
    assert path.read_text() == made.html
    path.write_text("mine")
    with pytest.raises(FileExistsError, match="overwritten only with overwrite=True"):
        made.save(path)
    assert path.read_text() == "mine"
    made.save(path, overwrite=True)
    assert path.read_text() == made.html
    with pytest.raises(FileNotFoundError):
        made.save(tmp_path / "missing" / "report.html")
    with pytest.raises(IsADirectoryError):
        made.save(tmp_path)
    assert [x.name for x in tmp_path.iterdir()] == ["report.html"]


def test_inputs_for_a_state_dict_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^report\(\) measures the signal of a module, got inputs for a state dict$"):
        report({"w": torch.ones(2, 2)}, inputs=torch.ones(2, 2))


def test_inputs_are_one_tensor_or_the_arguments_of_forward() -> None:
    layer = nn.Bilinear(4, 5, 6)
    made = report(layer, inputs=[torch.randn(3, 4), torch.randn(3, 5)])
    assert isinstance(made, Report)
    assert made.signal is not None
    assert [row.output for row in made.signal] == [(3, 6)]
    with pytest.raises(RuntimeError, match=r"^forward must run on the inputs"):
        report(layer, inputs=torch.randn(3, 4))


def test_progress_is_told_of_both_measurements() -> None:
    told: list[str] = []
    report(nn.Linear(3, 4), inputs=torch.ones(2, 3), progress=lambda phase, *_: told.append(phase))
    assert list(dict.fromkeys(told)) == ["measuring", "forward", "backward"]


def test_weights_are_advised_for_a_factor_per_layer_and_not_per_sum_of_a_stream() -> None:
    fitted = Trend(1.0, 4.0, 4.0**9, "explode")
    assert "each layer multiplies their scale by 4. Weights 0.25 times" in for_trend("activations", fitted)
    stream = for_trend("activations", replace(fitted, step="residual sum"))
    assert "each residual sum multiplies their scale by 4. Lower" in stream


def test_layer_that_is_zero_is_marked_beside_the_trends() -> None:
    model = tower(he, 4, 8)
    torchinit.zeros_(model[2].weight)
    page = _page(model, inputs=torch.randn(4, 8))
    said = " ".join(x.text for x in page.all("div", "verdict"))
    assert "The signal does not arrive at" in said
    marks = [" ".join(x.text.split()) for x in page.all("li")]
    assert any("activation zero, at" in mark and "Nothing passes here." in mark for mark in marks)
    # A factor of 0 says nothing of what would keep the scale.
    assert any("The activations vanish. Raise the scale" in mark for mark in marks)


def test_values_that_are_one_but_for_outliers_have_no_picture() -> None:
    weight = torch.zeros(64, 64)
    weight[3, 5] = 1.0
    (panel,) = _page({"a.weight": weight}).all("section", "panel")
    assert "Histogram of" not in panel.text


def test_truncated_normal_has_the_density_of_its_cut() -> None:
    weight = torchinit.trunc_normal_(torch.empty(64, 64), 0.0, 0.02, -0.03, 0.03, torch.Generator().manual_seed(0))
    page = _page({"a.weight": weight})
    assert any("The line is the density of the truncated normal distribution" in x.text for x in page.elements)
