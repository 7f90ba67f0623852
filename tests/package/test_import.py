"""Is the import of torchinit quiet, cheap and free of other packages, also where the extras or TorchScript are gone?"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import torchinit
from tests.support.forked import run_script

# One process answers all questions of a fresh interpreter: the import of torch takes seconds.
# Count function calls. Milliseconds depend on the machine; `make bench` reports them.
_ANSWERS = """
import json, sys, warnings
bare = set(sys.modules)
import torchinit
found = {"loads torch": "torch" in sys.modules}
# Import it once more, now beside torch.
for name in set(sys.modules) - bare:
    del sys.modules[name]
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import torch

before, calls = set(sys.modules), 0
def new():
    return sorted(set(sys.modules) - before)
def count(frame, event, _):
    global calls
    calls += event == "call" and "importlib" not in frame.f_code.co_filename

sys.setprofile(count)
import torchinit
found["modules of the import"] = new()
torchinit.normal_
sys.setprofile(None)
found["modules of a function"] = new()
found["calls"] = calls

class Own(torch.Tensor): pass
for weight in (torch.zeros(4, 4), torch.nn.Parameter(torch.zeros(4, 4)), torch.zeros(4, 4).as_subclass(Own)):
    for init in (torchinit.normal_, torchinit.eye_, torchinit.orthogonal_):
        init(weight)
found["modules of plain tensors"] = new()

found["subpackages"] = {}
for name in ("deploy", "diagnostics", "keyed", "recipes"):
    module = f"torchinit.{name}"
    is_new = module not in sys.modules
    found["subpackages"][name] = [is_new, getattr(torchinit, name) is sys.modules[module]]
print(json.dumps(found))
"""
# The extras of setup.cfg, imported on use.
EXTRAS = {"argcomplete", "matplotlib", "tomli"}


@pytest.fixture(scope="module")
def answers() -> dict[str, Any]:
    done = subprocess.run([sys.executable, "-W", "error", "-c", _ANSWERS], capture_output=True, text=True, check=False)
    # Warnings are errors, and nothing else is printed.
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def test_import_is_silent_when_warnings_are_errors_and_does_not_load_torch(answers: dict[str, Any]) -> None:
    assert answers["loads torch"] is False


def test_import_adds_only_its_own_modules_to_torch(answers: dict[str, Any]) -> None:
    assert [name for name in answers["modules of the import"] if name.split(".")[0] != "torchinit"] == []


def test_import_loads_only_the_initializers_and_does_little(answers: dict[str, Any]) -> None:
    modules = answers["modules of a function"]
    assert {name.split(".")[1] for name in modules if "." in name} == {"_core"}
    assert len(modules) <= 30
    assert answers["calls"] <= 400


def test_plain_tensors_import_nothing_of_torch_distributed_tensor(answers: dict[str, Any]) -> None:
    assert [name for name in answers["modules of plain tensors"] if "distributed" in name] == []


def test_subpackages_are_imported_when_first_used(answers: dict[str, Any]) -> None:
    names = ["deploy", "diagnostics", "keyed", "recipes"]
    assert set(names) <= set(dir(torchinit))
    with pytest.raises(AttributeError, match=r"^module 'torchinit' has no attribute 'recipe'$"):
        torchinit.recipe  # noqa: B018
    assert list(answers["subpackages"]) == names
    for name, (is_new, is_module) in answers["subpackages"].items():
        # Others import these two.
        assert is_new or name in ("keyed", "recipes"), name
        assert is_module, name


def _run(code: str, folder: Path) -> str:
    """Run a program, in a process that has imported torch but nothing that torchinit loads on use; return its output."""
    program = folder / "program.py"
    program.write_text("import sys\nassert 'torchinit._core' not in sys.modules\n" + code)
    ended, output = run_script(program, folder)
    assert ended == 0, output
    return output


@pytest.mark.parametrize("use", ["torch.jit.script(f)(w)", "torch.compile(f, backend='eager', fullgraph=True)(w)"])
def test_functions_are_loaded_wherever_the_first_one_is_used(use: str, tmp_path: Path) -> None:
    code = f"""
import warnings, torchinit, torch
warnings.simplefilter('ignore')
def f(w: torch.Tensor):
    return torchinit.ones_(w)
w = torch.zeros(2)
{use}
assert w.tolist() == [1, 1]
"""
    _run(code, tmp_path)


def test_function_that_was_replaced_before_the_first_use_stays_replaced(tmp_path: Path) -> None:
    code = """
import torchinit
torchinit.normal_ = "mine"
assert callable(torchinit.zeros_)
assert torchinit.normal_ == "mine"
"""
    _run(code, tmp_path)


def test_command_line_works_without_the_extras(tmp_path: Path) -> None:
    code = f"""
import contextlib, io
sys.modules.update(dict.fromkeys({sorted(EXTRAS)!r}))
import torch
from torchinit import cli
torch.save(torch.nn.Linear(2, 3).state_dict(), "state.pt")
with contextlib.redirect_stdout(io.StringIO()):
    assert cli.main(["list"]) == 0
    assert cli.main(["inspect", "state.pt"]) == 0
    assert cli.main(["inspect", "state.pt", "--plot", "out.png"]) == 1
"""
    expected = "torchinit: --plot needs the package matplotlib: pip install 'torchinit[plot]'\n"
    assert _run(code, tmp_path) == expected


@pytest.mark.slow
def test_everything_but_scripting_works_when_torchscript_is_gone(tmp_path: Path) -> None:
    # One graph with every initializer.
    code = """
import torch
def gone(*args, **kwargs):
    raise RuntimeError("TorchScript is gone")
for name in ("script", "trace", "trace_module", "save", "load", "freeze"):
    setattr(torch.jit, name, gone)
import torchinit
names = [name for name in torchinit.__all__ if name.endswith("_")]
extra = {"constant_": (0.3,), "sparse_": (0.5,), "block_orthogonal_": (2,)}
shapes = {
    **dict.fromkeys(("lstm_bias_", "rotary_inv_freq_", "alibi_slopes_"), (8,)),
    **dict.fromkeys(("dirac_", "delta_orthogonal_", "bilinear_", "icnr_"), (6, 4, 3)),
}
class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        for name in names:
            self.register_buffer(name, torch.zeros(shapes.get(name, (6, 4))))
    def forward(self, x):
        return [getattr(torchinit, name)(getattr(self, name), *extra.get(name, ())) * x for name in names]
x = torch.ones(())
torch.manual_seed(0)
expected = Model()(x)
for run in (
    torch.compile(Model(), fullgraph=True, backend="aot_eager"),
    torch.export.export(Model(), (x,)).module(),
):
    torch.manual_seed(0)
    for name, values, wanted in zip(names, run(x), expected, strict=True):
        assert torch.equal(values, wanted), name
print("works")
"""
    assert _run(code, tmp_path).endswith("works\n")
