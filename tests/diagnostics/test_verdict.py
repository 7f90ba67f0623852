"""Does the verdict say how a parameter was drawn, and which known initialization that is?"""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import torchinit
from tests.support.inspection import draw, row_of, verdict_of
from torchinit.diagnostics import statistics

GENERATOR = torch.Generator().manual_seed(0)

VERDICTS: dict[str, tuple[Tensor, tuple[str | None, bool]]] = {
    "zeros of a matrix": (torch.zeros(4, 5), ("constant 0", False)),
    "a half of a matrix": (torch.full((4, 5), 0.5), ("constant 0.5", True)),
    "zeros of a vector": (torch.zeros(4), ("constant 0", False)),
    "ones of a vector": (torch.ones(4), ("constant 1", False)),
    "ones of a column": (torch.ones(4, 1), ("constant 1", False)),
    "scalar": (torch.tensor(2.5), ("constant 2.5", False)),
    "complex ones": (torch.ones(3, dtype=torch.complex64), ("constant 1+0j", False)),
    "complex that differ in sign": (torch.tensor([1 + 1j, 1 - 1j]), (None, False)),
    "true": (torch.ones(3, dtype=torch.bool), ("constant 1", False)),
    "nan": (torch.tensor([[0.1, math.nan], [0.2, 0.3]]), ("not finite", True)),
    "inf": (torch.tensor([0.1, -math.inf]), ("not finite", True)),
    "all nan": (torch.full((3,), math.nan), ("not finite", True)),
    "constant but for nan": (torch.tensor([1.0, math.nan]), ("not finite", True)),
    "empty": (torch.empty(0, 3), ("empty", False)),
    "vector of no known kind": (torch.arange(5.0), (None, False)),
    "integers": (torch.arange(20).view(4, 5), ("integers", False)),
    "too large": (draw("normal_", (256, 256), std=1.0), ("std 0.999 is 11 x He; normal, std 1", True)),
    "too small": (
        draw("normal_", (256, 256), std=2e-6),
        ("std 2e-06 is 2.3e-05 x He; normal, std 2e-06", True),
    ),
    "small": (draw("normal_", (256, 256), std=1e-3), ("normal, std 0.001", False)),
    "overflow": (torch.tensor([[1.7e308, -1.7e308]], dtype=torch.float64), ("too large to be measured", True)),
    "large doubles": (
        1e200 * draw("normal_", (64, 64)).double(),
        ("too large to be measured", True),
    ),
    "uniform from 0": (
        draw("uniform_", (256, 256), b=0.1),
        ("mean 0.05 is far from 0; uniform from 6.79e-07 to 0.1", True),
    ),
    "He": (draw("kaiming_normal_", (256, 64)), ("normal, std 0.177 = He (fan_in)", False)),
    "He, uniform": (draw("kaiming_uniform_", (64, 32, 3, 3)), ("uniform, bound 0.144 = He (fan_in)", False)),
    "He fan_out": (draw("kaiming_normal_", (256, 64), mode="fan_out"), ("normal, std 0.0884 = He (fan_out)", False)),
    "Xavier": (draw("xavier_uniform_", (256, 64)), ("uniform, bound 0.137 = Xavier", False)),
    "Xavier of blocks": (
        torch.cat([draw("xavier_normal_", (128, 128)), draw("xavier_normal_", (128, 128)).flip(1)]),
        ("normal, std 0.0884 = He (fan_out) or LeCun", False),
    ),
    "twice": (2 * draw("kaiming_normal_", (64, 256), mode="fan_out"), ("normal, std 0.36, 2 x He (fan_out)", False)),
    "odd": (draw("normal_", (300, 200), std=0.01234), ("normal, std 0.0123, 0.19 x Xavier", False)),
    "round": (draw("normal_", (300, 200), std=0.03), ("normal, std 0.03", False)),
    "LeCun": (draw("kaiming_normal_", (256, 64), nonlinearity="linear"), ("normal, std 0.125 = LeCun", False)),
    "tanh": (draw("xavier_normal_", (256, 64), gain=5 / 3), ("normal, std 0.132 = 5/3 x Xavier", False)),
    "small init": (
        draw("normal_", (512, 320), std=math.sqrt(0.4 / 320)),
        ("normal, std 0.0354 = sqrt(2 / (5 fan_in))", False),
    ),
    "square He": (draw("kaiming_normal_", (64, 64)), ("normal, std 0.177 = He", False)),
    "torch's default": (
        draw("kaiming_uniform_", (256, 64), a=5**0.5),
        ("uniform, bound 0.125 = torch's default", False),
    ),
    "number of a bound": (draw("uniform_", (256, 64), a=-0.1, b=0.1), ("uniform, bound 0.1", False)),
    "root of a size": (
        draw("normal_", (96, 512), std=1 / math.sqrt(512 * 64)),
        ("normal, std 0.00552 = 1 / sqrt(32768)", False),
    ),
    "0.02": (draw("normal_", (300, 200), std=0.02), ("normal, std 0.02", False)),
    "0.02, few": (draw("normal_", (20, 12), std=0.02), ("normal, std 0.0187 ~ 0.02", False)),
    "cut at 100": (draw("trunc_normal_", (300, 200), std=0.02), ("normal, std 0.02", False)),
    "cut at 2": (
        draw("trunc_normal_", (300, 200), std=0.02, a=-0.04, b=0.04),
        ("truncated normal, std 0.02 before the cut at 2 std", False),
    ),
    "lecun_normal_": (draw("lecun_normal_", (300, 200)), ("truncated normal, std 0.0707 = LeCun, cut at 2 std", False)),
    "two-valued": (draw("normal_", (60, 40)).sign(), ("two-valued, -1 and 1", False)),
    "half precision": (draw("kaiming_normal_", (256, 64)).bfloat16(), ("normal, std 0.177 = He (fan_in)", False)),
    "complex": (
        torch.complex(draw("normal_", (64, 64)), draw("normal_", (64, 64)).flip(0)) / 50,
        ("normal, std 0.02", False),
    ),
    "few values": (draw("kaiming_normal_", (4, 3)), ("std 0.809 ~ He (fan_in)", False)),
    "orthogonal": (draw("orthogonal_", (256, 64), gain=math.sqrt(2)), ("orthogonal, gain 1.41 = sqrt(2)", False)),
    "wide": (draw("orthogonal_", (64, 256), gain=0.01).half(), ("orthogonal, gain 0.01", False)),
    "orthogonal kernel": (draw("orthogonal_", (16, 8, 3, 3)), ("orthogonal, gain 1", False)),
    "orthogonal gates": (
        torch.cat([nn.init.orthogonal_(torch.empty(32, 32), generator=GENERATOR) for _ in range(4)]),
        ("orthogonal in 4 blocks, gain 1", False),
    ),
    "delta": (draw("delta_orthogonal_", (16, 8, 3, 3)), ("orthogonal at the center of the kernel, gain 1", False)),
    "identity": (torch.eye(6, 9) * 0.5, ("0.5 x identity", False)),
    "identity of gates": (torch.eye(8).repeat(4, 1), ("identity in 4 blocks", False)),
    "near an identity": (
        0.7 * torch.eye(64) + draw("normal_", (64, 64), std=0.02),
        ("0.7 x identity + normal, std 0.02", False),
    ),
    "dirac": (torchinit.dirac_(torch.empty(8, 4, 3, 3), groups=2), ("dirac", False)),
    "bilinear": (torchinit.bilinear_(torch.empty(3, 3, 4, 4)), ("bilinear", False)),
    "icnr": (
        draw("icnr_", (256, 32, 3, 3)),
        ("each output 4 times, as by icnr_, normal, std 0.0833 = He (fan_in)", False),
    ),
    "sparse": (draw("sparse_", (256, 64), sparsity=0.5, std=0.1), ("sparse, 50% zeros, normal, std 0.1", False)),
}


@pytest.mark.parametrize("label", VERDICTS)
def test_verdict(label: str) -> None:
    tensor, expected = VERDICTS[label]
    assert verdict_of(tensor) == expected


def test_fields_say_the_same_as_the_words() -> None:
    row = row_of(draw("kaiming_normal_", (256, 64)))
    assert (row.distribution, row.scheme, row.gain) == ("normal", "He (fan_in)", None)
    row = row_of(draw("orthogonal_", (256, 64), gain=2.0))
    assert (row.distribution, row.scheme, row.gain) == ("orthogonal", None, pytest.approx(2.0))
    row = row_of(torch.zeros(3))
    assert (row.distribution, row.scheme, row.gain) == ("constant", None, None)


@pytest.mark.parametrize("factor", [0.96, 0.99, 1.01, 1.04])
def test_a_scheme_is_named_within_the_sampling_error(factor: float) -> None:
    for shape, near in (((256, 64), 0.025), ((4, 8), 0.6)):
        values = draw("normal_", shape)
        values -= values.mean()
        scaled = values / values.std(correction=0) * math.sqrt(2 / shape[1]) * factor
        assert (row_of(scaled).scheme == "He (fan_in)") is (abs(factor - 1) < near)


def test_mean_of_few_values_may_be_off() -> None:
    values = torch.tensor([[0.5, 0.1], [0.6, 0.2]])
    assert values.mean() > values.std()
    assert verdict_of(values)[1] is False
    assert verdict_of(draw("uniform_", (8, 8), b=0.5)) == (
        "mean 0.235 is far from 0; uniform from 0.0112 to 0.499",
        True,
    )


@pytest.mark.parametrize(("factor", "bad"), [(4.5, False), (5.5, True), (2e-3, False), (2e-4, True)])
@pytest.mark.parametrize("fans", [(200, 400), (400, 200)])
def test_std_is_compared_with_the_fans(fans: tuple[int, int], factor: float, bad: bool) -> None:
    model = nn.Sequential(nn.Linear(*fans), nn.Linear(fans[1], 3))
    values = draw("normal_", fans[::-1])
    model[0].weight.data = values / values.std() * math.sqrt(2 / min(fans)) * factor
    assert statistics(model)[0].bad is bad


def test_head_may_be_nearly_zero_and_another_class_may_scale_its_weight() -> None:
    model = nn.ModuleDict({"fc1": nn.Linear(300, 300), "head": nn.Linear(300, 300)})
    for layer in model.values():
        layer.weight.data = draw("normal_", (300, 300), std=2e-6)
    assert [row.bad for row in statistics(model) if row.name.endswith("weight")] == [True, False]
    equalized = type("EqualizedLinear", (nn.Module,), {})()
    assert verdict_of(draw("normal_", (300, 300)), equalized) == ("normal, std 1", False)
    assert verdict_of(draw("normal_", (300, 300)), nn.Linear(300, 300))[1]


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
def test_default_of_torch_is_recognized(make: Callable[[], nn.Module], name: str) -> None:
    torch.manual_seed(0)
    module = make()
    row = row_of(module._parameters[name], module, name)
    assert (row.distribution, row.scheme, row.bad) == ("uniform", "torch's default", False)


def test_vector_beside_a_weight_is_a_bias_only_by_name() -> None:
    layer = nn.Linear(64, 1000)
    assert row_of(layer.bias.detach().clone(), layer, "scale").scheme != "torch's default"


def test_vectors_have_no_scale_that_is_bad() -> None:
    layer = nn.Linear(64, 1000)
    assert verdict_of(layer.bias.detach() + 1.0, layer, "bias") == ("uniform from 0.875 to 1.12", False)
    assert verdict_of(draw("normal_", (1000,), std=1e-4), layer, "bias") == ("normal, std 0.000103", False)
    assert verdict_of(1 + draw("normal_", (1000,), std=0.02), layer, "bias") == ("normal, mean 1, std 0.0206", False)
    assert verdict_of(draw("normal_", (1000,), std=5.0), layer, "bias")[1] is False


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("A_log", torch.arange(1.0, 17).log().repeat(64, 1)),
        ("gamma", torch.full((96, 1, 1), 1e-6)),
        ("cls_token", draw("normal_", (1, 1, 192), std=1e-6)),
        ("pos_embed", torch.ones(1, 50, 192)),
        ("relative_position_bias_table", torch.zeros(49, 3)),
        ("logit_scale", torch.tensor(2.66)),
        ("dt_bias", draw("uniform_", (64,), a=-7.0, b=-2.0)),
    ],
)
def test_parameter_that_is_no_weight_is_not_judged_by_fans(name: str, tensor: Tensor) -> None:
    assert row_of(tensor, name=name).bad is False


def test_norms_of_weight_norm_have_no_scale() -> None:
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(64, 100))
    parametrized = layer.parametrizations.weight
    assert verdict_of(parametrized.original0.detach(), parametrized, "original0")[1] is False
    assert verdict_of(torch.ones(100, 64), parametrized, "original1") == ("constant 1", True)


def test_embedding_may_be_a_standard_normal() -> None:
    torch.manual_seed(0)
    embedding = nn.Embedding(1000, 64, padding_idx=0)
    assert verdict_of(embedding.weight.detach(), embedding) == ("normal, std 1", False)
    assert verdict_of(embedding.weight.detach()[1:], nn.Linear(64, 999)) == (
        "std 0.999 is 5.6 x He; normal, std 1",
        True,
    )
    # The default of a linear layer is not the default of an embedding.
    uniform = draw("kaiming_uniform_", (1000, 64), a=5**0.5)
    assert row_of(uniform, nn.Embedding(1000, 64)).scheme != "torch's default"

    class Scaled(nn.Embedding):
        """A class of another library."""

    assert verdict_of(embedding.weight.detach(), Scaled(1000, 64)) == ("normal, std 1", False)


@pytest.mark.parametrize(
    ("path", "known"),
    [("wte", True), ("bert.embeddings.word_embeddings", True), ("shared", True), ("embeddings.dense", False)],
)
def test_name_identifies_an_embedding_without_a_module(path: str, known: bool) -> None:
    values = 10 * draw("normal_", (1000, 64))
    assert statistics({f"{path}.weight": values})[0].bad is not known
    model = nn.Module()
    model.wte = nn.Linear(64, 1000)
    assert row_of(values, model.wte).bad


def test_weight_that_is_tied_to_an_embedding_is_one() -> None:
    model = nn.ModuleDict({"fc1": nn.Linear(64, 1000, bias=False), "table": nn.Embedding(1000, 64)})
    nn.init.normal_(model["table"].weight)
    model["fc1"].weight = model["table"].weight
    assert [(row.name, row.bad) for row in statistics(model)] == [("fc1.weight", False)]


def test_rows_of_an_embedding_may_be_zero_for_padding_only() -> None:
    def said(*rows: int) -> str | None:
        values = draw("normal_", (100, 16))
        values[list(rows)] = 0.0
        return statistics({"emb.weight": values})[0].verdict

    assert str(said(0)).startswith("normal")
    assert str(said(98, 99)).startswith("normal")
    assert str(said(3, 7)).startswith("2 of 100 rows are 0; ")
    equal = draw("normal_", (1, 16)).expand(100, 16).clone()
    assert statistics({"emb.weight": equal})[0].verdict.startswith("all 100 rows are equal")  # type: ignore[union-attr]


def test_depth_is_the_number_of_layers_in_the_names() -> None:
    model = nn.ModuleDict({"blocks": nn.ModuleList(nn.Linear(256, 256, bias=False) for _ in range(12))})
    for index, layer in enumerate(model["blocks"]):
        scale = math.sqrt(24) if index < 6 else math.sqrt(2 * (index + 1))
        nn.init.normal_(layer.weight, std=0.02 / scale, generator=GENERATOR)
    said = [row.verdict for row in statistics(model)]
    assert said[:6] == ["normal, std 0.00408 = 0.02 / sqrt(24)"] * 6
    assert said[7] == "normal, std 0.005 = 0.02 / sqrt(16)"


@pytest.mark.parametrize(
    ("names", "shapes", "bad"),
    [
        (("mlp.fc1", "mlp.fc2"), ((32, 16), (16, 32)), True),
        (("q.lora_A.default", "q.lora_B.default"), ((4, 16), (32, 4)), True),
        (("0", "2"), ((32, 16), (16, 32)), True),
        (("attn.proj", "mlp.fc1"), ((16, 16), (32, 8)), False),
        (("attn.proj", "mlp.fc1"), ((16, 32), (40, 16)), False),
        (("blocks.2.mlp.c_proj", "lm_head"), ((16, 32), (40, 16)), False),
        (("controlnet_down_blocks.3", "controlnet_mid_block"), ((16, 16, 1, 1), (16, 16, 1, 1)), False),
        (("time_mix.receptance", "time_mix.output"), ((16, 16), (16, 16)), False),
        (("zero_convs.0", "zero_convs.1"), ((16, 16, 1, 1), (16, 16, 1, 1)), False),
    ],
)
def test_two_zero_weights_in_a_row_are_marked(
    names: tuple[str, str], shapes: tuple[tuple[int, ...], ...], bad: bool
) -> None:
    rows = statistics({f"{name}.weight": torch.zeros(shape) for name, shape in zip(names, shapes)})
    assert [row.bad for row in rows] == [bad, bad]
    assert rows[0].verdict == (f"constant 0, and so is {names[1]}.weight" if bad else "constant 0")
    state = {f"{names[0]}.weight": draw("normal_", shapes[0], std=0.02), f"{names[1]}.weight": torch.zeros(shapes[1])}
    assert not any(row.bad for row in statistics(state))


@pytest.mark.parametrize("own", ["weight_sigma", "weight_rho", "weight_logvar", "weight_mask", "weight_std"])
def test_deviation_or_mask_beside_a_weight_is_no_weight(own: str) -> None:
    rows = statistics({f"fc.{own}": torch.full((64, 32), 0.017), "fc.weight": torch.full((64, 32), 0.017)})
    assert [row.bad for row in rows] == [False, True]
    mask = (torch.rand(64, 32, generator=GENERATOR) > 0.5).float()
    assert not statistics({f"fc.{own}": mask})[0].bad


def test_complex_weight_of_a_class_of_its_own_may_have_a_mean() -> None:
    scale = 1 / 32**2
    parts = torch.rand(32, 32, 8, 8, 2, generator=GENERATOR) * scale
    assert not statistics({"conv0.weights1": torch.view_as_complex(parts)})[0].bad
    layer = nn.Linear(64, 64, dtype=torch.complex64)
    layer.weight.data = torch.view_as_complex(parts.flatten()[: 2 * 64 * 64].view(64, 64, 2))
    assert "is far from 0" in str(statistics(layer)[0].verdict)


def test_complex_identity_has_no_imaginary_part() -> None:
    eye = torch.eye(64)
    assert row_of(eye.to(torch.complex64)).verdict == "identity"
    rest = draw("normal_", (64, 64), std=0.1)
    assert "identity" not in str(row_of(torch.complex(eye, rest * (rest.abs() > 0.15))).verdict)


class _EqualizedLinear(nn.Module):
    """Multiplies its weight by lr_mul / sqrt(fan_in) when it runs."""

    def __init__(self, std: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(draw("normal_", (256, 256), std=std))


@pytest.mark.parametrize(("std", "bad"), [(1.0, False), (100.0, False), (63.0, True)])
def test_equalized_learning_rate_is_a_power_of_ten(std: float, bad: bool) -> None:
    assert statistics(_EqualizedLinear(std))[0].bad is bad


@pytest.mark.parametrize(("std", "bad"), [(1e-6, False), (1e-8, False), (1e-12, True), (3e-7, True)])
def test_branch_from_nothing_is_no_smaller_power_of_ten_than_a_float_knows(std: float, bad: bool) -> None:
    layer = nn.Linear(256, 256)
    for weight in (draw("normal_", (256, 256), std=std), draw("uniform_", (256, 256), a=-std, b=std)):
        layer.weight.data = weight
        assert statistics(layer)[0].bad is bad


def test_one_of_three_packed_projections_may_be_zero() -> None:
    weight = draw("normal_", (96, 32), std=0.02)
    weight[:32] = 0.0
    assert not statistics({"attn.qkv.weight": weight})[0].bad
    assert statistics({"mlp.fc1.weight": weight})[0].verdict.startswith("32 of 96 rows are 0")  # type: ignore[union-attr]


def test_blocks_of_different_gains_are_not_said_to_have_one() -> None:
    blocks = [gain * draw("orthogonal_", (32, 32)) for gain in (1.0, 2.0)]
    assert "blocks" not in str(row_of(torch.cat(blocks)).verdict)


def test_kernels_that_are_all_equal_are_no_sub_pixel_convolution() -> None:
    kernel = draw("kaiming_normal_", (1, 32, 3, 3)).expand(64, 32, 3, 3).clone()
    assert str(row_of(kernel).verdict).startswith("63 of 64 rows are copies of others")
