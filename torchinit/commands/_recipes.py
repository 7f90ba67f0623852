"""The commands that show and run recipes: list, plan, init, attach."""

import argparse
import inspect

import torch

from torchinit._progress import Progress
from torchinit._table import first_line, to_json
from torchinit.commands import _arguments
from torchinit.commands._archive import Beside, beside, contents
from torchinit.commands._files import refuse_existing, save, script
from torchinit.keyed import key
from torchinit.recipes import Recipe, load
from torchinit.recipes._fills import INITIALIZERS
from torchinit.recipes._shipped import SHIPPED


def _first_line(function: object) -> str:
    # NB: python -OO drops docstrings.
    return first_line(inspect.getdoc(function) or "")


def _list(arguments: argparse.Namespace) -> None:
    if arguments.recipe is not None:
        print(load(arguments.recipe).to_toml(), end="")
        return
    rows = [["initializer", name, str(inspect.signature(f)), _first_line(f)] for name, f in INITIALIZERS.items()]
    rows += [["recipe", name, "", _first_line(f)] for name, f in SHIPPED.items()]
    if arguments.json:
        print(to_json(["kind", "name", "signature", "does"], rows))
        return
    for _, name, signature, does in rows:
        print(f"{name}{signature}\n    {does}".rstrip())


def _recipe(arguments: argparse.Namespace) -> Recipe:
    recipe = load(arguments.recipe)
    return recipe.keeping(*arguments.keep) if arguments.keep else recipe


def _plan(arguments: argparse.Namespace) -> None:
    plan = _recipe(arguments).plan(script(arguments.file))
    print(plan.to_json() if arguments.json else plan)


def _changed(arguments: argparse.Namespace, change: str, mobile: bool | None) -> None:
    """Read a module, change it, and write it; for the mobile interpreter, or for that of the old file."""
    refuse_existing(arguments.output, arguments.force)
    recipe, progress = _recipe(arguments), Progress(3, after=1.0)
    try:
        progress.step("read", arguments.file)
        module, kept = script(arguments.file), beside(arguments.file)
        if arguments.output.lower().endswith(".ptl") and not (kept.mobile if mobile is None else mobile):
            raise RuntimeError(
                f"a .ptl file is for the mobile interpreter (attach --mobile), got OUT {arguments.output}"
            )
        progress.step(change, arguments.file)
        if mobile is None:
            if arguments.keyed:
                recipe.apply_(module, key=key(arguments.seed))
            else:
                recipe.apply_(module, torch.Generator().manual_seed(arguments.seed))
        else:
            module, kept = recipe.attach(module, mobile), Beside(kept.extras, mobile)
        progress.step("write", arguments.output)
        save(arguments.output, contents(module, kept), arguments.force)
    finally:
        progress.clear()


def _init(arguments: argparse.Namespace) -> None:
    _changed(arguments, "initialize", mobile=None)


def _attach(arguments: argparse.Namespace) -> None:
    _changed(arguments, "attach", mobile=arguments.mobile)


def _on_a_model(parser: argparse.ArgumentParser, writes: bool) -> None:
    parser.add_argument("file", metavar="FILE", help="a TorchScript file, scripted or traced")
    parser.add_argument("--recipe", required=True, metavar="R", help=f"{', '.join(SHIPPED)}, or a TOML file")
    parser.add_argument(
        "--keep",
        action="append",
        type=_arguments.glob,
        metavar="GLOB",
        help="leave these parameters as they are; repeatable",
    )
    if writes:
        parser.add_argument(
            "-o", "--output", required=True, type=_arguments.model, metavar="OUT", help="the file to write"
        )
        parser.add_argument("--force", action="store_true", help="overwrite OUT if it exists, also FILE itself")


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the commands."""
    parser = commands.add_parser("list", help="the initializers with their signatures, and the recipes")
    parser.add_argument("--recipe", metavar="R", help="print this recipe as TOML instead, to start one's own from")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_list)

    parser = commands.add_parser("plan", help="what a recipe would do to a model, without doing it")
    _on_a_model(parser, writes=False)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_plan)

    parser = commands.add_parser("init", help="re-initialize a saved model")
    _on_a_model(parser, writes=True)
    parser.add_argument(
        "--seed", type=_arguments.seed, required=True, metavar="N", help="of the generator that all draws come from"
    )
    parser.add_argument(
        "--keyed", action="store_true", help="draw each parameter from the seed and its name, whatever else there is"
    )
    parser.set_defaults(run=_init)

    parser = commands.add_parser(
        "attach", help="give a saved model methods reset_parameters and reset_parameters_keyed"
    )
    _on_a_model(parser, writes=True)
    parser.add_argument("--mobile", action="store_true", help="for the mobile interpreter: the method takes a seed")
    parser.set_defaults(run=_attach)
