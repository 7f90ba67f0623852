"""Re-initializes the same two weights at every deployment target, and compares with eager."""

import io
import subprocess
import warnings
from collections.abc import Callable

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
  const auto hidden = init.orthogonal_(torch::zeros({{32, 16}}), 0.5);
  const auto head = init.eye_(torch::zeros({{4, 32}}));
  const auto values = torch::cat({{hidden.flatten(), head.flatten()}});
  for (int64_t i = 0; i < values.numel(); ++i) {{
    std::printf("%a\\n", values[i].item<float>());
  }}
}}
"""


class Weights(nn.Module):
    """Two buffers that each call fills with one random draw in all: torch 2.6's inductor may swap two draws."""

    hidden: Tensor
    head: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("hidden", torch.zeros(32, 16))
        self.register_buffer("head", torch.zeros(4, 32))

    def forward(self) -> Tensor:
        hidden, head = torchinit.orthogonal_(self.hidden, gain=0.5), torchinit.eye_(self.head)
        return torch.cat([hidden.flatten(), head.flatten()])


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
    hidden = lite.run_method("orthogonal_", torch.zeros(32, 16), 0.5)
    head = lite.run_method("eye_", torch.zeros(4, 32))
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
    return _seeded(native.package(torch.export.export(Weights(), (), strict=False)))


# Name of a target: the function that runs it, and the one that says what it lacks here.
TARGETS: dict[str, tuple[Callable[[], Tensor], Callable[[], str | None]]] = {
    "C++ (libtorch)": (in_cpp, native.missing),
    "lite interpreter": (in_the_lite_interpreter, lambda: None),
    "torch.compile": (compiled, native.missing_compiler),
    "torch.export": (exported, lambda: None),
    "AOTInductor": (packaged, native.missing_compiler),
}


def try_target(name: str) -> tuple[bool, str]:
    """Run one target; return whether the demo may go on, and the text: yes, no, or why it was skipped."""
    run, missing = TARGETS[name]
    reason = missing()
    if reason is not None:
        return True, f"skipped, {reason}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            equal = torch.equal(run(), _seeded(Weights()))
        except Exception as error:
            # Any error is a no, with its reason.
            return False, f"no, {type(error).__name__}: {str(error).splitlines()[0]}"
    return equal, "yes" if equal else "no"
