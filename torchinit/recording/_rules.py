"""Finds ordered rules, as few and as simple as possible, that give each parameter what a recording says of it."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torchinit.recipes import Rule
from torchinit.recipes._rule import DEFAULT

# The initializer and the further arguments of a rule.
Law = tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Parameter:
    """A parameter: its name, the type name of its module, its number of dimensions, and what a rule must say."""

    name: str
    module: str
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

    def ending(self, parts: int) -> str:
        """The glob of the last parts of the name."""
        return ".".join(["*", *self.exact.split(".")[-parts:]])


def _rule(law: Law, **conditions: Sequence[Any]) -> Rule:
    said: dict[str, Any] = {key: list(dict.fromkeys(value)) for key, value in conditions.items()} | dict(law)
    said["args"] = dict(said.get("args", ()))
    return Rule(**said, origin="recording")


def _candidates(own: Sequence[Parameter]) -> Iterator[Rule]:
    """Yield rules that match all of some parameters, from general to special."""
    law, modules = own[0].law, [p.module for p in own]
    endings = [p.ending(1) for p in own]
    if dict(law)["initializer"] == DEFAULT:
        yield _rule(law)
    yield _rule(law, module=modules)
    yield _rule(law, name=endings)
    yield _rule(law, module=modules, name=endings)
    for ndim in {p.ndim for p in own} if len({p.ndim for p in own}) == 1 else ():
        yield _rule(law, ndim=[ndim])
        yield _rule(law, name=endings, ndim=[ndim])
        yield _rule(law, module=modules, ndim=[ndim])
    yield _rule(law, name=[p.ending(2) for p in own])
    yield _rule(law, module=modules, name=[p.ending(2) for p in own])
    yield _rule(law, name=[p.ending(3) for p in own])
    yield _rule(law, name=[p.glob for p in own])
    yield _rule(law, name=[p.exact for p in own])


def _cost(rule: Rule) -> int:
    """Return how hard a rule's conditions are to read: their words, where a number of dimensions says least."""
    given = rule.given()
    words = [given.get(key, ()) for key in ("module", "name")]
    return sum(1 if isinstance(word, str) else len(word) for word in words) + 2 * ("ndim" in given)


def _matches(rule: Rule, parameter: Parameter) -> bool:
    return rule.matches(parameter.module, parameter.name, parameter.ndim)


def _simplest(own: Sequence[Parameter], later: Sequence[Parameter], others: Sequence[Parameter]) -> Rule | None:
    """Return the simplest rule that matches all of ``own`` and none of ``later``, or better of all ``others``."""
    fit = [rule for rule in _candidates(own) if not any(_matches(rule, other) for other in later)]
    # A rule that is true anywhere in the list reads better, unless it takes more than one word more.
    return min(fit, key=lambda rule: _cost(rule) + any(_matches(rule, other) for other in others), default=None)


def find_rules(parameters: Sequence[Parameter]) -> list[Rule]:
    """Return rules of which the first that matches a parameter has its law, in the order of the parameters.

    Each law has one rule. It comes as early as its first parameter, unless only a later place lets it be simple.
    """
    # Layers that repeat need one look.
    one_each = list({(p.glob, p.module, p.ndim, p.law): p for p in parameters}.values())
    laws = _by_law(one_each)
    rules: list[tuple[Law, Rule]] = []
    while laws:
        found = {}
        for law, own in laws.items():
            later = [p for other, parameters in laws.items() if other != law for p in parameters]
            rule = _simplest(own, later, [p for p in one_each if p.law != law])
            if rule is not None:
                found[law] = rule
        # The rarest law comes first, so that the others can be said in general.
        law = min(found, key=lambda law: len(laws[law]))
        rules.append((law, found[law]))
        del laws[law]
    return _in_order(rules, one_each)


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
