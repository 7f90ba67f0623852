"""Re-initializes the same two weights at every place a model is deployed to, and compares with eager."""

import io
import os
import subprocess
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
import torch._inductor.config
from torch import Tensor, nn
from torch.jit.mobile import _load_for_lite_interpreter

import torchinit
from tools import native
from torchinit.deploy import mobile_bundle

SEED = 2026

_PROGRAM = f"""\
#include <torchinit/init.h>
#include <cstdio>

int main() {{
  const torchinit::Init init(TORCHINIT_BUNDLE);
  at::manual_seed({SEED});
  const auto hidden = init.kaiming_uniform_(torch::zeros({{32, 16}}), 0, "fan_in", "relu");
  const auto head = init.orthogonal_(torch::zeros({{4, 32}}));
  const auto values = torch::cat({{hidden.flatten(), head.flatten()}});
  for (int64_t i = 0; i < values.numel(); ++i) {{
    std::printf("%a\\n", values[i].item<float>());
  }}
}}
"""


class Weights(nn.Module):
    """Two buffers that each call fills anew."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("hidden", torch.zeros(32, 16))
        self.register_buffer("head", torch.zeros(4, 32))

    def forward(self) -> Tensor:
        hidden = torchinit.kaiming_uniform_(self.get_buffer("hidden"), nonlinearity="relu")
        return torch.cat([hidden.flatten(), torchinit.orthogonal_(self.get_buffer("head")).flatten()])


def _seeded(fill: Callable[[], Tensor]) -> Tensor:
    torch.manual_seed(SEED)
    return fill()


def in_cpp() -> Tensor:
    done = subprocess.run([native.program(_PROGRAM)], capture_output=True, text=True, check=True)
    return torch.tensor([float.fromhex(line) for line in done.stdout.split()])


def in_the_lite_interpreter() -> Tensor:
    file = io.BytesIO(mobile_bundle()._save_to_buffer_for_lite_interpreter())
    lite = _load_for_lite_interpreter(file)  # type: ignore[no-untyped-call]
    torch.manual_seed(SEED)
    hidden = lite.run_method("kaiming_uniform_", torch.zeros(32, 16), 0.0, "fan_in", "relu")
    head = lite.run_method("orthogonal_", torch.zeros(4, 32))
    return torch.cat([hidden.flatten(), head.flatten()])


def compiled() -> Tensor:
    with torch._inductor.config.patch(fallback_random=True):
        return _seeded(torch.compile(Weights(), fullgraph=True))


def exported() -> Tensor:
    file = io.BytesIO()
    torch.export.save(torch.export.export(Weights(), ()), file)
    file.seek(0)
    return _seeded(torch.export.load(file).module())


def packaged() -> Tensor:
    with tempfile.TemporaryDirectory() as folder, torch._inductor.config.patch(fallback_random=True):
        package = torch._inductor.aoti_compile_and_package(
            torch.export.export(Weights(), ()), package_path=os.fspath(Path(folder) / "weights.pt2")
        )
        return _seeded(torch._inductor.aoti_load_package(package))


# The name of each, what runs it, and whether that needs a compiler.
TARGETS: dict[str, tuple[Callable[[], Tensor], bool]] = {
    "C++ (libtorch)": (in_cpp, True),
    "lite interpreter": (in_the_lite_interpreter, False),
    "torch.compile": (compiled, True),
    "torch.export": (exported, False),
    "AOTInductor": (packaged, True),
}


def try_target(name: str) -> tuple[bool, str]:
    """Run one; return whether the demo may go on, and what it shows: yes, no, or why it was left out."""
    run, compiles = TARGETS[name]
    reason = native.missing()
    if compiles and reason is not None:
        return True, f"skipped, {reason}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            equal = torch.equal(run(), _seeded(Weights()))
        except Exception as error:
            # Whatever went wrong there, the answer is no, and why.
            return False, f"no, {type(error).__name__}: {str(error).splitlines()[0]}"
    return equal, "yes" if equal else "no"
