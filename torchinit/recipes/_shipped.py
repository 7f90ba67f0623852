"""Recipes of the literature and of well-known code."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from torchinit.recipes._read import read, shipped
from torchinit.recipes._recipe import Recipe
from torchinit.recipes._rule import RecipeError, Rule, suggest
from torchinit.recipes._schemes import deepnorm, fixup, ngpt, olmo, rezero, t5, timm_vit, torchtitan_llama

_Globs = str | Sequence[str]


def _with_names(recipe: Recipe, names: Mapping[int, _Globs], suffixes: Sequence[str] = ("",)) -> Recipe:
    """Return a recipe with other globs in some rules, given by number; a rule without globs is left out."""
    rules: list[Rule] = []
    for number, rule in enumerate(recipe.rules, 1):
        globs = names.get(number, rule.name)
        globs = [globs] if isinstance(globs, str) else globs
        if number not in names:
            rules.append(rule)
        elif globs:
            rules.append(replace(rule, name=[f"{glob}{suffix}" for suffix in suffixes for glob in globs]))
    return Recipe(rules, recipe.name, recipe.constants)


def torch_default() -> Recipe:
    """Torch's own default: what each layer of ``torch.nn`` draws when it is constructed, in that order.

    Source: the ``reset_parameters`` of ``torch.nn.modules`` (torch 2.13). With the same seed, the bits equal those of
    constructing the model anew, if it registers its layers in the order in which it constructs them, and parametrizes
    each (``weight_norm``, ``spectral_norm``, ``orthogonal``) when it is constructed. As in torch, the
    layers of a ``TransformerEncoder`` or ``TransformerDecoder`` are copies of one. A traced ``PReLU`` does not record
    its initial slope and gets torch's 0.25.

    Examples:
        >>> from torch import nn
        >>> from torchinit import recipes
        >>> _ = torch.manual_seed(0)
        >>> fresh = nn.MultiheadAttention(8, 2)
        >>> reset = nn.MultiheadAttention(8, 2)
        >>> _ = torch.manual_seed(0)
        >>> torch.equal(recipes.torch_default().apply_(reset).in_proj_weight, fresh.in_proj_weight)
        True
    """
    return shipped("torch")


def resnet(zero_init: _Globs = ()) -> Recipe:
    """Residual networks: convolutions by He, with fan_out; zero biases.

    Source: He et al., "Delving deep into rectifiers" (2015), https://arxiv.org/abs/1502.01852, as in torchvision's
    ``ResNet``; zero-initialized last norms after Goyal et al., "Accurate, large minibatch SGD" (2017),
    https://arxiv.org/abs/1706.02677. The linear head gets torch's default, as in torchvision.

    Args:
        zero_init: globs for the weights of each block's last normalization, which start from 0:
            ``"*.bn3.weight"`` for torchvision's ``Bottleneck``, ``"*.bn2.weight"`` for its ``BasicBlock``

    Examples:
        >>> from torch import nn
        >>> from torchinit import recipes
        >>> print(recipes.resnet().plan(nn.Conv2d(3, 64, 7, bias=False)))
        name    module  shape     rule              initializer      mean     std
        weight  Conv2d  64x3x7x7  1: weight Conv?d  kaiming_normal_     0  0.0253
        <BLANKLINE>
        1 tensor, 9,408 values
    """
    recipe = shipped("resnet")
    if not zero_init:
        return recipe
    globs = [zero_init] if isinstance(zero_init, str) else list(zero_init)
    return Recipe([Rule("zeros_", name=globs), *recipe.rules], recipe.name)


def xavier(gain: float = 1.0) -> Recipe:
    """Every weight by Glorot, each projection of a packed one separately; zero biases.

    Source: Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks" (2010).
    Embeddings and normalization layers get torch's default.

    Args:
        gain: factor on the standard deviation; see :func:`torchinit.calculate_gain`

    Examples:
        >>> from torch import nn
        >>> from torchinit import recipes
        >>> net = recipes.xavier().apply_(nn.Linear(3, 5))
        >>> bool((net.weight.abs() <= (6 / 8) ** 0.5).all())
        True
    """
    return shipped("xavier").setting(gain=gain)


def vit(head: _Globs = ("*.head", "*.head_dist", "*.classifier"), std: float = 0.02) -> Recipe:
    """Vision transformers: truncated normal weights and embeddings of std 0.02; zero biases; zero heads.

    Source: ``_init_weights`` of DeiT (Touvron et al., 2020, https://arxiv.org/abs/2012.12877), the patch projection
    with the std of transformers' ViT; the zero head after Dosovitskiy et al., "An image is worth 16x16
    words" (2020), section 3.2, https://arxiv.org/abs/2010.11929. The bounds are values, -2 and 2, as in DeiT. Tables of
    relative positions as in Swin's code (Liu et al., 2021, https://arxiv.org/abs/2103.14030).

    Args:
        head: globs for the classification heads
        std: standard deviation of the normal distribution before it is truncated

    Examples:
        >>> from torch import nn
        >>> from torchinit import recipes
        >>> model = nn.ModuleDict({"proj": nn.Conv2d(3, 32, 16), "head": nn.Linear(32, 10)})
        >>> recipes.vit().apply_(model)["head"].weight.abs().max().item()
        0.0
    """
    return _with_names(shipped("vit"), {1: head}, (".weight", ".bias")).setting(std=std)


def gpt2(residual: _Globs = "*.c_proj.weight", std: float = 0.02) -> Recipe:
    r"""GPT-2: normal weights and embeddings of std 0.02; zero biases; projections onto the residual stream scaled down.

    .. math:: \text{std}_\text{residual} = \frac{0.02}{\sqrt{2 \, \text{layers}}}

    Source: Radford et al., "Language models are unsupervised multitask learners" (2019), section 2.3, as in
    transformers' ``GPT2PreTrainedModel``. Each layer ends two residual branches, so 2 x layers is counted as the number
    of parameters that ``residual`` matches.

    Args:
        residual: globs for the weights that end residual branches
        std: standard deviation of the other weights

    Examples:
        >>> from torch import nn
        >>> from torchinit import recipes
        >>> blocks = nn.Sequential(*(nn.ModuleDict({"c_fc": nn.Linear(8, 32), "c_proj": nn.Linear(32, 8)}) for _ in range(4)))
        >>> [row.std for row in recipes.gpt2().plan(blocks).rows[:4]]
        [0.02, 0.0, 0.01, 0.0]
    """
    return _with_names(shipped("gpt2"), {1: residual}).setting(std=std)


def llama(std: float = 0.02) -> Recipe:
    """Llama: normal weights and embeddings of std 0.02; zero biases; RMS norms of 1.

    Source: ``_init_weights`` of transformers' ``LlamaPreTrainedModel`` with its ``initializer_range`` of 0.02, with the
    experts of ``MixtralPreTrainedModel`` and the norms of ``GemmaPreTrainedModel``. Llama's bits are the same.

    Args:
        std: standard deviation of weights and embeddings, transformers' ``initializer_range``

    Examples:
        >>> from torch import nn
        >>> from torchinit import recipes
        >>> [row.std for row in recipes.llama().plan(nn.Sequential(nn.Embedding(9, 4), nn.RMSNorm(4))).rows]
        [0.02, 0.0]
    """
    return shipped("llama").setting(std=std)


def dcgan(std: float = 0.02) -> Recipe:
    """DCGAN: normal convolutions of std 0.02, batch norms around 1 with std 0.02.

    Source: Radford et al., "Unsupervised representation learning with deep convolutional generative adversarial
    networks" (2015), https://arxiv.org/abs/1511.06434, as in ``weights_init`` of PyTorch's example.

    Args:
        std: standard deviation of convolutions and batch norms

    Examples:
        >>> from torch import nn
        >>> from torchinit import recipes
        >>> model = nn.Sequential(nn.ConvTranspose2d(100, 64, 4, bias=False), nn.BatchNorm2d(64))
        >>> [(row.mean, row.std) for row in recipes.dcgan().plan(model).rows[:2]]
        [(0.0, 0.02), (1.0, 0.02)]
    """
    return shipped("dcgan").setting(std=std)


def _and_last(globs: _Globs) -> list[str]:
    """Return globs for layers of these names, and for the last layer of a Sequential of these names."""
    names = [globs] if isinstance(globs, str) else list(globs)
    return [*names, *(f"{name}.{{last}}" for name in names)]


def orthogonal_rl(
    policy: _Globs = ("*.actor", "*.actor_mean", "*.action_net", "*.policy_head", "*.actor_head", "*.pi"),
    value: _Globs = ("*.critic", "*.value_net", "*.value_head", "*.critic_head", "*.vf"),
    gain: float | None = None,
    policy_gain: float = 0.01,
    value_gain: float = 1.0,
) -> Recipe:
    """Policy gradients: orthogonal weights of gain sqrt(2), the policy's head 0.01, the value's head 1; zero biases.

    Source: ``layer_init`` of CleanRL and Huang et al., "The 37 implementation details of proximal policy optimization"
    (2022), detail 2; Engstrom et al., "Implementation matters in deep policy gradients" (2020),
    https://arxiv.org/abs/2005.12729. Recurrent weights are orthogonal with gain 1, as in CleanRL.

    Args:
        policy: globs for the layers that give the policy's logits or means; of a ``Sequential``, such as CleanRL's
            ``actor``, the last layer with a weight counts
        value: globs for the layers that give the value
        gain: gain of the other layers (default: sqrt(2))
        policy_gain: gain of the policy's head
        value_gain: gain of the value's head

    Examples:
        >>> from torch import nn
        >>> from torchinit import recipes
        >>> agent = nn.ModuleDict({"body": nn.Linear(4, 4), "actor": nn.Linear(4, 4), "critic": nn.Linear(4, 1)})
        >>> agent = recipes.orthogonal_rl().apply_(agent)
        >>> torch.allclose(agent["actor"].weight @ agent["actor"].weight.T, torch.eye(4) * 1e-4, atol=1e-8)
        True
    """
    heads = {1: _and_last(policy), 2: _and_last(value)}
    recipe = _with_names(shipped("orthogonal-rl"), heads, (".weight",))
    given = {"gain": gain, "policy_gain": policy_gain, "value_gain": value_gain}
    return recipe.setting(**{name: number for name, number in given.items() if number is not None})


SHIPPED: dict[str, Callable[..., Recipe]] = {
    "torch": torch_default,
    "resnet": resnet,
    "xavier": xavier,
    "vit": vit,
    "gpt2": gpt2,
    "llama": llama,
    "dcgan": dcgan,
    "orthogonal-rl": orthogonal_rl,
    "torchtitan-llama": torchtitan_llama,
    "olmo-normal": olmo,
    "olmo-normalized": partial(olmo, "normalized"),
    "olmo-llama": partial(olmo, "llama"),
    "olmo-llama-depth": partial(olmo, "llama_depth"),
    "olmo-fan-in": partial(olmo, "fan_in"),
    "timm-vit": timm_vit,
    "timm-vit-jax": partial(timm_vit, "jax"),
    "timm-vit-moco": partial(timm_vit, "moco"),
    "t5": t5,
    "deepnorm": deepnorm,
    "deepnorm-seq2seq": partial(deepnorm, decoder_layers=6),
    "rezero": rezero,
    "fixup": fixup,
    "fixup-bottleneck": partial(fixup, bottleneck=True),
    "ngpt": ngpt,
}


def load(recipe: str | os.PathLike[str], **constants: float | str) -> Recipe:
    """Read a recipe by the name of a shipped one, or from a TOML file.

    Args:
        recipe: the name of a shipped recipe, such as ``"gpt2"`` or ``"orthogonal-rl"`` (``torchinit list`` prints them
            all), or the path of a file
        constants: numbers in place of the recipe's own, as in :meth:`Recipe.setting`

    Raises:
        OSError: if the file cannot be read
        RecipeError: if there is no such recipe or constant, or the file is wrong; the message is one line

    Examples:
        >>> from torchinit import recipes
        >>> recipes.load("llama") == recipes.llama()
        True
        >>> recipes.load("llama", std=0.006) == recipes.llama(std=0.006)
        True
    """
    text = os.fspath(recipe)
    if text not in SHIPPED and not text.endswith(".toml") and not os.path.exists(text):
        raise RecipeError(f"there is no recipe and no file {text!r}; {suggest(text, list(SHIPPED))}")
    return (SHIPPED[text]() if text in SHIPPED else read(text)).setting(**constants)
