"""Is a layer what it is: a subclass, a norm of another library, scripted, exported or wrapped?"""

import json
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.support.layers import differing, seeded
from tests.support.model_files import scripted
from torchinit import recipes
from torchinit.recipes import Recipe, RecipeError, Rule


class ScaledEmbedding(nn.Embedding):
    """Multiplies what it looks up, as Gemma's."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.embedding(x, self.weight, self.padding_idx) * 2


class BatchNormAct2d(nn.BatchNorm2d):
    """With a rectifier behind it, as timm's."""

    def forward(self, x: Tensor) -> Tensor:
        y = nn.functional.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, self.training)
        return y.relu()


class MyConv2dSame(nn.Conv2d):
    """A subclass that changes nothing."""


class LayerNorm2d(nn.LayerNorm):
    """Normalizes the channels of an image, as timm's."""

    def forward(self, x: Tensor) -> Tensor:
        x = x.permute(0, 2, 3, 1)
        return nn.functional.layer_norm(x, self.normalized_shape, self.weight, self.bias).permute(0, 3, 1, 2)


class RMSNorm(nn.Module):
    """Llama's."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(8))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True)) * self.weight


class OffsetRMSNorm(RMSNorm):
    """Gemma's."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True)) * (1 + self.weight)


class OffsetLayerNorm(nn.LayerNorm):
    """Multiplies by 1 + w, as transformers' NemotronLayerNorm1P."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.layer_norm(x, self.normalized_shape, self.weight + 1, self.bias, self.eps)


class GatedNorm(RMSNorm):
    """Multiplies by a gate, as Mamba's."""

    def forward(self, x: Tensor, gate: Tensor) -> Tensor:
        return super().forward(x) * nn.functional.silu(gate)


class ImageNorm(nn.Module):
    """Channels come second, and parameters have other names."""

    def __init__(self) -> None:
        super().__init__()
        self.gamma, self.beta = nn.Parameter(torch.zeros(3)), nn.Parameter(torch.ones(3))

    def forward(self, x: Tensor) -> Tensor:
        channels = x.size(1)
        y = (x - x.mean(1, keepdim=True)) / (x.var(1, keepdim=True, unbiased=False) + 1e-6).sqrt()
        return y * self.gamma.view(1, channels, 1, 1) + self.beta.view(1, channels, 1, 1)


class ChannelNorm(nn.Module):
    """Keeps its weight in the shape in which it is broadcast."""

    def __init__(self) -> None:
        super().__init__()
        self.g = nn.Parameter(torch.zeros(1, 6, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.normalize(x, dim=1) * (self.g + 1) * 6**0.5


class BrokenNorm(RMSNorm):
    """Cannot be run."""

    def forward(self, x: Tensor) -> Tensor:
        raise ValueError("no")


class OwnReset(nn.Linear):
    """Draws otherwise than the layer that it inherits from."""

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.weight)


SUBCLASSES = {
    "Linear": (type("Projection", (nn.Linear,), {}), lambda kind: kind(3, 4)),
    "Conv2d": (MyConv2dSame, lambda kind: kind(4, 8, 3, groups=2)),
    "ConvTranspose2d": (type("Up", (nn.ConvTranspose2d,), {}), lambda kind: kind(4, 8, 3)),
    "LSTM": (type("MyLSTM", (nn.LSTM,), {}), lambda kind: kind(3, 4)),
    "Embedding": (ScaledEmbedding, lambda kind: kind(9, 4, padding_idx=2)),
    "BatchNorm2d": (BatchNormAct2d, lambda kind: kind(3)),
    "MultiheadAttention": (type("Attention", (nn.MultiheadAttention,), {}), lambda kind: kind(4, 2)),
}


@pytest.mark.parametrize("name", SUBCLASSES)
def test_a_subclass_draws_as_the_layer_that_it_inherits_from(name: str) -> None:
    kind, make = SUBCLASSES[name]
    fresh = seeded(lambda: make(getattr(nn, name)), 3)
    model = recipes.torch_default().apply_(seeded(lambda: make(kind), 1), torch.Generator().manual_seed(3))
    assert differing(fresh, model) == []


def test_a_subclass_keeps_its_padding_row_at_0_and_resets_its_statistics() -> None:
    model = nn.Sequential(ScaledEmbedding(9, 4, padding_idx=0))
    Recipe([Rule("normal_", module="*Embedding", args={"std": 0.02})]).apply_(model)
    assert not model[0].weight[0].any()
    norm = BatchNormAct2d(2)
    norm.running_mean.fill_(3.0)
    norm.num_batches_tracked.fill_(5)
    Recipe([Rule("ones_", module="*Norm*", name="*.weight"), Rule("zeros_", name="*.bias")]).apply_(norm)
    assert (norm.running_mean.tolist(), norm.running_var.tolist(), norm.num_batches_tracked) == ([0, 0], [1, 1], 0)


def test_a_rule_calls_a_subclass_by_its_name_or_by_the_layer_that_it_inherits_from() -> None:
    model = nn.Sequential(MyConv2dSame(1, 2, 3, bias=False), nn.Conv2d(1, 2, 3, bias=False))
    for module, expected in (("Conv?d", ["ones_", "ones_"]), ("MyConv*", ["ones_", "keep"])):
        rows = Recipe([Rule("ones_", module=module), Rule("keep", optional=True)]).plan(model).rows
        assert [row.initializer for row in rows] == expected


def test_a_subclass_with_its_own_reset_parameters_has_no_default_and_the_error_says_so() -> None:
    with pytest.raises(RecipeError, match=r"weight \(.*OwnReset, which has its own reset_parameters\)"):
        recipes.torch_default().apply_(OwnReset(3, 4))
    assert Recipe([Rule("default", args={"layer": "Linear"})]).plan(OwnReset(3, 4)).rows[0].std > 0


def test_fully_sharded_subclasses_are_what_they_were() -> None:
    class FSDPModule:
        pass

    model = MyConv2dSame(4, 8, 3)
    model.__class__ = type("FSDPMyConv2dSame", (FSDPModule, MyConv2dSame), {})
    row = recipes.torch_default().plan(model).rows[0]
    assert (row.module, row.initializer) == ("MyConv2dSame", "default uniform_")


# Norms: the value of the weight at which the output has the scale of the input.
NORMS = {
    "RMS": (RMSNorm, "weight", 1),
    "RMS with 1 + w": (OffsetRMSNorm, "weight", 0),
    "LayerNorm": (lambda: nn.LayerNorm(8), "weight", 1),
    "LayerNorm of channels": (lambda: LayerNorm2d(8), "weight", 1),
    "LayerNorm with 1 + w": (lambda: OffsetLayerNorm(8), "weight", 0),
    "LayerNorm with 1 + w of two dimensions": (lambda: OffsetLayerNorm([2, 8]), "weight", 0),
    "gated": (GatedNorm, "weight", 1),
    "channels second": (ImageNorm, "gamma", 1),
    "its shift": (ImageNorm, "beta", 0),
    "weight of four dimensions": (ChannelNorm, "g", 0),
    "without a bias": (lambda: OffsetLayerNorm(8, bias=False), "weight", 0),
    "with a rectifier": (lambda: BatchNormAct2d(8), "weight", 1),
}


@pytest.mark.parametrize("where", ["cpu", "meta", "bfloat16"])
@pytest.mark.parametrize("name", NORMS)
def test_a_norm_starts_where_it_keeps_the_scale_of_its_input(name: str, where: str) -> None:
    make, own, value = NORMS[name]
    norm = make().to(getattr(torch, where) if where == "bfloat16" else where)
    state = torch.get_rng_state()
    before = {key: tensor.clone() for key, tensor in norm.state_dict().items()}
    rows = {row.name: row for row in recipes.torch_default().plan(norm).rows}
    assert rows[own].mean == value
    assert torch.equal(torch.get_rng_state(), state)
    assert where == "meta" or all(torch.equal(before[key], tensor) for key, tensor in norm.state_dict().items())


@pytest.mark.parametrize("kind", [RMSNorm, OffsetRMSNorm, LayerNorm2d, BatchNormAct2d])
def test_a_scripted_norm_starts_at_the_same_value(kind: Any) -> None:
    make = kind if issubclass(kind, RMSNorm) else lambda: kind(8)
    eager = recipes.torch_default().apply_(make())
    model = recipes.torch_default().apply_(scripted(make()))
    assert differing(eager, model) == []


def test_a_scripted_norm_without_values_starts_as_its_type_says_or_is_refused() -> None:
    rows = recipes.torch_default().plan(LayerNorm2d(8)).rows
    assert recipes.torch_default().plan(scripted(LayerNorm2d(8).to("meta"))).rows == rows
    with pytest.raises(RecipeError, match="no rule matches 1 parameter: g"):
        recipes.torch_default().plan(scripted(ChannelNorm().to("meta")))


def test_hooks_of_a_norm_are_not_called() -> None:
    def hook(*_: object) -> None:
        raise AssertionError("must not be called")

    norm = OffsetRMSNorm()
    norm.register_forward_pre_hook(hook)
    norm.register_forward_hook(hook)
    norm.__class__ = type("FSDPOffsetRMSNorm", (type("FSDPModule", (), {"__new__": hook}), OffsetRMSNorm), {})
    assert recipes.torch_default().plan(norm).rows[0].mean == 0


def test_a_norm_that_cannot_be_run_is_refused_rather_than_guessed() -> None:
    with pytest.raises(RecipeError, match="no rule matches 1 parameter: weight"):
        recipes.torch_default().plan(BrokenNorm())


def test_a_norm_with_a_buffer_of_its_own_is_not_run() -> None:
    class TableNorm(ChannelNorm):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("table", torch.ones(6))

    with pytest.raises(RecipeError, match="no rule matches 1 parameter: g"):
        recipes.torch_default().plan(TableNorm())


def test_norms_of_one_type_with_other_settings_are_told_apart() -> None:
    class SwitchedNorm(RMSNorm):
        def __init__(self, offset: bool) -> None:
            super().__init__()
            self.offset = offset

        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True)) if self.offset else 0)

    rows = recipes.torch_default().plan(nn.Sequential(*(SwitchedNorm(offset) for offset in (True, False, True)))).rows
    assert [row.mean for row in rows] == [0.0, 1.0, 0.0]


def test_llama_does_not_double_a_norm_with_1_plus_w() -> None:
    model = nn.Sequential(nn.Linear(8, 8), OffsetRMSNorm())
    recipes.llama().apply_(model)
    assert not model[1].weight.any()


def test_a_block_with_norm_in_its_name_is_not_run_as_a_norm() -> None:
    class PreNormBlock(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.gamma = nn.Linear(8, 8), nn.Parameter(torch.full((8,), 0.1))

        def forward(self, x: Tensor) -> Tensor:
            raise AssertionError("must not be run")

    with pytest.raises(RecipeError, match=r"gamma \(.*PreNormBlock\)"):
        recipes.torch_default().plan(PreNormBlock())


# TorchScript and exported modules, which forget their bases.


@pytest.mark.parametrize("how", ["script", "trace"])
def test_scripted_subclasses_are_known_by_name_and_structure(how: str) -> None:
    def make() -> nn.Module:
        return nn.Sequential(ScaledEmbedding(9, 3, padding_idx=0), MyConv2dSame(5, 4, 1), BatchNormAct2d(4))

    class Wrapper(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = make()

        def forward(self, x: Tensor) -> Tensor:
            return self.layers[2](self.layers[1](self.layers[0](x).unsqueeze(-1)))

    fresh = seeded(Wrapper, 3)
    model = seeded(Wrapper, 1)
    model.layers[2].running_mean.fill_(7.0)
    x = torch.zeros(2, 5, dtype=torch.long)
    model = scripted(model) if how == "script" else torch.jit.trace(model.eval(), x)
    recipes.torch_default().apply_(model, torch.Generator().manual_seed(3))
    assert differing(fresh, model) == []


def test_a_scripted_class_whose_shapes_do_not_fit_its_name_has_no_default() -> None:
    class StackedLinear(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(4, 3, 2))

        def forward(self, x: Tensor) -> Tensor:
            return x @ self.weight

    with pytest.raises(RecipeError, match="StackedLinear"):
        recipes.torch_default().plan(scripted(StackedLinear()))


def _network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(4, 8, 3, groups=2), nn.BatchNorm2d(8), nn.ConvTranspose2d(8, 4, 3), LayerNorm2d(4), nn.Flatten(),
        nn.Linear(4 * 64, 3),
    )  # fmt: skip


@pytest.mark.parametrize("unflatten", [False, True])
@pytest.mark.parametrize("decompose", [False, True])
def test_an_exported_module_gets_its_types_back(unflatten: bool, decompose: bool) -> None:
    program = torch.export.export(seeded(_network, 1), (torch.randn(2, 4, 8, 8),), strict=False)
    program = program.run_decompositions() if decompose else program
    model = torch.export.unflatten(program) if unflatten else program.module()
    model.get_buffer("1.running_mean").fill_(7.0)
    recipe = recipes.xavier()
    recipe.apply_(model, torch.Generator().manual_seed(3))
    expected = recipe.apply_(seeded(_network, 1), torch.Generator().manual_seed(3))
    assert differing(expected, model) == []
    rows, eager = ({row.name: row for row in recipe.plan(m).rows} for m in (model, expected))
    for name in ("0.weight", "2.weight", "5.weight"):
        assert (rows[name].fan_in, rows[name].fan_out) == (eager[name].fan_in, eager[name].fan_out)


def test_an_exported_embedding_keeps_its_padding_row() -> None:
    program = torch.export.export(nn.Sequential(nn.Embedding(5, 3, padding_idx=1)), (torch.zeros(2, dtype=torch.long),))
    model = recipes.torch_default().apply_(program.module())
    weight = model.get_parameter("0.weight")
    assert not weight[1].any()
    assert weight[0].all()


# The error for parameters without a rule.


def test_the_error_names_types_in_full_groups_blocks_and_ends_with_a_rule_that_covers_them() -> None:
    class Scale(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gamma = nn.Parameter(torch.ones(2))

    model = nn.ModuleDict({"blocks": nn.ModuleList(Scale() for _ in range(12)), "last": Scale()})
    with pytest.raises(RecipeError) as caught:
        recipes.torch_default().plan(model)
    kind = f"{Scale.__module__}.Scale"
    message = str(caught.value)
    assert message.startswith(
        f"no rule matches 13 parameters: blocks.*.gamma ({kind}), 12 times, last.gamma ({kind}); add a rule, such as"
    )
    name = json.loads(message.partition("name=")[2].partition(")")[0])
    assert Recipe([Rule("keep", name=name)]).plan(model)


@pytest.mark.parametrize(
    ("shape", "stacked"), [((4, 3, 2), True), ((1, 3, 2), False), ((4, 1, 1), False), ((4, 3), False)]
)
def test_the_error_names_batch_dims_for_what_looks_like_a_stack(shape: tuple[int, ...], stacked: bool) -> None:
    model = nn.Module()
    model.experts = nn.Parameter(torch.ones(shape))
    with pytest.raises(RecipeError) as caught:
        recipes.xavier().plan(model)
    assert str(caught.value).endswith(", or one with batch_dims=1 for each matrix of a stack") == stacked
