"""With a key, does each parameter's draw depend on its name only?"""

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from torchinit import keyed, recipes
from torchinit.recipes import Recipe, Rule

KEY = keyed.key(2026)


class Tied(nn.Module):
    """Layers with tied, packed, padded and cloned weights, and a norm."""

    def __init__(self, more: bool = False, late: bool = False) -> None:
        super().__init__()
        if more and not late:
            self.more = nn.Linear(3, 3)
        self.words, self.packed = nn.Embedding(20, 8, padding_idx=3), nn.Linear(8, 24)
        self.layers = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16), 2)
        self.norm, self.head = nn.BatchNorm1d(8), nn.Linear(8, 20, bias=False)
        self.head.weight = self.words.weight
        if more and late:
            self.more = nn.Linear(3, 3)


RECIPE = Recipe(
    [
        Rule("xavier_uniform_", name="packed.weight", blocks=3),
        Rule("orthogonal_", name="*.linear1.weight", args={"gain": 0.5}),
        Rule("sparse_", name="*.linear2.weight", args={"sparsity": 0.5}),
        Rule("trunc_normal_", name="*.out_proj.weight", args={"std": 0.02}, residual=True),
        Rule("default"),
    ]
)


def test_adding_a_layer_changes_no_other() -> None:
    small = RECIPE.apply_(Tied(), key=KEY).state_dict()
    for late in (False, True):
        large = RECIPE.apply_(Tied(True, late), key=KEY).state_dict()
        assert all(torch.equal(values, large[name]) for name, values in small.items())


def test_each_parameter_is_the_keyed_initializer_of_its_name() -> None:
    model = RECIPE.apply_(Tied(), key=KEY)
    words = keyed.normal_(torch.empty(20, 8), keyed.fold_in(KEY, "words.weight"))
    words[3] = 0
    assert torch.equal(model.words.weight, words)
    assert model.head.weight is model.words.weight
    packed = keyed.fold_in(KEY, "packed.weight")
    for start in (0, 8, 16):
        block = keyed.xavier_uniform_(torch.empty(8, 8), keyed.fold_in(packed, start))
        assert torch.equal(model.packed.weight[start : start + 8], block)
    for index, layer in enumerate(model.layers.layers):
        name = f"layers.layers.{index}"
        expected = keyed.orthogonal_(torch.empty(16, 8), keyed.fold_in(KEY, f"{name}.linear1.weight"), 0.5)
        assert torch.equal(layer.linear1.weight, expected)
        key = keyed.fold_in(KEY, f"{name}.self_attn.out_proj.weight")
        assert torch.equal(
            layer.self_attn.out_proj.weight, keyed.trunc_normal_(torch.empty(8, 8), key, 0.0, 0.02 / 2**0.5)
        )
    assert float(model.norm.running_var.sum()) == 8.0


def test_clones_are_drawn_independently() -> None:
    first, second = recipes.torch_default().apply_(Tied(), key=KEY).layers.layers
    assert not torch.equal(first.linear1.weight, second.linear1.weight)
    assert not torch.equal(first.self_attn.in_proj_weight, second.self_attn.in_proj_weight)


def test_no_generator_is_touched_and_dtype_and_layout_do_not_matter() -> None:
    state = torch.get_rng_state()
    expected = RECIPE.apply_(Tied(), key=KEY).state_dict()
    models = [Tied().to(torch.bfloat16), Tied().requires_grad_(False)]
    models.append(Tied())
    models[-1].packed.weight = nn.Parameter(torch.empty(8, 24).t())
    torch.set_rng_state(state)
    for model in models:
        for name, values in RECIPE.apply_(model, key=KEY).state_dict().items():
            assert torch.equal(values, expected[name].to(values.dtype)), name
    assert torch.equal(torch.get_rng_state(), state)


def test_model_wrapped_by_torch_keeps_its_names() -> None:
    expected = recipes.torch_default().apply_(Tied(), key=KEY).state_dict()
    model = Tied()
    recipes.torch_default().apply_(torch.compile(model), key=KEY)  # type: ignore[arg-type]
    assert all(torch.equal(values, expected[name]) for name, values in model.state_dict().items())


def test_kept_parameters_are_left_alone_and_meta_ones_too() -> None:
    model = Tied()
    before = model.packed.weight.clone()
    recipes.torch_default().keeping("packed.*").apply_(model, key=KEY)
    assert torch.equal(model.packed.weight, before)
    with torch.device("meta"):
        assert RECIPE.apply_(Tied(), key=KEY).packed.weight.is_meta


def test_generator_with_a_key_and_wrong_key_are_refused_before_a_write() -> None:
    model = Tied()
    before = model.packed.weight.clone()
    with pytest.raises(ValueError, match="from a generator or from a key, got both"):
        RECIPE.apply_(model, torch.Generator(), KEY)
    with pytest.raises(ValueError, match="a key holds words of"):
        RECIPE.apply_(model, key=torch.zeros(2))
    with pytest.raises(ValueError, match="one tensor needs one key"):
        RECIPE.apply_(model, key=keyed.split(KEY))
    assert torch.equal(model.packed.weight, before)


def test_ensemble_by_vmap_equals_each_model_by_its_key() -> None:
    from torch.func import functional_call, stack_module_state

    keys, names = keyed.split(KEY, 3), dict(nn.Linear(4, 3).named_parameters())

    def made(key: torch.Tensor) -> dict[str, torch.Tensor]:
        empty = {name: key.new_empty(p.shape, dtype=p.dtype) for name, p in names.items()}
        return {n: keyed.normal_(w, keyed.fold_in(key, n)) for n, w in empty.items()}

    ensemble = torch.func.vmap(made)(keys)
    rule = Recipe([Rule("normal_")])
    models = [rule.apply_(nn.Linear(4, 3), key=key) for key in keys]
    stacked, _ = stack_module_state(models)  # type: ignore[arg-type]
    assert all(torch.equal(ensemble[name], stacked[name]) for name in names)
    assert functional_call(models[0], {n: v[0] for n, v in ensemble.items()}, torch.ones(1, 4)).shape == (1, 3)


def _wrapped(how: str) -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    if how == "DataParallel":
        return nn.DataParallel(model)
    if how == "AveragedModel":
        return torch.optim.swa_utils.AveragedModel(model)
    if how == "compile":
        return torch.compile(model)
    return nn.parallel.DistributedDataParallel(model)


@pytest.fixture
def fake_group() -> Iterator[None]:
    from torch.testing._internal.distributed.fake_pg import FakeStore

    torch.distributed.init_process_group("fake", store=FakeStore(), rank=0, world_size=1)
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("fake_group")
@pytest.mark.parametrize("how", ["DataParallel", "AveragedModel", "compile", "DistributedDataParallel"])
def test_a_wrapper_does_not_change_a_keyed_weight(how: str) -> None:
    recipe = Recipe([Rule("zeros_", name="1.weight"), Rule("default")])
    expected = recipe.apply_(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2)), key=keyed.key(0))
    wrapped = recipe.apply_(_wrapped(how), key=keyed.key(0))
    values = [p for name, p in wrapped.named_parameters()]
    assert all(torch.equal(a, b) for a, b in zip(expected.parameters(), values, strict=True))


def test_a_module_of_ones_own_called_module_is_part_of_the_name() -> None:
    outer = nn.Module()
    outer.module = nn.Linear(4, 4)
    bare = recipes.torch_default().apply_(nn.Linear(4, 4), key=keyed.key(0))
    assert not torch.equal(recipes.torch_default().apply_(outer, key=keyed.key(0)).module.weight, bare.weight)
