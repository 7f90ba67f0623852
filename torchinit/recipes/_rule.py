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

from torchinit.recipes._defaults import KINDS
from torchinit.recipes._fills import DRAWING, INITIALIZERS, NATURAL, SCALED, Value, small

KEEP, DEFAULT = "keep", "default"
_DAMPED = (
    *(*SCALED, "uniform_", "normal_", "trunc_normal_", "trunc_normal_tf_"),
    *("orthogonal_", "block_orthogonal_", "delta_orthogonal_"),
)


class RecipeError(ValueError):
    """What is wrong with a recipe, or with a recipe for a model, in one line; ``key`` is the part of a rule at fault."""

    def __init__(self, message: str, key: str = "initializer") -> None:
        super().__init__(message)
        self.key = key


def _origin() -> str:
    """Where the caller, outside this package's recipes, wrote the rule."""
    frame = inspect.currentframe()
    # NB: a dataclass's __init__ is compiled from a string, in its module's namespace.
    while frame is not None and frame.f_globals.get("__name__", "").startswith("torchinit.recipes"):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame is not None else "recipe"


def suggest(word: str, known: Sequence[str]) -> str:
    """Say what would have been right: the likeliest, or all."""
    close = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {close[0]}?" if close else f"use one of {', '.join(known)}"


def _a(kind: str) -> str:
    return f"an {kind}" if kind == "int" else f"a {kind}"


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
        residual: whether the standard deviation (of ``trunc_normal_`` before it is truncated) is divided by the root of
            the number of parameters that the rule matches in the model, the residual branches that they end
        optional: whether the rule may match nothing without a warning

    Raises:
        RecipeError: if the rule is wrong in itself, in one line: where, what, and what would be right

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
    origin: str = field(default_factory=_origin, compare=False)

    def __post_init__(self) -> None:
        self._check_kinds()
        for name in ("module", "name", "ndim", "blocks"):
            value = getattr(self, name)
            # A count of blocks is not a list of one size.
            single = isinstance(value, str) or (isinstance(value, int) and name == "ndim")
            normal = (value,) if single else tuple(value) if isinstance(value, Sequence) else value
            object.__setattr__(self, name, normal)
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
        for name, kind in {"module": str, "name": str, "ndim": int, "blocks": int}.items():
            value = getattr(self, name)
            several = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
            least, most = (1, 2**63 - 1) if name == "blocks" else (0, 64)
            good = [_is_a(one, (kind,)) and one != "" and (kind is str or least <= one <= most) for one in several]
            if value is not None and not (good and all(good)):
                what = "a name or a list of names" if kind is str else f"a count from {least} or a list of counts"
                raise self.error(f"{name} must be {what}, got {value!r}", name)
        for name, kind in {"initializer": str, "dim": int, "fans": str, "residual": bool, "optional": bool}.items():
            if not _is_a(getattr(self, name), (kind,)):
                raise self.error(f"{name} must be {_a(kind.__name__)}, got {getattr(self, name)!r}", name)
        if not isinstance(self.args, Mapping) or not all(isinstance(name, str) for name in self.args):
            raise self.error(f"args must be a table of arguments by name, got {self.args!r}", "args")

    def _check_args(self) -> None:
        takes = arguments_of(self.initializer)
        for name, value in self.args.items():
            if name not in takes:
                right = suggest(name, list(takes)) if takes else "it takes none"
                raise self.error(f"{self.initializer} takes no argument {name!r}; {right}", "args")
            types = _types(takes[name].annotation)
            if not _is_a(value, types):
                raise self.error(f"{name} of {self.initializer} must be {_a(types[0].__name__)}, got {value!r}", "args")
            try:
                # A number of numpy's becomes one that can be spelled everywhere.
                self.args[name] = value if isinstance(value, str) else types[0](value)  # type: ignore[index]
            except OverflowError:
                raise self.error(
                    f"{name} of {self.initializer} must be finite, got an int of many digits", "args"
                ) from None
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
        if self.residual and self.initializer == "uniform_" and self.args.get("a", 0.0) != -self.args.get("b", 1.0):  # type: ignore[operator]
            raise self.error(f"residual needs bounds around 0, got {dict(self.args) or 'the default ones'}", "residual")
        if self.blocks is not None and self.initializer not in INITIALIZERS:
            raise self.error(f"blocks need an initializer of their own, got {self.initializer}", "blocks")
        layer = str(self.args.get("layer", KINDS[0]))
        if layer not in KINDS:
            raise self.error(f"layer must be one of torch's, got {layer!r}; {suggest(layer, KINDS)}", "args")

    def _try_out(self) -> None:
        """Call the initializer on a small tensor of each allowed number of dimensions, for what it itself refuses."""
        natural = (NATURAL.get(self.initializer, 2),)
        drawing = self.initializer in (*DRAWING, *SCALED, "trunc_normal_tf_")
        own = {"generator": torch.Generator("cpu")} if drawing else {}
        for ndim in self.ndim or natural:  # type: ignore[union-attr]
            try:
                tensor = small(self.initializer, self.args, ndim, torch.float32, torch.device("cpu"))
                INITIALIZERS[self.initializer](tensor, **self.args, **own)
            except (RuntimeError, ValueError, TypeError, OverflowError) as error:
                reason = str(error).splitlines()[0]
                if "dimension" in reason:
                    raise self.error(f"the rule can never match with ndim {ndim}: {reason}", "ndim") from None
                raise self.error(f"{self.initializer}: {reason}", "args") from None

    def matches(self, kind: str, name: str, ndim: int) -> bool:
        return (
            (not self.module or any(fnmatchcase(kind, pattern) for pattern in self.module))
            and (not self.name or any(fnmatchcase(name, p) or fnmatchcase(f".{name}", p) for p in self.name))
            and (not self.ndim or ndim in self.ndim)  # type: ignore[operator]
        )

    def shadows(self, other: "Rule") -> bool:
        """Whether nothing is left for ``other`` if it comes later."""
        # A default is drawn only where the layer has one.
        alike = self.initializer != DEFAULT or (other.initializer == DEFAULT and self.args == other.args)
        return (
            alike
            and _covers(self.module, other.module)
            and _covers(self.name, other.name)
            and (not self.ndim or (bool(other.ndim) and set(other.ndim) <= set(self.ndim)))  # type: ignore[arg-type]
        )

    def given(self) -> dict[str, Any]:
        """What was said, without what is left at its default; one choice stands alone."""
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
        """The conditions in short, for a table."""
        parts = ["|".join(names) for names in (self.module, self.name) if names]
        if self.ndim:
            parts.append("ndim " + "|".join(map(str, self.ndim)))  # type: ignore[arg-type]
        return " ".join(parts) or "any"


def _covers(wide: Any, narrow: Any) -> bool:
    """Whether every name that the patterns of ``narrow`` match is matched by one of ``wide``."""

    def covers(pattern: str, text: str) -> bool:
        # A star in the text stands under a star of the pattern, so whatever it stands for matches too.
        simple = not set(text) & set("[") and (not set(pattern) & set("?[") or not set(text) & set("*?"))
        return pattern == text or (simple and (fnmatchcase(text, pattern) or fnmatchcase(f".{text}", pattern)))

    if not wide or "*" in wide:
        return True
    return bool(narrow) and all(any(covers(pattern, text) for pattern in wide) for text in narrow)
