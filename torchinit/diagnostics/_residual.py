"""Residual streams: the sums of what a branch takes and what it gives."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import takewhile

import torch
from torch import Tensor

from torchinit.diagnostics._calls import RESIDUAL, CalledLayer, LayerCall, Sum
from torchinit.diagnostics._flow import Flow


def _is_whole(tensor: Tensor) -> bool:
    """True if a tensor is all of its storage; a part, such as one step of a sequence, is no stream."""
    return tensor.nbytes == tensor.untyped_storage().nbytes()


def find_sum(flow: Flow, terms: Sequence[tuple[Tensor, int]], shape: torch.Size, position: int) -> Sum | None:
    """Return a sum of two values if one is computed from the other by layers, or both are from a third.

    Args:
        flow: the values
        terms: both, with their numbers
        shape: shape of the sum
        position: number of calls of layers before it
    """
    fits = [term.shape == shape and _is_whole(term) for term, _ in terms]
    (_, first), (_, second) = terms
    # The later value is no stream if a layer makes it. NB: settles without a search what loops add at each step.
    may_skip = [
        fit and not (own > other and own in flow.calls)
        for fit, own, other in zip(fits, (first, second), (second, first), strict=True)
    ]
    meeting = flow.meeting(first, second) if all(fits) or any(may_skip) else None
    if meeting is None:
        return None
    calls = [tuple(dict.fromkeys(flow.calls[v] for v in sorted(s) if v in flow.calls)) for s in meeting.sides]
    layers = [{call.layer for call in side} for side in calls]
    inside = frozenset().union(*meeting.sides)
    found = Sum(CalledLayer("", RESIDUAL, []), 1, source=meeting.source, inside=inside, position=position)
    before = flow.calls.get(meeting.source)
    for skip, branch in ((0, 1), (1, 0)):
        # A recurrent layer adds its own products.
        alone = before is not None and layers[branch] <= {before.layer}
        if not layers[skip] and meeting.plain[skip] and may_skip[skip] and layers[branch] and not alone:
            found.calls = calls[branch]
            return found
    if all(layers) and all(fits):
        found.calls, found.projected = calls[0] + calls[1], True
        return found
    return None


def _leads_to(flow: Flow, start: int, ends: set[int]) -> bool:
    """True if a value is one of ``ends``, or computed from one by an activation, pooling or the like."""
    value: int | None = start
    while value is not None and value not in ends:
        value = flow.plain_source(value)
    return value is not None


def _kept(sums: Sequence[Sum], flow: Flow) -> list[Sum]:
    """Keep sums with a skip connection, and projected ones that such a stream goes through.

    The sum of two branches inside another branch, and that of a layer and its LoRA, is no stream.
    """
    kept = [each for each in sums if not each.projected]
    rest = [s for s in sums if s.projected and not any(s.value in each.inside for each in kept)]
    for ordered in (rest, rest[::-1]):
        for each in ordered:
            before = _leads_to(flow, each.source, {s.value for s in kept})
            after = any(_leads_to(flow, s.source, {each.value}) for s in kept)
            if each not in kept and (before or after):
                kept.append(each)
    return sorted(kept, key=lambda each: each.value)


def _paths(calls: Sequence[LayerCall]) -> list[list[str]]:
    """Split the names of the layers of a branch, without norms and scales where others are."""
    matrices = [c.layer.path for c in calls if any(p.dim() >= 2 for _, p in c.layer.parameters)]
    return [path.split(".") for path in matrices or [c.layer.path for c in calls]]


def _common_start(paths: Sequence[Sequence[str]]) -> list[str]:
    return [parts[0] for parts in takewhile(lambda parts: len(set(parts)) == 1, zip(*paths, strict=False))]


def _names(sums: Sequence[Sum]) -> list[str]:
    """Name each sum after the module that holds its branch, or the branch's last layer if that module holds others."""
    paths = [_paths(each.calls) for each in sums]
    common = [".".join(_common_start(each)) for each in paths]
    last = [".".join(each[-1]) for each in paths]
    shared = Counter(name for name, _ in set(zip(common, last, strict=True)))
    return [c if c and shared[c] == 1 else e for c, e in zip(common, last, strict=True)]


def streams(sums: Sequence[Sum], flow: Flow) -> list[Sum]:
    """Choose the sums of residual streams, name them, and tell the calls in a branch its name."""
    kept, seen = _kept(sums, flow), Counter[str]()
    for each, name in zip(kept, _names(kept), strict=True):
        seen[name] += 1
        each.layer.path, each.number = name, seen[name]
        if not any(other.value in each.inside for other in kept):
            for call in each.calls:
                call.branch = name or "(root)"
    return kept


def merged(calls: Sequence[LayerCall], sums: Sequence[Sum]) -> Iterator[LayerCall]:
    """Yield calls and sums in the order of execution."""
    rest = list(sums)
    for index, call in enumerate(calls):
        while rest and rest[0].position == index:
            yield rest.pop(0)
        yield call
    yield from rest
