"""Do the bundles draw the same as eager code, and is the package written completely or not at all?"""

import functools
import io
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.jit.mobile import _load_for_lite_interpreter

import torchinit
from jit_tests.scripting import run_quietly
from tests.support.record import Record
from tests.support.records import CALLS, RECORDS, call_id
from tools import operators
from torchinit import cli, deploy
from torchinit.deploy import _package

CURRENT = [(record, arguments) for record, arguments in CALLS if record.name == record.current_name]
_TEMPORARY = tempfile.TemporaryDirectory
MADE_ONCE = pytest.mark.usefixtures("_archives_made_once")
DTYPES = (torch.float32, torch.bfloat16, torch.float64)


def _eager(record: Record, arguments: dict[str, Any], dtype: torch.dtype, seed: int | None) -> list[torch.Tensor]:
    torch.default_generator.manual_seed(3)
    drawn = {} if seed is None else {"generator": torch.Generator().manual_seed(seed)}
    return [record.function(torch.zeros(record.shape, dtype=dtype), **arguments, **drawn), torch.rand(1)]


@pytest.fixture(scope="module")
def loaded() -> Any:
    file = io.BytesIO(deploy.bundle().save_to_buffer())
    return run_quietly(torch.jit.load, file)


@pytest.fixture(scope="module")
def lite(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("lite") / "torchinit.ptl"
    run_quietly(deploy.mobile_bundle()._save_for_lite_interpreter, str(path))
    return run_quietly(_load_for_lite_interpreter, str(path))


@pytest.mark.parametrize(("record", "arguments"), CURRENT, ids=call_id)
def test_method_of_the_loaded_bundle_draws_the_same_as_eager(loaded: Any, record: Record, arguments: dict) -> None:
    for seed in (None, 9) if record.takes_generator else (None,):
        for dtype in DTYPES:
            expected = _eager(record, arguments, dtype, seed)
            torch.default_generator.manual_seed(3)
            drawn = {} if seed is None else {"generator": torch.Generator().manual_seed(seed)}
            weight = torch.zeros(record.shape, dtype=dtype)
            assert getattr(loaded, record.name)(weight, **arguments, **drawn) is not None
            assert torch.equal(weight, expected[0])
            assert torch.equal(torch.rand(1), expected[1])


def _positional(record: Record, arguments: dict[str, Any], seed: int | None) -> list[Any]:
    """List every argument after the tensor: the lite interpreter takes no keywords and converts no types."""
    values = []
    for argument in record.row.arguments[1:]:
        if argument.name == "generator":
            values.append(seed)
        else:
            default = argument.default and eval(argument.default)
            values.append(arguments.get(argument.name, default))
    return values


@pytest.mark.parametrize(("record", "arguments"), CURRENT, ids=call_id)
def test_method_in_the_lite_interpreter_draws_the_same_as_eager(lite: Any, record: Record, arguments: dict) -> None:
    for seed in (None, 9) if record.takes_generator else (None,):
        for dtype in DTYPES:
            expected = _eager(record, arguments, dtype, seed)
            torch.default_generator.manual_seed(3)
            weight = torch.zeros(record.shape, dtype=dtype)
            lite.run_method(record.name, weight, *_positional(record, arguments, seed))
            assert torch.equal(weight, expected[0])
            assert torch.equal(torch.rand(1), expected[1])


@pytest.mark.parametrize("record", [r for r in RECORDS if r.calls[0] == {} and r.name == r.current_name], ids=call_id)
def test_lite_method_has_the_defaults(lite: Any, record: Record) -> None:
    expected = _eager(record, {}, torch.float32, None)
    torch.default_generator.manual_seed(3)
    assert torch.equal(lite.run_method(record.name, torch.zeros(record.shape)), expected[0])


def test_same_seed_twice_draws_the_same_in_the_lite_interpreter(lite: Any) -> None:
    # A constant-folded generator would continue where the first call stopped.
    first, second, other = (lite.run_method("uniform_", torch.zeros(9), 0.0, 1.0, seed) for seed in (5, 5, 6))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_lite_gain_and_fans_equal_eagers(lite: Any) -> None:
    weight = torch.zeros(6, 4, 3, 3)
    assert lite.run_method("calculate_gain", "leaky_relu", 0.2) == torchinit.calculate_gain("leaky_relu", 0.2)
    assert lite.run_method("calculate_gain", "tanh") == torchinit.calculate_gain("tanh")
    assert lite.run_method("_calculate_fan_in_and_fan_out", weight) == (36, 54)
    assert lite.run_method("_calculate_correct_fan", weight, "fan_out") == 54


def test_seed_is_accepted_for_a_meta_tensor() -> None:
    module = deploy.mobile_bundle()
    assert module.normal_(torch.zeros(3, device="meta"), seed=1).is_meta


def test_import_scripts_nothing_and_the_command_writes_the_package_without_a_warning(tmp_path: Path) -> None:
    code = """
import sys, torch
script, torch.jit.script = torch.jit.script, None
import torchinit.deploy, torchinit.cli._run
torch.jit.script = script
sys.exit(torchinit.cli.main(["bundle", sys.argv[1]]))
"""
    made = tmp_path / "made" / "here"
    command = [sys.executable, "-W", "error", "-c", code, str(made)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(rf"torchinit: wrote {re.escape(str(tmp_path))}/made/here \([\d.]+ MB\)\n", done.stderr)
    written = [Path(line) for line in done.stdout.splitlines()]
    assert written == [made / name for name in _package.FILES]
    found = [path for path in made.rglob("*") if path.is_file()]
    assert sorted(found) == sorted(written)
    assert all(path.stat().st_size > 0 for path in written)


_SCRIPT_BYTES, _MOBILE_BYTES = functools.cache(_package._script_bytes), functools.cache(_package._mobile_bytes)


@pytest.fixture
def _archives_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give tests of files the same archives; making them takes most of the time of writing a package."""
    monkeypatch.setattr(_package, "_script_bytes", _SCRIPT_BYTES)
    monkeypatch.setattr(_package, "_mobile_bytes", _MOBILE_BYTES)


@MADE_ONCE
def test_command_overwrites_only_when_forced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "include" / "torchinit").mkdir(parents=True)
    header = tmp_path / "include" / "torchinit" / "init.h"
    header.write_text("mine")
    assert cli.main(["bundle", str(tmp_path)]) == 1
    assert capsys.readouterr() == (
        "",
        f"torchinit: {tmp_path} must not hold a bundle already unless it is forced, got include/torchinit/init.h\n",
    )
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [header]
    assert header.read_text() == "mine"
    assert cli.main(["bundle", str(tmp_path), "--force"]) == 0
    assert "class Init" in header.read_text()


def test_command_reports_an_unwritable_path_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert cli.main(["bundle", str(tmp_path / "file")]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "Traceback" not in error
    for arguments in (["bundle"], ["nonsense"]):
        with pytest.raises(SystemExit) as stopped:
            cli.main(arguments)
        assert stopped.value.code == 2


@MADE_ONCE
@pytest.mark.parametrize("other", [b"not an archive", None], ids=["damaged", "draws something else"])
def test_archives_that_do_not_load_or_agree_replace_nothing(
    other: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Other(torch.nn.Module):
        @torch.jit.export
        def normal_(self, tensor: Tensor, mean: float = 0.0, std: float = 1.0, seed: int | None = None) -> Tensor:
            return torchinit.ones_(tensor)

    contents = other or run_quietly(lambda: torch.jit.script(Other())._save_to_buffer_for_lite_interpreter())
    (tmp_path / "torchinit.pt").write_text("old")
    monkeypatch.setattr(_package, "_mobile_bytes", lambda: contents)
    with pytest.raises(RuntimeError):
        deploy.write_package(tmp_path, force=True)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / "torchinit.pt"]
    assert (tmp_path / "torchinit.pt").read_text() == "old"


@MADE_ONCE
def test_old_file_is_replaced_not_overwritten_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deploy.write_package(tmp_path)
    held = (tmp_path / "torchinit.pt").open("rb")
    size = len(held.read())
    # A rename needs the temporary folder on the same file system.
    made = []
    monkeypatch.setattr(
        _package.tempfile, "TemporaryDirectory", lambda **given: made.append(given) or _TEMPORARY(**given)
    )
    deploy.write_package(tmp_path, force=True)
    assert held.seek(0) == 0
    assert len(held.read()) == size
    assert (tmp_path / "torchinit.pt").stat().st_ino != os.fstat(held.fileno()).st_ino
    assert [given["dir"] for given in made] == [tmp_path]
    held.close()


@MADE_ONCE
def test_folder_or_dangling_link_where_a_file_goes_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "torchinitConfig.cmake").mkdir()
    with pytest.raises(FileExistsError, match="must not hold a folder where a file goes, got torchinitConfig"):
        deploy.write_package(tmp_path, force=True)
    (tmp_path / "torchinitConfig.cmake").rmdir()
    (tmp_path / "torchinit.pt").symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileExistsError, match="unless it is forced, got torchinit"):
        deploy.write_package(tmp_path)
    (tmp_path / "torchinit.pt").unlink()
    (tmp_path / "include").write_text("")
    with pytest.raises(OSError, match="include"):
        deploy.write_package(tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["include"]
    with pytest.raises(FileNotFoundError, match="needs the name of a directory"):
        deploy.write_package("")


@MADE_ONCE
@pytest.mark.skipif(os.name != "posix", reason="a limit on the size of files needs POSIX")
def test_full_disk_is_an_error_in_one_line_and_leaves_nothing_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        code = cli.main(["bundle", str(tmp_path / "made")])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    error = capsys.readouterr().err
    assert code == 1, error
    assert error.count("\n") == 1
    assert not [path for path in (tmp_path / "made").rglob("*") if path.is_file() or path.name.startswith(".")]


def test_committed_table_of_operators_is_current() -> None:
    assert operators.PATH.read_text() == operators.render()
