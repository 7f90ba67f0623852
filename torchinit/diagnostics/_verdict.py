"""The standard deviations of known initializations, and which of them a parameter's values have."""

import math
import re

from torchinit._core.scale import kaiming_std, variance_scaling_std, xavier_std
from torchinit._core.table import text
from torchinit.diagnostics._moments import Moments
from torchinit.diagnostics._parameters import Parameter
from torchinit.recipes._layers import upstream_fans

# A std is far from the known ones beyond this factor. Gains differ by less: 5/3 for tanh,
# sqrt(2) for relu, 1/sqrt(2 n) for n residual layers.
_FAR = 3.0

# Relative tolerance for a std that is like a known one; for a small tensor, the sampling error is larger.
_NEAR = 0.05

# Parameters where torch's weight_norm keeps norms; no scale is known for them.
_NORMS = ("weight_g", "original0")

# A state dict does not say which matrix is an embedding, but its name does.
_EMBEDDING = re.compile(r"emb|^(wte|wpe|shared)$", re.IGNORECASE)


def he_std(fan: int) -> float:
    """sqrt(2 / fan), to the last digit, which the JSON of ``inspect`` shows; ``kaiming_std`` rounds once more."""
    return variance_scaling_std(fan, fan, 2.0, "fan_in")


def _torch_default_std(fan: int) -> float:
    """The std of ``kaiming_uniform_`` with a=sqrt(5), torch's default: uniform up to 1 / sqrt(fan)."""
    return kaiming_std(fan, math.sqrt(5.0), "leaky_relu")


def _default_std_of(parameter: Parameter) -> float | None:
    """The std of torch's own default for a weight and its bias; None if there is none."""
    siblings = dict(parameter.layer.parameters())
    # A recurrent layer draws all by its number of units: the columns of its projection, if it has one.
    for name in ("weight_hr_l0", "weight_hh_l0", "weight_hh"):
        if name in siblings and siblings[name].dim() == 2:
            return _torch_default_std(siblings[name].shape[1])
    weight = siblings.get("weight") if parameter.tensor.dim() < 2 else parameter.tensor
    # NB: torch ignores transposition here.
    fans = None if weight is None else upstream_fans(list(weight.shape))
    if weight is None or fans is None or fans[0] == 0:
        return None
    return _torch_default_std(weight.shape[1] if parameter.layer.kind == "Bilinear" else fans[0])


def known_stds(parameter: Parameter) -> dict[str, float]:
    """Name the stds that known initializations give a parameter; empty if none is known for its kind."""
    tensor, kind = parameter.tensor, parameter.layer.kind
    default, fans = _default_std_of(parameter), parameter.fans()
    if not (tensor.is_floating_point() or tensor.is_complex()) or parameter.own in _NORMS:
        return {}
    if fans is None:
        return {"torch's default": default, "N(0, 0.02)": 0.02} if default and parameter.own.startswith("bias") else {}
    rows, columns = tensor.shape[0], tensor.numel() // tensor.shape[0]
    known = {
        "He": he_std(fans[0]),
        "He fan_out": he_std(fans[1]),
        "Xavier": xavier_std(*fans, gain=1.0),
        "LeCun": kaiming_std(fans[0], 0.0, "linear"),
        "orthogonal": 1.0 / math.sqrt(max(rows, columns)),
        "N(0, 0.02)": 0.02,
    }
    embedding = kind in ("Embedding", "EmbeddingBag")
    if embedding or (kind == "Module" and _EMBEDDING.search(parameter.layer.path.rpartition(".")[2])):
        known["N(0, 1)"] = 1.0
    if default and not embedding:
        known["torch's default"] = default
    return known


def _like(std: float, count: int, known: dict[str, float]) -> str:
    """Name the nearest known std, or all that are equal to it, and the factor if there is one."""
    nearest = min(known.values(), key=lambda each: abs(math.log(std / each)))
    names = [name for name, each in known.items() if math.isclose(each, nearest)]
    if "He" in names and "He fan_out" in names:
        names.remove("He fan_out")
    # The std of n normal draws is off by 1 / sqrt(2 n); three times that is rare.
    near = max(_NEAR, 3.0 / math.sqrt(2 * count))
    ratio = std / nearest
    return f"{'like' if 1 / (1 + near) <= ratio <= 1 + near else f'{ratio:.2g} x'} {' or '.join(names)}"


def _number(value: complex) -> str:
    return f"{value:.3g}" if isinstance(value, complex) else text(float(value))


def verdict(moments: Moments | None, known: dict[str, float], matrix: bool) -> tuple[str | None, bool]:
    """Say what the values are like and whether that is bad; None if nothing is known for such a parameter."""
    if moments is None:
        return "no numbers", False
    if moments.size == 0:
        return "empty", False
    if moments.not_finite:
        return "not finite", True
    if moments.constant is not None:
        # A constant weight keeps all units of a layer equal forever.
        return f"constant {_number(moments.constant)}", matrix and moments.size > 1
    if not known:
        return None, False
    std, mean, low, high = moments.std, moments.mean, min(known.values()), max(known.values())
    # The mean of n values is off by std / sqrt(n); four times that is rare.
    centered = math.hypot(mean.real, mean.imag) <= std * max(1.0, 4.0 / math.sqrt(moments.count))
    if not matrix and std < low / _FAR:
        return ("near 0" if centered else None), False
    if not low / _FAR <= std <= high * _FAR:
        return "far from any known scale", True
    if not centered:
        return ("mean far from 0", True) if matrix else (None, False)
    return _like(std, moments.count, known), False
