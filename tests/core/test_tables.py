"""Do the tables hold transformers' bits, and the numbers of their formulas?"""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import torchinit
from tests.support.model_libraries import add_model_libraries
from torchinit import keyed

FLOATING = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


@pytest.fixture(scope="module")
def models() -> Any:
    """Return transformers' package of models."""
    add_model_libraries()
    pytest.importorskip("transformers")
    from importlib import import_module

    return lambda path: import_module(f"transformers.{path}")


# Rotary frequencies.

_LENGTHS = {"original_max_position_embeddings": 4096}
# Parameters of each rope type, by transformers' names.
ROPES: tuple[dict[str, Any], ...] = (
    {"rope_type": "linear", "factor": 3.3},
    {"rope_type": "dynamic", "factor": 2.7},
    {"rope_type": "yarn", "factor": 40.0, **_LENGTHS},
    {"rope_type": "yarn", "factor": 4.0, "beta_fast": 20.0, "beta_slow": 2.0, "truncate": False, **_LENGTHS},
    # The ramp has no width.
    {"rope_type": "yarn", "factor": 4.0, "beta_fast": 8.0, "beta_slow": 8.0, "truncate": False, **_LENGTHS},
    {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, **_LENGTHS},
    {"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.5, "high_freq_factor": 3.0, **_LENGTHS},
    {"rope_type": "proportional", "factor": 3.3, "partial_rotary_factor": 0.25},
)


def _config(models: Any, size: int, base: float, rope: dict[str, Any]) -> Any:
    return models("models.llama").LlamaConfig(
        hidden_size=8 * size,
        num_attention_heads=4,
        head_dim=2 * size,
        max_position_embeddings=4096,
        rope_parameters={**rope, "rope_theta": base},
    )


def _rotary(size: int, base: float, rope: dict[str, Any], **more: Any) -> Tensor:
    numbers = {name: value for name, value in rope.items() if name != "rope_type"}
    return torchinit.rotary_inv_freq_(torch.empty(size), base, rope["rope_type"], **numbers | more)


@pytest.mark.parametrize("rope", ROPES, ids=lambda rope: rope["rope_type"])
def test_rotary_frequencies_are_transformers(models: Any, rope: dict[str, Any]) -> None:
    functions = models("modeling_rope_utils").ROPE_INIT_FUNCTIONS
    for size in (4, 32, 40, 64, 128):
        for base in (10000.0, 5e5, 123.4):
            config = _config(models, size, base, rope)
            if rope["rope_type"] != "dynamic":
                assert torch.equal(_rotary(size, base, rope), functions[rope["rope_type"]](config)[0]), (size, base)
                continue
            for length in (None, 100, 9999, 131072):
                expected, _ = functions["dynamic"](config, seq_len=length)
                assert torch.equal(_rotary(size, base, rope, seq_len=length, **_LENGTHS), expected), (size, length)


def test_rotary_frequencies_are_those_of_llama_also_of_a_part_of_each_head(models: Any) -> None:
    layer = models("models.gpt_neox.modeling_gpt_neox").GPTNeoXRotaryEmbedding
    for part in (1.0, 0.5, 0.25):
        config = _config(models, 40, 10000.0, {"rope_type": "default", "partial_rotary_factor": part})
        expected, _ = layer.compute_default_rope_parameters(config)
        assert torch.equal(torchinit.rotary_inv_freq_(torch.empty(int(80 * part) // 2)), expected)
    expected, _ = models("models.llama.modeling_llama").LlamaRotaryEmbedding.compute_default_rope_parameters(
        _config(models, 64, 5e5, {"rope_type": "default"})
    )
    assert torch.equal(torchinit.rotary_inv_freq_(torch.empty(64), 5e5), expected)


def test_longrope_takes_the_short_or_the_long_factors(models: Any) -> None:
    short, long = [1.0 + 0.37 * i for i in range(48)], [1.1 + 0.9 * i for i in range(48)]
    rope = {"rope_type": "longrope", "short_factor": short, "long_factor": long, **_LENGTHS}
    function = models("modeling_rope_utils").ROPE_INIT_FUNCTIONS["longrope"]
    for factors, length in ((short, None), (long, 5000)):
        expected, _ = function(_config(models, 48, 10000.0, rope), seq_len=length)
        filled = torchinit.rotary_inv_freq_(torch.empty(48), scaling="longrope", factors=factors)
        assert torch.equal(filled, expected)


def test_original_formula_of_llama_has_the_same_bits() -> None:
    for size in (32, 48, 64):
        expected = 1.0 / (10000.0 ** (torch.arange(0, 2 * size, 2)[:size].float() / (2 * size)))
        assert torch.equal(torchinit.rotary_inv_freq_(torch.empty(size)), expected)


def _rotary_exact(size: int, base: float) -> list[float]:
    return [base ** (-i / size) for i in range(size)]


def test_rotary_frequencies_follow_their_formulas() -> None:
    exact = _rotary_exact(16, 5e5)
    near = {"rel": 1e-5, "abs": 1e-12}
    assert torchinit.rotary_inv_freq_(torch.empty(16), 5e5).tolist() == pytest.approx(exact, **near)
    linear = torchinit.rotary_inv_freq_(torch.empty(16), 5e5, "linear", 4.0)
    assert linear.tolist() == pytest.approx([x / 4 for x in exact], **near)
    numbers = {"factor": 8.0, "original_max_position_embeddings": 8192}
    llama3 = torchinit.rotary_inv_freq_(torch.empty(16), 5e5, "llama3", **numbers).tolist()
    for value, x in zip(llama3, exact, strict=True):
        turns = 8192 * x / (2 * math.pi)
        share = min(1.0, max(0.0, (turns - 1.0) / (4.0 - 1.0)))
        assert value == pytest.approx(share * x + (1 - share) * x / 8, **near)
    yarn = torchinit.rotary_inv_freq_(torch.empty(16), 5e5, "yarn", truncate=False, **numbers).tolist()
    at = [32 * math.log(8192 / (turns * 2 * math.pi)) / (2 * math.log(5e5)) for turns in (32.0, 1.0)]
    for index, (value, x) in enumerate(zip(yarn, exact, strict=True)):
        share = min(1.0, max(0.0, (index - at[0]) / (at[1] - at[0])))
        assert value == pytest.approx((1 - share) * x + share * x / 8, **near)
    # Four times the length needs a base that is larger by a power of factor * 4 - (factor - 1).
    dynamic = torchinit.rotary_inv_freq_(torch.empty(16), 5e5, "dynamic", 8.0, 8192, 4 * 8192)
    assert dynamic.tolist() == pytest.approx(_rotary_exact(16, 5e5 * 25 ** (32 / 30)), **near)
    proportional = torchinit.rotary_inv_freq_(torch.empty(16), 5e5, "proportional", 2.0, partial_rotary_factor=0.25)
    assert proportional.tolist() == pytest.approx([x / 2 for x in exact[:4]] + [0.0] * 12, **near)


# Positions.

_PADDED = {"layout": "sin_cos", "endpoint": True, "padding_idx": 1}
SHAPES = ((1500, 384), (300, 512), (100, 8))


@pytest.mark.parametrize(
    ("model", "expected", "arguments"),
    [
        ("whisper", lambda m, n, d: m.sinusoids(n, d), {"layout": "sin_cos", "endpoint": True}),
        (
            "marian",
            lambda m, n, d: m.MarianSinusoidalPositionalEmbedding(n, d).create_weight(),
            {"layout": "sin_cos", "formula": "float64"},
        ),
        (
            "pegasus",
            lambda m, n, d: m.PegasusSinusoidalPositionalEmbedding(n, d).create_weight(),
            {"layout": "sin_cos", "formula": "float64"},
        ),
        (
            "distilbert",
            lambda m, n, d: m.create_sinusoidal_embeddings(n, d, torch.empty(n, d)),
            {"formula": "float64"},
        ),
        ("xlm", lambda m, n, d: m.create_sinusoidal_embeddings(n, d, torch.empty(n, d)), {"formula": "float64"}),
        ("m2m_100", lambda m, n, d: m.M2M100SinusoidalPositionalEmbedding.get_embedding(n, d, 1), _PADDED),
        ("xglm", lambda m, n, d: m.XGLMSinusoidalPositionalEmbedding.get_embedding(n, d, 1), _PADDED),
        ("fsmt", lambda m, n, d: m.SinusoidalPositionalEmbedding.get_embedding(n, d, 1), _PADDED),
        (
            "musicgen",
            lambda m, n, d: m.MusicgenSinusoidalPositionalEmbedding.get_embedding(n, d),
            {"layout": "cos_sin", "endpoint": True},
        ),
        ("ctrl", lambda m, n, d: m.positional_encoding(n, d, torch.float), {"layout": "sin_cos", "formula": "pow"}),
        ("gptj", lambda m, n, d: m.create_sinusoidal_positions(n, d), {"layout": "sin_cos", "formula": "pow"}),
        ("speecht5", lambda m, n, d: m.SpeechT5ScaledPositionalEncoding(0.0, d, n).pe, {}),
    ],
)
def test_positions_are_those_of_a_model(
    models: Any, model: str, expected: Callable[[Any, int, int], Tensor], arguments: dict[str, Any]
) -> None:
    module = models(f"models.{model}.modeling_{model}")
    # transformers computes these row by row in Python.
    shapes = SHAPES[2:] if arguments.get("formula") == "float64" else SHAPES
    for shape in shapes:
        table = expected(module, *shape).detach()
        assert torch.equal(torchinit.sinusoidal_(torch.empty_like(table), **arguments), table), shape


def test_positions_are_those_of_the_tutorial_in_any_of_its_shapes() -> None:
    position = torch.arange(200).unsqueeze(1)
    rates = torch.exp(torch.arange(0, 64, 2) * (-math.log(10000.0) / 64))
    table = torch.zeros(200, 64)
    table[:, 0::2], table[:, 1::2] = torch.sin(position * rates), torch.cos(position * rates)
    for shape in ((200, 64), (200, 1, 64), (1, 200, 64)):
        assert torch.equal(torchinit.sinusoidal_(torch.empty(shape)), table.view(shape))
    assert torch.equal(torchinit.sinusoidal_(torch.empty(1, 1, 64)), table[:1].view(1, 1, 64))


@pytest.mark.parametrize("endpoint", [False, True])
@pytest.mark.parametrize("formula", ["exp", "pow", "float64"])
@pytest.mark.parametrize("base", [10000.0, 50.0])
def test_positions_follow_the_formula(formula: str, endpoint: bool, base: float) -> None:
    table = torchinit.sinusoidal_(torch.empty(40, 6), base, endpoint=endpoint, formula=formula).double()
    for position in range(40):
        for index in range(3):
            angle = position * base ** (-index / (2 if endpoint else 3))
            expected = (math.sin(angle), math.cos(angle))
            assert table[position, 2 * index : 2 * index + 2].tolist() == pytest.approx(expected, abs=2e-5)


def test_float64_table_of_float64_has_all_digits() -> None:
    table = torchinit.sinusoidal_(torch.empty(40, 6, dtype=torch.float64), formula="float64")
    assert table[39, 2].item() == pytest.approx(math.sin(39 * 10000.0 ** (-1 / 3)), rel=1e-14)
    assert torch.equal(table.float(), torchinit.sinusoidal_(torch.empty(40, 6), formula="float64"))


def test_layouts_hold_the_same_columns() -> None:
    table = torchinit.sinusoidal_(torch.empty(9, 6))
    halves = torchinit.sinusoidal_(torch.empty(9, 6), layout="sin_cos")
    assert torch.equal(halves, torch.cat([table[:, ::2], table[:, 1::2]], dim=1))
    assert torch.equal(torchinit.sinusoidal_(torch.empty(9, 6), layout="cos_sin"), halves.roll(3, 1))


@pytest.mark.parametrize("row", [0, 3, 8, -1, -9])
def test_only_the_padding_row_is_zero(row: int) -> None:
    table = torchinit.sinusoidal_(torch.empty(9, 6))
    padded = torchinit.sinusoidal_(torch.empty(9, 6), padding_idx=row)
    table[row] = 0.0
    assert torch.equal(padded, table)


# Slopes.


def test_slopes_are_blooms_and_mpts(models: Any) -> None:
    bloom, falcon = (models(f"models.{name}.modeling_{name}").build_alibi_tensor for name in ("bloom", "falcon"))
    mpt = models("models.mpt.modeling_mpt").build_mpt_alibi_tensor
    for heads in (*range(1, 70), 71, 112, 128, 200):
        slopes = torchinit.alibi_slopes_(torch.empty(heads))
        # The second position has the slope itself.
        assert torch.equal(slopes, bloom(torch.ones(1, 2), heads, torch.float32)[:, 0, 1]), heads
        assert torch.equal(slopes.bfloat16().float(), falcon(torch.ones(1, 2), heads, torch.float32)[:, 0, 1]), heads
        for most in (8, 5):
            filled = torchinit.alibi_slopes_(torch.empty(heads, 1, 1), most, "mpt")
            assert torch.equal(-filled, mpt(heads, 2, most)[:, :, :1]), heads
        assert torch.equal(slopes, torchinit.alibi_slopes_(torch.empty(heads), formula="mpt")) == (heads <= 10)


def _papers_slopes(heads: int) -> list[float]:
    """Compute the slopes as the paper's own code does."""
    power = 2 ** math.floor(math.log2(heads))
    start = 2 ** (-(2 ** -(math.log2(power) - 3)))
    slopes = [start * start**i for i in range(power)]
    return slopes if power == heads else slopes + _papers_slopes(2 * power)[::2][: heads - power]


@pytest.mark.parametrize("heads", [1, 2, 3, 7, 8, 9, 12, 16, 40, 71])
def test_slopes_are_the_papers(heads: int) -> None:
    expected = torch.tensor(_papers_slopes(heads), dtype=torch.float64)
    assert torch.equal(torchinit.alibi_slopes_(torch.empty(heads), formula="float64"), expected.float())
    for formula in ("bloom", "mpt"):
        slopes = torchinit.alibi_slopes_(torch.empty(heads), formula=formula)
        assert torch.allclose(slopes.double(), expected, rtol=2e-5)
        narrower = torchinit.alibi_slopes_(torch.empty(heads), bias_max=4.0, formula=formula)
        assert torch.allclose(narrower.double(), expected.sqrt(), rtol=2e-5)


# Mamba.


def test_decays_and_steps_of_mamba_are_transformers(models: Any) -> None:
    config = models("models.mamba").MambaConfig(hidden_size=16, num_hidden_layers=1, vocab_size=8, state_size=12)
    mixer = models("models.mamba.modeling_mamba").MambaMixer(config, 0)
    torch.manual_seed(5)
    mixer.init_mamba_weights()
    assert torch.equal(torchinit.log_arange_(torch.empty(32, 12)), mixer.A_log)
    # transformers draws the weight of the step first.
    torch.manual_seed(5)
    torchinit.uniform_(torch.empty_like(mixer.dt_proj.weight))
    assert torch.equal(torchinit.inverse_softplus_log_uniform_(torch.empty(32)), mixer.dt_proj.bias)


def test_decays_and_steps_of_mamba2_are_transformers(models: Any) -> None:
    config = models("models.mamba2").Mamba2Config(
        hidden_size=16, num_heads=4, head_dim=8, num_hidden_layers=1, vocab_size=8, n_groups=1
    )
    mixer = models("models.mamba2.modeling_mamba2").Mamba2Mixer(config, 0)
    torch.manual_seed(5)
    mixer.init_mamba2_weights()
    assert torch.equal(torchinit.log_arange_(torch.empty(4)), mixer.A_log)
    torch.manual_seed(5)
    assert torch.equal(torchinit.inverse_softplus_log_uniform_(torch.empty(4)), mixer.dt_bias)


def _mambas_steps(size: int, low: float, high: float, floor: float) -> Tensor:
    """Draw the bias as mamba_ssm does."""
    steps = torch.exp(torch.rand(size) * (math.log(high) - math.log(low)) + math.log(low)).clamp(min=floor)
    return steps + torch.log(-torch.expm1(-steps))


@pytest.mark.parametrize(("low", "high", "floor"), [(0.001, 0.1, 1e-4), (1e-5, 3.0, 1e-3), (0.5, 0.5, 0.0)])
def test_steps_have_mambas_bits_and_are_log_uniform(low: float, high: float, floor: float) -> None:
    torch.manual_seed(3)
    bias = torchinit.inverse_softplus_log_uniform_(torch.empty(5000), low, high, floor)
    state = torch.get_rng_state()
    torch.manual_seed(3)
    assert torch.equal(bias, _mambas_steps(5000, low, high, floor))
    assert torch.equal(state, torch.get_rng_state())
    by_key = keyed.inverse_softplus_log_uniform_(torch.empty(5000), keyed.key(1), low, high, floor)
    for values in (bias, by_key):
        steps = torch.nn.functional.softplus(values.double())
        assert steps.min().item() >= 0.999999 * max(low, floor)
        assert steps.max().item() <= 1.000001 * max(high, floor)
        # Below the floor nothing is log-uniform; compare the shares under a few steps above it.
        for share in (0.4, 0.5, 0.9):
            edge = math.exp(math.log(low) + share * math.log(high / low))
            if floor < edge < high:
                assert (steps < edge).double().mean().item() == pytest.approx(share, abs=0.03)


# Without transformers.


@pytest.mark.parametrize("dtype", FLOATING)
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("rotary_inv_freq_", (12,)),
        ("sinusoidal_", (9, 6)),
        ("alibi_slopes_", (12,)),
        ("log_arange_", (3, 5)),
        ("inverse_softplus_log_uniform_", (7,)),
    ],
)
def test_values_of_a_dtype_are_those_of_float32_rounded_once(
    name: str, shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    if name == "inverse_softplus_log_uniform_" and dtype == torch.float64:
        pytest.skip("drawn in float64")
    function = getattr(torchinit, name)
    values = []
    for each in (torch.float32, dtype):
        torch.manual_seed(1)
        values.append(function(torch.empty(shape, dtype=each)))
    assert torch.equal(values[0].to(dtype), values[1])


def test_default_dtype_changes_no_value() -> None:
    expected = torchinit.rotary_inv_freq_(torch.empty(12)), torchinit.sinusoidal_(torch.empty(9, 6))
    torch.set_default_dtype(torch.float16)
    try:
        given = (torch.empty(shape, dtype=torch.float32) for shape in ((12,), (9, 6)))
        assert torch.equal(torchinit.rotary_inv_freq_(next(given)), expected[0])
        assert torch.equal(torchinit.sinusoidal_(next(given)), expected[1])
    finally:
        torch.set_default_dtype(torch.float32)


def test_golden_values() -> None:
    def printed(values: Tensor) -> list[str]:
        return [f"{value:.5g}" for value in values.flatten().tolist()]

    numbers: dict[str, Any] = {"factor": 8.0, "original_max_position_embeddings": 8192}
    assert printed(torchinit.rotary_inv_freq_(torch.empty(8), 5e5, "llama3", **numbers)) == [
        "1",
        "0.19392",
        "0.037606",
        "0.0072927",
        "0.00052485",
        "3.4281e-05",
        "6.6479e-06",
        "1.2892e-06",
    ]
    assert printed(torchinit.rotary_inv_freq_(torch.empty(8), 5e5, "yarn", **numbers)) == [
        "1",
        "0.19392",
        "0.037606",
        "0.0051656",
        "0.00058926",
        "3.4281e-05",
        "6.6479e-06",
        "1.2892e-06",
    ]
    assert printed(torchinit.alibi_slopes_(torch.empty(11))[8:]) == ["0.70711", "0.35355", "0.17678"]
    assert printed(torchinit.log_arange_(torch.empty(4))) == ["0", "0.69315", "1.0986", "1.3863"]
    assert printed(torchinit.sinusoidal_(torch.empty(3, 4), endpoint=True)[2]) == ["0.9093", "-0.41615", "0.0002", "1"]
    torch.manual_seed(0)
    assert printed(torchinit.inverse_softplus_log_uniform_(torch.empty(3))) == ["-4.6175", "-3.3527", "-6.4996"]
    assert printed(keyed.inverse_softplus_log_uniform_(torch.empty(3), keyed.key(0))) == [
        "-6.1888",
        "-5.0017",
        "-5.3282",
    ]
