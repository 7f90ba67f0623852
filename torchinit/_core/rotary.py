"""The inverse frequencies of rotary position embeddings, with the scalings of transformers' ``modeling_rope_utils``.

The order of floating-point operations is theirs, for equal bits: in Python a number over a tensor is the number times
the reciprocal.
"""

import math

import torch
from torch import Tensor

from torchinit._core.messages import format_float


def check_base(base: float) -> None:
    # Near float32's largest number; the tables are computed in float32.
    if not 1.0 < base <= 1e38:
        raise ValueError(f"base must be a finite number above 1, got {format_float(base)}")


def check_positive(name: str, value: float) -> None:
    if not 0.0 < value <= 1e38:
        raise ValueError(f"{name} must be a positive finite number, got {format_float(value)}")


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


def check_rotary(
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


def inverse_frequencies(
    size: int,
    device: torch.device,
    base: float,
    scaling: str,
    factor: float,
    length: int,
    seq_len: int | None,
    bands: list[float],
    truncate: bool,
    partial_rotary_factor: float,
    factors: list[float] | None,
) -> Tensor:
    """Compute the values; ``bands`` are low_freq_factor, high_freq_factor, beta_fast and beta_slow."""
    dim, turning = 2 * size, size
    if scaling == "dynamic":
        base = _dynamic_base(base, factor, length, length if seq_len is None else seq_len, dim)
    elif scaling == "proportional":
        turning = int(partial_rotary_factor * dim // 2)
    # NB: of as many values as transformers computes at once; a CPU's last values go through another power function.
    powers = torch.pow(base, torch.arange(0, 2 * turning, 2, dtype=torch.float32, device=device) / dim)
    if scaling == "yarn":
        return _yarn(powers, size, base, factor, length, bands, truncate)
    if scaling == "longrope" and factors is not None:
        # NB: not torch.tensor(), for which a GPU waits.
        divisors = [torch.full([], number, dtype=torch.float32, device=device) for number in factors]
        return torch.reciprocal(torch.stack(divisors) * powers)
    inv_freq = torch.reciprocal(powers)
    if scaling == "llama3":
        return _llama3(inv_freq, factor, length, bands)
    if scaling == "proportional":
        inv_freq = torch.cat([inv_freq, inv_freq.new_zeros([size - turning])])
    return inv_freq if scaling == "default" or scaling == "dynamic" else inv_freq / factor
