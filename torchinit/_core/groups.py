"""Groups tensors whose names differ in numbers only, as the layers of a model do."""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import product


@dataclass(frozen=True)
class Group:
    """Tensors whose names differ in numbers only.

    Args:
        parts: the components of the names; a tuple holds the numbers that the component has, in ascending order
        members: where the tensors are in the list that was grouped, in its order
    """

    parts: tuple[str | tuple[int, ...], ...]
    members: tuple[int, ...]

    @property
    def name(self) -> str:
        """The names as one, such as ``layers.{0..31}.mlp.up_proj.weight``."""
        return ".".join(part if isinstance(part, str) else _braces(part) for part in self.parts)

    @property
    def layers(self) -> str:
        """The names up to the last component that differs, such as ``layers.{0..31}``; empty if nothing follows it."""
        last = max((i for i, part in enumerate(self.parts) if not isinstance(part, str) and len(part) > 1), default=-1)
        return Group(self.parts[: last + 1], ()).name if last + 1 < len(self.parts) else ""

    @property
    def glob(self) -> str:
        """A pattern that matches the names, and maybe others, such as ``layers.*.mlp.up_proj.weight``."""
        return ".".join(
            part if isinstance(part, str) else "*" if len(part) > 1 else str(part[0]) for part in self.parts
        )


def _is_number(component: str) -> bool:
    return component.isdecimal() and component.isascii() and str(int(component)) == component


def with_stars(name: str) -> str:
    """Return a name with a star for each component that is a number: a glob for the same tensor of all layers."""
    return ".".join("*" if _is_number(component) else component for component in name.split("."))


def _braces(numbers: Sequence[int]) -> str:
    """Write numbers as a shell's braces: ``{0..10,12}``, ``{1..31..2}``."""
    if len(numbers) == 1:
        return str(numbers[0])
    runs: list[str] = []
    first = 0
    while first < len(numbers):
        last = first + 1
        step = numbers[last] - numbers[first] if last < len(numbers) else 1
        while last < len(numbers) and numbers[last] - numbers[last - 1] == step:
            last += 1
        # Two numbers are shorter as they are, and so are three that leave others out.
        if last - first >= (3 if step == 1 else 4):
            runs.append(f"{numbers[first]}..{numbers[last - 1]}" + (f"..{step}" if step > 1 else ""))
            first = last
        else:
            runs.append(str(numbers[first]))
            first += 1
    return "{" + ",".join(runs) + "}"


def _boxes(points: Iterable[tuple[int, ...]]) -> list[tuple[tuple[int, ...], ...]]:
    """Cover points by few products of sets of numbers, each point once."""
    rests: dict[int, set[tuple[int, ...]]] = {}
    for point in points:
        if not point:
            return [()]
        rests.setdefault(point[0], set()).add(point[1:])
    firsts: dict[frozenset[tuple[int, ...]], list[int]] = {}
    for first, rest in sorted(rests.items()):
        firsts.setdefault(frozenset(rest), []).append(first)
    return [(tuple(numbers), *box) for rest, numbers in firsts.items() for box in _boxes(rest)]


def grouped(items: Sequence[tuple[str, Hashable]]) -> list[Group]:
    """Group names that differ in numbers only and have equal keys.

    Only whole components between dots count as numbers. Where the numbers are no product of sets, there are several
    groups. Groups are ordered by their first member.

    Args:
        items: names with what must be equal in a group
    """
    found: dict[Hashable, dict[tuple[int, ...], int]] = {}
    for index, (name, key) in enumerate(items):
        parts = name.split(".")
        form = tuple(None if _is_number(part) else part for part in parts)
        found.setdefault((form, key), {})[tuple(int(part) for part in parts if _is_number(part))] = index
    groups = []
    for points in found.values():
        parts = items[next(iter(points.values()))][0].split(".")
        for box in _boxes(points):
            numbers = iter(box)
            members = sorted(points[point] for point in product(*box))
            named = tuple(next(numbers) if _is_number(part) else part for part in parts)
            groups.append(Group(named, tuple(members)))
    return sorted(groups, key=lambda group: group.members[0])


def together(names: Iterable[str]) -> list[str]:
    """Name each once, those of repeated layers as one.

    >>> together(["h.0.weight", "h.1.weight", "head.weight"])
    ['h.{0,1}.weight', 'head.weight']
    """
    return [group.name for group in grouped([(name, None) for name in dict.fromkeys(names)])]
