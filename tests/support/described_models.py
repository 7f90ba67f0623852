"""Models whose recordings are described."""

import functools
from collections.abc import Callable

import torch
from torch import Tensor, nn

import torchinit
from torchinit.recording import Recording


@functools.cache
def recorded(build: Callable[[], nn.Module]) -> Recording:
    """Record a model once for all tests."""
    return torchinit.record(build)


class Holder(nn.Module):
    """Holds tensors that a function makes."""

    def __init__(self, **tensors: Tensor | nn.Parameter) -> None:
        super().__init__()
        for name, tensor in tensors.items():
            if isinstance(tensor, nn.Parameter):
                self.register_parameter(name, tensor)
            else:
                self.register_buffer(name, tensor)


class Tied(nn.Module):
    """An embedding that is also the head."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(9, 4)
        self.head = nn.Linear(4, 9, bias=False)
        self.head.weight = self.embed.weight


class Rotary(nn.Module):
    """Tables, computed and from outside torch."""

    def __init__(self, dim: int = 64, base: float = 10000.0) -> None:
        super().__init__()
        inv_freq = 1.0 / base ** (torch.arange(0, dim, 2, dtype=torch.int64).float() / dim)
        self.register_buffer("inv_freq", inv_freq, persistent=False)
        angles = torch.outer(torch.arange(16), inv_freq)
        self.register_buffer("table", torch.cat([angles.cos(), angles.sin()], dim=1), persistent=False)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]))
        self.register_buffer("window", torch.tensor([0.5] * 30))


class Block(nn.Module):
    """A layer of a Llama."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.self_attn = nn.ModuleDict({f"{name}_proj": nn.Linear(dim, dim, bias=False) for name in "qkvo"})
        self.mlp = nn.ModuleDict(
            {
                "gate_proj": nn.Linear(dim, hidden, bias=False),
                "up_proj": nn.Linear(dim, hidden, bias=False),
                "down_proj": nn.Linear(hidden, dim, bias=False),
            }
        )
        self.input_layernorm = nn.RMSNorm(dim)
        self.post_attention_layernorm = nn.RMSNorm(dim)


class Llama(nn.Module):
    """The tensors of a Llama, as transformers initializes them."""

    def __init__(self, layers: int = 32, dim: int = 4096, hidden: int = 11008) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(32000, dim)
        self.layers = nn.ModuleList(Block(dim, hidden) for _ in range(layers))
        self.norm = nn.RMSNorm(dim)
        self.rotary_emb = Rotary(dim // 32)
        self.lm_head = nn.Linear(dim, 32000, bias=False)
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.normal_(module.weight, std=0.02)
