"""A rule: which parameters, which initializer, which arguments; checked when it is made."""

import difflib
import inspect
import sys
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from types import UnionType
from typing import Any

import torch

from torchinit._core.messages import outside_level
from torchinit._core.registry import INITIALIZERS
from torchinit.recipes._defaults import KINDS
from torchinit.recipes._fill import ARGUMENTS, FUNCTIONS, Value, minimal_tensor

KEEP, DEFAULT = "keep", "default"


class RecipeError(ValueError):
    """A mistake in a recipe, or a recipe that does not fit a model; the message is one line that says where."""


def suggest(word: str, known: Sequence[str]) -> str:
    """Say what would have been right: the likeliest, or all."""
    close = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {close[0]}?" if close else f"use one of {', '.join(known)}"


def arguments_of(initializer: str) -> dict[str, inspect.Parameter]:
    """Return the arguments that a rule may pass: all but the tensor and the generator."""
    if initializer == DEFAULT:
        return {"layer": inspect.Parameter("layer", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=str)}
    return {} if initializer == KEEP else ARGUMENTS[initializer]


@dataclass(frozen=True, repr=False)
class Rule:
    """Say how the parameters that it matches are initialized.

    All conditions that are given must hold; a condition that lists several choices holds if one of them does.

    Args:
        initializer: the name of an initializer of torchinit; ``"default"`` for what the layer of ``torch.nn`` draws
            when it is constructed; ``"keep"`` to leave the parameter as it is
        module: the name of the type of the module that owns the parameter, such as ``"Conv2d"``, or a glob. It is the
            type itself, not a base class: a scripted module does not know its base classes
        name: a glob on the parameter's qualified name; ``*`` stands for dots too, and ``*.bias`` is also the ``bias``
            of the model itself
        ndim: number of dimensions
        args: arguments of the initializer by name; for ``"default"``, ``layer`` names the type of ``torch.nn`` whose
            default is meant, where the module has a type of its own
        blocks: number of equal blocks, or their sizes, of a packed parameter; each is initialized by itself, with its
            own fans
        dim: the dimension along which the blocks lie
        fans: ``"layer"`` to swap the fans of a transposed convolution and divide the outer fan of a grouped one;
            ``"upstream"`` to count as ``torch.nn.init`` does, from the shape alone
        residual: whether to divide the standard deviation (that of ``trunc_normal_`` before it is truncated) by the
            root of the number of parameters that the rule matches in the model: the residual branches that they end
        optional: whether the rule may match nothing without a warning

    Raises:
        RecipeError: if the rule is wrong; the message is one line that says where, what, and what would be right

    Examples:
        >>> from torchinit.recipes import Rule
        >>> Rule("kaiming_normal_", module="Conv2d", name="*.weight", args={"mode": "fan_out"})
        Rule('kaiming_normal_', module='Conv2d', name='*.weight', args={'mode': 'fan_out'})
    """

    initializer: str
    module: str | Sequence[str] | None = None
    name: str | Sequence[str] | None = None
    ndim: int | Sequence[int] | None = None
    args: Mapping[str, Value] = field(default_factory=dict)
    blocks: int | Sequence[int] | None = None
    dim: int = 0
    fans: str = "layer"
    residual: bool = False
    optional: bool = False
    origin: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        origin = self.origin or _callers_line()
        try:
            settled = _settled(vars(self))
        except RecipeError as error:
            raise RecipeError(f"{origin}: {error}") from None
        vars(self).update(settled, origin=origin)

    def error(self, message: str) -> RecipeError:
        return RecipeError(f"{self.origin}: {message}")

    def matches(self, kind: str, name: str, ndim: int) -> bool:
        return (
            (not self.module or any(fnmatchcase(kind, pattern) for pattern in self.module))
            and (not self.name or any(fnmatchcase(name, p) or fnmatchcase(f".{name}", p) for p in self.name))
            and (not self.ndim or ndim in self.ndim)  # type: ignore[operator]
        )

    def shadows(self, other: "Rule") -> bool:
        """Return whether ``other`` can match nothing when it comes later."""
        # A default applies only where the layer has one.
        alike = self.initializer != DEFAULT or (other.initializer == DEFAULT and self.args == other.args)
        return (
            alike
            and _covers(self.module, other.module)
            and _covers(self.name, other.name)
            and (not self.ndim or (bool(other.ndim) and set(other.ndim) <= set(self.ndim)))  # type: ignore[arg-type]
        )

    def given(self) -> dict[str, Any]:
        """Return the fields that differ from their defaults; a single choice stands alone."""
        found: dict[str, Any] = {}
        for spec in fields(self):
            value = getattr(self, spec.name)
            if spec.compare and value != ({} if spec.name == "args" else spec.default):
                alone = isinstance(value, tuple) and len(value) == 1 and spec.name != "blocks"
                found[spec.name] = value[0] if alone else list(value) if isinstance(value, tuple) else value
        return found

    def __hash__(self) -> int:
        return hash((self.initializer, self.module, self.name, self.ndim, frozenset(self.args.items()), self.blocks))

    def __repr__(self) -> str:
        given = self.given()
        rest = "".join(f", {name}={value!r}" for name, value in given.items() if name != "initializer")
        return f"Rule({given['initializer']!r}{rest})"

    def conditions(self) -> str:
        """Return the conditions in short, for a table."""
        parts = ["|".join(names) for names in (self.module, self.name) if names]
        if self.ndim:
            parts.append("ndim " + "|".join(map(str, self.ndim)))  # type: ignore[arg-type]
        return " ".join(parts) or "any"


def _callers_line() -> str:
    """Return file and line of the innermost frame outside torchinit."""
    frame = sys._getframe(outside_level() - 1)
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _settled(given: Mapping[str, Any]) -> dict[str, Any]:
    """Check the fields of a rule and normalize them: tuples for lists, Python's numbers for numpy's."""
    _check_kinds(given)
    initializer, known = given["initializer"], (*INITIALIZERS, DEFAULT, KEEP)
    if initializer not in known:
        raise RecipeError(f"unknown initializer {initializer!r}; {suggest(initializer, known)}")
    settled = {**given, "args": _settled_args(initializer, given["args"])}
    for name in ("module", "name", "ndim", "blocks"):
        value = given[name]
        # A count of blocks is not a list of one size.
        single = isinstance(value, str) or (isinstance(value, int) and name == "ndim")
        settled[name] = (value,) if single else tuple(value) if isinstance(value, Sequence) else value
    _check_options(settled)
    if initializer in INITIALIZERS:
        _validate(initializer, settled["args"], settled["ndim"] or (INITIALIZERS[initializer].ndim,))
    return settled


def _a(kind: str) -> str:
    return f"an {kind}" if kind == "int" else f"a {kind}"


def _is_a(value: Any, types: tuple[type, ...]) -> bool:
    if isinstance(value, bool):
        return bool in types
    return isinstance(value, types) or (isinstance(value, int) and float in types)


def _check_kinds(given: Mapping[str, Any]) -> None:
    for name, kind in {"module": str, "name": str, "ndim": int, "blocks": int}.items():
        value = given[name]
        several = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
        least, most = (1, 2**63 - 1) if name == "blocks" else (0, 64)
        good = [_is_a(one, (kind,)) and one != "" and (kind is str or least <= one <= most) for one in several]
        if value is not None and not (good and all(good)):
            what = "a name or a list of names" if kind is str else f"a count from {least} or a list of counts"
            raise RecipeError(f"{name} must be {what}, got {value!r}")
    for name, kind in {"initializer": str, "dim": int, "fans": str, "residual": bool, "optional": bool}.items():
        if not _is_a(given[name], (kind,)):
            raise RecipeError(f"{name} must be {_a(kind.__name__)}, got {given[name]!r}")
    args = given["args"]
    if not isinstance(args, Mapping) or not all(isinstance(name, str) for name in args):
        raise RecipeError(f"args must be a table of arguments by name, got {args!r}")


def _settled_args(initializer: str, args: Mapping[str, Any]) -> dict[str, Value]:
    settled: dict[str, Value] = {}
    takes = arguments_of(initializer)
    for name, value in args.items():
        if name not in takes:
            right = suggest(name, list(takes)) if takes else "it takes none"
            raise RecipeError(f"{initializer} takes no argument {name!r}; {right}")
        annotation = takes[name].annotation
        types = typing.get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)
        if not _is_a(value, types):
            raise RecipeError(f"{name} of {initializer} must be {_a(types[0].__name__)}, got {value!r}")
        try:
            settled[name] = value if isinstance(value, str) else types[0](value)
        except OverflowError:
            raise RecipeError(f"{name} of {initializer} must be finite, got an int of many digits") from None
    for name, parameter in takes.items():
        if parameter.default is inspect.Parameter.empty and name not in args:
            raise RecipeError(f"{initializer} needs the argument {name}, got {settled or 'none'}")
    return settled


def _check_options(given: Mapping[str, Any]) -> None:
    initializer, args = given["initializer"], given["args"]
    if given["fans"] not in ("layer", "upstream"):
        raise RecipeError(f"fans must be 'layer' or 'upstream', got {given['fans']!r}")
    if given["residual"] and not (initializer in INITIALIZERS and INITIALIZERS[initializer].has_scale):
        raise RecipeError(f"residual needs an initializer with a scale, got {initializer}")
    if given["residual"] and initializer == "uniform_" and args.get("a", 0.0) != -args.get("b", 1.0):
        raise RecipeError(f"residual needs bounds around 0, got {args or 'the default ones'}")
    if given["blocks"] is not None and initializer not in INITIALIZERS:
        raise RecipeError(f"blocks need an initializer of their own, got {initializer}")
    layer = str(args.get("layer", KINDS[0]))
    if layer not in KINDS:
        raise RecipeError(f"layer must be one of torch's, got {layer!r}; {suggest(layer, KINDS)}")


def _validate(initializer: str, args: Mapping[str, Value], ndims: Sequence[int]) -> None:
    """Call the initializer on a minimal tensor of each number of dimensions, to learn what it refuses."""
    own = {"generator": torch.Generator("cpu")} if INITIALIZERS[initializer].draws else {}
    for ndim in ndims:
        try:
            tensor = minimal_tensor(initializer, args, ndim, torch.float32, torch.device("cpu"))
            FUNCTIONS[initializer](tensor, **args, **own)
        except (RuntimeError, ValueError, TypeError, OverflowError) as error:
            reason = str(error).splitlines()[0]
            if "dimension" in reason:
                raise RecipeError(f"the rule can never match with ndim {ndim}: {reason}") from None
            raise RecipeError(f"{initializer}: {reason}") from None


def _covers(wide: Any, narrow: Any) -> bool:
    """Return whether the patterns of ``wide`` match every name that those of ``narrow`` match."""

    def covers(pattern: str, text: str) -> bool:
        # A star in the text stands under a star of the pattern, so whatever it stands for matches too.
        simple = not set(text) & set("[") and (not set(pattern) & set("?[") or not set(text) & set("*?"))
        return pattern == text or (simple and (fnmatchcase(text, pattern) or fnmatchcase(f".{text}", pattern)))

    if not wide or "*" in wide:
        return True
    return bool(narrow) and all(any(covers(pattern, text) for pattern in wide) for text in narrow)
