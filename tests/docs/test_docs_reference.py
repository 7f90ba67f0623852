"""Is every public function in the reference, with what it equals and what others call it, and is that true?"""

import math
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from expecttest import assert_expected_inline
from scipy import integrate, stats

import torchinit
from tools.codegen.docstrings import entries
from tools.codegen.functions import FUNCTIONS
from tools.docs import pages, reference
from tools.docs.docstrings import markdown, read
from tools.docs.equals import EQUALS, Equation
from tools.docs.links import link
from tools.docs.model import public
from tools.docs.peers import LIBRARIES, PEERS, Peer

ROWS = [function for function in FUNCTIONS if function.public]
# What stands for the arguments in a peer's call.
_GIVEN: dict[str, Any] = {
    "a": -2.0, "b": 2.0, "distribution": "uniform", "factor": 2.0, "gain": 2.0, "high": 1.0, "low": -1.0, "lower": -2.0,
    "maxval": 1.0, "mean": 0.0, "minval": -1.0, "mode": "fan_in", "scale": 2.0, "sparsity": 0.5, "std": 1.0,
    "stddev": 1.0, "upper": 2.0, "value": 0.5,
}  # fmt: skip


def _names() -> dict[str, Any]:
    """Return the names that a piece of code of the data may use, with a weight, a kernel and a bias of its own."""
    functions = {name: getattr(torchinit, name) for name in torchinit.__all__}
    tensors = {"w": torch.empty(64, 32), "k": torch.empty(64, 16, 3, 3)}
    return {"torch": torch, "math": math, **functions, **tensors}


def _value(code: str, **more: Any) -> Any:
    torch.manual_seed(0)
    return eval(code, _names() | more)


@pytest.mark.parametrize("name", [function.name for function in ROWS])
def test_public_row_has_all_that_its_page_says(name: str) -> None:
    assert name in EQUALS, "say in tools/docs/equals.py what the function equals"
    assert name in PEERS, "say in tools/docs/peers.py what others call the function; () if none has it"
    page = pages.pages()[reference.path(name)]
    assert page.startswith(f"# {name}\n")
    assert all(f"\n## {title}\n" in page for title in ("Arguments", "Example", "What it equals", "Other names"))


def test_data_names_only_what_is_public() -> None:
    names = {function.name for function in ROWS}
    assert set(EQUALS) == names
    assert set(PEERS) == names
    assert {peer.library for peers in PEERS.values() for peer in peers} == set(LIBRARIES)


def test_every_public_name_of_every_module_is_in_the_reference() -> None:
    assert {reference.path(entry.name) for entry in public()} < set(pages.pages())
    old = {function.deprecated for function in FUNCTIONS}
    assert {entry.name for entry in public()} == set(torchinit.__all__) - old
    for name, module in pages.MODULES.items():
        text = pages.pages()[reference.path(name)]
        assert all(f"# {name}.{member}\n" in text for member in module.__all__)


@pytest.mark.parametrize("equation", [e for equal in EQUALS.values() for e in equal.equations], ids=lambda e: e.left)
def test_what_equals_what_does(equation: Equation) -> None:
    left, right = (_value(side, b=torch.empty(8)) for side in (equation.left, equation.right))
    if not equation.exact:
        left, right = torch.as_tensor(left), torch.as_tensor(right)
        assert torch.allclose(left, right, rtol=1e-6, atol=0)
    elif isinstance(left, torch.Tensor):
        assert torch.equal(left, right)
    else:
        assert left == right


@pytest.mark.parametrize("peer", [peer for peers in PEERS.values() for peer in peers], ids=lambda p: p.theirs)
def test_what_to_write_for_a_peer_runs(peer: Peer) -> None:
    # Where the name is that of a number in another call, or the weight is no matrix.
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
    assert re.search(rf"^\| .*`{re.escape(name)}\(", reference.peers_index(), re.MULTILINE)


def test_peers_are_sorted_by_their_names() -> None:
    for section in reference.peers_index().split("\n## ")[1:]:
        names = [line.split("`")[1] for line in section.splitlines() if line.startswith("| `")]
        assert names == sorted(names, key=reference.sorted_by)


def test_gains_of_the_guide_are_those_of_the_formula() -> None:
    text = (pages.ROOT / "docs" / "guide" / "choosing.md").read_text()
    gains = re.findall(r"^\| (tanh|sigmoid|selu) \| ([\d.]+) \| ([\d.]+) \|$", text, re.MULTILINE)
    assert len(gains) == 3
    for name, upstream, exact in gains:
        moment = _second_moment(getattr(torch.nn.functional, name))
        assert float(upstream) == pytest.approx(torch.nn.init.calculate_gain(name), abs=5e-7)
        assert float(exact) == pytest.approx(moment**-0.5, abs=5e-7)


def _second_moment(f: Callable[[torch.Tensor], torch.Tensor]) -> float:
    def weighted(z: float) -> float:
        return f(torch.tensor(z, dtype=torch.float64)).item() ** 2 * stats.norm.pdf(z)

    # In halves, because selu has a kink at 0.
    return sum(integrate.quad(weighted, low, high)[0] for low, high in ((-12, 0), (0, 12)))


def _documented() -> None:
    r"""Do one thing.

    More in :func:`other` and ``code``, see https://example.org/a_b. As :math:`\sqrt{x}`:

    ===== ==========
    name  value
    ===== ==========
    a     :math:`1`
    ===== ==========

    .. math::
        x = 1, \quad
        y = 2

    Args:
        first: what comes
            first
        second: and then

    Raises:
        ValueError: if one
            or the other
    """


def test_docstring_becomes_markdown() -> None:
    text = read(_documented)
    assert text.summary == "Do one thing."
    assert entries(text.sections["Args"]) == {"first": "what comes first", "second": "and then"}
    assert entries(text.sections["Raises"]) == {"ValueError": "if one or the other"}
    assert_expected_inline(
        markdown(text.body),
        r"""
More in `other` and `code`, see <https://example.org/a_b>. As $\sqrt{x}$:

| name | value |
| --- | --- |
| a | $1$ |

$$
x = 1, \quad y = 2
$$""".lstrip(),
    )


@pytest.mark.parametrize(
    ("text", "linked"),
    [
        ("see `eye_`", "see [`eye_`](../reference/eye_.md)"),
        (
            "`torchinit.eye_(w)`, `keyed.eye_`",
            "[`torchinit.eye_(w)`](../reference/eye_.md), [`keyed.eye_`](../reference/k.md#e)",
        ),
        ("# `eye_`", "# `eye_`"),
        ("[`eye_`](x.md) and **`eye_`** and `other`", "[`eye_`](x.md) and **`eye_`** and `other`"),
        ("```python\n`eye_`\n```\n`eye_`", "```python\n`eye_`\n```\n[`eye_`](../reference/eye_.md)"),
    ],
)
def test_name_is_linked_where_text_mentions_it(text: str, linked: str) -> None:
    targets = {"eye_": "reference/eye_.md", "keyed.eye_": "reference/k.md#e"}
    assert link(text, "guide/page.md", targets) == linked
    assert link("`eye_`", "reference/eye_.md", targets) == "`eye_`"
