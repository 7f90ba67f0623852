"""Does inspect measure right, name the initialization that was used, and mark what is wrong?"""

import argparse
import io
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from expecttest import assert_expected_inline
from torch import Tensor, nn

import torchinit
from tools.bench.measure import peak_extra_bytes
from torchinit import cli
from torchinit.commands import _inspect, _plot
from torchinit.commands._inspect import COLUMNS, Parameter, measure, parameters, scales, verdict
from torchinit.recipes._layers import Layer


def _inspected(model: nn.Module, path: Path, *options: str) -> int:
    torch.jit.script(model).save(str(path / "model.pt"))
    return cli.main(["inspect", str(path / "model.pt"), *options])


@pytest.fixture
def records(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[[nn.Module], dict[str, dict[str, Any]]]:
    def run(model: nn.Module) -> dict[str, dict[str, Any]]:
        assert _inspected(model, tmp_path, "--json") == 0
        return {record["name"]: record for record in json.loads(capsys.readouterr().out)}

    return run


def _said(tensor: Tensor, module: nn.Module | None = None, name: str = "weight") -> tuple[str | None, bool]:
    """The verdict on a tensor as the parameter of a layer."""
    module = nn.Module() if module is None else module
    module._parameters[name] = tensor if isinstance(tensor, nn.Parameter) else nn.Parameter(tensor, requires_grad=False)
    parameter = Parameter(name, Layer("", module), name, tensor)
    return verdict(measure(tensor), scales(parameter), tensor.dim() > 1 and tensor.numel() > 0)


def _drawn(name: str, shape: tuple[int, ...], **arguments: Any) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return getattr(torchinit, name)(torch.empty(shape), **arguments, generator=generator)


def _random(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    values = 3 * torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    values = values.where(values.abs() > 1, 0)
    if dtype.is_complex:
        return torch.complex(values, values.flip(0)).to(dtype)
    return (values + 0.5).to(dtype)


DTYPES = [
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2),
    *(torch.int64, torch.int8, torch.uint8, torch.bool),
]


@pytest.mark.parametrize("shape", [(), (1,), (7,), (5, 7), (3, 4, 5)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_statistics_are_numpys(dtype: torch.dtype, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_inspect, "_CHUNK", 4)
    tensor = _random(shape, dtype)
    values = tensor.to(torch.float64).numpy()
    statistics = measure(tensor)
    assert statistics is not None
    assert statistics.mean == pytest.approx(values.mean(), rel=1e-12, abs=1e-15)
    assert statistics.std == pytest.approx(values.std(), rel=1e-12, abs=1e-15)
    assert (statistics.low, statistics.high) == (values.min(), values.max())
    assert statistics.zeros == np.sum(values == 0)
    assert statistics.not_finite == 0


def test_statistics_of_complex_numbers_are_numpys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_inspect, "_CHUNK", 4)
    tensor = _random((5, 7), torch.complex64)
    values = tensor.to(torch.complex128).numpy()
    statistics = measure(tensor)
    assert statistics is not None
    assert statistics.mean == pytest.approx(values.mean(), rel=1e-12)
    assert statistics.std == pytest.approx(values.std(), rel=1e-12)
    assert statistics.zeros == np.sum(values == 0)


@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_statistics_are_those_of_the_finite_values(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_inspect, "_CHUNK", chunk)
    statistics = measure(torch.tensor([math.nan, 1.0, math.inf, 0.0, 5.0, -math.inf]))
    assert statistics is not None
    assert (statistics.size, statistics.not_finite, statistics.zeros) == (6, 3, 1)
    assert (statistics.mean, statistics.low, statistics.high) == (2.0, 0.0, 5.0)
    assert statistics.std == pytest.approx(np.std([1.0, 0.0, 5.0]))


def test_what_changes_once_is_not_constant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_inspect, "_CHUNK", 4)
    statistics = measure(torch.tensor([1.0] * 4 + [2.0] * 4))
    assert statistics is not None
    assert statistics.constant is None


def test_large_mean_does_not_drown_the_spread() -> None:
    statistics = measure(1e8 + torch.arange(1000.0, dtype=torch.float64) % 2)
    assert statistics is not None
    assert statistics.std == pytest.approx(0.5, rel=1e-9)


@pytest.mark.parametrize(
    "tensor",
    [torch.arange(12.0).view(3, 4).t(), torch.arange(3.0).expand(2, 3), torch.eye(4).to_sparse()],
    ids=["transposed", "expanded", "sparse"],
)
def test_layout_makes_no_difference(tensor: Tensor) -> None:
    statistics, dense = measure(tensor), measure(tensor.to_dense().contiguous() if tensor.is_sparse else tensor.clone())
    assert statistics == dense


def test_measuring_takes_no_copy_of_the_whole() -> None:
    tensor = torch.zeros(1 << 23, dtype=torch.bfloat16)
    assert peak_extra_bytes(lambda t: measure(t[0]), [tensor]) < 4 * 8 * _inspect._CHUNK < 8 * tensor.numel()


def test_what_has_no_numbers_is_not_measured() -> None:
    assert measure(torch.empty(3, device="meta")) is None
    assert measure(torch.zeros(4, dtype=torch.uint8).view(torch.bits8)) is None
    assert _said(torch.empty(3, 4, device="meta")) == ("no numbers", False)


VERDICTS: dict[str, tuple[Tensor, tuple[str | None, bool]]] = {
    "zeros of a matrix": (torch.zeros(4, 5), ("constant 0", True)),
    "a half of a matrix": (torch.full((4, 5), 0.5), ("constant 0.5", True)),
    "zeros of a vector": (torch.zeros(4), ("constant 0", False)),
    "ones of a vector": (torch.ones(4), ("constant 1", False)),
    "scalar": (torch.tensor(2.5), ("constant 2.5", False)),
    "matrix of one": (torch.ones(1, 1), ("constant 1", False)),
    "complex ones": (torch.ones(3, dtype=torch.complex64), ("constant 1+0j", False)),
    "complex that differ in sign": (torch.tensor([1 + 1j, 1 - 1j]), (None, False)),
    "true": (torch.ones(3, dtype=torch.bool), ("constant 1", False)),
    "nan": (torch.tensor([[0.1, math.nan], [0.2, 0.3]]), ("not finite", True)),
    "inf": (torch.tensor([0.1, -math.inf]), ("not finite", True)),
    "all nan": (torch.full((3,), math.nan), ("not finite", True)),
    "constant but for nan": (torch.tensor([1.0, math.nan]), ("not finite", True)),
    "empty": (torch.empty(0, 3), ("empty", False)),
    "vector of no known kind": (torch.arange(5.0), (None, False)),
    "integers": (torch.arange(20).view(4, 5), (None, False)),
    "too large": (_drawn("normal_", (256, 256), std=1.0), ("far from any known scale", True)),
    "too small": (_drawn("normal_", (256, 256), std=1e-3), ("far from any known scale", True)),
    "denormal": (torch.tensor([[5e-324, 0.0]], dtype=torch.float64), ("far from any known scale", True)),
    "overflow": (torch.tensor([[1.7e308, -1.7e308]], dtype=torch.float64), ("far from any known scale", True)),
    "uniform from 0": (_drawn("uniform_", (256, 256), b=0.1), ("mean far from 0", True)),
    "He": (_drawn("kaiming_normal_", (256, 64)), ("like He", False)),
    "He, uniform": (_drawn("kaiming_uniform_", (64, 32, 3, 3)), ("like He", False)),
    "He fan_out": (_drawn("kaiming_normal_", (256, 64), mode="fan_out"), ("like He fan_out", False)),
    "Xavier": (_drawn("xavier_uniform_", (256, 64)), ("like Xavier", False)),
    "larger than all": (2 * _drawn("kaiming_normal_", (64, 256), mode="fan_out"), ("2 x He fan_out", False)),
    "smaller than all": (_drawn("normal_", (300, 200), std=0.01), ("0.5 x N(0, 0.02)", False)),
    "LeCun": (_drawn("kaiming_normal_", (256, 64), nonlinearity="linear"), ("like LeCun", False)),
    "orthogonal": (_drawn("orthogonal_", (256, 64)), ("like orthogonal", False)),
    "square": (_drawn("orthogonal_", (64, 64)), ("like Xavier or LeCun or orthogonal", False)),
    "square He": (_drawn("kaiming_normal_", (64, 64)), ("like He", False)),
    "torch's default": (_drawn("kaiming_uniform_", (256, 64), a=5**0.5), ("like torch's default", False)),
    "0.02": (_drawn("normal_", (300, 200), std=0.02), ("like N(0, 0.02)", False)),
    "half precision": (_drawn("kaiming_normal_", (256, 64)).bfloat16(), ("like He", False)),
    "few values": (_drawn("kaiming_normal_", (4, 3)), ("like He", False)),
}


@pytest.mark.parametrize("label", VERDICTS)
def test_verdict(label: str) -> None:
    tensor, expected = VERDICTS[label]
    assert _said(tensor) == expected


@pytest.mark.parametrize(
    ("shape", "factor", "said"),
    [
        ((256, 64), 1.04, "like He"),
        ((256, 64), 0.96, "like He"),
        ((256, 64), 1.07, "1.1 x He"),
        ((256, 64), 0.93, "0.93 x He"),
        # The std of 12 draws has a standard error of a fifth.
        ((3, 4), 1.5, "like He fan_out"),
    ],
)
def test_like_allows_for_a_twentieth_or_the_sampling_error(shape: tuple[int, int], factor: float, said: str) -> None:
    values = _drawn("normal_", shape)
    values -= values.mean()
    std = max(math.sqrt(2 / shape[1]), math.sqrt(2 / shape[0]) if said.endswith("fan_out") else 0.0)
    assert _said(values / values.std(correction=0) * std * factor) == (said, False)


def test_mean_of_few_values_may_be_off() -> None:
    values = torch.tensor([[0.5, 0.1], [0.6, 0.2]])
    assert values.mean() > values.std()
    assert _said(values)[1] is False


@pytest.mark.parametrize("factor", [1 / 3.1, 1 / 2.9, 2.9, 3.1])
def test_far_is_three_times_beyond_all_known_scales(factor: float) -> None:
    tensor = torch.empty(400, 200)
    module = nn.Module()
    module.weight = nn.Parameter(tensor)
    known = scales(Parameter("weight", Layer("", module), "weight", tensor))
    edge = max(known.values()) if factor > 1 else min(known.values())
    values = _drawn("normal_", (400, 200))
    assert _said(values / values.std() * edge * factor)[1] is (not 1 / 3 < factor < 3)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: nn.Linear(64, 256), "weight"),
        (lambda: nn.Linear(64, 1000), "bias"),
        (lambda: nn.Conv2d(32, 64, 3, groups=4), "weight"),
        (lambda: nn.ConvTranspose2d(32, 64, 3, groups=4), "weight"),
        (lambda: nn.ConvTranspose2d(32, 900, 3), "bias"),
        (lambda: nn.Bilinear(30, 20, 40), "weight"),
        (lambda: nn.LSTM(200, 30), "weight_ih_l0"),
        (lambda: nn.GRU(20, 300), "bias_hh_l0"),
        (lambda: nn.LSTM(20, 300, proj_size=10), "weight_hr_l0"),
        (lambda: nn.LSTM(20, 300, proj_size=10), "bias_ih_l0"),
        (lambda: nn.LSTMCell(20, 300), "weight_ih"),
    ],
)
def test_what_torch_draws_is_like_torchs_default(make: Callable[[], nn.Module], name: str) -> None:
    torch.manual_seed(0)
    module = make()
    assert _said(module._parameters[name], module, name) == ("like torch's default", False)


def test_vector_beside_a_weight_is_a_bias_only_by_name() -> None:
    layer = nn.Linear(64, 1000)
    assert _said(layer.bias.detach(), layer, "scale") == (None, False)


def test_bias_around_another_value_has_no_scale() -> None:
    layer = nn.Linear(64, 1000)
    assert _said(layer.bias.detach() + 1.0, layer, "bias") == (None, False)


def test_bias_that_has_hardly_moved_from_zero_is_near_it() -> None:
    layer = nn.Linear(64, 1000)
    assert _said(_drawn("normal_", (1000,), std=1e-4), layer, "bias") == ("near 0", False)
    assert _said(1 + _drawn("normal_", (1000,), std=1e-4), layer, "bias") == (None, False)
    assert _said(_drawn("normal_", (1000,), std=5.0), layer, "bias") == ("far from any known scale", True)


def test_norms_of_weight_norm_have_no_scale() -> None:
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(64, 100))
    parametrized = layer.parametrizations.weight
    assert _said(parametrized.original0.detach(), parametrized, "original0") == (None, False)


def test_embedding_is_like_a_standard_normal() -> None:
    torch.manual_seed(0)
    embedding = nn.Embedding(1000, 64)
    assert _said(embedding.weight.detach(), embedding) == ("like N(0, 1)", False)
    assert _said(embedding.weight.detach(), nn.Linear(64, 1000))[0] != "like N(0, 1)"
    assert "torch's default" not in scales(Parameter("weight", Layer("", embedding), "weight", embedding.weight))


@pytest.mark.parametrize(
    ("path", "known"),
    [("wte", True), ("bert.embeddings.word_embeddings", True), ("shared", True), ("embeddings.dense", False)],
)
def test_name_tells_an_embedding_where_no_module_does(path: str, known: bool) -> None:
    for module, may in ((nn.Module(), known), (nn.Linear(64, 1000), False)):
        module.weight = nn.Parameter(torch.ones(1000, 64))
        named = Parameter(f"{path}.weight", Layer(path, module), "weight", module.weight)
        assert ("N(0, 1)" in scales(named)) is may


class Tied(nn.Module):
    """An embedding that is the head's weight too, and a layer that has two names."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 9, bias=False)
        self.embedding = nn.Embedding(9, 4)
        self.embedding.weight = self.head.weight
        self.one = nn.Linear(2, 2)
        self.other = self.one

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.embedding(x))


@pytest.mark.parametrize("how", ["script", "zip"])
def test_tied_parameters_are_shown_once_with_their_other_names(
    how: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, model = tmp_path / "tied", Tied()
    torch.jit.script(model).save(str(path)) if how == "script" else torch.save(model.state_dict(), path)
    assert cli.main(["inspect", str(path), "--json"]) == 0
    assert [(record["name"], record["tied"]) for record in json.loads(capsys.readouterr().out)] == [
        ("head.weight", "embedding.weight"),
        ("one.weight", "other.weight"),
        ("one.bias", "other.bias"),
    ]


def test_order_is_that_of_named_parameters() -> None:
    model = nn.Module()
    model.layer = nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3))
    model.own = nn.Parameter(torch.ones(2))
    assert [p.name for p in parameters(model)] == [name for name, _ in model.named_parameters()]
    assert parameters(model)[0].name == "own"


def test_fans_are_the_layers_and_so_are_he_and_xavier(records: Callable[..., dict]) -> None:
    record = records(nn.Sequential(nn.ConvTranspose2d(6, 4, 3, groups=2), nn.LayerNorm(5)))
    assert (record["0.weight"]["fan_in"], record["0.weight"]["fan_out"]) == (27, 18)
    assert record["0.weight"]["he"] == pytest.approx(math.sqrt(2 / 27))
    assert record["0.weight"]["xavier"] == pytest.approx(math.sqrt(2 / 45))
    assert {record["1.weight"][key] for key in ("fan_in", "fan_out", "he", "xavier")} == {None}


class Odd(nn.Module):
    """Parameters that no layer has."""

    def __init__(self) -> None:
        super().__init__()
        self.scalar = nn.Parameter(torch.tensor(2.0))
        self.waves = nn.Parameter(torch.tensor([1 + 1j, 3 - 1j]))
        self.broken = nn.Parameter(torch.tensor([[math.nan, math.inf, 0.0, 0.0]]))
        self.count = nn.Parameter(torch.tensor([1, 2]), requires_grad=False)
        self.empty = nn.Parameter(torch.empty(0, 3))
        self.halves = nn.Parameter(torch.tensor([1.0, 0.0, 0.0, 2.0], dtype=torch.float16))

    def forward(self, x: Tensor) -> Tensor:
        return x


def test_table_of_odd_parameters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _inspected(Odd(), tmp_path) == 0
    assert_expected_inline(
        capsys.readouterr().out,
        """\
name    shape   dtype      fan_in  fan_out  mean    std  min  max  zeros  not_finite     he  xavier  verdict
scalar  scalar  float32         -        -     2      0    2    2      0           0      -       -  constant 2
waves   2       complex64       -        -  2+0j   1.41    -    -      0           0      -       -  -
broken  1x4     float32         4        1     0      0    0    0    0.5           2  0.707   0.632  not finite
count   2       int64           -        -   1.5    0.5    1    2      0           0      -       -  -
empty   0x3     float32         -        -     -      -    -    -      -           0      -       -  empty
halves  4       float16         -        -  0.75  0.829    0    2    0.5           0      -       -  -
""",
    )


def test_json_of_odd_parameters_is_strict_and_says_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    assert _inspected(Odd(), tmp_path, "--json") == 0
    found = {r["name"]: r for r in json.loads(capsys.readouterr().out, parse_constant=refuse)}
    assert all(tuple(record) == COLUMNS for record in found.values())
    assert found["halves"] == {
        **{"name": "halves", "shape": [4], "dtype": "float16", "fan_in": None, "fan_out": None, "mean": 0.75},
        **{"std": pytest.approx(math.sqrt(11) / 4), "min": 0.0, "max": 2.0, "zeros": 0.5, "not_finite": 0},
        **{"he": None, "xavier": None, "verdict": None, "tied": None},
    }
    assert found["broken"]["not_finite"] == 2
    assert found["broken"]["zeros"] == 0.5
    assert found["empty"]["mean"] is None
    assert found["empty"]["zeros"] is None


def _terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    out = io.StringIO()
    out.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stdout", out)
    return out


def test_bad_rows_alone_are_colored_on_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    out = _terminal(monkeypatch)
    assert _inspected(Odd(), tmp_path) == 0
    assert [line.split()[0] for line in out.getvalue().splitlines() if "\033[" in line] == ["\033[33mbroken"]


def test_no_color_is_heeded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    out = _terminal(monkeypatch)
    assert _inspected(Odd(), tmp_path) == 0
    assert "broken" in out.getvalue()
    assert "\033" not in out.getvalue()


def test_names_in_a_file_cannot_drive_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"a\033[2Jb\nc": torch.ones(2)}, tmp_path / "names")
    assert cli.main(["inspect", str(tmp_path / "names")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[1].startswith(r"a\x1b[2Jb\nc ")
    assert cli.main(["inspect", str(tmp_path / "names"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["name"] == "a\033[2Jb\nc"


def test_model_without_parameters_is_said_to_have_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _inspected(nn.ReLU(), tmp_path, "--json") == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out) == []
    assert shown.err == f"torchinit: {tmp_path}/model.pt holds no parameters\n"


@pytest.mark.parametrize("plot", [True, False])
@pytest.mark.parametrize("terminal", [True, False])
def test_progress_is_shown_after_a_second_and_leaves_the_output_alone(
    terminal: bool, plot: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_inspect, "Progress", lambda total, after: _inspect_progress(total, after - 1.0))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    assert _inspected(nn.Linear(2, 3), tmp_path, "--json", *(["--plot", str(tmp_path / "a.png")] if plot else [])) == 0
    shown = capsys.readouterr()
    assert len(json.loads(shown.out)) == 2
    expected = "[1/2] {0} ...\n"
    if terminal:
        expected = "\r\033[K[1/2] {0} weight\r\033[K[2/2] {0} bias\r\033[K"
    assert shown.err == "".join(expected.format(phase) for phase in ["measuring", "drawing"][: 1 + plot])


_inspect_progress = _inspect.Progress


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["none.pt"], 1, "[Errno 2] No such file or directory: 'none.pt'"),
        (["model.pt", "--plot", "model.pt"], 1, "--plot must name another file than the input, got model.pt"),
        (["model.pt", "--plot", "none/out.png"], 1, "[Errno 2] No such file or directory: 'none/out.png'"),
        (["model.pt", "--plot", "out.pdf"], 2, "--plot writes a PNG file, got out.pdf"),
        (["model.pt", "--recipe", "xavier"], 2, "--recipe is for --plot OUT.png, which is missing"),
        (["model.pt", "--seed", "x"], 2, "argument --seed: invalid int value: 'x'"),
        ([], 2, "the following arguments are required: FILE"),
    ],
)
def test_what_is_asked_wrongly_gets_one_line(
    options: list[str],
    code: int,
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    # By a link, the input too is an output that ends in .png or in nothing.
    torch.save({"w": torch.ones(2)}, "model.pt")
    if "model.pt" in options[1:]:
        Path("link.png").symlink_to("model.pt")
        options, message = ["model.pt", "--plot", "link.png"], message.replace("got model.pt", "got link.png")
    before = Path("model.pt").read_bytes()
    try:
        got = cli.main(["inspect", *options])
    except SystemExit as stop:
        got = stop.code
    shown = capsys.readouterr()
    assert got == code
    assert shown.err.splitlines()[-1].endswith(message)
    assert Path("model.pt").read_bytes() == before


def test_matplotlib_is_asked_for_before_the_file_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert cli.main(["inspect", str(tmp_path / "none.pt"), "--plot", str(tmp_path / "out.png")]) == 1
    assert capsys.readouterr().err == (
        "torchinit: --plot needs the package matplotlib: pip install 'torchinit[plot]'\n"
    )


class Figures:
    """Keeps the figures that are drawn."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.figures: list[Any] = []
        png = _plot.png

        def keep(figure: Any) -> bytes:
            self.figures.append(figure)
            return png(figure)

        monkeypatch.setattr(_plot, "png", keep)

    @property
    def texts(self) -> list[str]:
        return [text.get_text() for text in self.figures[-1].texts]


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> Figures:
    return Figures(monkeypatch)


def test_plot_is_a_png_with_a_panel_a_parameter(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], figures: Figures
) -> None:
    assert _inspected(nn.Linear(20, 30), tmp_path, "--plot", str(tmp_path / "out.png")) == 0
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
    assert _inspected(model, tmp_path, "--plot", str(tmp_path / "a.png"), "--recipe", "xavier", "--seed", "3") == 0
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
        assert _inspected(model, tmp_path, "--plot", str(tmp_path / "a.png"), "--recipe", "xavier", "--seed", seed) == 0
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
    assert _inspected(nn.Linear(3, 4), tmp_path, *options) == 0
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
    assert _inspected(nn.Sequential(*layers), tmp_path, "--plot", str(tmp_path / "many.png")) == 0
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

    def keep(figure: Figure) -> bytes:
        pages.append(figure)
        return b""

    values = _drawn("normal_", (30, 30), std=123.456) + 1000
    name = "module.encoder.layers.layer.11.attention.output.WWWWWWWW.weight"
    panels = [_plot.Panel.of(name, values, values * 2, "mean far from 0", True)] * count
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_plot, "png", keep)
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
