"""Does the data state every public function's equations and other names, and are they true?"""

import math
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from scipy import integrate, stats

import torchinit
from tests.docs.conftest import ROOT
from tools.docs import about
from tools.docs.equals import EQUALS, Equation
from tools.docs.peers import LIBRARIES, PEERS, Peer

# All functions but those for eager code only.
NAMES = sorted(set(about.FUNCTIONS) - {"fans_of", "patch_torch", "record"})
# Values of the arguments in a peer's call.
_GIVEN: dict[str, Any] = {
    "a": -2.0, "b": 2.0, "distribution": "uniform", "factor": 2.0, "gain": 2.0, "high": 1.0, "low": -1.0, "lower": -2.0,
    "maxval": 1.0, "mean": 0.0, "minval": -1.0, "mode": "fan_in", "scale": 2.0, "sparsity": 0.5, "std": 1.0,
    "stddev": 1.0, "upper": 2.0, "value": 0.5,
}  # fmt: skip


def _names() -> dict[str, Any]:
    """Return the names that the data's code may use, with a fresh weight, kernel and bias."""
    functions = {name: getattr(torchinit, name) for name in torchinit.__all__}
    tensors = {"w": torch.empty(64, 32), "k": torch.empty(64, 16, 3, 3)}
    return {"torch": torch, "math": math, **functions, **tensors}


def _value(code: str, **more: Any) -> Any:
    torch.manual_seed(0)
    return eval(code, _names() | more)


@pytest.mark.parametrize("name", NAMES)
def test_reference_holds_a_functions_equations_and_other_names(name: str) -> None:
    assert name in EQUALS, "say in tools/docs/equals.py what the function equals"
    assert name in PEERS, "say in tools/docs/peers.py what others call the function; () if none has it"
    lines = about.function(name)
    assert ".. rubric:: Equals" in lines
    assert not PEERS[name] or ".. rubric:: In other libraries" in lines


def test_data_names_only_public_functions() -> None:
    assert set(EQUALS) == set(NAMES)
    assert set(PEERS) == set(NAMES)
    assert {peer.library for peers in PEERS.values() for peer in peers} == set(LIBRARIES)


@pytest.mark.parametrize("equation", [e for equal in EQUALS.values() for e in equal.equations], ids=lambda e: e.left)
def test_documented_equation_holds(equation: Equation) -> None:
    left, right = (_value(side, b=torch.empty(8)) for side in (equation.left, equation.right))
    if not equation.exact:
        left, right = torch.as_tensor(left), torch.as_tensor(right)
        assert torch.allclose(left, right, rtol=1e-6, atol=0)
    elif isinstance(left, torch.Tensor):
        assert torch.equal(left, right)
    else:
        assert left == right


@pytest.mark.parametrize("peer", [peer for peers in PEERS.values() for peer in peers], ids=lambda p: p.theirs)
def test_our_call_for_a_peer_runs(peer: Peer) -> None:
    # The bias b, where other calls have a number b; a weight that is not a matrix.
    own = {"lstm_bias_": {"b": torch.empty(8)}, "delta_orthogonal_": {"w": torch.empty(64, 16, 3, 3)}}
    assert _value(peer.ours, **_GIVEN | own.get(peer.ours.partition("(")[0], {})).isfinite().all()


@pytest.mark.parametrize(
    ("peer", "std", "bound"),
    [
        ("glorot_uniform()", (2 / 96) ** 0.5, (6 / 96) ** 0.5),
        ("glorot_normal()", (2 / 96) ** 0.5, 2 * (2 / 96) ** 0.5 / stats.truncnorm(-2, 2).std()),
        ("he_normal()", (2 / 32) ** 0.5, 2 * (2 / 32) ** 0.5 / stats.truncnorm(-2, 2).std()),
        ("lecun_normal()", (1 / 32) ** 0.5, 2 * (1 / 32) ** 0.5 / stats.truncnorm(-2, 2).std()),
        ("truncated_normal(stddev, lower=lower, upper=upper)", stats.truncnorm(-2, 2).std(), 2.0),
    ],
)
def test_jax_name_leads_to_jaxs_distribution(peer: str, std: float, bound: float) -> None:
    (ours,) = [p.ours for peers in PEERS.values() for p in peers if (p.library, p.theirs) == ("JAX", peer)]
    values = _value(ours, **_GIVEN)
    assert values.abs().max() <= bound * (1 + 1e-6)
    assert values.std().item() == pytest.approx(std, rel=0.05)


@pytest.mark.parametrize("name", ["glorot_uniform", "GlorotUniform", "tf.random.truncated_normal", "he_normal"])
def test_index_of_peers_finds_a_name(name: str) -> None:
    assert re.search(rf"^\| .*`{re.escape(name)}\(", about.peers_index(), re.MULTILINE)


def test_peers_are_sorted_by_their_names() -> None:
    for section in about.peers_index().split("\n## ")[1:]:
        names = [line.split("`")[1] for line in section.splitlines() if line.startswith("| `")]
        assert names == sorted(names, key=about.sort_key)


def test_gains_of_the_guide_are_those_of_the_formula() -> None:
    text = (ROOT / "docs" / "guide" / "choosing.md").read_text()
    gains = re.findall(r"^\| (tanh|sigmoid|selu) \| ([\d.]+) \| ([\d.]+) \|$", text, re.MULTILINE)
    assert len(gains) == 3
    for name, upstream, exact in gains:
        moment = _second_moment(getattr(torch.nn.functional, name))
        assert float(upstream) == pytest.approx(torch.nn.init.calculate_gain(name), abs=5e-7)
        assert float(exact) == pytest.approx(moment**-0.5, abs=5e-7)


def _second_moment(f: Callable[[torch.Tensor], torch.Tensor]) -> float:
    def weighted(z: float) -> float:
        return f(torch.tensor(z, dtype=torch.float64)).item() ** 2 * stats.norm.pdf(z)

    # Integrate in halves: selu has a kink at 0.
    return sum(integrate.quad(weighted, low, high)[0] for low, high in ((-12, 0), (0, 12)))
