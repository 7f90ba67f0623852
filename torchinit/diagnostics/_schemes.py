"""Standard deviations that known initializations give a parameter, and their names."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from torchinit._core.scale import kaiming_std, variance_scaling_std, xavier_std
from torchinit.diagnostics._distribution import Distribution
from torchinit.diagnostics._parameters import Parameter
from torchinit.recipes._layers import upstream_fans

# Numbers that papers and libraries use by themselves. A round number needs no other name.
_NUMBERS = (0.02, 0.01, 0.006, 1.0)
# A standard deviation that is known less well fits too many numbers by chance.
_SHARP = 0.04


def he_std(fan: int) -> float:
    """sqrt(2 / fan), to the last digit, which the JSON of ``inspect`` shows; ``kaiming_std`` rounds once more."""
    return variance_scaling_std(fan, fan, 2.0, "fan_in")


def _torch_default_std(fan: int) -> float:
    """The std of ``kaiming_uniform_`` with a=sqrt(5), torch's default: uniform up to 1 / sqrt(fan)."""
    return kaiming_std(fan, math.sqrt(5.0), "leaky_relu")


def default_std_of(parameter: Parameter) -> float | None:
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


@dataclass(frozen=True)
class Scheme:
    """A known initialization, by its name and the standard deviation that it gives."""

    name: str
    std: float


def _by_fans(parameter: Parameter) -> list[Scheme]:
    """Name what follows from the fans alone; what is equal stands once."""
    fans = parameter.weight_fans()
    square = fans[0] == fans[1]
    found = [Scheme("He" if square else "He (fan_in)", he_std(fans[0]))]
    if not square:
        found.append(Scheme("He (fan_out)", he_std(fans[1])))
    found.append(Scheme("Xavier", xavier_std(*fans, gain=1.0)))
    found.append(Scheme("LeCun", kaiming_std(fans[0], 0.0, "linear")))
    upstream = upstream_fans(list(parameter.tensor.shape))
    if upstream is not None and fans[1] != upstream[1] != fans[0]:
        found.append(Scheme("He (fan_out of all groups)", he_std(upstream[1])))
    return found


def _by_gain(parameter: Parameter) -> Iterator[Scheme]:
    fans = parameter.weight_fans()
    xavier, lecun = xavier_std(*fans, gain=1.0), kaiming_std(fans[0], 0.0, "linear")
    for gain, name in ((5.0 / 3.0, "5/3"), (math.sqrt(2.0), "sqrt(2)"), (0.1, "0.1")):
        yield Scheme(f"{name} x Xavier", gain * xavier)
    for gain, name in ((5.0 / 3.0, "5/3"), (0.75, "3/4"), (0.1, "0.1")):
        yield Scheme(f"{name} x LeCun", gain * lecun)
    yield Scheme("1 / sqrt(fan_out)", 1.0 / math.sqrt(fans[1]))
    yield Scheme("sqrt(1 / (2 fan_in))", math.sqrt(0.5 / fans[0]))
    yield Scheme("sqrt(2 / (5 fan_in))", math.sqrt(0.4 / fans[0]))
    yield Scheme("torch's default", _torch_default_std(fans[0]))
    yield Scheme("SIREN", math.sqrt(2.0 / fans[0]) / 30.0)
    yield Scheme("SIREN's first layer", 1.0 / fans[0] / math.sqrt(3.0))
    rows, columns = parameter.tensor.shape[0], parameter.tensor.shape[1]
    parts = rows // columns
    if parameter.tensor.dim() == 2 and rows == parts * columns and parts in (2, 3, 4):
        yield Scheme(f"Xavier of each of {parts} blocks", xavier_std(columns, columns, gain=1.0))


def _by_depth(parameter: Parameter, known: Sequence[Scheme]) -> Iterator[Scheme]:
    """Scale what is known by the number of layers, or by the number of this layer."""
    numbers = dict.fromkeys(n for layers, _ in parameter.depths for n in (2 * layers, layers))
    numbers |= dict.fromkeys(n for _, index in parameter.depths for n in (2 * index + 2, index + 1))
    for number in numbers:
        for scheme in known if number > 1 else ():
            yield Scheme(f"{scheme.name} / sqrt({number})", scheme.std / math.sqrt(number))


def _by_size(parameter: Parameter, found: Distribution) -> Iterator[Scheme]:
    """Divide by roots of sizes, times powers of 2 such as the size of a head."""
    scale = math.sqrt(3.0) if found.name == "uniform" else 1.0
    sizes = dict.fromkeys(n for n in parameter.tensor.shape if n > 8)
    for number in [n << power for power in range(9) for n in sizes]:
        yield Scheme(f"1 / sqrt({number})", 1.0 / math.sqrt(number) / scale)


def _numbers(found: Distribution, numbers: Iterable[float]) -> list[Scheme]:
    """Take numbers for standard deviations, and of uniform values for bounds."""
    scale = math.sqrt(3.0) if found.name == "uniform" else 1.0
    return [Scheme(f"{number:g}", number / scale) for number in numbers]


def _rounded(found: Distribution, digits: int) -> list[Scheme]:
    number = found.half if found.name == "uniform" else found.before
    return _numbers(found, [float(f"{number:.{digits}g}")])


def _nearest(std: float, error: float, schemes: Sequence[Scheme]) -> Scheme | None:
    """Return the nearest scheme within the error; several that are equal share a name."""
    near = [scheme for scheme in schemes if 1.0 / (1.0 + error) <= std / scheme.std <= 1.0 + error]
    if not near:
        return None
    best = min(near, key=lambda scheme: abs(math.log(std / scheme.std)))
    names = [scheme.name for scheme in near if math.isclose(scheme.std, best.std)]
    return Scheme(" or ".join(dict.fromkeys(names)), best.std)


def scheme_of(parameter: Parameter, found: Distribution, is_weight: bool) -> Scheme | None:
    """Name the initialization that gives a parameter its standard deviation; None if none is known.

    Numbers that many models use are tried first, and less common ones only where the standard deviation is known well.
    A truncated normal may have the number before or after truncation.
    """
    default = default_std_of(parameter)
    fans = _by_fans(parameter) if is_weight else []
    if default is not None and (is_weight or parameter.own.startswith("bias")) and found.name in ("uniform", None):
        fans.insert(0, Scheme("torch's default", default))
    numbers = _numbers(found, _NUMBERS)
    if found.error > 0.5:
        return _nearest(found.std, found.error, [*numbers, *fans])
    sharp = found.error <= _SHARP
    tries: list[Iterable[Scheme]] = [[*numbers, *fans], _by_depth(parameter, numbers[:1])]
    tries += [_rounded(found, 1) if sharp else [], _by_gain(parameter) if is_weight else []]
    tries += [_by_depth(parameter, [*numbers, *fans])]
    tries += [_by_size(parameter, found), _rounded(found, 2)] if sharp else []
    for schemes in map(list, tries):
        scheme = _nearest(found.before, found.error, schemes) or _nearest(found.std, found.error, schemes)
        if scheme is not None:
            return scheme
    return None


def nearest_by_fans(parameter: Parameter, std: float) -> str:
    """Say which multiple a standard deviation is of the nearest that the fans of a weight give."""
    if std == 0.0:
        return ""
    best = min(_by_fans(parameter), key=lambda scheme: abs(math.log(std / scheme.std)))
    return f", {std / best.std:.2g} x {best.name}"
