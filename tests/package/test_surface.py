"""Is torchinit a drop-in for torch.nn.init: names, signatures, plain functions, quiet and cheap import?"""

import ast
import inspect
import json
import subprocess
import sys
import types
from pathlib import Path

import pytest
import torch

import torchinit
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


def _run(code: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *options, "-c", code], capture_output=True, text=True, check=False)


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


def test_import_is_silent_when_warnings_are_errors() -> None:
    done = _run("import torchinit", "-W", "error")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_import_adds_only_its_own_modules_to_torch() -> None:
    done = _run(
        "import sys, torch\n"
        "before = set(sys.modules)\n"
        "import torchinit\n"
        "print(sorted(m for m in set(sys.modules) - before if not m.split('.')[0] == 'torchinit'))"
    )
    assert done.stdout == "[]\n", done.stderr


# The extras of setup.cfg, imported on use.
EXTRAS = {"argcomplete", "matplotlib", "tomli"}


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


def test_command_line_works_without_the_extras(tmp_path: Path) -> None:
    code = f"""
import sys
sys.modules.update(dict.fromkeys({sorted(EXTRAS)!r}))
import torch
from torchinit import cli
torch.save(torch.nn.Linear(2, 3).state_dict(), {str(tmp_path / "state.pt")!r})
assert cli.main(["list"]) == 0
assert cli.main(["inspect", {str(tmp_path / "state.pt")!r}]) == 0
assert cli.main(["inspect", {str(tmp_path / "state.pt")!r}, "--plot", {str(tmp_path / "out.png")!r}]) == 1
"""
    done = _run(code)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "torchinit: --plot needs the package matplotlib: pip install 'torchinit[plot]'\n"


def test_no_file_of_the_package_opens_a_grad_mode_context_or_writes_through_data() -> None:
    for path in PACKAGE.rglob("*.py"):
        nodes = list(ast.walk(ast.parse(path.read_text())))
        names = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
        names |= {alias.name for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names}
        found = names & {"no_grad", "enable_grad", "inference_mode", "set_grad_enabled", "data"}
        assert not found, path


def test_import_does_not_load_torch() -> None:
    code = "import sys, torchinit; assert 'torch' not in sys.modules; print(len(vars(torchinit)))"
    done = _run(code)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("use", ["torch.jit.script(f)(w)", "torch.compile(f, backend='eager', fullgraph=True)(w)"])
def test_functions_are_loaded_wherever_the_first_one_is_used(use: str, tmp_path: Path) -> None:
    # TorchScript needs a file.
    program = tmp_path / "program.py"
    program.write_text(
        "import warnings, torchinit, torch\n"
        "warnings.simplefilter('ignore')\n"
        "def f(w: torch.Tensor):\n"
        "    return torchinit.ones_(w)\n"
        "w = torch.zeros(2)\n"
        f"{use}\n"
        "assert w.tolist() == [1, 1]\n"
    )
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_import_loads_only_the_initializers_and_does_little() -> None:
    # Count modules and function calls. Milliseconds depend on the machine; `make bench` reports them.
    done = _run(
        "import json, sys, torch\n"
        "before, calls = set(sys.modules), 0\n"
        "def count(frame, event, _):\n"
        "    global calls\n"
        "    calls += event == 'call' and 'importlib' not in frame.f_code.co_filename\n"
        "sys.setprofile(count)\n"
        "import torchinit\n"
        "torchinit.normal_\n"
        "sys.setprofile(None)\n"
        "print(json.dumps([sorted(set(sys.modules) - before), calls]))"
    )
    modules, calls = json.loads(done.stdout)
    assert {name.split(".")[1] for name in modules if "." in name} == {"_core"}
    assert len(modules) <= 30
    assert calls <= 400


@pytest.mark.slow
def test_everything_but_scripting_works_when_torchscript_is_gone() -> None:
    code = """
import torch
def gone(*args, **kwargs):
    raise RuntimeError("TorchScript is gone")
for name in ("script", "trace", "trace_module", "save", "load", "freeze"):
    setattr(torch.jit, name, gone)
import torchinit
class Model(torch.nn.Module):
    def __init__(self, fill, shape):
        super().__init__()
        self.register_buffer("w", torch.zeros(shape))
        self.fill = fill
    def forward(self, x):
        return self.fill(self.w) * x
extra = {"constant_": (0.3,), "sparse_": (0.5,), "block_orthogonal_": (2,)}
shapes = {
    **dict.fromkeys(("lstm_bias_", "rotary_inv_freq_", "alibi_slopes_"), (8,)),
    **dict.fromkeys(("dirac_", "delta_orthogonal_", "bilinear_", "icnr_"), (6, 4, 3)),
}
for name in [name for name in torchinit.__all__ if name.endswith("_")]:
    shape = shapes.get(name, (6, 4))
    fill = lambda w: getattr(torchinit, name)(w, *extra.get(name, ()))
    torch.manual_seed(0)
    expected, x = fill(torch.zeros(shape)), torch.ones(shape)
    torch.compiler.reset()
    for run in (
        Model(fill, shape),
        torch.compile(Model(fill, shape), fullgraph=True, backend="aot_eager"),
        torch.export.export(Model(fill, shape), (x,)).module(),
    ):
        torch.manual_seed(0)
        assert torch.equal(run(x), expected), name
print("works")
"""
    done = _run(code)
    assert done.stdout == "works\n", done.stderr


def test_subpackages_are_imported_when_first_used() -> None:
    names = ["deploy", "diagnostics", "keyed", "recipes"]
    assert set(names) <= set(dir(torchinit))
    with pytest.raises(AttributeError, match=r"^module 'torchinit' has no attribute 'recipe'$"):
        torchinit.recipe  # noqa: B018
    code = f"""
import sys, torchinit
for name in {names}:
    assert f"torchinit.{{name}}" not in sys.modules or name in ("keyed", "recipes"), name
    assert getattr(torchinit, name) is sys.modules[f"torchinit.{{name}}"]
"""
    done = _run(code)
    assert done.returncode == 0, done.stderr
