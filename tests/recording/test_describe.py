"""Does a description say what fills each tensor, and does it fit?"""

import copy
import doctest
from collections.abc import Callable
from typing import Any

import pytest
import torch
from expecttest import assert_expected_inline
from torch import nn

import torchinit
from tests.support.described_models import Holder, Llama, Rotary, Tied, recorded
from torchinit.recording import Recording


def described(build: Callable[[], nn.Module], width: int = 80) -> str:
    return recorded(build).describe(width)


@pytest.mark.parametrize("subject", [Recording.describe, Recording.to_json])
def test_examples_run(subject: Any) -> None:
    (example,) = doctest.DocTestFinder().find(subject, globs={"torch": torch})
    assert example.examples
    assert not doctest.DocTestRunner().run(example).failed


def test_linear() -> None:
    assert_expected_inline(
        described(lambda: nn.Linear(3, 4)),
        """\
tensor  shape  filled by
weight  4x3    kaiming_uniform_(a=2.236)
bias    4      uniform_(-0.5774, 0.5774)

2 tensors, 16 values, 2 draws""",
    )


def test_deep_copies_share_a_draw() -> None:
    layer = nn.TransformerEncoderLayer
    assert_expected_inline(
        described(lambda: nn.TransformerEncoder(layer(8, 2, 16), 4, enable_nested_tensor=False)),
        """\
tensor                              shape  filled by
layers.0.self_attn.in_proj_weight   24x8   xavier_uniform_
layers.{0..3}  x4
  .self_attn.in_proj_bias           24     constant_(0)
  .self_attn.out_proj.bias          8      constant_(0) [1]
  .norm1.weight                     8      ones_
  .norm1.bias                       8      zeros_
  .norm2.weight                     8      ones_
  .norm2.bias                       8      zeros_
layers.0.self_attn.out_proj.weight  8x8    kaiming_uniform_(a=2.236)
layers.0.linear1.weight             16x8   kaiming_uniform_(a=2.236)
layers.0.linear1.bias               16     uniform_(-0.3536, 0.3536)
layers.0.linear2.weight             8x16   kaiming_uniform_(a=2.236)
layers.0.linear2.bias               8      uniform_(-0.25, 0.25)
layers.{1..3}  x3
  .self_attn.in_proj_weight         24x8   copy of
                                           layers.0.self_attn.in_proj_weight
  .self_attn.out_proj.weight        8x8    copy of
                                           layers.0.self_attn.out_proj.weight
  .linear1.weight                   16x8   copy of layers.0.linear1.weight
  .linear1.bias                     16     copy of layers.0.linear1.bias
  .linear2.weight                   8x16   copy of layers.0.linear2.weight
  .linear2.bias                     8      copy of layers.0.linear2.bias

[1] overwritten: uniform_(-0.3536, 0.3536)
48 tensors, 2,400 values, 7 draws, 1 overwritten, 18 copies""",
    )


def test_a_copy_does_not_count_again_what_its_source_overwrote() -> None:
    def build() -> nn.Module:
        layer = nn.Linear(4, 4, bias=False)
        nn.init.normal_(layer.weight)
        return nn.Sequential(layer, copy.deepcopy(layer))

    assert_expected_inline(
        described(build),
        """\
tensor    shape  filled by
0.weight  4x4    normal_(0, 1) [1]
1.weight  4x4    copy of 0.weight

[1] overwritten: kaiming_uniform_(a=2.236)
2 tensors, 32 values, 2 draws, 1 overwritten, 1 copy""",
    )


def test_copies_of_a_sibling_are_one_line() -> None:
    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.student = nn.Linear(4, 4, bias=False)
            self.teacher = nn.Linear(4, 4, bias=False)
            self.teacher.load_state_dict(self.student.state_dict())

    assert_expected_inline(
        described(lambda: nn.Sequential(*(Pair() for _ in range(3)))),
        """\
tensor                     shape  filled by
{0..2}.student.weight  x3  4x4    kaiming_uniform_(a=2.236)
{0..2}.teacher.weight  x3  4x4    copy of {0..2}.student.weight [1]

[1] overwritten: kaiming_uniform_(a=2.236)
6 tensors, 96 values, 6 draws, 3 overwritten, 3 copies""",
    )


def test_padding_is_a_row() -> None:
    assert_expected_inline(
        described(lambda: nn.Embedding(9, 4, padding_idx=2)),
        """\
tensor  shape  filled by
weight  9x4    normal_(0, 1), row 2 zero

1 tensor, 36 values, 1 draw""",
    )


def test_a_tied_head_is_named_as_the_first() -> None:
    assert_expected_inline(
        described(Tied),
        """\
tensor        shape  filled by
embed.weight  9x4    normal_(0, 1)
head.weight   9x4    as embed.weight

1 tensor, 36 values, 2 draws, 1 dropped, 1 tied""",
    )


class Packed(nn.Module):
    """Parts of tensors that are filled in different ways."""

    def __init__(self) -> None:
        super().__init__()
        self.in_proj = nn.Parameter(torch.empty(12, 4))
        for part in self.in_proj.chunk(3):
            nn.init.xavier_uniform_(part)
        self.gates = nn.Parameter(torch.zeros(8))
        with torch.no_grad():
            self.gates[2:4].fill_(1)
            self.gates[::4] += 0.5


def test_parts_of_packed_weights_are_told_apart() -> None:
    assert_expected_inline(
        described(Packed),
        """\
tensor   shape  filled by
in_proj  12x4   [0:4] xavier_uniform_, [4:8] xavier_uniform_,
                [8:] xavier_uniform_
gates    8      zero, [2:4] fill 1, [::4] + 0.5

2 tensors, 56 values, 3 draws, 1 table""",
    )


def test_buffers_are_marked() -> None:
    assert_expected_inline(
        described(lambda: nn.BatchNorm1d(4)),
        """\
tensor               shape         filled by
weight               4             ones_
bias                 4             zeros_
running_mean         4             buffer: zero
running_var          4             buffer: fill 1
num_batches_tracked  scalar int64  buffer: zero

5 tensors, 17 values""",
    )


def test_tables_say_how_they_were_computed_or_their_size() -> None:
    assert_expected_inline(
        described(Rotary),
        """\
tensor    shape  filled by
inv_freq  32     non-persistent buffer: arange(0, 64, 2) / 64, 10000 ** x, 1 / x
table     16x64  non-persistent buffer: table of 1024 values
mean      3      buffer: [0.485, 0.456, 0.406] from outside torch
window    30     buffer: 30 values from outside torch

4 tensors, 1,089 values, 4 tables""",
    )


class LayerScale(nn.Module):
    """Tensors of one number, made in three ways."""

    def __init__(self) -> None:
        super().__init__()
        self.gamma = nn.Parameter(1e-6 * torch.ones(4))
        self.beta = nn.Parameter(torch.full((4,), 0.5))
        self.scale = nn.Parameter(nn.init.constant_(torch.empty(4), 0.1))


def test_constants_are_numbers() -> None:
    assert_expected_inline(
        described(LayerScale),
        """\
tensor  shape  filled by
gamma   4      fill 1e-06
beta    4      fill 0.5
scale   4      constant_(0.1)

3 tensors, 12 values""",
    )


def test_memory_that_nothing_writes_is_said() -> None:
    def build() -> nn.Module:
        part = torch.empty(4)
        part[:2] = 1
        return Holder(never=nn.Parameter(torch.empty(3, 2)), part=nn.Parameter(part), none=torch.empty(0, 2))

    assert_expected_inline(
        described(build),
        """\
tensor  shape  filled by
never   3x2    never written
part    4      [0:2] fill 1, rest never written
none    0x2    buffer: empty

3 tensors, 10 values, 2 never written""",
    )


def test_a_reset_leaves_other_tensors_as_they_were() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    recording = torchinit.record(model[1].reset_parameters, model=model)
    assert_expected_inline(
        recording.describe(80),
        """\
tensor    shape  filled by
0.weight  3x3    as it was
0.bias    3      as it was
1.weight  3x3    kaiming_uniform_(a=2.236)
1.bias    3      uniform_(-0.5774, 0.5774)

4 tensors, 24 values, 2 draws""",
    )


def test_a_view_names_the_whole() -> None:
    def build() -> nn.Module:
        flat = nn.Parameter(nn.init.normal_(torch.empty(6, 4)))
        part, turned = nn.Parameter(flat.detach()[1:3]), nn.Parameter(flat.detach().T)
        return Holder(early=nn.Parameter(flat.detach()[0]), flat=flat, part=part, turned=turned)

    assert_expected_inline(
        described(build),
        """\
tensor  shape  filled by
early   4      view of flat[0]
flat    6x4    normal_(0, 1)
part    2x4    view of flat[1:3]
turned  4x6    view of flat

4 tensors, 24 values, 1 draw, 3 views""",
    )


def test_a_draw_that_a_later_value_uses_is_not_overwritten() -> None:
    def build() -> nn.Module:
        weight = nn.init.normal_(torch.empty(4))
        weight.copy_(weight * 2)
        return Holder(weight=nn.Parameter(weight))

    assert_expected_inline(
        described(build),
        """\
tensor  shape  filled by
weight  4      normal_(0, 1) * 2

1 tensor, 4 values, 1 draw""",
    )


def test_parts_overwrite_a_draw_together() -> None:
    def build() -> nn.Module:
        weight = nn.Linear(4, 6, bias=False)
        for part in weight.weight.chunk(3):
            nn.init.ones_(part)
        return weight

    assert_expected_inline(
        described(build),
        """\
tensor  shape  filled by
weight  6x4    [0:2] ones_, [2:4] ones_, [4:] ones_ [1]

[1] overwritten: kaiming_uniform_(a=2.236)
1 tensor, 24 values, 1 draw, 1 overwritten""",
    )


def test_single_values_overwrite_a_draw_together() -> None:
    def build() -> nn.Module:
        layer = nn.Linear(3, 1, bias=False)
        for index in range(3):
            nn.init.ones_(layer.weight[:, index])
        return layer

    assert described(build).endswith("\n1 tensor, 3 values, 1 draw, 1 overwritten")


def test_32_layers_at_80_columns() -> None:
    assert_expected_inline(
        described(Llama),
        """\
tensor                      shape       filled by
embed_tokens.weight         32000x4096  normal_(0, 0.02) [1]
layers.{0..31}  x32
  .self_attn.q_proj.weight  4096x4096   normal_(0, 0.02) [2]
  .self_attn.k_proj.weight  4096x4096   normal_(0, 0.02) [2]
  .self_attn.v_proj.weight  4096x4096   normal_(0, 0.02) [2]
  .self_attn.o_proj.weight  4096x4096   normal_(0, 0.02) [2]
  .mlp.gate_proj.weight     11008x4096  normal_(0, 0.02) [2]
  .mlp.up_proj.weight       11008x4096  normal_(0, 0.02) [2]
  .mlp.down_proj.weight     4096x11008  normal_(0, 0.02) [2]
  .input_layernorm.weight   4096        ones_
  .post_attention_layernorm.weight
                            4096        ones_
norm.weight                 4096        ones_
rotary_emb.inv_freq         64          non-persistent buffer:
                                        arange(0, 128, 2) / 128, 10000 ** x,
                                        1 / x
rotary_emb.table            16x128      non-persistent buffer:
                                        table of 2048 values
rotary_emb.mean             3           buffer:
                                        [0.485, 0.456, 0.406] from outside torch
rotary_emb.window           30          buffer: 30 values from outside torch
lm_head.weight              32000x4096  normal_(0, 0.02) [2]

[1] overwritten: normal_(0, 1)
[2] overwritten: kaiming_uniform_(a=2.236)
295 tensors, 6.738 B values, 452 draws, 226 overwritten, 4 tables""",
    )


def test_names_are_whole_where_they_fit() -> None:
    lines = described(Llama, 120).splitlines()
    (line,) = (line for line in lines if "up_proj" in line)
    assert line.split("  ")[0] == "layers.{0..31}.mlp.up_proj.weight"
    assert line.endswith("  x32  11008x4096  normal_(0, 0.02) [2]")


def _encoder_and_decoder() -> nn.Module:
    return nn.Transformer(8, 2, 2, 2, 16)


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
@pytest.mark.parametrize("build", [Llama, Packed, _encoder_and_decoder])
def test_no_line_is_wider_than_asked(build: Callable[[], nn.Module], width: int) -> None:
    lines = described(build, width).splitlines()
    assert max(map(len, lines)) <= width


def test_a_name_longer_than_the_line_is_cut_in_the_middle() -> None:
    model = {"a_module_with_a_longer_name_than_most": nn.Linear(2, 2, bias=False)}
    assert described(lambda: nn.ModuleDict(model), 40).splitlines()[1] == "a_module_with...er_name_than_most.weight"


def test_print_fits_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    recording = recorded(Llama)
    for columns in (60, 150):
        monkeypatch.setenv("COLUMNS", str(columns))
        assert str(recording) == recording.describe(columns)
