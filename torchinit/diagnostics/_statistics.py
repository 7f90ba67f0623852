"""Statistics of each parameter of a model, and the known initialization that it is like."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from torchinit._core.scale import xavier_std
from torchinit.diagnostics._moments import Moments, measure
from torchinit.diagnostics._parameters import Parameter, module_of, parameters
from torchinit.diagnostics._verdict import he_std, known_stds, verdict


@dataclass(frozen=True)
class ParameterStatistics:
    """Statistics of one parameter, over its finite values.

    Attributes:
        name: qualified name, of tied parameters the first
        shape: sizes of all dimensions
        dtype: the parameter's type
        fan_in: inputs of each unit of its layer; None for fewer than two dimensions or no elements
        fan_out: outputs, likewise
        mean: their mean, complex for a complex parameter; None without finite values
        std: population standard deviation; None likewise
        min: the least value; None likewise, and for a complex parameter
        max: the greatest, likewise
        zeros: share of the elements that are 0, from 0 to 1; None likewise
        not_finite: number of NaN and infinities; None if the parameter has no numbers, as on the meta device
        he: std of He's initialization, sqrt(2 / fan_in); None without fans
        xavier: std of Xavier's, sqrt(2 / (fan_in + fan_out)); None without fans
        verdict: the known initialization whose std it has (``"like He"``), or what is odd; None if nothing is known
        bad: whether the verdict deserves a look: a constant matrix, not finite, or far from any known scale
        constant: whether all finite values are equal
        tied: its other names
    """

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    fan_in: int | None
    fan_out: int | None
    mean: float | complex | None
    std: float | None
    min: float | None
    max: float | None
    zeros: float | None
    not_finite: int | None
    he: float | None
    xavier: float | None
    verdict: str | None
    bad: bool
    constant: bool
    tied: tuple[str, ...]


def _numbers(moments: Moments | None) -> dict[str, Any]:
    names = ("mean", "std", "min", "max", "zeros", "not_finite")
    numbers: dict[str, Any] = dict.fromkeys(names)
    if moments is None:
        return numbers
    numbers["not_finite"] = moments.not_finite
    if moments.count:
        numbers |= {"mean": moments.mean, "std": moments.std, "zeros": moments.zeros / moments.size}
        if math.isfinite(moments.min):
            numbers |= {"min": moments.min, "max": moments.max}
    return numbers


def _row(parameter: Parameter) -> ParameterStatistics:
    moments, fans = measure(parameter.tensor), parameter.fans()
    said, bad = verdict(moments, known_stds(parameter), fans is not None)
    fan_in, fan_out = fans or (None, None)
    return ParameterStatistics(
        name=parameter.name,
        shape=tuple(parameter.tensor.shape),
        dtype=parameter.tensor.dtype,
        fan_in=fan_in,
        fan_out=fan_out,
        **_numbers(moments),
        he=he_std(fans[0]) if fans else None,
        xavier=xavier_std(*fans, gain=1.0) if fans else None,
        verdict=said,
        bad=bad,
        constant=moments is not None and moments.constant is not None,
        tied=tuple(parameter.tied),
    )


def statistics(
    model: nn.Module | Mapping[str, Any], progress: Callable[[str, str, int], object] | None = None
) -> list[ParameterStatistics]:
    """Measure each parameter of a model, and name the known initialization that it is like.

    A parameter is like an initialization if their standard deviations agree within 5 % or the sampling error. In a
    state dict, a transposed or grouped convolution looks like any other, and its fans are counted as such.

    Args:
        model: a module (eager, scripted, traced or loaded) or its state dict
        progress: called before each parameter with ``"measuring"``, its name and the number of parameters

    Returns:
        A row for each parameter, in the order of ``named_parameters``; tied parameters once.

    Raises:
        ValueError: if a state dict has a name that is not dotted, or a value that is not a tensor

    Examples:
        >>> layer = torch.nn.Linear(64, 256)
        >>> _ = torchinit.kaiming_normal_(layer.weight, generator=torch.Generator().manual_seed(0))
        >>> _ = torchinit.zeros_(layer.bias)
        >>> [(row.name, row.verdict) for row in torchinit.diagnostics.statistics(layer)]
        [('weight', 'like He'), ('bias', 'constant 0')]
    """
    rows = []
    found = parameters(model if isinstance(model, nn.Module) else module_of(model))
    for parameter in found:
        if progress is not None:
            progress("measuring", parameter.name, len(found))
        rows.append(_row(parameter))
    return rows
