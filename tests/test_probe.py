"""Does a probe measure what autograd measures, alike for every kind of module, and leave no trace?"""

import argparse
import gc
import io
import json
import math
import re
import subprocess
import sys
import weakref
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.zoo import LAYERS, MIXED, Exhibit
from torchinit._progress import Progress
from torchinit.commands import _probe as command
from torchinit.commands._probe import LIMIT, notes, summary, trend
from torchinit.commands._probe_rows import Row, measure, probe

WIDTH, DEPTH = 256, 30


def rms(tensor: Tensor) -> float:
    return float(tensor.detach().double().pow(2).mean().sqrt())


def tower(
    init: Callable[[Tensor], Any], depth: int = DEPTH, width: int = WIDTH, inplace: bool = False
) -> nn.Sequential:
    """Linear layers without bias, with ReLUs between."""
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Linear(width, width, bias=False), nn.ReLU(inplace)]
        init(layers[-2].weight)
    return nn.Sequential(*layers[:-1])


def he(weight: Tensor) -> None:
    nn.init.kaiming_normal_(weight, nonlinearity="relu")


def loaded(module: torch.jit.ScriptModule) -> torch.jit.ScriptModule:
    return torch.jit.load(io.BytesIO(module.save_to_buffer()))


def variants(module: nn.Module, inputs: tuple[Tensor, ...], scripts: bool = True) -> dict[str, nn.Module]:
    traced = torch.jit.trace(module, inputs, check_trace=False)
    found = {"traced": traced, "loaded from a trace": loaded(traced)}
    # NB: torch cannot script the overloads of a recurrent layer's forward unless another module calls it.
    if scripts and not isinstance(module, nn.RNNBase):
        scripted = torch.jit.script(module)
        found |= {"scripted": scripted, "loaded from a script": loaded(scripted)}
    return found


def run(*arguments: str) -> None:
    """Do what the command line does."""
    parser = argparse.ArgumentParser()
    command.add(parser.add_subparsers(required=True))
    parsed = parser.parse_args(["probe", *map(str, arguments)])
    parsed.run(parsed)


def saved(module: nn.Module, path: Path) -> str:
    torch.jit.script(module).save(str(path))
    return str(path)


@pytest.mark.parametrize("seed", range(5))
def test_he_keeps_the_scale_over_30_layers(seed: int) -> None:
    # A weight of variance 2 / n makes E[y^2] = 2 E[x^2], and ReLU halves it: E[x^2] stays 1, and y has an rms of
    # sqrt(2). In a net of width n the logarithm of the mean square has a variance of about 5 / n a layer, 0.6 in all:
    # an rms within a factor of 3 is 2.8 deviations. Gradients are averaged over 64 inputs and waver less.
    torch.manual_seed(seed)
    rows = probe(tower(he), torch.randn(64, WIDTH))
    assert len(rows) == DEPTH
    assert all(math.sqrt(2) / 3 < row.activation < math.sqrt(2) * 3 for row in rows)
    assert all(1 / 1.5 < row.gradient < 1.5 for row in rows)
    assert notes(rows) == [""] * DEPTH
    assert summary(rows).count("keep their scale") == 2


@pytest.mark.parametrize("seed", range(5))
def test_small_normal_weights_lose_the_scale_by_the_theorys_factor_a_layer(seed: int) -> None:
    torch.manual_seed(seed)
    rows = probe(tower(lambda w: nn.init.normal_(w, std=0.01)), torch.randn(64, WIDTH))
    factor = 0.01 * math.sqrt(WIDTH / 2)
    assert factor == pytest.approx(0.113, abs=2e-4)
    # 29 layers lie between the first output and the last; of their logarithm's 63, 1.3 are 3.4 of the deviations above.
    expected = (DEPTH - 1) * math.log(factor)
    forward, backward = trend([r.activation for r in rows]), trend([r.gradient for r in reversed(rows)])
    assert math.log(rows[-1].activation / rows[0].activation) == pytest.approx(expected, abs=1.3)
    assert math.log(rows[0].gradient / rows[-1].gradient) == pytest.approx(expected, abs=1.3)
    for fitted in (forward, backward):
        assert fitted.verdict == "vanish"
        assert fitted.factor == pytest.approx(factor, rel=0.05)
    assert rows[0].activation_ratio is rows[-1].gradient_ratio is None
    for row, after in pairwise(rows):
        assert after.activation_ratio == after.activation / row.activation
        assert row.gradient_ratio == row.gradient / after.gradient
    assert notes(rows)[0] == "gradient vanished"
    assert notes(rows)[15] == "activation and gradient vanished"
    assert notes(rows)[-1] == "activation vanished"


def test_wide_weights_explode_and_then_are_not_finite() -> None:
    torch.manual_seed(0)
    rows = probe(tower(nn.init.normal_, depth=6), torch.randn(64, WIDTH))
    assert summary(rows).count("explode") == 2
    assert notes(rows) == [
        "gradient exploded", "gradient exploded", "activation and gradient exploded",
        "activation and gradient exploded", "activation exploded", "activation exploded"
    ]  # fmt: skip
    rows = probe(tower(lambda w: nn.init.normal_(w, std=1e9), depth=6), torch.randn(64, WIDTH))
    assert summary(rows) == "activations: not finite; gradients: not finite"
    assert notes(rows)[0] == "gradient not finite"
    assert notes(rows)[-1] == "activation not finite"


def test_a_layer_of_zeros_stops_the_signal_both_ways() -> None:
    model = tower(he, depth=4, width=8)
    nn.init.zeros_(model[4].weight)
    rows = probe(model, torch.randn(4, 8))
    # The gradient of the layer's output passes a ReLU at zero.
    assert notes(rows) == ["gradient zero"] * 2 + ["activation and gradient zero", "activation zero"]
    assert summary(rows) == "activations: zero at the end: vanish; gradients: zero at the end: vanish"


class Chain(nn.Module):
    """Keeps its outputs, so that autograd itself says what arrives at them."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3)
        self.norm = nn.LayerNorm([4, 4, 4])
        self.hidden = nn.Linear(64, 8)
        self.head = nn.Linear(8, 5, bias=False)
        self.kept: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.kept = [self.convolution(x)]
        self.kept.append(self.norm(self.kept[-1]))
        self.kept.append(self.hidden(self.kept[-1].tanh().flatten(1)))
        self.kept.append(self.head(self.kept[-1].relu()))
        for output in self.kept:
            output.retain_grad()
        return self.kept[-1]


def test_rows_are_what_retained_gradients_say() -> None:
    torch.manual_seed(0)
    model, x = Chain(), torch.randn(2, 3, 6, 6)
    rows = probe(model, x, generator=torch.Generator().manual_seed(4))
    output = model(x)
    generator = torch.Generator().manual_seed(4)
    torch.randint(1 << 62, (1,), generator=generator)
    output.backward(torch.randn(output.shape, generator=generator))
    layers = [model.convolution, model.norm, model.hidden, model.head]
    assert [row.layer for row in rows] == ["convolution", "norm", "hidden", "head"]
    assert [row.output for row in rows] == [tuple(t.shape) for t in model.kept]
    assert [row.activation for row in rows] == pytest.approx([rms(t) for t in model.kept])
    assert [row.gradient for row in rows] == pytest.approx([rms(t.grad) for t in model.kept])
    assert [row.weight for row in rows] == pytest.approx([rms(layer.weight) for layer in layers])
    assert [row.weight_gradient for row in rows] == pytest.approx([rms(layer.weight.grad) for layer in layers])


@pytest.mark.parametrize("name", [name for name in LAYERS if "without parameters" not in name])
def test_every_kind_of_module_gives_the_rows_of_the_eager_one(name: str) -> None:
    torch.manual_seed(0)
    exhibit: Exhibit = LAYERS[name]
    model = exhibit.make()
    rows = probe(model, *exhibit.inputs)
    assert all(math.isfinite(row.activation) and row.gradient is not None for row in rows)
    for what, variant in variants(model, exhibit.inputs, exhibit.scripts).items():
        assert probe(variant, *exhibit.inputs) == rows, what


def test_a_model_of_many_layers_gives_the_same_rows_also_when_it_was_optimized_before() -> None:
    torch.manual_seed(0)
    model = MIXED.make().eval()
    rows = probe(model, *MIXED.inputs)
    assert {row.layer for row in rows} == {
        "body.0", "body.1", "body.2", "body.3", "words", "recurrent", "attention", "attention.out_proj", "norm", "head"
    }  # fmt: skip
    assert None not in [row.gradient for row in rows]
    for what, variant in variants(model, MIXED.inputs).items():
        for _ in range(4):
            sum(t.sum() for t in variant(*MIXED.inputs)).backward()
        assert probe(variant, *MIXED.inputs) == rows, what


def test_the_executor_that_optimizes_at_once_gives_the_same_rows() -> None:
    torch.manual_seed(0)
    model, x = tower(he, 5, 8), torch.randn(2, 8)
    before = torch._C._jit_set_profiling_executor(False)
    try:
        assert probe(loaded(torch.jit.script(model)), x) == probe(model, x)
    finally:
        torch._C._jit_set_profiling_executor(before)


def test_an_output_that_is_changed_in_place_is_measured_as_it_was() -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 16)
    torch.manual_seed(1)
    rows = probe(tower(he, 5, 16), x)
    torch.manual_seed(1)
    assert probe(tower(he, 5, 16, inplace=True), x) == rows
    torch.manual_seed(1)
    assert probe(torch.jit.script(tower(he, 5, 16, inplace=True)), x) == rows


def test_a_probe_leaves_no_trace() -> None:
    torch.manual_seed(0)
    eager = nn.Sequential(
        nn.ReLU(inplace=True), nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Conv2d(4, 2, 1)
    )
    eager[1].weight.requires_grad_(False)
    for model in (eager, torch.jit.script(eager), loaded(torch.jit.script(eager))):
        x = torch.randn(4, 3, 8, 8)
        original, state = x.clone(), {k: v.clone() for k, v in model.state_dict().items()}
        flags = [p.requires_grad for p in model.parameters()]
        random = torch.get_rng_state()
        rows = probe(model, x)
        assert torch.equal(torch.get_rng_state(), random)
        assert torch.equal(x, original)
        assert all(torch.equal(model.state_dict()[name], value) for name, value in state.items())
        assert [p.requires_grad for p in model.parameters()] == flags
        assert [p.grad for p in model.parameters()] == [None] * len(flags)
        assert model.training
        # A frozen layer is measured as if it were trained.
        assert None not in [row.weight_gradient for row in rows]
        with pytest.raises(RuntimeError, match=r"^forward must run"):
            probe(model, torch.ones(2, 8))
        assert [p.requires_grad for p in model.parameters()] == flags
        assert torch.equal(torch.get_rng_state(), random)


@pytest.mark.parametrize("scripts", [False, True])
def test_a_probed_model_can_be_freed(scripts: bool) -> None:
    model: nn.Module = tower(he, 3, 4)
    if scripts:
        model = loaded(torch.jit.script(model))
    alive = weakref.ref(next(iter(model.parameters())))
    assert len(probe(model, torch.ones(2, 4))) == 3
    del model
    gc.collect()
    assert alive() is None


def test_a_weight_that_forward_normalizes_is_put_back() -> None:
    # NB: TorchScript drops max_norm.
    model, ids = nn.Sequential(nn.Embedding(11, 4, max_norm=0.1), nn.Linear(4, 3)), torch.arange(10).view(2, 5)
    before = model[0].weight.detach().clone()
    rows = probe(model, ids)
    assert [row.label for row in rows] == ["0", "1"]
    # Four numbers of norm 0.1.
    assert rows[0].activation == pytest.approx(0.05, rel=1e-3)
    assert rows[0].weight == rms(before)
    assert torch.equal(model[0].weight, before)


class Counting(nn.Module):
    """Replaces a buffer, as a running mean does that is not written in place."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.register_buffer("seen", torch.zeros(3))

    def forward(self, x: Tensor) -> Tensor:
        self.seen = self.seen + 1
        return self.linear(x) + self.seen


def test_a_buffer_that_forward_replaces_is_put_back() -> None:
    for model in (Counting(), torch.jit.script(Counting())):
        before = model.seen
        assert probe(model, torch.ones(2, 3)) == probe(model, torch.ones(2, 3))
        assert model.seen is before
        assert not before.any()


def test_the_same_generator_gives_the_same_rows_whatever_the_global_one_does() -> None:
    model, x = nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.5), nn.Linear(8, 8)), torch.randn(4, 8)
    rows = [probe(model, x, generator=torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    torch.manual_seed(123)
    assert rows[0] == rows[1] == probe(model, x)
    assert rows[0][1].activation != rows[2][1].activation
    assert rows[0][1].gradient != rows[2][1].gradient


class Tied(nn.Module):
    """An embedding whose weight is the head's too, and a layer that runs twice."""

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
    rows = probe(model, ids)
    assert [row.label for row in rows] == ["words", "body", "body #2", "head"]
    assert [row.kind for row in rows] == ["Embedding", "Linear", "Linear", "Linear"]
    assert [row.output for row in rows] == [(2, 5, 6), (2, 5, 6), (2, 5, 6), (2, 5, 11)]
    assert rows[0].weight_gradient == rows[3].weight_gradient
    assert rows[1].gradient != rows[2].gradient
    assert probe(loaded(torch.jit.script(model)), ids) == rows


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_recurrent_layer_is_one_use_whether_or_not_torch_has_a_kernel_for_it(kind: type, dtype: torch.dtype) -> None:
    model = nn.Sequential(nn.Linear(3, 3, dtype=dtype), kind(3, 4, num_layers=2, dtype=dtype))
    assert [row.kind for row in probe(model, torch.randn(7, 2, 3, dtype=dtype))] == ["Linear", kind.__name__]


class Reshaping(nn.Module):
    """Reshapes outputs right after the layer, which is none of the layer's doing, and answers with its input too."""

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
    rows = probe(model, x)
    assert [row.output for row in rows] == [(5, 3, 2, 2), (5, 8), (5, 8), (5, 2, 4)]
    assert probe(loaded(torch.jit.script(model)), x) == rows


class Cells(nn.Module):
    """Runs a cell step by step, from a state of zeros that makes the first product with its weight a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        h, c = torch.zeros(x.shape[1], 4), torch.zeros(x.shape[1], 4)
        for i in range(x.shape[0]):
            h, c = self.cell(x[i], (h, c))
        return h


def test_each_step_of_a_cell_is_a_use() -> None:
    torch.manual_seed(0)
    model, x = Cells(), torch.randn(1, 2, 3).expand(5, 2, 3)
    rows = probe(model, x)
    assert [row.label for row in rows] == ["cell", *(f"cell #{i}" for i in range(2, 6))]
    # The last operator of a step is the product with its input, which is the same for all but the first.
    assert len({row.activation for row in rows[1:]}) == 1
    assert probe(loaded(torch.jit.script(model)), x) == rows


class Derived(nn.Module):
    """Weights that are computed from parameters, and states that only have their type."""

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


def test_what_is_computed_from_a_weight_alone_is_no_output_but_what_is_looked_up_in_it_is() -> None:
    torch.manual_seed(0)
    model, ids = Derived(), torch.randint(4, (2, 5))
    rows = probe(model, ids)
    shapes = {"first": (2, 5, 4), "second": (2, 5, 4), "places": (5, 4), "third": (2, 5, 4), "(root)": (2, 5, 4)}
    assert {row.label: row.output for row in rows} == shapes
    assert [row.label for row in rows] == list(shapes)
    assert rows[0].kind == "ParametrizedLinear"
    first = model.first(nn.functional.one_hot(ids, 4).float())
    second = nn.functional.linear(first, model.second.weight.triu(), model.second.bias)
    third = (second + model.places.weight[:5]) @ model.third.weight.triu()
    expected = [first, second, model.places.weight[:5], third, third * model.scale]
    assert [row.activation for row in rows] == pytest.approx([rms(t) for t in expected])
    assert probe(loaded(torch.jit.trace(model, ids)), ids)[1:] == rows[1:]


class Query(nn.Module):
    """Projects a learned query, from parameters of two layers alone, and lets it attend to the input."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(2, 4))
        self.projection = nn.Linear(4, 4)
        self.values = nn.Linear(4, 3)
        self.idle = nn.Linear(1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return (self.query @ self.projection.weight @ x.t()).softmax(-1) @ self.values(x)


def test_what_two_layers_make_of_parameters_alone_is_an_output() -> None:
    model, x = Query(), torch.randn(5, 4)
    rows = probe(model, x)
    assert [(row.label, row.output) for row in rows] == [("projection", (2, 4)), ("values", (5, 3))]
    assert rows[0].activation == pytest.approx(rms(model.query @ model.projection.weight))
    assert probe(loaded(torch.jit.script(model)), x) == rows


class Sparse(nn.Module):
    """Multiplies a sparse input, whose memory cannot be asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 3))
        self.words = nn.Embedding(5, 3, sparse=True)

    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        return torch.sparse.mm(x, self.weight) + self.words(ids)


def test_sparse_inputs_and_sparse_gradients_are_measured() -> None:
    model, ids = Sparse(), torch.tensor([1, 1])
    rows = probe(model, torch.eye(4)[:2].to_sparse(), ids)
    assert [row.label for row in rows] == ["(root)", "words"]
    assert rows[0].activation == pytest.approx(rms(model.weight[:2]))
    # One row of five has the sum of both gradients.
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
    rows = probe(Unseen(), torch.ones(2, 3))
    assert rows[0].gradient is not None
    assert rows[1].gradient is rows[0].gradient_ratio is None
    assert summary(rows).endswith("gradients: too few for a trend")
    rows.append(replace(rows[0], activation=1e5, gradient=0.0))
    assert notes(rows) == ["", "", "activation exploded, gradient zero"]
    rows.append(rows[1])
    assert notes(rows)[2:] == ["gradient zero", ""]


def test_parameters_that_share_one_flat_storage_are_told_apart() -> None:
    torch.manual_seed(0)
    model, x = tower(he, 4, 8), torch.randn(2, 8)
    rows = probe(model, x)
    nn.utils.vector_to_parameters(nn.utils.parameters_to_vector(model.parameters()).detach(), model.parameters())
    assert model[0].weight.untyped_storage().data_ptr() == model[2].weight.untyped_storage().data_ptr()
    assert probe(model, x) == rows


class Preallocating(nn.Module):
    """Writes its steps into a tensor of zeros, as scripted loops do."""

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


def test_what_is_written_into_a_constant_makes_it_an_activation() -> None:
    model, x = Preallocating(), torch.randn(2, 4)
    rows = probe(model, x)
    assert [row.label for row in rows] == ["step", "step #2", "step #3", "head"]
    assert rows[3].activation == pytest.approx(rms(model(x)))
    assert probe(loaded(torch.jit.script(model)), x) == rows


class Logits(nn.Module):
    """Answers with tensors alone, which is what can be traced."""

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
    for kind, layers in (("Llama", 1 + 2 * 9 + 2), ("Bert", 4 + 2 * 8 + 3)):
        config = getattr(transformers, f"{kind}Config")(**size, **depth)
        head = {"Llama": "LlamaForCausalLM", "Bert": "BertForMaskedLM"}[kind]
        model = Logits(getattr(transformers, head)(config).eval())
        rows = probe(model, ids)
        assert probe(loaded(torch.jit.trace(model, ids, check_trace=False)), ids) == rows
        assert len(rows) == layers
        assert rows[0].kind == "Embedding"
        assert None not in [row.gradient for row in rows]
        assert rows[-1].output == (2, 7, 40)
        assert rows[-1].activation == pytest.approx(rms(model(ids)[0]))
        assert summary(rows).count("keep their scale") == 2


@pytest.mark.parametrize(
    ("values", "factor", "total", "verdict"),
    [
        ([1.0, 0.5, 0.25], 0.5, 0.25, "keep their scale"),
        ([1.0, 1.0, 50.0, 1.0, 1.0], 1.0, 1.0, "keep their scale"),
        ([3.0, 3.0 * LIMIT * 1.01], LIMIT * 1.01, LIMIT * 1.01, "explode"),
        ([3.0, 3.0 * LIMIT / 1.01], LIMIT / 1.01, LIMIT / 1.01, "keep their scale"),
        ([3.0, 3.0 / LIMIT / 1.01], 1 / LIMIT / 1.01, 1 / LIMIT / 1.01, "vanish"),
        ([3.0, 3.0 / LIMIT * 1.01], 1.01 / LIMIT, 1.01 / LIMIT, "keep their scale"),
        # What is missing or a branch of zeros keeps its place, and bends nothing.
        ([1.0, None, 0.0, 0.001], 0.1, 0.001, "vanish"),
        ([1e-300, 1e300], math.exp(709), math.exp(709), "explode"),
        ([1.0, 1.0, 0.0], 0.0, 0.0, "vanish"),
        ([0.0, 0.0, 1.0], 0.0, 0.0, "vanish"),
    ],
)
def test_a_trend_is_a_factor_per_layer(values: list, factor: float, total: float, verdict: str) -> None:
    fitted = trend(values)
    assert fitted.factor == pytest.approx(factor)
    assert fitted.total == pytest.approx(total)
    assert fitted.verdict == verdict


def test_a_trend_needs_two_finite_values() -> None:
    assert trend([]) is trend([1.0]) is trend([None, 2.0, None]) is None
    assert trend([1.0, math.nan]).verdict == trend([math.inf]).verdict == "not finite"


@pytest.mark.parametrize(
    ("model", "inputs", "message"),
    [
        (nn.Linear(4, 3), (torch.ones(2, 8),),
         "forward must run on the inputs, got float32 2x8: RuntimeError: "),
        (nn.Linear(4, 3), (torch.ones(2, 4, dtype=torch.int64), 3),
         "forward must run on the inputs, got int64 2x4, int: "),
        (nn.ReLU(), (torch.ones(3),), "a probe needs a module with floating parameters, got ReLU without any"),
        (nn.Linear(4, 3, device="meta"), (torch.ones(3, 4),),
         "a probe needs parameters with values, got some on the meta device"),
    ],
)  # fmt: skip
def test_what_cannot_be_probed_is_refused_in_one_line(model: nn.Module, inputs: tuple, message: str) -> None:
    for module in (model, torch.jit.script(model)):
        with pytest.raises(RuntimeError, match=f"^{re.escape(message)}") as caught:
            probe(module, *inputs)
        assert "\n" not in str(caught.value)
        assert "interpreter" not in str(caught.value)


class Raising(nn.Module):
    """Refuses what has not three dimensions, and answers in integers."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() != 3:
            raise ValueError(f"three dimensions please, not {x.dim()}")
        return self.linear(x).argmax(-1)


def test_an_error_of_the_model_is_named_in_one_line() -> None:
    scripted = torch.jit.script(Raising())
    said = "forward must run on the inputs, got float32 2x2: (builtins.)?ValueError: three dimensions please, not 2"
    for module in (Raising(), scripted, loaded(scripted)):
        with pytest.raises(RuntimeError, match=f"^{said}$"):
            probe(module, torch.ones(2, 2))
        with pytest.raises(
            RuntimeError, match=r"^forward must return a floating tensor that depends .*, got int64 1x2$"
        ):
            probe(module, torch.ones(1, 2, 2))
    with pytest.raises(
        RuntimeError, match=r"^forward must run .*got nothing: RuntimeError: forward\(\) is missing value"
    ):
        probe(scripted)


def test_disabled_gradients_are_refused() -> None:
    with torch.no_grad(), pytest.raises(RuntimeError, match=r"^a probe needs gradients, got them disabled"):
        probe(nn.Linear(2, 2), torch.ones(2, 2))


class Broken(nn.Module):
    """Overwrites what its backward needs."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.linear(x).exp()
        return y * y.zero_()


def test_a_model_without_a_backward_is_refused_in_one_line() -> None:
    with pytest.raises(RuntimeError, match=r"^backward must run on the model, got RuntimeError: one of the variables"):
        probe(Broken(), torch.ones(2, 2))


def test_command_prints_a_table_and_a_verdict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    path = saved(tower(lambda w: nn.init.normal_(w, std=0.01)), tmp_path / "small.pt")
    run(path, "--input", "64x256", "--seed", "3")
    *table, blank, verdict = capsys.readouterr().out.splitlines()
    assert len(table) == 1 + DEPTH
    assert blank == ""
    assert table[0].split() == [
        "layer",
        "kind",
        "output",
        "activation",
        "ratio",
        "gradient",
        "ratio",
        "weight",
        "its",
        "gradient",
    ]
    assert table[2].split()[:3] == ["2", "Linear", "64x256"]
    assert table[16].endswith("activation and gradient vanished")
    found = re.fullmatch(
        r"activations: x(0\.11\d*) per layer, x([\d.e-]+) in all: vanish;"
        r" gradients: x(0\.11\d*) per layer, x([\d.e-]+) in all: vanish",
        verdict,
    )
    assert found is not None
    for total in (found[2], found[4]):
        assert math.log(float(total)) == pytest.approx((DEPTH - 1) * math.log(0.01 * math.sqrt(128)), abs=1.3)


def test_command_draws_inputs_from_the_seed_and_json_holds_the_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = saved(
        nn.Sequential(nn.Linear(5, 4, dtype=torch.float64), nn.Tanh(), nn.Linear(4, 3, dtype=torch.float64)),
        tmp_path / "m.pt",
    )
    printed = []
    for shape, seed in (("2x5", 1), ("2,5", 1), ("2x5", 2)):
        run(path, "--input", shape, "--seed", str(seed), "--json")
        printed.append(json.loads(capsys.readouterr().out))
    assert printed[0] == printed[1] != printed[2]
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, 5, dtype=torch.float64, generator=generator)
    rows = probe(torch.jit.load(path), x, generator=generator)
    assert [
        Row(**{**r, "output": tuple(r["output"])}) for r in [dict(list(r.items())[:-1]) for r in printed[0]]
    ] == rows
    assert [r["note"] for r in printed[0]] == ["", ""]


def test_command_takes_several_inputs_integers_and_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = saved(MIXED.make(), tmp_path / "mixed.pt")
    run(path, "--input", "1x4x6x6", "--input", "2x3:10", "--json")
    drawn = json.loads(capsys.readouterr().out)
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(1, 4, 6, 6, generator=generator)
    ids = torch.randint(10, (2, 3), generator=generator)
    rows = probe(torch.jit.load(path), image, ids, generator=generator)
    assert [r["activation"] for r in drawn] == [row.activation for row in rows]
    for name, tensor in (("image", image), ("ids", ids)):
        torch.save(tensor, tmp_path / name)
    run(path, "--input", str(tmp_path / "image"), "--input", str(tmp_path / "ids"), "--json")
    assert [r["activation"] for r in json.loads(capsys.readouterr().out)] == [row.activation for row in rows]


def test_command_refuses_an_input_that_is_none_in_one_line(tmp_path: Path) -> None:
    path = saved(nn.Linear(4, 3), tmp_path / "m.pt")
    torch.save({"x": torch.ones(2)}, tmp_path / "dict")
    (tmp_path / "text").write_text("no tensor")
    for given, said in (
        ("8x", "--input takes a shape such as .*, got 8x"),
        ("2x0", "the numbers of an input must be from 1 to .*, got 2x0"),
        ("2x4:0", "the numbers of an input must be from 1 to .*, got 2x4:0"),
        (f"{1 << 63}", "the numbers of an input must be from 1 to .*"),
        (str(tmp_path / "dict"), "--input takes .* got .*dict with dict"),
        (str(tmp_path / "text"), "--input takes .* got .*text, which torch.load does not read"),
        ("2x8", "forward must run on the inputs, got float32 2x8: RuntimeError: .*mat1 and mat2 shapes cannot be .*"),
    ):
        with pytest.raises(RuntimeError, match=f"^{said}$"):
            run(path, "--input", given)
    with pytest.raises(RuntimeError, match=r"^a seed must be from 0 to .*, got -1$"):
        run(path, "--input", "2x4", "--seed", "-1")


def test_command_shows_its_progress_on_stderr_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tower(he, 3, 4), tmp_path / "m.pt")
    progress = command.Progress
    monkeypatch.setattr(command, "Progress", lambda total, after: progress(total, after=0.0))
    run(path, "--input", "2x4", "--json")
    printed = capsys.readouterr()
    assert printed.err == "[1/6] forward ...\n[4/6] backward ...\n"
    assert len(json.loads(printed.out)) == 3


class Recording(Progress):
    """Keeps what was shown."""

    def __init__(self) -> None:
        super().__init__(0, after=math.inf)
        self.shown_totals: list[tuple[int, int]] = []
        self.cleared = 0

    def step(self, phase: str, what: str = "") -> None:
        super().step(phase, what)
        self.shown_totals.append((self.done, self.total))

    def clear(self) -> None:
        self.cleared += 1


def test_progress_never_goes_beyond_its_total_and_is_cleared_after_an_error_too() -> None:
    progress, generator = Recording(), torch.Generator()
    measure(Cells(), (torch.ones(5, 2, 3),), generator, progress)
    assert progress.shown_totals[-1] == (10, 10)
    assert all(done <= total for done, total in progress.shown_totals)
    assert progress.cleared == 1
    progress = Recording()
    measure(Query(), (torch.ones(5, 4),), generator, progress)
    # Two of the four layers run, and the query is taken with one of them.
    assert progress.shown_totals == [(1, 8), (2, 8), (3, 4), (4, 4)]
    with pytest.raises(RuntimeError, match=r"^forward must run"):
        measure(Cells(), (), generator, progress)
    assert progress.cleared == 2


@pytest.mark.parametrize("depth", [5, 100, 300])
def test_plot_is_a_png_that_grows_with_the_layers_up_to_a_limit(depth: int, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    out = tmp_path / "out.png"
    run(saved(tower(he, depth, 4), tmp_path / "m.pt"), "--input", "2x4", "--plot", str(out))
    contents = out.read_bytes()
    assert contents.startswith(b"\x89PNG")
    width, height = int.from_bytes(contents[16:20], "big"), int.from_bytes(contents[20:24], "big")
    assert 900 < width < 1200
    # 17 pixels are enough for a line of its own.
    assert height > 17 * min(depth, 100)
    assert height < 3000


def test_plot_holds_every_value_and_name(monkeypatch: pytest.MonkeyPatch) -> None:
    matplotlib = pytest.importorskip("matplotlib.figure")
    from torchinit.commands._probe_plot import plot

    figures = []
    save = matplotlib.Figure.savefig
    monkeypatch.setattr(matplotlib.Figure, "savefig", lambda self, *a, **k: (figures.append(self), save(self, *a, **k)))
    model = tower(he, 5, 8)
    nn.init.zeros_(model[6].weight)
    rows = probe(model, torch.randn(4, 8))
    rows[4] = replace(rows[4], gradient=None)
    rows[3] = replace(rows[3], gradient=math.inf)
    plot(rows)
    left, right = figures[0].axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["0", "2", "4", "6", "8"]
    drawn = [dict(zip(line.get_ydata(), line.get_xdata(), strict=True)) for line in left.lines[:2]]
    assert drawn[0] == drawn[1] == {i: rows[i].activation for i in range(3)}
    assert {line.get_ydata()[0] for line in left.lines if line.get_marker() == "<"} == {3, 4}
    assert {line.get_ydata()[0] for line in right.lines if line.get_marker() == "<"} == {0, 1, 2}
    assert {line.get_ydata()[0] for line in right.lines if line.get_marker() == ">"} == {3}
    assert left.get_xscale() == right.get_xscale() == "log"


def test_plot_never_overwrites_the_model(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = saved(nn.Linear(2, 2), tmp_path / "m.pt")
    before = Path(path).read_bytes()
    with pytest.raises(RuntimeError, match=r"^--plot must not overwrite the model, got "):
        run(path, "--input", "1x2", "--plot", path)
    assert Path(path).read_bytes() == before


def test_matplotlib_is_asked_for_before_the_model_is_read_and_only_for_a_plot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(RuntimeError, match=r"^--plot needs the package matplotlib: pip install 'torchinit\[plot\]'$"):
        run("missing.pt", "--input", "1x2", "--plot", "out.png")
    with pytest.raises(FileNotFoundError):
        run("missing.pt", "--input", "1x2")


def test_registering_the_command_imports_neither_matplotlib_nor_transformers() -> None:
    code = (
        "import argparse, sys; from torchinit.commands import _probe;"
        "_probe.add(argparse.ArgumentParser().add_subparsers());"
        "assert not {'matplotlib', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
