"""The words of streams, from `tools.random_words`."""

import math

import torch
from torch import Tensor

from tools.random_words.__main__ import batches


def philox_words(keys: Tensor, blocks: int) -> Tensor:
    """Return unsigned words in int64, as ``(blocks, 4)`` for one key and ``(blocks, 4, N)`` for N keys."""
    bits = keys.unsqueeze(0) if keys.dim() == 1 else keys
    source = batches(bits)
    first = next(source)
    rest = [next(source) for _ in range(math.ceil(blocks / len(first)) - 1)]
    words = torch.cat([first, *rest])[:blocks].long().bitwise_and_(0xFFFFFFFF)
    return words.squeeze(-1) if keys.dim() == 1 and words.dim() == 3 else words
