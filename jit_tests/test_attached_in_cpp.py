"""Do files with an attached recipe or recording reset themselves in C++, without Python, as in Python?"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from jit_tests.scripting import mobile_bytes, run_quietly
from jit_tests.test_attach import VARIED, _deploy
from jit_tests.test_recording_attach import _deployed
from tests.support.built import tensors_of
from tests.support.layers import MIXED, seeded
from tests.support.stacks import STACKS, Stacks
from tools import native
from tools.attached import Reset, reset_in_cpp
from torchinit import keyed, recipes
from torchinit.recipes import Recipe

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(native.missing() is not None, reason=f"no compiler: {native.missing()}"),
]

SEED = -7
METHODS = ("reset_parameters", "reset_parameters_keyed")


class Case(NamedTuple):
    """How to attach, by whether for mobile, and the tensors that each method must draw."""

    attach: Callable[[bool], torch.jit.ScriptModule]
    expected: list[Mapping[str, Tensor]]


def _origins() -> list[dict[str, Any]]:
    return [{"generator": torch.Generator().manual_seed(SEED)}, {"key": keyed.key(SEED)}]


def _of_recipe(recipe: Recipe, make: Callable[[], nn.Module], module: torch.jit.ScriptModule) -> Case:
    expected = [recipe.apply_(seeded(make, 1), **origin).state_dict() for origin in _origins()]
    return Case(lambda mobile: recipe.attach(module, mobile), expected)


def _of_recording(name: str) -> Case:
    _, recording, file = _deployed(name)
    expected = [tensors_of(recording.materialize_(_deployed(name)[0], **origin)) for origin in _origins()]
    return Case(lambda mobile: recording.attach(file, mobile), expected)


CASES: dict[str, Callable[[], Case]] = {
    "varied": lambda: _of_recipe(VARIED, MIXED.make, _deploy("scripted", MIXED)),
    "torch": lambda: _of_recipe(recipes.torch_default(), MIXED.make, _deploy("traced", MIXED)),
    "stacks": lambda: _of_recipe(STACKS, Stacks, run_quietly(torch.jit.script, Stacks())),
    "recording": lambda: _of_recording("everything"),
}
# The others run as written: optimizing them takes seconds, in C++ as in Python.
OPTIMIZED = "torch"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Reset, Mapping[str, Tensor], dict[str, Tensor]]]:
    """Reset the files of all cases by each method in one program; list what was expected and what was drawn."""
    folder = tmp_path_factory.mktemp("attached")
    resets, expected = [], []
    for name, make in CASES.items():
        case, script, mobile = make(), folder / f"{name}.pt", folder / f"{name}.ptl"
        case.attach(False).save(script)
        mobile.write_bytes(mobile_bytes(case.attach(True)))
        for path, kind in ((script, "script" if name == OPTIMIZED else "unoptimized"), (mobile, "mobile")):
            resets += [Reset(path, kind, SEED, method) for method in METHODS]
            expected += case.expected
    return list(zip(resets, expected, reset_in_cpp(*resets), strict=True))


@pytest.mark.parametrize("name", CASES)
def test_cpp_draws_the_same_without_python(
    name: str, drawn: list[tuple[Reset, Mapping[str, Tensor], dict[str, Tensor]]]
) -> None:
    own = [(reset, expected, state) for reset, expected, state in drawn if reset.path.stem == name]
    assert len(own) == 4
    for reset, expected, state in own:
        # The mobile interpreter lists no buffers; a tied tensor has one of its names.
        assert len(state) >= (14 if reset.kind == "mobile" else len(expected) - 1)
        assert [key for key, tensor in state.items() if not torch.equal(tensor, expected[key])] == [], reset
