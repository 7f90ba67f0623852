"""Does signal tell a zero on purpose from one that stops the signal?"""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tests.support.model_libraries import add_model_libraries
from tests.support.residual_models import Branch, Gated, LoRA, Residual, ResNet, ReZero, zeroed
from tests.support.signal_models import he, loaded, tower
from torchinit.diagnostics import Signal, marked, notes, signal, summary, trends


def noted(model: nn.Module, *inputs: Tensor) -> dict[str, str]:
    """Return the notes by label, and check that the marks are of the rows whose notes say no purpose."""
    rows = signal(model, *inputs)
    said = notes(rows)
    assert marked(rows) == [rows.is_marked(row) for row in rows]
    return {row.label: note for row, note in zip(rows, said, strict=True) if note}


def is_marked(model: nn.Module, *inputs: Tensor) -> set[str]:
    rows = signal(model, *inputs)
    return {row.label for row in rows if rows.is_marked(row)}


def test_a_last_norm_of_zeros_is_on_purpose_and_the_trend_is_that_of_the_stream() -> None:
    torch.manual_seed(0)
    model, x = ResNet(zero_last=True), torch.randn(2, 3, 8, 8)
    rows = signal(model, x)
    said = dict(zip([row.label for row in rows], notes(rows), strict=True))
    assert not any(marked(rows))
    for block in range(4):
        assert said[f"blocks.{block}.bn2"] == "activation zero on purpose (bn2.weight is 0)"
        for layer in ("conv1", "bn1", "conv2"):
            assert said[f"blocks.{block}.{layer}"] == "gradient zero on purpose (bn2.weight is 0)"
        assert said[f"x + blocks.{block}"] == ""
    assert summary(rows).count("keep their scale") == 2
    for variant in (torch.jit.script(model), torch.jit.trace(model, x)):
        assert signal(loaded(variant), x) == rows


def test_rezero_is_on_purpose() -> None:
    said = noted(Residual(ReZero, depth=2), torch.randn(4, 8))
    assert said == {
        "blocks.0.branch": "gradient zero on purpose (blocks.0.alpha is 0)",
        "blocks.0": "activation zero on purpose (blocks.0.alpha is 0)",
        "blocks.1.branch": "gradient zero on purpose (blocks.1.alpha is 0)",
        "blocks.1": "activation zero on purpose (blocks.1.alpha is 0)",
    }
    assert is_marked(Residual(ReZero), torch.randn(4, 8)) == set()


class Nested(nn.Module):
    """A branch that is scaled by 0, with another such branch within."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = ReZero(), nn.Linear(8, 8)
        self.alpha = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.alpha * self.outer(x + self.inner(x))


def test_a_zero_whose_gradient_another_keeps_away_is_on_purpose_too() -> None:
    model = Residual(Nested, depth=1)
    said = noted(model, torch.randn(4, 8))
    assert is_marked(model, torch.randn(4, 8)) == set()
    assert said["blocks.0.inner"] == (
        "activation zero on purpose (inner.alpha is 0), gradient zero on purpose (blocks.0.alpha is 0)"
    )
    # An inner branch that is dead in itself stays so.
    zeroed(model.blocks[0].inner.branch)
    assert is_marked(model, torch.randn(4, 8)) == {"blocks.0.inner", "blocks.0.inner.branch"}


@pytest.mark.parametrize("tail", [[], [nn.ReLU(), nn.Linear(8, 3)]], ids=["last", "first"])
def test_the_second_factor_of_lora_is_on_purpose(tail: list[nn.Module]) -> None:
    model = nn.Sequential(LoRA(), *tail)
    assert noted(model, torch.randn(4, 8)) == {
        "0.lora_a": "gradient zero on purpose (lora_b.weight is 0)",
        "0.lora_b": "activation zero on purpose (lora_b.weight is 0)",
    }
    assert is_marked(model, torch.randn(4, 8)) == set()


def test_adaln_zero_is_on_purpose() -> None:
    inputs = torch.randn(4, 8), torch.randn(4, 4)
    said = noted(Gated(zero_head=False), *inputs)
    cause = "gradient zero on purpose (modulations.{}.weight is 0)"
    assert said["condition"] == cause.format(0)
    assert said["modulations.1"] == "activation zero on purpose (modulations.1.weight is 0)"
    assert said["branches.1.inner"] == said["branches.1.outer"] == cause.format(1)
    assert is_marked(Gated(zero_head=False), *inputs) == set()


def test_a_head_of_zeros_is_named_and_not_marked() -> None:
    torch.manual_seed(0)
    inputs = torch.randn(4, 8), torch.randn(4, 4)
    rows = signal(Gated(zero_head=True), *inputs)
    said = notes(rows)
    assert said[-1] == "head.weight is 0: nothing below learns at the first step"
    assert said[0] == "gradient zero on purpose (head.weight is 0)"
    assert not any(marked(rows))
    assert trends(rows)[1] is None
    assert summary(rows).endswith("gradients: zero below head.weight, which is 0")
    # A bias makes the output of the head other than 0.
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 3))
    nn.init.zeros_(model[1].weight)
    assert notes(signal(model, inputs[0])) == [
        "gradient zero on purpose (1.weight is 0)", "1.weight is 0: nothing below learns at the first step"
    ]  # fmt: skip


class Heads(nn.Module):
    """Two heads of one layer."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 3), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.body(x)
        return self.first(x), self.second(x)


def test_one_head_of_zeros_among_two_does_not_stop_the_rest() -> None:
    model = Heads()
    zeroed(model.second)
    assert noted(model, torch.randn(4, 8)) == {"second": "activation zero on purpose (second.weight is 0)"}
    assert is_marked(model, torch.randn(4, 8)) == set()


def test_attention_and_lookup_of_zeros_are_on_purpose() -> None:
    class Attending(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.places = nn.Embedding(9, 8), zeroed(nn.Embedding(5, 8))
            self.q, self.k, self.v = zeroed(nn.Linear(8, 8)), nn.Linear(8, 8), nn.Linear(8, 8)

        def forward(self, ids: Tensor) -> Tensor:
            x = self.words(ids) + self.places(torch.arange(5))
            heads = [layer(x).view(2, 5, 2, 4).transpose(1, 2) for layer in (self.q, self.k, self.v)]
            return x + nn.functional.scaled_dot_product_attention(*heads).transpose(1, 2).reshape(2, 5, 8)

    ids = torch.randint(9, (2, 5))
    assert noted(Attending(), ids) == {
        "places": "activation zero on purpose (places.weight is 0)",
        "q": "activation zero on purpose (q.weight is 0)",
        "k": "gradient zero on purpose (q.weight is 0)",
    }
    assert is_marked(Attending(), ids) == set()


def with_zeros(*names: str, act: type[nn.Module] = nn.Tanh) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        model = Residual(lambda: Branch(act=act), depth=2)
        for name in names:
            zeroed(model.get_submodule(name))
        return model

    return make


class Detached(nn.Module):
    """Keeps the gradient from its first layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x).detach())


def dead() -> nn.Module:
    model = Residual(depth=2)
    nn.init.constant_(model.blocks[0].inner.bias, -100.0)
    zeroed(model.blocks[1].outer)
    return model


def in_the_middle(act: type[nn.Module]) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(nn.Linear(8, 8), act(), zeroed(nn.Linear(8, 8)), act(), nn.Linear(8, 3))


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (in_the_middle(nn.Tanh), {"0", "2"}),
        (in_the_middle(nn.ReLU), {"0", "2"}),
        (Detached, {"first"}),
        # A ReLU that is dead is none of the weights of zeros, also beside one.
        (dead, {"blocks.0.inner"}),
        # Neither factor of a branch of two zeros ever learns; the one that is 0 alone does.
        (with_zeros("blocks.0.inner", "blocks.0.outer"), {"blocks.0.inner", "blocks.0.outer"}),
        (with_zeros("blocks.0.inner", "blocks.0.outer", "head"), {"blocks.0.inner", "blocks.0.outer"}),
        (with_zeros("blocks.0.inner"), set()),
        (with_zeros("blocks.0.outer"), set()),
        (with_zeros("blocks.0.outer", "blocks.1.outer", "head"), set()),
        # ReLU's gradient at 0 is 0, so this one never learns either.
        (with_zeros("blocks.0.inner", act=nn.ReLU), {"blocks.0.inner"}),
        # Nothing passes around a stem, also below a head of zeros; after it, biases go on.
        (with_zeros("stem"), {"stem"}),
        (with_zeros("stem", "head"), {"stem"}),
    ],
)
def test_what_stops_the_signal_is_marked(make: Callable[[], nn.Module], expected: set[str]) -> None:
    torch.manual_seed(0)
    rows = signal(make(), torch.randn(4, 8))
    assert {row.label for row in rows if rows.is_marked(row)} == expected


def test_a_detached_layer_says_so() -> None:
    assert noted(Detached(), torch.randn(4, 8)) == {"first": "gradient missing"}


def test_rows_of_a_signal_say_their_notes_as_a_table() -> None:
    rows = signal(nn.Sequential(nn.Linear(8, 8), zeroed(nn.Linear(8, 3))), torch.randn(4, 8))
    assert isinstance(rows, Signal)
    assert "nothing below learns" in str(rows)
    assert rows.name(rows[0]) == "0"
    assert [rows.cells(row)[-1] for row in rows] == notes(rows)
    vanishing = signal(tower(lambda w: nn.init.normal_(w, std=0.01), 6, 16), torch.randn(4, 16))
    assert [vanishing.is_marked(row) for row in vanishing] == [True] * 6
    assert not any(marked(signal(tower(he, 4, 64), torch.randn(8, 64))))


def test_zeros_on_purpose_of_timm_and_peft_are_not_marked() -> None:
    add_model_libraries()
    timm, peft = pytest.importorskip("timm"), pytest.importorskip("peft")
    model = timm.create_model("resnet10t", zero_init_last=True)
    rows = signal(model, torch.randn(2, 3, 32, 32))
    assert sum("on purpose" in note for note in notes(rows)) == 4 * 4
    assert not any(marked(rows))
    adapted = peft.get_peft_model(Branch(), peft.LoraConfig(target_modules=["inner", "outer"]))
    assert is_marked(adapted, torch.randn(4, 8)) == set()


class _Detached(torch.autograd.Function):
    """Passes on a gradient of zeros, in a way that no operator shows."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return torch.from_numpy(x.detach().numpy().copy())

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return torch.zeros_like(gradient)


class Beside(nn.Module):
    """A head of zeros beside a layer that no operator connects with the output."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.head = nn.Linear(4, 4), zeroed(nn.Linear(4, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x) + _Detached.apply(self.inner(x))


def test_a_gradient_that_no_zero_weight_stops_is_not_on_purpose() -> None:
    assert noted(Beside(), torch.randn(3, 4))["inner"] == "gradient zero"


class Cut(nn.Module):
    """Computes with none of the values that a weight of zeros gives, and with a copy in another layout."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.zero = nn.Linear(4, 4), zeroed(nn.Linear(4, 4))

    def forward(self, x: Tensor) -> Tensor:
        y = self.zero(x)
        return self.inner(x) + y + (y[:, :0] * 2.0).sum() + y.to_sparse_csr().to_dense()


@pytest.mark.filterwarnings("ignore:Sparse CSR")
def test_results_without_elements_and_of_another_layout_are_not_said_to_be_zero() -> None:
    assert noted(Cut(), torch.randn(3, 4)) == {"zero": "activation zero on purpose (zero.weight is 0)"}
