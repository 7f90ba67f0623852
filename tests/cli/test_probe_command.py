"""Does the command probe say what it measured, what it was asked wrongly, and draw it?"""

import argparse
import json
import math
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.support.layers import MIXED
from tests.support.probed_models import DEPTH, Cells, Query, he, loaded, tower
from torchinit._progress import Progress
from torchinit.commands import _probe as command
from torchinit.commands._probe import LIMIT, trend
from torchinit.commands._probe_rows import Row, measure, probe


def run(*arguments: str) -> None:
    """Do what the command line does."""
    parser = argparse.ArgumentParser()
    command.add(parser.add_subparsers(required=True))
    parsed = parser.parse_args(["probe", *map(str, arguments)])
    parsed.run(parsed)


def saved(module: nn.Module, path: Path) -> str:
    torch.jit.script(module).save(str(path))
    return str(path)


@pytest.mark.parametrize(
    ("values", "factor", "total", "verdict"),
    [
        ([1.0, 0.5, 0.25], 0.5, 0.25, "keep their scale"),
        ([1.0, 1.0, 50.0, 1.0, 1.0], 1.0, 1.0, "keep their scale"),
        ([3.0, 3.0 * LIMIT * 1.01], LIMIT * 1.01, LIMIT * 1.01, "explode"),
        ([3.0, 3.0 * LIMIT / 1.01], LIMIT / 1.01, LIMIT / 1.01, "keep their scale"),
        ([3.0, 3.0 / LIMIT / 1.01], 1 / LIMIT / 1.01, 1 / LIMIT / 1.01, "vanish"),
        ([3.0, 3.0 / LIMIT * 1.01], 1.01 / LIMIT, 1.01 / LIMIT, "keep their scale"),
        # What is missing or a branch of zeros keeps its place, and bends nothing.
        ([1.0, None, 0.0, 0.001], 0.1, 0.001, "vanish"),
        ([1e-300, 1e300], math.exp(709), math.exp(709), "explode"),
        ([1.0, 1.0, 0.0], 0.0, 0.0, "vanish"),
        ([0.0, 0.0, 1.0], 0.0, 0.0, "vanish"),
    ],
)
def test_a_trend_is_a_factor_per_layer(values: list, factor: float, total: float, verdict: str) -> None:
    fitted = trend(values)
    assert fitted.factor == pytest.approx(factor)
    assert fitted.total == pytest.approx(total)
    assert fitted.verdict == verdict


def test_a_trend_needs_two_finite_values() -> None:
    assert trend([]) is trend([1.0]) is trend([None, 2.0, None]) is None
    assert trend([1.0, math.nan]).verdict == trend([math.inf]).verdict == "not finite"


@pytest.mark.parametrize(
    ("model", "inputs", "message"),
    [
        (nn.Linear(4, 3), (torch.ones(2, 8),),
         "forward must run on the inputs, got float32 2x8: RuntimeError: "),
        (nn.Linear(4, 3), (torch.ones(2, 4, dtype=torch.int64), 3),
         "forward must run on the inputs, got int64 2x4, int: "),
        (nn.ReLU(), (torch.ones(3),), "a probe needs a module with floating parameters, got ReLU without any"),
        (nn.Linear(4, 3, device="meta"), (torch.ones(3, 4),),
         "a probe needs parameters with values, got some on the meta device"),
    ],
)  # fmt: skip
def test_what_cannot_be_probed_is_refused_in_one_line(model: nn.Module, inputs: tuple, message: str) -> None:
    for module in (model, torch.jit.script(model)):
        with pytest.raises(RuntimeError, match=f"^{re.escape(message)}") as caught:
            probe(module, *inputs)
        assert "\n" not in str(caught.value)
        assert "interpreter" not in str(caught.value)


class Raising(nn.Module):
    """Refuses what has not three dimensions, and answers in integers."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() != 3:
            raise ValueError(f"three dimensions please, not {x.dim()}")
        return self.linear(x).argmax(-1)


def test_an_error_of_the_model_is_named_in_one_line() -> None:
    scripted = torch.jit.script(Raising())
    said = "forward must run on the inputs, got float32 2x2: (builtins.)?ValueError: three dimensions please, not 2"
    for module in (Raising(), scripted, loaded(scripted)):
        with pytest.raises(RuntimeError, match=f"^{said}$"):
            probe(module, torch.ones(2, 2))
        with pytest.raises(
            RuntimeError, match=r"^forward must return a floating tensor that depends .*, got int64 1x2$"
        ):
            probe(module, torch.ones(1, 2, 2))
    with pytest.raises(
        RuntimeError, match=r"^forward must run .*got nothing: RuntimeError: forward\(\) is missing value"
    ):
        probe(scripted)


def test_disabled_gradients_are_refused() -> None:
    with torch.no_grad(), pytest.raises(RuntimeError, match=r"^a probe needs gradients, got them disabled"):
        probe(nn.Linear(2, 2), torch.ones(2, 2))


class Broken(nn.Module):
    """Overwrites what its backward needs."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.linear(x).exp()
        return y * y.zero_()


def test_a_model_without_a_backward_is_refused_in_one_line() -> None:
    with pytest.raises(RuntimeError, match=r"^backward must run on the model, got RuntimeError: one of the variables"):
        probe(Broken(), torch.ones(2, 2))


def test_command_prints_a_table_and_a_verdict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    path = saved(tower(lambda w: nn.init.normal_(w, std=0.01)), tmp_path / "small.pt")
    run(path, "--input", "64x256", "--seed", "3")
    *table, blank, verdict = capsys.readouterr().out.splitlines()
    assert len(table) == 1 + DEPTH
    assert blank == ""
    assert table[0].split() == [
        "layer",
        "kind",
        "output",
        "activation",
        "ratio",
        "gradient",
        "ratio",
        "weight",
        "its",
        "gradient",
    ]
    assert table[2].split()[:3] == ["2", "Linear", "64x256"]
    assert table[16].endswith("activation and gradient vanished")
    found = re.fullmatch(
        r"activations: x(0\.11\d*) per layer, x([\d.e-]+) in all: vanish;"
        r" gradients: x(0\.11\d*) per layer, x([\d.e-]+) in all: vanish",
        verdict,
    )
    assert found is not None
    for total in (found[2], found[4]):
        assert math.log(float(total)) == pytest.approx((DEPTH - 1) * math.log(0.01 * math.sqrt(128)), abs=1.3)


def test_command_draws_inputs_from_the_seed_and_json_holds_the_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = saved(
        nn.Sequential(nn.Linear(5, 4, dtype=torch.float64), nn.Tanh(), nn.Linear(4, 3, dtype=torch.float64)),
        tmp_path / "m.pt",
    )
    printed = []
    for shape, seed in (("2x5", 1), ("2,5", 1), ("2x5", 2)):
        run(path, "--input", shape, "--seed", str(seed), "--json")
        printed.append(json.loads(capsys.readouterr().out))
    assert printed[0] == printed[1] != printed[2]
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, 5, dtype=torch.float64, generator=generator)
    rows = probe(torch.jit.load(path), x, generator=generator)
    assert [
        Row(**{**r, "output": tuple(r["output"])}) for r in [dict(list(r.items())[:-1]) for r in printed[0]]
    ] == rows
    assert [r["note"] for r in printed[0]] == ["", ""]


def test_command_takes_several_inputs_integers_and_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = saved(MIXED.make(), tmp_path / "mixed.pt")
    run(path, "--input", "1x4x6x6", "--input", "2x3:10", "--json")
    drawn = json.loads(capsys.readouterr().out)
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(1, 4, 6, 6, generator=generator)
    ids = torch.randint(10, (2, 3), generator=generator)
    rows = probe(torch.jit.load(path), image, ids, generator=generator)
    assert [r["activation"] for r in drawn] == [row.activation for row in rows]
    for name, tensor in (("image", image), ("ids", ids)):
        torch.save(tensor, tmp_path / name)
    run(path, "--input", str(tmp_path / "image"), "--input", str(tmp_path / "ids"), "--json")
    assert [r["activation"] for r in json.loads(capsys.readouterr().out)] == [row.activation for row in rows]


def test_command_refuses_an_input_that_is_none_in_one_line(tmp_path: Path) -> None:
    path = saved(nn.Linear(4, 3), tmp_path / "m.pt")
    torch.save({"x": torch.ones(2)}, tmp_path / "dict")
    (tmp_path / "text").write_text("no tensor")
    for given, said in (
        ("8x", "--input takes a shape such as .*, got 8x"),
        ("2x0", "the numbers of an input must be from 1 to .*, got 2x0"),
        ("2x4:0", "the numbers of an input must be from 1 to .*, got 2x4:0"),
        (f"{1 << 63}", "the numbers of an input must be from 1 to .*"),
        (str(tmp_path / "dict"), "--input takes .* got .*dict with dict"),
        (str(tmp_path / "text"), "--input takes .* got .*text, which torch.load does not read"),
        ("2x8", "forward must run on the inputs, got float32 2x8: RuntimeError: .*mat1 and mat2 shapes cannot be .*"),
    ):
        with pytest.raises(RuntimeError, match=f"^{said}$"):
            run(path, "--input", given)


def test_command_shows_its_progress_on_stderr_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tower(he, 3, 4), tmp_path / "m.pt")
    progress = command.Progress
    monkeypatch.setattr(command, "Progress", lambda total, after: progress(total, after=0.0))
    run(path, "--input", "2x4", "--json")
    printed = capsys.readouterr()
    assert printed.err == "[1/6] forward ...\n[4/6] backward ...\n"
    assert len(json.loads(printed.out)) == 3


class Recording(Progress):
    """Keeps what was shown."""

    def __init__(self) -> None:
        super().__init__(0, after=math.inf)
        self.shown_totals: list[tuple[int, int]] = []
        self.cleared = 0

    def step(self, phase: str, what: str = "") -> None:
        super().step(phase, what)
        self.shown_totals.append((self.done, self.total))

    def clear(self) -> None:
        self.cleared += 1


def test_progress_never_goes_beyond_its_total_and_is_cleared_after_an_error_too() -> None:
    progress, generator = Recording(), torch.Generator()
    measure(Cells(), (torch.ones(5, 2, 3),), generator, progress)
    assert progress.shown_totals[-1] == (10, 10)
    assert all(done <= total for done, total in progress.shown_totals)
    assert progress.cleared == 1
    progress = Recording()
    measure(Query(), (torch.ones(5, 4),), generator, progress)
    # Two of the four layers run, and the query is taken with one of them.
    assert progress.shown_totals == [(1, 8), (2, 8), (3, 4), (4, 4)]
    with pytest.raises(RuntimeError, match=r"^forward must run"):
        measure(Cells(), (), generator, progress)
    assert progress.cleared == 2


@pytest.mark.parametrize("depth", [5, 100, 300])
def test_plot_is_a_png_that_grows_with_the_layers_up_to_a_limit(depth: int, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    out = tmp_path / "out.png"
    run(saved(tower(he, depth, 4), tmp_path / "m.pt"), "--input", "2x4", "--plot", str(out))
    contents = out.read_bytes()
    assert contents.startswith(b"\x89PNG")
    width, height = int.from_bytes(contents[16:20], "big"), int.from_bytes(contents[20:24], "big")
    assert 900 < width < 1200
    # 17 pixels are enough for a line of its own.
    assert height > 17 * min(depth, 100)
    assert height < 3000


def test_plot_holds_every_value_and_name(monkeypatch: pytest.MonkeyPatch) -> None:
    matplotlib = pytest.importorskip("matplotlib.figure")
    from torchinit.commands._probe_plot import plot

    figures = []
    save = matplotlib.Figure.savefig
    monkeypatch.setattr(matplotlib.Figure, "savefig", lambda self, *a, **k: (figures.append(self), save(self, *a, **k)))
    model = tower(he, 5, 8)
    nn.init.zeros_(model[6].weight)
    rows = probe(model, torch.randn(4, 8))
    rows[4] = replace(rows[4], gradient=None)
    rows[3] = replace(rows[3], gradient=math.inf)
    plot(rows)
    left, right = figures[0].axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["0", "2", "4", "6", "8"]
    drawn = [dict(zip(line.get_ydata(), line.get_xdata(), strict=True)) for line in left.lines[:2]]
    assert drawn[0] == drawn[1] == {i: rows[i].activation for i in range(3)}
    assert {line.get_ydata()[0] for line in left.lines if line.get_marker() == "<"} == {3, 4}
    assert {line.get_ydata()[0] for line in right.lines if line.get_marker() == "<"} == {0, 1, 2}
    assert {line.get_ydata()[0] for line in right.lines if line.get_marker() == ">"} == {3}
    assert left.get_xscale() == right.get_xscale() == "log"


def test_matplotlib_is_asked_for_before_the_model_is_read_and_only_for_a_plot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(RuntimeError, match=r"^--plot needs the package matplotlib: pip install 'torchinit\[plot\]'$"):
        run("missing.pt", "--input", "1x2", "--plot", "out.png")
    with pytest.raises(FileNotFoundError):
        run("missing.pt", "--input", "1x2")


def test_registering_the_command_imports_neither_matplotlib_nor_transformers() -> None:
    code = (
        "import argparse, sys; from torchinit.commands import _probe;"
        "_probe.add(argparse.ArgumentParser().add_subparsers());"
        "assert not {'matplotlib', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_input_that_cannot_be_opened_is_the_systems_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="directory"):
        command._tensor(str(tmp_path))
