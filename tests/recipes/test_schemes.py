"""Does each scheme fill every parameter as its source does: with the same distribution and the same numbers?"""

import math
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from unittest import mock

import pytest
import torch
from torch import nn

from tests.support import source_models
from tests.support.layers import differing, seeded
from tests.support.model_libraries import add_model_libraries
from torchinit import recipes
from torchinit.recipes import Recipe, RecipeError

Drawn = dict[str, tuple[object, ...]]


def _uniform(tensor: torch.Tensor, bound: float) -> tuple[object, ...]:
    return ("uniform_", -bound, bound)


def _glorot(tensor: torch.Tensor, gain: float = 1.0) -> float:
    return gain * math.sqrt(2 / (tensor.shape[0] + tensor.shape[1:].numel()))


# The words of a plan for a call of torch.nn.init.
CALLS: dict[str, Callable[..., tuple[object, ...]]] = {
    "normal_": lambda t, mean=0.0, std=1.0, generator=None: ("normal_", mean, std),
    "trunc_normal_": lambda t, mean=0.0, std=1.0, a=-2.0, b=2.0, generator=None: ("trunc_normal_", mean, std, a, b),
    "uniform_": lambda t, a=0.0, b=1.0: ("uniform_", a, b),
    "constant_": lambda t, val: ("constant_", val),
    "zeros_": lambda t: ("constant_", 0.0),
    "ones_": lambda t: ("constant_", 1.0),
    "xavier_uniform_": lambda t, gain=1.0: _uniform(t, math.sqrt(3) * _glorot(t, gain)),
    "xavier_normal_": lambda t, gain=1.0: ("normal_", 0.0, _glorot(t, gain)),
}


def _drawn(model: nn.Module, source: Callable[[nn.Module], object], patched: str = "torch.nn.init") -> Drawn:
    """Return what a source's code writes to each parameter last."""
    names, drawn = {id(p): name for name, p in model.named_parameters()}, {}

    def recorder(call: Callable[..., tuple[object, ...]]) -> Callable[..., torch.Tensor]:
        def record(tensor: torch.Tensor, *args: object, **kwargs: object) -> torch.Tensor:
            drawn[names[id(tensor)]] = call(tensor, *args, **kwargs)
            return tensor

        return record

    with ExitStack() as stack:
        for name, call in CALLS.items():
            stack.enter_context(mock.patch(f"{patched}.{name}", recorder(call)))
        source(model)
    return drawn


def _planned(recipe: Recipe, model: nn.Module) -> Drawn:
    """Return what a recipe fills each parameter with, without a warning."""
    planned: Drawn = {}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        steps = recipe.plan(model).steps
    for step in steps:
        assert len({(fill.initializer, fill.args) for fill in step.fills}) == 1
        fill = step.fills[-1]
        constants = {"zeros_": (0.0,), "ones_": (1.0,)}
        name = "constant_" if fill.initializer in constants else fill.initializer
        planned[step.target] = (name, *constants.get(fill.initializer, fill.args))
    return planned


def _assert_equal(planned: Drawn, drawn: Drawn) -> None:
    assert sorted(planned) == sorted(drawn)
    for name, (kind, *numbers) in drawn.items():
        assert planned[name][0] == kind, name
        assert planned[name][1:] == pytest.approx(tuple(numbers), rel=1e-12), name


@pytest.mark.parametrize("depth_init", [True, False])
def test_torchtitan_llama_fills_as_torchtitans_code(depth_init: bool) -> None:
    def init_weights(model: nn.Module) -> None:
        nn.init.normal_(model.tok_embeddings.weight)
        for layer_id, layer in enumerate(model.layers.values()):
            depth = layer_id + 1 if depth_init else len(model.layers)
            std = 0.02 / (2 * depth) ** 0.5
            attention, feed_forward = layer["attention"], layer["feed_forward"]
            for norm in (layer["attention_norm"], layer["ffn_norm"]):
                norm.reset_parameters()
            for linear in (attention["wq"], attention["wk"], attention["wv"]):
                nn.init.trunc_normal_(linear.weight, mean=0.0, std=0.02)
            nn.init.trunc_normal_(attention["wo"].weight, mean=0.0, std=std)
            nn.init.trunc_normal_(feed_forward["w1"].weight, mean=0.0, std=0.02)
            for linear in (feed_forward["w2"], feed_forward["w3"]):
                nn.init.trunc_normal_(linear.weight, mean=0.0, std=std)
        model.norm.reset_parameters()
        std = model.tok_embeddings.embedding_dim**-0.5
        nn.init.trunc_normal_(model.output.weight, mean=0.0, std=std, a=-3 * std, b=3 * std)

    model = source_models.torchtitan_llama()
    _assert_equal(_planned(recipes.torchtitan_llama(depth_init=depth_init), model), _drawn(model, init_weights))


def _olmo_weights(model: nn.Module, method: str, std: float) -> None:
    """Fill a model as ``InitMethod`` does, one method after the other."""
    d_model, num_blocks = model.embeddings.embedding_dim, len(model.blocks)

    def linear(m: nn.Linear, std: float) -> None:
        nn.init.trunc_normal_(m.weight, mean=0.0, std=std, a=-3 * std, b=3 * std)
        if m.bias is not None:
            nn.init.zeros_(m.bias)

    for module in model.modules():
        if isinstance(module, (nn.LayerNorm, nn.RMSNorm)):
            module.reset_parameters()
    table = model.embeddings.weight
    if method == "normal":
        nn.init.trunc_normal_(table, mean=0.0, std=std, a=-3 * std, b=3 * std)
    else:
        nn.init.normal_(table, std=d_model**-0.5 if method == "normalized" else 1.0)
    linear(model.lm_head["w_out"], std if method == "normal" else d_model**-0.5)
    for index, block in enumerate(model.blocks.values()):
        attention, feed_forward = block["attention"], block["feed_forward"]
        depth = {"llama": (2 * num_blocks) ** 0.5, "llama_depth": (2 * (index + 1)) ** 0.5}.get(method, 1.0)
        if method == "fan_in":
            for m in (*(attention[name] for name in ("w_q", "w_k", "w_v", "w_out")), *feed_forward.values()):
                linear(m, m.in_features**-0.5)
            continue
        base = d_model**-0.5 if method == "normalized" else std
        last = base / (2 * num_blocks) ** 0.5 if method == "normalized" else base / depth
        for name in ("w_q", "w_k", "w_v"):
            linear(attention[name], base)
        linear(attention["w_out"], last)
        linear(feed_forward["w1"], base)
        linear(feed_forward["w3"], base / depth)
        linear(feed_forward["w2"], last)


@pytest.mark.parametrize("method", ["normal", "normalized", "llama", "llama_depth", "fan_in"])
@pytest.mark.parametrize("std", [0.02, 0.01])
def test_olmo_fills_as_olmo_cores_code(method: str, std: float) -> None:
    model = source_models.olmo()
    drawn = _drawn(model, lambda m: _olmo_weights(m, method, std))
    _assert_equal(_planned(recipes.olmo(method, std), model), drawn)


def _timm() -> nn.Module:
    add_model_libraries()
    from timm.models.vision_transformer import VisionTransformer

    sizes = {"img_size": 8, "patch_size": 4, "embed_dim": 8, "depth": 3, "num_heads": 2, "num_classes": 10}
    return VisionTransformer(**sizes, reg_tokens=1)


@pytest.mark.parametrize("mode", ["", "jax", "jax_nlhb", "moco"])
def test_timm_vit_fills_as_timms_code(mode: str) -> None:
    model = _timm()

    def init_weights(model: nn.Module) -> None:
        from timm.models import vision_transformer

        def lecun_normal(tensor: torch.Tensor) -> None:
            # The scale corrects for what truncation takes away.
            std = math.sqrt(1 / tensor[0].numel()) / 0.87962566103423978
            nn.init.trunc_normal_(tensor, 0.0, std, -2 * std, 2 * std)

        with (
            mock.patch.object(vision_transformer, "trunc_normal_", lambda t, std: nn.init.trunc_normal_(t, std=std)),
            mock.patch.object(vision_transformer, "lecun_normal_", lecun_normal),
            mock.patch.object(nn.Conv2d, "reset_parameters"),
        ):
            model.init_weights(mode, needs_reset=True)

    planned, drawn = _planned(recipes.timm_vit(mode), model), _drawn(model, init_weights)
    if not mode.startswith("jax"):
        # The patch projection has torch's default.
        bound = 1 / math.sqrt(3 * 4 * 4)
        drawn |= {f"patch_embed.proj.{name}": ("uniform_", -bound, bound) for name in ("weight", "bias")}
    _assert_equal(planned, drawn)


@pytest.mark.parametrize("mode", ["", "jax", "moco"])
def test_timms_fix_for_depth_divides_the_same_weights_by_the_same_numbers(mode: str) -> None:
    model, names = _timm(), []
    before, after = _planned(recipes.timm_vit(mode), model), _planned(recipes.timm_vit(mode, fix_init=True), model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(1.0)
    model.fix_init_weight()
    for name, parameter in model.named_parameters():
        factor = parameter.mean().item()
        names += [name] if factor != 1.0 else []
        numbers = [factor * number for number in before[name][1:]] if factor != 1.0 else before[name][1:]
        assert after[name] == (before[name][0], *(pytest.approx(number) for number in numbers)), name
    assert len(names) == 6


def _t5(gated: bool) -> nn.Module:
    add_model_libraries()
    from transformers import T5Config, T5ForConditionalGeneration

    sizes = {"d_model": 12, "d_kv": 5, "d_ff": 16, "num_layers": 2, "num_heads": 3, "vocab_size": 20}
    activation = "gated-gelu" if gated else "relu"
    return T5ForConditionalGeneration(T5Config(**sizes, feed_forward_proj=activation, tie_word_embeddings=not gated))


@pytest.mark.parametrize("gated", [True, False])
def test_t5_fills_as_transformers_own_code(gated: bool) -> None:
    model = _t5(gated)
    for module in model.modules():
        module.__dict__.pop("_is_hf_initialized", None)
    for parameter in model.parameters():
        vars(parameter).pop("_is_hf_initialized", None)
    drawn = _drawn(model, lambda m: m.initialize_weights(), "transformers.initialization")
    planned = _planned(recipes.t5(d_model=12, d_kv=5), model)
    _assert_equal(planned, {name: drawn[name] for name in planned})
    assert {name for name, _ in model.named_parameters()} <= {*planned, "lm_head.weight"}


def test_t5_scales_everything_by_its_factor() -> None:
    model = _t5(gated=False)
    one, two = _planned(recipes.t5(), model), _planned(recipes.t5(factor=2.0), model)
    assert two == {name: (kind, *(pytest.approx(2 * n) for n in numbers)) for name, (kind, *numbers) in one.items()}


def test_deepnorm_has_the_gains_of_its_paper() -> None:
    def init_weights(model: nn.Module) -> None:
        # Figure 2 of the paper, for an encoder of N layers; embeddings and biases as in fairseq.
        beta = (8 * len(model["layers"])) ** -0.25
        for name, parameter in model["layers"].named_parameters():
            if "norm" in name:
                nn.init.constant_(parameter, float(name.endswith("weight")))
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif any(word in name for word in ("fc1", "fc2", "v_proj", "out_proj")):
                nn.init.xavier_normal_(parameter, gain=beta)
            else:
                nn.init.xavier_normal_(parameter, gain=1)
        nn.init.normal_(model["embed_tokens"].weight, mean=0, std=model["embed_tokens"].embedding_dim ** -0.5)

    model = source_models.fairseq_encoder()
    _assert_equal(_planned(recipes.deepnorm(), model), _drawn(model, init_weights))


def test_deepnorm_of_an_encoder_and_a_decoder_has_their_gains() -> None:
    encoder, decoder = source_models.fairseq_encoder(4), source_models.fairseq_encoder(2)
    planned = _planned(recipes.deepnorm(decoder_layers=2), nn.ModuleDict({"encoder": encoder, "decoder": decoder}))
    gains = {"encoder": 0.87 * (4**4 * 2) ** (-1 / 16), "decoder": (12 * 2) ** -0.25}
    for name, (_, *numbers) in planned.items():
        scaled = name.endswith(("v_proj.weight", "out_proj.weight", "fc1.weight", "fc2.weight"))
        if scaled or name.endswith("q_proj.weight"):
            fans = 24 if "fc" in name else 16
            gain = gains[name.partition(".")[0]] if scaled else 1.0
            assert numbers[1] == pytest.approx(gain * math.sqrt(2 / fans)), name


def test_rezero_starts_each_branch_from_zero_and_has_torchs_bits_elsewhere() -> None:
    model, other = seeded(source_models.RZTXEncoderLayer, 5), seeded(source_models.RZTXEncoderLayer, 1)
    torch.manual_seed(5)
    recipes.rezero().apply_(other)
    assert differing(model, other) == ["resweight"]
    assert other.resweight.item() == 0.0
    other.resweight.data.fill_(1.0)
    assert recipes.rezero("*weight").plan(other).rows[0].initializer == "zeros_"


@pytest.mark.parametrize("kernels", [(3, 3), (1, 3, 1)])
def test_fixup_fills_as_the_authors_code(kernels: tuple[int, ...]) -> None:
    model = source_models.fixup_resnet(kernels)

    def init_weights(model: nn.Module) -> None:
        blocks = [*model.layer1, *model.layer2]
        for block in blocks:
            *first, last = [getattr(block, f"conv{number}") for number in range(1, len(kernels) + 1)]
            power = -0.5 if len(kernels) == 2 else -0.25
            for conv in first:
                fan = conv.weight.shape[0] * math.prod(conv.weight.shape[2:])
                nn.init.normal_(conv.weight, mean=0, std=math.sqrt(2 / fan) * len(blocks) ** power)
            nn.init.constant_(last.weight, 0)
            if block.downsample is not None:
                nn.init.normal_(block.downsample.weight, mean=0, std=math.sqrt(2 / block.downsample.weight.shape[0]))
        nn.init.constant_(model.fc.weight, 0)
        nn.init.constant_(model.fc.bias, 0)
        for name, parameter in model.named_parameters():
            if name.rpartition(".")[2].startswith(("bias", "scale")) and parameter.dim() == 1 and "fc" not in name:
                nn.init.constant_(parameter, float(name.endswith("scale")))
        bound = 1 / math.sqrt(3 * 7 * 7)
        nn.init.uniform_(model.conv1.weight, -bound, bound)

    recipe = recipes.fixup(bottleneck=len(kernels) == 3, blocks=5)
    _assert_equal(_planned(recipe, model), _drawn(model, init_weights))


def test_fixup_of_the_wrong_kind_of_block_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"no rule matches .*conv3\.weight"):
        recipes.fixup().plan(source_models.fixup_resnet((1, 3, 1)))


def test_ngpt_fills_as_nvidias_code() -> None:
    def init_weights(model: nn.Module) -> None:
        base_scale = 1.0 / 16.0**0.5
        for module in model.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.normal_(module.weight, mean=0.0, std=base_scale)
        for name, parameter in model.named_parameters():
            if name.endswith("c_proj.weight"):
                nn.init.normal_(parameter, mean=0.0, std=base_scale / math.sqrt(2 * 3))
            elif name.endswith(("alpha", "sqk", "sz")):
                nn.init.constant_(parameter, base_scale)
            elif name.endswith("suv"):
                nn.init.constant_(parameter, 1.0)

    model = source_models.ngpt()
    _assert_equal(_planned(recipes.ngpt(width=16), model), _drawn(model, init_weights))
    assert recipes.ngpt().plan(model).steps[-1].fills[0].args == (1024**-0.5,)


def test_wrong_method_or_mode_is_refused_with_a_suggestion() -> None:
    with pytest.raises(RecipeError, match=r"^method must be one of OLMo-core's, got 'lama'; did you mean llama\?$"):
        recipes.olmo("lama")
    with pytest.raises(RecipeError, match=r"^mode must be one of timm's, got 'jaxx'; did you mean jax\?$"):
        recipes.timm_vit("jaxx")


def test_layers_are_counted_from_zero_in_the_model() -> None:
    stds = {
        name: numbers[1]
        for name, (_, *numbers) in _planned(recipes.torchtitan_llama(), source_models.torchtitan_llama(2)).items()
        if name.endswith("wo.weight")
    }
    assert stds == {
        "layers.0.attention.wo.weight": 0.02 / math.sqrt(2),
        "layers.1.attention.wo.weight": 0.01,
    }
