"""Does a wheel of the tracked files install and work in an empty environment?"""

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
import torch

from tools.codegen.__main__ import ROOT
from torchinit import recipes

SMOKE = """
import pathlib, runpy, sys
import torch, torchinit
assert pathlib.Path(torchinit.__file__).is_relative_to(sys.prefix), torchinit.__file__
weight = torch.nn.Parameter(torch.empty(4, 3))
for init in (torchinit, torch.nn.init):
    torch.manual_seed(0)
    init.kaiming_uniform_(weight)
    print(weight.sum().item())
scripted = torch.jit.script(torchinit.trunc_normal_)
scripted(weight)
torchinit.sparse_(weight, sparsity=0.5)
from torchinit.deploy import write_package
print(len(write_package("package")))
# The command that the wheel installs, in this process.
sys.argv = [str(pathlib.Path(sys.executable).parent / "torchinit"), "list", "--recipe", "torch"]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    checkout = tmp_path_factory.mktemp("checkout")
    tracked = subprocess.run(
        ["git", "ls-files"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    for name in tracked.stdout.splitlines():
        if (ROOT / name).exists():
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            (checkout / name).write_bytes((ROOT / name).read_bytes())
    built = tmp_path_factory.mktemp("wheel")
    # The build tools are installed; the build needs no network.
    command = ["pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(built), str(checkout)]
    subprocess.run([sys.executable, "-m", *command], check=True)
    return next(built.glob("torchinit-*.whl"))


def test_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = archive.read(next(name for name in names if name.endswith("METADATA"))).decode()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"torchinit"}
    assert {"torchinit/__init__.pyi", "torchinit/py.typed", "torchinit/_core/deprecated.py"} <= set(names)
    assert any(name.endswith("LICENSE") for name in names)
    required = [line for line in metadata.splitlines() if line.startswith("Requires-Dist") and "extra ==" not in line]
    assert required == ["Requires-Dist: torch>=2.6"]
    recipes_of_the_package = {path.name for path in (ROOT / "torchinit/recipes/shipped").iterdir()}
    assert {f"torchinit/recipes/shipped/{name}" for name in recipes_of_the_package} <= set(names)


def test_wheel_works_in_an_empty_environment_outside_the_checkout(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "empty", with_pip=False)
    python = tmp_path / "empty" / "bin" / "python"
    site = next((tmp_path / "empty" / "lib").glob("python*/site-packages"))
    command = [
        "pip",
        "--python",
        str(python),
        "install",
        "--quiet",
        "--no-index",
        "--no-deps",
        "--no-compile",
        str(wheel),
    ]
    subprocess.run([sys.executable, "-m", *command], check=True)
    # Borrow this environment's torch. A .pth file does not process other .pth files, so its torchinit stays out.
    (site / "torch.pth").write_text(str(Path(torch.__file__).parents[1]) + "\n")
    done = subprocess.run([str(python), "-E", "-c", SMOKE], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    first, second, files, recipe = done.stdout.split("\n", 3)
    assert first == second
    assert files == "7"
    assert recipe == recipes.torch_default().to_toml()
