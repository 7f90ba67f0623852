"""The site, built once for all tests and workers."""

import fcntl
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import sphinx
import torch

ROOT = Path(__file__).resolve().parents[2]
# Pages that Sphinx has read and that have not changed are not read again.
_CACHE = ROOT / ".cache" / "docs"


def _pages_read(fresh: str) -> Path:
    """Return the folder of the pages read by this code; delete those that other code has read."""
    for folder in _CACHE.glob("read-*"):
        if folder.name != f"read-{fresh}":
            shutil.rmtree(folder)
    return _CACHE / f"read-{fresh}"


def _code() -> str:
    """Return a hash of all code that makes pages from their sources, and of what it runs on."""
    files = [path for folder in ("torchinit", "tools/docs", "docs") for path in (ROOT / folder).rglob("*.py*")]
    found = hashlib.sha256(f"{sphinx.__version__} {torch.__version__} {sys.version}".encode())
    for path in sorted(path for path in files if path.suffix in (".py", ".pyi")):
        found.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    return found.hexdigest()[:16]


def _build(folder: Path) -> str:
    """Build the site and return the warnings."""
    pages = _pages_read(_code())
    command = [sys.executable, "-m", "sphinx", "-n", "-W", "--keep-going", "-q", "-d", str(pages), "docs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    if done.returncode:
        # A page that is not read again would not warn again.
        shutil.rmtree(pages, ignore_errors=True)
    return done.stderr if done.returncode else ""


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # The folder shared by all workers of a run.
    shared = tmp_path_factory.getbasetemp()
    shared = shared.parent if shared.name.startswith("popen-") else shared
    folder, log = shared / "site", shared / "site.log"
    _CACHE.mkdir(parents=True, exist_ok=True)
    with (_CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not log.exists():
            log.write_text(_build(folder))
    assert not log.read_text(), log.read_text()
    return folder
