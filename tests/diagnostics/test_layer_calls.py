"""Does signal find each layer's calls and outputs, however a model is written?"""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from tests.support.signal_models import Cells, Query, he, loaded, rms, tower
from torchinit.diagnostics import notes, signal, summary


class Tied(nn.Module):
    """An embedding tied to the head, and a layer that runs twice."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(11, 6)
        self.body = nn.Linear(6, 6)
        self.head = nn.Linear(6, 11, bias=False)
        self.head.weight = self.words.weight

    def forward(self, ids: Tensor) -> dict[str, Tensor]:
        x = self.body(self.words(ids))
        return {"out": self.head(self.body(x.relu()))}


def test_each_use_of_a_tied_weight_and_of_a_repeated_layer_is_a_row() -> None:
    model, ids = Tied(), torch.randint(11, (2, 5))
    rows = signal(model, ids)
    assert [row.label for row in rows] == ["words", "body", "body #2", "head"]
    assert [row.kind for row in rows] == ["Embedding", "Linear", "Linear", "Linear"]
    assert [row.output for row in rows] == [(2, 5, 6), (2, 5, 6), (2, 5, 6), (2, 5, 11)]
    assert rows[0].weight_gradient == rows[3].weight_gradient
    assert rows[1].gradient != rows[2].gradient
    assert signal(loaded(torch.jit.script(model)), ids) == rows


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_recurrent_layer_is_one_use_whether_or_not_torch_has_a_kernel_for_it(kind: type, dtype: torch.dtype) -> None:
    model = nn.Sequential(nn.Linear(3, 3, dtype=dtype), kind(3, 4, num_layers=2, dtype=dtype))
    assert [row.kind for row in signal(model, torch.randn(7, 2, 3, dtype=dtype))] == ["Linear", kind.__name__]


class Reshaping(nn.Module):
    """Reshapes an output right after its layer, and returns its input too."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(2, 3, 3)
        self.heads = nn.Linear(12, 8)
        self.tail = nn.Linear(12, 8)
        self.norm = nn.LayerNorm(4)
        self.count = nn.Parameter(torch.arange(3), requires_grad=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        flat = self.convolution(x).view(x.shape[0], 12)
        heads = self.heads(flat).view(x.shape[0], 2, 4)
        tail = self.tail(flat)
        return tail, x.view(x.shape[0], 1, 4, 8), self.norm(heads).view(-1, 1, 2, 4)


def test_an_output_has_the_shape_that_its_layer_gave_it() -> None:
    model, x = Reshaping(), torch.randn(5, 2, 4, 4)
    rows = signal(model, x)
    assert [row.output for row in rows] == [(5, 3, 2, 2), (5, 8), (5, 8), (5, 2, 4)]
    assert signal(loaded(torch.jit.script(model)), x) == rows


def test_each_step_of_a_cell_is_a_use() -> None:
    torch.manual_seed(0)
    model, x = Cells(), torch.randn(1, 2, 3).expand(5, 2, 3)
    rows = signal(model, x)
    assert [row.label for row in rows] == ["cell", *(f"cell #{i}" for i in range(2, 6))]
    # A step ends with the product of the input, which is the same from the second step on.
    assert len({row.activation for row in rows[1:]}) == 1
    assert signal(loaded(torch.jit.script(model)), x) == rows


class Derived(nn.Module):
    """Computes weights from parameters, and reads a parameter's dtype only."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.utils.parametrizations.weight_norm(nn.Linear(4, 4))
        self.second = nn.Linear(4, 4)
        self.third = nn.Linear(4, 4, bias=False)
        self.places = nn.Embedding(9, 4)
        self.scale = nn.Parameter(torch.randn(4))
        self.register_buffer("mask", torch.ones(4, 4).triu())
        self.register_buffer("hidden", torch.ones(4, 4).triu() == 0)

    def forward(self, ids: Tensor) -> Tensor:
        x = nn.functional.one_hot(ids, 4).to(self.mask.dtype)
        x = self.first(x)
        x = x @ (self.second.weight * self.mask).t() + self.second.bias
        places = self.places(torch.arange(x.shape[1]))
        empty = (self.first.bias.new_zeros(8, 4) @ self.third.weight)[0]
        return (x + places + empty) @ self.third.weight.masked_fill(self.hidden, 0.0) * self.scale


def test_value_computed_from_a_weight_alone_is_not_an_output_but_a_lookup_is() -> None:
    torch.manual_seed(0)
    model, ids = Derived(), torch.randint(4, (2, 5))
    rows = signal(model, ids)
    shapes = {"first": (2, 5, 4), "second": (2, 5, 4), "places": (5, 4), "third": (2, 5, 4), "(root)": (2, 5, 4)}
    assert {row.label: row.output for row in rows} == shapes
    assert [row.label for row in rows] == list(shapes)
    assert rows[0].kind == "ParametrizedLinear"
    first = model.first(nn.functional.one_hot(ids, 4).float())
    second = nn.functional.linear(first, model.second.weight.triu(), model.second.bias)
    third = (second + model.places.weight[:5]) @ model.third.weight.triu()
    expected = [first, second, model.places.weight[:5], third, third * model.scale]
    assert [row.activation for row in rows] == pytest.approx([rms(t) for t in expected])
    assert signal(loaded(torch.jit.trace(model, ids)), ids)[1:] == rows[1:]


def test_product_of_two_layers_parameters_is_an_output() -> None:
    model, x = Query(), torch.randn(5, 4)
    rows = signal(model, x)
    assert [(row.label, row.output) for row in rows] == [("projection", (2, 4)), ("values", (5, 3))]
    assert rows[0].activation == pytest.approx(rms(model.query @ model.projection.weight))
    assert signal(loaded(torch.jit.script(model)), x) == rows


class Sparse(nn.Module):
    """Multiplies a sparse input, which has no storage."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 3))
        self.words = nn.Embedding(5, 3, sparse=True)

    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        return torch.sparse.mm(x, self.weight) + self.words(ids)


def test_sparse_inputs_and_sparse_gradients_are_measured() -> None:
    model, ids = Sparse(), torch.tensor([1, 1])
    rows = signal(model, torch.eye(4)[:2].to_sparse(), ids)
    assert [row.label for row in rows] == ["(root)", "words"]
    assert rows[0].activation == pytest.approx(rms(model.weight[:2]))
    # Two gradients of one row of five add up.
    assert 0 < rows[1].weight_gradient < rows[1].gradient * 2


class Unseen(nn.Module):
    """Hides the last operator of a layer from autograd."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = nn.Linear(3, 3)
        self.hidden = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.seen(x)
        product = x @ self.hidden.weight
        with torch.no_grad():
            shown = product + self.hidden.bias
        return product + shown


def test_a_gradient_that_does_not_arrive_is_none() -> None:
    rows = list(signal(Unseen(), torch.ones(2, 3)))
    assert rows[0].gradient is not None
    assert rows[1].gradient is rows[0].gradient_ratio is None
    assert summary(rows).endswith("gradients: too few for a trend")
    rows.append(replace(rows[0], activation=1e5, gradient=0.0))
    assert notes(rows) == ["", "", "activation exploded, gradient zero"]
    rows.append(rows[1])
    assert notes(rows)[2:] == ["gradient zero", ""]


def test_parameters_that_share_one_flat_storage_are_distinguished() -> None:
    torch.manual_seed(0)
    model, x = tower(he, 4, 8), torch.randn(2, 8)
    rows = signal(model, x)
    nn.utils.vector_to_parameters(nn.utils.parameters_to_vector(model.parameters()).detach(), model.parameters())
    assert model[0].weight.untyped_storage().data_ptr() == model[2].weight.untyped_storage().data_ptr()
    assert signal(model, x) == rows


class Preallocating(nn.Module):
    """Writes its steps into a preallocated tensor, as scripted loops do."""

    def __init__(self) -> None:
        super().__init__()
        self.step = nn.Linear(4, 4)
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        states = torch.zeros(3, x.shape[0], 4)
        for i in range(3):
            x = self.step(x).tanh()
            states[i] = x
        return self.head(states)


def test_constant_that_an_output_is_written_into_becomes_an_activation() -> None:
    model, x = Preallocating(), torch.randn(2, 4)
    rows = signal(model, x)
    assert [row.label for row in rows] == ["step", "step #2", "step #3", "head"]
    assert rows[3].activation == pytest.approx(rms(model(x)))
    assert signal(loaded(torch.jit.script(model)), x) == rows


class Logits(nn.Module):
    """Returns tensors only, so that it can be traced."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor) -> tuple[Tensor, ...]:
        return self.model(ids, use_cache=False, return_dict=False)


def test_traced_transformers_are_probed_layer_by_layer() -> None:
    transformers = pytest.importorskip("transformers")
    size = {"vocab_size": 40, "hidden_size": 16, "intermediate_size": 32, "attn_implementation": "eager"}
    depth = {"num_hidden_layers": 2, "num_attention_heads": 2}
    ids = torch.randint(40, (2, 7))
    for kind, count in (("Llama", 1 + 2 * 11 + 2), ("Bert", 4 + 2 * 10 + 3)):
        config = getattr(transformers, f"{kind}Config")(**size, **depth)
        head = {"Llama": "LlamaForCausalLM", "Bert": "BertForMaskedLM"}[kind]
        model = Logits(getattr(transformers, head)(config).eval())
        rows = signal(model, ids)
        assert signal(loaded(torch.jit.trace(model, ids, check_trace=False)), ids) == rows
        assert len(rows) == count
        assert rows[0].kind == "Embedding"
        assert None not in [row.gradient for row in rows]
        assert rows[-1].output == (2, 7, 40)
        assert rows[-1].activation == pytest.approx(rms(model(ids)[0]))
        assert summary(rows).count("keep their scale") == 2
