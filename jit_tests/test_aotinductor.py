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
from torchinit import keyed, recipes

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(native.missing_compiler() is not None, reason=f"no compiler: {native.missing_compiler()}"),
    pytest.mark.skipif(torch.__version__ < "2.7", reason="torch 2.6 loads packages by other functions"),
    # Inductor warns about its own operators.
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


class Everything(nn.Module):
    """Re-initializes its buffers, a model passed as input, and a new keyed weight."""

    def __init__(self) -> None:
        super().__init__()
        self.buffers_of_its_own = Model()
        self.model = Model(as_parameters=True)

    def forward(self, weights: dict[str, Tensor], x: Tensor, key: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        own = self.buffers_of_its_own(x)
        given = torch.func.functional_call(self.model, weights, (x,))
        return own, given, keyed.kaiming_uniform_(torch.empty(9, 7), keyed.fold_in(key, "layer.weight"))


def _packaged(module: nn.Module, arguments: tuple[Any, ...], path: Path, dynamic_shapes: Any = None) -> Any:
    program = torch.export.export(module, arguments, dynamic_shapes=dynamic_shapes)
    # Without these options inductor reorders the draws of a graph.
    options = {"fallback_random": True, "aot_inductor.compile_wrapper_opt_level": "O0"}
    # NB: inductor writes to its metadata, which would change the keys of its cache for all later compilations.
    with torch._inductor.config.patch({**options, "aot_inductor.metadata": {}}):
        package = torch._inductor.aoti_compile_and_package(program, package_path=os.fspath(path))
    return torch._inductor.aoti_load_package(package)


X, KEY = torch.zeros(1), keyed.key(0)


def _zeros() -> dict[str, Tensor]:
    return {name: torch.zeros(12, 30) for name in NAMES}


@pytest.fixture(scope="module")
def packaged(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return _packaged(Everything(), (_zeros(), X, KEY), tmp_path_factory.mktemp("package") / "model.pt2")


def _assert_eagers_bits(drawn: Tensor, eager: Tensor) -> None:
    for name, one, other in zip(NAMES, drawn, eager):
        assert ulps(one, other) <= (4 if name == "truncated" else 0), name


def test_packaged_model_reinitializes_its_buffers_with_eagers_bits(packaged: Any) -> None:
    eager = Everything()
    torch.manual_seed(5)
    expected = [eager(_zeros(), X, KEY)[0] for _ in range(2)]
    torch.manual_seed(5)
    drawn = [packaged(_zeros(), X, KEY)[0] for _ in range(2)]
    for one, other in zip(drawn, expected):
        _assert_eagers_bits(one, other)
    assert not torch.equal(drawn[0], drawn[1])
    # The buffers hold the last draw.
    assert packaged(_zeros(), torch.ones(1), KEY)[0][0].sub(drawn[1][0].sum()).abs().max() < 2.0


def test_packaged_model_reinitializes_parameters_that_are_its_input(packaged: Any) -> None:
    model = Model(as_parameters=True)
    weights = dict(model.named_parameters())
    torch.manual_seed(5)
    expected = Everything()(_zeros(), X, KEY)[1]
    torch.manual_seed(5)
    packaged({name: weight.detach() for name, weight in weights.items()}, X, KEY)
    _assert_eagers_bits(torch.stack([weights[name] for name in NAMES]), expected)
    assert all(weight.requires_grad for weight in model.parameters())


def test_packaged_model_draws_from_any_key(packaged: Any) -> None:
    for seed in (0, 7):
        expected = keyed.kaiming_uniform_(torch.empty(9, 7), keyed.fold_in(keyed.key(seed), "layer.weight"))
        assert torch.equal(packaged(_zeros(), X, keyed.key(seed))[2], expected)


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


class Filled(nn.Module):
    """Fills its layer by a keyed recipe, then calls it."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 5))

    def forward(self, x: Tensor, key: Tensor) -> Tensor:
        recipes.xavier().apply_(self.layers, key=key)
        return self.layers(x)


class Keyed(nn.Module):
    """Fills rows of any number, pieces of a whole of any number, and a layer by a recipe.

    AOTInductor cannot return a program's own parameters that it has changed, so the layer's weights are inputs.
    """

    def __init__(self) -> None:
        super().__init__()
        self.model = Filled()

    def forward(self, weights: dict[str, Tensor], x: Tensor, key: Tensor, rows: Tensor) -> tuple[Tensor, ...]:
        called = torch.func.functional_call(self.model, weights, (x, key))
        whole = keyed.uniform_(rows.new_empty(rows.size(0), 5), key)
        return called, whole, keyed.normal_(torch.empty_like(rows), key, full_size=[2000, 3], offset=[2, 0])


INPUTS = torch.arange(8.0).view(2, 4)


def _layer_weights() -> dict[str, Tensor]:
    return {name: torch.zeros_like(value) for name, value in Filled().named_parameters()}


@pytest.fixture(scope="module")
def packaged_by_key(tmp_path_factory: pytest.TempPathFactory) -> Any:
    dynamic = {"rows": {0: torch.export.Dim("rows", min=1, max=1000)}}
    fixed = {"weights": dict.fromkeys(_layer_weights()), "x": None, "key": None}
    arguments = (_layer_weights(), INPUTS, KEY, torch.zeros(8, 3))
    return _packaged(Keyed(), arguments, tmp_path_factory.mktemp("keyed") / "model.pt2", fixed | dynamic)


def test_one_package_fills_any_size_by_key(packaged_by_key: Any) -> None:
    for rows in (1, 2, 3, 5, 64, 1000):
        x, key = torch.zeros(rows, 3), keyed.key(rows)
        (_, whole, piece), (_, expected, part) = (
            run(_layer_weights(), INPUTS, key, x) for run in (packaged_by_key, Keyed())
        )
        assert torch.equal(whole, expected), rows
        assert torch.allclose(piece, part, rtol=1e-6, atol=1e-7), rows


def test_keyed_recipe_is_packaged(packaged_by_key: Any) -> None:
    key = keyed.key(9)
    called = packaged_by_key(_layer_weights(), INPUTS, key, torch.zeros(8, 3))[0]
    assert torch.allclose(called, Filled()(INPUTS, key), rtol=1e-5, atol=1e-6)
