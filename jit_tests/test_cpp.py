"""Do the compiled header's classes behave as the Python functions do?"""

import subprocess
from pathlib import Path

import pytest
import torch

import torchinit
from jit_tests.native_cases import CASES, in_python, program
from jit_tests.scripting import rounded, run_quietly
from tools import native
from torchinit.deploy import bundle

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(native.missing() is not None, reason=f"no compiler: {native.missing()}"),
]


def _run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program(), *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("which", ["script", "mobile"])
def test_every_call_in_cpp_equals_the_call_in_python(which: str, tmp_path: Path) -> None:
    torch.save([[tensor.clone() for tensor in case.tensors] for case in CASES], tmp_path / "tensors.pt")
    done = _run(which, tmp_path / "tensors.pt", tmp_path / "rows.pt")
    assert done.returncode == 0, done.stderr
    rows = torch.load(tmp_path / "rows.pt", weights_only=False)
    calls = [(case, tensor) for case in CASES for tensor in case.tensors]
    assert len(rows) == len(calls)
    for (case, tensor), row in zip(calls, rows):
        expected = in_python(case, tensor)
        row["message"] = rounded(row["message"])
        where = f"{case} on {list(tensor.shape)} {tensor.dtype}"
        assert {k: row[k] for k in ("type", "message", "warnings")} == {
            k: expected[k] for k in ("type", "message", "warnings")
        }, where
        assert (row["returned"] is None) == (expected["returned"] is None), where
        if row["returned"] is not None:
            assert torch.equal(row["returned"], expected["returned"]), where
        assert torch.equal(row["next"], expected["next"]), where


def test_no_argument_that_compiles_ends_the_process() -> None:
    done = _run("hostile")
    assert done.returncode == 0, done.stderr[-2000:]
    script, mobile, *drawn = done.stdout.splitlines()
    # Both interpreters accept and refuse the same numbers of calls.
    assert script == mobile
    assert all(int(count) > 100 for count in script.split())
    seeds = (-(2**63), -1, 0, 7, 2**63 - 1)
    for seed, value in zip(seeds, drawn, strict=True):
        generator = torch.Generator().manual_seed(seed)
        assert float(value) == torchinit.uniform_(torch.zeros(1, dtype=torch.float64), generator=generator).item()


def test_object_refuses_tensors_that_no_interpreter_can_refuse_and_survives_copy_and_move() -> None:
    done = _run("show")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    # NotImplementedError; RuntimeError in torch 2.6.
    with pytest.raises(RuntimeError) as kernel:
        torchinit.uniform_(torch.zeros(2, 3, dtype=torch.float8_e4m3fn))
    undefined = "ValueError: An initializer needs a defined tensor, got an undefined one"
    rule = "Inplace update to inference tensor outside InferenceMode is not allowed"
    expected = [
        f"inference: Error: {rule}, got an inference tensor of shape [2, 3]",
        "inference mode: fine",
        f"undefined: {undefined}",
        f"fans of undefined: {undefined}",
        f"fan of undefined: {undefined}",
        f"kernel: {kernel.type.__name__.replace('Runtime', '')}: {kernel.value}",
        "moved from: fine",
        "copied: fine",
        "handler: Error: from a warning",
    ]
    assert lines[:9] == expected
    assert lines[9:18] == expected
    assert lines[18].startswith("torchinit/init.h needs the torchinit.ptl that was written with it, got something else")


def test_eight_threads_with_own_generators_draw_the_same_as_one_thread() -> None:
    assert _run("threads").stdout == "equal equal\n"


def test_archive_of_another_kind_is_refused_in_one_sentence(tmp_path: Path) -> None:
    old = bundle()
    old.interface = "0000"
    old.save(str(tmp_path / "old.pt"))
    run_quietly(old._save_for_lite_interpreter, str(tmp_path / "old.ptl"))
    run_quietly(torch.jit.script(torch.nn.Linear(2, 2)).save, str(tmp_path / "other.pt"))
    other = "torchinit/init.h needs the torchinit.pt that was written with it, got something else"
    release = "got one of another release; write both by `python -m torchinit bundle`"
    done = _run("archive", *(tmp_path / name for name in ("none.pt", "other.pt", "old.pt", "old.ptl")))
    assert done.returncode == 0, done.stderr
    # Each archive as torchinit.pt, then as torchinit.ptl.
    lines = done.stdout.splitlines()
    for line, opening, ending in (
        (lines[0], f"cannot load {tmp_path}/none.pt: open file failed", "none.pt"),
        (lines[2], other, "bundle`"),
        (lines[4], "torchinit/init.h needs the torchinit.pt that was written with it", release),
    ):
        assert line.startswith(opening)
        assert line.endswith(ending)
    assert all(line.startswith("cannot load") for line in (lines[1], lines[3], lines[5]))
    assert len(lines) == 8
    assert lines[7] == f"torchinit/init.h needs the torchinit.ptl that was written with it, {release}"


_NEEDS_20 = "cxx_std_20" in (Path(torch.utils.cmake_prefix_path) / "Torch" / "TorchConfig.cmake").read_text()
OLD = pytest.mark.skipif(_NEEDS_20, reason="this libtorch's own headers need C++20")


@pytest.mark.parametrize(
    "flags",
    [
        # Programs of this file compile the whole header by the standard that torch asks for.
        pytest.param("-std=c++17", marks=OLD),
        "-std=c++20 -DTORCHINIT_MOBILE_ONLY",
    ],
)
def test_header_compiles_alone_without_a_warning(flags: str) -> None:
    strict = f"{flags} -Wall -Wextra -Wpedantic -Wshadow -Werror"
    assert native.compiler_says("#include <torchinit/init.h>\n", strict) == ""


def test_find_package_knows_its_version(tmp_path: Path) -> None:
    version = torchinit.__version__
    for wanted, found in ((version, True), (f"{version} EXACT", True), ("0.0", True), ("99.0", False)):
        (tmp_path / "CMakeLists.txt").write_text(
            "cmake_minimum_required(VERSION 3.18)\nproject(x NONE)\n"
            f"set(PACKAGE_FIND_VERSION {wanted.split()[0]})\n"
            f"include({native.ROOT}/torchinit/deploy/package/torchinitConfigVersion.cmake)\n"
            'message("compatible ${PACKAGE_VERSION_COMPATIBLE} exact ${PACKAGE_VERSION_EXACT}")\n'
        )
        said = native.run([native._find("cmake") or "cmake", "-S", ".", "-B", "build"], tmp_path)
        assert f"compatible {'TRUE' if found else 'FALSE'}" in said
        assert ("exact TRUE" in said) is (wanted.split()[0] == version)


def test_example_builds_from_the_package_and_shows_pythons_weights(tmp_path: Path) -> None:
    package = native.example()
    lines = (package / "example" / "main.cpp").read_text().splitlines()
    assert len(lines) <= 25
    done = native.run([str(package / "build" / "example")], tmp_path)
    generator = torch.Generator().manual_seed(2026)
    weight = torchinit.kaiming_normal_(torch.empty(4, 3), 0.0, "fan_out", "relu", generator)
    head = torchinit.trunc_normal_(torch.empty(2, 4), std=0.02, generator=generator)
    numbers = [[float(word) for word in line.split()] for line in done.splitlines() if line[:1] == " "]
    assert torch.allclose(torch.tensor(numbers[:4]), weight, atol=5e-5)
    assert torch.allclose(torch.tensor(numbers[4:]) * 0.01, head, atol=5e-7)
    assert done.endswith("Mode fan_avg not supported, please use one of ['fan_in', 'fan_out']\n")
