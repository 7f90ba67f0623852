"""A model of stacked and packed parameters, and a recipe with a rule for each."""

import torch
from torch import Tensor, nn

from torchinit.recipes import Recipe, Rule

# Name, shape, and the rule of each parameter.
_PARAMETERS = {
    "w1": ((3, 24, 6), Rule("xavier_uniform_", name="w1", batch_dims=1)),
    "w2": ((3, 24, 6), Rule("orthogonal_", name="w2", batch_dims=1)),
    "w3": ((3, 24, 6), Rule("orthogonal_", name="w3", batch_dims=1, transposed=True)),
    "layers": ((2, 3, 4, 12), Rule("orthogonal_", name="layers", batch_dims=2, transposed=True)),
    "bias": ((3, 8), Rule("lstm_bias_", name="bias", batch_dims=1)),
    "kernels": ((3, 4, 2, 3), Rule("delta_orthogonal_", name="kernels", batch_dims=1)),
    "qkv": ((16, 6), Rule("xavier_normal_", name="qkv", blocks=[4, 2, 2], repeat=True)),
    "plain": ((12, 4), Rule("orthogonal_", name="plain")),
    "heads": ((16, 6), Rule("orthogonal_", name="heads", blocks=[4, 2, 2], repeat=True)),
    "gate_up": ((3, 6, 10), Rule("xavier_normal_", name="gate_up", batch_dims=1, blocks=[1, 1], repeat=True, dim=-1)),
    "sparse": (
        (3, 24, 6),
        Rule("sparse_", name="sparse", args={"sparsity": 0.5}, batch_dims=1, transposed=True, blocks=[1, 2], dim=2, repeat=True),
    ),
    "eyes": ((3, 24, 6), Rule("eye_", name="eyes", batch_dims=1, blocks=3, dim=1)),
    "parts": (
        (3, 24, 6),
        Rule("identity_", name="parts", args={"gain": 2.0}, batch_dims=1, transposed=True, blocks=[2, 4], dim=1, repeat=True),
    ),
    "ones": ((12, 3), Rule("constant_", name="ones", args={"val": 3.0}, blocks=[1, 2], repeat=True)),
}  # fmt: skip

STACKS = Recipe([rule for _, rule in _PARAMETERS.values()], "stacks")


class Stacks(nn.Module):
    """A parameter for each rule."""

    def __init__(self) -> None:
        super().__init__()
        for name, (shape, _) in _PARAMETERS.items():
            self.register_parameter(name, nn.Parameter(torch.full(shape, float("nan"))))

    def forward(self, x: Tensor) -> Tensor:
        total = self.w1.sum() + self.w2.sum() + self.w3.sum() + self.layers.sum() + self.bias.sum() + self.kernels.sum()
        total += self.qkv.sum() + self.heads.sum() + self.gate_up.sum() + self.sparse.sum() + self.eyes.sum()
        return x + total + self.parts.sum() + self.ones.sum() + self.plain.sum()
