"""Recipes of the literature and of well-known code."""

import math
import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from torchinit.recipes._recipe import Recipe, read
from torchinit.recipes._rule import DEFAULT, RecipeError, Rule, suggest

_CONVOLUTIONS = "Conv?d"

# Parameters that a recipe does not mention get torch's default.
_REST = Rule(DEFAULT, optional=True)
_ZERO_BIASES = Rule("zeros_", role="bias", optional=True)


def _named(initializer: str, patterns: str | Sequence[str], suffixes: Sequence[str] = ("",), **more: Any) -> list[Rule]:
    """Return one rule for the parameters that the globs name, or none without globs."""
    globs = [patterns] if isinstance(patterns, str) else patterns
    names = [f"{glob}{suffix}" for suffix in suffixes for glob in globs]
    return [Rule(initializer, name=names, **more)] if names else []


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
    return Recipe([Rule(DEFAULT)], "torch")


def resnet(zero_init: str | Sequence[str] = ()) -> Recipe:
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
        name    module  shape     rule              initializer      fan_in  fan_out  mean     std
        weight  Conv2d  64x3x7x7  1: weight Conv?d  kaiming_normal_     147     3136     0  0.0253
    """
    he = {"mode": "fan_out", "nonlinearity": "relu"}
    return Recipe(
        [
            *_named("zeros_", zero_init),
            Rule("kaiming_normal_", role="weight", module=_CONVOLUTIONS, args=he),
            Rule("zeros_", role="bias", module=_CONVOLUTIONS, optional=True),
            _REST,
        ],
        "resnet",
    )


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
    glorot = partial(Rule, "xavier_uniform_", args={"gain": gain})
    gates = "*.weight_[ih]h*"
    return Recipe(
        [
            _ZERO_BIASES,
            glorot(module=("LSTM", "LSTMCell"), name=gates, blocks=4, optional=True),
            glorot(module=("GRU", "GRUCell"), name=gates, blocks=3, optional=True),
            glorot(name="*.in_proj_weight", blocks=3, optional=True),
            glorot(role="weight"),
            _REST,
        ],
        "xavier",
    )


def vit(head: str | Sequence[str] = ("*.head", "*.head_dist", "*.classifier")) -> Recipe:
    """Vision transformers: truncated normal weights and embeddings of std 0.02; zero biases; zero heads.

    Source: ``_init_weights`` of DeiT (Touvron et al., 2020, https://arxiv.org/abs/2012.12877), the patch projection
    with the std of transformers' ViT; the zero head after Dosovitskiy et al., "An image is worth 16x16
    words" (2020), section 3.2, https://arxiv.org/abs/2010.11929. The bounds are values, -2 and 2, as in DeiT. Tables of
    relative positions as in Swin's code (Liu et al., 2021, https://arxiv.org/abs/2103.14030).

    Args:
        head: globs for the classification heads

    Examples:
        >>> from torch import nn
        >>> from torchinit import recipes
        >>> model = nn.ModuleDict({"proj": nn.Conv2d(3, 32, 16), "head": nn.Linear(32, 10)})
        >>> recipes.vit().apply_(model)["head"].weight.abs().max().item()
        0.0
    """
    tokens, positions = ("cls_token", "class_token", "dist_token", "reg_token"), ("pos_embed", "pos_embedding")
    embeddings = (*tokens, *positions, "position_embeddings", "relative_position_bias_table")
    args = {"std": 0.02}
    return Recipe(
        [
            *_named("zeros_", head, (".weight", ".bias")),
            Rule("trunc_normal_", role=("weight", "embedding"), args=args),
            Rule("trunc_normal_", name=[f"*.{name}" for name in embeddings], args=args, optional=True),
            Rule("zeros_", name="*.mask_token", optional=True),
            _ZERO_BIASES,
            _REST,
        ],
        "vit",
    )


def gpt2(residual: str | Sequence[str] = "*.c_proj.weight") -> Recipe:
    r"""GPT-2: normal weights and embeddings of std 0.02; zero biases; projections onto the residual stream scaled down.

    .. math:: \text{std}_\text{residual} = \frac{0.02}{\sqrt{2 \, \text{layers}}}

    Source: Radford et al., "Language models are unsupervised multitask learners" (2019), section 2.3, as in
    transformers' ``GPT2PreTrainedModel``. Each layer ends two residual branches, so 2 x layers is counted as the number
    of parameters that ``residual`` matches.

    Args:
        residual: globs for the weights that end residual branches

    Examples:
        >>> from torch import nn
        >>> from torchinit import recipes
        >>> blocks = nn.Sequential(*(nn.ModuleDict({"c_fc": nn.Linear(8, 32), "c_proj": nn.Linear(32, 8)}) for _ in range(4)))
        >>> [row.std for row in recipes.gpt2().plan(blocks).rows[:4]]
        [0.02, 0.0, 0.01, 0.0]
    """
    args = {"std": 0.02}
    return Recipe(
        [
            *_named("normal_", residual, args=args, residual=True),
            Rule("normal_", role=("weight", "embedding"), args=args),
            _ZERO_BIASES,
            _REST,
        ],
        "gpt2",
    )


def llama() -> Recipe:
    """Llama: normal weights, embeddings and experts of std 0.02; zero biases; norms that keep the scale of their input.

    Source: ``_init_weights`` of transformers' ``LlamaPreTrainedModel`` with its ``initializer_range`` of 0.02, with the
    experts of ``MixtralPreTrainedModel`` and the norms of ``GemmaPreTrainedModel``. Llama's bits are the same.

    Examples:
        >>> from torch import nn
        >>> from torchinit import recipes
        >>> [row.std for row in recipes.llama().plan(nn.Sequential(nn.Embedding(9, 4), nn.RMSNorm(4))).rows]
        [0.02, 0.0]
    """
    return Recipe(
        [
            Rule("normal_", role=("weight", "embedding"), args={"std": 0.02}),
            Rule("normal_", name=("*.experts.gate_up_proj", "*.experts.down_proj"), args={"std": 0.02}, optional=True),
            Rule(DEFAULT, role="norm", optional=True),
            _ZERO_BIASES,
        ],
        "llama",
    )


def dcgan() -> Recipe:
    """DCGAN: normal convolutions of std 0.02, batch norms around 1 with std 0.02.

    Source: Radford et al., "Unsupervised representation learning with deep convolutional generative adversarial
    networks" (2015), https://arxiv.org/abs/1511.06434, as in ``weights_init`` of PyTorch's example.

    Examples:
        >>> from torch import nn
        >>> from torchinit import recipes
        >>> model = nn.Sequential(nn.ConvTranspose2d(100, 64, 4, bias=False), nn.BatchNorm2d(64))
        >>> [(row.mean, row.std) for row in recipes.dcgan().plan(model).rows[:2]]
        [(0.0, 0.02), (1.0, 0.02)]
    """
    norms = "BatchNorm?d"
    return Recipe(
        [
            Rule("normal_", role="weight", module=(_CONVOLUTIONS, "ConvTranspose?d"), args={"std": 0.02}),
            Rule("normal_", module=norms, name="*.weight", args={"mean": 1.0, "std": 0.02}, optional=True),
            Rule("zeros_", module=norms, name="*.bias", optional=True),
            _REST,
        ],
        "dcgan",
    )


def orthogonal_rl(
    policy: str | Sequence[str] = ("*.actor", "*.action_net", "*.policy_head", "*.actor_head", "*.pi"),
    value: str | Sequence[str] = ("*.critic", "*.value_net", "*.value_head", "*.critic_head", "*.vf"),
) -> Recipe:
    """Policy gradients: orthogonal weights of gain sqrt(2), the policy's head 0.01, the value's head 1; zero biases.

    Source: ``layer_init`` of CleanRL and Huang et al., "The 37 implementation details of proximal policy optimization"
    (2022), detail 2; Engstrom et al., "Implementation matters in deep policy gradients" (2020),
    https://arxiv.org/abs/2005.12729. Recurrent weights are orthogonal with gain 1, as in CleanRL.

    Args:
        policy: globs for the layers that give the policy's logits or means, such as ``"actor.4"``
        value: globs for the layers that give the value

    Examples:
        >>> from torch import nn
        >>> from torchinit import recipes
        >>> agent = nn.ModuleDict({"body": nn.Linear(4, 4), "actor": nn.Linear(4, 4), "critic": nn.Linear(4, 1)})
        >>> agent = recipes.orthogonal_rl().apply_(agent)
        >>> torch.allclose(agent["actor"].weight @ agent["actor"].weight.T, torch.eye(4) * 1e-4, atol=1e-8)
        True
    """
    return Recipe(
        [
            *_named("orthogonal_", policy, (".weight",), args={"gain": 0.01}),
            *_named("orthogonal_", value, (".weight",), args={"gain": 1.0}),
            Rule("orthogonal_", name="*.weight_[ih]h*", args={"gain": 1.0}, optional=True),
            Rule("orthogonal_", role="weight", args={"gain": math.sqrt(2)}),
            _ZERO_BIASES,
            _REST,
        ],
        "orthogonal-rl",
    )


SHIPPED: dict[str, Callable[[], Recipe]] = {
    "torch": torch_default,
    "resnet": resnet,
    "xavier": xavier,
    "vit": vit,
    "gpt2": gpt2,
    "llama": llama,
    "dcgan": dcgan,
    "orthogonal-rl": orthogonal_rl,
}


def load(recipe: str | os.PathLike[str]) -> Recipe:
    """Read a recipe by the name of a shipped one, or from a TOML file.

    Args:
        recipe: ``"torch"``, ``"resnet"``, ``"xavier"``, ``"vit"``, ``"gpt2"``, ``"llama"``, ``"dcgan"``,
            ``"orthogonal-rl"``, or the path of a file

    Raises:
        OSError: if the file cannot be read
        RecipeError: if there is no such recipe, or the file is wrong; the message is one line

    Examples:
        >>> from torchinit import recipes
        >>> recipes.load("llama") == recipes.llama()
        True
    """
    text = os.fspath(recipe)
    if text in SHIPPED:
        return SHIPPED[text]()
    if not text.endswith(".toml") and not os.path.exists(text):
        raise RecipeError(f"there is no recipe and no file {text!r}; {suggest(text, list(SHIPPED))}")
    return read(text)
