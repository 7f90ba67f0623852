"""A rule: which parameters, which initializer, which arguments; checked on construction."""

import copy
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any

import torch

from torchinit._core.messages import outside_level
from torchinit._core.registry import INITIALIZERS
from torchinit.recipes._arguments import DEFAULT, KEEP, an, computed, expressions_of, is_a, normalized_args
from torchinit.recipes._errors import RecipeError, suggest
from torchinit.recipes._expression import NAMES, Expression, check_names, told_of
from torchinit.recipes._fill import Fans, Value, rehearse
from torchinit.recipes._globs import check_glob, layer_number, matches_any, matches_name, not_last
from torchinit.recipes._roles import ROLES
from torchinit.recipes._structure import KINDS

__all__ = ["DEFAULT", "KEEP", "RecipeError", "Rule", "callers_line", "suggest"]

# The roles of parameters; "" is for a parameter without one.
_OF_PARAMETERS = ("", *ROLES)

# How many choices a table shows.
_SHOWN = 4


@dataclass(frozen=True, repr=False)
class Rule:
    """Say how to initialize the parameters that it matches.

    All given conditions must hold. A condition with several choices holds if one of them does.

    Args:
        initializer: the name of an initializer of torchinit; ``"default"`` for what the layer of ``torch.nn`` draws
            when it is constructed; ``"keep"`` to leave the parameter as it is
        module: type name of the module that owns the parameter, such as ``"Conv2d"``, or a glob; also the layer of
            ``torch.nn`` that the type inherits from
        name: a glob on the parameter's qualified name; ``*`` matches dots too, and ``*.bias`` also matches the model's
            own ``bias``. ``{layer}`` matches a whole number, for expressions; ``{last}`` matches the largest of the
            numbers in its place
        ndim: number of dimensions
        role: what the parameter is in its layer: ``"weight"``, ``"bias"`` (only beside a weight), ``"norm"`` for the
            parameters of a normalization, ``"embedding"``; a rule with ``"buffer"`` is for buffers, as no other is but
            ``"keep"`` with a name
        args: arguments of the initializer by name; for ``"default"`` on a class of your own, ``layer`` names the type
            of ``torch.nn`` whose default it draws. In place of a number stands also an expression, a string such as
            ``"0.02 / sqrt(2 * (layer + 1))"``: numbers, ``+ - * / **``, parentheses, ``sqrt``, ``log`` (the natural
            one), ``exp``, ``min``, ``max``, the ``fan_in``, ``fan_out`` and ``size[i]`` of the parameter (or the block),
            the number ``layer`` that ``{layer}`` matched in ``name`` (the first block of most models is 0), the count
            ``layers`` of different numbers that it matches in the model, and the constants of the recipe
        blocks: number of equal blocks, or their sizes, of a packed parameter; each is initialized separately, with
            its own fans
        dim: the dimension of the parameter along which the blocks lie
        repeat: whether the sizes of ``blocks`` repeat until they fill the dimension, as in the rows of a fused QKV that
            alternate between heads: all pieces of one size together are one block
        batch_dims: number of leading dimensions that number the matrices of a stack, such as a layer's experts; each
            matrix is initialized separately, with its own fans
        transposed: whether each matrix is stored as (in, out), for ``x @ weight``, instead of (out, in)
        fans: ``"layer"`` to swap the fans of a transposed convolution and divide the outer fan of a grouped one;
            ``"upstream"`` to count as ``torch.nn.init`` does, from the shape of each matrix alone. A weight of three
            dimensions or more is a convolution's only in a layer that looks like one; anywhere else fans must be
            ``"upstream"``, or ``batch_dims`` given
        residual: whether to divide the standard deviation (that of ``trunc_normal_`` before it is truncated) by the
            root of the number of parameters that the rule matches in the model, one for each residual branch
        optional: whether the rule may match nothing without a warning

    Raises:
        RecipeError: if the rule is wrong; the message is one line that says where, what, and what would be right

    Examples:
        >>> from torchinit.recipes import Rule
        >>> Rule("kaiming_normal_", module="Conv2d", name="*.weight", args={"mode": "fan_out"})
        Rule('kaiming_normal_', module='Conv2d', name='*.weight', args={'mode': 'fan_out'})

        Experts of shape (experts, out, in), whose rows are those of a gate and then those of a projection:

        >>> from torchinit.recipes import Recipe
        >>> experts = torch.nn.ParameterDict({"gate_up": torch.empty(4, 256, 32)})
        >>> rule = Rule("xavier_normal_", batch_dims=1, blocks=2, dim=1)
        >>> [(row.initializer, round(row.std, 4)) for row in Recipe([rule]).plan(experts).rows]
        [('xavier_normal_ x2 x4 stacked', 0.1118)]
    """

    initializer: str
    module: str | Sequence[str] | None = None
    name: str | Sequence[str] | None = None
    ndim: int | Sequence[int] | None = None
    role: str | Sequence[str] | None = None
    args: Mapping[str, Value] = field(default_factory=dict)
    blocks: int | Sequence[int] | None = None
    dim: int = 0
    repeat: bool = field(default=False, kw_only=True)
    batch_dims: int = field(default=0, kw_only=True)
    transposed: bool = field(default=False, kw_only=True)
    fans: str = "layer"
    residual: bool = False
    optional: bool = False
    origin: str = field(default="", compare=False)
    # Given by the recipe and the model to expressions and globs; see bound() and in_model().
    expressions: Mapping[str, Expression] = field(init=False, default_factory=dict, compare=False)
    constants: Mapping[str, float] = field(init=False, default_factory=dict, compare=False)
    known: Mapping[str, Value] | None = field(init=False, default=None, compare=False)
    numbers: Mapping[str, int] = field(init=False, default_factory=dict, compare=False)
    layers: int = field(init=False, default=0, compare=False)
    skipped: frozenset[str] = field(init=False, default=frozenset(), compare=False)

    def __post_init__(self) -> None:
        vars(self).update(origin=self.origin or callers_line())
        with told_of(f"{self.origin}:"):
            vars(self).update(_normalized(vars(self)))
            vars(self).update(known=self._known())

    def bound(self, constants: Mapping[str, float]) -> "Rule":
        """Return the rule with the constants of its recipe, checked as far as these make its arguments known.

        A rule of another recipe keeps that one's numbers for the constants that are missing here.
        """
        if not self.expressions:
            return self
        missing = {name: number for name, number in self.constants.items() if name not in constants}
        if any(one.names & missing.keys() for one in self.expressions.values()):
            texts = {name: one.with_numbers(missing) for name, one in self.expressions.items()}
            return replace(self, args={**self.args, **(self.known or texts)}).bound(constants)
        rule = copy.copy(self)
        vars(rule).update(constants=constants)
        with told_of(f"{self.origin}:"):
            for name, one in self.expressions.items():
                with told_of(f"{name} of {self.initializer}"):
                    check_names(one.names, [*NAMES, *constants], one.text)
            vars(rule).update(known=rule._known())
        return rule

    def in_model(self, parameters: Sequence[tuple[Sequence[str], Sequence[str], int, str]]) -> "Rule":
        """Return the rule with what its globs match in a model, given what :meth:`matches` takes for all parameters."""
        globs: Any = self.name
        if not self.counts:
            return self
        matched = [facts[1] for facts in parameters if self.matches(*facts)]
        skipped = not_last(globs, [name for names in matched for name in names])
        numbers: dict[str, int] = {}
        for names in matched:
            found = [layer_number(globs, name) for name in names if name not in skipped]
            numbers.update((names[0], number) for number in found if number is not None)
        rule = copy.copy(self)
        vars(rule).update(numbers=numbers, layers=len(set(numbers.values())), skipped=skipped)
        return rule

    @property
    def asks_for_fans(self) -> bool:
        """True if an expression has the fans in it."""
        return any(one.names & {"fan_in", "fan_out"} for one in self.expressions.values())

    @property
    def counts(self) -> bool:
        """True if a glob has ``{layer}`` or ``{last}``."""
        return any("{" in glob for glob in self.name or ())

    def values(self, name: str, shape: Sequence[int], fans: Fans | None) -> Mapping[str, Value]:
        """Return the arguments for a parameter, or a block of it, with its expressions computed."""
        if self.known is not None:
            return self.known
        known: dict[str, Any] = {**self.constants, "size": shape}
        if fans is not None:
            known.update(fan_in=fans[0], fan_out=fans[1])
        if name in self.numbers:
            known.update(layer=self.numbers[name], layers=self.layers)
        try:
            return self._computed(known)
        except RecipeError as error:
            raise self.error(f"{error}, for {name} of shape {list(shape)}") from None

    def _known(self) -> Mapping[str, Value] | None:
        """Compute the arguments if they depend on no parameter; else return None."""
        depends = any(not one.names <= self.constants.keys() for one in self.expressions.values())
        return None if depends else self._computed(self.constants)

    def _computed(self, known: Mapping[str, Any]) -> Mapping[str, Value]:
        """Compute the arguments with their expressions, and check them."""
        values = computed(self.initializer, self.args, self.expressions, known)
        _check_numbers(self.initializer, tuple(values.items()), self.residual, self.ndim, self.batch_dims)
        return values

    def place(self, number: int) -> str:
        """Say where the rule is, and which one of its recipe; the origin of a rule of a file says both."""
        return self.origin if re.search(r": rule \d", self.origin) else f"{self.origin}: rule {number}"

    def error(self, message: str) -> RecipeError:
        return RecipeError(f"{self.origin}: {message}")

    def matches(self, kinds: Sequence[str], names: Sequence[str], ndim: int, role: str = "") -> bool:
        """True if the rule matches a tensor of a layer, given the names of its types and the tensor's names."""
        return (
            role in self._roles
            and (not self.ndim or ndim in self.ndim)  # type: ignore[operator]
            and (not self.module or any(matches_any(self.module, kind) for kind in kinds))  # type: ignore[arg-type]
            and (not self.name or any(self._matches_name(name) for name in names))
        )

    def _matches_name(self, name: str) -> bool:
        return matches_name(self.name or (), name) and name not in self.skipped  # type: ignore[arg-type]

    @property
    def _roles(self) -> Sequence[str]:
        """The roles that it is for; only a keep with a name is for buffers without saying so."""
        keeps_by_name = self.initializer == KEEP and self.name and "*" not in self.name
        return self.role or ((*_OF_PARAMETERS, "buffer") if keeps_by_name else _OF_PARAMETERS)

    @property
    def names_exactly(self) -> bool:
        """True if the rule gives whole names, not globs."""
        globs: Any = self.name or ("*",)
        return not self.counts and not any(set(pattern) & set("*?[") for pattern in globs)

    def shadows(self, other: "Rule") -> bool:
        """True if ``other`` can never match after this rule."""
        # A default applies only where the layer has one.
        always = self.initializer != DEFAULT or (other.initializer == DEFAULT and self.args == other.args)
        return (
            always
            and _covers(self.module, other.module)
            and _covers(self.name, other.name)
            and (not self.ndim or (bool(other.ndim) and set(other.ndim) <= set(self.ndim)))  # type: ignore[arg-type]
            and set(other.role or _OF_PARAMETERS) <= set(self._roles)
        )

    def given(self) -> dict[str, Any]:
        """Return the fields that differ from their defaults; a list of one choice becomes that choice."""
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
        parts = [_joined(names) for names in (self.role, self.module, self.name) if names]
        if self.ndim:
            parts.append("ndim " + "|".join(map(str, self.ndim)))  # type: ignore[arg-type]
        return " ".join(parts) or "any"


def _joined(names: Sequence[str]) -> str:
    """Join a few choices; of many, the first."""
    return "|".join(names if len(names) <= _SHOWN else [*names[: _SHOWN - 1], f"{len(names) - _SHOWN + 1} more"])


def callers_line() -> str:
    """Return file and line of the innermost frame outside torchinit."""
    frame = sys._getframe(outside_level() - 1)
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _normalized(given: Mapping[str, Any]) -> dict[str, Any]:
    """Check the fields of a rule and normalize them: tuples for lists, Python's numbers for numpy's."""
    _check_types(given)
    initializer, known = given["initializer"], (*INITIALIZERS, DEFAULT, KEEP)
    if initializer not in known:
        raise RecipeError(f"unknown initializer {initializer!r}; {suggest(initializer, known)}")
    normalized = {**given, "args": normalized_args(initializer, given["args"])}
    for name in ("module", "name", "ndim", "role", "blocks"):
        value = given[name]
        # A count of blocks is not a list of one size.
        single = isinstance(value, str) or (isinstance(value, int) and name == "ndim")
        normalized[name] = (value,) if single else tuple(value) if isinstance(value, Sequence) else value
    for glob in normalized["name"] or ():
        check_glob(glob)
    _check_options(normalized)
    normalized["expressions"] = expressions_of(initializer, normalized["args"], normalized["name"] or ())
    return normalized


@lru_cache(maxsize=4096)
def _check_numbers(
    initializer: str,
    args: tuple[tuple[str, Value], ...],
    residual: bool,
    ndim: tuple[int, ...] | None,
    batch_dims: int,
) -> None:
    """Refuse wrong numbers: run the initializer on a minimal matrix of each number of dimensions."""
    given: dict[str, Any] = dict(args)
    if residual and initializer == "uniform_" and given.get("a", 0.0) != -given.get("b", 1.0):
        raise RecipeError(f"residual needs bounds around 0, got {given or 'the default ones'}")
    if initializer not in INITIALIZERS:
        return
    for each in ndim or (INITIALIZERS[initializer].ndim + batch_dims,):
        try:
            rehearse(initializer, given, each - batch_dims, torch.float32, torch.device("cpu"), by_key=False)
        except (RuntimeError, ValueError, TypeError, OverflowError) as error:
            reason = str(error).splitlines()[0]
            if "dimension" in reason:
                raise RecipeError(f"the rule can never match with ndim {each}: {reason}") from None
            raise RecipeError(f"{initializer}: {reason}") from None


def _check_types(given: Mapping[str, Any]) -> None:
    for name, kind in {"module": str, "name": str, "ndim": int, "role": str, "blocks": int}.items():
        value = given[name]
        several = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
        least, most = (1, 2**63 - 1) if name == "blocks" else (0, 64)
        good = [is_a(one, (kind,)) and one != "" and (kind is str or least <= one <= most) for one in several]
        if value is not None and not (good and all(good)):
            what = "a name or a list of names" if kind is str else f"a count from {least} or a list of counts"
            raise RecipeError(f"{name} must be {what}, got {value!r}")
    # Fields that are not compared are computed, not given.
    for spec in fields(Rule):
        if spec.compare and spec.type in (str, int, bool) and not is_a(given[spec.name], (spec.type,)):
            raise RecipeError(f"{spec.name} must be {an(spec.type.__name__)}, got {given[spec.name]!r}")
    if not 0 <= given["batch_dims"] <= 63:
        raise RecipeError(f"batch_dims must be a count from 0 to 63, got {given['batch_dims']}")
    args = given["args"]
    if not isinstance(args, Mapping) or not all(isinstance(name, str) for name in args):
        raise RecipeError(f"args must be a table of arguments by name, got {args!r}")


def _check_options(given: Mapping[str, Any]) -> None:
    initializer, entry, stack = given["initializer"], INITIALIZERS.get(given["initializer"]), given["batch_dims"]
    for role in given["role"] or ():
        if role not in (*ROLES, "buffer"):
            raise RecipeError(f"role must be one of {', '.join((*ROLES, 'buffer'))}, got {role!r}")
    if given["fans"] not in ("layer", "upstream"):
        raise RecipeError(f"fans must be 'layer' or 'upstream', got {given['fans']!r}")
    if given["residual"] and not (entry is not None and entry.has_scale):
        raise RecipeError(f"residual needs an initializer with a scale, got {initializer}")
    for option, need in (
        ("blocks", "blocks need"),
        ("batch_dims", "batch_dims needs"),
        ("transposed", "transposed needs"),
    ):
        if given[option] and entry is None:
            raise RecipeError(f"{need} a named initializer, got {initializer}")
    if given["repeat"] and not isinstance(given["blocks"], tuple):
        raise RecipeError(f"repeat needs the sizes of the blocks, got blocks {given['blocks']}")
    least = stack + (2 if given["transposed"] else 1)
    if given["ndim"] and min(given["ndim"]) < least and least > 1:
        what = (
            f"{stack} batch dimensions{' and transposed' * given['transposed']} need" if stack else "transposed needs"
        )
        raise RecipeError(f"{what} ndim of at least {least}, got {min(given['ndim'])}")
    if given["blocks"] is not None and 0 <= given["dim"] < stack:
        raise RecipeError(f"dim must come after the {stack} batch dimensions, got {given['dim']}")
    layer = str(given["args"].get("layer", KINDS[0]))
    if layer not in KINDS:
        raise RecipeError(f"layer must be a type of torch.nn with a default, got {layer!r}; {suggest(layer, KINDS)}")


def _covers(wide: Any, narrow: Any) -> bool:
    """True if the patterns of ``wide`` match every name that those of ``narrow`` match."""

    def covers(pattern: str, text: str) -> bool:
        # A star in the text can only match a star of the pattern, which matches all that the text's star does.
        simple = not set(text) & set("[") and (not set(pattern) & set("?[") or not set(text) & set("*?{"))
        return pattern == text or (simple and (fnmatchcase(text, pattern) or fnmatchcase(f".{text}", pattern)))

    if not wide or "*" in wide:
        return True
    return bool(narrow) and all(any(covers(pattern, text) for pattern in wide) for text in narrow)
