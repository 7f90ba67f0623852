"""Does a key give a recording's tensors the same bits on every path, and the bits of a recipe's draws?"""

import copy
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

import torchinit
from tests.support.built import assert_same_tensors, tensors_of
from tests.support.keyed_records import CALLS, KeyedCall
from tests.support.recorded_chains import MODELS, PIECEWISE, WHOLE, Copies
from torchinit import keyed, recipes
from torchinit.recording import Recording, _keyed
from torchinit.recording._keyed_pieces import ELEMENTWISE, chain_of

KEY = keyed.key(2**63 + 5)


def _recorded(name: str) -> Recording:
    return torchinit.record(MODELS[name])


@pytest.mark.parametrize("name", MODELS)
def test_tensor_has_the_same_bits_in_pieces_and_as_a_whole(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = _recorded(name)
    expected = recording.build(key=KEY)
    assert_same_tensors(recording.materialize_(MODELS[name](), key=KEY), expected)
    # Tiles that end within rows and blocks.
    for tile in (5, 64):
        monkeypatch.setattr(_keyed, "_TILE", tile)
        assert_same_tensors(recording.build(key=KEY), expected)
    monkeypatch.setattr(_keyed, "chain_of", lambda *_: None)
    assert_same_tensors(recording.build(key=KEY), expected)


@pytest.mark.parametrize("name", PIECEWISE)
def test_elementwise_steps_are_computed_in_pieces(name: str) -> None:
    program = _recorded(name).keyed_program
    assert chain_of(program, program.program.entries[0]) is not None


@pytest.mark.parametrize("name", WHOLE)
def test_other_steps_are_computed_whole(name: str) -> None:
    program = _recorded(name).keyed_program
    assert chain_of(program, program.program.entries[0]) is None


def _calls(name: str, x: Tensor, y: Tensor) -> list[Callable[[Tensor, Tensor], Tensor]]:
    """Return the ways to call an elementwise operator on two tensors, of which it may use one."""
    function = getattr(torch, name, None)
    if name in ("add", "sub", "rsub", "mul", "div", "eq", "ne", "lt", "le", "gt", "ge"):
        return [function, lambda x, y: function(x, 0.3)]
    if name in ("minimum", "maximum", "logical_and", "logical_or"):
        return [function]
    return {
        "clamp": [lambda x, y: x.clamp(0.2, 0.7), lambda x, y: x.clamp(max=0.7)],
        "clamp_min": [lambda x, y: x.clamp_min(0.3)],
        "clamp_max": [lambda x, y: x.clamp_max(0.3)],
        "where": [lambda x, y: torch.where(x < y, x, y)],
        "masked_fill": [lambda x, y: x.masked_fill(x < y, 0.3)],
        "copy": [lambda x, y: torch.empty_like(x).copy_(y)],
        "fill": [lambda x, y: x.clone().fill_(0.3)],
        "zero": [lambda x, y: x.clone().zero_()],
        "_to_copy": [lambda x, y, to=to: x.to(to) for to in (torch.float64, torch.float32, torch.bfloat16)],
        "lift_fresh_copy": [lambda x, y: torch.ops.aten.lift_fresh_copy.default(x)],
    }.get(name) or [lambda x, y: function(x)]


@pytest.mark.parametrize("name", sorted(ELEMENTWISE))
def test_operator_gives_a_value_the_same_bits_at_every_position(name: str) -> None:
    generator = torch.Generator().manual_seed(1)
    for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16):
        x, y = (torch.rand(30, 67, generator=generator).mul(0.98).add(0.01).to(dtype) for _ in range(2))
        for call in _calls(name, x, y):
            whole = call(x, y)
            for box in ((slice(3, 29), slice(5, 66)), (slice(7, 8), slice(0, 9)), (slice(None), slice(66, 67))):
                assert torch.equal(call(x[box], y[box]), whole[box])
                assert torch.equal(call(x[box].clone(), y[box].clone()), whole[box])
            assert torch.equal(call(x.t(), y.t()).t(), whole)


def test_tensor_with_one_draw_has_the_bits_of_a_recipe() -> None:
    def build() -> nn.Module:
        return nn.ModuleList([nn.Linear(7, 5), nn.Conv2d(3, 4, 3), nn.LSTM(3, 4), nn.Embedding(9, 3, padding_idx=1)])

    expected = recipes.torch_default().apply_(build(), key=KEY)
    assert_same_tensors(torchinit.record(build).build(key=KEY), expected)


@pytest.mark.parametrize("call", CALLS, ids=str)
def test_call_of_an_initializer_is_one_draw_of_its_keyed_sibling(call: KeyedCall) -> None:
    def build() -> nn.Module:
        return nn.ParameterList([getattr(torchinit, call.name)(torch.empty(call.shape), **call.arguments)])

    expected = call(torch.empty(call.shape), keyed.fold_in(KEY, "0"))
    recording = torchinit.record(build)
    assert torch.equal(recording.build(key=KEY)[0], expected)
    assert len(recording.keyed_program.steps) == 1


class Numbered(nn.Module):
    """Tensors of several draws, of draws that feed others, and of a draw that nothing keeps."""

    def __init__(self) -> None:
        super().__init__()
        shared = torch.rand(4, 6)
        with torch.no_grad():
            self.first = nn.Parameter(shared + torch.randn(4, 6))
            self.second = nn.Parameter(shared.clone().mul_(torch.rand(4, 6)))
            self.third = nn.Parameter(torch.empty(4, 6).normal_().uniform_(1.0, 2.0))


def test_draws_are_numbered_within_the_first_tensor_that_they_feed() -> None:
    model = torchinit.record(Numbered).build(key=KEY)

    def draw(function: Callable[..., Tensor], name: str, index: int = 0, *args: float) -> Tensor:
        key = keyed.fold_in(KEY, name)
        return function(torch.empty(4, 6), keyed.fold_in(key, index) if index else key, *args)

    shared = draw(keyed.uniform_, "first")
    assert torch.equal(model.first, shared + draw(keyed.normal_, "first", 1))
    assert torch.equal(model.second, shared * draw(keyed.uniform_, "second"))
    assert torch.equal(model.third, draw(keyed.uniform_, "third", 0, 1.0, 2.0))


def test_copies_and_ties_share_a_draw() -> None:
    model = torchinit.record(Copies).build(key=KEY)
    assert model.head.weight is model.words.weight
    assert torch.equal(model.layers[0].weight, model.layers[2].weight)
    assert not model.words.weight[4].any()
    assert model.words.weight[3].all()
    assert torch.equal(model.layers[0].bias, model.layers[1].bias)
    expected = keyed.orthogonal_(torch.empty(9, 13), keyed.fold_in(KEY, "layers.1.weight"))
    assert torch.equal(model.layers[1].weight, expected)


def test_tensors_do_not_depend_on_what_else_a_model_has() -> None:
    recording = torchinit.record(Copies)
    whole = recording.build(key=KEY)
    part = nn.ModuleDict({"words": nn.Embedding(21, 13), "norm": nn.BatchNorm1d(13)})
    recording.materialize_(part, key=KEY, strict=False)
    assert torch.equal(part["words"].weight, whole.words.weight)


def test_generator_of_the_models_own_keeps_its_values() -> None:
    class Seeded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            generator = torch.Generator().manual_seed(5)
            self.first, self.second = (nn.Buffer(torch.randn(6, generator=generator)) for _ in range(2))

    assert_same_tensors(torchinit.record(Seeded).build(key=KEY), Seeded())


def test_seeds_and_the_default_generator_do_not_matter_to_a_key() -> None:
    def seeded() -> nn.Module:
        torch.manual_seed(3)
        return nn.Linear(3, 4)

    state = torch.get_rng_state()
    assert_same_tensors(
        torchinit.record(seeded).build(key=KEY), torchinit.record(lambda: nn.Linear(3, 4)).build(key=KEY)
    )
    assert torch.equal(torch.get_rng_state(), state)


# Mean and standard deviation of each distribution.
LAWS: dict[str, tuple[Callable[[Tensor], Tensor], float, float]] = {
    "uniform": (lambda x: x.uniform_(1.0, 3.0), 2.0, 2 / 12**0.5),
    "rand": (lambda x: torch.rand_like(x), 0.5, 1 / 12**0.5),
    "randn": (lambda x: torch.randn_like(x), 0.0, 1.0),
    "normal": (lambda x: torch.normal(torch.full_like(x, 2.0), 3.0), 2.0, 3.0),
    "normal of a size": (lambda x: torch.normal(2.0, 3.0, x.shape), 2.0, 3.0),
    "bernoulli": (lambda x: x.bernoulli_(0.3), 0.3, 0.21**0.5),
    "bernoulli of half": (lambda x: x.bernoulli_(), 0.5, 0.5),
    "bernoulli of a tensor": (lambda x: torch.bernoulli(torch.full_like(x, 0.3)), 0.3, 0.21**0.5),
    "exponential": (lambda x: x.exponential_(2.0), 0.5, 0.5),
    "geometric": (lambda x: x.geometric_(0.25), 4.0, 12**0.5),
    "log_normal": (lambda x: x.log_normal_(0.5, 0.25).log(), 0.5, 0.25),
    "cauchy": (lambda x: x.cauchy_(2.0, 3.0).sub(2.0).div(3.0).atan(), 0.0, torch.pi / 12**0.5),
    "random": (lambda x: x.random_(2, 8), 4.5, (35 / 12) ** 0.5),
    "random below": (lambda x: x.random_(8), 3.5, (63 / 12) ** 0.5),
    "random of 24 bits": (lambda x: x.random_().div(2**24), 0.5, 1 / 12**0.5),
    "randint": (lambda x: torch.randint(-3, 9, x.shape).float(), 2.5, (143 / 12) ** 0.5),
    "randint below": (lambda x: torch.randint_like(x, 8), 3.5, (63 / 12) ** 0.5),
    "randperm": (lambda x: torch.randperm(x.numel()).float().div(x.numel()), 0.5, 1 / 12**0.5),
}


@pytest.mark.parametrize("name", LAWS)
def test_draw_by_key_has_the_law_of_the_recorded_operator(name: str) -> None:
    fill, mean, std = LAWS[name]
    recording = torchinit.record(lambda: nn.ParameterList([fill(torch.zeros(20000))]))
    values = recording.build(key=KEY)[0].detach()
    # Four standard errors of the mean; the fourth moments are at most 9 times the variance squared.
    assert abs(values.mean().item() - mean) < 4 * std / 20000**0.5
    assert abs(values.var().item() / std**2 - 1) < 4 * (8 / 20000) ** 0.5
    if "ran" in name and "randn" not in name:
        assert values.min() >= mean - std * 3**0.5
        assert values.max() <= mean + std * 3**0.5
    if name == "randperm":
        assert torch.equal(values.sort().values, torch.arange(20000).float().div(20000))


class Picked(nn.Module):
    """A layer, and a draw that no key gives."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 4)
        self.picked = nn.Buffer(torch.multinomial(torch.ones(5), 3).float())


def test_draw_that_no_key_gives_is_refused_with_its_line() -> None:
    recording = torchinit.record(Picked)
    model = recording.build(seed=0)
    before = {name: tensor.clone() for name, tensor in tensors_of(model).items()}
    with pytest.raises(RuntimeError, match=r"got multinomial at .*test_keyed\.py:\d+; materialize from a seed"):
        recording.materialize_(model, key=KEY)
    assert all(torch.equal(tensor, before[name]) for name, tensor in tensors_of(model).items())


def _reset(model: nn.Module) -> Callable[[], None]:
    def reset() -> None:
        with torch.no_grad():
            model.weight[1].zero_()
            model.weight[:, 2].mul_(2.0)
            model.bias.copy_(model.weight[3, :4].flip(0))

    return reset


def test_values_that_a_reset_keeps_are_kept() -> None:
    model, expected = nn.Linear(6, 4), nn.Linear(6, 4)
    recording = torchinit.record(_reset(model), model=model)
    found = recording.materialize_(copy.deepcopy(expected), key=KEY)
    _reset(expected)()
    assert_same_tensors(found, expected)


def test_half_precision_copy_has_the_rounded_values() -> None:
    recording = torchinit.record(Copies)
    expected = recording.build(key=KEY).to(torch.bfloat16)
    model = Copies().to(torch.bfloat16)
    assert_same_tensors(recording.materialize_(model, key=KEY), expected)


def _refusals() -> dict[str, tuple[nn.Module, dict[str, object], str]]:
    """Return a target, the options and the message of each call that raises, by name."""
    narrow, renamed, expanded, whole = (nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)) for _ in range(4))
    narrow[0].bias = nn.Parameter(torch.zeros(3))
    renamed.extra = nn.Parameter(torch.zeros(2))
    del renamed[0].bias
    renamed[0].bias = None
    expanded[1].weight = nn.Parameter(torch.zeros(1).expand(4))
    whole[1].num_batches_tracked = None
    whole[1].running_var = torch.zeros(4, dtype=torch.int32)
    ok = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    batch = "one tensor needs one key, of shape [2], got [3, 2]; vmap takes a batch of keys"
    return {
        "batch of keys": (ok, {"key": keyed.split(KEY, 3)}, batch),
        "no key": (ok, {"key": torch.zeros(2)}, "a key holds words of torch.int64, got floating-point words"),
        "meta key": (ok, {"key": KEY.to("meta")}, "a key must have values, got one on the meta device"),
        "two origins": (
            ok,
            {"key": KEY, "seed": 0},
            "the draws come from a seed, a generator or a key, got seed and key",
        ),
        "generator": (
            ok,
            {"key": None, "generator": SimpleNamespace(device=torch.device("cuda"))},
            "a recording draws on the CPU, got a generator on cuda",
        ),
        "shape": (narrow, {}, "a tensor must have the recorded shape [4], got [3] for 0.bias"),
        "names": (
            renamed,
            {},
            "a model must have the recording's tensors, got other names: the model lacks 0.bias; the recording lacks extra",
        ),
        "expanded": (
            expanded,
            {},
            "unsupported operation: more than one element of the written-to tensor refers to a single memory location, got"
            " shape [4] with strides [0]",
        ),
        "dtype": (
            whole,
            {"strict": False},
            "a tensor must hold torch.float32, as recorded, got torch.int32 for 1.running_var",
        ),
    }


@pytest.mark.parametrize("name", _refusals())
def test_target_or_key_that_does_not_fit_is_refused_before_a_write(name: str) -> None:
    model, options, message = _refusals()[name]
    recording = torchinit.record(lambda: nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)))
    for origin in ({},) if "key" in options else ({"key": KEY}, {"seed": 0}):
        before = {name: tensor.clone() for name, tensor in tensors_of(model).items()}
        with pytest.raises((ValueError, RuntimeError)) as caught:
            recording.materialize_(model, **origin, **options)
        assert str(caught.value) == message
        assert all(torch.equal(tensor, before[name]) for name, tensor in tensors_of(model).items())


def test_tensors_on_meta_are_left_alone() -> None:
    recording = torchinit.record(Copies)
    model = recording.build(device="meta", key=KEY)
    assert all(tensor.is_meta for tensor in tensors_of(model).values())
    assert_same_tensors(recording.materialize_(model.to_empty(device="cpu"), key=KEY), recording.build(key=KEY))
