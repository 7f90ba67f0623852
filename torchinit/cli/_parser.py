"""The arguments of all commands. Nothing here imports torch, which takes seconds: help and completion are immediate."""

import argparse
import platform
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from runpy import run_path
from typing import Any

import torchinit
from torchinit.cli import _arguments as arguments

_SIDE = (
    "a model file as inspect reads it, a recording's .init file, timm:NAME, hf:TYPE or package.module:factory, with"
    " arguments in one word, 'hf:gpt2 n_layer=2', or a recipe: a name or a TOML file"
)


def _list(parser: argparse.ArgumentParser) -> None:
    arguments.add_recipe(parser, "print this recipe as TOML instead, as a start for your own")
    arguments.add_constants(parser)
    arguments.add_json(parser)


def _record(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Run the code that builds a model, without memory for its tensors and without downloads, and show what fills each"
        " parameter and buffer. OUT.init holds all of it, for plan, init and attach; OUT.toml holds the rules that say"
        " the same as a recipe."
    )
    parser.add_argument("model", metavar="MODEL", help=arguments.MODEL)
    arguments.add_values(parser)
    parser.add_argument("--audit", action="store_true", help="show what the audit finds instead")
    arguments.add_table(parser, bad=True)
    arguments.add_json(parser)
    arguments.add_recording_output(parser)


def _diff(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Compare two models tensor by tensor: whether bits are equal, else whether shapes, types and distributions are, by"
        " tests at the size of each tensor. Values are tested against what a recording or a recipe fills a tensor with,"
        " and two of these are compared by their laws. The exit code is 0 if they are equal, 1 if they differ, and 2 if"
        " there is an error."
    )
    for name in ("a", "b"):
        side = parser.add_argument(name, metavar=name.upper(), help=_SIDE if name == "a" else "likewise")
        arguments.complete_recipes(side)
    parser.add_argument(
        "--any-seed",
        action="store_true",
        help="other values of the same distribution, such as those of another seed, are no difference",
    )
    for name in ("a", "b"):
        arguments.add_key(parser, f"--key-{name}", of=f" {name.upper()}")
    parser.add_argument(
        "--model", metavar="MODEL", help="the model, in a file or as A, that two recipes are planned for"
    )
    arguments.add_table(parser)
    arguments.add_json(parser)
    arguments.add_plot(parser, "draw the distributions that differ")
    parser.set_defaults(failed=2)


def _plan(parser: argparse.ArgumentParser) -> None:
    arguments.add_model_and_recipe(parser)
    arguments.add_layers(parser)
    arguments.add_table(parser)
    arguments.add_json(parser)


def _init(parser: argparse.ArgumentParser) -> None:
    arguments.add_model_and_recipe(parser)
    arguments.add_layers(parser)
    arguments.add_model_output(parser, any_kind=True)
    arguments.add_seed(parser, "seed of the generator for all draws", required=True)
    parser.add_argument("--keyed", action="store_true", help="draw each parameter from the seed and its name alone")


def _attach(parser: argparse.ArgumentParser) -> None:
    arguments.add_model_and_recipe(parser, "a TorchScript file")
    arguments.add_model_output(parser)
    parser.add_argument("--mobile", action="store_true", help="for the mobile interpreter: the method takes a seed")


def _inspect(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Show mean, std and more of each parameter of FILE, and which distribution and which known initialization it has."
        " FILE is a TorchScript archive, a checkpoint or a state dict that torch.save wrote, safetensors, an archive of"
        " torch.export, or a directory or an index of shards as transformers writes it. A parameter is marked for what no"
        " sound initialization gives, such as copied or dead rows, outliers or a scale that blows up the signal. In a file"
        " without modules, a transposed or grouped convolution looks like any other, and its fans are counted as such."
        " Integers are shown and never marked; quantized tensors are measured by the values that they stand for."
    )
    parser.add_argument(
        "file", metavar="FILE", help="the file or directory to read; of its code, only TorchScript's is run"
    )
    arguments.add_key(parser)
    parser.add_argument(
        "--check", action="store_true", help="exit with 1 if a parameter is marked, and with 2 if there is an error"
    )
    arguments.add_table(parser, bad=True)
    arguments.add_json(parser, "print JSON, one object a parameter, with all digits")
    arguments.add_plot(parser, "draw a histogram of each parameter")
    arguments.add_recipe(parser, "also draw what this recipe would do: a name, a TOML file or a .init file")
    arguments.add_seed(parser, "seed of the recipe's draws (default: 0)")


def _probe(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Run a model forward and backward on noise, without training data, and show the scale (root mean square) of the"
        " output of each layer and of the gradient there, each with its ratio to the layer that the signal comes from. A"
        " row x + NAME is the residual stream after the branch NAME. Parameters count as trainable; the file is not"
        " changed. The last line fits one factor per layer, or per sum of the residual stream: a signal that grows or"
        " shrinks by more than 100 in all explodes or vanishes. A zero is on purpose, and not marked, if the weight of"
        " zeros that makes it learns and the signal passes around it."
    )
    parser.add_argument("file", metavar="FILE", help="a TorchScript file, or with --like the weights of a model")
    arguments.add_input(parser, required=True)
    arguments.add_layers(parser)
    arguments.add_seed(parser, "seed of the noise (default: 0)")
    arguments.add_table(parser, bad=True)
    arguments.add_json(parser)
    arguments.add_plot(parser, "draw a picture too")


def _report(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Write one page of HTML, without a script and without anything from elsewhere: what is marked and what to do about"
        " it, what was meant, how the values are distributed, how the scale of the signal moves through the layers, which"
        " draws are overwritten, and the memory. MODEL is a file or directory that `inspect` reads, or a model that"
        f" `record` takes: {arguments.MODEL}. Such a model is built, and its own code says what was meant."
    )
    parser.add_argument("model", metavar="MODEL", help="the file to read, or the model to build")
    arguments.add_values(parser)
    meant = parser.add_mutually_exclusive_group()
    arguments.add_recipe(meant, "what was meant: a recipe's name, a TOML file or a .init file")
    meant.add_argument("--recording", metavar="F", help="what was meant: a .init file of `record`")
    arguments.add_constants(parser)
    arguments.add_input(parser, required=False)
    arguments.add_key(parser)
    parser.add_argument("--meta", action="store_true", help="build no values: show what is meant alone")
    arguments.add_seed(parser, "seed of what is built, of the noise and of the input (default: 0)")
    parser.add_argument("--time", action="store_true", help="measure how long a draw of all tensors takes")
    parser.add_argument("--date", action="store_true", help="show today's date")
    arguments.add_page_output(parser)


def _bundle(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Write torchinit.pt, torchinit.ptl, include/torchinit/init.h, torchinitConfig.cmake and an example into DIR, for"
        " the torch that is installed, and print their paths."
    )
    parser.add_argument("directory", metavar="DIR", help="the folder to write to; created if it does not exist")
    parser.add_argument("--force", action="store_true", help="overwrite existing files")


# Each command: its purpose, and the function that adds its arguments.
_COMMANDS: dict[str, tuple[str, Callable[[argparse.ArgumentParser], None]]] = {
    "list": ("list the initializers with their signatures, and the recipes", _list),
    "record": ("show how a model's own code initializes it, and save that", _record),
    "diff": ("compare two models, or how they are initialized", _diff),
    "plan": ("show what a recipe would do to a model, without doing it", _plan),
    "init": ("re-initialize a saved model", _init),
    "attach": ("give a saved model methods reset_parameters and reset_parameters_keyed", _attach),
    "inspect": ("show statistics of the parameters of a file, and which initialization they have", _inspect),
    "probe": ("show where a model's activations and gradients vanish or explode, on noise", _probe),
    "report": ("write a page about how a model is initialized, with pictures", _report),
    "bundle": ("write what a C++ or mobile program needs, for the torch that is installed", _bundle),
}


def _torch_version() -> str:
    # Its package's metadata do not say which CUDA it was built for.
    found = find_spec("torch")
    assert found is not None
    assert found.origin is not None
    return str(run_path(str(Path(found.origin).with_name("version.py")))["__version__"])


class _Version(argparse.Action):
    """Print the versions."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        python = f"Python {platform.python_version()}, {platform.system()} {platform.machine()}"
        print(f"torchinit {torchinit.__version__}, torch {_torch_version()}, {python}")
        parser.exit()


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line; its result has ``usage_error``, which reports wrong usage and exits."""
    parser = argparse.ArgumentParser(prog="torchinit", description="Weight initialization.")
    parser.add_argument("--version", action=_Version, nargs=0, help="show the versions of torchinit, torch and Python")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (does, add_arguments) in _COMMANDS.items():
        command = commands.add_parser(name, help=does, description=f"{does[0].upper()}{does[1:]}.")
        add_arguments(command)
        command.set_defaults(usage_error=command.error)
    return parser
