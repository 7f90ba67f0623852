"""A recipe: an ordered list of rules for the parameters of a model."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import TypeVar

import torch
from torch import nn

from torchinit._core.writes import Done, ignore
from torchinit.keyed import compiled
from torchinit.keyed._fill import one_key
from torchinit.recipes._attach import attach
from torchinit.recipes._expression import evaluate_constants, told_of
from torchinit.recipes._fill import dry_run
from torchinit.recipes._keyed_apply import surviving_fills, write_all_by_key
from torchinit.recipes._ordered_apply import write_in_order
from torchinit.recipes._plan import Plan, make_plan
from torchinit.recipes._rule import KEEP, RecipeError, Rule, callers_line, suggest
from torchinit.recipes._steps import Step
from torchinit.recipes._toml import write_toml

_Module = TypeVar("_Module", bound=nn.Module)


class Recipe:
    """Ordered rules for the parameters of a model; each parameter follows the first rule that matches it.

    Parameters are visited as ``Module.apply`` visits modules, children before their parent. Tied parameters are
    initialized once, by the rule of their first name, and kept if any of their names is. Parameters that transformers
    has loaded (``_is_hf_initialized``) are kept. The running statistics of a normalization layer are reset with its
    parameters. A parametrized weight is drawn as the plain layer's and written through ``right_inverse``.

    Args:
        rules: the rules in order
        name: name of the recipe in tables and messages
        constants: numbers by name for the expressions of the rules, or expressions of other constants

    Raises:
        RecipeError: if there is no rule, earlier rules leave one nothing to match, or a constant is wrong or missing

    Examples:
        >>> from torch import nn
        >>> from torchinit.recipes import Recipe, Rule
        >>> recipe = Recipe([Rule("orthogonal_", name="*.weight", ndim=2), Rule("zeros_", name="*.bias")])
        >>> model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
        >>> print(recipe.plan(model))
        name      module  shape  rule                initializer  mean  std
        0.weight  Linear  4x3    1: *.weight ndim 2  orthogonal_     0  0.5
        0.bias    Linear  4      2: *.bias           zeros_          0    0
        2.weight  Linear  2x4    1: *.weight ndim 2  orthogonal_     0  0.5
        2.bias    Linear  2      2: *.bias           zeros_          0    0
        <BLANKLINE>
        4 tensors, 26 values
        >>> recipe.apply_(model)[0].bias
        Parameter containing:
        tensor([0., 0., 0., 0.], requires_grad=True)
    """

    def __init__(
        self, rules: Sequence[Rule], name: str = "", constants: Mapping[str, int | float | str] | None = None
    ) -> None:
        if not isinstance(constants, Mapping | None):
            raise RecipeError(f"the constants of a recipe must be numbers by name, got {constants!r}")
        self.name, self.constants = name, dict(constants or {})
        if not rules or not all(isinstance(rule, Rule) for rule in rules):
            raise RecipeError(f"a recipe needs at least one rule, and only rules, got {list(rules)}")
        with told_of(f"{callers_line()}:"):
            values = evaluate_constants(self.constants)
        # Python's numbers for numpy's.
        self.constants = {name: v if isinstance(v, (str, int)) else float(v) for name, v in self.constants.items()}
        self.rules = tuple(rule.bound(values) for rule in rules)
        for index, rule in enumerate(self.rules):
            for number, earlier in enumerate(self.rules[:index], 1):
                if earlier.shadows(rule):
                    raise RecipeError(
                        f"{rule.place(index + 1)} can never match, because rule {number} ({earlier.conditions()}) comes first and"
                        f" matches all that it would ({rule.conditions()}); put it before that one"
                    )

    def _parts(self) -> tuple[object, ...]:
        return self.rules, self.name, tuple(self.constants.items())

    def __repr__(self) -> str:
        rules = "".join(f"    {rule!r},\n" for rule in self.rules)
        name = f", name={self.name!r}" if self.name else ""
        constants = f", constants={dict(self.constants)!r}" if self.constants else ""
        return f"Recipe([\n{rules}]{name}{constants})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Recipe) and self._parts() == other._parts()

    def __hash__(self) -> int:
        return hash(self._parts())

    def keeping(self, *names: str) -> "Recipe":
        """Return the recipe with a first rule that keeps the parameters and buffers that these globs name.

        Rules to which it leaves nothing are dropped.
        """
        if not names:
            return self
        first = Rule(KEEP, name=names)
        return self.with_rules([first, *(rule for rule in self.rules if not first.shadows(rule))])

    def with_rules(self, rules: Sequence[Rule]) -> "Recipe":
        """Return the recipe with other rules."""
        return self._remade(rules, self.constants)

    def _remade(self, rules: Sequence[Rule], constants: Mapping[str, int | float | str]) -> "Recipe":
        return Recipe(rules, self.name, constants)

    def setting(self, **constants: int | float | str) -> "Recipe":
        """Return the recipe with other values of its constants.

        Args:
            constants: numbers, or expressions of other constants

        Raises:
            RecipeError: if the recipe has no such constant, or a rule refuses the value

        Examples:
            >>> from torch import nn
            >>> from torchinit import recipes
            >>> recipes.llama().setting(std=0.006).plan(nn.Linear(4, 4, bias=False)).rows[0].std
            0.006
        """
        for name in constants:
            if name not in self.constants:
                right = suggest(name, list(self.constants)) if self.constants else "it has none"
                raise RecipeError(f"the recipe {self.name or 'without a name'} has no constant {name!r}; {right}")
        merged = {**self.constants, **constants}
        evaluate_constants(merged)
        return self if merged == self.constants else self._remade(self.rules, merged)

    @staticmethod
    def from_toml(text: str, origin: str = "recipe") -> "Recipe":
        r"""Read a recipe from TOML.

        Args:
            text: one ``[[rule]]`` table per rule, whose keys are the arguments of :class:`Rule`; optionally a ``name``,
                a table ``[constants]``, and ``extends``, the name of a shipped recipe or of a file. That recipe's rules
                then follow, except for those to which the own rules leave nothing, and own constants replace its own
            origin: name of the text in messages

        Raises:
            RecipeError: if the text is wrong; the message is one line

        Examples:
            >>> from torchinit.recipes import Recipe
            >>> Recipe.from_toml('[[rule]]\ninitializer = "normal_"\nargs = { std = 0.02 }').rules
            (Rule('normal_', args={'std': 0.02}),)
            >>> Recipe.from_toml('[[rule]]\ninitializer = "norml_"')
            Traceback (most recent call last):
            torchinit.recipes._errors.RecipeError: recipe: rule 1: unknown initializer 'norml_'; did you mean normal_?
        """
        from torchinit.recipes._read import from_text

        return from_text(text, origin)

    def to_toml(self) -> str:
        """Write the recipe as TOML, which :meth:`from_toml` reads back as an equal recipe."""
        return write_toml(self.rules, self.name, self.constants)

    def plan(self, module: nn.Module) -> Plan:
        """Plan what :meth:`apply_` would do, without writing or drawing.

        Args:
            module: an eager, scripted, traced or loaded module

        Returns:
            a plan, whose ``rows`` say for each parameter its name, the type of its module, shape, rule, initializer,
            fans, and the mean and standard deviation to expect; it prints as a table

        Raises:
            RecipeError: if a parameter has no rule (the message lists them all), or a rule does not fit a parameter

        Warns:
            UserWarning: about each rule that matches nothing and is not optional
        """
        return make_plan(self.rules, module)

    def apply_(
        self,
        module: _Module,
        generator: torch.Generator | None = None,
        key: torch.Tensor | None = None,
        compile: bool = False,
    ) -> _Module:
        """Initialize the parameters of a model in place; on the meta device do nothing.

        With a key, each parameter is drawn from ``fold_in(key, qualified name)``, and each block of a packed one from
        ``fold_in`` of that key and the block's first index. Each matrix of a stack that is drawn by itself, such as an
        orthogonal one, is drawn from ``fold_in`` of the key so far and its number. The values then depend on nothing
        else in the model, and not on device or sharding. No generator is used. Clones, such as the layers of a
        ``TransformerEncoder``, get different values.

        Args:
            module: an eager, scripted, traced or loaded module
            generator: generator to draw from (default: the global one of each parameter's device)
            key: a key of :mod:`torchinit.keyed` to draw from instead
            compile: whether to draw from the key by compiled kernels, see :func:`torchinit.keyed.compiled`; on a CPU at
                most three are compiled for a model of any size

        Returns:
            ``module``

        Raises:
            RecipeError: if a parameter has no rule (the message lists them all), a rule does not fit a parameter, or a
                parametrization cannot take the weight that is drawn; then nothing is written or drawn
            ValueError: if ``key`` is not a key, both a generator and a key are given, or ``compile`` is set without a key
            RuntimeError: if a parameter cannot be written, or the generator is on another device; then nothing is
                written or drawn

        Warns:
            UserWarning: about each rule that matches nothing and is not optional

        Examples:
            >>> from torch import nn
            >>> from torchinit import recipes
            >>> a = recipes.torch_default().apply_(nn.LSTM(3, 4), torch.Generator().manual_seed(0))
            >>> b = recipes.torch_default().apply_(torch.jit.script(nn.LSTM(3, 4)), torch.Generator().manual_seed(0))
            >>> torch.equal(a.weight_hh_l0, b.weight_hh_l0)
            True
            >>> from torchinit import keyed
            >>> small = recipes.torch_default().apply_(nn.Sequential(nn.Linear(3, 4)), key=keyed.key(0))
            >>> large = recipes.torch_default().apply_(nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 4)), key=keyed.key(0))
            >>> torch.equal(small[0].weight, large[0].weight)
            True
        """
        return self._apply(module, generator, key, compile)

    def _apply(
        self,
        module: _Module,
        generator: torch.Generator | None = None,
        key: torch.Tensor | None = None,
        compile: bool = False,
        done: Done = ignore,
    ) -> _Module:
        """Do what :meth:`apply_` does, and call ``done`` with the name and the tensor after each write."""
        if key is not None:
            one_key(key)
            if generator is not None:
                raise ValueError("the draws come from a generator or from a key, got both")
        elif compile:
            raise ValueError("apply_(compile=True) draws from a key, got none")
        if generator is not None and not isinstance(generator, torch.Generator):
            raise TypeError(f"apply_ needs a torch.Generator, got {type(generator).__name__}")
        steps = [step for step in self.plan(module).steps if not step.tensor.is_meta]
        _check_generator(steps, generator)
        if key is not None:
            drawn = [(name, tensor, fills) for name, (tensor, fills) in surviving_fills(steps).items()]
            stored = [pair for step in steps if step.through is not None for pair in step.written()]
            dry_run([*drawn, *stored], by_key=True)
            with compiled() if compile else nullcontext():
                write_all_by_key(steps, key, done)
        else:
            dry_run(pair for step in steps for pair in step.written())
            write_in_order(steps, generator, done)
        return module

    def attach(self, scripted: torch.jit.ScriptModule, mobile: bool = False) -> torch.jit.ScriptModule:
        """Give a TorchScript module methods that do what :meth:`apply_` does.

        The saved file then resets itself without Python and torchinit. It has ``reset_parameters(generator=None)``, or
        for the mobile interpreter ``reset_parameters(seed=None)``, where a seed stands for a generator made with it.
        Both also have ``reset_parameters_keyed(seed)``, which does ``apply_(module, key=keyed.key(seed))``.

        Args:
            scripted: a scripted, traced or loaded module; it is left as it is
            mobile: whether ``reset_parameters`` takes a seed; the mobile interpreter takes no generator

        Returns:
            a copy of the module with the methods. It is a copy because modules scripted from one class share their
            methods, whose numbers follow from this module's shapes

        Raises:
            TypeError: if the module is not TorchScript
            RecipeError: as :meth:`apply_`
            RuntimeError: if the module has a method of one of these names, or no parameters, like a frozen one

        Examples:
            >>> from torch import nn
            >>> from torchinit import recipes
            >>> traced = torch.jit.trace(nn.Linear(3, 4), torch.zeros(1, 3))
            >>> net = recipes.torch_default().attach(traced)
            >>> net.reset_parameters(torch.Generator().manual_seed(0))
            >>> again = recipes.torch_default().apply_(nn.Linear(3, 4), torch.Generator().manual_seed(0))
            >>> torch.equal(net.weight, again.weight)
            True
        """
        return attach(self.plan, scripted, mobile)


def _check_generator(steps: Sequence[Step], generator: torch.Generator | None) -> None:
    for step in steps:
        drawn = any(fill.entry.draws for fill in step.fills)
        if generator is not None and drawn and generator.device.type != step.tensor.device.type:
            raise RuntimeError(
                f"the generator must be on the parameters' device, got one on {generator.device} for {step.target} on"
                f" {step.tensor.device}"
            )
