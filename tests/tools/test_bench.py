"""Does the benchmark measure what its rows say, under the load that they name, and draw a chart that can be read?"""

import os
from pathlib import Path

import pytest
import torch

from tools.bench.__main__ import run
from tools.bench.cases import Case, cases
from tools.bench.chart import draw, groups
from tools.bench.measure import load


def _case(name: str, busy: bool = False) -> Case:
    (found,) = [case for case in cases("cpu") if case.function == name and (busy or case.shape == "4x4")]
    return found


@pytest.fixture(autouse=True)
def _threads() -> None:
    torch.set_num_threads(1)


def test_every_function_has_rows_and_goals_that_depend_on_the_threads() -> None:
    found = cases("cpu")
    assert len({(case.function, case.shape, case.dtype, case.against) for case in found}) == len(found)
    by_key = next(case for case in found if case.function == "GPT-2 by key")
    assert (by_key.least_with(1), by_key.least_with(2)) == (0.0, 1 / 0.6)
    assert next(case for case in found if case.function == "uniform_").least_with(2) == 1 / 0.75
    assert {case.function for case in found if case.busy} >= {"trunc_normal_, busy", "keyed.uniform_, busy"}


def test_both_sides_of_a_row_fill_and_are_measured() -> None:
    rows, failed = run([_case("uniform_")], [1], 0.01)
    assert not failed
    assert rows[0]["ratio"] == rows[0]["theirs"]["median"] / rows[0]["ours"]["median"] > 0


def test_a_busy_row_restores_the_threads_that_its_other_side_changes() -> None:
    case, target = _case("trunc_normal_, busy", busy=True), torch.full((5, 5), torch.nan)
    torch.set_num_threads(2)
    case.theirs([target])
    assert torch.get_num_threads() == 2
    assert torch.isfinite(target).all()


@pytest.mark.skipif(not os.path.isdir("/proc"), reason="processes are read from /proc")
def test_load_is_a_process_that_runs_and_ends() -> None:
    def children() -> set[str]:
        return set(Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split())

    before = children()
    with load():
        (process,) = children() - before
        # User time, in ticks of the clock.
        assert int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11]) > 0
    assert children() == before


def test_the_chart_has_each_row_once_and_the_width_of_a_page(tmp_path: Path) -> None:
    image = pytest.importorskip("matplotlib.image")
    rows = [
        {"function": case.function, "shape": case.shape, "dtype": case.dtype, "against": case.against, "ratio": 1.5}
        for case in cases("cpu")
    ]
    chosen = [row["function"] + row["shape"] + row["dtype"] for _, group in groups(rows) for row in group]
    assert len(chosen) == len(set(chosen)) < 40
    for name in ("trunc_normal_4096x4096float32", "Llama-1B by keyall parametersbfloat16", "keyed.uniform_, busy"):
        assert any(each.startswith(name) for each in chosen)
    draw(rows, "a machine", tmp_path / "chart.png")
    assert image.imread(tmp_path / "chart.png").shape[1] == 880
