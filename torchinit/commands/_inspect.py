"""``inspect``: what the parameters of a file look like, and which known initialization they are like."""

import argparse
import copy
import math
import re
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from torchinit._progress import Progress
from torchinit._table import Cell, printable, table, text, to_json
from torchinit.commands._arguments import picture, picture_format, seed
from torchinit.commands._files import load, refuse_existing, refuse_input, save
from torchinit.recipes._layers import Layer, memory, upstream_fans, walk

if TYPE_CHECKING:
    from torchinit.recipes import Recipe

COLUMNS = (
    *("name", "shape", "dtype", "fan_in", "fan_out", "mean", "std", "min", "max", "zeros", "not_finite"),
    *("he", "xavier", "verdict", "tied"),
)

# Elements that are widened to float64 at a time: 2 MiB of them.
_CHUNK = 1 << 18

# How often larger or smaller than all known scales a std is that is far from them. Their gains differ by less:
# 5/3 for tanh, sqrt(2) for relu, 1/sqrt(2 n) of n residual layers.
_FAR = 3.0

# How much a std may differ from a known one that it is like; the sampling error of a small tensor is larger.
_NEAR = 0.05

# The norms that torch's weight_norm keeps apart have no scale of their own.
_NORMS = ("weight_g", "original0")

# A state dict does not tell which of its matrices is an embedding; their names do.
_EMBEDDING = re.compile(r"emb|^(wte|wpe|shared)$", re.IGNORECASE)


@dataclass
class Statistics:
    """What the finite values of a tensor amount to, accumulated in float64; std is the population's."""

    size: int
    mean: complex = 0.0
    squares: float = 0.0
    low: float = math.inf
    high: float = -math.inf
    zeros: int = 0
    count: int = 0
    constant: complex | None = None

    @property
    def std(self) -> float:
        return math.sqrt(self.squares / self.count)

    @property
    def not_finite(self) -> int:
        return self.size - self.count

    def add(self, values: Tensor) -> None:
        """Merge some values: Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm" (1979)."""
        values = only_finite(values)
        if values.numel() == 0:
            return
        variance, mean = (number.item() for number in torch.var_mean(values, correction=0))
        first = values[0].item()
        if self.count == 0:
            self.constant = first
        if self.constant is not None and not (values == self.constant).all():
            self.constant = None
        count, size = self.count, values.numel()
        self.count += size
        apart = mean - self.mean
        self.mean += apart * (size / self.count)
        # NB: a product overflows to infinity, where ** and abs raise.
        apart_squared = apart.real * apart.real + apart.imag * apart.imag
        self.squares += variance * size + apart_squared * count * (size / self.count)
        self.zeros += size - int(torch.count_nonzero(values))
        if not values.is_complex():
            low, high = torch.aminmax(values)
            self.low, self.high = min(self.low, low.item()), max(self.high, high.item())


@dataclass
class Parameter:
    """A parameter with the layer that it belongs to, and the other names that it has."""

    name: str
    layer: Layer
    own: str
    tensor: Tensor
    tied: list[str] = field(default_factory=list)


def parameters(model: nn.Module) -> list[Parameter]:
    """List the parameters in the order of ``named_parameters``, tied ones once."""
    owners = {layer.qualified(own): (layer, own) for layer in walk(model) for own, _ in layer.parameters()}
    found: dict[object, Parameter] = {}
    for name, tensor in model.named_parameters(remove_duplicate=False):
        key = memory(tensor)
        if key in found:
            found[key].tied.append(name)
        else:
            found[key] = Parameter(name, *owners[name], tensor)
    return list(found.values())


def chunks(tensor: Tensor) -> Iterator[Tensor]:
    """Go through a tensor in float64 or complex128, a part at a time, so that no whole copy is so wide."""
    tensor = tensor.detach()
    if tensor.layout is not torch.strided:
        tensor = tensor.to_dense()
    wide = torch.complex128 if tensor.is_complex() else torch.float64
    for chunk in torch.split(tensor.reshape(-1), _CHUNK):
        yield chunk.to(wide)


def only_finite(values: Tensor) -> Tensor:
    """Leave out NaN and infinities; a copy is made only of what has some."""
    finite = torch.isfinite(values)
    return values if finite.all() else values[finite]


def measure(tensor: Tensor) -> Statistics | None:
    """Measure a tensor that has numbers: one on the meta device has none, nor have dtypes of mere bits."""
    if tensor.is_meta:
        return None
    statistics = Statistics(tensor.numel())
    try:
        for chunk in chunks(tensor):
            statistics.add(chunk)
    except RuntimeError as error:
        # NB: torch 2.6 has no NotImplementedError here.
        if "not implemented for" not in str(error):
            raise
        return None
    return statistics


def _fans(parameter: Parameter) -> tuple[int, int] | None:
    fans = parameter.layer.fans(list(parameter.tensor.shape))
    return fans if fans is not None and min(fans) > 0 else None


def _he(fan: int) -> float:
    return math.sqrt(2.0 / fan)


def _default(parameter: Parameter) -> float | None:
    """The std of what torch itself draws for a weight and its bias: kaiming_uniform_ with a=sqrt(5), and the like."""
    siblings = dict(parameter.layer.parameters())
    # A recurrent layer draws all from the number of its units, which is what the projection takes, if there is one.
    for name in ("weight_hr_l0", "weight_hh_l0", "weight_hh"):
        if name in siblings and siblings[name].dim() == 2:
            return 1.0 / math.sqrt(3 * siblings[name].shape[1])
    weight = siblings.get("weight") if parameter.tensor.dim() < 2 else parameter.tensor
    # NB: torch knows nothing of transposition here.
    fans = None if weight is None else upstream_fans(list(weight.shape))
    if weight is None or fans is None or fans[0] == 0:
        return None
    return 1.0 / math.sqrt(3 * (weight.shape[1] if parameter.layer.kind == "Bilinear" else fans[0]))


def scales(parameter: Parameter) -> dict[str, float]:
    """Name the stds that known initializations give a parameter; none if nothing is known of its kind."""
    tensor, kind = parameter.tensor, parameter.layer.kind
    default, fans = _default(parameter), _fans(parameter)
    if not (tensor.is_floating_point() or tensor.is_complex()) or parameter.own in _NORMS:
        return {}
    if fans is None:
        return {"torch's default": default, "N(0, 0.02)": 0.02} if default and parameter.own.startswith("bias") else {}
    rows, columns = tensor.shape[0], tensor.numel() // tensor.shape[0]
    known = {
        "He": _he(fans[0]),
        "He fan_out": _he(fans[1]),
        "Xavier": _he(sum(fans)),
        "LeCun": 1.0 / math.sqrt(fans[0]),
        "orthogonal": 1.0 / math.sqrt(max(rows, columns)),
        "N(0, 0.02)": 0.02,
    }
    embedding = kind in ("Embedding", "EmbeddingBag")
    if embedding or (kind == "Module" and _EMBEDDING.search(parameter.layer.path.rpartition(".")[2])):
        known["N(0, 1)"] = 1.0
    if default and not embedding:
        known["torch's default"] = default
    return known


def _like(std: float, count: int, known: dict[str, float]) -> str:
    """Name the nearest known scale, or all that are the same, and how often it is contained."""
    nearest = min(known.values(), key=lambda scale: abs(math.log(std / scale)))
    names = [name for name, scale in known.items() if math.isclose(scale, nearest)]
    if "He" in names and "He fan_out" in names:
        names.remove("He fan_out")
    # The std of n normal draws is off by 1 / sqrt(2 n); three times that is rare.
    near = max(_NEAR, 3.0 / math.sqrt(2 * count))
    ratio = std / nearest
    return f"{'like' if 1 / (1 + near) <= ratio <= 1 + near else f'{ratio:.2g} x'} {' or '.join(names)}"


def verdict(statistics: Statistics | None, known: dict[str, float], matrix: bool) -> tuple[str | None, bool]:
    """Say what the values are like, and whether that is bad; nothing where nothing is known of such a parameter."""
    if statistics is None:
        return "no numbers", False
    if statistics.size == 0:
        return "empty", False
    if statistics.not_finite:
        return "not finite", True
    if statistics.constant is not None:
        # A constant weight leaves all units of a layer the same for good.
        return f"constant {_number(statistics.constant)}", matrix and statistics.size > 1
    if not known:
        return None, False
    std, mean, low, high = statistics.std, statistics.mean, min(known.values()), max(known.values())
    # The mean of n values is off by std / sqrt(n); four times that is rare.
    centered = math.hypot(mean.real, mean.imag) <= std * max(1.0, 4.0 / math.sqrt(statistics.count))
    if not matrix and std < low / _FAR:
        return ("near 0" if centered else None), False
    if not low / _FAR <= std <= high * _FAR:
        return "far from any known scale", True
    if not centered:
        return ("mean far from 0", True) if matrix else (None, False)
    return _like(std, statistics.count, known), False


def _number(value: complex) -> str:
    return f"{value:.3g}" if isinstance(value, complex) else text(float(value))


@dataclass
class Row:
    """A line of the table, and what its verdict means."""

    cells: list[Cell]
    verdict: str | None
    bad: bool
    constant: bool


def _row(parameter: Parameter, statistics: Statistics | None) -> Row:
    tensor, fans = parameter.tensor, _fans(parameter)
    said, bad = verdict(statistics, scales(parameter), fans is not None)
    constant = statistics is not None and statistics.constant is not None
    numbers: list[Cell] = [None] * 6
    if statistics is not None:
        numbers[5] = statistics.not_finite
        if statistics.count:
            mean = statistics.mean
            numbers[:2] = [f"{mean:.6g}" if isinstance(mean, complex) else mean, statistics.std]
            numbers[4] = statistics.zeros / statistics.size
            if not tensor.is_complex():
                numbers[2:4] = [statistics.low, statistics.high]
    cells: list[Cell] = [parameter.name, list(tensor.shape), str(tensor.dtype).removeprefix("torch.")]
    known: list[Cell] = [*fans, *numbers, _he(fans[0]), _he(sum(fans))] if fans else [None, None, *numbers, None, None]
    return Row([*cells, *known, said, ", ".join(parameter.tied) or None], said, bad, constant)


def _printed(rows: list[Row], as_json: bool) -> str:
    if as_json:
        return to_json(COLUMNS, [row.cells for row in rows])
    # What no parameter has is not worth a column.
    width = len(COLUMNS) - (not any(row.cells[-1] for row in rows))
    shown = [row.cells[:width] for row in rows]
    return table(COLUMNS[:width], shown, [index for index, row in enumerate(rows) if row.bad])


def _after(recipe: "Recipe", model: nn.Module, seed: int) -> dict[str, Tensor]:
    """Initialize a copy of the model by a recipe, and take by name the parameters that it has rules for."""
    from torchinit.recipes import Recipe, Rule

    other = copy.deepcopy(model)
    rest = Rule("keep", optional=True)
    if not any(rule.shadows(rest) for rule in recipe.rules):
        # Rules for kinds of modules match nothing in a file without modules.
        recipe = Recipe([*recipe.rules, rest], recipe.name)
    recipe.apply_(other, generator=torch.Generator().manual_seed(seed))
    after = dict(other.named_parameters(remove_duplicate=False))
    with warnings.catch_warnings():
        # apply_ has warned of the same.
        warnings.simplefilter("ignore")
        kept = {memory(after[row.name]) for row in recipe.plan(other).rows if row.initializer == "keep"}
    return {name: parameter for name, parameter in after.items() if memory(parameter) not in kept}


def _plot(arguments: argparse.Namespace, found: list[Parameter], rows: list[Row], after: dict[str, Tensor]) -> None:
    from torchinit.commands._plot import ORDER, Panel, choose, draw

    shown = choose([0 if row.bad else 2 if row.constant else 1 for row in rows])
    progress = Progress(len(shown), after=1.0)
    panels = []
    try:
        for index in shown:
            parameter, row = found[index], rows[index]
            progress.step("drawing", printable(parameter.name))
            panels.append(Panel.of(parameter.name, parameter.tensor, after.get(parameter.name), row.verdict, row.bad))
    finally:
        progress.clear()
    contents = draw(panels, len(rows), arguments.file, arguments.recipe, picture_format(arguments.plot))
    save(arguments.plot, contents, arguments.force)
    if len(shown) < len(rows):
        sys.stderr.write(
            f"torchinit: {printable(arguments.plot)} shows {len(shown)} of {len(rows)} parameters; {ORDER}\n"
        )


def _rows(found: list[Parameter]) -> list[Row]:
    progress = Progress(len(found), after=1.0)
    rows = []
    try:
        for parameter in found:
            progress.step("measuring", printable(parameter.name))
            rows.append(_row(parameter, measure(parameter.tensor)))
    finally:
        progress.clear()
    return rows


def _check(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Refuse what is at fault whatever the file holds, before it is read."""
    if arguments.plot is None:
        if arguments.recipe is not None:
            parser.error("--recipe is for --plot OUT.png, which is missing")
        return
    refuse_input(arguments.plot, arguments.file)
    refuse_existing(arguments.plot, arguments.force)
    from torchinit.commands._plot import check_matplotlib

    check_matplotlib()


def _run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    from torchinit.recipes import load as load_recipe

    _check(parser, arguments)
    recipe = None if arguments.recipe is None else load_recipe(arguments.recipe)
    model = load(arguments.file)
    found = parameters(model)
    rows = _rows(found)
    if arguments.plot is not None:
        after = {} if recipe is None else _after(recipe, model, arguments.seed)
        kept = sum(parameter.name not in after for parameter in found)
        if recipe is not None and kept:
            sys.stderr.write(
                f"torchinit: no curve is drawn for {kept} of {len(found)} parameters,"
                f" which {printable(arguments.recipe)} has no rule for or keeps\n"
            )
        _plot(arguments, found, rows, after)
    print(_printed(rows, arguments.json))
    if not rows:
        sys.stderr.write(f"torchinit: {printable(arguments.file)} holds no parameters\n")


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command ``inspect``."""
    parser = commands.add_parser(
        "inspect",
        help="show what the parameters of a file look like, and which initialization they are like",
        description="Show mean, std and more of each parameter of FILE, a TorchScript archive, a state dict that"
        " torch.save wrote, or safetensors, and which initialization its std is like. What is constant but should not"
        " be, not finite or far from any known scale is marked. A file without modules does not tell a transposed or"
        " grouped convolution from any other, whose fans differ.",
    )
    parser.add_argument("file", metavar="FILE", help="what to read; no code in it is run but TorchScript's own")
    parser.add_argument("--json", action="store_true", help="print JSON, one object a parameter, with all digits")
    parser.add_argument(
        "--plot", type=picture, metavar="OUT", help="draw a histogram of each parameter: .png, .svg, .pdf"
    )
    parser.add_argument("--force", action="store_true", help="overwrite the picture if it exists")
    parser.add_argument("--recipe", metavar="R", help="draw beside it what this recipe would do: a name or a TOML file")
    parser.add_argument("--seed", metavar="N", type=seed, default=0, help="what the recipe draws from (default: 0)")
    parser.set_defaults(run=partial(_run, parser))
