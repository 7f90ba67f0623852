"""Are tables without values returned, those of 128 bits filled with all digits, and expanded ones refused?"""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import torchinit


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("shape", [(5, 0), (0, 8), (0, 0), (1, 3, 0), (1, 0, 4)])
def test_table_without_values_is_returned(shape: tuple[int, ...], device: str) -> None:
    for arguments in ({}, {"formula": "pow"}, {"formula": "float64", "endpoint": True}, {"layout": "sin_cos"}):
        table = torch.empty(shape, device=device)
        assert torchinit.sinusoidal_(table, **arguments) is table
    vector = torch.empty(0, device=device)
    for fill in (torchinit.rotary_inv_freq_, torchinit.alibi_slopes_, torchinit.log_arange_):
        assert fill(vector) is vector


def test_table_of_complex128_has_all_digits_too() -> None:
    real = torchinit.sinusoidal_(torch.empty(40, 6, dtype=torch.float64), formula="float64")
    table = torchinit.sinusoidal_(torch.empty(40, 6, dtype=torch.complex128), formula="float64")
    assert torch.equal(table, torch.complex(real, torch.zeros_like(real)))


@pytest.mark.parametrize(
    ("fill", "shape"),
    [
        (torchinit.rotary_inv_freq_, (4,)),
        (torchinit.sinusoidal_, (4, 8)),
        (torchinit.alibi_slopes_, (4,)),
        (torchinit.log_arange_, (4, 8)),
    ],
)
def test_expanded_table_is_refused(fill: Callable[[Tensor], Tensor], shape: tuple[int, ...]) -> None:
    table = torch.zeros(1).expand(shape)
    with pytest.raises(RuntimeError, match=r"^unsupported operation: .*, got shape \[4.*\] with strides \[0") as caught:
        fill(table)
    assert "\n" not in str(caught.value)
    assert not table.any()
