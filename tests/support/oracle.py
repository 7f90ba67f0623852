"""The oracle: the installed ``torch.nn.init``; for ``trunc_normal_``, torch 2.11's inverse CDF."""

import math
import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from tests.support.record import Record


def _inverse_cdf_(
    tensor: Tensor, mean: float, std: float, a: float, b: float, generator: torch.Generator | None
) -> Tensor:
    def norm_cdf(x: float) -> float:
        return (1.0 + math.erf(x / math.sqrt(2.0))) / 2.0

    with torch.no_grad():
        lower, upper = norm_cdf((a - mean) / std), norm_cdf((b - mean) / std)
        tensor.uniform_(2 * lower - 1, 2 * upper - 1, generator=generator)
        tensor.erfinv_()
        tensor.mul_(std * math.sqrt(2.0))
        tensor.add_(mean)
        return tensor.clamp_(min=a, max=b)


def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw by the inverse CDF; for 16-bit dtypes in float32, rounded."""
    if (mean < a - 2 * std) or (mean > b + 2 * std):
        warnings.warn(
            "mean is more than 2 std from [a, b] in torchinit.trunc_normal_. "
            "The distribution of values may be incorrect.",
            stacklevel=2,
        )
    if tensor.dtype in (torch.float16, torch.bfloat16):
        wide = torch.empty_like(tensor, dtype=torch.float32, requires_grad=False)
        _inverse_cdf_(wide, mean, std, a, b, generator)
        with torch.no_grad():
            return tensor.copy_(wide)
    return _inverse_cdf_(tensor, mean, std, a, b, generator)


def oracle(record: Record) -> Callable[..., Tensor]:
    if record.name == "trunc_normal_":
        return trunc_normal_
    return getattr(torch.nn.init, record.name)
