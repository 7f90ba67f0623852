"""``attach``: give a saved model methods that reset it."""

import argparse

from torchinit.cli._archive import output_extras, serialize
from torchinit.cli._files import load_torchscript
from torchinit.cli._output import Output
from torchinit.cli._outputs import check_output, save
from torchinit.cli._recordings import fitted, recipe_of
from torchinit.cli._weights import check_script
from torchinit.recording import Recording


def run(arguments: argparse.Namespace, output: Output) -> None:
    check_output(arguments.output, arguments.force)
    recipe = recipe_of(arguments)
    with output.progress(3) as progress:
        progress.step("reading", arguments.file)
        module = load_torchscript(arguments.file)
        extras = output_extras(arguments.file, arguments.output, arguments.mobile)
        check_script(module, arguments.file, output)
        progress.step("attaching", arguments.file)
        if isinstance(recipe, Recording):
            recipe = fitted(recipe, module)
        attached = recipe.attach(module, mobile=arguments.mobile)
        progress.step("writing", arguments.output)
        save(arguments.output, serialize(attached, extras), arguments.force)
    output.written(arguments.output)
