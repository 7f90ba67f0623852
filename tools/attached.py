"""Resets a saved model in a C++ program that knows nothing of torchinit."""

import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn

from tools import native
from torchinit import recipes

SEED = 2026

_PROGRAM = """\
#include <torch/csrc/jit/mobile/import.h>
#include <torch/script.h>
#include <torch/torch.h>
#include <fstream>

int main(int, char** arguments) {
  const std::string kind = arguments[1];
  const std::string method = arguments[5];
  const int64_t seed = std::stoll(arguments[3]);
  c10::Dict<std::string, at::Tensor> state;
  if (kind == "script") {
    auto net = torch::jit::load(arguments[2]);
    if (method == "reset_parameters") {
      net.run_method(method, at::make_generator<at::CPUGeneratorImpl>(seed));
    } else {
      net.run_method(method, seed);
    }
    for (const auto& parameter : net.named_parameters()) state.insert(parameter.name, parameter.value.detach());
    for (const auto& buffer : net.named_buffers()) state.insert(buffer.name, buffer.value);
  } else {
    auto net = torch::jit::_load_for_mobile(arguments[2]);
    net.get_method(method)({c10::IValue(seed)});
    for (const auto& parameter : net.named_parameters()) state.insert(parameter.first, parameter.second.detach());
  }
  const auto bytes = torch::pickle_save(state);
  std::ofstream(arguments[4], std::ios::binary).write(bytes.data(), bytes.size());
}
"""


def reset_in_cpp(path: Path, kind: str, seed: int, method: str = "reset_parameters") -> dict[str, Tensor]:
    """Load a file in C++, as ``"script"`` or ``"mobile"``, reset it there, and return its parameters and buffers.

    The mobile interpreter names only the parameters that need a gradient; it takes the others for buffers.
    """
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "state.pt"
        native.run([str(native.program(_PROGRAM)), kind, str(path), str(seed), str(output), method], path.parent)
        # C++'s pickle names a function of torch.jit, which weights_only refuses.
        state: dict[str, Tensor] = torch.load(output, weights_only=False)
    return state


class Net(nn.Module):
    """A model without a reset method."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
        self.head = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(x).mean((2, 3)))
        return logits


def attach_and_reset() -> list[tuple[str, bool]]:
    """Trace a model, attach a method to its file on the command line, reset it in C++, compare with eager."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        traced = torch.jit.trace(Net(), torch.zeros(1, 3, 8, 8))  # type: ignore[no-untyped-call]
        traced.save(str(folder / "traced.pt"))
        before = torch.jit.load(str(folder / "traced.pt"))  # type: ignore[no-untyped-call]
        command = [sys.executable, "-m", "torchinit", "attach", "traced.pt", "--recipe", "resnet", "-o", "attached.pt"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            return [(f"attach failed: {done.stderr.strip()}", False)]
        state = reset_in_cpp(folder / "attached.pt", "script", SEED)
    fresh = recipes.resnet().apply_(Net(), torch.Generator().manual_seed(SEED))
    return [
        ("the traced file had no reset_parameters", not hasattr(before, "reset_parameters")),
        *((f"{key} {list(w.shape)}", torch.equal(w, state[key])) for key, w in fresh.state_dict().items()),
    ]
