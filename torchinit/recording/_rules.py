"""Finds ordered rules, as few and as simple as possible, that give each parameter what a recording says of it.

Standard deviations that follow from the fans, where the model's code computed them by itself, are recognized first.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torchinit._core.scale import variance_scaling_std
from torchinit.recipes import Rule
from torchinit.recipes._rule import DEFAULT

# The initializer and the further arguments of a rule.
Law = tuple[tuple[str, Any], ...]
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


@dataclass(frozen=True)
class Parameter:
    """A parameter, its module's type, the layer of ``torch.nn`` that it inherits from, and what a rule must say."""

    name: str
    module: str
    standard: str
    ndim: int
    law: Law

    @property
    def exact(self) -> str:
        """A glob that matches this name alone."""
        return re.sub(r"([\[\]*?])", r"[\1]", self.name)

    @property
    def glob(self) -> str:
        """The name with a star for each number of a layer."""
        return re.sub(r"(?<=\.)\d+(?=\.)|^\d+(?=\.)", "*", self.exact)


def _ending(glob: str, parts: int) -> str:
    """Return a glob of the last parts of a name."""
    return ".".join(["*", *glob.split(".")[-parts:]])


def _rule(law: Law, **conditions: Sequence[Any]) -> Rule:
    said: dict[str, Any] = {key: list(dict.fromkeys(value)) for key, value in conditions.items()} | dict(law)
    said["args"] = dict(said.get("args", ()))
    return Rule(**said, origin="recording")


def _candidates(own: Sequence[Parameter]) -> Iterator[Rule]:
    """Yield rules that match all of some parameters, whatever the numbers of their layers, from general to special."""
    law, modules, globs = own[0].law, [p.module for p in own], [p.glob for p in own]
    endings = [_ending(glob, 1) for glob in globs]
    if dict(law)["initializer"] == DEFAULT:
        yield _rule(law)
    yield _rule(law, module=modules)
    yield _rule(law, name=endings)
    yield _rule(law, module=modules, name=endings)
    if len({p.ndim for p in own}) == 1:
        yield _rule(law, ndim=[own[0].ndim])
        yield _rule(law, name=endings, ndim=[own[0].ndim])
        yield _rule(law, module=modules, ndim=[own[0].ndim])
    for parts in (2, 3):
        yield _rule(law, name=[_ending(glob, parts) for glob in globs])
    yield _rule(law, module=modules, name=[_ending(glob, 2) for glob in globs])
    yield _rule(law, name=globs)


def _numbered(own: Sequence[Parameter]) -> Iterator[Rule]:
    """Yield rules that match all of some parameters by the numbers of their layers."""
    for parts in (2, 3):
        yield _rule(own[0].law, name=[_ending(p.exact, parts) for p in own])
    yield _rule(own[0].law, name=[p.exact for p in own])


def _cost(rule: Rule) -> int:
    """Return how hard a rule's conditions are to read: their words, where a number of dimensions says least."""
    given = rule.given()
    words = [given.get(key, ()) for key in ("module", "name")]
    return sum(1 if isinstance(word, str) else len(word) for word in words) + 3 * ("ndim" in given)


def _matches(rule: Rule, parameter: Parameter) -> bool:
    return rule.matches((parameter.module, parameter.standard), (parameter.name,), parameter.ndim)


def _one_each(parameters: Sequence[Parameter]) -> list[Parameter]:
    """Return one parameter of each kind; layers that repeat need one look if their numbers do not matter."""
    return list({(p.glob, p.module, p.ndim, p.law): p for p in parameters}.values())


def _simplest(own: Sequence[Parameter], later: Sequence[Parameter], others: Sequence[Parameter]) -> Rule:
    """Return the simplest rule that matches all of ``own`` and none of ``later``, or better of all ``others``."""

    def fit(rules: Iterable[Rule], later: Sequence[Parameter]) -> list[Rule]:
        return [rule for rule in rules if not any(_matches(rule, other) for other in later)]

    found = fit(_candidates(_one_each(own)), _one_each(later)) or fit(_numbered(own), later)
    others = _one_each(others)
    # A rule that is true anywhere in the list reads better, unless it takes more than one word more.
    return min(found, key=lambda rule: _cost(rule) + any(_matches(rule, other) for other in others))


def find_rules(parameters: Sequence[Parameter]) -> list[Rule]:
    """Return rules of which the first that matches a parameter has its law, in the order of the parameters.

    Each law has one rule. It comes as early as its first parameter, unless only a later place lets it be simple.
    """
    laws = _by_law(parameters)
    rules: list[tuple[Law, Rule]] = []
    while laws:
        # The rarest law comes first, so that the others can be said in general.
        law = min(laws, key=lambda law: (len(_one_each(laws[law])), len(laws[law])))
        own = laws.pop(law)
        later = [p for parameters in laws.values() for p in parameters]
        rules.append((law, _simplest(own, later, [p for p in parameters if p.law != law])))
    return _in_order(rules, parameters)


def _by_law(parameters: Sequence[Parameter]) -> dict[Law, list[Parameter]]:
    laws: dict[Law, list[Parameter]] = {}
    for parameter in parameters:
        laws.setdefault(parameter.law, []).append(parameter)
    return laws


def _in_order(rules: list[tuple[Law, Rule]], parameters: Sequence[Parameter]) -> list[Rule]:
    """Put rules in the order of the parameters that they match first, where that changes nothing."""
    first = {law: index for index, law in enumerate(_by_law(parameters))}
    ordered = sorted(rules, key=lambda pair: first[pair[0]])

    def holds(order: list[tuple[Law, Rule]]) -> bool:
        return all(
            next((law for law, rule in order if _matches(rule, parameter)), None) == parameter.law
            for parameter in parameters
        )

    return [rule for _, rule in (ordered if holds(ordered) else rules)]
