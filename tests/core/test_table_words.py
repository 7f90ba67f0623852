"""Where does a narrow table break words?"""

import pytest

from torchinit._core.table import Layout, fitted

_ROWS = [
    ["{0..5}.weight", "x6", "different distribution", "normal_(0, 0.02)", "trunc_normal_(std=0.03)"],
    ["{0..5}.bias", "x6", "different distribution", "zeros_", "uniform_(-0.125, 0.125)"],
]
_LAYOUT = Layout(["name", "", "what", "a", "b"], wrapped=(2, 3, 4))


@pytest.mark.parametrize("width", range(76, 100))
def test_a_call_is_not_broken_where_there_is_room_beside_it(width: int) -> None:
    shown = fitted(_LAYOUT, _ROWS, width)
    assert max(map(len, shown.splitlines())) <= width
    for call in ("normal_(0, 0.02)", "trunc_normal_(std=0.03)", "uniform_(-0.125, 0.125)"):
        assert call in shown


@pytest.mark.parametrize("width", range(60, 76))
def test_no_word_is_cut_while_names_can_take_lines_of_their_own(width: int) -> None:
    shown = fitted(_LAYOUT, _ROWS, width)
    assert max(map(len, shown.splitlines())) <= width
    words = {word for line in shown.splitlines() for word in line.split()}
    assert {"different", "distribution", "trunc_normal_(std=0.03)", "{0..5}.weight"} <= words


def test_the_narrowest_table_still_fits() -> None:
    assert max(map(len, fitted(_LAYOUT, _ROWS, 40).splitlines())) <= 40


def test_a_call_keeps_its_arguments_though_other_columns_must_give_way() -> None:
    rows = [
        [".weight", "x6", "different distribution", "uniform_(-0.2165, 0.2165)", "normal, std 0.0198..0.0201"],
        [".bias", "x6", "different distribution", "zeros_", "uniform, std 0.0668..0.0757"],
    ]
    assert "uniform_(-0.2165, 0.2165)" in fitted(_LAYOUT, rows, 80)
