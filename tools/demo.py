"""The demo: record a model and let its traced file reset itself in C++; then every deployment target, and all names.

``make demo`` runs it; it exits non-zero if any row of torchinit fails.
"""

import importlib.util
import math
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import torchinit
from tools import native
from tools.attached import attach_and_reset
from tools.targets import TARGETS, try_target
from torchinit.cli._progress import Progress

MODEL = """\
import torch
from torch import nn

import torchinit


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(3, 16, 3, bias=False)
        self.head = nn.Linear(16, 10)

    @torch.jit.export
    def reset_parameters(self):
        torchinit.kaiming_normal_(self.convolution.weight, mode="fan_out", nonlinearity="relu")
        torchinit.trunc_normal_(self.head.weight, std=0.02)
        torchinit.zeros_(self.head.bias)

    def forward(self, x):
        return self.head(self.convolution(x).relu().mean((2, 3)))
"""

# Runs with torch and the model's file, without torchinit.
ELSEWHERE = """\
import sys
sys.modules["torchinit"] = None
try:
    import torchinit
except ImportError:
    print("torchinit can be imported: no")
import torch
net = torch.jit.load("net.pt")
torch.manual_seed(2026)
net.reset_parameters()
torch.save({name: weight.detach() for name, weight in net.named_parameters()}, "weights.pt")
"""

SEED = 2026
NAMES = [name for name in torchinit.__all__ if hasattr(torch.nn.init, name)]
ARGUMENTS: dict[str, dict[str, float]] = {"constant": {"val": 0.3}, "sparse": {"sparsity": 0.5}}


def _model(folder: Path) -> Any:
    """Write the model's file and make a model of it."""
    path = folder / "net.py"
    path.write_text(MODEL)
    spec = importlib.util.spec_from_file_location("net", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # TorchScript looks the class's module up by name.
    sys.modules["net"] = module
    spec.loader.exec_module(module)
    return module.Net()


def reset_elsewhere(progress: Progress) -> list[tuple[str, bool]]:
    """Script, save, load in a fresh process without torchinit, reset there; compare with eager, weight by weight."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        progress.step("save", "a scripted model")
        net = _model(folder)
        torch.jit.save(torch.jit.script(net), str(folder / "net.pt"))
        (folder / "net.py").unlink()
        progress.step("load", "it in a fresh process")
        done = subprocess.run(
            [sys.executable, "-c", ELSEWHERE], cwd=folder, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            return [(f"the fresh process failed: {done.stderr.strip().splitlines()[-1]}", False)]
        weights = torch.load(folder / "weights.pt")
    torch.manual_seed(SEED)
    net.reset_parameters()
    return [
        (done.stdout.strip(), done.stdout == "torchinit can be imported: no\n"),
        *((f"{name} {list(w.shape)}", torch.equal(w, weights[name])) for name, w in net.named_parameters()),
    ]


def _compiled(function: Callable[..., Any]) -> Any:
    try:
        return torch.jit.script(function)
    except Exception:
        # Any error means that it does not compile.
        return None


def _inverse_cdf_(tensor: Tensor) -> Tensor:
    """The truncated normal of torch 2.11, for the default arguments."""
    bound = math.erf(2.0 / math.sqrt(2.0))
    return tensor.uniform_(-bound, bound).erfinv_().mul_(math.sqrt(2.0)).clamp_(-2.0, 2.0)


def _draw(name: str, function: Callable[..., Any]) -> Tensor:
    if name == "calculate_gain":
        return torch.tensor([function("leaky_relu", 0.2), *map(function, ["linear", "tanh", "relu", "selu"])])
    torch.manual_seed(SEED)
    tensor = torch.full((8, 4, 3, 3) if name.startswith("dirac") else (64, 32), math.nan)
    function(tensor, **ARGUMENTS.get(name.rstrip("_"), {}))
    return tensor


def compare(name: str) -> tuple[bool, bool, bool]:
    """Return whether upstream compiles, whether torchinit does and draws as eager, whether the bits are upstream's."""
    ours, theirs = getattr(torchinit, name), getattr(torch.nn.init, name)
    eager, compiled = _draw(name, ours), _compiled(ours)
    oracle = _inverse_cdf_ if name == "trunc_normal_" else theirs
    return (
        _compiled(theirs) is not None,
        compiled is not None and torch.equal(_draw(name, compiled), eager),
        torch.equal(_draw(name, oracle), eager),
    )


def _mark(yes: bool) -> str:
    return "yes" if yes else "no"


def main() -> int:
    warnings.simplefilter("ignore")
    progress = Progress(len(NAMES) + len(TARGETS) + 3)
    weights = reset_elsewhere(progress)
    targets = []
    for name in TARGETS:
        progress.step("deploy", f"to {name}")
        targets.append((name, *try_target(name)))
    rows = []
    for name in NAMES:
        progress.step("compile", name)
        rows.append((name, *compare(name)))
    progress.step("record", "a model, and attach that to its traced file")
    missing = native.missing()
    table, attached = attach_and_reset() if missing is None else ("", [(f"skipped, {missing}", True)])
    progress.clear()

    print(f"torch {torch.__version__}, torchinit {torchinit.__version__}\n")
    print("An unmodified model of transformers, recorded without memory:\n")
    print(table)
    print("Its traced file got that as a method, and reset itself in C++; equal to building the model:")
    for text, equal in attached:
        print(f"  {text:60}{'' if text.startswith('skipped') else _mark(equal)}")
    print("\nA scripted model, saved, loaded in a fresh process, reset there from a seed; equal to eager:")
    for text, equal in weights:
        print(f"  {text:40}{'' if text.startswith('torchinit can') else _mark(equal)}")
    print("\nThe same weights, initialized at each deployment target; equal to eager:")
    for name, _, text in targets:
        print(f"  {name:40}{text}")
    print(f"\n{'name':20}{'torch.nn.init compiles':26}{'torchinit compiles':22}bits are upstream's")
    for name, upstream, compiles, equal in rows:
        note = " (torch 2.11's, see README)" if name == "trunc_normal_" and equal else ""
        print(f"{name:20}{_mark(upstream):26}{_mark(compiles):22}{_mark(equal)}{note}")
    counts = [sum(column) for column in list(zip(*rows, strict=True))[1:3]]
    print(f"\n{len(rows)} names: upstream compiles {counts[0]}, torchinit {counts[1]}")
    good = (
        all(equal for _, equal in weights)
        and all(equal for _, equal, _ in targets)
        and all(equal for _, equal in attached)
        and all(compiles and equal for _, _, compiles, equal in rows)
    )
    print("All of torchinit's rows hold." if good else "Some of torchinit's rows FAIL.")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
