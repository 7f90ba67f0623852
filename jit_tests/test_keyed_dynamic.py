"""Does one exported program of a keyed fill serve every size and offset, with eager's bits?"""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim

from tests.support.outcome import ulps
from torchinit import keyed

pytestmark = pytest.mark.skipif(torch.__version__ < "2.7", reason="torch 2.6 makes constants of the sizes")

KEY = keyed.fold_in(keyed.key(3), "weight")
SIZES = [1, 2, 3, 5, 64, 1000]
strictly = pytest.mark.parametrize(
    "strict", [pytest.param(True, id="strict", marks=pytest.mark.slow), pytest.param(False, id="non-strict")]
)


class Fill(nn.Module):
    """Fills a new tensor of its input's shape, or a piece that begins at a row or column."""

    def __init__(self, name: str, whole: str = "itself") -> None:
        super().__init__()
        self.fill, self.whole = getattr(keyed, name), whole

    def forward(self, x: Tensor, key: Tensor, begin: int) -> Tensor:
        piece: dict[str, Any] = {}
        if self.whole == "of fixed size":
            piece = {"full_size": [2000, 7], "offset": [3, 0]}
        elif self.whole == "of more rows":
            piece = {"full_size": [3 * x.size(0), x.size(1)], "offset": [x.size(0), 0]}
        elif self.whole == "of rows":
            piece = {"full_size": [2000, 7], "offset": [begin, 0]}
        elif self.whole == "of columns":
            piece = {"full_size": [2000, 30], "offset": [3, begin]}
        return self.fill(torch.empty_like(x), key, **piece)


def _program(module: nn.Module, x: Tensor, sizes: dict[int, Any], strict: bool, begin: Any = None) -> Any:
    dynamic = {"x": sizes, "key": None, "begin": begin}
    return torch.export.export(module, (x, KEY, 5), dynamic_shapes=dynamic, strict=strict).module()


@strictly
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", ["uniform_", "normal_", "trunc_normal_", "inverse_softplus_log_uniform_"])
def test_one_program_fills_a_vector_of_any_length(name: str, dtype: torch.dtype, strict: bool) -> None:
    module = Fill(name)
    program = _program(module, torch.empty(12, dtype=dtype), {0: Dim("n", min=1)}, strict)
    for size in SIZES:
        x = torch.empty(size, dtype=dtype)
        drawn, expected = program(x, KEY, 5), module(x, KEY, 5)
        assert ulps(drawn, expected) <= (0 if name == "uniform_" else 4), size


@strictly
@pytest.mark.parametrize("name", ["uniform_", "normal_", "xavier_uniform_", "xavier_normal_", "trunc_normal_"])
def test_one_program_fills_a_matrix_of_any_shape(name: str, strict: bool) -> None:
    module = Fill(name)
    program = _program(module, torch.empty(12, 7), {0: Dim("n", min=1), 1: Dim("m", min=1)}, strict)
    for shape in [(1, 1), (1, 2), (3, 1), (2, 2), (5, 7), (64, 3), (100, 170)]:
        x = torch.empty(shape)
        drawn, expected = program(x, KEY, 5), module(x, KEY, 5)
        if name == "uniform_":
            assert torch.equal(drawn, expected), shape
        else:
            # A fan that depends on the size is rounded once more.
            assert torch.allclose(drawn, expected, rtol=1e-6, atol=0.0), shape


@strictly
@pytest.mark.parametrize("whole", ["of fixed size", "of more rows"])
@pytest.mark.parametrize("name", ["uniform_", "normal_"])
def test_one_program_fills_a_piece_of_any_size(name: str, whole: str, strict: bool) -> None:
    module = Fill(name, whole)
    program = _program(module, torch.empty(12, 7), {0: Dim("n", min=1, max=1000)}, strict)
    for size in SIZES:
        x = torch.empty(size, 7)
        assert torch.equal(program(x, KEY, 5), module(x, KEY, 5)), size


@strictly
@pytest.mark.parametrize("whole", ["of rows", "of columns"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_one_program_fills_a_piece_at_any_offset(whole: str, dtype: torch.dtype, strict: bool) -> None:
    module = Fill("normal_", whole)
    program = _program(module, torch.empty(12, 7, dtype=dtype), {0: Dim.AUTO}, strict, Dim.AUTO)
    for size, begin in [(1, 2), (2, 7), (3, 3), (5, 11), (64, 1), (1000, 6), (12, 0)]:
        x = torch.empty(size, 7, dtype=dtype)
        assert torch.equal(program(x, KEY, begin), module(x, KEY, begin)), (size, begin)
