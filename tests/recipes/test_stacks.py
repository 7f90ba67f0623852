"""Is each matrix of a stacked parameter, such as a layer's experts, initialized as if it were alone?"""

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import torchinit
from tests.support.distributed import on_ranks
from tests.support.stacks import STACKS, Stacks
from torchinit import keyed, recipes
from torchinit.recipes import Recipe, RecipeError, Rule

KEY = keyed.key(11)


class Experts(nn.Module):
    """One parameter of a class that nobody knows."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full(shape, float("nan")))


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def _drawn(rule: Rule, *shape: int) -> Tensor:
    return Recipe([rule]).apply_(Experts(*shape), _generator()).weight.detach()


def _row(rule: Rule, *shape: int) -> Any:
    return Recipe([rule]).plan(Experts(*shape)).rows[0]


def test_each_expert_has_its_own_fans() -> None:
    row = _row(Rule("xavier_uniform_", batch_dims=1), 4, 128, 32)
    assert (row.initializer, row.fan_in, row.fan_out) == ("xavier_uniform_ x4 stacked", 32, 128)
    assert row.std == pytest.approx(math.sqrt(2 / (128 + 32)))
    weight = _drawn(Rule("xavier_uniform_", batch_dims=1), 4, 128, 32)
    assert torch.equal(
        weight, torchinit.uniform_(torch.empty(4, 128, 32), -row.std * 3**0.5, row.std * 3**0.5, _generator())
    )
    assert weight.std().item() == pytest.approx(0.1118, rel=0.02)


@pytest.mark.parametrize(("transposed", "fans"), [(False, (32, 128)), (True, (128, 32))])
@pytest.mark.parametrize("how", ["layer", "upstream"])
def test_experts_stored_the_other_way_round_swap_their_fans(transposed: bool, fans: tuple[int, int], how: str) -> None:
    args = {"mode": "fan_out", "nonlinearity": "relu"}
    rule = Rule("kaiming_normal_", args=args, batch_dims=1, transposed=transposed, fans=how)
    row = _row(rule, 4, 128, 32)
    assert (row.fan_in, row.fan_out) == fans
    expected = torch.empty(4, 128, 32).normal_(0.0, math.sqrt(2.0) / math.sqrt(fans[1]), generator=_generator())
    assert torch.equal(_drawn(rule, 4, 128, 32), expected)


def test_one_matrix_may_be_stored_the_other_way_round() -> None:
    assert (_row(Rule("ones_", transposed=True), 5, 7).fan_in, _row(Rule("ones_"), 5, 7).fan_in) == (5, 7)
    weight = _drawn(Rule("sparse_", args={"sparsity": 0.5}, transposed=True), 8, 4)
    expected = torchinit.sparse_(torch.empty(4, 8), 0.5, generator=_generator())
    assert torch.equal(weight, expected.t())


def test_layer_that_is_transposed_is_not_swapped_twice() -> None:
    layer = nn.ConvTranspose2d(4, 6, 3, bias=False)
    first, second = (Recipe([Rule("ones_", transposed=said)]).plan(layer).rows[0] for said in (False, True))
    assert (first.fan_in, first.fan_out) == (second.fan_in, second.fan_out) == (36, 54)


@pytest.mark.parametrize("shape", [(4, 12, 5), (2, 3, 5, 12), (4, 7)])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(
    ("rule", "own"),
    [
        ({"initializer": "orthogonal_", "args": {"gain": 0.5}}, lambda w, g: torchinit.orthogonal_(w, 0.5, g)),
        ({"initializer": "sparse_", "args": {"sparsity": 0.3}}, lambda w, g: torchinit.sparse_(w, 0.3, generator=g)),
        ({"initializer": "eye_"}, lambda w, g: torchinit.eye_(w)),
        ({"initializer": "identity_", "args": {"gain": 3.0}}, lambda w, g: torchinit.identity_(w, 3.0)),
    ],
)
def test_structured_matrices_are_drawn_one_by_one(
    shape: tuple[int, ...], transposed: bool, rule: dict, own: Callable[..., Tensor]
) -> None:
    depth, generator = len(shape) - 2, _generator()
    expected = torch.empty(shape)
    for index in itertools.product(*map(range, shape[:depth])):
        matrix = expected[index]
        matrix.copy_(own(matrix.t().contiguous(), generator).t() if transposed else own(matrix, generator))
    assert torch.equal(_drawn(Rule(**rule, batch_dims=depth, transposed=transposed), *shape), expected)


def test_each_expert_is_orthogonal() -> None:
    weight = _drawn(Rule("orthogonal_", batch_dims=1), 4, 128, 32)
    assert torch.allclose(weight.mT @ weight, torch.eye(32).expand(4, 32, 32), atol=1e-5)
    assert not torch.allclose(weight[0], weight[1], atol=1e-2)


def test_convolutions_may_be_stacked() -> None:
    row = _row(Rule("kaiming_normal_", batch_dims=1), 5, 8, 4, 3, 3)
    assert (row.fan_in, row.fan_out) == (36, 72)
    model = Experts(5, 8, 2, 3, 3)
    model.groups = 2
    row = Recipe([Rule("kaiming_normal_", batch_dims=1)]).plan(model).rows[0]
    assert (row.fan_in, row.fan_out) == (18, 36)
    weight = _drawn(Rule("dirac_", batch_dims=1), 5, 8, 4, 3, 3)
    assert torch.equal(weight, torchinit.dirac_(torch.empty(8, 4, 3, 3)).expand(5, 8, 4, 3, 3))


def test_biases_of_experts_are_filled_one_by_one() -> None:
    assert torch.equal(
        _drawn(Rule("lstm_bias_", batch_dims=1), 3, 8), torchinit.lstm_bias_(torch.empty(8)).expand(3, 8)
    )
    assert float(_drawn(Rule("zeros_", batch_dims=1), 3, 8).abs().sum()) == 0.0
    with pytest.raises(RecipeError, match=r"needs fans, so at least 2 dimensions, got weight of shape \[8\]$"):
        _row(Rule("xavier_uniform_", batch_dims=1), 3, 8)


def test_residual_divides_the_deviation_of_each_matrix() -> None:
    model = nn.ModuleList(Experts(3, 20, 10) for _ in range(4))
    for name in ("orthogonal_", "lecun_normal_"):
        plain, damped = (
            Recipe([Rule(name, batch_dims=1, residual=residual)]).apply_(model, _generator())[3].weight.clone()
            for residual in (False, True)
        )
        assert torch.allclose(damped, plain / 2, atol=1e-6), name


def test_memory_format_does_not_change_the_weights() -> None:
    for rule in (Rule("orthogonal_", batch_dims=1), Rule("xavier_normal_", batch_dims=1)):
        model = Experts(3, 12, 5)
        model.weight = nn.Parameter(torch.empty(12, 5, 3).permute(2, 0, 1))
        assert torch.equal(Recipe([rule]).apply_(model, _generator()).weight, _drawn(rule, 3, 12, 5))
        assert torch.equal(
            Recipe([rule]).apply_(model, key=KEY).weight, Recipe([rule]).apply_(Experts(3, 12, 5), key=KEY).weight
        )


def test_a_key_draws_an_elementwise_stack_at_once_and_a_structured_one_by_number() -> None:
    name_key = keyed.fold_in(KEY, "weight")
    weight = Recipe([Rule("xavier_normal_", batch_dims=1)]).apply_(Experts(4, 12, 5), key=KEY).weight
    assert torch.equal(weight, keyed.normal_(torch.empty(4, 12, 5), name_key, 0.0, math.sqrt(2 / 17)))
    weight = Recipe([Rule("orthogonal_", batch_dims=2)]).apply_(Experts(2, 3, 12, 5), key=KEY).weight
    for number, matrix in enumerate(weight.flatten(0, 1)):
        assert torch.equal(matrix, keyed.orthogonal_(torch.empty(12, 5), keyed.fold_in(name_key, number)))
    weight = Recipe([Rule("orthogonal_", transposed=True)]).apply_(Experts(12, 5), key=KEY).weight
    assert torch.equal(weight, keyed.orthogonal_(torch.empty(5, 12), name_key).t())


def test_scalars_are_no_stacks() -> None:
    class Temperature(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.logit_scale = nn.Parameter(torch.tensor(0.0))

        def forward(self, x: Tensor) -> Tensor:
            return x * self.logit_scale

    recipe = Recipe([Rule("constant_", name="logit_scale", args={"val": "log(10)"})])
    attached = recipe.attach(torch.jit.script(Temperature()))
    attached.reset_parameters()
    for model in (recipe.apply_(Temperature()), recipe.apply_(Temperature(), key=KEY), attached):
        assert model.logit_scale.item() == pytest.approx(math.log(10))
    assert Recipe([Rule("normal_", residual=True)]).plan(Temperature()).rows[0].std == 1.0
    with pytest.raises(RecipeError, match=r"batch_dims must be less .* of shape \[\], got 1"):
        Recipe([Rule("normal_", batch_dims=1)]).plan(Temperature())


def test_expression_of_fans_in_an_unknown_class_names_what_would_give_them() -> None:
    with pytest.raises(RecipeError, match=r"got weight of shape \[2, 3, 4\] in Experts; a rule with batch_dims=1"):
        _row(Rule("normal_", args={"std": "fan_in ** -0.5"}), 2, 3, 4)
    assert _row(Rule("normal_", args={"std": "fan_in ** -0.5"}, batch_dims=1), 2, 3, 4).std == 0.5


def test_meta_and_empty_stacks_are_left_alone() -> None:
    with torch.device("meta"):
        assert STACKS.apply_(Stacks(), key=KEY).w2.is_meta
        assert len(STACKS.plan(Stacks()).rows) == len(STACKS.rules)
    for shape in ((0, 4, 3), (4, 0, 3), (4, 3, 0)):
        for key in (None, KEY):
            Recipe([Rule("orthogonal_", batch_dims=1)]).apply_(Experts(*shape), key=key)


@pytest.mark.parametrize(
    ("options", "shape", "message"),
    [
        (
            {"batch_dims": 3},
            (4, 6, 2),
            r"batch_dims must be less than the number of dimensions of weight, of shape \[4, 6, 2\], got 3$",
        ),
        ({"batch_dims": 1}, (4,), r"batch_dims must be less than .* of weight, of shape \[4\], got 1$"),
        (
            {"batch_dims": 1, "transposed": True},
            (4, 6),
            r"a transposed parameter needs at least 2 dimensions, got weight of shape \[4, 6\] with 1 batch dimensions$",
        ),
        ({"transposed": True}, (6,), r"a transposed parameter needs at least 2 dimensions, got weight of shape \[6\]$"),
        (
            {"batch_dims": 1, "blocks": 2, "dim": -3},
            (4, 6, 2),
            r"dim must come after the 1 batch dimensions of weight, of shape \[4, 6, 2\], got -3$",
        ),
    ],
)
def test_stack_that_does_not_fit_a_parameter_is_refused(options: dict, shape: tuple[int, ...], message: str) -> None:
    for initializer in ("zeros_", "orthogonal_"):
        with pytest.raises(RecipeError, match=rf"^here: {message}"):
            _row(Rule(initializer, **options, origin="here"), *shape)


def test_stacks_pass_through_toml() -> None:
    assert Recipe.from_toml(STACKS.to_toml()) == STACKS
    text = Recipe([Rule("ones_", batch_dims=2, transposed=True)]).to_toml()
    assert text == '[[rule]]\ninitializer = "ones_"\nbatch_dims = 2\ntransposed = true\n'
    assert Rule("ones_", batch_dims=1) != Rule("ones_")


def test_expected_moments_are_those_of_what_is_drawn() -> None:
    model = STACKS.apply_(Stacks(), _generator())
    for row in STACKS.plan(model).rows:
        values = model.get_parameter(row.name)
        # A sample of some hundred values.
        assert values.std(correction=0).item() == pytest.approx(row.std, rel=0.25, abs=1e-6), row.name
        assert values.mean().item() == pytest.approx(row.mean, abs=0.3 * row.std + 1e-6), row.name


@pytest.mark.parametrize("initializer", ["xavier_uniform_", "lecun_normal_", "orthogonal_"])
def test_stack_in_an_unknown_class_is_not_taken_for_a_convolution(initializer: str) -> None:
    message = (
        rf"^here: {initializer} in 3 dimensions needs a layer that looks like a convolution, got weight of shape"
        r" \[4, 6, 2\] in Experts; a rule with batch_dims=1 initializes each matrix of a stack, one with"
        r' fans="upstream" counts as torch.nn.init does$'
    )
    with pytest.raises(RecipeError, match=message):
        _row(Rule(initializer, origin="here"), 4, 6, 2)
    with pytest.raises(RecipeError, match="a rule with batch_dims=2 initializes each matrix"):
        _row(Rule(initializer), 2, 4, 6, 2)
    row = _row(Rule(initializer, fans="upstream"), 4, 6, 2)
    assert (row.fan_in, row.fan_out) == (12, 8)


def test_initializers_without_fans_take_any_class_and_claim_no_fans() -> None:
    row = _row(Rule("normal_", args={"std": 0.02}), 4, 6, 2)
    assert (row.fan_in, row.fan_out, row.std) == (None, None, 0.02)


def test_known_layers_keep_their_fans_in_three_dimensions() -> None:
    class MyConvolution(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.empty(8, 4, 3))

    class Kernel(MyConvolution):
        kernel_size = (3,)

    layers = [nn.Conv1d(4, 8, 3, bias=False), MyConvolution(), Kernel(), nn.Bilinear(4, 3, 8, bias=False)]
    for layer in layers:
        row = recipes.xavier().plan(layer).rows[0]
        assert (row.fan_in, row.fan_out) == (12, 24), layer


def test_experts_of_mixtral_are_initialized_one_by_one() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.MixtralConfig(
        hidden_size=16, intermediate_size=24, num_local_experts=3, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, vocab_size=32,
    )  # fmt: skip
    model = transformers.MixtralForCausalLM(config)
    for parameter in model.parameters():
        parameter._is_hf_initialized = False
    rules = [
        Rule("orthogonal_", name="*.experts.down_proj", batch_dims=1),
        Rule("xavier_normal_", name="*.experts.gate_up_proj", batch_dims=1, blocks=2, dim=1),
        Rule("keep"),
    ]
    rows = {row.name: row for row in Recipe(rules).plan(model).rows}
    row = rows["model.layers.1.mlp.experts.gate_up_proj"]
    assert (row.module, row.initializer, row.shape) == ("MixtralExperts", "xavier_normal_ x2 x3 stacked", (3, 48, 16))
    Recipe(rules).apply_(model, _generator())
    generator = _generator()
    for layer in model.model.layers:
        experts = layer.mlp.experts
        for first in (0, 24):
            half = torch.empty(3, 24, 16).normal_(0.0, math.sqrt(2 / 40), generator=generator)
            assert torch.equal(experts.gate_up_proj[:, first : first + 24], half)
        for down in experts.down_proj:
            assert torch.equal(down, torchinit.orthogonal_(torch.empty(16, 24), generator=generator))


def _sharded(rank: int) -> list[str]:
    """Draw each parameter of the model in several placements; return the cases that differ from the whole."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Replicate, Shard, distribute_tensor

    expected, wrong = STACKS.apply_(Stacks(), key=KEY).state_dict(), []
    flat, square = init_device_mesh("cpu", (4,)), init_device_mesh("cpu", (2, 2))
    places: list[Any] = [(flat, [Shard(dim)]) for dim in range(4)]
    places += [(square, [Shard(1), Shard(0)]), (square, [Shard(0), Shard(0)]), (square, [Replicate(), Shard(1)])]
    for mesh, placements in places:
        model = Stacks()
        for name, parameter in list(model.named_parameters()):
            if all(getattr(placement, "dim", 0) < parameter.dim() for placement in placements):
                sharded = distribute_tensor(parameter.detach().clone(), mesh, placements)
                model.register_parameter(name, nn.Parameter(sharded))
        STACKS.apply_(model, key=KEY)
        for name, parameter in model.named_parameters():
            whole: Any = parameter.detach()
            whole = whole.full_tensor() if hasattr(whole, "full_tensor") else whole
            if not torch.equal(whole, expected[name]):
                wrong.append(f"{name} {placements}")
    seeded = STACKS.apply_(Stacks(), _generator()).state_dict()
    model = Stacks()
    for name, parameter in list(model.named_parameters()):
        model.register_parameter(name, nn.Parameter(distribute_tensor(parameter.detach(), flat, [Shard(0)])))
    for name, parameter in STACKS.apply_(model, _generator()).named_parameters():
        if not torch.equal(parameter.detach().full_tensor(), seeded[name]):  # type: ignore[attr-defined]
            wrong.append(f"{name} by seed")
    return wrong


@pytest.mark.slow
def test_shards_on_any_dimension_are_those_of_the_whole() -> None:
    assert on_ranks(4, _sharded) == [[]] * 4
