"""Standard deviations and bounds of initializers: numbers from numbers, one function per formula.

Eager, scripted and keyed initializers, recipes and diagnostics share them. The order of floating-point operations is
that of ``torch.nn.init``, for equal bits.
"""

import math

from torchinit._core.gains import calculate_gain
from torchinit._core.messages import format_float
from torchinit._core.special import truncated_moments
from torchinit._core.symbolic import as_float, check_gain, sqrt


def uniform_bound(std: float) -> float:
    """Return the bound of the uniform distribution around 0 that has the standard deviation ``std``."""
    return 1.7320508075688772 * std  # math.sqrt(3.0)


def truncated_scale(std: float) -> float:
    """Return the standard deviation before truncation at two of it; afterwards it is ``std``."""
    return std / 0.87962566103423978


def xavier_std(fan_in: int, fan_out: int, gain: float) -> float:
    fans = fan_in + fan_out
    if fans == 0:
        return 0.0
    if not gain >= 0.0:
        check_gain(gain, fans)
    return gain * sqrt(2.0 / as_float(fans))


def kaiming_std(fan: int, a: float, nonlinearity: str) -> float:
    # The default a = 0 is a slope for leaky_relu; for other functions it means no parameter.
    gain = calculate_gain(nonlinearity, a if a != 0.0 or nonlinearity == "leaky_relu" else None)
    return gain / sqrt(as_float(fan))


def check_scaling(scale: float, mode: str, distribution: str) -> None:
    # NB: the choices are spelled out; TorchScript prints a list of strings without quotes.
    if mode not in ["fan_in", "fan_out", "fan_avg", "fan_geo_avg"]:
        raise ValueError(
            f"Mode {mode} not supported, please use one of ['fan_in', 'fan_out', 'fan_avg', 'fan_geo_avg']"
        )
    if distribution not in ["truncated_normal", "normal", "uniform"]:
        raise ValueError(
            f"Distribution {distribution} not supported, please use one of ['truncated_normal', 'normal', 'uniform']"
        )
    if not 0.0 <= scale < math.inf:
        raise ValueError(f"scale must be a finite number that is not negative, got {format_float(scale)}")


def variance_scaling_std(fan_in: int, fan_out: int, scale: float, mode: str) -> float:
    """Return sqrt(scale / fan), with the fan or the mean of fans that ``mode`` names."""
    if mode == "fan_in":
        fan = as_float(fan_in)
    elif mode == "fan_out":
        fan = as_float(fan_out)
    elif mode == "fan_avg":
        fan = as_float(fan_in + fan_out) / 2
    else:
        fan = sqrt(as_float(fan_in) * as_float(fan_out))
    # Only a tensor without elements has fans of 0.
    return 0.0 if fan == 0 else sqrt(scale / fan)


def sine_bound(fan_in: int, omega: float, is_first: bool) -> float:
    if not 0.0 < omega < math.inf:
        raise ValueError(f"omega must be a positive number, got {format_float(omega)}")
    if fan_in == 0:
        return 0.0
    return 1.0 / as_float(fan_in) if is_first else sqrt(6.0 / as_float(fan_in)) / omega


def prior_logit(prior: float) -> float:
    """Return the logit of ``prior``."""
    if not 0.0 < prior < 1.0:
        raise ValueError(f"prior must be in (0, 1), got {format_float(prior)}")
    # The same as log(prior / (1 - prior)), which overflows.
    return math.log(prior) - math.log1p(-prior)


def truncation_bounds(mean: float, std: float, a: float, b: float, correct_std: bool) -> tuple[float, float, float]:
    """Return the standard deviation before truncation, and the bounds ``a`` and ``b`` of it from the mean, as values.

    With ``correct_std`` the standard deviation after truncation is ``std``.
    """
    if std == 0.0:
        return std, mean, mean
    if correct_std:
        if a == b:
            raise RuntimeError(
                f"trunc_normal_tf_ with correct_std expects a < b, but found a={format_float(a)} and b={format_float(b)}"
            )
        deviation = truncated_moments(a, b)[1]
        if deviation == 0.0:
            raise RuntimeError(
                "trunc_normal_tf_ with correct_std expects bounds that a float can tell apart, but found"
                f" a={format_float(a)} and b={format_float(b)}"
            )
        std = std / deviation
    return std, mean + a * std, mean + b * std
