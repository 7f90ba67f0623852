"""Does compare tell equal bits, other values of one distribution and different distributions apart?"""

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import torchinit
from torchinit.diagnostics import Comparison, compare
from torchinit.diagnostics._moments import spread
from torchinit.diagnostics._pairs import _strongest
from torchinit.diagnostics._samples import Evidence, _gap

_SIZE = 768


def _normal(seed: int, *shape: int, std: float = 0.02, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.empty(shape, dtype=dtype).normal_(0.0, std, generator=torch.Generator().manual_seed(seed))


def _what(a: Tensor, b: Tensor) -> str:
    """Compare two tensors, and return in words what was found."""
    found = compare({"x": a}, {"x": b})
    assert len(found.counts) == 1
    assert [row.what for row in found] in ([], [*found.counts])
    return next(iter(found.counts))


def _model(seed: int) -> dict[str, Tensor]:
    """Return 152 tensors of many sizes, drawn from the distributions of usual models."""
    generator, found = torch.Generator().manual_seed(seed), dict[str, Tensor]()
    for i in range(19):
        width = (4, 16, 64, 96)[i % 4]
        found |= {
            f"{i}.normal.weight": torch.empty(width, 3 * width).normal_(0.0, 0.02, generator=generator),
            f"{i}.uniform.weight": torch.empty(width, width).uniform_(-0.1, 0.1, generator=generator),
            f"{i}.uniform.bias": torch.empty(width).uniform_(-0.1, 0.1, generator=generator),
            f"{i}.conv.weight": torchinit.kaiming_normal_(torch.empty(width, 8, 3, 3), generator=generator),
            f"{i}.cut.weight": torchinit.trunc_normal_(
                torch.empty(width, 64), 0.0, 1.0, -2.0, 2.0, generator=generator
            ),
            f"{i}.orthogonal.weight": torchinit.orthogonal_(torch.empty(width, 2 * width), generator=generator),
            f"{i}.half.weight": torch.empty(width, 128, dtype=torch.bfloat16).uniform_(0.0, 1.0, generator=generator),
            f"{i}.norm.weight": torch.ones(width),
        }
    return found


@pytest.mark.parametrize("seed", range(8))
def test_other_seeds_of_one_recipe_have_one_distribution(seed: int) -> None:
    found = compare(_model(1000), _model(seed))
    assert found.counts == {"same distribution, other values": 133, "equal bits": 19}


def test_five_percent_of_a_standard_deviation_are_found_in_a_matrix() -> None:
    (row,) = compare({"x": _normal(0, _SIZE, _SIZE)}, {"x": _normal(1, _SIZE, _SIZE, std=0.021)})
    assert row.what == "different distribution"
    assert row.ratio == pytest.approx(1.05, abs=0.01)
    assert row.p is not None
    assert row.p < 1e-20


def test_a_uniform_and_a_normal_distribution_of_one_deviation_differ() -> None:
    uniform = torch.empty(_SIZE, _SIZE).uniform_(-1.0, 1.0, generator=torch.Generator().manual_seed(0))
    (row,) = compare({"x": uniform}, {"x": _normal(0, _SIZE, _SIZE, std=3**-0.5)})
    assert row.what == "different distribution"
    assert row.a is not None
    assert row.a.startswith("uniform, ")
    assert row.ratio == pytest.approx(1.0, abs=0.01)
    # The largest difference of the distribution functions, by scipy.optimize.
    assert row.distance == pytest.approx(0.0572, abs=0.02)


@pytest.mark.parametrize("shape", [(64,), (64, 64), (3, 8, 3, 3), (5000, 17)])
def test_permuted_rows_are_other_values_of_the_same_distribution(shape: tuple[int, ...]) -> None:
    values = _normal(0, *shape)
    order = torch.randperm(shape[0], generator=torch.Generator().manual_seed(0))
    assert _what(values, values[order]) == "same distribution, other values"


def test_a_change_of_twice_the_scale_is_found_in_64_values() -> None:
    assert _what(_normal(0, 64), _normal(1, 64, std=0.05)) == "different distribution"
    assert _what(_normal(0, 64), _normal(1, 64, std=0.022)) == "same distribution, other values"


def test_other_means_are_other_distributions() -> None:
    assert _what(_normal(0, 64, 64), _normal(1, 64, 64) + 0.004) == "different distribution"


@pytest.mark.parametrize("turned", [False, True])
def test_an_orthogonal_matrix_differs_from_an_independent_one_of_its_scale(turned: bool) -> None:
    shape = (64, 256) if turned else (256, 64)
    orthogonal = torchinit.orthogonal_(torch.empty(shape), generator=torch.Generator().manual_seed(0))
    other = torchinit.orthogonal_(torch.empty(shape), generator=torch.Generator().manual_seed(1))
    assert _what(orthogonal, _normal(0, *shape, std=orthogonal.std().item())) == "different distribution"
    assert _what(orthogonal, other) == "same distribution, other values"


def test_rounding_of_orthogonal_matrices_is_no_difference() -> None:
    fine, coarse = (
        torchinit.orthogonal_(torch.empty(64, 256, dtype=dtype), generator=torch.Generator().manual_seed(0)).double()
        for dtype in (torch.float64, torch.float32)
    )
    assert _what(fine, coarse) == "same distribution, other values"


@pytest.mark.parametrize(("size", "row"), [(1 << 20, 1024), (3000 * 768, 768), (50257 * 768, 768)])
def test_a_sample_has_all_columns(size: int, row: int) -> None:
    taken = spread(torch.arange(size), 1 << 17)
    assert 1 << 16 < len(taken) <= 1 << 17
    assert len((taken % row).unique()) == row


def test_rows_of_other_scales_are_another_distribution() -> None:
    scales = torch.rand(256, 1, generator=torch.Generator().manual_seed(0)) * 0.4 + 0.8
    values = _normal(0, 256, 256, std=1.0) * scales
    assert _what(values, _normal(1, 256, 256, std=values.std().item())) == "different distribution"


@pytest.mark.parametrize(
    ("a", "b", "what"),
    [
        (torch.zeros(4), torch.zeros(4), "equal bits"),
        (torch.zeros(4), -torch.zeros(4), "same distribution, other values"),
        (torch.zeros(4), torch.ones(4), "different distribution"),
        (torch.zeros(64), _normal(0, 64), "different distribution"),
        (torch.tensor(1.0), torch.tensor(2.0), "different distribution"),
        (torch.tensor(1.0), torch.tensor(0.123456789), "different distribution"),
        (torch.tensor([0.04]), torch.tensor([0.05]), "different distribution"),
        (torch.tensor([0.0412345678]), torch.tensor([-0.0512345678]), "same distribution, other values"),
        (torch.tensor([1.0]).bfloat16(), torch.tensor([0.0551]).bfloat16(), "different distribution"),
        (torch.tensor([0.0412]).bfloat16(), torch.tensor([0.0551]).bfloat16(), "same distribution, other values"),
        (
            torch.zeros(4, dtype=torch.uint8).view(torch.bits8),
            torch.ones(4, dtype=torch.uint8).view(torch.bits8),
            "different values",
        ),
        (torch.tensor([math.nan, 1.0]), torch.tensor([math.nan, 1.0]), "equal bits"),
        (torch.tensor([math.nan, 1.0, 2.0]), torch.tensor([0.5, 1.0, 2.0]), "different distribution"),
        (torch.full((3,), math.nan), torch.full((3,), math.inf), "same distribution, other values"),
        (torch.zeros(0, 3), torch.zeros(0, 3), "equal bits"),
        (torch.zeros(3, 4), torch.zeros(4, 3), "different shape"),
        (torch.zeros(3), torch.zeros(3, dtype=torch.float64), "different dtype"),
        (torch.arange(4), torch.arange(4), "equal bits"),
        (torch.arange(4), torch.arange(4).flip(0), "different values"),
        (torch.arange(4), torch.arange(4, dtype=torch.int32), "different dtype"),
        (torch.tensor([True]), torch.tensor([False]), "different values"),
        (torch.empty(3, device="meta"), torch.zeros(3), "not compared"),
    ],
)
def test_what_two_tensors_are(a: Tensor, b: Tensor, what: str) -> None:
    found = compare({"x": a}, {"x": b})
    assert found.counts == {what: 1}
    assert [row.what for row in found] == ([] if what in ("equal bits", "not compared") else [what])
    assert bool(found) == bool(found.rows)


@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.complex64, torch.complex128]
)
def test_every_kind_of_numbers_is_compared(dtype: torch.dtype) -> None:
    def drawn(seed: int, std: float) -> Tensor:
        wide = torch.complex128 if dtype.is_complex else torch.float64
        return _normal(seed, 64, 64, std=std, dtype=wide).to(dtype)

    assert _what(drawn(0, 1.0), drawn(0, 1.0)) == "equal bits"
    assert _what(drawn(0, 1.0), drawn(1, 1.0)) == "same distribution, other values"
    assert _what(drawn(0, 1.0), drawn(1, 1.2)) == "different distribution"


def test_rounded_values_are_told_from_other_ones() -> None:
    values = _normal(0, 64, 64)
    (row,) = compare({"x": values}, {"x": values.bfloat16()})
    assert (row.what, row.apart) == ("different dtype", 0.0)
    assert row.b is not None
    assert row.b.endswith("equal after rounding")
    (row,) = compare({"x": values}, {"x": _normal(1, 64, 64).bfloat16()})
    assert row.what == "different dtype"
    assert row.apart == pytest.approx(2**0.5, abs=0.1)
    (row,) = compare({"x": values}, {"x": values * (1 + 1e-7)})
    assert row.what == "same distribution, other values"
    assert row.apart is not None
    assert row.apart < 1e-6


def test_values_that_a_coarse_type_drew_agree_with_those_of_a_fine_one() -> None:
    half = torch.empty(768, 768, dtype=torch.bfloat16).uniform_(-0.5, 0.5, generator=torch.Generator().manual_seed(0))
    fine = torch.empty(768, 768).uniform_(-0.5, 0.5, generator=torch.Generator().manual_seed(1))
    assert _what(half.float(), fine) == "same distribution, other values"


@pytest.mark.parametrize("scale", [1e-300, 1e-38, 1e30, 1e300])
def test_no_scale_overflows(scale: float) -> None:
    values = _normal(0, 64, 64, std=1.0, dtype=torch.float64) * scale
    other = _normal(1, 64, 64, std=1.0, dtype=torch.float64) * scale
    assert _what(values, other) == "same distribution, other values"
    assert _what(values, other * 1.2) == "different distribution"


def test_tensors_of_one_side_are_named() -> None:
    found = compare({"a": torch.ones(2), "both": torch.ones(2)}, {"both": torch.ones(2), "b": torch.zeros(2, 3)})
    assert [(row.name, row.what, row.a, row.b) for row in found] == [
        ("a", "only in A", "2 float32, constant 1", None),
        ("b", "only in B", None, "2x3 float32, constant 0"),
    ]
    assert found.counts == {"only in A": 1, "equal bits": 1, "only in B": 1}


def test_a_tied_tensor_is_compared_once_and_may_have_one_name_in_a_file() -> None:
    model = nn.Sequential(nn.Linear(4, 9, bias=False), nn.Linear(4, 9, bias=False))
    model[1].weight = model[0].weight
    for name in ("0.weight", "1.weight"):
        assert compare(model, {name: model[0].weight}).counts == {"equal bits": 1}
    assert compare(model, model).counts == {"equal bits": 1}
    assert compare(model, {name: t.clone() for name, t in model.state_dict().items()}).counts == {"equal bits": 2}


class _Buffers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.BatchNorm1d(3)
        self.register_buffer("table", torch.arange(3.0), persistent=False)


def test_buffers_are_compared_and_those_that_no_file_has_are_left_out() -> None:
    model = _Buffers()
    assert compare(model, model.state_dict()).counts == {"equal bits": 5}
    other = _Buffers()
    other.layer.running_mean += 1
    other.table += 1
    assert [row.name for row in compare(model, other)] == ["table", "layer.running_mean"]


def test_names_are_those_without_wrappers() -> None:
    model = nn.Linear(3, 4)
    assert compare(nn.DataParallel(model), model).counts == {"equal bits": 2}


def test_any_seed_leaves_out_other_values_of_the_same_distribution() -> None:
    a, b = {"x": _normal(0, 64, 64), "y": torch.ones(2)}, {"x": _normal(1, 64, 64), "y": torch.ones(2)}
    assert compare(a, b)
    found = compare(a, b, any_seed=True)
    assert not found
    assert found.counts == {"same distribution, other values": 1, "equal bits": 1}
    assert compare(a, b | {"y": torch.zeros(2)}, any_seed=True).rows[0].name == "y"


def test_chance_is_that_of_all_tensors() -> None:
    a, b = _normal(0, 64), _normal(1, 64)
    (alone,) = compare({"x": a}, {"x": b})
    many = compare(
        {f"{i}": _normal(i, 64) for i in range(9)} | {"x": a},
        {f"{i}": _normal(i + 99, 64) for i in range(9)} | {"x": b},
    )
    assert alone.p is not None
    assert many[-1].p == pytest.approx(min(1.0, 10 * alone.p))


def test_a_result_prints_and_becomes_json() -> None:
    found = compare(
        {"x": _normal(0, 64, 64), "y": torch.ones(2)}, {"x": _normal(1, 64, 64, std=0.04), "z": torch.ones(2)}
    )
    assert found.summary == "3 tensors: 1 only in A; 1 only in B; 1 with a different distribution"
    assert str(found).endswith(found.summary)
    assert "different distribution" in found._repr_html_()
    told = json.loads(found.to_json())
    assert (told["version"], told["counts"]) == (1, found.counts)
    assert [row["name"] for row in told["differences"]] == ["x", "y", "z"]
    assert tuple(told["differences"][0]) == Comparison.columns
    assert [found.is_marked(row) for row in found] == [True, True, True]
    assert compare({}, {}).summary == "no tensors"
    assert json.loads(compare({}, {}).to_json())["differences"] == []


def test_a_result_is_drawn_for_the_tensors_that_differ() -> None:
    a = {"x": _normal(0, 64, 64), "same": torch.ones(2), "shape": torch.ones(2)}
    figure = compare(a, {"x": _normal(1, 64, 64, std=0.04), "same": torch.ones(2), "shape": torch.ones(3)}).plot()
    assert sum(axis.get_visible() and bool(axis.patches) for axis in figure.axes) >= 1


def test_progress_names_each_tensor() -> None:
    told: list[Any] = []
    compare({"x": torch.ones(2), "y": torch.ones(2)}, {"x": torch.ones(2)}, progress=lambda *step: told.append(step))
    assert told == [("comparing", "x", 2), ("comparing", "y", 2)]


@pytest.mark.parametrize("wrong", [torch.ones(2), None, "net.pt", [1]])
def test_something_else_is_refused_in_one_sentence(wrong: Any) -> None:
    for pair in ((wrong, nn.Linear(1, 1)), (nn.Linear(1, 1), wrong)):
        with pytest.raises(TypeError, match=r"^compare\(\) takes modules, state dicts, .*, got \w+$"):
            compare(*pair)


def test_a_state_dict_without_dotted_names_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^a state dict must map dotted names to tensors, got int for"):
        compare({"x": 1}, {})


@pytest.mark.parametrize(
    "how", [lambda x: x.t().contiguous().t(), lambda x: torch.stack([x, x])[1], lambda x: x.to_sparse()]
)
def test_layout_does_not_matter(how: Callable[[Tensor], Tensor]) -> None:
    values = _normal(0, 64, 48)
    assert _what(how(values), values) == _what(how(values), how(values)) == "equal bits"
    assert _what(how(values), _normal(1, 64, 48)) == "same distribution, other values"
    assert _what(how(values), _normal(1, 64, 48, std=0.03)) == "different distribution"


@pytest.mark.filterwarnings("ignore")
def test_quantized_tensors_have_equal_bits_if_their_scales_are_equal() -> None:
    values = _normal(0, 64, 48)
    one, same, finer = (torch.quantize_per_tensor(values, scale, 0, torch.qint8) for scale in (0.01, 0.01, 0.005))
    assert _what(one, same) == "equal bits"
    assert _what(one, finer) != "equal bits"
    scales, points = torch.full([64], 0.01), torch.zeros(64)
    channels = torch.quantize_per_channel(values, scales, points, 0, torch.qint8)
    assert _what(channels, channels) == "equal bits"


def test_equal_values_have_their_step_at_once() -> None:
    few, many = (torch.tensor(values, dtype=torch.float64) for values in ([0.0, 1.0], [0.0, 0.0, 0.0, 1.0, 1.0, 1.0]))
    assert _gap(few, many) == _gap(many, few) == 0.0
    assert _gap(many, torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=torch.float64)) == 0.25


def test_the_least_p_of_several_tests_counts_all_of_them() -> None:
    each = [Evidence(1.0, 0.1, 0.2, p) for p in (0.5, 0.01, 0.3)]
    assert _strongest(each) == Evidence(1.0, 0.1, 0.2, 0.03)
    assert _strongest([Evidence(1.0, 0.1, 0.2, 0.8)] * 2).p == 1.0


def test_counts_are_told_in_english() -> None:
    zeros, ones = torch.zeros(4), torch.ones(4)
    a = {name: zeros.clone() for name in ("shape", "type", "law", "bits", "a", "sign")} | {"number": zeros.int()}
    b = {"shape": zeros[:2], "type": zeros.half(), "law": ones, "number": ones.int(), "bits": zeros, "sign": -zeros}
    empty = {"nothing": torch.empty(4, device="meta")}
    assert compare({**a, **empty}, {**b, **empty}).summary == (
        "8 tensors: 1 only in A; 1 with a different shape; 1 with a different distribution; 1 with different values;"
        " 1 with a different dtype; 1 with the same distribution, other values; 1 with equal bits; 1 not compared"
    )


def test_json_of_bad_rows_is_the_table_of_bad_rows() -> None:
    a, b = {"x": _normal(0, 64), "y": torch.ones(2)}, {"x": _normal(1, 64), "y": torch.zeros(2)}
    found = compare(a, b)
    assert [row["name"] for row in json.loads(found.to_json(bad=True))["differences"]] == ["y"]
    assert [line.split()[0] for line in found.table(200, bad=True, all=True).splitlines()[1:2]] == ["y"]


def test_a_picture_has_the_tensors_of_both_sides_and_names_these_sides() -> None:
    figure = compare(
        {"x": _normal(0, 64), "a": _normal(1, 64)}, {"x": 9 * _normal(0, 64), "b": _normal(2, 64), "n": torch.arange(3)}
    ).plot("two models", labels=("A: one.pt", "B: other.pt"))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["A: one.pt", "B: other.pt"]
    assert {"x", "a", "b"} <= {text.get_text() for text in figure.texts}
    # Bars for A, and a line for B.
    filled = {axes.texts[0].get_text(): [patch.get_fill() for patch in axes.patches] for axes in figure.axes}
    assert sorted(filled.values()) == [[False], [True], [True, False]]


@pytest.mark.parametrize(
    "b", [{"x": torch.ones(3), "n": torch.arange(3)}, {"x": torch.ones(3), "n": torch.arange(3) + 1}]
)
def test_nothing_to_draw_is_refused(b: dict[str, torch.Tensor]) -> None:
    found = compare({"x": torch.ones(3), "n": torch.arange(3)}, b)
    assert found.drawn == []
    with pytest.raises(RuntimeError, match=r"^plot\(\) needs tensors that differ and have values, got 2 tensors: "):
        found.plot()


def test_tensors_without_values_and_of_other_shapes_say_so() -> None:
    (row,) = compare({"x": torch.empty(2, device="meta")}, {"x": torch.empty(3, device="meta")})
    assert (row.what, row.a, row.b) == ("different shape", "2, no values", "3, no values")


def test_complex_and_real_values_are_not_compared_in_pairs() -> None:
    real = _normal(0, 64, 64)
    (row,) = compare({"x": torch.complex(real, _normal(1, 64, 64))}, {"x": real})
    assert (row.what, row.apart) == ("different dtype", None)


@pytest.mark.parametrize(
    ("number", "counts"), [(0.0, "same distribution, other values"), (2.0, "different distribution")]
)
def test_one_other_value_among_too_many_to_look_at_is_no_error(number: float, counts: str) -> None:
    one, other = torch.zeros(1 << 18), torch.full((1 << 18,), number)
    seen = set(spread(torch.arange(1 << 18), 1 << 17).tolist())
    unseen = [index for index in range(64) if index not in seen]
    one[unseen[0]], other[unseen[1]] = 1.0, 1.0
    assert compare({"x": one}, {"x": other}).counts == {counts: 1}
