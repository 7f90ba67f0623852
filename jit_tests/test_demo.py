"""Does ``make demo`` succeed, and does it fail when torchinit does?"""

import runpy

import pytest
import torch

import torchinit
from tools import demo, native, targets
from tools.attached import built


@pytest.mark.slow
# Run as a program, an imported module is executed anew.
@pytest.mark.filterwarnings("ignore:'tools.demo' found in sys.modules:RuntimeWarning")
def test_demo_shows_all_names_and_exits_zero(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        runpy.run_module("tools.demo", run_name="__main__")
    out, err = capsys.readouterr()
    assert done.value.code == 0, out + err
    assert "torchinit can be imported: no" in out
    assert "26 names: upstream compiles 7, torchinit 26" in out
    attached, names = out.split("\nA scripted model, saved")
    assert [line.split()[0] for line in names.splitlines() if line.endswith(("yes", "README)"))][-26:] == demo.NAMES
    missing = native.missing()
    if missing is None:
        assert "layers.{0,1}.mlp.fc1.weight " in attached
        assert f"  {'the traced file had no reset_parameters':60}yes\n" in attached
        assert attached.count("yes\n") == 1 + len(built().state_dict())
    else:
        assert f"  skipped, {missing}\n" in attached
    assert "[1/34] save ..." in err
    for target in targets.TARGETS:
        missing = targets.TARGETS[target][1]()
        assert f"  {target:40}{f'skipped, {missing}' if missing else 'yes'}\n" in out


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the demo one name, and nothing that starts a process."""
    monkeypatch.setattr(demo, "NAMES", ["zeros_"])
    monkeypatch.setattr(demo, "TARGETS", {})
    monkeypatch.setattr(demo, "reset_elsewhere", lambda progress: [("weight", True)])
    monkeypatch.setattr(demo, "attach_and_reset", lambda: ("", [("weight", True)]))


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("broken", ["draws other bits", "does not compile"])
def test_demo_fails_when_an_initializer_does(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def other(tensor: torch.Tensor) -> torch.Tensor:
        return torchinit.ones_(tensor)

    def generic(*arguments: torch.Tensor) -> torch.Tensor:
        return torchinit.eye_(*arguments)

    monkeypatch.setattr("torchinit.eye", other if broken == "draws other bits" else generic)
    monkeypatch.setattr(demo, "NAMES", ["eye", "zeros_"])
    assert demo.main() == 1


@pytest.mark.usefixtures("small")
def test_demo_fails_when_the_saved_model_or_the_attached_method_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "missing", lambda: None)
    for equal in (True, False):
        monkeypatch.setattr(demo, "attach_and_reset", lambda equal=equal: ("", [("weight", True), ("bias", equal)]))
        assert demo.main() == (0 if equal else 1)
    monkeypatch.setattr(demo, "attach_and_reset", lambda: ("", [("weight", True)]))
    monkeypatch.setattr(demo, "reset_elsewhere", lambda progress: [("weight", True), ("bias", False)])
    assert demo.main() == 1


@pytest.mark.usefixtures("small")
def test_demo_fails_when_a_target_does(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def broken() -> torch.Tensor:
        raise RuntimeError("on purpose\nand at length")

    monkeypatch.setattr(
        targets,
        "TARGETS",
        {
            name: (broken if name == "torch.export" else lambda: torch.zeros(1), lambda: None)
            for name in targets.TARGETS
        },
    )
    monkeypatch.setattr(demo, "TARGETS", targets.TARGETS)
    assert demo.main() == 1
    shown = capsys.readouterr().out
    assert f"  {'torch.export':40}no, RuntimeError: on purpose\n" in shown
    assert f"  {'AOTInductor':40}no\n" in shown


def test_demo_says_why_it_skips_a_target(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "_find", lambda name: None)
    assert targets.try_target("C++ (libtorch)") == (True, "skipped, no CMake")
    assert targets.try_target("AOTInductor") == (True, "skipped, no C++ compiler")
