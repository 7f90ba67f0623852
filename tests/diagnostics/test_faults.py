"""Is each fault that is planted in a sound weight found and called by its name, and is no sound weight marked?"""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import torchinit
from tests.support.inspection import draw
from torchinit.diagnostics import ParameterStatistics, statistics


def _erfinv(weight: Tensor) -> Tensor:
    """Draw a truncated normal from a uniform one in bfloat16, whose ends erfinv takes to infinity."""
    uniform = torch.linspace(-1, 1, weight.numel())[torch.randperm(weight.numel())]
    return (uniform.bfloat16().erfinv() * math.sqrt(2.0)).clamp(-100, 100).float().view_as(weight) * 0.02


def _with(change: Callable[[Tensor], object]) -> Callable[[Tensor], Tensor]:
    def plant(weight: Tensor) -> Tensor:
        change(weight)
        return weight

    return plant


def _outliers(weight: Tensor) -> Tensor:
    far = 50 * weight.std()
    weight[0, 5], weight[9, 7] = far, -far
    return weight


def _grid(weight: Tensor, levels: int) -> Tensor:
    step = weight.abs().max() / levels
    return (weight / step).round() * step


def _checkerboard(weight: Tensor) -> Tensor:
    return weight * ((torch.arange(len(weight))[:, None] + torch.arange(weight.shape[1])) % 2)


# Changes to a sound weight of (3 n, n), and the words of the verdict.
FAULTS: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "identical rows": (lambda w: w[:1].expand_as(w).clone(), "383 of 384 rows are copies of others"),
    "a block copied to another": (_with(lambda w: w[128:256].copy_(w[:128])), "128 of 384 rows are copies of others"),
    "one row copied": (_with(lambda w: w[200].copy_(w[7])), "1 of 384 rows are copies of others"),
    "rank 1": (lambda w: 10 * torch.outer(w[:, 0], w[0]), "rank 1 of 128"),
    "rank 16": (lambda w: w[:, :16] @ w[:16], "rank 16 of 128"),
    "rank 64": (lambda w: w[:, :64] @ w[:64], "rank 64 of 128"),
    "every other row dead": (_with(lambda w: w[::2].zero_()), "192 of 384 rows are 0"),
    "half of the rows dead": (_with(lambda w: w[:192].zero_()), "192 of 384 rows are 0"),
    "one dead row": (_with(lambda w: w[5].zero_()), "1 of 384 rows are 0"),
    "half of the columns dead": (_with(lambda w: w[:, :64].zero_()), "64 of 128 columns are 0"),
    "one row and its negative": (
        lambda w: torch.cat([w[:1].expand(192, -1), -w[:1].expand(192, -1)]),
        "382 of 384 rows",
    ),
    "half of the columns copied": (lambda w: w[:, :64].repeat(1, 2), "64 of 128 columns are copies of others"),
    "constant rows": (lambda w: w[:, :1].expand_as(w).clone(), "384 of 384 rows are constant"),
    "nan": (_with(lambda w: w[3, 4].fill_(math.nan)), "not finite"),
    "inf": (_with(lambda w: w[3, 4].fill_(-math.inf)), "not finite"),
    "constant matrix": (lambda w: torch.full_like(w, 0.02), "constant 0.02"),
    "ones": (torch.ones_like, "constant 1"),
    "constant and little noise": (lambda w: 1 + 0.01 * w, "is far from 0"),
    "too large": (lambda w: 100 * w, " x He"),
    "too small": (lambda w: 1e-4 * w, " x He"),
    "shifted by a standard deviation": (lambda w: w + w.std(), "is far from 0"),
    "uniform from 0 to 1": (lambda w: draw("uniform_", tuple(w.shape)), "mean 0.5 is far from 0"),
    "absolute values": (torch.abs, "is far from 0"),
    "negative values cut off": (torch.relu, "50% of the values are 0"),
    "checkerboard": (_checkerboard, "50% of the values are 0"),
    "dropped at random": (lambda w: w * (draw("uniform_", tuple(w.shape)) > 0.5), "% of the values are 0"),
    "clamped to a standard deviation": (
        lambda w: w.clamp(-w.std().item(), w.std().item()),
        "of the values lie on a bound",
    ),
    "4 bits": (lambda w: _grid(w, 7), "different values among 8192"),
    "8 bits": (lambda w: _grid(w, 127), "different values"),
    "integers": (lambda w: (3 * w / w.std()).round(), "different values"),
    "a large column": (_with(lambda w: w[:, 7].mul_(100)), "column 7 is "),
    "a large row": (_with(lambda w: w[9].mul_(100)), "row 9 is "),
    "two outliers": (_outliers, "outliers "),
    "infinite erfinv, clamped": (_erfinv, "outliers "),
    "a ramp": (lambda w: torch.linspace(-0.1, 0.1, w.numel()).view_as(w), "rank 2 of 128"),
}
SOUND = {
    "He": lambda t: draw("kaiming_normal_", t),
    "N(0, 0.02)": lambda t: draw("normal_", t, std=0.02),
    "torch's default": lambda t: draw("kaiming_uniform_", t, a=math.sqrt(5)),
    "orthogonal": lambda t: draw("orthogonal_", t),
}


def _in_model(weight: Tensor) -> ParameterStatistics:
    rows, columns = weight.shape
    model = nn.Sequential(nn.Linear(columns, rows), nn.ReLU(), nn.Linear(rows, 10))
    model[0].weight.data = weight
    return statistics(model)[0]


def _in_state_dict(weight: Tensor) -> ParameterStatistics:
    head = draw("normal_", (10, len(weight)), std=0.02)
    return statistics({"blocks.0.attn.qkv.weight": weight, "head.weight": head})[0]


@pytest.mark.parametrize("where", [_in_model, _in_state_dict], ids=["module", "state dict"])
@pytest.mark.parametrize("sound", SOUND)
def test_weight_without_a_fault_is_not_marked(sound: str, where: Callable[[Tensor], ParameterStatistics]) -> None:
    assert not where(SOUND[sound]((384, 128))).bad


@pytest.mark.parametrize("where", [_in_model, _in_state_dict], ids=["module", "state dict"])
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("sound", ["He", "torch's default"])
def test_fault_is_found_and_named(sound: str, fault: str, where: Callable[[Tensor], ParameterStatistics]) -> None:
    plant, words = FAULTS[fault]
    row = where(plant(SOUND[sound]((384, 128))))
    assert row.bad
    assert words in str(row.verdict).partition(";")[0]


@pytest.mark.parametrize("fault", ["identical rows", "rank 16", "one dead row", "a block copied to another"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_fault_is_found_in_every_type(fault: str, dtype: torch.dtype) -> None:
    plant, words = FAULTS[fault]
    row = _in_model(plant(SOUND["orthogonal"]((384, 128))).to(dtype))
    assert row.bad
    assert words in str(row.verdict)


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2, torch.complex32], ids=str)
@pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental")
def test_weight_of_a_type_that_torch_computes_little_in_has_a_verdict(dtype: torch.dtype) -> None:
    def said(tensor: Tensor, name: str = "fc.weight") -> str:
        return str(statistics({name: tensor.to(dtype)})[0].verdict)

    def drawn(*shape: int) -> Tensor:
        kind = torch.complex64 if dtype.is_complex else torch.float32
        return torchinit.normal_(torch.empty(shape, dtype=kind), std=0.1, generator=torch.Generator().manual_seed(0))

    for shape in ((192, 64), (64, 64), (64, 32, 3, 3)):
        assert said(drawn(*shape)).startswith("normal, std 0.")
    assert said(drawn(4, 16, 16), "moe.experts").startswith("normal, std 0.")
    assert said(torch.eye(64)) == "identity"
    assert said(torch.cat([torch.eye(64)] * 2)) == "identity in 2 blocks"
    assert said(drawn(1, 256).expand(128, 256)).startswith("127 of 128 rows are copies of others")


def test_fault_of_a_stack_or_of_columns_is_found() -> None:
    experts = nn.Module()
    experts.down_proj = nn.Parameter(draw("normal_", (4, 64, 128), std=0.02))
    row = statistics(experts)[0]
    assert (row.bad, row.fan_in, row.fan_out) == (False, 128, 64)
    experts.down_proj.data[2, 5] = 0.0
    assert statistics(experts)[0].verdict == "1 of 256 rows are 0; normal, std 0.02"

    class Conv1D(nn.Module):
        """Computes x @ weight, as that of transformers."""

    layer = Conv1D()
    layer.weight = nn.Parameter(draw("normal_", (128, 384), std=0.02))
    layer.weight.data[:, 3] = layer.weight.data[:, 200]
    assert statistics(layer)[0].verdict == "1 of 384 rows are copies of others; normal, std 0.02"


SHAPES = [(256, 64), (64, 256), (10, 64), (1, 64), (300, 3), (16, 16), (64, 32, 3, 3), (64, 1, 3, 3), (48, 32, 3)]
SCHEMES: dict[str, Callable[[tuple[int, ...]], Tensor]] = {
    "He": lambda s: draw("kaiming_uniform_", s),
    "fan_out": lambda s: draw("kaiming_normal_", s, mode="fan_out"),
    "0.02": lambda s: draw("trunc_normal_", s, std=0.02),
    "cut": lambda s: draw("trunc_normal_", s, std=0.02, a=-0.04, b=0.04),
    "lecun": lambda s: draw("lecun_normal_", s),
    "orthogonal": lambda s: draw("orthogonal_", s, gain=0.01),
    "zero": torch.zeros,
    "power of ten": lambda s: draw("normal_", s, std=1e-6),
    "siren": lambda s: draw("uniform_", s, a=-1 / math.prod(s[1:]), b=1 / math.prod(s[1:])),
    "two-valued": lambda s: draw("normal_", s).sign() / math.sqrt(s[1]),
    "looks linear": lambda s: torch.cat([w := draw("kaiming_normal_", s), -w]),
    "unit rows": lambda s: nn.functional.normalize(draw("normal_", s).flatten(1)).view(s),
    "sparse": lambda s: draw("sparse_", s[:2], sparsity=0.9),
    "identity": lambda s: torchinit.eye_(torch.empty(s[:2])) * 0.1,
    "identity and noise": lambda s: torch.eye(*s[:2]) * 0.7 + draw("normal_", s[:2], std=0.02),
    "near zero in part": lambda s: torch.cat([draw("normal_", s, std=0.05), draw("normal_", s, std=1e-6).flip(0, 1)]),
    "triangle": lambda s: draw("normal_", (s[0], s[0]), std=0.1).tril(-1),
    "blocks": lambda s: torch.block_diag(*draw("normal_", (4, s[0], 16), std=0.1)),
    "dirac": lambda s: torchinit.dirac_(torch.empty(s if len(s) > 2 else (*s, 3))),
    "grouped dirac": lambda s: torchinit.dirac_(torch.empty(64, 16, 3, 3), groups=4),
    "delta": lambda s: draw("delta_orthogonal_", (64, 32, 3, 3)),
    "icnr": lambda s: draw("icnr_", (36, s[1], 3, 3)),
    "bilinear": lambda s: torchinit.bilinear_(torch.empty(8, 8, 4, 4)),
    "grouped bilinear": lambda s: torchinit.bilinear_(torch.empty(8, 1, 4, 4), groups=8),
    "masked kernel": lambda s: (
        draw("kaiming_normal_", (64, 32, 3, 3)) * torch.tensor([1.0, 1, 1, 1, 0, 0, 0, 0, 0]).view(3, 3)
    ),
}


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_sound_scheme_is_not_marked(scheme: str, dtype: torch.dtype) -> None:
    weights = {str(shape): SCHEMES[scheme](shape).to(dtype) for shape in SHAPES}
    # Each is a model of its own, so that two zero weights do not follow each other.
    rows = [statistics({f"{name}.weight": weight})[0] for name, weight in weights.items()]
    assert [(row.shape, row.verdict) for row in rows if row.bad] == []


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
def test_columns_that_are_copies_are_found_among_the_parts_of_complex_numbers_too(dtype: torch.dtype) -> None:
    weight = torch.randn(64, 64, dtype=dtype, generator=torch.Generator().manual_seed(0))
    weight[:, 40:] = weight[:, 8:32]
    (row,) = statistics({"weight": weight})
    columns = 64 * (2 if dtype.is_complex else 1)
    assert str(row.verdict).startswith(f"{3 * columns // 8} of {columns} columns are copies")
    weight = torch.randn(64, 64, dtype=dtype, generator=torch.Generator().manual_seed(0))
    weight[:, 60] *= 100.0
    (row,) = statistics({"weight": weight})
    assert str(row.verdict).startswith("column ")
    assert " x the others" in str(row.verdict)
