"""Does one exported program of a keyed fill serve every size and offset, with eager's bits?"""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim

from tests.support.outcome import ulps
from tests.support.philox_operator import philox_as_one_operator
from torchinit import keyed

pytestmark = pytest.mark.skipif(torch.__version__ < "2.7", reason="torch 2.6 makes constants of the sizes")

KEY = keyed.fold_in(keyed.key(3), "weight")
SIZES = [1, 2, 3, 5, 64, 1000]
strictly = pytest.mark.parametrize(
    "strict", [pytest.param(True, id="strict", marks=pytest.mark.slow), pytest.param(False, id="non-strict")]
)
# The name of an initializer, the dtype that it fills, and the piece.
Fill = tuple[str, torch.dtype, str]


class Fills(nn.Module):
    """Makes each of several fills of a new tensor of its input's shape, or of a piece that begins at a row or column.

    One program of many fills takes half the time of a program for each.
    """

    def __init__(self, *fills: Fill) -> None:
        super().__init__()
        self.fills = fills

    def forward(self, x: Tensor, key: Tensor, begin: int) -> list[Tensor]:
        return [
            getattr(keyed, name)(torch.empty_like(x, dtype=dtype), key, **_piece(piece, x, begin))
            for name, dtype, piece in self.fills
        ]


def _piece(piece: str, x: Tensor, begin: int) -> dict[str, Any]:
    if piece == "of fixed size":
        return {"full_size": [2000, 7], "offset": [3, 0]}
    if piece == "of more rows":
        return {"full_size": [3 * x.size(0), x.size(1)], "offset": [x.size(0), 0]}
    if piece == "of rows":
        return {"full_size": [2000, 7], "offset": [begin, 0]}
    if piece == "of columns":
        return {"full_size": [2000, 30], "offset": [3, begin]}
    return {}


def _program(module: nn.Module, x: Tensor, sizes: dict[int, Any], strict: bool, begin: Any = None) -> Any:
    """Export the module with Philox as one operator, because its rounds take most of the time to trace."""
    dynamic = {"x": sizes, "key": None, "begin": begin}
    with philox_as_one_operator():
        return torch.export.export(module, (x, KEY, 5), dynamic_shapes=dynamic, strict=strict).module()


def _drawn(program: Any, module: Fills, x: Tensor, begin: int = 5) -> Iterator[tuple[Fill, Tensor, Tensor]]:
    """Yield each fill, what the program draws, and what eager draws."""
    return zip(module.fills, program(x, KEY, begin), module(x, KEY, begin), strict=True)


@strictly
def test_one_program_fills_a_vector_of_any_length(strict: bool) -> None:
    names = ("uniform_", "normal_", "trunc_normal_", "inverse_softplus_log_uniform_")
    dtypes = (torch.float32, torch.float64, torch.bfloat16)
    fills = [(name, dtype, "whole") for name, dtype in itertools.product(names, dtypes)]
    module = Fills(*fills)
    program = _program(module, torch.empty(12), {0: Dim("n", min=1)}, strict)
    for size in SIZES:
        for fill, drawn, expected in _drawn(program, module, torch.empty(size)):
            assert ulps(drawn, expected) <= (0 if fill[0] == "uniform_" else 4), (fill, size)


@strictly
def test_one_program_fills_a_matrix_of_any_shape(strict: bool) -> None:
    names = ("xavier_normal_", "uniform_", "trunc_normal_", "normal_", "xavier_uniform_")
    module = Fills(*((name, torch.float32, "whole") for name in names))
    program = _program(module, torch.empty(12, 7), {0: Dim("n", min=1), 1: Dim("m", min=1)}, strict)
    for shape in [(1, 1), (1, 2), (3, 1), (2, 2), (5, 7), (64, 3), (100, 170)]:
        for fill, drawn, expected in _drawn(program, module, torch.empty(shape)):
            # A fan that depends on the size is rounded once more.
            rounding = 0.0 if fill[0] == "uniform_" else 1e-6
            assert torch.allclose(drawn, expected, rtol=rounding, atol=0.0), (fill, shape)


@strictly
def test_one_program_fills_a_piece_of_any_size(strict: bool) -> None:
    fills = list(itertools.product(("uniform_", "normal_"), [torch.float32], ("of fixed size", "of more rows")))
    module = Fills(*fills)
    program = _program(module, torch.empty(12, 7), {0: Dim("n", min=1, max=1000)}, strict)
    for size in SIZES:
        for fill, drawn, expected in _drawn(program, module, torch.empty(size, 7)):
            assert torch.equal(drawn, expected), (fill, size)


@strictly
def test_one_program_fills_a_piece_at_any_offset(strict: bool) -> None:
    fills = list(itertools.product(["normal_"], (torch.float32, torch.float64), ("of rows", "of columns")))
    module = Fills(*fills)
    program = _program(module, torch.empty(12, 7), {0: Dim.AUTO}, strict, Dim.AUTO)
    for size, begin in [(1, 2), (2, 7), (3, 3), (5, 11), (64, 1), (1000, 6), (12, 0)]:
        for fill, drawn, expected in _drawn(program, module, torch.empty(size, 7), begin):
            assert torch.equal(drawn, expected), (fill, size, begin)


@pytest.mark.parametrize("strict", [True, False], ids=["strict", "non-strict"])
def test_rounds_of_philox_are_exported_for_any_size_and_offset(strict: bool) -> None:
    module = Fills(("normal_", torch.float32, "of rows"))
    dynamic = {"x": {0: Dim.AUTO}, "key": None, "begin": Dim.AUTO}
    exported = torch.export.export(module, (torch.empty(12, 7), KEY, 5), dynamic_shapes=dynamic, strict=strict)
    assert not [node for node in exported.graph.nodes if "philox" in str(node.target)]
    for size, begin in [(1, 2), (5, 11), (1000, 6)]:
        for fill, drawn, expected in _drawn(exported.module(), module, torch.empty(size, 7), begin):
            assert torch.equal(drawn, expected), (fill, size, begin)
