"""A rule: which parameters, which initializer, which arguments; checked when it is made."""

import difflib
import inspect
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from types import UnionType
from typing import Any

import torch

from torchinit.recipes._fills import DRAWING, INITIALIZERS, SCALED, Value, small_shape

KEEP, DEFAULT = "keep", "default"
_DAMPED = (*SCALED, "uniform_", "normal_", "trunc_normal_", "orthogonal_")


class RecipeError(ValueError):
    """What is wrong with a recipe, or with a recipe for a model, in one line; ``key`` is the part of a rule at fault."""

    def __init__(self, message: str, key: str = "initializer") -> None:
        super().__init__(message)
        self.key = key


def _origin() -> str:
    """Where the caller, outside this package's recipes, wrote the rule."""
    frame = inspect.currentframe()
    # NB: a dataclass's __init__ is compiled from a string.
    while frame is not None and (
        frame.f_code.co_filename == "<string>" or frame.f_globals.get("__name__", "").startswith("torchinit.recipes")
    ):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame is not None else "recipe"


def suggest(word: str, known: Sequence[str]) -> str:
    """Say what would have been right: the likeliest, or all."""
    close = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {close[0]}?" if close else f"use one of {', '.join(known)}"


def arguments_of(initializer: str) -> dict[str, inspect.Parameter]:
    """What a rule may pass: all but the tensor and the generator."""
    if initializer == DEFAULT:
        return {"layer": inspect.Parameter("layer", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=str)}
    if initializer == KEEP:
        return {}
    parameters = inspect.signature(INITIALIZERS[initializer]).parameters
    return {name: p for name, p in parameters.items() if name not in ("tensor", "generator")}


def _types(annotation: Any) -> tuple[type, ...]:
    return typing.get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)


def _is_a(value: Any, types: tuple[type, ...]) -> bool:
    if isinstance(value, bool):
        return bool in types
    return isinstance(value, types) or (isinstance(value, int) and float in types)


@dataclass(frozen=True, repr=False)
class Rule:
    """Say how the parameters that it matches are initialized.

    All conditions that are given must hold; a condition that lists several choices holds if one of them does.

    Args:
        initializer: the name of an initializer of torchinit; ``"default"`` for what the layer of ``torch.nn`` draws
            when it is constructed; ``"keep"`` to leave the parameter as it is
        module: the name of the type of the module that owns the parameter, such as ``"Conv2d"``, or a glob. It is the
            very type, not a base class: a scripted module does not know its base classes
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
        residual: whether the standard deviation is divided by the root of the number of parameters that the rule
            matches in the model, the residual branches that they end
        optional: whether the rule may match nothing without a warning

    Raises:
        RecipeError: if the rule is wrong in itself, in one line: where, what, and what would be right

    Examples:
        >>> from torchinit.recipes import Rule
        >>> Rule("kaiming_normal_", module="Conv2d", name="*.weight", args={"mode": "fan_out"})
        Rule('kaiming_normal_', module='Conv2d', name='*.weight', args={'mode': 'fan_out'})
    """

    initializer: str
    module: str | Sequence[str] = ()
    name: str | Sequence[str] = ()
    ndim: int | Sequence[int] = ()
    args: Mapping[str, Value] = field(default_factory=dict)
    blocks: int | Sequence[int] = ()
    dim: int = 0
    fans: str = "layer"
    residual: bool = False
    optional: bool = False
    origin: str = field(default_factory=_origin, compare=False)

    def __post_init__(self) -> None:
        self._check_kinds()
        for name in ("module", "name", "ndim", "blocks"):
            value = getattr(self, name)
            object.__setattr__(self, name, (value,) if isinstance(value, (str, int)) else tuple(value))
        object.__setattr__(self, "args", dict(self.args))
        known = (*INITIALIZERS, DEFAULT, KEEP)
        if self.initializer not in known:
            raise self.error(f"unknown initializer {self.initializer!r}; {suggest(self.initializer, known)}")
        self._check_args()
        self._check_options()
        if self.initializer in INITIALIZERS:
            self._try_out()

    def error(self, message: str, key: str = "initializer") -> RecipeError:
        return RecipeError(f"{self.origin}: {message}", key)

    def _check_kinds(self) -> None:
        choices = {"module": str, "name": str, "ndim": int, "blocks": int}
        for name, kind in choices.items():
            value = getattr(self, name)
            single = isinstance(value, (str, int))
            several = [value] if single or not isinstance(value, Sequence) else value
            for one in several:
                if not _is_a(one, (kind,)) or one == "" or (kind is int and one < (1 if name == "blocks" else 0)):
                    what = "a name or a list of names" if kind is str else "a count or a list of counts"
                    raise self.error(f"{name} must be {what}, got {value!r}", name)
        for name, kind in {"initializer": str, "dim": int, "fans": str, "residual": bool, "optional": bool}.items():
            if not _is_a(getattr(self, name), (kind,)):
                raise self.error(f"{name} must be a {kind.__name__}, got {getattr(self, name)!r}", name)
        if not isinstance(self.args, Mapping):
            raise self.error(f"args must be a table of arguments by name, got {self.args!r}", "args")

    def _check_args(self) -> None:
        takes = arguments_of(self.initializer)
        for name, value in self.args.items():
            if name not in takes:
                right = suggest(name, list(takes)) if takes else "it takes none"
                raise self.error(f"{self.initializer} takes no argument {name!r}; {right}", "args")
            types = _types(takes[name].annotation)
            if not _is_a(value, types):
                wanted = " or ".join(t.__name__ for t in types if t is not type(None))
                raise self.error(f"{name} of {self.initializer} must be a {wanted}, got {value!r}", "args")
            if float in types and type(value) is int:
                self.args[name] = float(value)  # type: ignore[index]
        for name, parameter in takes.items():
            if parameter.default is inspect.Parameter.empty and name not in self.args:
                raise self.error(
                    f"{self.initializer} needs the argument {name}, got {dict(self.args) or 'none'}", "args"
                )

    def _check_options(self) -> None:
        if self.fans not in ("layer", "upstream"):
            raise self.error(f"fans must be 'layer' or 'upstream', got {self.fans!r}", "fans")
        if self.residual and self.initializer not in _DAMPED:
            raise self.error(f"residual needs an initializer with a scale, got {self.initializer}", "residual")
        if self.blocks and self.initializer not in INITIALIZERS:
            raise self.error(f"blocks need an initializer of their own, got {self.initializer}", "blocks")

    def _try_out(self) -> None:
        """Call the initializer on a small tensor of each allowed number of dimensions, for what it itself refuses."""
        groups = self.args.get("groups", 1)
        natural = (3,) if self.initializer == "dirac_" else (2,)
        for ndim in self.ndim or natural:  # type: ignore[union-attr]
            tensor = torch.empty(small_shape(self.initializer, ndim, int(groups)), device="cpu")
            drawing = self.initializer in (*DRAWING, *SCALED)
            own = {"generator": torch.Generator("cpu")} if drawing else {}
            try:
                INITIALIZERS[self.initializer](tensor, **self.args, **own)
            except (RuntimeError, ValueError, NotImplementedError) as error:
                reason = str(error).splitlines()[0]
                if self.ndim and "dimensions" in reason:
                    raise self.error(f"the rule can never match with ndim {ndim}: {reason}", "ndim") from None
                raise self.error(f"{self.initializer}: {reason}", "args") from None

    def matches(self, kind: str, name: str, ndim: int) -> bool:
        return (
            (not self.module or any(fnmatchcase(kind, pattern) for pattern in self.module))
            and (not self.name or self.matches_name(name))
            and (not self.ndim or ndim in self.ndim)  # type: ignore[operator]
        )

    def matches_name(self, name: str) -> bool:
        return any(fnmatchcase(name, str(p)) or fnmatchcase(f".{name}", str(p)) for p in self.name)

    def shadows(self, other: "Rule") -> bool:
        """Whether nothing is left for ``other`` if it comes later."""
        # A default is drawn only where the layer has one.
        return (
            self.initializer != DEFAULT
            and _covers(self.module, other.module)
            and _covers(self.name, other.name)
            and (not self.ndim or (bool(other.ndim) and set(other.ndim) <= set(self.ndim)))  # type: ignore[arg-type]
        )

    def given(self) -> dict[str, Any]:
        """What was said, without what is left at its default; one choice stands alone."""
        found: dict[str, Any] = {}
        for spec in fields(self):
            value = getattr(self, spec.name)
            default = {} if spec.name == "args" else spec.default
            if spec.compare and value != default:
                found[spec.name] = (value[0] if len(value) == 1 else list(value)) if isinstance(value, tuple) else value
        return found

    def __repr__(self) -> str:
        given = self.given()
        rest = "".join(f", {name}={value!r}" for name, value in given.items() if name != "initializer")
        return f"Rule({given['initializer']!r}{rest})"

    def conditions(self) -> str:
        """The conditions in short, for a table."""
        parts = ["|".join(map(str, values)) for values in (self.module, self.name)]
        if self.ndim:
            parts.append("ndim " + "|".join(map(str, self.ndim)))  # type: ignore[arg-type]
        return " ".join(part for part in parts if part) or "any"


def _covers(wide: Any, narrow: Any) -> bool:
    """Whether every name that the patterns of ``narrow`` match is matched by one of ``wide``."""

    def covers(pattern: str, text: str) -> bool:
        # A star in the text stands under a star of the pattern, so whatever it stands for matches too.
        simple = not set(pattern) & set("?[") or not set(text) & set("*?[")
        return pattern == text or (simple and fnmatchcase(text, pattern))

    return not wide or (bool(narrow) and all(any(covers(pattern, text) for pattern in wide) for text in narrow))
