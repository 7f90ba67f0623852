"""Builds C++ programs and AOTInductor packages for the installed torch, and keeps them in ``.cache/native``."""

import contextlib
import fcntl
import functools
import hashlib
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from torchinit.deploy import write_package

ROOT = Path(__file__).resolve().parents[1]
CACHE = ROOT / ".cache" / "native"

_LISTS = """\
cmake_minimum_required(VERSION 3.18)
project(program CXX)
find_package(torchinit REQUIRED)
add_executable(program main.cpp)
target_link_libraries(program torchinit::torchinit)
"""


def _find(name: str) -> str | None:
    # A virtual environment's own programs come first; it need not be activated.
    return shutil.which(name, path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))


def missing_compiler() -> str | None:
    """Return a message if there is no C++ compiler, else None."""
    return "no C++ compiler" if _find(os.environ.get("CXX", "c++")) is None else None


def missing() -> str | None:
    """Return what a CMake build against torch lacks here, or None."""
    if _find("cmake") is None:
        return "no CMake"
    if torch.version.cuda is not None:
        from torch.utils.cpp_extension import CUDA_HOME

        if CUDA_HOME is None or not (Path(CUDA_HOME) / "include" / "cuda_runtime.h").exists():
            return "no CUDA toolkit, which the CMake files of a torch built with CUDA look for"
    return missing_compiler()


def run(command: list[str], cwd: Path) -> str:
    """Run a command and return its output; raise an error with the output if it fails."""
    done = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} must succeed, got exit code {done.returncode}:\n{done.stdout}")
    return done.stdout


def _build(project: Path, prefix: Path) -> None:
    """Configure and build a CMake project that finds torchinit under ``prefix``, into its folder ``build``."""
    cmake, into = _find("cmake") or "cmake", prefix / "build"
    prefixes = f"-DCMAKE_PREFIX_PATH={torch.utils.cmake_prefix_path};{prefix}"
    generator = ["-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={_find('ninja')}"] if _find("ninja") else []
    run([cmake, "-S", str(project), "-B", str(into), *generator, "-DCMAKE_BUILD_TYPE=Release", prefixes], project)
    run([cmake, "--build", str(into)], project)


@contextlib.contextmanager
def folder_of(*compiled: str | bytes) -> Iterator[Path]:
    """Make the folder named by the hash of everything compiled; of several test workers, one builds what is in it."""
    texts = [text.encode() if isinstance(text, str) else text for text in compiled]
    folder = CACHE / hashlib.sha256(b"\n".join(texts)).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder


@functools.cache
def _package_digest() -> str:
    suffixes = (".py", ".h", ".cmake", ".cpp", ".txt")
    files = sorted(path for path in (ROOT / "torchinit").rglob("*") if path.suffix in suffixes)
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def _write_archives(folder: Path) -> None:
    written = folder / "package.sha256"
    if not written.exists() or written.read_text() != _package_digest():
        # Until all archives are written, none may count as those of a digest.
        written.unlink(missing_ok=True)
        write_package(folder, force=True)
        written.write_text(_package_digest())


def _cached(texts: list[str], name: str, build: Callable[[Path], object]) -> Path:
    """Build ``build/name`` from these texts, the package and torch, unless it is there; return the folder.

    Programs load the archives at run time: they are written anew when the package has changed.
    """
    texts += [torch.__version__, torch.utils.cmake_prefix_path]
    texts += [path.read_text() for path in (ROOT / "torchinit").rglob("*") if path.suffix in (".h", ".cmake")]
    with folder_of(*texts) as folder:
        _write_archives(folder)
        if not (folder / "build" / name).exists():
            build(folder)
    return folder


@functools.cache
def program(source: str) -> Path:
    """Build a program of one file against the package and return the program's path."""

    def build(folder: Path) -> None:
        project = folder / "project"
        project.mkdir(exist_ok=True)
        (project / "main.cpp").write_text(source)
        (project / "CMakeLists.txt").write_text(_LISTS)
        _build(project, folder)

    return _cached([source, _LISTS], "program", build) / "build" / "program"


def compiler_says(source: str, flags: str) -> str:
    """Compile one file against the package's header, link nothing, and return what the compiler says."""
    torch_include = Path(torch.__file__).parent / "include"
    system = ["-isystem", str(torch_include), "-isystem", str(torch_include / "torch" / "csrc" / "api" / "include")]
    command = [os.environ.get("CXX", "c++"), *flags.split(), *system, "-Iinclude", "-fsyntax-only", "main.cpp"]

    def build(folder: Path) -> None:
        (folder / "main.cpp").write_text(source)
        (folder / "build").mkdir(exist_ok=True)
        (folder / "build" / "said.txt").write_text(run(command, folder))

    return (_cached([source, *command], "said.txt", build) / "build" / "said.txt").read_text()


@functools.cache
def example() -> Path:
    """Build the package's own example as a user does; return the package's folder, which holds it in ``build``."""
    texts = [path.read_text() for path in sorted((ROOT / "torchinit" / "deploy" / "package" / "example").iterdir())]
    return _cached(texts, "example", lambda folder: _build(folder / "example", folder))


def package(program: Any) -> Any:
    """Compile a program of torch.export with AOTInductor, unless the same one was compiled before, and load it."""
    import torch._inductor.config

    # The compiled code's speed is not looked at. Random draws come from eager's generator.
    # NB: inductor writes to its metadata, which would change the keys of its cache for all later compilations.
    options = {"fallback_random": True, "aot_inductor.compile_wrapper_opt_level": "O0", "aot_inductor.metadata": {}}
    exported = io.BytesIO()
    torch.export.save(program, exported)
    machine = torch.__version__, torch.backends.cpu.get_cpu_capability()
    with folder_of(*machine, repr(options), exported.getvalue()) as folder, torch._inductor.config.patch(options):
        path = folder / "program.pt2"
        if not path.exists():
            made = torch._inductor.aoti_compile_and_package(program, package_path=str(folder / "made.pt2"))
            os.replace(made, path)
        return torch._inductor.aoti_load_package(path)
