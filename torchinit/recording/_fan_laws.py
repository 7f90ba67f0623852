"""Recognizes standard deviations that follow from the fans, where the model's code computed them by itself."""

import math
from collections.abc import Iterator, Mapping

from torchinit._core.scale import variance_scaling_std
from torchinit.recording._rules import Law

Fans = tuple[int, int]

# Fewer different numbers may fit by chance.
_LEAST = 3


def _std(law: Law) -> tuple[str, float] | None:
    """Return distribution and standard deviation of a law around 0 without blocks, or None."""
    said = dict(law)
    args = dict(said.get("args", ()))
    if said["initializer"] == "normal_" and not args.get("mean") and set(said) <= {"initializer", "args"}:
        return "normal", args.get("std", 1.0)
    a, b = args.get("a", 0.0), args.get("b", 1.0)
    if said["initializer"] == "uniform_" and a == -b and set(said) <= {"initializer", "args"}:
        return "uniform", b / math.sqrt(3.0)
    return None


def _scales(law: Law, fans: Fans) -> Iterator[tuple[str, str, float]]:
    """Yield distribution, mode and scale of each variance scaling that gives a law's standard deviation."""
    found = _std(law)
    if found is not None and min(fans) > 0:
        for mode in ("fan_in", "fan_out", "fan_avg"):
            scale = (found[1] / variance_scaling_std(*fans, 1.0, mode)) ** 2
            yield found[0], mode, float(f"{scale:.9g}")


def with_fan_laws(laws: Mapping[str, Law | None], fans: Mapping[str, Fans]) -> dict[str, Law | None]:
    """Replace laws of several numbers by the one variance scaling that gives all of them.

    Args:
        laws: what a rule must say of each parameter
        fans: the fans of each parameter that has some, as a rule counts them
    """
    groups: dict[tuple[str, str, float], dict[str, Law]] = {}
    for name, law in laws.items():
        if law is not None and name in fans:
            for key in _scales(law, fans[name]):
                groups.setdefault(key, {})[name] = law
    replaced: dict[str, Law | None] = dict(laws)
    for key, members in sorted(groups.items(), key=lambda item: -len(item[1])):
        rest = {name: own for name, own in members.items() if replaced[name] == own}
        if len(set(rest.values())) >= _LEAST:
            distribution, mode, scale = key
            args = (("scale", scale), ("mode", mode), ("distribution", distribution))
            replaced |= dict.fromkeys(rest, (("initializer", "variance_scaling_"), ("args", args)))
    return replaced
