"""Small models with the names of those that schemes of initialization were made for."""

from collections import OrderedDict

import torch
from torch import nn


def _linears(bias: bool = False, **shapes: tuple[int, int]) -> nn.Module:
    return nn.ModuleDict({name: nn.Linear(*shape, bias=bias) for name, shape in shapes.items()})


def torchtitan_llama(layers: int = 3, dim: int = 8) -> nn.Module:
    """Return a model like ``Transformer`` of torchtitan's llama3."""

    def block() -> nn.Module:
        found = nn.ModuleDict()
        found["attention"] = _linears(wq=(dim, dim), wk=(dim, 4), wv=(dim, 4), wo=(dim, dim))
        found["feed_forward"] = _linears(w1=(dim, 12), w2=(12, dim), w3=(dim, 12))
        found["attention_norm"], found["ffn_norm"] = nn.RMSNorm(dim), nn.RMSNorm(dim)
        return found

    model = nn.Module()
    model.tok_embeddings = nn.Embedding(20, dim)
    model.layers = nn.ModuleDict({str(layer): block() for layer in range(layers)})
    model.norm, model.output = nn.RMSNorm(dim), nn.Linear(dim, 20, bias=False)
    return model


def olmo(layers: int = 3, dim: int = 8, heads_dim: int = 12) -> nn.Module:
    """Return a model like ``Transformer`` of OLMo-core, whose heads are wider than the model."""

    def block() -> nn.Module:
        found = nn.ModuleDict()
        shapes = {"w_q": (dim, heads_dim), "w_k": (dim, 4), "w_v": (dim, 4), "w_out": (heads_dim, dim)}
        found["attention"] = _linears(bias=True, **shapes)
        found["attention"]["q_norm"] = nn.RMSNorm(heads_dim)
        found["attention_norm"] = nn.LayerNorm(dim)
        found["feed_forward"] = _linears(w1=(dim, 16), w2=(16, dim), w3=(dim, 16))
        found["feed_forward_norm"] = nn.RMSNorm(dim)
        return found

    model = nn.Module()
    model.embeddings = nn.Embedding(20, dim)
    model.blocks = nn.ModuleDict({str(layer): block() for layer in range(layers)})
    model.lm_head = nn.ModuleDict({"norm": nn.RMSNorm(dim), "w_out": nn.Linear(dim, 20)})
    return model


def fairseq_encoder(layers: int = 4, dim: int = 8) -> nn.Module:
    """Return a model like fairseq's ``TransformerEncoder``."""

    def layer() -> nn.Module:
        found = nn.ModuleDict()
        names = ("q_proj", "k_proj", "v_proj", "out_proj")
        found["self_attn"] = _linears(bias=True, **dict.fromkeys(names, (dim, dim)))
        found["fc1"], found["fc2"] = nn.Linear(dim, 16), nn.Linear(16, dim)
        found["self_attn_layer_norm"] = nn.LayerNorm(dim)
        return found

    return nn.ModuleDict(
        {"embed_tokens": nn.Embedding(9, dim), "layers": nn.ModuleList(layer() for _ in range(layers))}
    )


class RZTXEncoderLayer(nn.Module):
    """A layer with the names of the authors' package rezero."""

    def __init__(self) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(8, 2)
        self.linear1, self.linear2 = nn.Linear(8, 16), nn.Linear(16, 8)
        self.resweight = nn.Parameter(torch.ones(1))


def _scalars(module: nn.Module, *names: str) -> None:
    for name in names:
        module.register_parameter(name, nn.Parameter(torch.full((1,), 0.5)))


class _Block(nn.Module):
    """A block of ``FixupResNet``, with as many convolutions as kernels."""

    def __init__(self, inside: int, width: int, kernels: tuple[int, ...]) -> None:
        super().__init__()
        sizes = [inside, *[width] * len(kernels)]
        for number, kernel in enumerate(kernels, 1):
            _scalars(self, f"bias{number}a", f"bias{number}b")
            setattr(self, f"conv{number}", nn.Conv2d(sizes[number - 1], width, kernel, bias=False))
        _scalars(self, "scale")
        self.downsample = nn.Conv2d(inside, width, 1, bias=False) if inside != width else None


def fixup_resnet(kernels: tuple[int, ...], blocks: tuple[int, ...] = (2, 3)) -> nn.Module:
    """Return a model like ``FixupResNet``; each stage has a number of blocks."""
    model = nn.Module()
    model.conv1, width = nn.Conv2d(3, 4, 7, bias=False), 4
    for stage, count in enumerate(blocks, 1):
        parts = [_Block(width if number == 0 else 4 * stage, 4 * stage, kernels) for number in range(count)]
        setattr(model, f"layer{stage}", nn.Sequential(*parts))
        width = 4 * stage
    model.fc = nn.Linear(width, 5)
    _scalars(model, "bias1", "bias2")
    return model


class _NGPTBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        for name in ("key", "query", "value", "att_c_proj"):
            setattr(self, name, nn.Linear(width, width, bias=False))
        self.c_fc = nn.Linear(width, 8 * width, bias=False)
        self.mlp_c_proj = nn.Linear(4 * width, width, bias=False)
        for name, size in {"attn_alpha": width, "mlp_alpha": width, "sqk": width, "suv": 8 * width}.items():
            self.register_parameter(name, nn.Parameter(torch.empty(size)))


def ngpt(layers: int = 3, width: int = 16) -> nn.Module:
    """Return a model like ``GPT`` of NVIDIA's ngpt."""
    model = nn.Module()
    parts = {"wte": nn.Embedding(20, width), "h": nn.ModuleList(_NGPTBlock(width) for _ in range(layers))}
    model.transformer = nn.ModuleDict(OrderedDict(parts))
    model.lm_head = nn.Linear(width, 20, bias=False)
    model.sz = nn.Parameter(torch.empty(20))
    return model
