"""Are the blocks of a packed parameter initialized as if each were alone, also where they repeat?"""

import math

import pytest
import torch
from torch import Tensor, nn

import torchinit
from torchinit import keyed
from torchinit.recipes import Recipe, RecipeError, Rule

KEY = keyed.key(11)
HEADS, WIDTH = 3, 4
# The rows of each group: two queries, a key and a value.
SIZES = [2 * WIDTH, WIDTH, WIDTH]
INPUTS = 10


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


class Attention(nn.Module):
    """Grouped-query attention with one fused projection, whose rows alternate between the groups."""

    def __init__(self) -> None:
        super().__init__()
        self.wqkv = nn.Linear(INPUTS, HEADS * sum(SIZES), bias=False)

    def parts(self) -> list[Tensor]:
        """Return the queries, keys and values of all heads, each a matrix."""
        groups = self.wqkv.weight.detach().view(HEADS, sum(SIZES), INPUTS)
        return [part.reshape(-1, INPUTS) for part in groups.split(SIZES, 1)]


def _rule(initializer: str, **options: object) -> Recipe:
    return Recipe([Rule(initializer, blocks=SIZES, repeat=True, **options)])  # type: ignore[arg-type]


def test_queries_keys_and_values_of_all_heads_are_a_matrix_each() -> None:
    model, generator = Attention(), _generator()
    _rule("xavier_normal_").apply_(model, _generator())
    for part in model.parts():
        assert torch.equal(part, torchinit.xavier_normal_(torch.empty(part.shape), generator=generator))
    assert [len(part) for part in model.parts()] == [24, 12, 12]
    row = _rule("xavier_normal_").plan(model).rows[0]
    assert row.initializer == "xavier_normal_ x3"
    square = (2 / (10 + 24) + 2 / (10 + 12)) / 2
    assert row.std == pytest.approx(math.sqrt(square))


def test_structured_blocks_are_drawn_whole_and_spread() -> None:
    model, generator = Attention(), _generator()
    _rule("orthogonal_").apply_(model, _generator())
    for part in model.parts():
        assert torch.equal(part, torchinit.orthogonal_(torch.empty(part.shape), generator=generator))
        assert torch.allclose(part.mT @ part, torch.eye(INPUTS), atol=1e-5)


def test_a_key_gives_each_block_the_key_of_its_first_row() -> None:
    name_key = keyed.fold_in(KEY, "wqkv.weight")
    for name in ("xavier_uniform_", "orthogonal_"):
        model = _rule(name).apply_(Attention(), key=KEY)
        for part, start in zip(model.parts(), (0, 8, 12), strict=True):
            expected = getattr(keyed, name)(torch.empty(part.shape), keyed.fold_in(name_key, start))
            assert torch.equal(part, expected), name


def test_blocks_that_fill_the_dimension_once_need_no_repeat_and_draw_the_same() -> None:
    for name in ("xavier_uniform_", "orthogonal_"):
        for how in ({"generator": _generator()}, {"key": KEY}):
            once, again = (
                Recipe([Rule(name, blocks=[8, 16], repeat=repeat)]).apply_(nn.Linear(5, 24, bias=False), **how)
                for repeat in (False, True)
            )
            if "generator" in how:
                again = Recipe([Rule(name, blocks=[8, 16], repeat=True)]).apply_(again, _generator())
            assert torch.equal(once.weight, again.weight), name


def test_gate_and_projection_may_alternate_along_the_last_dimension() -> None:
    model = nn.ParameterDict({"gate_up": torch.empty(4, 6, 20)})
    rule = Rule("lecun_normal_", batch_dims=1, transposed=True, blocks=[1, 1], repeat=True, dim=-1)
    row = Recipe([rule]).plan(model).rows[0]
    assert (row.initializer, row.fan_in, row.fan_out) == ("lecun_normal_ x2 x4 stacked", 6, 20)
    weight = Recipe([rule]).apply_(model, _generator())["gate_up"]
    generator = _generator()
    for part in (weight[..., ::2], weight[..., 1::2]):
        expected = torchinit.variance_scaling_(torch.empty(4, 6, 10), 1.0, fan_in=6, generator=generator)
        assert torch.equal(part, expected)


def test_structured_experts_with_alternating_blocks_equal_a_loop() -> None:
    model = nn.ParameterDict({"gate_up": torch.empty(4, 6, 20)})
    rule = Rule("orthogonal_", batch_dims=1, transposed=True, blocks=[1, 1], repeat=True, dim=-1)
    weight = Recipe([rule]).apply_(model, _generator())["gate_up"]
    generator = _generator()
    for part in (weight[..., ::2], weight[..., 1::2]):
        for expert in part:
            assert torch.equal(expert, torchinit.orthogonal_(torch.empty(10, 6), generator=generator).t())
    weight, name_key = Recipe([rule]).apply_(model, key=KEY)["gate_up"], keyed.fold_in(KEY, "gate_up")
    for first in (0, 1):
        for number, expert in enumerate(weight[..., first::2]):
            key = keyed.fold_in(keyed.fold_in(name_key, first), number)
            assert torch.equal(expert, keyed.orthogonal_(torch.empty(10, 6), key).t())


def test_constants_and_identities_reach_every_piece() -> None:
    for how in ({"generator": None}, {"key": KEY}):
        model = _rule("constant_", args={"val": 2.0}).apply_(Attention(), **how)  # type: ignore[arg-type]
        assert bool((model.wqkv.weight == 2.0).all())
        model = _rule("eye_").apply_(model, **how)  # type: ignore[arg-type]
        assert all(torch.equal(part, torch.eye(len(part), INPUTS)) for part in model.parts())


def test_residual_and_layout_work_with_repeating_blocks() -> None:
    plain, damped = (_rule("xavier_normal_", residual=r).apply_(nn.ModuleList([Attention(), Attention(), Attention(), Attention()]), _generator()) for r in (False, True))  # fmt: skip
    assert torch.allclose(damped[3].wqkv.weight, plain[3].wqkv.weight / 2)
    model = Attention()
    model.wqkv.weight = nn.Parameter(torch.empty(INPUTS, HEADS * sum(SIZES)).t())
    for name in ("xavier_normal_", "orthogonal_"):
        assert torch.equal(
            _rule(name).apply_(model, _generator()).wqkv.weight,
            _rule(name).apply_(Attention(), _generator()).wqkv.weight,
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"blocks": [4, 3], "repeat": True},
            r"blocks must repeat to fill dimension 0 of weight, .*\[24, 8\], got \[4, 3\]$",
        ),
        (
            {"blocks": [16, 16], "repeat": True},
            r"blocks must repeat to fill dimension 0 of weight, .*, got \[16, 16\]$",
        ),
        ({"blocks": [4, 4]}, r"blocks must fill dimension 0 of weight, of shape \[24, 8\], got \[4, 4\]$"),
    ],
)
def test_blocks_that_do_not_repeat_to_the_end_are_refused(options: dict, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Recipe([Rule("ones_", **options)]).plan(nn.Linear(8, 24, bias=False))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"repeat": True}, "repeat needs the sizes of the blocks, got blocks None"),
        ({"repeat": True, "blocks": 3}, "repeat needs the sizes of the blocks, got blocks 3"),
        ({"repeat": 1, "blocks": [3]}, "repeat must be a bool, got 1"),
        ({"batch_dims": -1}, "batch_dims must be a count from 0 to 63, got -1"),
        ({"batch_dims": 64}, "batch_dims must be a count from 0 to 63, got 64"),
        ({"batch_dims": True}, "batch_dims must be an int, got True"),
        ({"batch_dims": 1.0}, "batch_dims must be an int, got 1.0"),
        ({"transposed": "yes"}, "transposed must be a bool, got 'yes'"),
        ({"batch_dims": 2, "ndim": [3, 2]}, "2 batch dimensions need ndim of at least 3, got 2"),
        (
            {"batch_dims": 1, "transposed": True, "ndim": 2},
            "1 batch dimensions and transposed need ndim of at least 3, got 2",
        ),
        ({"transposed": True, "ndim": 1}, "transposed needs ndim of at least 2, got 1"),
        ({"batch_dims": 1, "blocks": 2}, "dim must come after the 1 batch dimensions, got 0"),
        ({"initializer": "default", "batch_dims": 1}, "batch_dims needs a named initializer, got default"),
        ({"initializer": "keep", "transposed": True}, "transposed needs a named initializer, got keep"),
        (
            {"initializer": "eye_", "batch_dims": 1, "ndim": 4},
            "the rule can never match with ndim 4: Only tensors with 2 dimensions are supported, got shape [2, 2, 1]",
        ),
    ],
)
def test_wrong_option_is_refused_when_the_rule_is_made(options: dict, message: str) -> None:
    with pytest.raises(RecipeError) as raised:
        Rule(**{"initializer": "xavier_uniform_", **options}, origin="here")
    assert str(raised.value) == f"here: {message}"


def test_stack_of_the_right_number_of_dimensions_is_accepted() -> None:
    assert Rule("eye_", batch_dims=1, ndim=3).matches("Experts", "weight", 3)
    assert Rule("dirac_", batch_dims=1, ndim=(4, 5, 6))
