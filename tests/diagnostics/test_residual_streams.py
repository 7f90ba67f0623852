"""Does signal find the residual stream of a model, and only that?"""

import pytest
import torch
from torch import Tensor, nn

from tests.support.model_libraries import add_model_libraries
from tests.support.residual_models import Branch, LoRA, Residual, ResNet, ReZero
from tests.support.signal_models import loaded, rms
from torchinit.diagnostics import LayerSignal, signal, summary, trends


def sums(model: nn.Module, *inputs: Tensor) -> list[LayerSignal]:
    return [row for row in signal(model, *inputs) if row.kind == "residual"]


def test_each_sum_of_the_stream_is_a_row_with_its_scale_and_gradient() -> None:
    torch.manual_seed(0)
    model, x = Residual(), torch.randn(4, 8)
    rows = signal(model, x, generator=torch.Generator().manual_seed(4))
    stream = [model.stem(x)]
    for block in model.blocks:
        stream.append(stream[-1] + block(stream[-1]))
        stream[-1].retain_grad()
    output = model.head(stream[-1])
    generator = torch.Generator().manual_seed(4)
    torch.randint(1 << 62, (1,), generator=generator)
    output.backward(torch.randn(output.shape, generator=generator))
    found = [row for row in rows if row.kind == "residual"]
    assert [row.label for row in found] == ["x + blocks.0", "x + blocks.1", "x + blocks.2"]
    assert [row.activation for row in found] == pytest.approx([rms(t) for t in stream[1:]])
    assert [row.gradient for row in found] == pytest.approx([rms(t.grad) for t in stream[1:]])
    assert all(row.weight is row.weight_gradient is None and row.output == (4, 8) for row in found)
    assert [(row.layer, row.branch) for row in rows][:4] == [
        ("stem", ""), ("blocks.0.inner", "blocks.0"), ("blocks.0.outer", "blocks.0"), ("blocks.0", "")
    ]  # fmt: skip


@pytest.mark.parametrize("make", [Residual, ResNet], ids=["exact", "projected, in place"])
def test_scripted_and_traced_models_have_the_same_stream(make: type) -> None:
    torch.manual_seed(0)
    model, x = make(), torch.randn(2, 8) if make is Residual else torch.randn(2, 3, 8, 8)
    model.eval()
    rows = signal(model, x)
    for variant in (torch.jit.script(model), torch.jit.trace(model, x)):
        assert signal(variant, x) == rows
        assert signal(loaded(variant), x) == rows


def test_a_projected_shortcut_belongs_to_the_stream() -> None:
    rows = signal(ResNet(), torch.randn(2, 3, 8, 8))
    assert [row.label for row in rows if row.kind == "residual"] == [f"x + blocks.{i}" for i in range(4)]
    assert {row.layer for row in rows if not row.branch and row.kind != "residual"} == {"stem", "head"}
    assert next(row for row in rows if row.layer == "blocks.0.down").branch == "blocks.0"


class Rotated(nn.Module):
    """Adds values that are computed from one without a layer, as rotary embeddings do, and a mask and a position."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(9, 8), nn.Embedding(5, 8)
        self.query, self.key = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.words(ids) + self.places(torch.arange(5))
        q = self.query(x)
        q = q * 0.5 + q.flip(-1) * 0.25
        return (q @ self.key(x).transpose(-1, -2)).masked_fill(ids[:, None] > 6, -9.0) + x.mean(-1)[:, None]


class Variational(nn.Module):
    """Two heads of one value, of which one is added."""

    def __init__(self) -> None:
        super().__init__()
        self.mean, self.deviation = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.mean(x) + self.deviation(x).exp() * 0.1


class Loop(nn.Module):
    """A recurrent layer, written by hand, that takes a product of its input at each step, or one of all steps before."""

    def __init__(self, hoisted: bool) -> None:
        super().__init__()
        self.hoisted, self.input, self.hidden = hoisted, nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        steps = self.input(x) if self.hoisted else x
        hidden = torch.zeros(8)
        for step in steps:
            hidden = torch.tanh((step if self.hoisted else self.input(step)) + self.hidden(hidden))
        return hidden


@pytest.mark.parametrize(
    "make",
    [
        Variational,
        lambda: nn.Sequential(LoRA(), nn.ReLU(), LoRA()),
        lambda: nn.LSTM(8, 8, num_layers=2),
        lambda: nn.GRU(8, 8).double(),
        lambda: Loop(False),
        lambda: Loop(True),
    ],
    ids=["variational", "LoRA", "LSTM", "GRU", "loop", "hoisted loop"],
)
def test_a_sum_without_a_skip_connection_is_no_row(make: type) -> None:
    model = make()
    assert sums(model, torch.randn(5, 8, dtype=next(model.parameters()).dtype)) == []


def test_sums_in_rotary_embeddings_and_of_positions_are_no_rows() -> None:
    # The last sum adds what the scores are computed from, but not in their shape.
    assert sums(Rotated(), torch.randint(9, (2, 5))) == []


class Parallel(nn.Module):
    """Adds two branches, and then both to the stream; the first holds a layer with LoRA."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Sequential(LoRA(), nn.ReLU(), LoRA()), Branch()

    def forward(self, x: Tensor) -> Tensor:
        return self.first(x) + self.second(x)


def test_sums_within_a_branch_are_no_rows() -> None:
    rows = sums(Residual(Parallel), torch.randn(4, 8))
    assert [row.label for row in rows] == ["x + blocks.0", "x + blocks.1", "x + blocks.2"]


class Shared(nn.Module):
    """Holds its layers in two lists, and takes the last branch twice."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.ModuleList(nn.Linear(8, 8) for _ in range(2))
        self.outer = nn.ModuleList(nn.Linear(8, 8) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        for i in (0, 1, 1):
            x = torch.add(x, self.outer[i](torch.relu(self.inner[i](x))), alpha=0.5)
        return x


def test_sums_whose_layers_have_no_module_of_their_own_are_named_after_the_last_layer() -> None:
    names = ["outer.0", "outer.1", "outer.1 #2"]
    assert [row.label for row in sums(Shared(), torch.randn(4, 8))] == [f"x + {name}" for name in names]
    nested = nn.Sequential(Shared(), nn.Linear(8, 8))
    assert [row.label for row in sums(nested, torch.randn(4, 8))] == [f"x + 0.{name}" for name in names]


def test_the_trend_follows_the_stream_and_not_its_branches() -> None:
    torch.manual_seed(0)
    model = Residual(lambda: nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8)), depth=6)
    with torch.no_grad():
        for block in model.blocks:
            nn.init.eye_(block[0].weight).mul_(1e-6)
            nn.init.eye_(block[1].weight).mul_(2e6)
            nn.init.zeros_(block[0].bias), nn.init.zeros_(block[1].bias)
    # Each branch gives twice what it takes, so each sum has three times the scale of the one before.
    rows = signal(model, torch.randn(4, 8))
    forward, backward = trends(rows)
    assert (forward.step, backward.step) == ("residual sum", "residual sum")
    assert forward.factor == pytest.approx(3, rel=1e-4)
    assert backward.factor == pytest.approx(3, rel=1e-4)
    assert summary(rows).startswith("activations: x3 per residual sum, x243 in all: explode; gradients: x3 per")


def test_two_sums_do_not_speak_for_many_layers_without_a_skip_connection() -> None:
    model = nn.Sequential(Residual(depth=2, make=Branch), *(nn.Linear(3, 3) for _ in range(30)))
    rows = signal(model, torch.randn(4, 8))
    assert {fitted.step for fitted in trends(rows)} == {"layer"}


def test_streams_of_transformers_and_timm_are_found() -> None:
    add_model_libraries()
    transformers, timm = pytest.importorskip("transformers"), pytest.importorskip("timm")
    size = {"vocab_size": 40, "hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2}
    bert = transformers.BertModel(transformers.BertConfig(num_hidden_layers=2, **size), add_pooling_layer=False)
    gpt = transformers.GPTNeoXModel(transformers.GPTNeoXConfig(num_hidden_layers=2, **size))
    ids = torch.randint(40, (2, 7))
    # After the norm, before it, and attention beside the MLP.
    names = [f"x + encoder.layer.{i}{part}" for i in range(2) for part in (".attention", "")]
    assert [row.label for row in sums(bert, ids)] == names
    assert [row.label for row in sums(gpt, ids)] == ["x + layers.0", "x + layers.1"]
    vit = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=2)
    names = [f"x + blocks.{i}.{part}" for i in range(2) for part in ("attn", "mlp")]
    assert [row.label for row in sums(vit, torch.randn(1, 3, 32, 32))] == names
    assert sums(ReZero(), torch.randn(2, 8)) == []


class Doubled(nn.Module):
    """Adds a value to itself."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        y = self.inner(x)
        return y + y


def test_a_value_that_is_added_to_itself_is_no_stream() -> None:
    assert sums(Doubled(), torch.randn(4, 8)) == []
