"""Resets a saved model in a C++ program that knows nothing of torchinit."""

import contextlib
import io
import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn

import torchinit
from tools import native
from torchinit import cli, recording

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
        state = reset_in_cpp(folder / "attached.pt", "script", SEED)
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
