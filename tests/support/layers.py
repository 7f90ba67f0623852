"""Every layer of torch.nn with parameters, and models of several, with example inputs."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Example:
    """A model's constructor, its example inputs, and whether torch can script it."""

    make: Callable[[], nn.Module]
    inputs: tuple[Tensor, ...]
    scripts: bool = True


def _noise(*shape: int) -> Tensor:
    return torch.linspace(-1, 1, torch.Size(shape).numel()).reshape(shape)


_IDS = torch.tensor([[1, 2, 3], [0, 3, 9]])

LAYERS = {
    "Linear": Example(lambda: nn.Linear(5, 7), (_noise(2, 5),)),
    "Linear without bias": Example(lambda: nn.Linear(5, 7, bias=False), (_noise(2, 5),)),
    "Linear of 64 bits": Example(lambda: nn.Linear(20, 7, dtype=torch.float64), (_noise(2, 20).double(),)),
    "Bilinear": Example(lambda: nn.Bilinear(3, 4, 5), (_noise(2, 3), _noise(2, 4))),
    "Conv1d": Example(lambda: nn.Conv1d(4, 6, 3), (_noise(1, 4, 8),)),
    "Conv2d": Example(lambda: nn.Conv2d(4, 6, 3, groups=2), (_noise(1, 4, 5, 5),)),
    "Conv2d padded by reflection": Example(
        lambda: nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect"), (_noise(1, 4, 5, 5),)
    ),
    "Conv3d": Example(lambda: nn.Conv3d(2, 3, 2), (_noise(1, 2, 3, 3, 3),)),
    "ConvTranspose1d": Example(lambda: nn.ConvTranspose1d(4, 6, 3, groups=2), (_noise(1, 4, 8),)),
    "ConvTranspose2d": Example(lambda: nn.ConvTranspose2d(4, 6, 3), (_noise(1, 4, 5, 5),)),
    "ConvTranspose3d": Example(lambda: nn.ConvTranspose3d(2, 3, 2), (_noise(1, 2, 3, 3, 3),)),
    "Embedding": Example(lambda: nn.Embedding(10, 6), (_IDS,)),
    "Embedding with padding": Example(lambda: nn.Embedding(10, 6, padding_idx=-2), (_IDS,)),
    "EmbeddingBag": Example(lambda: nn.EmbeddingBag(10, 6), (_IDS,)),
    "EmbeddingBag with padding": Example(lambda: nn.EmbeddingBag(10, 6, padding_idx=3), (_IDS,)),
    "BatchNorm1d": Example(lambda: nn.BatchNorm1d(6), (_noise(2, 6),)),
    "BatchNorm2d": Example(lambda: nn.BatchNorm2d(6), (_noise(2, 6, 2, 2),)),
    "BatchNorm2d without parameters": Example(lambda: nn.BatchNorm2d(6, affine=False), (_noise(2, 6, 2, 2),)),
    "BatchNorm3d": Example(lambda: nn.BatchNorm3d(6, track_running_stats=False), (_noise(2, 6, 2, 2, 2),)),
    "SyncBatchNorm": Example(lambda: nn.SyncBatchNorm(6).eval(), (_noise(2, 6, 2, 2),), scripts=False),
    "InstanceNorm1d": Example(lambda: nn.InstanceNorm1d(6, affine=True), (_noise(2, 6, 4),)),
    "InstanceNorm2d": Example(
        lambda: nn.InstanceNorm2d(6, affine=True, track_running_stats=True), (_noise(2, 6, 2, 2),)
    ),
    "InstanceNorm3d": Example(lambda: nn.InstanceNorm3d(6, affine=True), (_noise(2, 6, 2, 2, 2),)),
    "LayerNorm": Example(lambda: nn.LayerNorm((3, 6)), (_noise(2, 3, 6),)),
    "GroupNorm": Example(lambda: nn.GroupNorm(2, 6), (_noise(2, 6, 2, 2),)),
    "RMSNorm": Example(lambda: nn.RMSNorm(6), (_noise(2, 6),)),
    "PReLU": Example(lambda: nn.PReLU(3), (_noise(2, 3),)),
    "RNN": Example(lambda: nn.RNN(4, 5, 2, bidirectional=True), (_noise(3, 2, 4),)),
    "GRU": Example(lambda: nn.GRU(4, 5, 2), (_noise(3, 2, 4),)),
    "LSTM": Example(lambda: nn.LSTM(4, 5, 2, bidirectional=True), (_noise(3, 2, 4),)),
    "LSTM with projection": Example(lambda: nn.LSTM(4, 5, proj_size=3), (_noise(3, 2, 4),)),
    "RNNCell": Example(lambda: nn.RNNCell(4, 5), (_noise(2, 4),)),
    "GRUCell": Example(lambda: nn.GRUCell(4, 5, bias=False), (_noise(2, 4),)),
    "LSTMCell": Example(lambda: nn.LSTMCell(4, 5), (_noise(2, 4),)),
    "MultiheadAttention": Example(lambda: nn.MultiheadAttention(8, 2), (_noise(3, 2, 8),) * 3),
    "MultiheadAttention of all kinds": Example(
        lambda: nn.MultiheadAttention(8, 2, add_bias_kv=True, kdim=4, vdim=6),
        (_noise(3, 2, 8), _noise(3, 2, 4), _noise(3, 2, 6)),
    ),
    "TransformerEncoderLayer": Example(lambda: nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0), (_noise(3, 2, 8),)),
    "TransformerDecoderLayer": Example(
        lambda: nn.TransformerDecoderLayer(8, 2, 16, dropout=0.0), (_noise(3, 2, 8), _noise(4, 2, 8))
    ),
    "TransformerEncoder": Example(
        lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0), 2, nn.LayerNorm(8)),
        (_noise(3, 2, 8),),
    ),
    "TransformerDecoder": Example(
        lambda: nn.TransformerDecoder(nn.TransformerDecoderLayer(8, 2, 16, dropout=0.0), 2),
        (_noise(3, 2, 8), _noise(4, 2, 8)),
    ),
    "Transformer": Example(lambda: nn.Transformer(8, 2, 1, 1, 16, dropout=0.0), (_noise(3, 2, 8), _noise(4, 2, 8))),
    "AdaptiveLogSoftmaxWithLoss": Example(
        lambda: nn.AdaptiveLogSoftmaxWithLoss(8, 20, [5, 10]), (_noise(2, 8), torch.tensor([1, 12])), scripts=False
    ),
}


class Mixed(nn.Module):
    """Names that are not identifiers, a packed weight, a tied weight, nested layers."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(4, 8, 3, groups=2), nn.PReLU(), nn.ConvTranspose2d(8, 4, 3, groups=2), nn.BatchNorm2d(4)
        )
        self.words = nn.Embedding(10, 8, padding_idx=3)
        self.recurrent = nn.LSTM(8, 8, batch_first=True)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 10, bias=False)
        self.head.weight = self.words.weight

    def forward(self, image: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        words, _ = self.recurrent(self.words(ids))
        attended, _ = self.attention(words, words, words)
        return self.body(image), self.head(self.norm(attended))


MIXED = Example(Mixed, (_noise(1, 4, 6, 6), _IDS))


def seeded(make: Callable[[], nn.Module], seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return make()


def differing(one: nn.Module, other: nn.Module) -> list[str]:
    """Return the names of parameters and buffers that differ."""
    state = other.state_dict()
    assert list(one.state_dict()) == list(state)
    return [name for name, tensor in one.state_dict().items() if not torch.equal(tensor, state[name])]
