"""Does a diff of two recordings find what changed, and nothing else?"""

import doctest
import json
from collections.abc import Callable

import pytest
import torch
from expecttest import assert_expected_inline
from torch import nn

import torchinit
from torchinit.recording import Differences, diff


def compared(a: Callable[[], nn.Module], b: Callable[[], nn.Module]) -> Differences:
    return diff(torchinit.record(a), torchinit.record(b))


class Model(nn.Module):
    """A model whose every choice is an argument."""

    def __init__(
        self,
        layers: int = 4,
        dim: int = 8,
        std: float = 0.02,
        base: float = 1e4,
        functions: bool = True,
        bias: bool = False,
        dtype: torch.dtype = torch.float32,
        persistent: bool = False,
        first: bool = True,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(dim, dim, bias=bias, dtype=dtype) for _ in range(layers))
        self.norm = nn.LayerNorm(8)
        self.register_buffer(
            "freq", base ** -torch.linspace(0, 1, 8).exp().cumsum(0).sub(1).sin().cos().tanh().abs(), persistent
        )
        for index, layer in enumerate(self.layers):
            if functions:
                nn.init.normal_(layer.weight, 0.0, std)
            elif index or first:
                layer.weight.data.normal_(0.0, std)
        if functions:
            nn.init.ones_(self.norm.weight)
            nn.init.constant_(self.norm.bias, 0.0)
        else:
            self.norm.weight.data.fill_(1.0)
            self.norm.bias.data.zero_()


def test_example_runs() -> None:
    (example,) = doctest.DocTestFinder().find(diff, globs={"torch": torch})
    assert example.examples
    assert not doctest.DocTestRunner().run(example).failed


def test_equal_recordings_do_not_differ() -> None:
    found = compared(Model, Model)
    assert not found
    assert str(found) == "no difference"
    assert json.loads(found.to_json()) == {"version": 1, "differences": []}


def test_operators_that_do_what_functions_do_are_no_difference() -> None:
    assert compared(Model, lambda: Model(functions=False)).rows == ()


def test_changed_words_are_one_line_for_all_layers() -> None:
    found = compared(Model, lambda: Model(std=0.01))
    assert found
    assert_expected_inline(
        found.describe(80),
        """\
tensor                    what       a                 b
layers.{0..3}.weight  x4  filled by  normal_(0, 0.02)  normal_(0, 0.01)

4 tensors differ""",
    )


def test_tensors_of_one_recording_only() -> None:
    assert_expected_inline(
        compared(Model, lambda: Model(layers=6, bias=True)).describe(80),
        """\
tensor                   what       a  b
layers.{0..5}.bias   x6  only in b  -  uniform_(-0.3536, 0.3536)
layers.{4,5}.weight  x2  only in b  -  normal_(0, 0.02)

8 tensors differ""",
    )
    assert_expected_inline(
        compared(lambda: Model(layers=5), Model).describe(80),
        """\
tensor           what       a                 b
layers.4.weight  only in a  normal_(0, 0.02)  -

1 tensor differs""",
    )


def test_shapes_dtypes_and_kinds() -> None:
    other = lambda: Model(dim=16, dtype=torch.float16, persistent=True)  # noqa: E731
    assert_expected_inline(
        compared(Model, other).describe(80),
        """\
tensor                    what   a                      b
freq                      kind   non-persistent buffer  buffer
layers.{0..3}.weight  x4  shape  8x8                    16x16
layers.{0..3}.weight  x4  dtype  float32                float16

5 tensors differ""",
    )


def test_a_table_with_other_values() -> None:
    found = compared(Model, lambda: Model(base=2e4))
    assert [row.what for row in found.rows] == ["values"]
    assert_expected_inline(
        found.describe(80),
        """\
tensor  what    a                  b
freq    values  table of 8 values  8 of 8 values differ, by up to 0.003079

1 tensor differs""",
    )


def test_a_table_of_an_own_generator_is_compared_and_no_draw_is_made() -> None:
    def build(seed: int) -> nn.Module:
        model = nn.Linear(2, 2)
        drawn = torch.rand(2, 4, generator=torch.Generator().manual_seed(seed)) + torch.zeros_like(torch.rand(2, 4))
        model.register_buffer("projection", drawn.cumsum(0))
        return model

    before = torch.get_rng_state()
    found = compared(lambda: build(1), lambda: build(1))
    assert not found
    found = compared(lambda: build(1), lambda: build(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert_expected_inline(
        found.describe(80),
        """\
tensor      what       a                            b
projection  filled by  uniform_(0, 1) from seed 1,  uniform_(0, 1) from seed 2,
                       cumsum(0)                    cumsum(0)

1 tensor differs""",
    )


def test_two_nan_are_equal() -> None:
    def build() -> nn.Module:
        model = nn.Module()
        model.register_buffer("mask", torch.full((3, 3), float("nan")).triu())
        return model

    assert not compared(build, build)


def test_a_draw_that_is_overwritten_no_more() -> None:
    def build(skip: bool) -> nn.Module:
        layer = nn.utils.skip_init(nn.Linear, 4, 4) if skip else nn.Linear(4, 4)
        for parameter in layer.parameters():
            nn.init.normal_(parameter)
        return layer

    assert_expected_inline(
        compared(lambda: build(False), lambda: build(True)).describe(80),
        """\
tensor  what         a                          b
weight  overwritten  kaiming_uniform_(a=2.236)  -
bias    overwritten  uniform_(-0.5, 0.5)        -

2 tensors differ""",
    )


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_no_line_is_wider_than_asked(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    found = compared(Model, lambda: Model(dim=16, std=0.01, dtype=torch.float16, bias=True))
    assert max(map(len, found.describe(width).splitlines())) <= width
    monkeypatch.setenv("COLUMNS", str(width))
    assert str(found) == found.describe(width)


def test_html_and_json() -> None:
    found = compared(Model, lambda: Model(std=0.01))
    assert_expected_inline(
        found._repr_html_(),
        """<div><p><b>4 tensors differ</b></p><div style="overflow-x: auto"><table><thead><tr><th style="text-align: left">tensor</th><th style="text-align: left"></th><th style="text-align: left">what</th><th style="text-align: left">a</th><th style="text-align: left">b</th></tr></thead><tbody><tr style="box-shadow: inset 4px 0 #e69f00; font-weight: bold"><td style="text-align: left">&#9888; layers.{0..3}.weight</td><td style="text-align: left">x4</td><td style="text-align: left">filled by</td><td style="text-align: left">normal_(0, 0.02)</td><td style="text-align: left">normal_(0, 0.01)</td></tr></tbody></table></div></div>""",
    )
    assert_expected_inline(
        found.to_json(),
        """\
{
  "version": 1,
  "differences": [
    {
      "name": "layers.{0..3}.weight",
      "tensors": [
        "layers.0.weight",
        "layers.1.weight",
        "layers.2.weight",
        "layers.3.weight"
      ],
      "what": "filled by",
      "a": "normal_(0, 0.02)",
      "b": "normal_(0, 0.01)"
    }
  ]
}""",
    )


def test_bad_leaves_out_draws_that_are_overwritten() -> None:
    def build(skip: bool) -> nn.Module:
        layer = nn.utils.skip_init(nn.Linear, 4, 4) if skip else nn.Linear(4, 4)
        nn.init.normal_(layer.weight, 0.0, 2.0 if skip else 1.0)
        nn.init.zeros_(layer.bias)
        return layer

    found = compared(lambda: build(False), lambda: build(True))
    whats = [(row["name"], row["what"]) for row in json.loads(found.to_json(bad=True))["differences"]]
    assert whats == [("weight", "filled by")]
    assert len(json.loads(found.to_json())["differences"]) == len(found) == 3
    assert "overwritten" not in found.table(120, bad=True)
    assert "filled by" in found.table(120, bad=True)
    assert [found.is_marked(row) for row in found] == [row.what == "filled by" for row in found]


def test_comparing_tables_draws_from_no_generator_of_the_process() -> None:
    class Halves(nn.Module):
        """A table whose halves are written over a draw."""

        def __init__(self, end: float) -> None:
            super().__init__()
            table = torch.rand(2, 4)
            table[0], table[1] = torch.arange(4.0), torch.linspace(0.0, end, 4)
            self.register_buffer("table", table)

    a, b = (torchinit.record(lambda end=end: Halves(end)) for end in (1.0, 1.00001))
    state = torch.get_rng_state()
    (row,) = diff(a, b)
    assert row.what == "values"
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("from_model", [False, True])
def test_memory_that_the_code_leaves_as_it_is_does_not_differ(from_model: bool) -> None:
    def build(last: float) -> nn.Module:
        model = nn.Module()
        model.register_buffer("table", torch.empty(4096))
        fill(model, last)
        return model

    def fill(model: nn.Module, last: float) -> None:
        model.table[:3] = torch.linspace(0.0, last, 3)

    def recorded(last: float) -> torchinit.recording.Recording:
        if from_model:
            model = build(0.0)
            return torchinit.record(lambda: fill(model, last), model=model)
        return torchinit.record(lambda: build(last))

    one = recorded(1.0)
    # The memory of these numbers is what the next tensor gets.
    for _ in range(4):
        torch.rand(4096)
    assert not diff(one, recorded(1.0))
    (row,) = diff(one, recorded(1.00001))
    assert (row.what, row.b.partition(",")[0]) == ("values", "2 of 4096 values differ")
