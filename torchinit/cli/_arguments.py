"""Arguments that several commands share: seeds, globs, recipes, and output files."""

import argparse
import ast
import glob
import os
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from torchinit._core.table import first_line
from torchinit.cli._suffixes import MODELS, PAGES, PICTURES, RECORDINGS, choices, has_suffix

# A parser, or a group of its arguments.
_Parser: TypeAlias = argparse._ActionsContainer

MODEL = "timm:NAME, hf:TYPE, package.module:factory, or a .init file"

_MISSPELLED = {"true": "True", "false": "False", "none": "None", "null": "None"}


def _seed(words: str) -> int:
    """Parse a seed in the range that a generator takes."""
    try:
        number = int(words)
    except ValueError:
        number = 1 << 64
    if not -(1 << 63) <= number < 1 << 64:
        raise argparse.ArgumentTypeError(f"a seed must be an integer from -2**63 to 2**64 - 1, got {words}")
    return number


def _not_empty(rule: str, words: str) -> str:
    if not words:
        raise argparse.ArgumentTypeError(f"{rule}, got ''")
    return words


def _output(what: str, suffixes: tuple[str, ...], words: str) -> str:
    """Check the name of a file to write."""
    if not has_suffix(words, suffixes):
        raise argparse.ArgumentTypeError(f"the name of {what} must end in {choices(suffixes)}, got {words!r}")
    return words


def add_seed(parser: _Parser, help: str, required: bool = False) -> None:
    """Add ``--seed``, with default 0 unless it is required."""
    parser.add_argument("--seed", type=_seed, required=required, default=0, metavar="N", help=help)


def _add_force(parser: _Parser, what: str) -> None:
    parser.add_argument("--force", action="store_true", help=f"overwrite {what}")


def add_recording_output(parser: _Parser) -> None:
    """Add ``--output`` for a recording or its recipe, and ``--force``."""
    kind = partial(_output, "a recording or a recipe", RECORDINGS)
    parser.add_argument("-o", "--output", type=kind, metavar="OUT", help="write OUT.init, or a recipe to OUT.toml")
    _add_force(parser, "OUT if it exists")


def parse_value(words: str) -> tuple[str, Any]:
    """Parse ``name=value``, in which a value is a Python literal, or else a string.

    Raises:
        ValueError: if there is no name, or the value is almost a literal
    """
    name, equals, text = words.partition("=")
    if not equals or not name.isidentifier():
        raise ValueError(f"an argument must be name=value, got {words!r}")
    try:
        return name, ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        if text.lower() in _MISSPELLED:
            raise ValueError(
                f"a value must be a Python literal such as {_MISSPELLED[text.lower()]}, got {words!r}"
            ) from None
        return name, text


def model_argument(words: str) -> tuple[str, Any]:
    """Parse ``NAME=VALUE`` of a model that is built, as argparse does."""
    try:
        return parse_value(words)
    except ValueError as error:
        raise argparse.ArgumentTypeError(first_line(str(error))) from None


def add_values(parser: _Parser) -> None:
    """Add ``NAME=VALUE`` words for a model that is built."""
    parser.add_argument(
        "values",
        nargs="*",
        default=[],  # Without it, argparse calls them required.
        type=model_argument,
        metavar="NAME=VALUE",
        help="arguments of timm.create_model, of the configuration of transformers, or of the factory: Python literals",
    )


def add_page_output(parser: _Parser) -> None:
    """Add ``--output`` for a page, and ``--force``."""
    kind = partial(_output, "a page", PAGES)
    parser.add_argument("-o", "--output", required=True, type=kind, metavar="OUT", help="the page to write: .html")
    _add_force(parser, "OUT if it exists")


def add_json(parser: _Parser, help: str = "print JSON") -> None:
    """Add ``--json``."""
    parser.add_argument("--json", action="store_true", help=help)


def add_table(parser: _Parser, bad: bool = False) -> None:
    """Add ``--wide`` and ``--all``, and ``--bad`` if rows can be marked."""
    parser.add_argument(
        "--wide", action="store_true", help="print all columns, whole names and a line for each row, as to a pipe"
    )
    parser.add_argument("--all", action="store_true", help="print a line for each row, not one for repeated layers")
    if bad:
        parser.add_argument("--bad", action="store_true", help="print the marked rows only")


def add_plot(parser: _Parser, help: str) -> None:
    """Add ``--plot`` and ``--force``."""
    kind = partial(_output, "a picture", PICTURES)
    parser.add_argument("--plot", type=kind, metavar="OUT", help=f"{help}: .png, .svg or .pdf; needs matplotlib")
    _add_force(parser, "the picture if it exists")


def add_key(parser: _Parser, name: str = "--key", of: str = "") -> None:
    """Add ``--key``, or another name of it, for the checkpoint ``of`` several."""
    kind = partial(_not_empty, "a key must name a state dict")
    words = f"which state dict of a checkpoint{of}, such as model_ema or state.net"
    parser.add_argument(name, type=kind, metavar="KEY", help=words)


def add_layers(parser: _Parser) -> None:
    """Add ``--key`` and ``--like``, which say more about a file that is no TorchScript."""
    add_key(parser)
    parser.add_argument(
        "--like",
        metavar="MODEL",
        help="the model whose layers a file without layers has: package.module:factory, timm:NAME, hf:TYPE or a .init"
        " file; with arguments in one word, 'hf:gpt2 n_layer=2'",
    )


def add_model_output(parser: _Parser, any_kind: bool = False) -> None:
    """Add ``--output``, for a TorchScript file or ``any_kind`` of file, and ``--force``."""
    kind = str if any_kind else partial(_output, "a TorchScript file", MODELS)
    parser.add_argument("-o", "--output", required=True, type=kind, metavar="OUT", help="the file to write")
    _add_force(parser, "OUT if it exists, also FILE itself")


def _recipes(prefix: str, **_: object) -> list[str]:
    """Complete a recipe: the names of those that are shipped, and files."""
    shipped = Path(__file__).parents[1] / "recipes" / "shipped"
    return [name for name in sorted(file.stem for file in shipped.glob("*.toml")) if name.startswith(prefix)] + [
        os.path.join(path, "") if os.path.isdir(path) else path for path in sorted(glob.glob(f"{glob.escape(prefix)}*"))
    ]


def complete_recipes(action: argparse.Action) -> None:
    """Let the shell complete an argument by recipes and files."""
    # Read by argcomplete.
    action.completer = _recipes  # type: ignore[attr-defined]


def add_recipe(parser: _Parser, help: str, required: bool = False) -> None:
    """Add ``--recipe``."""
    complete_recipes(parser.add_argument("--recipe", required=required, metavar="R", help=help))


def add_model_and_recipe(parser: _Parser, file: str = "the file of a model") -> None:
    """Add a file, ``--recipe``, ``--set`` and ``--keep``."""
    parser.add_argument("file", metavar="FILE", help=file)
    add_recipe(parser, "a recipe that `torchinit list` prints, a TOML file, or a recording's .init file", required=True)
    add_constants(parser)
    glob = partial(_not_empty, "a glob must not be empty")
    parser.add_argument(
        "--keep", action="append", type=glob, metavar="GLOB", help="leave these parameters as they are; repeatable"
    )


def _constant(words: str) -> tuple[str, float | str]:
    """Parse ``name=value``; a value that is no number is an expression."""
    name, equals, text = words.partition("=")
    if not equals or not name.isidentifier() or not text:
        raise argparse.ArgumentTypeError(f"a constant must be NAME=VALUE, got {words!r}")
    try:
        return name, float(text)
    except ValueError:
        return name, text


def add_constants(parser: _Parser) -> None:
    """Add ``--set``."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        type=_constant,
        metavar="NAME=VALUE",
        help="another value for a constant of the recipe, such as std=0.006; repeatable",
    )


def add_input(parser: _Parser, required: bool) -> None:
    """Add ``--input``."""
    parser.add_argument(
        "--input",
        required=required,
        action="append",
        metavar="SHAPE",
        help="standard normal noise of this shape, 8x3x32x32 or 8,3,32,32; or integers from 0 to 999, 2x16:1000; or a"
        " file with a tensor that torch.save wrote; once for each argument of forward",
    )
