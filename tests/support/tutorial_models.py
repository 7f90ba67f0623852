"""Models whose exported ``reset_parameters`` calls initializers, as users write them."""

import torch
from torch import Tensor, nn

import torchinit


class MLP(nn.Module):
    """Two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(6, 16)
        self.head = nn.Linear(16, 3)

    @torch.jit.export
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        torchinit.kaiming_uniform_(self.hidden.weight, nonlinearity="relu", generator=generator)
        torchinit.zeros_(self.hidden.bias)
        torchinit.trunc_normal_(self.head.weight, std=0.02, generator=generator)
        torchinit.constant_(self.head.bias, 0.1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.hidden(x).relu())


class CNN(nn.Module):
    """Convolutions, one of them grouped, with a BatchNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.grouped = nn.Conv2d(8, 8, 3, padding=1, groups=4)

    @torch.jit.export
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        torchinit.kaiming_normal_(self.convolution.weight, mode="fan_out", nonlinearity="relu", generator=generator)
        bias = self.convolution.bias
        if bias is not None:
            torchinit.zeros_(bias)
        torchinit.ones_(self.norm.weight)
        torchinit.zeros_(self.norm.bias)
        torchinit.dirac_(self.grouped.weight, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.grouped(self.norm(self.convolution(x)))


class Recurrent(nn.Module):
    """An Embedding and an LSTM."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 5)
        self.lstm = nn.LSTM(5, 4, num_layers=2)

    @torch.jit.export
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        torchinit.normal_(self.embedding.weight, 0.0, 0.1, generator=generator)
        for weight in self.lstm._flat_weights:
            if weight.dim() == 2:
                torchinit.orthogonal_(weight, generator=generator)
            else:
                torchinit.uniform_(weight, -0.1, 0.1, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        return self.lstm(self.embedding(x))[0]


class Encoder(nn.Module):
    """A Transformer layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(8, 2, 16)

    @torch.jit.export
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        in_projection = self.layer.self_attn.in_proj_weight
        if in_projection is not None:
            torchinit.xavier_uniform_(in_projection, generator=generator)
        torchinit.xavier_normal_(self.layer.self_attn.out_proj.weight, generator=generator)
        torchinit.sparse_(self.layer.linear1.weight, 0.5, generator=generator)
        torchinit.eye_(self.layer.linear2.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


INPUTS = {
    MLP: torch.ones(2, 6),
    CNN: torch.ones(2, 3, 5, 5),
    Recurrent: torch.arange(6).view(3, 2),
    Encoder: torch.ones(3, 2, 8),
}
