"""Does a packaged AOTInductor model re-initialize its state with eager's bits?"""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
import torch._inductor.config
from torch import Tensor, nn

import torchinit
from tests.support.outcome import ulps
from tools import native

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        native.missing_compiler() is not None, reason=f"nothing to compile with: {native.missing_compiler()}"
    ),
    pytest.mark.skipif(torch.__version__ < "2.7", reason="torch 2.6's packages are loaded by other functions"),
    # What inductor says of its own operators.
    pytest.mark.filterwarnings("ignore"),
]
NAMES = ("kaiming", "truncated", "orthogonal", "sparse")


class Model(nn.Module):
    """Four tensors that every call re-initializes."""

    def __init__(self, as_parameters: bool = False) -> None:
        super().__init__()
        for name in NAMES:
            value = torch.zeros(12, 30)
            if as_parameters:
                self.register_parameter(name, nn.Parameter(value))
            else:
                self.register_buffer(name, value)

    def forward(self, x: Tensor) -> Tensor:
        before = self.kaiming.sum() * x
        torchinit.kaiming_uniform_(self.kaiming, nonlinearity="relu")
        torchinit.trunc_normal_(self.truncated)
        torchinit.orthogonal_(self.orthogonal)
        torchinit.sparse_(self.sparse, 0.3)
        return before + torch.stack([self.kaiming, self.truncated, self.orthogonal, self.sparse])


def _packaged(module: nn.Module, arguments: tuple[Any, ...], path: Path) -> Any:
    program = torch.export.export(module, arguments)
    # With several draws in a graph inductor keeps their order only so.
    with torch._inductor.config.patch(fallback_random=True):
        package = torch._inductor.aoti_compile_and_package(program, package_path=os.fspath(path))
    return torch._inductor.aoti_load_package(package)


def _assert_eagers_bits(drawn: Tensor, eager: Tensor) -> None:
    for name, one, other in zip(NAMES, drawn, eager):
        assert ulps(one, other) <= (4 if name == "truncated" else 0), name


def test_packaged_model_reinitializes_its_buffers_with_eagers_bits(tmp_path: Path) -> None:
    x = torch.zeros(1)
    packaged, eager = _packaged(Model(), (x,), tmp_path / "model.pt2"), Model()
    torch.manual_seed(5)
    expected = [eager(x), eager(x)]
    torch.manual_seed(5)
    drawn = [packaged(x), packaged(x)]
    for one, other in zip(drawn, expected):
        _assert_eagers_bits(one, other)
    assert not torch.equal(drawn[0], drawn[1])
    # The buffers hold what was drawn last.
    assert packaged(torch.ones(1))[0].sub(drawn[1][0].sum()).abs().max() < 2.0


class Reset(nn.Module):
    """Takes a model's weights as an input, which it writes in place."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, weights: dict[str, Tensor], x: Tensor) -> Tensor:
        return torch.func.functional_call(self.model, weights, (x,))


def test_packaged_model_reinitializes_parameters_that_are_its_input(tmp_path: Path) -> None:
    model = Model(as_parameters=True)
    weights = dict(model.named_parameters())
    x = torch.zeros(1)
    arguments = ({name: weight.detach().clone() for name, weight in weights.items()}, x)
    packaged = _packaged(Reset(Model(as_parameters=True)), arguments, tmp_path / "model.pt2")
    torch.manual_seed(5)
    expected = Model()(x)
    torch.manual_seed(5)
    packaged({name: weight.detach() for name, weight in weights.items()}, x)
    _assert_eagers_bits(torch.stack([weights[name] for name in NAMES]), expected)
    assert all(weight.requires_grad for weight in model.parameters())


def test_packaged_model_with_parameters_of_its_own_fails_as_documented(tmp_path: Path) -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(3, 4))

        def forward(self, x: Tensor) -> Tensor:
            return torchinit.zeros_(self.weight) + x

    packaged = _packaged(Own(), (torch.zeros(1),), tmp_path / "model.pt2")
    with pytest.raises(ValueError, match="has length 2 but the spec refers to a pytree that holds 1 items"):
        packaged(torch.zeros(1))
