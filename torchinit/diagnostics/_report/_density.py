"""The distribution functions of what fills a parameter, to draw over its values."""

import math
from collections.abc import Sequence

import torch

from torchinit.diagnostics._distribution import sample
from torchinit.diagnostics._fills import Filled, is_simple, law_of
from torchinit.diagnostics._laws import Cdf, learnt, point, sphere
from torchinit.recipes._expected import shares
from torchinit.recipes._fill import Fill

# Larger tensors are not drawn to learn the law of what draws them.
_DRAWN = 1 << 20


def _plain(fill: Fill, shape: Sequence[int]) -> Cdf | None:
    """Return the law of a fill that a formula gives."""
    if fill.initializer == "orthogonal_":
        rows, *columns = fill.matrix_shape(shape)
        size, gain = max(rows, math.prod(columns)), float(fill.args[0])  # type: ignore[arg-type]
        return sphere(size, gain) if size > 3 and gain else None
    if not is_simple(fill):
        return None
    law = law_of(fill, shape)
    return point(law.mean) if law.std == 0.0 else law.cdf


def density_of(filled: Filled) -> Cdf | None:
    """Return the law of what fills a parameter; None if nothing does, or it would take a large draw to know it."""
    if filled.draw is None or 0 in filled.shape:
        return None
    # Both parts of a complex value count, so its law is no formula of one number.
    is_complex = filled.dtype is not None and filled.dtype.is_complex
    parts = [(share, _plain(fill, filled.shape)) for share, fill in shares(filled.fills or (), filled.shape)]
    known = [(share, part) for share, part in parts if part is not None and not is_complex]
    if known and len(known) == len(parts):
        return lambda x: sum((share * part(x) for share, part in known), torch.zeros_like(x))
    return learnt(sample(filled.draw())) if math.prod(filled.shape) <= _DRAWN else None
