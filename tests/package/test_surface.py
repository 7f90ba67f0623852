"""Is torchinit a drop-in for torch.nn.init: names, signatures and plain functions?"""

import ast
import inspect
import sys
import types
from pathlib import Path

import pytest
import torch

import torchinit
from tests.package.test_import import EXTRAS
from tests.support.record import DEPRECATED, ROWS
from tests.support.records import RECORDS
from tools.codegen.functions import UPSTREAM as ROWS_OF_UPSTREAM

UPSTREAM = torch.nn.init
PACKAGE = Path(torchinit.__file__).parent

# Names of torch.nn.init that are neither public nor functions to call.
NOT_OFFERED = {
    "_make_deprecate": "made the deprecated names, which are real functions here",
    "_FanMode": "a typing alias; in the stub alone",
    "_NonlinearityType": "a typing alias; in the stub alone",
    "_R": "a type variable",
    "_P": "a type variable",
    "Tensor": "an import",
    "Callable": "an import",
    "Literal": "an import",
    "Optional": "an import",
    "Union": "an import",
    "ParamSpec": "an import",
    "TypeVar": "an import",
    "_Optional": "an import",
}


def test_all_holds_upstreams_26_names_in_upstreams_order() -> None:
    names = [name for name in torchinit.__all__ if hasattr(UPSTREAM, name)]
    assert len(names) == 26
    # torch 2.6 has no __all__ in torch.nn.init.
    assert names == list(getattr(UPSTREAM, "__all__", names))


def test_every_function_of_upstream_is_there() -> None:
    missing = {
        name
        for name, value in vars(UPSTREAM).items()
        if not isinstance(value, types.ModuleType) and not name.startswith("__") and not hasattr(torchinit, name)
    }
    assert missing <= set(NOT_OFFERED)


def test_dir_offers_nothing_but_the_names_and_subpackages() -> None:
    offered = {name for name in dir(torchinit) if not name.startswith("_")}
    assert offered - {"cli"} == {*torchinit.__all__, "deploy", "diagnostics", "keyed", "recipes", "recording"}


@pytest.mark.parametrize("name", [*(row.name for row in ROWS_OF_UPSTREAM), *DEPRECATED])
def test_signature_equals_upstreams(name: str) -> None:
    def shape(function: object) -> list[tuple[str, object, object]]:
        return [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]

    current = DEPRECATED[name].name if name in DEPRECATED else name
    assert shape(getattr(torchinit, name)) == shape(getattr(UPSTREAM, current))


@pytest.mark.parametrize("name", [*ROWS, *DEPRECATED])
def test_name_is_a_plain_function_of_that_name(name: str) -> None:
    function = getattr(torchinit, name)
    assert type(function) is types.FunctionType
    assert function.__name__ == name
    assert function.__doc__ or name.startswith("_")


def test_first_docstring_lines_are_unique() -> None:
    lines = [getattr(torchinit, name).__doc__.splitlines()[0] for name in torchinit.__all__]
    assert len(set(lines)) == len(lines)


def test_every_initializer_has_a_record() -> None:
    assert {record.name for record in RECORDS} == {
        name for name in torchinit.__all__ if name.endswith("_") or name in DEPRECATED
    }


def test_package_imports_nothing_but_torch_the_standard_library_and_extras() -> None:
    imported = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0
                imported.add(str(node.module).split(".")[0])
    # tomllib is in the standard library since Python 3.11.
    # Builds of torch for a GPU bring Triton.
    assert imported - set(sys.stdlib_module_names) - {"tomllib"} == {"torch", "torchinit", "triton"} | EXTRAS


def test_no_file_of_the_package_opens_a_grad_mode_context_or_writes_through_data() -> None:
    for path in PACKAGE.rglob("*.py"):
        nodes = list(ast.walk(ast.parse(path.read_text())))
        names = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
        names |= {alias.name for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names}
        found = names & {"no_grad", "enable_grad", "inference_mode", "set_grad_enabled", "data"}
        assert not found, path
