"""Resets a saved model in a C++ program that knows nothing of torchinit."""

import contextlib
import io
import tempfile
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

import torchinit
from tools import native
from torchinit import cli, recording

SEED = 2026

_PROGRAM = """\
#include <torch/csrc/jit/mobile/import.h>
#include <torch/csrc/jit/runtime/graph_executor.h>
#include <torch/script.h>
#include <torch/torch.h>
#include <fstream>

c10::Dict<std::string, at::Tensor> reset(
    const std::string& path, const std::string& kind, int64_t seed, const std::string& method) {
  c10::Dict<std::string, at::Tensor> state;
  if (kind != "mobile") {
    torch::jit::setGraphExecutorOptimize(kind == "script");
    auto net = torch::jit::load(path);
    if (method == "reset_parameters") {
      net.run_method(method, at::make_generator<at::CPUGeneratorImpl>(seed));
    } else {
      net.run_method(method, seed);
    }
    for (const auto& parameter : net.named_parameters()) state.insert(parameter.name, parameter.value.detach());
    for (const auto& buffer : net.named_buffers()) state.insert(buffer.name, buffer.value);
  } else {
    auto net = torch::jit::_load_for_mobile(path);
    net.get_method(method)({c10::IValue(seed)});
    for (const auto& parameter : net.named_parameters()) state.insert(parameter.first, parameter.second.detach());
  }
  return state;
}

// The output, then the path, kind, seed and method of each reset.
int main(int count, char** arguments) {
  c10::List<c10::Dict<std::string, at::Tensor>> states;
  for (int i = 2; i + 3 < count; i += 4) {
    states.push_back(reset(arguments[i], arguments[i + 1], std::stoll(arguments[i + 2]), arguments[i + 3]));
  }
  const auto bytes = torch::pickle_save(states);
  std::ofstream(arguments[1], std::ios::binary).write(bytes.data(), bytes.size());
}
"""


class Reset(NamedTuple):
    """A file, how to run it ("script", "unoptimized" script or "mobile"), and the seed for one of its methods."""

    path: Path
    kind: str
    seed: int
    method: str = "reset_parameters"


def reset_in_cpp(*resets: Reset) -> list[dict[str, Tensor]]:
    """Load and reset each file in one C++ program, and return the parameters and buffers of each.

    The mobile interpreter names only the parameters that need a gradient; it takes the others for buffers.
    """
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "states.pt"
        words = [str(word) for given in resets for word in given]
        native.run([str(native.program(_PROGRAM)), str(output), *words], Path(folder))
        # C++'s pickle names a function of torch.jit, which weights_only refuses.
        states: list[dict[str, Tensor]] = torch.load(output, weights_only=False)
    return states


# A vision transformer of transformers, as it is, but small.
KIND = "vit"
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
SIZES |= {"image_size": 16, "patch_size": 8}


def built() -> nn.Module:
    """Build the model by its own code."""
    from transformers import AutoConfig, AutoModel

    config = AutoConfig.for_model(KIND, **SIZES, return_dict=False)
    model: nn.Module = AutoModel.from_config(config)  # type: ignore[no-untyped-call]
    return model


def attach_and_reset() -> tuple[str, list[tuple[str, bool]]]:
    """Record a model, attach its initialization to its traced file, reset it in C++, compare with building it.

    Returns:
        the recording's table, and a line for each tensor with whether its bits are those of building the model
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        traced = torch.jit.trace(built().eval(), torch.zeros(1, 3, 16, 16))  # type: ignore[no-untyped-call]
        traced.save(str(folder / "traced.pt"))
        before = torch.jit.load(str(folder / "traced.pt"))  # type: ignore[no-untyped-call]
        sizes = [f"{key}={value}" for key, value in SIZES.items()]
        recorded, attached = str(folder / "model.init"), str(folder / "attached.pt")
        _torchinit("record", f"hf:{KIND}", *sizes, "-o", recorded)
        # As a terminal shows it; a pipe gets a line for each tensor.
        table = f"{recording.load(recorded).describe(100)}\n"
        _torchinit("attach", str(folder / "traced.pt"), "--recipe", recorded, "-o", attached)
        (state,) = reset_in_cpp(Reset(Path(attached), "script", SEED))
    with torch.random.fork_rng(devices=[]), torchinit.patch_torch():
        torch.manual_seed(SEED)
        fresh = built()
    return table, [
        ("the traced file had no reset_parameters", not hasattr(before, "reset_parameters")),
        *((f"{key} {list(w.shape)}", torch.equal(w, state[key])) for key, w in fresh.state_dict().items()),
    ]


def _torchinit(*command: str) -> None:
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = cli.main(list(command))
    if code != 0:
        raise RuntimeError(f"torchinit {command[0]} failed: {said.getvalue().strip()}")
