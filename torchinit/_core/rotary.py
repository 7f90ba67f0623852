"""The inverse frequencies of rotary position embeddings, with the scalings of transformers' ``modeling_rope_utils``.

The order of floating-point operations is theirs, for equal bits: in Python a number over a tensor is the number times
the reciprocal.
"""

import math

import torch
from torch import Tensor
from torch.compiler import is_dynamo_compiling
from torch.jit import is_scripting

from torchinit._core.checks import check_inexact, check_partitioned, refuse_dimensions
from torchinit._core.compat import is_tracing
from torchinit._core.messages import format_float
from torchinit._core.tables import check_base, check_positive, write_table_


def _check_used(scaling: str, factor: float, partial_rotary_factor: float, factors: list[float] | None) -> None:
    """Refuse an unknown scaling, and numbers that it would ignore although they are written for it."""
    # NB: the choices are spelled out; TorchScript prints a list of strings without quotes.
    if scaling not in ["default", "linear", "dynamic", "yarn", "longrope", "llama3", "proportional"]:
        raise ValueError(
            f"Scaling {scaling} not supported, please use one of"
            " ['default', 'linear', 'dynamic', 'yarn', 'longrope', 'llama3', 'proportional']"
        )
    check_positive("factor", factor)
    if scaling == "default" and factor != 1.0:
        raise ValueError(f"factor must be 1 without a scaling, got {format_float(factor)}")
    if not 0.0 <= partial_rotary_factor <= 1.0:
        raise ValueError(f"partial_rotary_factor must be in [0, 1], got {format_float(partial_rotary_factor)}")
    if scaling != "proportional" and partial_rotary_factor != 1.0:
        raise ValueError(
            "partial_rotary_factor must be 1 unless the scaling is proportional, since the size says how many dimensions"
            f" turn, got {format_float(partial_rotary_factor)}"
        )
    if scaling != "longrope" and factors is not None:
        raise ValueError(f"factors must be None unless the scaling is longrope, got {len(factors)} factors")


def _check(
    size: int,
    base: float,
    scaling: str,
    factor: float,
    original: int | None,
    seq_len: int | None,
    bands: list[float],
    partial_rotary_factor: float,
    factors: list[float] | None,
) -> int:
    """Check the numbers of a scaling, and return the original length, or 1 for a scaling that needs none."""
    check_base(base)
    _check_used(scaling, factor, partial_rotary_factor, factors)
    for name, value in zip(["low_freq_factor", "high_freq_factor", "beta_fast", "beta_slow"], bands):
        check_positive(name, value)
    if not bands[0] < bands[1]:
        raise ValueError(
            f"high_freq_factor must be above low_freq_factor, got {format_float(bands[1])} and {format_float(bands[0])}"
        )
    if seq_len is not None and seq_len < 1:
        raise ValueError(f"seq_len must be at least 1, got {seq_len}")
    if scaling == "dynamic" and size == 1:
        raise ValueError("dynamic scaling needs at least 2 values, got 1")
    if scaling == "longrope":
        if factors is None:
            raise ValueError("longrope scaling needs factors, got None")
        if len(factors) != size:
            raise ValueError(f"factors must have one number for each value, got {len(factors)} for shape [{size}]")
        for number in factors:
            check_positive("each of factors", number)
    if original is None:
        if scaling in ["dynamic", "yarn", "llama3"]:
            raise ValueError(f"{scaling} scaling needs original_max_position_embeddings, got None")
        return 1
    if original < 1:
        raise ValueError(f"original_max_position_embeddings must be at least 1, got {original}")
    return original


def _dynamic_base(base: float, factor: float, length: int, seq_len: int, dim: int) -> float:
    grown: float = base * ((factor * max(seq_len, length) / length) - (factor - 1)) ** (dim / (dim - 2))
    return grown


def _turning_index(turns: float, base: float, length: int, dim: int) -> float:
    """Return the index, before rounding, of the value that turns so often in the original length."""
    return (dim * math.log(length / (turns * 2 * math.pi))) / (2 * math.log(base))


def _yarn(
    powers: Tensor, size: int, base: float, factor: float, length: int, bands: list[float], truncate: bool
) -> Tensor:
    low = _turning_index(bands[2], base, length, 2 * size)
    high = _turning_index(bands[3], base, length, 2 * size)
    if truncate:
        low, high = float(math.floor(low)), float(math.ceil(high))
    low, high = max(low, 0.0), min(high, 2.0 * size - 1.0)
    if low == high:
        high += 0.001
    ramp = ((torch.arange(size, dtype=torch.float32, device=powers.device) - low) / (high - low)).clamp(0.0, 1.0)
    kept = 1 - ramp
    return torch.reciprocal(factor * powers) * (1 - kept) + torch.reciprocal(powers) * kept


def _llama3(inv_freq: Tensor, factor: float, length: int, bands: list[float]) -> Tensor:
    low, high = bands[0], bands[1]
    wavelength = torch.reciprocal(inv_freq) * (2 * math.pi)
    is_long, is_short = wavelength > length / low, wavelength < length / high
    scaled = torch.where(is_long, inv_freq / factor, inv_freq)
    smooth = (torch.reciprocal(wavelength) * length - low) / (high - low)
    blended = (1 - smooth) * scaled / factor + smooth * scaled
    return torch.where(torch.logical_or(is_long, is_short), scaled, blended)


def _inverse_frequencies(
    size: int,
    device: torch.device,
    base: float,
    scaling: str,
    factor: float,
    original: int | None,
    seq_len: int | None,
    bands: list[float],
    truncate: bool,
    partial_rotary_factor: float,
    factors: list[float] | None,
) -> Tensor:
    """Check the numbers, and compute the values; ``bands`` are low_freq_factor, high_freq_factor, beta_fast and beta_slow."""
    length = _check(size, base, scaling, factor, original, seq_len, bands, partial_rotary_factor, factors)
    dim, turning = 2 * size, size
    if scaling == "dynamic":
        base = _dynamic_base(base, factor, length, length if seq_len is None else seq_len, dim)
    elif scaling == "proportional":
        turning = int(partial_rotary_factor * dim // 2)
    # NB: of as many values as transformers computes at once; a CPU's last values go through another power function.
    powers = torch.pow(base, torch.arange(0, 2 * turning, 2, dtype=torch.float32, device=device) / dim)
    if scaling == "yarn":
        return _yarn(powers, size, base, factor, length, bands, truncate)
    if factors is not None and len(factors) > 0:
        # NB: not torch.tensor(), for which a GPU waits.
        divisors = [torch.full([], number, dtype=torch.float32, device=device) for number in factors]
        return torch.reciprocal(torch.stack(divisors) * powers)
    inv_freq = torch.reciprocal(powers)
    if scaling == "llama3":
        return _llama3(inv_freq, factor, length, bands)
    if scaling == "proportional":
        inv_freq = torch.cat([inv_freq, inv_freq.new_zeros([size - turning])])
    return inv_freq if scaling == "default" or scaling == "dynamic" else inv_freq / factor


def _constant_size(tensor: Tensor) -> int:
    """Return the length of a tensor of one dimension; a trace would compute with a tensor of float32 in its place."""
    if not is_scripting():
        if not is_dynamo_compiling() and is_tracing():
            return int(tensor.size(0))
    return tensor.size(0)


def rotary_inv_freq_(
    tensor: Tensor,
    base: float = 10000.0,
    scaling: str = "default",
    factor: float = 1.0,
    original_max_position_embeddings: int | None = None,
    seq_len: int | None = None,
    low_freq_factor: float = 1.0,
    high_freq_factor: float = 4.0,
    beta_fast: float = 32.0,
    beta_slow: float = 1.0,
    truncate: bool = True,
    partial_rotary_factor: float = 1.0,
    factors: list[float] | None = None,
) -> Tensor:
    r"""Fill a vector with the inverse frequencies of rotary position embeddings.

    Su et al., "RoFormer: Enhanced transformer with rotary position embedding" (2021),
    https://arxiv.org/abs/2104.09864. The arguments have the names and the meaning of ``rope_parameters`` in a
    configuration of transformers, with ``scaling`` for ``rope_type`` and ``base`` for ``rope_theta``. A layer that
    rotates a part of each head alone has a shorter tensor.

    .. math:: x_i = \text{base}^{-2 i / \text{dim}}, \quad \text{dim} = 2 \, \text{size}

    Each scaling changes these values:

    - ``"default"``: not at all
    - ``"linear"``: divided by ``factor``
    - ``"dynamic"``: the base grows with ``seq_len``, times :math:`(\text{factor} \, \text{seq\_len} /
      \text{original} - (\text{factor} - 1))^{\text{dim} / (\text{dim} - 2)}`
    - ``"yarn"``: the values that turn less often than ``beta_slow`` times in the original length are divided by
      ``factor``, those that turn more often than ``beta_fast`` times stay, and between them a ramp blends the two
    - ``"llama3"``: the values whose wavelength exceeds the original length over ``low_freq_factor`` are divided by
      ``factor``, those below that over ``high_freq_factor`` stay, and a ramp blends the two between
    - ``"longrope"``: each value is divided by its own number of ``factors``
    - ``"proportional"``: the values after the first ``partial_rotary_factor`` of them are 0, and all are divided by
      ``factor``

    Args:
        tensor: a floating-point or complex vector with one value for each pair of rotated dimensions
        base: the base of the powers, above 1
        scaling: ``"default"``, ``"linear"``, ``"dynamic"``, ``"yarn"``, ``"longrope"``, ``"llama3"`` or
            ``"proportional"``
        factor: how many times longer than the original length a sequence may be
        original_max_position_embeddings: the original length, in positions; ``"dynamic"``, ``"yarn"`` and ``"llama3"``
            need it
        seq_len: length of the sequence for ``"dynamic"``, in positions; below the original length that one counts
            (default: the original length)
        low_freq_factor: for ``"llama3"``
        high_freq_factor: for ``"llama3"``, above ``low_freq_factor``
        beta_fast: for ``"yarn"``, in turns
        beta_slow: for ``"yarn"``, in turns
        truncate: whether the ramp of ``"yarn"`` begins and ends at whole indices
        partial_rotary_factor: share of the values that ``"proportional"`` does not set to 0, in :math:`[0, 1]`
        factors: the divisors of ``"longrope"``, one for each value: the short or the long ones of a configuration

    Returns:
        ``tensor``

    Raises:
        ValueError: if ``tensor`` does not have 1 dimension, for an unknown scaling, and if a number is missing, out of
            its range or not used by the scaling
        NotImplementedError: if ``tensor`` holds integers or booleans

    Examples:
        >>> torchinit.rotary_inv_freq_(torch.empty(4))
        tensor([1.0000, 0.1000, 0.0100, 0.0010])
        >>> torchinit.rotary_inv_freq_(torch.empty(4), scaling="linear", factor=4.0)
        tensor([0.2500, 0.0250, 0.0025, 0.0003])
        >>> numbers = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
        >>> inv_freq = torchinit.rotary_inv_freq_(
        ...     torch.empty(64), 500000.0, "llama3", original_max_position_embeddings=8192, **numbers
        ... )
    """
    check_partitioned(tensor)
    if tensor.dim() != 1:
        refuse_dimensions(tensor, "1")
    check_inexact("rotary_inv_freq_", tensor)
    bands = [low_freq_factor, high_freq_factor, beta_fast, beta_slow]
    length, share = original_max_position_embeddings, partial_rotary_factor
    size = _constant_size(tensor)
    values = _inverse_frequencies(
        size, tensor.device, base, scaling, factor, length, seq_len, bands, truncate, share, factors
    )
    return write_table_(tensor, values)
