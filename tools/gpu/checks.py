"""Sections that are tests: each runs a file of tests in this process, and counts."""

import contextlib
import io
from collections import Counter
from pathlib import Path

import pytest

from tools.gpu.sections import Findings, Settings

_ROOT = Path(__file__).resolve().parents[2]
# Failures that are kept in full, for each section; the others are counted.
_KEPT = 20
# Section: file, and the tests of it.
TESTS = {
    "parity": ("tests/core/test_parity.py", "test_outcome_on_a_cuda_device_equals_the_oracles"),
    "kernels": ("tests/gpu/test_gpu_kernels.py", ""),
    "graphs": ("tests/gpu/test_gpu_graphs.py", ""),
    "costs": ("tests/gpu/test_gpu_costs.py", ""),
    "keyed": ("tests/gpu/test_gpu_keyed.py", ""),
    "draws": ("tests/gpu/test_gpu_draws.py", ""),
    "recording": ("tests/gpu/test_gpu_recording.py", ""),
    "compiled": ("tests/gpu/test_gpu_compiled.py", ""),
    "dtensor": ("tests/gpu/test_gpu_dtensor.py", ""),
    "scripted": ("tests/gpu/test_gpu_scripted.py", ""),
}


class _Plugin:
    """Counts outcomes by test, and stops pytest when the time is over."""

    def __init__(self, findings: Findings) -> None:
        self.findings = findings
        self.name, self.counts = "", Counter[str]()
        self.failures = 0
        self.selected = self.done = self.broken = 0
        self.session: pytest.Session | None = None

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.session, self.selected = session, len(session.items)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.broken += 1
            self.findings.add(test=report.nodeid, failed=1)
            self.keep(report.nodeid, report.longreprtext)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "call" and report.passed:
            return
        test = report.nodeid.partition("::")[2]
        name = test.partition("[")[0]
        if name != self.name:
            self.flush()
            self.name = name
        self.counts[report.outcome] += 1
        if report.failed:
            self.keep(test, report.longreprtext)

    def flush(self) -> None:
        """Tell the outcomes of a test as soon as all its cases have run: a process that is stopped loses the rest."""
        if self.counts:
            self.findings.add(test=self.name, **self.counts)
        self.counts = Counter()

    def keep(self, test: str, text: str) -> None:
        self.failures += 1
        if self.failures <= _KEPT:
            self.findings.add(failure=test, error=_last_line(text), text=text[-4000:])

    def pytest_runtest_logfinish(self) -> None:
        self.done += 1
        if self.findings.is_late() and self.session is not None:
            self.session.shouldstop = "out of time"


def _last_line(text: str) -> str:
    """Return pytest's line of the error."""
    lines = [line[1:].strip() for line in text.splitlines() if line.startswith("E ")]
    return (lines or text.strip().splitlines() or [""])[0][:300]


def run_tests(section: str, settings: Settings, findings: Findings) -> None:
    """Run a file of tests; a row for each test, with its outcomes and the first errors."""
    file, only = TESTS[section]
    if section == "parity" and settings.device == "cpu":
        only = "test_outcome_equals_the_oracles"
    words = " and ".join(f"({part})" for part in (only, settings.select) if part)
    arguments = ["-p", "no:cacheprovider", f"--rootdir={_ROOT}", "-c", str(_ROOT / "setup.cfg"), "-k", words]
    plugin = _Plugin(findings)
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        code = pytest.main([*arguments, str(_ROOT / file)], plugins=[plugin])
    plugin.flush()
    if plugin.done < plugin.selected:
        findings.cut.append(f"{plugin.selected - plugin.done} of {plugin.selected} tests left")
    if not plugin.done and not plugin.broken:
        raise RuntimeError(f"pytest ran no test of {file} (exit code {code}): {output.getvalue()[-2000:]}")
