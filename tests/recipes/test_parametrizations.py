"""Do recipes give a parametrized layer the effective weight that a rule says?"""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from tests.support.parametrized import (
    LAYERS,
    NORMS,
    XAVIER,
    Scaled,
    Symmetric,
    Triangle,
    assert_as_constructed,
    between,
    effective,
    every_norm,
    registered,
    spectral_norms,
    spoiled,
    weight_norms,
)
from torchinit import keyed, recipes
from torchinit.recipes import Recipe, RecipeError, Rule

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm.*is deprecated:FutureWarning")


@every_norm
@pytest.mark.parametrize("layer", LAYERS)
def test_torch_default_has_the_bits_of_constructing_and_parametrizing(norm: str, layer: str) -> None:
    assert_as_constructed(lambda: between(lambda: NORMS[norm](LAYERS[layer]())))


@every_norm
def test_torch_default_has_the_bits_of_constructing_layers_with_several_weights(norm: str) -> None:
    wrap = NORMS[norm]
    assert_as_constructed(lambda: wrap(nn.MultiheadAttention(8, 2, add_bias_kv=True), "in_proj_weight"))
    assert_as_constructed(lambda: wrap(nn.MultiheadAttention(8, 2, kdim=4, vdim=4), "k_proj_weight"))
    assert_as_constructed(lambda: wrap(nn.LSTM(3, 4, 2, bidirectional=True), "weight_hh_l0_reverse"))
    assert_as_constructed(lambda: wrap(wrap(nn.GRUCell(3, 4), "weight_hh"), "weight_ih"))


@weight_norms
def test_torch_default_has_the_bits_of_a_transformer_that_is_parametrized_afterwards(norm: str) -> None:
    def build() -> nn.Module:
        model = nn.Transformer(8, 2, 1, 1, 12)
        for layer in [each for each in model.modules() if type(each) is nn.Linear]:
            NORMS[norm](layer)
        return model

    assert_as_constructed(build)


def test_a_transformers_weights_are_stored_once() -> None:
    model = nn.Transformer(8, 2, 1, 1, 12)
    for layer in [each for each in model.modules() if type(each) is nn.Linear]:
        parametrizations.spectral_norm(layer)
    stored = [step.target for step in recipes.torch_default().plan(model).steps if step.through is not None]
    assert len(stored) == len(set(stored)) == 4


@weight_norms
@pytest.mark.parametrize(
    "layer", [nn.Linear(64, 64), nn.Conv2d(32, 64, 3, groups=2), nn.ConvTranspose1d(64, 32, 4, groups=2)], ids=str
)
@pytest.mark.parametrize("by_key", [False, True])
def test_a_weight_norms_effective_weight_is_what_the_plain_layer_gets(
    norm: str, layer: nn.Module, by_key: bool
) -> None:
    draws: dict[str, Any] = {"key": keyed.key(5)} if by_key else {"generator": torch.Generator().manual_seed(5)}
    plain = XAVIER.apply_(nn.Sequential(copy.deepcopy(layer)), **draws)
    if not by_key:
        draws["generator"].manual_seed(5)
    model = spoiled(nn.Sequential(NORMS[norm](copy.deepcopy(layer))))
    XAVIER.apply_(model, **draws)
    torch.testing.assert_close(model[0].weight, plain[0].weight)
    row, expected = XAVIER.plan(model).rows[0], XAVIER.plan(plain).rows[0]
    assert row.initializer == "xavier_uniform_ (weight_norm)"
    assert (row.name, row.module, row.shape, row.rule) == (
        expected.name,
        expected.module,
        expected.shape,
        expected.rule,
    )
    assert (row.fan_in, row.fan_out, row.mean, row.std) == (
        expected.fan_in,
        expected.fan_out,
        expected.mean,
        expected.std,
    )
    assert model[0].weight.std().item() == pytest.approx(row.std, rel=0.05)


def test_a_weight_norm_over_the_whole_weight_keeps_the_law() -> None:
    model = nn.Sequential(parametrizations.weight_norm(nn.Linear(64, 64), dim=None))
    assert XAVIER.apply_(model)[0].weight.std().item() == pytest.approx(0.125, rel=0.05)


@spectral_norms
@pytest.mark.parametrize("by_key", [False, True])
@pytest.mark.parametrize("layer", [nn.Linear(64, 64), nn.ConvTranspose2d(8, 24, 3)], ids=str)
def test_a_spectral_norm_is_1_after_training_and_a_new_draw(norm: str, layer: nn.Module, by_key: bool) -> None:
    model = nn.Sequential(NORMS[norm](copy.deepcopy(layer)))
    inputs = torch.randn(2, 64) if isinstance(layer, nn.Linear) else torch.randn(1, 8, 4, 4)
    for _ in range(5):
        model(inputs)
    XAVIER.apply_(model, **({"key": keyed.key(1)} if by_key else {"generator": torch.Generator().manual_seed(1)}))
    before = model[0].weight.detach() if norm.startswith("old") else model.eval()[0].weight.detach()
    weight = effective(model[0], inputs)
    assert torch.equal(before, weight)
    # torch's norm is that of the weight as a matrix of the outputs.
    matrix = weight if weight.dim() == 2 else weight.movedim(1, 0).flatten(1)
    assert torch.linalg.matrix_norm(matrix, 2).item() == pytest.approx(1.0, abs=1e-3)
    assert weight.std().item() == pytest.approx(XAVIER.plan(model).rows[0].std, rel=0.15)


@spectral_norms
def test_the_vectors_of_a_spectral_norm_depend_on_the_key_and_the_name_alone(norm: str) -> None:
    def drawn(model: nn.Module, seed: int) -> dict[str, Tensor]:
        XAVIER.apply_(spoiled(model), key=keyed.key(seed))
        return dict(model[0].state_dict())

    small = drawn(nn.Sequential(NORMS[norm](nn.Linear(6, 5))), 0)
    state = torch.get_rng_state()
    large = drawn(nn.Sequential(NORMS[norm](nn.Linear(6, 5)), nn.Linear(5, 5)), 0)
    assert all(torch.equal(small[name], large[name]) for name in small)
    assert not torch.equal(state, torch.get_rng_state())  # by constructing
    other = drawn(nn.Sequential(NORMS[norm](nn.Linear(6, 5))), 1)
    assert not any(torch.equal(small[name], other[name]) for name in small if not name.endswith("bias"))


def test_an_orthogonal_weight_stays_orthogonal_and_takes_its_further_draws_from_the_given_source() -> None:
    model = nn.Sequential(parametrizations.orthogonal(nn.Linear(8, 32)))
    row = XAVIER.plan(model).rows[0]
    assert (row.initializer, row.mean, row.std) == ("xavier_uniform_ (orthogonal)", 0.0, pytest.approx(32**-0.5))
    state = torch.get_rng_state()
    bases = []
    for draws in ({"key": keyed.key(0)}, {"key": keyed.key(0)}, {"key": keyed.key(1)}):
        weight = XAVIER.apply_(model, **draws)[0].weight.detach()
        bases.append(model[0].parametrizations.weight[0].base.clone())
        torch.testing.assert_close(weight.mT @ weight, torch.eye(8))
        assert weight.std().item() == pytest.approx(row.std, rel=0.05)
    assert torch.equal(bases[0], bases[1])
    assert not torch.equal(bases[0], bases[2])
    # Of one weight, the part of the base that completes it is drawn.
    eye = Recipe([Rule("eye_", name="*.weight"), Rule("zeros_")])
    for seed in (0, 1):
        eye.apply_(model, key=keyed.key(seed))
        bases.append(model[0].parametrizations.weight[0].base.clone())
    assert torch.equal(bases[-1][:, :8], bases[-2][:, :8])
    assert not torch.equal(bases[-1], bases[-2])
    generator = torch.Generator().manual_seed(0)
    XAVIER.apply_(model, generator)
    bases.append(model[0].parametrizations.weight[0].base.clone())
    XAVIER.apply_(model, generator.manual_seed(0))
    assert torch.equal(bases[-1], model[0].parametrizations.weight[0].base)
    assert torch.equal(state, torch.get_rng_state())


def test_custom_parametrizations_are_written_through_in_reverse() -> None:
    plain = XAVIER.apply_(nn.Sequential(nn.Linear(64, 64)), key=keyed.key(0))[0].weight.detach()
    symmetric = plain.triu() + plain.triu(1).mT
    for steps in ([Symmetric()], [Scaled()], [Symmetric(), Scaled()], [Triangle()]):
        model = nn.Sequential(registered(nn.Linear(64, 64), *steps))
        assert tuple(XAVIER.plan(model).rows[0].shape) == (64, 64)
        XAVIER.apply_(model, key=keyed.key(0))
        expected = plain if type(steps[0]) is Scaled else symmetric
        torch.testing.assert_close(model[0].weight.detach(), expected)
        assert (
            XAVIER.plan(model).rows[0].initializer == f"xavier_uniform_ ({', '.join(type(s).__name__ for s in steps)})"
        )
        assert all(torch.equal(step.note, step.largest) for step in steps if isinstance(step, Scaled))


class Rows(nn.Module):
    """Stores the rows that are not 0: how many depends on the weight. Looks at its values, and has an empty buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mask", None)

    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x) if x.isnan().any() else x

    def right_inverse(self, weight: Tensor) -> Tensor:
        return weight[weight.any(1)]


def test_a_parametrization_that_looks_at_values_is_written_through() -> None:
    plain = XAVIER.apply_(nn.Sequential(nn.Linear(4, 4)), key=keyed.key(0))
    model = XAVIER.apply_(nn.Sequential(registered(nn.Linear(4, 4), Rows())), key=keyed.key(0))
    assert torch.equal(model[0].weight, plain[0].weight)
    assert model[0].parametrizations.weight[0].mask is None


def test_a_right_inverse_of_another_shape_is_refused() -> None:
    model = nn.Sequential(registered(nn.Linear(4, 4), Rows()))
    before = model[0].weight.clone()
    message = r"got ValueError: right_inverse gives shape \[0, 4\] where \[4, 4\] is stored"
    with pytest.raises(RecipeError, match=message):
        Recipe([Rule("zeros_")]).apply_(model)
    assert torch.equal(model[0].weight, before)


class InPlace(nn.Module):
    """Changes the weight that its right_inverse is given."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x

    def right_inverse(self, weight: Tensor) -> Tensor:
        return weight.mul_(0.5)


@pytest.mark.parametrize("by_key", [False, True])
def test_a_right_inverse_may_write_to_its_argument(by_key: bool) -> None:
    def drawn(model: nn.Module) -> Tensor:
        XAVIER.apply_(model, **({"key": keyed.key(0)} if by_key else {"generator": torch.Generator().manual_seed(0)}))
        return model[0].weight.detach()

    model = nn.Sequential(nn.Linear(4, 4))
    assert torch.equal(drawn(nn.Sequential(registered(nn.Linear(4, 4), InPlace()))), drawn(model))
