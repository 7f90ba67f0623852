"""Does signal equal autograd's values for every kind of module, and leave no trace?"""

import gc
import math
import weakref
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from tests.support.layers import LAYERS, MIXED, Example
from tests.support.signal_models import DEPTH, WIDTH, he, loaded, rms, tower
from torchinit.diagnostics import notes, signal, summary, trend


def variants(module: nn.Module, inputs: tuple[Tensor, ...], scripts: bool = True) -> dict[str, nn.Module]:
    traced = torch.jit.trace(module, inputs, check_trace=False)
    found = {"traced": traced, "loaded from a trace": loaded(traced)}
    # NB: torch cannot script the overloads of a recurrent layer's forward unless another module calls it.
    if scripts and not isinstance(module, nn.RNNBase):
        scripted = torch.jit.script(module)
        found |= {"scripted": scripted, "loaded from a script": loaded(scripted)}
    return found


@pytest.mark.parametrize("seed", range(5))
def test_he_keeps_the_scale_over_30_layers(seed: int) -> None:
    # A weight of variance 2 / n gives E[y^2] = 2 E[x^2] and ReLU halves it, so E[x^2] stays 1 and y has rms sqrt(2).
    # At width n the log of the mean square gains variance 5 / n a layer, 0.6 in all: a factor of 3 in rms is 2.8
    # deviations. Gradients average over 64 inputs and vary less.
    torch.manual_seed(seed)
    rows = signal(tower(he), torch.randn(64, WIDTH))
    assert len(rows) == DEPTH
    assert all(math.sqrt(2) / 3 < row.activation < math.sqrt(2) * 3 for row in rows)
    assert all(1 / 1.5 < row.gradient < 1.5 for row in rows)
    assert notes(rows) == [""] * DEPTH
    assert summary(rows).count("keep their scale") == 2


@pytest.mark.parametrize("seed", range(5))
def test_small_normal_weights_lose_the_scale_by_the_theorys_factor_a_layer(seed: int) -> None:
    torch.manual_seed(seed)
    rows = signal(tower(lambda w: nn.init.normal_(w, std=0.01)), torch.randn(64, WIDTH))
    factor = 0.01 * math.sqrt(WIDTH / 2)
    assert factor == pytest.approx(0.113, abs=2e-4)
    # 29 layers between the first and last output change the log by 63; 1.3 is 3.4 of the deviations above.
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
    rows = signal(tower(nn.init.normal_, depth=6), torch.randn(64, WIDTH))
    assert summary(rows).count("explode") == 2
    assert notes(rows) == [
        "gradient exploded", "gradient exploded", "activation and gradient exploded",
        "activation and gradient exploded", "activation exploded", "activation exploded"
    ]  # fmt: skip
    rows = signal(tower(lambda w: nn.init.normal_(w, std=1e9), depth=6), torch.randn(64, WIDTH))
    assert summary(rows) == "activations: not finite; gradients: not finite"
    assert notes(rows)[0] == "gradient not finite"
    assert notes(rows)[-1] == "activation not finite"


def test_a_layer_of_zeros_stops_the_signal_both_ways() -> None:
    model = tower(he, depth=4, width=8)
    nn.init.zeros_(model[4].weight)
    rows = signal(model, torch.randn(4, 8))
    # The layer's output is 0, where ReLU's gradient is 0.
    assert notes(rows) == ["gradient zero"] * 2 + ["activation and gradient zero", "activation zero"]
    assert summary(rows) == "activations: zero at the end: vanish; gradients: zero at the end: vanish"


class Chain(nn.Module):
    """Keeps its outputs, so that retain_grad shows their gradients."""

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


def test_rows_equal_retained_gradients() -> None:
    torch.manual_seed(0)
    model, x = Chain(), torch.randn(2, 3, 6, 6)
    rows = signal(model, x, generator=torch.Generator().manual_seed(4))
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
    example: Example = LAYERS[name]
    model = example.make()
    rows = signal(model, *example.inputs)
    assert all(math.isfinite(row.activation) and row.gradient is not None for row in rows)
    for what, variant in variants(model, example.inputs, example.scripts).items():
        assert signal(variant, *example.inputs) == rows, what


def test_a_model_of_many_layers_gives_the_same_rows_even_if_optimized_before() -> None:
    torch.manual_seed(0)
    model = MIXED.make().eval()
    rows = signal(model, *MIXED.inputs)
    assert {row.layer for row in rows} == {
        "body.0", "body.1", "body.2", "body.3", "words", "recurrent", "attention", "attention.out_proj", "norm", "head"
    }  # fmt: skip
    assert None not in [row.gradient for row in rows]
    for what, variant in variants(model, MIXED.inputs).items():
        for _ in range(4):
            sum(t.sum() for t in variant(*MIXED.inputs)).backward()
        assert signal(variant, *MIXED.inputs) == rows, what


def test_the_executor_that_optimizes_at_once_gives_the_same_rows() -> None:
    torch.manual_seed(0)
    model, x = tower(he, 5, 8), torch.randn(2, 8)
    before = torch._C._jit_set_profiling_executor(False)
    try:
        assert signal(loaded(torch.jit.script(model)), x) == signal(model, x)
    finally:
        torch._C._jit_set_profiling_executor(before)


def test_an_output_that_is_changed_in_place_is_measured_as_it_was() -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 16)
    torch.manual_seed(1)
    rows = signal(tower(he, 5, 16), x)
    torch.manual_seed(1)
    assert signal(tower(he, 5, 16, inplace=True), x) == rows
    torch.manual_seed(1)
    assert signal(torch.jit.script(tower(he, 5, 16, inplace=True)), x) == rows


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
        rows = signal(model, x)
        assert torch.equal(torch.get_rng_state(), random)
        assert torch.equal(x, original)
        assert all(torch.equal(model.state_dict()[name], value) for name, value in state.items())
        assert [p.requires_grad for p in model.parameters()] == flags
        assert [p.grad for p in model.parameters()] == [None] * len(flags)
        assert model.training
        # Frozen layers are measured too.
        assert None not in [row.weight_gradient for row in rows]
        with pytest.raises(RuntimeError, match=r"^forward must run"):
            signal(model, torch.ones(2, 8))
        assert [p.requires_grad for p in model.parameters()] == flags
        assert torch.equal(torch.get_rng_state(), random)


@pytest.mark.parametrize("scripts", [False, True])
def test_a_probed_model_can_be_freed(scripts: bool) -> None:
    model: nn.Module = tower(he, 3, 4)
    if scripts:
        model = loaded(torch.jit.script(model))
    alive = weakref.ref(next(iter(model.parameters())))
    assert len(signal(model, torch.ones(2, 4))) == 3
    del model
    gc.collect()
    assert alive() is None


def test_a_weight_that_forward_normalizes_is_put_back() -> None:
    # NB: TorchScript drops max_norm.
    model, ids = nn.Sequential(nn.Embedding(11, 4, max_norm=0.1), nn.Linear(4, 3)), torch.arange(10).view(2, 5)
    before = model[0].weight.detach().clone()
    rows = signal(model, ids)
    assert [row.label for row in rows] == ["0", "1"]
    # Rows of four numbers have norm 0.1.
    assert rows[0].activation == pytest.approx(0.05, rel=1e-3)
    assert rows[0].weight == rms(before)
    assert torch.equal(model[0].weight, before)


class Counting(nn.Module):
    """Replaces a buffer out of place."""

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
        assert signal(model, torch.ones(2, 3)) == signal(model, torch.ones(2, 3))
        assert model.seen is before
        assert not before.any()


def test_the_same_generator_gives_the_same_rows_for_any_global_state() -> None:
    model, x = nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.5), nn.Linear(8, 8)), torch.randn(4, 8)
    rows = [signal(model, x, generator=torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    torch.manual_seed(123)
    assert rows[0] == rows[1] == signal(model, x)
    assert rows[0][1].activation != rows[2][1].activation
    assert rows[0][1].gradient != rows[2][1].gradient
