"""Schemes that scale weights by depth, and those of particular libraries; the rules stand in ``shipped/``."""

from collections.abc import Sequence

from torchinit.recipes._read import shipped
from torchinit.recipes._recipe import Recipe
from torchinit.recipes._rule import RecipeError, Rule, suggest


def torchtitan_llama(std: float = 0.02, depth_init: bool = True) -> Recipe:
    r"""Torchtitan's Llama: truncated normal weights; those that end residual branches, and w3, scaled by depth.

    .. math:: \text{std}_\text{layer} = \frac{\text{std}}{\sqrt{2 (\text{layer} + 1)}}, \quad
        \text{std}_\text{output} = \frac{1}{\sqrt{\text{d\_model}}}

    Source: ``init_weights`` of ``torchtitan/models/llama3/model/model.py``, https://github.com/pytorch/torchtitan.

    Args:
        std: standard deviation of the other weights before they are truncated, at -2 and 2
        depth_init: whether to divide by the number of the layer, as torchtitan does; else by the count of layers

    Examples:
        >>> from torch import nn
        >>> from torchinit import recipes
        >>> layers = nn.ModuleList(nn.ModuleDict({"attention": nn.ModuleDict({"wo": nn.Linear(8, 8)})}) for _ in range(8))
        >>> recipe = recipes.torchtitan_llama().keeping("*.bias")
        >>> steps = recipes.torchtitan_llama().keeping("*.bias").plan(nn.ModuleDict({"layers": layers})).steps
        >>> [steps[layer].fills[0].args[1] for layer in (1, 7)]
        [0.01, 0.005]
    """
    return shipped("torchtitan-llama").setting(std=std, depth_init=int(depth_init))


_OLMO = ("normal", "normalized", "llama", "llama_depth", "fan_in")


def olmo(method: str = "normal", std: float = 0.02) -> Recipe:
    """OLMo-core's ``InitMethod``: normal weights truncated at 3 standard deviations, scaled by width or depth.

    Source: ``InitMethod`` of ``src/olmo_core/nn/transformer/init.py``, https://github.com/allenai/OLMo-core. Its
    mixtures of experts are not covered.

    Args:
        method: ``"normal"``: all the same; ``"llama"``: ``w_out``, ``w2`` and ``w3`` divided by the root of
            2 x layers, and an output of std ``d_model ** -0.5``; ``"llama_depth"``: the same with ``layer + 1`` in place
            of the count of layers; ``"fan_in"``: ``fan_in ** -0.5``; ``"normalized"``: ``d_model ** -0.5``, for nGPT
        std: standard deviation; ``"normalized"`` and ``"fan_in"`` do not use it

    Raises:
        RecipeError: if there is no such method

    Examples:
        >>> from torch import nn
        >>> from torchinit import recipes
        >>> recipes.olmo("fan_in").plan(nn.ModuleDict({"w1": nn.Linear(4, 8, bias=False)})).steps[0].fills[0].args
        (0.0, 0.5, -1.5, 1.5)
    """
    if method not in _OLMO:
        raise RecipeError(f"method must be one of OLMo-core's, got {method!r}; {suggest(method, _OLMO)}")
    recipe = shipped(f"olmo-{method.replace('_', '-')}")
    return recipe.setting(std=std) if "std" in recipe.constants else recipe


def timm_vit(mode: str = "", fix_init: bool = False) -> Recipe:
    r"""Timm's ``VisionTransformer`` in each of its modes, and with its fix for depth.

    .. math:: \text{weight}_\text{attn.proj, mlp.fc2} \; / \; \sqrt{2 (\text{layer} + 1)}

    Source: ``init_weights`` and ``fix_init_weight`` of ``timm/models/vision_transformer.py`` (timm 1.0). Blocks with
    ``LayerScale`` need a rule for its ``gamma``.

    Args:
        mode: timm's ``weight_init``: ``""`` truncated normal of std 0.02; ``"jax"`` Glorot, and a zero head;
            ``"jax_nlhb"`` also a bias of the head of ``-log(classes)``; ``"moco"`` Glorot, with Q, K and V separately
        fix_init: whether to divide the weights that end residual branches

    Raises:
        RecipeError: if there is no such mode

    Examples:
        >>> from torch import nn
        >>> from torchinit import recipes
        >>> plan = recipes.timm_vit("jax_nlhb").plan(nn.ModuleDict({"head": nn.Linear(4, 10)}))
        >>> print([round(row.mean, 3) for row in plan.rows])
        [0.0, -2.303]
    """
    modes = ("", "jax", "jax_nlhb", "moco")
    if mode not in modes:
        raise RecipeError(f"mode must be one of timm's, got {mode!r}; {suggest(mode, modes[1:])}")
    recipe = shipped("timm-vit" + (f"-{mode.partition('_')[0]}" if mode else ""))
    constants = {"fix_init": int(fix_init), "nlhb": int(mode == "jax_nlhb")}
    return recipe.setting(**{name: number for name, number in constants.items() if name in recipe.constants})


def t5(d_model: int = 512, d_kv: int = 64, factor: float = 1.0) -> Recipe:
    """T5: normal weights of std ``fan_in ** -0.5``, queries also scaled by ``d_kv ** -0.5``; embeddings of std 1.

    Source: ``_init_weights`` of transformers' ``T5PreTrainedModel``.

    Args:
        d_model: width of the model, for the table of relative positions
        d_kv: size of a head; the scale of the queries replaces the division in the attention
        factor: factor on everything, transformers' ``initializer_factor``

    Examples:
        >>> from torch import nn
        >>> from torchinit import recipes
        >>> plan = recipes.t5(d_kv=16).plan(nn.ModuleDict({"SelfAttention": nn.ModuleDict({"q": nn.Linear(4, 32, bias=False)})}))
        >>> plan.rows[0].std
        0.125
    """
    return shipped("t5").setting(d_model=d_model, d_kv=d_kv, factor=factor)


def deepnorm(decoder_layers: int | None = None) -> Recipe:
    r"""DeepNorm: weights by Glorot, with a gain that falls with depth for values, outputs and the feed-forward part.

    .. math:: \beta = (8 N)^{-1/4}, \quad \beta_\text{encoder} = 0.87 \, (N^4 M)^{-1/16}, \quad
        \beta_\text{decoder} = (12 M)^{-1/4}

    Source: Wang et al., "DeepNet: scaling transformers to 1,000 layers" (2022), figure 2,
    https://arxiv.org/abs/2203.00555: the first gain for N layers alone, the others for an encoder of N layers with a
    decoder of M. The residual stream is multiplied too, which is the model's part. Names are those of fairseq and
    torchscale: ``q_proj``, ``k_proj``, ``v_proj``, ``out_proj``, ``fc1`` and ``fc2`` below ``layers``.

    Args:
        decoder_layers: number of layers of the decoder, if there is an encoder too; the rest is counted

    Examples:
        >>> from torch import nn
        >>> from torchinit import recipes
        >>> layers = nn.ModuleList(nn.ModuleDict({"fc1": nn.Linear(8, 8, bias=False)}) for _ in range(2))
        >>> recipe = recipes.deepnorm()
        >>> row = recipe.keeping("x").plan(nn.ModuleDict({"layers": layers})).rows[0]
        >>> round(row.std * 8**0.5, 3)  # the gain
        0.5
    """
    return (
        shipped("deepnorm")
        if decoder_layers is None
        else shipped("deepnorm-seq2seq").setting(decoder_layers=decoder_layers)
    )


def rezero(gates: str | Sequence[str] = "*.resweight") -> Recipe:
    """ReZero: the weight of each residual branch starts from 0, everything else as in torch.

    Source: Bachlechner et al., "ReZero is all you need" (2020), https://arxiv.org/abs/2003.04887.

    Args:
        gates: globs for the weights of the branches; the authors' package calls them ``resweight``

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from torchinit import recipes
        >>> layer = nn.Linear(2, 2)
        >>> layer.resweight = nn.Parameter(torch.ones(1))
        >>> recipes.rezero().apply_(layer).resweight.item()
        0.0
    """
    recipe = shipped("rezero")
    names = [gates] if isinstance(gates, str) else list(gates)
    return Recipe([Rule("zeros_", name=names), *recipe.rules[1:]], recipe.name)


def fixup(bottleneck: bool = False, blocks: int = 16) -> Recipe:
    r"""Fixup: residual networks without normalization; first convolutions scaled by depth, last ones from 0.

    .. math:: \text{std} = \sqrt{\frac{2}{\text{fan\_out}}} \; \text{blocks}^{-\frac{1}{2m - 2}}

    where a block has m convolutions: 2, or 3 in a bottleneck.

    Source: Zhang et al., "Fixup initialization: residual learning without normalization" (2019),
    https://arxiv.org/abs/1901.09321, and the authors' ``FixupResNet``, https://github.com/hongyi-zhang/Fixup, whose
    names it knows.

    Args:
        bottleneck: whether the blocks are bottlenecks
        blocks: number of bottlenecks in all stages, 16 for a ResNet-50; basic blocks are counted by the recipe

    Examples:
        >>> from torchinit import recipes
        >>> [rule.initializer for rule in recipes.fixup().rules[:2]]
        ['zeros_', 'kaiming_normal_']
    """
    return shipped("fixup-bottleneck").setting(blocks=blocks) if bottleneck else shipped("fixup")


def ngpt(width: int = 1024) -> Recipe:
    r"""NGPT before its first normalization: normal weights of std ``width ** -0.5``; residual projections by depth.

    .. math:: \text{std}_\text{c\_proj} = \frac{1}{\sqrt{2 \, \text{width} \, \text{layers}}}

    Source: ``model.py`` of https://github.com/NVIDIA/ngpt (Loshchilov et al., 2024, https://arxiv.org/abs/2410.01131).
    Its training normalizes the rows of the weights before the first step and after each one; so must yours.

    Args:
        width: the model's ``n_embd``

    Examples:
        >>> from torch import nn
        >>> from torchinit import recipes
        >>> recipes.ngpt(width=64).plan(nn.Linear(64, 64, bias=False)).rows[0].std
        0.125
    """
    return shipped("ngpt").setting(width=width)
