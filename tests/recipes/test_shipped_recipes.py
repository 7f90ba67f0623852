"""Does each shipped recipe equal its source: its code where that can run, else its formula?"""

import math
import warnings
from collections.abc import Callable
from unittest import mock

import pytest
import torch
from torch import nn

import torchinit
from tests.support import transformers_models
from tests.support.layers import differing, seeded
from torchinit import recipes
from torchinit.recipes import Recipe
from torchinit.recipes._read import about
from torchinit.recipes._shipped import SHIPPED


def _reinitialize_by_transformers(model: nn.Module, seed: int) -> nn.Module:
    """Re-initialize a transformers model by transformers' own code."""
    for module in model.modules():
        module.__dict__.pop("_is_hf_initialized", None)
    torch.manual_seed(seed)
    model.initialize_weights()
    return model


@pytest.mark.parametrize("make", [transformers_models.llama, transformers_models.bert])
def test_llama_has_the_bits_of_transformers_own_code(make: Callable[[], nn.Module]) -> None:
    model = seeded(make, 1)
    torch.manual_seed(5)
    recipes.llama().apply_(model)
    assert differing(_reinitialize_by_transformers(seeded(make, 2), 5), model) == []


class _Deit(nn.Module):
    """The layers and names of DeiT's VisionTransformer, with one block."""

    def __init__(self) -> None:
        super().__init__()
        self.patch_embed = nn.Module()
        self.patch_embed.proj = nn.Conv2d(3, 16, 8)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, 16))
        self.pos_embed = nn.Parameter(torch.zeros(1, 5, 16))
        block = nn.Module()
        block.norm1, block.qkv, block.proj = nn.LayerNorm(16), nn.Linear(16, 48), nn.Linear(16, 16)
        self.blocks = nn.Sequential(block)
        self.norm, self.head = nn.LayerNorm(16), nn.Linear(16, 10)


def test_vit_fills_as_deits_code_does_except_the_head() -> None:
    # DeiT's _init_weights and the calls of its __init__, in our order: children first, embeddings last.
    model, other = seeded(_Deit, 1), seeded(_Deit, 2)
    generator = torch.Generator().manual_seed(5)

    def init_weights(m: nn.Module) -> None:
        if isinstance(m, nn.Linear) and m is not model.head:
            torchinit.trunc_normal_(m.weight, std=0.02, generator=generator)
            nn.init.constant_(m.bias, 0)
        elif isinstance(m, nn.LayerNorm):
            nn.init.constant_(m.bias, 0)
            nn.init.constant_(m.weight, 1.0)

    # DeiT leaves the patch projection at torch's default; transformers' ViT gives it this std.
    torchinit.trunc_normal_(model.patch_embed.proj.weight, std=0.02, generator=generator)
    nn.init.zeros_(model.patch_embed.proj.bias)
    model.apply(init_weights)
    torchinit.trunc_normal_(model.cls_token, std=0.02, generator=generator)
    torchinit.trunc_normal_(model.pos_embed, std=0.02, generator=generator)
    nn.init.zeros_(model.head.weight)
    nn.init.zeros_(model.head.bias)
    recipes.vit().apply_(other, torch.Generator().manual_seed(5))
    assert differing(model, other) == []


def _std_of_transformers(model: nn.Module) -> dict[str, float]:
    """Return the std with which transformers' own code draws each parameter."""
    from transformers import initialization

    names, drawn = {p.data_ptr(): name for name, p in model.named_parameters()}, {}

    def record(tensor: torch.Tensor, mean: float, std: float, **_: object) -> torch.Tensor:
        assert mean == 0
        drawn[names[tensor.data_ptr()]] = std
        return tensor

    with mock.patch.dict(initialization.TORCH_INIT_FUNCTIONS, {"normal_": record, "trunc_normal_": record}):
        _reinitialize_by_transformers(model, 5)
    return drawn


def test_vit_has_the_deviations_of_transformers_own_code_and_a_zero_head() -> None:
    model = seeded(transformers_models.vit, 1)
    drawn = _std_of_transformers(model)
    assert drawn.pop("classifier.weight") == 0.02
    rows = recipes.vit().plan(model).rows
    fills = {step.target: step.fills[0] for step in recipes.vit().plan(model).steps}
    assert {row.name: fills[row.name].args[1] for row in rows if row.initializer == "trunc_normal_"} == drawn
    assert len(drawn) == 2 + 1 + 6 * 2
    assert {row.std for row in rows if row.name not in drawn} == {0.0}


def test_gpt2_has_the_deviations_of_transformers_own_code() -> None:
    model = seeded(transformers_models.gpt2, 1)
    drawn = _std_of_transformers(model)
    rows = {row.name: row for row in recipes.gpt2().plan(model).rows}
    assert {name: row.std for name, row in rows.items() if row.initializer == "normal_"} == drawn
    assert drawn["transformer.h.0.attn.c_proj.weight"] == 0.02 / math.sqrt(6)
    assert len(drawn) == 2 + 4 * 3
    assert rows["lm_head.weight"].initializer == "as transformer.wte.weight"


def _basic_block(width: int) -> nn.Module:
    block = nn.Module()
    block.conv1, block.bn1 = nn.Conv2d(width, width, 3, bias=False), nn.BatchNorm2d(width)
    block.conv2, block.bn2 = nn.Conv2d(width, width, 3, bias=False), nn.BatchNorm2d(width)
    return block


def _resnet() -> nn.Module:
    """Return a model with the layers and names of torchvision's ResNet."""
    net = nn.Module()
    net.conv1, net.bn1 = nn.Conv2d(3, 8, 7, bias=False), nn.BatchNorm2d(8)
    net.layer1 = nn.Sequential(_basic_block(8), _basic_block(8))
    net.fc = nn.Linear(8, 10)
    return net


@pytest.mark.parametrize("zero_init", [(), "*.bn2.weight"])
def test_resnet_has_the_bits_of_torchvisions_code(zero_init: str) -> None:
    # The loops at the end of torchvision.models.resnet.ResNet.__init__.
    model = seeded(_resnet, 1)
    torch.manual_seed(5)
    for m in model.modules():
        if isinstance(m, nn.Conv2d):
            nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(m, (nn.BatchNorm2d, nn.GroupNorm)):
            nn.init.constant_(m.weight, 1)
            nn.init.constant_(m.bias, 0)
    if zero_init:
        for m in model.layer1:
            nn.init.constant_(m.bn2.weight, 0)
    other = seeded(_resnet, 2)
    torch.manual_seed(5)
    recipes.resnet(zero_init).apply_(other)
    assert differing(model, other) == ["fc.weight", "fc.bias"]
    assert other.fc.weight.abs().max() <= 1 / math.sqrt(8)


def test_dcgan_has_the_bits_of_pytorchs_example() -> None:
    def make() -> nn.Module:
        return nn.Sequential(
            nn.ConvTranspose2d(10, 8, 4, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 1, 4, bias=False)
        )

    def weights_init(m: nn.Module) -> None:
        name = m.__class__.__name__
        if name.find("Conv") != -1:
            nn.init.normal_(m.weight, 0.0, 0.02)
        elif name.find("BatchNorm") != -1:
            nn.init.normal_(m.weight, 1.0, 0.02)
            nn.init.zeros_(m.bias)

    model, other = seeded(make, 1), seeded(make, 2)
    torch.manual_seed(5)
    model.apply(weights_init)
    torch.manual_seed(5)
    recipes.dcgan().apply_(other)
    assert differing(model, other) == []


@pytest.mark.parametrize(("policy", "value"), [("actor.4", "critic.4"), ("actor", "*.critic"), ("*.actor", "*.critic")])
def test_orthogonal_rl_has_the_bits_of_cleanrls_layer_init(policy: str, value: str) -> None:
    def make() -> nn.Module:
        def mlp(out: int) -> nn.Module:
            return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, out))

        return nn.ModuleDict({"critic": mlp(1), "actor": mlp(3), "lstm": nn.LSTM(4, 8)})

    def layer_init(layer: nn.Linear, std: float = math.sqrt(2), bias_const: float = 0.0) -> None:
        nn.init.orthogonal_(layer.weight, std)
        nn.init.constant_(layer.bias, bias_const)

    model, other = seeded(make, 1), seeded(make, 2)
    torch.manual_seed(5)
    for name, head in (("critic", 1.0), ("actor", 0.01)):
        first, _, second, _, last = model[name]
        layer_init(first)
        layer_init(second)
        layer_init(last, std=head)
    for name, parameter in model["lstm"].named_parameters():
        if "bias" in name:
            nn.init.constant_(parameter, 0)
        elif "weight" in name:
            nn.init.orthogonal_(parameter, 1.0)
    torch.manual_seed(5)
    recipes.orthogonal_rl(policy, value).apply_(other)
    assert differing(model, other) == []


def test_orthogonal_rl_finds_the_heads_of_stable_baselines_by_itself() -> None:
    model = nn.ModuleDict({"action_net": nn.Linear(8, 2), "value_net": nn.Linear(8, 1), "shared": nn.Linear(4, 8)})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        recipes.orthogonal_rl().apply_(model)
    gains = [torch.linalg.matrix_norm(model[name].weight, 2).item() for name in ("action_net", "value_net", "shared")]
    assert gains == pytest.approx([0.01, 1.0, math.sqrt(2)], rel=1e-5)
    with pytest.warns(UserWarning, match=r"rule 1 \(.*\) matched no parameter"):
        recipes.orthogonal_rl().apply_(nn.ModuleDict({"critic": nn.Linear(8, 1), "body": nn.Linear(4, 8)}))


def test_xavier_follows_glorots_formula_for_every_projection() -> None:
    model = nn.ModuleDict(
        {
            "lstm": nn.LSTM(40, 30),
            "gru": nn.GRUCell(40, 30),
            "attention": nn.MultiheadAttention(24, 2),
            "convolution": nn.Conv2d(8, 16, 3),
            "norm": nn.LayerNorm(24),
            "words": nn.Embedding(50, 8),
        }
    )
    recipes.xavier(gain=2.0).apply_(model)
    fans = {
        "lstm.weight_ih_l0": (40, 30),
        "lstm.weight_hh_l0": (30, 30),
        "gru.weight_ih": (40, 30),
        "attention.in_proj_weight": (24, 24),
        "attention.out_proj.weight": (24, 24),
        "convolution.weight": (72, 144),
    }
    parameters = dict(model.named_parameters())
    for name, both in fans.items():
        bound = 2 * math.sqrt(6 / sum(both))
        assert parameters[name].abs().max().item() == pytest.approx(bound, rel=0.02)
        assert parameters[name].abs().max().item() <= bound * (1 + 1e-6)
    assert not any(p.any() for name, p in parameters.items() if "bias" in name)
    assert model["words"].weight.std().item() == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_recipe_names_its_source_and_can_be_loaded_by_its_name(name: str) -> None:
    does, source = about(name)
    assert does.endswith(".")
    assert source
    assert recipes.load(name) == SHIPPED[name]()
    assert recipes.load(name).name == name
    assert isinstance(recipes.load(name), Recipe)


@pytest.mark.parametrize(
    ("make", "recipe"),
    [
        (transformers_models.llama, "llama"),
        (transformers_models.gpt2, "gpt2"),
        (transformers_models.vit, "vit"),
        (transformers_models.bert, "gpt2"),
    ],
)
def test_loaded_parameters_of_transformers_are_kept(make: Callable[[], nn.Module], recipe: str) -> None:
    model = seeded(make, 1)
    name, loaded = next((name, p) for name, p in model.named_parameters() if p.dim() > 1)
    loaded._is_hf_initialized = True
    before = loaded.clone()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        recipes.load(recipe).apply_(model)
        row = next(row for row in recipes.load(recipe).plan(model).rows if row.name == name)
    assert torch.equal(loaded, before)
    assert (row.rule, row.initializer) == ("loaded", "keep")


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_convolutions_of_every_dimension_have_their_recipe(dims: int) -> None:
    kind = getattr(nn, f"Conv{dims}d")
    for name, std in (("resnet", math.sqrt(2 / (6 * 3**dims))), ("dcgan", 0.02)):
        rows = recipes.load(name).plan(kind(4, 6, 3)).rows
        assert rows[0].std == pytest.approx(std), name
    assert recipes.resnet().plan(kind(4, 6, 3)).rows[1].initializer == "zeros_"
    assert recipes.orthogonal_rl((), ()).plan(kind(4, 6, 3)).rows[0].initializer == "orthogonal_"
    assert recipes.xavier().plan(kind(4, 6, 3)).rows[0].initializer == "xavier_uniform_"


def test_table_of_relative_positions_is_no_weight_and_no_bias() -> None:
    model = nn.Linear(2, 2)
    model.relative_bias = nn.Parameter(torch.zeros(3, 4))
    with pytest.raises(recipes.RecipeError, match=r"no rule matches 1 parameter: relative_bias \("):
        recipes.xavier().plan(model)


def test_xavier_fills_each_gate_with_its_own_fans_and_embeddings_as_torch() -> None:
    for cell, name in (
        (nn.LSTM(4, 6), "weight_ih_l0"),
        (nn.LSTMCell(4, 6), "weight_ih"),
        (nn.GRU(4, 6), "weight_ih_l0"),
        (nn.GRUCell(4, 6), "weight_ih"),
    ):
        rows = {row.name: row for row in recipes.xavier().plan(cell).rows}
        assert rows[name].std == pytest.approx(math.sqrt(2 / 10))
    for words in (nn.Embedding(5, 3), nn.EmbeddingBag(5, 3)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert recipes.xavier().plan(words).rows[0].std == 1.0


@pytest.mark.filterwarnings("ignore:.*matched no parameter")
def test_vit_knows_the_names_of_timm_and_torchvision() -> None:
    names = ("cls_token", "class_token", "dist_token", "reg_token", "pos_embed", "pos_embedding", "position_embeddings")
    model = nn.Module()
    for name in names:
        model.register_parameter(name, nn.Parameter(torch.zeros(1, 2, 3)))
    model.words, model.attention = nn.Embedding(5, 3), nn.MultiheadAttention(4, 2)
    model.heads = nn.Module()
    model.heads.head = nn.Linear(3, 2)
    rows = {row.name: row for row in recipes.vit().plan(model).rows}
    drawn = (*names, "words.weight", "attention.in_proj_weight", "attention.out_proj.weight")
    assert [rows[name].std for name in drawn] == pytest.approx([0.02] * len(drawn))
    assert (rows["heads.head.weight"].initializer, rows["heads.head.bias"].initializer) == ("zeros_", "zeros_")


def test_llama_matches_every_norm_and_gpt2_packed_projections() -> None:
    model = nn.Sequential(nn.LayerNorm(3), nn.RMSNorm(3), nn.Linear(3, 3))
    assert [row.initializer for row in recipes.llama().plan(model).rows[:3]] == [
        "default ones_",
        "default zeros_",
        "default ones_",
    ]
    rows = {row.name: row for row in recipes.gpt2(()).plan(nn.MultiheadAttention(4, 2)).rows}
    assert rows["in_proj_weight"].std == 0.02


def test_heads_of_every_known_name_have_their_gain() -> None:
    for names, gain in (
        (("actor", "action_net", "policy_head", "actor_head", "pi"), 0.01),
        (("critic", "value_net", "value_head", "critic_head", "vf"), 1.0),
    ):
        model = nn.ModuleDict({name: nn.Linear(4, 4) for name in names})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            rows = recipes.orthogonal_rl().plan(model).rows
        assert {row.std for row in rows if row.name.endswith("weight")} == {gain / 2}


def test_recipes_do_not_warn_about_missing_optional_parts() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        recipes.dcgan().apply_(nn.Conv2d(2, 2, 1, bias=False))
        recipes.resnet().apply_(nn.Conv2d(2, 2, 1, bias=False))
        recipes.llama().apply_(nn.Linear(2, 2, bias=False))
        recipes.xavier().apply_(nn.Linear(2, 2, bias=False))


def test_biases_are_recognized_by_their_own_name() -> None:
    model = nn.ModuleDict({"bias_mlp": nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)), "head": nn.Linear(2, 2)})
    model["c_proj"] = nn.Linear(2, 2)
    for name in ("vit", "gpt2", "xavier"):
        recipes.load(name).apply_(model)
        assert torch.equal(model["bias_mlp"][1].weight, torch.ones(2)), name
        assert not model["bias_mlp"][0].bias.any(), name


def test_vit_zeroes_every_head_with_its_bias_and_the_mask_token() -> None:
    model = nn.ModuleDict({"head": nn.Linear(3, 2), "head_dist": nn.Linear(3, 2), "body": nn.Linear(3, 3)})
    model.mask_token = nn.Parameter(torch.ones(1, 1, 3))
    recipes.vit().apply_(model)
    zero = [name for name, p in model.named_parameters() if not p.any()]
    assert zero == ["mask_token", "head.weight", "head.bias", "head_dist.weight", "head_dist.bias", "body.bias"]


def test_recipes_without_globs_have_no_rule_for_them() -> None:
    assert len(recipes.gpt2(()).rules) == len(recipes.gpt2().rules) - 1
    assert len(recipes.orthogonal_rl((), ()).rules) == len(recipes.orthogonal_rl().rules) - 2
    assert len(recipes.vit(()).rules) == len(recipes.vit().rules) - 1
