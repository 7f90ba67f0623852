"""Does each gain equal its formula by quadrature, and do the fans equal a layer's connections?"""

import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.special
import torch
from torch import nn

import torchinit
from tools.codegen.functions import NONLINEARITY

# Each function of torch in numpy, its kinks, and its parameter if it has one.
Function = Callable[..., np.ndarray]
FUNCTIONS: dict[str, tuple[Function, tuple[float, ...], tuple[float, ...]]] = {
    "gelu": (lambda z: z * scipy.special.ndtr(z), (), ()),
    "gelu_tanh": (lambda z: z / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3))), (), ()),
    "silu": (lambda z: z * scipy.special.expit(z), (), ()),
    "swish": (lambda z: z * scipy.special.expit(z), (), ()),
    "mish": (lambda z: z * np.tanh(np.logaddexp(z, 0)), (), ()),
    "softplus": (lambda z: np.logaddexp(z, 0), (), ()),
    "hardswish": (lambda z: z * np.clip(z + 3, 0, 6) / 6, (-3, 3), ()),
    "hardsigmoid": (lambda z: np.clip(z + 3, 0, 6) / 6, (-3, 3), ()),
    "relu6": (lambda z: np.clip(z, 0, 6), (6,), ()),
    "softsign": (lambda z: z / (1 + abs(z)), (), ()),
    "squared_relu": (lambda z: np.maximum(z, 0) ** 2, (), ()),
    "elu": (lambda z, a: np.maximum(z, 0) + a * np.expm1(np.minimum(z, 0)), (), (1.0, 0.1, 0.5, 2.0, 40.0)),
    "celu": (
        lambda z, a: np.maximum(z, 0) + a * np.expm1(np.minimum(z, 0) / a),
        (),
        (1.0, 0.02, 0.5, 7.071, 7.0711, 200.0, 3e3),
    ),
    "hardtanh": (lambda z, c: np.clip(z, -c, c), (), (1.0, 1e-6, 1e-3, 0.4999, 0.5, 3.0, 30.0)),
    "sine": (lambda z, w: np.sin(w * z), (), (1.0, 1e-3, 0.5, 3.0)),
    "relu": (lambda z: np.maximum(z, 0), (), ()),
    "leaky_relu": (lambda z, s: np.where(z > 0, z, s * z), (), (0.01, 0.2, -1.5)),
    "linear": (lambda z: z, (), ()),
}
PARAMETERS = [(name, parameter) for name, (_, _, given) in FUNCTIONS.items() for parameter in given or (None,)]


def _by_quadrature(function: Function, kinks: tuple[float, ...], *parameter: float) -> float:
    """Integrate by Gauss's rule in float64, whose error is below 1e-14 here."""
    # The density is negligible beyond 16. Cut at every unit and kink, so that each piece is smooth.
    marks = {*range(-16, 17), *kinks, *(s * p for p in parameter for s in (-1, 1))}
    cuts = np.array(sorted(cut for cut in marks if abs(cut) <= 16), dtype=np.float64)
    points, weights = np.polynomial.legendre.leggauss(60)
    halves = np.diff(cuts)[:, None] / 2
    z = cuts[:-1, None] + halves * (points + 1)
    values = function(z, *parameter) ** 2 * np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    return 1 / math.sqrt(math.fsum((halves * weights * values).ravel()))


@pytest.mark.parametrize(("name", "parameter"), PARAMETERS, ids=str)
def test_gain_is_one_over_the_root_of_the_second_moment(name: str, parameter: float | None) -> None:
    function, kinks, _ = FUNCTIONS[name]
    expected = _by_quadrature(function, kinks, *([] if parameter is None else [parameter]))
    assert torchinit.calculate_gain(name, parameter) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("name", ["hardtanh", "sine"])
def test_gain_of_a_tiny_parameter_is_its_inverse(name: str) -> None:
    assert torchinit.calculate_gain(name, 1e-200) == pytest.approx(1e200, rel=1e-12)


def test_default_parameters_are_those_of_torch() -> None:
    for name in ("elu", "celu", "hardtanh", "sine"):
        assert (
            torchinit.calculate_gain(name) == torchinit.calculate_gain(name, 1) == torchinit.calculate_gain(name, 1.0)
        )
    assert nn.ELU().alpha == nn.CELU().alpha == nn.Hardtanh().max_val == 1


def test_upstream_gains_that_differ_from_the_formula_are_documented() -> None:
    scale, alpha = 1.0507009873554804934, 1.6732632423543772848
    exact = {
        "tanh": (np.tanh, 5 / 3),
        "sigmoid": (scipy.special.expit, 1),
        "selu": (lambda z: scale * np.where(z > 0, z, alpha * np.expm1(z)), 3 / 4),
    }
    gains = {}
    for name, (function, upstream) in exact.items():
        assert torchinit.calculate_gain(name) == upstream == torch.nn.init.calculate_gain(name)
        gains[name] = _by_quadrature(function, ())
        assert abs(gains[name] - upstream) > 0.05
    told = f"gain of tanh is {gains['tanh']:.6f}, that of sigmoid {gains['sigmoid']:.6f} and that of selu {gains['selu']:g}."
    assert told in " ".join(str(torchinit.calculate_gain.__doc__).split())


def test_documented_table_equals_the_returned_gains() -> None:
    lines = str(torchinit.calculate_gain.__doc__).splitlines()
    told = {}
    for line in lines:
        words = line.replace("silu, swish", "silu").split()
        if len(words) >= 2 and words[0] in FUNCTIONS and words[1][:1].isdigit():
            told[words[0]] = words[1]
    assert set(told) == set(NONLINEARITY.values[12:]) - {"swish"}
    assert told == {name: f"{torchinit.calculate_gain(name):.6f}" for name in told}


@pytest.mark.parametrize("name", ["gelu", "softplus", "squared_relu"])
def test_parameter_of_a_function_that_has_none_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} takes no parameter, got 2$"):
        torchinit.calculate_gain(name, 2)


@pytest.mark.parametrize("name", ["elu", "celu", "hardtanh", "sine"])
@pytest.mark.parametrize("parameter", [0, -1.0, float("nan"), float("inf"), True, "1"], ids=repr)
def test_parameter_that_is_not_a_positive_number_is_refused(name: str, parameter: object) -> None:
    with pytest.raises(ValueError, match=f"^the parameter of {name} must be a positive number, got "):
        torchinit.calculate_gain(name, parameter)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [name for name in NONLINEARITY.values if name not in ("leaky_relu", "selu", "tanh")])
def test_kaiming_takes_every_nonlinearity(name: str) -> None:
    torch.manual_seed(0)
    weight = torchinit.kaiming_normal_(torch.empty(64, 400), nonlinearity=name)
    torch.manual_seed(0)
    std = torchinit.calculate_gain(name) / math.sqrt(400)
    assert torch.equal(weight, torchinit.normal_(torch.empty(64, 400), 0.0, std))


def test_kaiming_passes_a_parameter_on_and_its_default_is_none() -> None:
    for a, parameter in ((0.0, None), (0, None), (0.3, 0.3), (2, 2.0)):
        torch.manual_seed(0)
        weight = torchinit.kaiming_uniform_(torch.empty(7, 9), a, nonlinearity="elu")
        torch.manual_seed(0)
        bound = math.sqrt(3) * torchinit.calculate_gain("elu", parameter) / 3
        assert torch.equal(weight, torchinit.uniform_(torch.empty(7, 9), -bound, bound))


@pytest.mark.parametrize("name", ["gelu", "silu", "mish", "elu", "softsign", "hardswish", "sine"])
def test_layer_after_a_nonlinearity_has_the_variance_that_came_before(name: str) -> None:
    torch.manual_seed(0)
    function = {"sine": torch.sin}.get(name) or getattr(nn.functional, name)
    x, weight = torch.randn(2000, 500), torchinit.kaiming_normal_(torch.empty(500, 500), nonlinearity=name)
    assert (function(x) @ weight.T).std().item() == pytest.approx(1.0, abs=0.02)


def test_depth_scaled_std_sums_to_the_same_scale_at_any_depth() -> None:
    for layers, branches in ((1, 1), (12, 2), (48, 3)):
        assert layers * branches * torchinit.depth_scaled_std(0.02, layers, branches) ** 2 == pytest.approx(0.02**2)
    assert torchinit.depth_scaled_std(0.02, 12) == 0.02 / math.sqrt(24)
    for wrong in ((0, 2), (3, 0), (-1, 2)):
        with pytest.raises(ValueError, match=f"^layers and branches must be at least 1, got {wrong[0]} and {wrong[1]}"):
            torchinit.depth_scaled_std(1.0, *wrong)


def _connections(layer: nn.Module, outputs: bool, x: torch.Tensor) -> int:
    """Count the inputs of one output, or the outputs of one input, in the middle of a layer whose weights are 1."""
    torchinit.ones_(layer.weight)
    x.requires_grad_()
    y = layer(x)
    middle = tuple(size // 2 for size in y.shape[2:])
    if not outputs:
        y[(0, 0, *middle)].backward()
        return int(x.grad.sum())
    y.sum().backward()
    return int(x.grad[(0, 0, *(size // 2 for size in x.shape[2:]))])


@pytest.mark.parametrize(
    ("layer", "x"),
    [
        (nn.Linear(5, 7, bias=False), torch.zeros(1, 5)),
        (nn.Conv1d(4, 6, 3, bias=False), torch.zeros(1, 4, 9)),
        (nn.Conv2d(4, 8, (3, 5), groups=2, bias=False), torch.zeros(1, 4, 11, 11)),
        (nn.Conv2d(6, 6, 3, groups=6, bias=False), torch.zeros(1, 6, 9, 9)),
        (nn.ConvTranspose1d(4, 6, 3, bias=False), torch.zeros(1, 4, 9)),
        (nn.ConvTranspose2d(8, 4, 3, groups=2, bias=False), torch.zeros(1, 8, 9, 9)),
        (nn.Conv3d(4, 2, 3, groups=2, bias=False), torch.zeros(1, 4, 7, 7, 7)),
    ],
    ids=str,
)
def test_fans_of_a_layer_are_its_connections(layer: nn.Module, x: torch.Tensor) -> None:
    counted = _connections(layer, False, x.clone()), _connections(layer, True, x.clone())
    assert torchinit.fans_of(layer) == counted
    traced = torch.jit.trace(layer, x)
    assert torchinit.fans_of(traced) == torchinit.fans_of(torch.jit.script(layer)) == counted


def test_fans_of_a_size_without_groups_are_upstreams() -> None:
    for size in ([3, 5], [6, 4, 3, 3], [2, 0, 3], [0, 4]):
        fans = torchinit._calculate_fan_in_and_fan_out(torch.empty(size))
        assert torchinit.fans(size) == fans
        assert torchinit.fans(size, transposed=True) == fans[::-1]
    assert torchinit.fans(torch.Size([4, 3])) == (3, 4)  # type: ignore[arg-type]


def test_fans_of_the_linear_layer_of_gpt2_are_those_of_x_at_weight() -> None:
    from transformers.pytorch_utils import Conv1D

    assert torchinit.fans_of(Conv1D(12, 5)) == (5, 12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([4],), r"Fan in and fan out can not be computed for tensor with fewer than 2 dimensions, got shape \[4\]"),
        (([4, 3, 1], 0), "groups must be at least 1, got 0"),
        (([4, 3, 1], 3), r"dim 0 must be divisible by groups, got shape \[4, 3, 1\] and groups=3"),
    ],
)
def test_fans_refuse_in_one_sentence(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        torchinit.fans(*arguments)


@pytest.mark.parametrize("module", [nn.LSTM(2, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.LazyLinear(3)], ids=str)
def test_fans_of_a_module_without_a_matrix_are_refused(module: nn.Module) -> None:
    kind = type(module).__name__
    with pytest.raises(
        ValueError, match=f"^fans_of needs a module whose weight has at least 2 dimensions, got {kind}$"
    ):
        torchinit.fans_of(module)


class Alone(nn.Module):
    """A weight without a forward."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(6, 4, 3))

    @torch.jit.export
    def shape(self) -> list[int]:
        return self.weight.shape


def test_fans_of_a_scripted_module_without_a_forward_are_those_of_the_shape() -> None:
    assert torchinit.fans_of(torch.jit.script(Alone())) == (12, 18)
