"""Does ``python -m tools.gpu`` find what is wrong, in its time, and write it whole?"""

import json
import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

import torchinit
from tools.bench.parameters import LARGE_MODELS
from tools.gpu import __main__ as command, measures, worker
from tools.gpu.goals import goals
from tools.gpu.page import page
from tools.gpu.process import Worker
from tools.gpu.sections import Settings
from torchinit import keyed

TINY = ("--device", "cpu", "--sides", "16", "--models", "Llama-tiny", "--seconds", "0.001")
SETTINGS = Settings("cpu", (16,), ("Llama-tiny",), 0.001, "uniform_ and not kaiming and not xavier")


class InProcess:
    """Runs sections in this process, which a test can break."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def run(self, name: str, seconds: float, most: float) -> dict[str, Any]:
        rows: list[Any] = []
        return {**worker.run_section(name, self.settings, seconds, rows.append), "rows": rows}

    def stop(self) -> None:
        pass


Run = Callable[..., tuple[int, dict[str, Any], str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def run(*arguments: str) -> tuple[int, dict[str, Any], str]:
        files = tmp_path / "gpu.json", tmp_path / "gpu.md"
        code = command.main([*TINY, *arguments, "--json", str(files[0]), "--table", str(files[1])])
        return code, json.loads(files[0].read_text()), files[1].read_text()

    return run


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "Worker", InProcess)


def _named(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {section["name"]: section for section in found["sections"]}


def _section(name: str, seconds: float = 60.0, settings: Settings = SETTINGS) -> dict[str, Any]:
    return InProcess(settings).run(name, seconds, seconds)


def test_a_run_in_its_own_process_is_whole(run: Run) -> None:
    code, found, text = run("--only", "parity,functions,graphs", "--select", "zeros_")
    sections = _named(found)
    assert list(sections) == ["machine", "parity", "functions", "graphs"]
    assert {section["error"] for section in sections.values()} == {""}
    assert {section["cut"] for section in sections.values()} == {""}
    assert code == 0
    assert found["machine"]["torch"] == torch.__version__
    assert sections["parity"]["rows"] == [{"test": "test_outcome_equals_the_oracles", "passed": 1}]
    assert {row["function"] for row in sections["functions"]["rows"]} >= {
        "uniform_",
        "dirac_",
        "sparse_",
        "orthogonal_",
    }
    assert all({"ratio", "theirs", "ours"} <= row.keys() for row in sections["functions"]["rows"])
    # A CPU has no graphs.
    assert sections["graphs"]["rows"][0]["skipped"] > 0
    assert "| parity |" in text
    assert "| `zeros_` | 16x16 |" in text


@pytest.mark.usefixtures("here")
def test_a_section_that_raises_is_recorded_and_the_others_run(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any) -> None:
        raise RuntimeError("CUDA error: no kernel | image")

    monkeypatch.setattr(measures, "functions", fail)
    code, found, text = run("--only", "functions,graphs", "--select", "zeros_")
    sections = _named(found)
    assert sections["functions"]["error"].endswith("RuntimeError: CUDA error: no kernel | image\n")
    assert sections["graphs"]["rows"]
    assert code == 1
    assert r"error: RuntimeError: CUDA error: no kernel \| image" in text


@pytest.mark.usefixtures("here")
def test_a_broken_function_fails_the_run(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchinit, "ones_", torchinit.zeros_)
    code, found, text = run("--only", "parity", "--select", "ones_")
    assert code == 1
    failure, counts = _named(found)["parity"]["rows"]
    assert counts == {"test": "test_outcome_equals_the_oracles", "failed": 1}
    assert failure["failure"] == "test_outcome_equals_the_oracles[ones_]"
    assert "Error" in failure["error"]
    assert "## Failures" in text


@pytest.mark.usefixtures("here")
def test_a_row_that_raises_is_recorded_and_the_others_run(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("no kernel\nat all")

    monkeypatch.setattr(torchinit, "eye_", fail)
    code, found, text = run("--only", "functions")
    rows = {row["function"]: row for row in _named(found)["functions"]["rows"]}
    assert rows["eye_"]["error"] == "RuntimeError: no kernel"
    assert rows["zeros_"]["ratio"] > 0
    assert code == 1
    assert "RuntimeError: no kernel" in text


def test_memory_that_a_card_lacks_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise torch.OutOfMemoryError("too large")

    monkeypatch.setattr(torchinit, "eye_", fail)
    section = _section("functions")
    assert section["failed"] == 0
    assert "OutOfMemoryError: too large" in [row.get("error") for row in section["rows"]]


@pytest.mark.parametrize("name", ["gpu.json", "gpu.md"])
def test_existing_files_are_kept_without_force(
    run: Run, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], here: None
) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(SystemExit):
        run("--only", "graphs")
    assert "an existing file is overwritten only with --force, got " in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"
    assert run("--only", "graphs", "--select", "zeros_", "--force")[0] == 0


def test_an_unknown_section_is_refused(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("--only", "parity,colour")
    assert "--only must name sections among parity, " in capsys.readouterr().err


@pytest.mark.usefixtures("here")
def test_the_files_are_written_after_each_section(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def stop(*args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(measures, "distances", stop)
    with pytest.raises(KeyboardInterrupt):
        run("--only", "functions,distances")
    assert list(_named(json.loads((tmp_path / "gpu.json").read_text()))) == ["machine", "functions"]
    assert {path.name for path in tmp_path.iterdir()} == {"gpu.json", "gpu.md"}


def test_a_section_is_cut_when_its_time_is_over() -> None:
    assert _section("functions", seconds=0.0)["cut"] == "14 of 14 rows left"
    tests = _section("graphs", seconds=0.0, settings=Settings("cpu", select="zeros_ or ones_"))
    assert tests["cut"] == "1 of 2 tests left"
    assert tests["rows"] == [{"test": "test_a_replay_writes_what_the_call_writes", "skipped": 1}]


def test_time_that_a_section_leaves_goes_to_the_later_ones() -> None:
    asked = {}

    class Quick(InProcess):
        def run(self, name: str, seconds: float, most: float) -> dict[str, Any]:
            asked[name] = seconds
            assert seconds <= most <= 100.0
            return {"name": name, "rows": []}

    command.run(Quick(SETTINGS), ["parity", "graphs"], 100.0, lambda sections: None)
    assert list(asked) == ["machine", "parity", "graphs"]
    assert asked["graphs"] == pytest.approx(95.0, abs=1.0)


def test_a_process_that_hangs_or_dies_is_replaced() -> None:
    process = Worker(SETTINGS)
    try:
        begin = time.monotonic()
        hung = process.run("machine", 60.0, 0.0)
        assert time.monotonic() - begin < 30.0
        assert (hung["cut"], hung["error"], hung["rows"], process._process) == ("stopped after 0 s", "", [], None)
        assert process.run("machine", 60.0, 60.0)["error"] == ""
        assert process._process is not None
        process._process.kill()
        process._process.join()
        assert process.run("machine", 60.0, 60.0)["error"] == "the process ended by itself with code -9"
    finally:
        process.stop()


@pytest.fixture
def uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw in eager code, because a kernel compiles for seconds."""
    monkeypatch.setattr(keyed, "compiled", nullcontext)
    monkeypatch.setattr("torchinit.recipes._recipe.compiled", nullcontext)


@pytest.mark.usefixtures("uncompiled")
def test_bandwidth_is_that_of_a_copy_by_definition_for_a_copy() -> None:
    section = _section("bandwidth")
    assert section["error"] == ""
    copy = next(row for row in section["rows"] if row["call"] == "Tensor.copy_")
    fill = next(row for row in section["rows"] if row["call"] == "Tensor.zero_")
    assert copy["of_copy"] == 1.0
    # A copy also reads.
    assert copy["bytes_per_second"] == pytest.approx(2 * 16 * 16 * 4 / copy["median"] * 1e3)
    assert fill["of_copy"] == pytest.approx(fill["bytes_per_second"] / copy["bytes_per_second"])
    assert fill["bytes_per_second"] == pytest.approx(16 * 16 * 4 / fill["median"] * 1e3)


@pytest.mark.usefixtures("uncompiled")
def test_models_are_timed_in_every_way() -> None:
    (row,) = _section("models")["rows"]
    assert row["values"] == sum(math.prod(shape) for _, _, shape in LARGE_MODELS["Llama-tiny"]().values())
    ways = ("torch.nn.init", "torchinit", "by key, compiled", "recipe by key, compiled")
    assert all(row[way]["median"] > 0 for way in ways)


@pytest.mark.usefixtures("uncompiled")
def test_recipe_and_calls_by_key_fill_a_model_alike() -> None:
    parameters = LARGE_MODELS["Llama-tiny"]()
    tensors = {name: torch.zeros(shape) for name, (_, _, shape) in parameters.items()}
    model = measures.module_of(tensors)
    measures._fill_by_key(parameters, list(tensors.values()))
    expected = {name: tensor.clone() for name, tensor in tensors.items()}
    measures._LLAMA.apply_(model, key=keyed.key(0))
    assert list(dict(model.named_parameters())) == list(parameters)
    assert all(torch.equal(tensors[name], expected[name]) for name in parameters)


def test_large_models_have_the_published_number_of_parameters() -> None:
    for name, count in (("Llama-1B", 1_235_814_400), ("Llama-8B", 8_030_261_248)):
        assert sum(math.prod(shape) for _, _, shape in LARGE_MODELS[name]().values()) == count


@pytest.mark.usefixtures("uncompiled")
def test_distances_on_one_device_are_zero() -> None:
    section = _section("distances")
    assert section["failed"] == 0
    assert {row["function"] for row in section["rows"]} == {name for name in keyed.__all__ if name.endswith("_")}
    assert all(row["cpu_ulps"] == row["compiled_unequal"] == 0 for row in section["rows"])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
def test_a_neighbour_is_one_ulp_away(dtype: torch.dtype) -> None:
    values = torch.tensor([1.0, -1.5, 0.02], dtype=dtype)
    step = torch.tensor([1.0, 1.0, 2.0**-6], dtype=torch.float64) * torch.finfo(dtype).eps
    assert measures.ulps((values.double() + step).to(dtype), values) == 1.0
    assert measures.ulps(values, values) == 0.0


def _found(name: str, **row: Any) -> list[dict[str, Any]]:
    return [{"name": name, "rows": [row], "seconds": 1.0, "cut": "", "error": "", "failed": 0}]


@pytest.mark.parametrize(
    ("sections", "goal", "met"),
    [
        (_found("functions", function="eye_", shape="4x4", ratio=0.98), 0, True),
        (_found("functions", function="eye_", shape="4x4", ratio=0.96), 0, False),
        (_found("functions", function="eye_", shape="4x4", error="no"), 0, None),
        (_found("functions", function="trunc_normal_", shape="4x4", ratio=20.0), 1, True),
        (_found("functions", function="trunc_normal_", shape="4x4", ratio=19.0), 1, False),
        (_found("functions", function="eye_", shape="4x4", ratio=1.0), 1, None),
        (
            _found("bandwidth", call="keyed.uniform_, compiled", dtype="float32", of_copy=0.7, bytes_per_second=1),
            2,
            True,
        ),
        (
            _found("bandwidth", call="keyed.uniform_, compiled", dtype="float32", of_copy=0.6, bytes_per_second=1),
            2,
            False,
        ),
        (
            _found("bandwidth", call="keyed.normal_, compiled", dtype="float32", of_copy=0.9, bytes_per_second=1),
            2,
            None,
        ),
        (_found("models", model="Llama-8B", **{"by key, compiled": {"median": 99.0}}), 3, True),
        (_found("models", model="Llama-8B", **{"by key, compiled": {"median": 101.0}}), 3, False),
        (_found("models", model="Llama-1B", **{"by key, compiled": {"median": 9.0}}), 3, None),
    ],
)
def test_goals_are_met_by_their_numbers(sections: list[dict[str, Any]], goal: int, met: bool | None) -> None:
    assert goals(sections)[goal]["met"] is met


def test_the_page_says_which_goals_are_met() -> None:
    sections = _found("functions", function="trunc_normal_", shape="4x4", error="no kernel")
    machine = {
        "card": "A card",
        "torch": "2.11.0",
        "triton": "3.6.0",
        "driver": "580",
        "cuda": "13.0",
        "python": "3.12.3",
    }
    each = [{"goal": str(met), "measured": "1", "met": met} for met in (True, False, None)]
    found = {"command": "x", "machine": machine, "seconds": 9.0, "goals": each, "sections": sections}
    text = page(found)
    assert "on A card, torch 2.11.0, Triton 3.6.0, driver 580, CUDA 13.0, Python 3.12.3, in 9 s." in text
    assert "| True | 1 | met |\n| False | 1 | **not met** |\n| None | 1 | not measured |" in text
    assert "| trunc_normal_ | 4x4 | no kernel |" in text
