"""Do rows fit a terminal, group repeated layers, and show in a notebook what is marked?"""

import json
import math
import re
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
from expecttest import assert_expected_inline

from torchinit._core.rows import Rows
from torchinit._core.table import Cell

WIDTHS = (40, 60, 80, 120, 200)


@dataclass(frozen=True)
class Row:
    """A row of a test."""

    name: str
    kind: str = "Linear"
    shape: tuple[int, ...] = (4, 3)
    low: float | None = None
    high: float | None = None
    std: float | None = 0.02
    said: str | None = "normal, std 0.02"
    secret: int = 7
    bad: bool = False


class Example(Rows[Row]):
    """Rows with all that a table knows."""

    columns = ("name", "kind", "shape", "low", "high", "std", "said", "secret")
    heads: ClassVar[dict[str, str]] = {"said": "verdict"}
    hidden = ("secret",)
    words = ("said",)
    varying = ("said",)
    least = ("kind", ("low", "high"), "std", "shape")

    def is_marked(self, row: Row) -> bool:
        return row.bad

    @property
    def summary(self) -> str:
        return f"{len(self)} tensors, {sum(row.bad for row in self)} marked"


def layers(count: int, own: str = "weight", **more: Any) -> list[Row]:
    return [Row(f"layers.{i}.{own}", **more) for i in range(count)]


def body(rows: Rows[Any], width: int = 200, **how: bool) -> list[str]:
    """Return the lines of a table without its head and its summary."""
    return rows.table(width, **how).splitlines()[1:-2]


def test_repeated_layers_are_one_line() -> None:
    rows = [
        Row("embed.weight", shape=(9, 4)),
        *layers(12, std=0.5),
        *layers(12, "bias", shape=(4,)),
        Row("norm.weight"),
    ]
    assert_expected_inline(
        Example(rows).table(80),
        """\
name                        kind    shape   std  verdict
embed.weight                Linear  9x4    0.02  normal, std 0.02
layers.{0..11}.weight  x12  Linear  4x3     0.5  normal, std 0.02
layers.{0..11}.bias    x12  Linear  4      0.02  normal, std 0.02
norm.weight                 Linear  4x3    0.02  normal, std 0.02

26 tensors, 0 marked""",
    )


def test_numbers_of_repeated_layers_are_a_range() -> None:
    rows = [
        Row(f"{i}.w", std=std, said=f"normal, std {std} = 0.02 / sqrt({2 * i + 2})")
        for i, std in enumerate((0.0201, 0.02, 0.0199))
    ]
    (line,) = body(Example(rows))
    assert "  0.0199..0.0201  normal, std 0.0199..0.0201 = 0.02 / sqrt(2..6)" in line
    # Equal in what is shown.
    (line,) = body(Example([Row("0.w", std=0.020001), Row("1.w", std=0.02)]))
    assert "  0.02  normal" in line


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"said": "constant 0"}, {"said": "constant 1"}),
        ({"said": "3 of 4 rows are 0"}, {"said": "2 of 4 rows are 0"}),
        ({"said": "normal, std 0.02"}, {"said": "uniform, std 0.02"}),
        ({"said": None}, {"said": "normal, std 0.02"}),
        ({"kind": "Conv1d"}, {"kind": "Conv2d"}),
        ({"kind": "Scale 0.5"}, {"kind": "Scale 0.25"}),
        ({"shape": (4, 3)}, {"shape": (3, 4)}),
        ({"std": None}, {"std": 0.02}),
        ({"std": math.nan}, {"std": 0.02}),
        ({"std": math.inf}, {"std": -math.inf}),
        ({"bad": True}, {"bad": False}),
    ],
)
def test_layers_that_differ_are_lines_of_their_own(one: dict[str, Any], other: dict[str, Any]) -> None:
    rows = [Row("0.w", **one), Row("1.w", **other), Row("2.w", **one)]
    assert [line.split()[0] for line in body(Example(rows))] == ["{0,2}.w", "1.w"]


def test_a_hidden_column_does_not_separate_layers() -> None:
    assert len(body(Example([Row("0.w", secret=1), Row("1.w", secret=2)]))) == 1


def test_layers_of_nan_are_one_line() -> None:
    assert len(body(Example([Row(f"{i}.w", std=float("nan")) for i in range(3)]))) == 1


def test_rows_of_equal_names_are_all_shown() -> None:
    assert len(body(Example([Row("w"), Row("w"), Row("w", std=0.1)]))) == 3


def test_columns_are_left_out_in_their_order_and_pairs_together() -> None:
    rows = Example([Row("w" * 20, low=-1.0, high=1.0, said="a verdict of many words that has 40 letters")])
    heads = []
    for width in range(130, 39, -1):
        shown = rows.table(width).splitlines()[0].split()
        if shown not in heads:
            heads.append(shown)
    assert heads == [
        ["name", "kind", "shape", "low", "high", "std", "verdict"],
        ["name", "shape", "low", "high", "std", "verdict"],
        ["name", "shape", "std", "verdict"],
        ["name", "shape", "verdict"],
    ]


def test_a_column_that_says_nothing_is_left_out() -> None:
    assert "low" not in Example(layers(2)).table(200)
    assert "low" in Example(layers(2)).table(wide=True)


def test_columns_of_numbers_make_room_for_words_in_a_narrow_terminal() -> None:
    class Wide(Example):
        least = ()

    shown = Wide([Row("w", kind="K" * 20, shape=(100, 200, 300), low=-0.123, high=0.123)]).table(40)
    assert max(map(len, shown.splitlines())) <= 40
    assert re.search("normal, ?\n? *std 0.02", shown)


ODD = [
    Row("w" * 200),
    Row("model.language_model." + "very.long.path." * 12 + "weight", said="x " * 100),
    Row("a\033[2Jb\nc", said="normal\033[0m"),
    Row("", shape=()),
    *layers(300, "attention.output.dense.weight"),
    Row("名前.weight", std=None, said=None),
    Row("big", low=-1.234e-300, high=1.234e300, shape=(1, 2, 3, 4, 5, 6, 7, 8, 9), bad=True),
]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("all", [False, True])
def test_no_line_is_wider_than_asked(width: int, all: bool) -> None:
    lines = Example(ODD).table(width, all=all).splitlines()
    assert max(map(len, lines)) <= width
    assert all == (len(lines) > 300)
    assert "\033" not in "".join(lines)


def test_a_long_name_takes_a_line_and_is_cut_in_the_middle() -> None:
    lines = body(Example([Row("first" + "x" * 200 + "weight"), Row("w")]), 60)
    assert re.fullmatch("first[x.]+weight", lines[0])
    assert len(lines[0]) == 60
    assert lines[1].strip().startswith("4x3")


def test_whole_rows_are_independent_of_the_width_and_of_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Example(ODD).table(wide=True)
    monkeypatch.setenv("COLUMNS", "40")
    assert Example(ODD).table(wide=True) == whole
    lines = whole.splitlines()
    assert len(lines) == 1 + len(ODD) + 2
    assert lines[0].split() == ["name", "kind", "shape", "low", "high", "std", "verdict"]
    assert all(row.name in whole for row in ODD if row.name.isprintable())


def test_the_width_of_the_terminal_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = Example(ODD)
    for columns in (60, 100):
        monkeypatch.setenv("COLUMNS", str(columns))
        assert str(rows) == rows.table(columns)


def test_only_marked_rows_are_shown_if_asked_for() -> None:
    rows = Example([*layers(3), *layers(3, "bias", bad=True)])
    assert [line.split()[0] for line in body(rows, bad=True)] == ["layers.{0..2}.bias"]
    assert rows.table(bad=True).endswith("\n6 tensors, 3 marked")
    assert len(body(rows, bad=True, wide=True)) == 3
    assert [record["name"] for record in json.loads(rows.to_json(bad=True))] == [f"layers.{i}.bias" for i in range(3)]


def test_only_lines_of_marked_rows_are_colored() -> None:
    rows = Example([Row("a"), Row("b" * 100, bad=True), Row("c", said="normal, std 0.02; " * 9, bad=True), Row("d")])
    for how in ({"wide": True}, {"wide": False}):
        lines = rows.table(80, color=True, **how).splitlines()
        plain = rows.table(80, **how).splitlines()
        assert [re.sub(r"\033\[\d*m", "", line) for line in lines] == plain
        last = next(i for i, line in enumerate(lines) if line.startswith("d "))
        assert ["\033" in line for line in lines] == [2 <= i < last for i in range(len(lines))]


def test_the_beginning_of_the_names_of_repeated_layers_stands_once() -> None:
    rows = [Row("embed.weight")]
    for own in ("attention.query.weight", "attention.key.weight", "output.weight"):
        rows += layers(12, own, said="normal, std 0.02, cut at 2 std")
    assert_expected_inline(
        Example(rows).table(70),
        """\
name                       shape   std  verdict
embed.weight               4x3    0.02  normal, std 0.02
layers.{0..11}  x12
  .attention.query.weight  4x3    0.02  normal, std 0.02, cut at 2 std
  .attention.key.weight    4x3    0.02  normal, std 0.02, cut at 2 std
  .output.weight           4x3    0.02  normal, std 0.02, cut at 2 std

37 tensors, 0 marked""",
    )


def test_names_stay_whole_where_no_column_is_left_out() -> None:
    rows = [row for own in ("attention.query.weight", "output.weight") for row in layers(12, own)]
    rows = [*rows, Row("head", said="a, " * 40)]
    assert "layers.{0..11}.attention.query.weight" in Example(rows).table(106)
    # Here the kind would be left out.
    assert "\n  .attention.query.weight" in Example(rows).table(90)


def test_a_common_beginning_that_is_long_takes_one_line() -> None:
    rows = [row for own in ("query.weight", "key.weight") for row in layers(3, own)]
    rows = [Row(f"encoder.of.images.{row.name}", said="normal, std 0.02, cut at 2 std") for row in rows]
    lines = body(Example(rows), 40)
    assert lines[0] == "encoder.of.images.layers.{0..2}  x3"
    assert lines[1].startswith("  .query.weight")


def test_a_name_above_its_rows_takes_no_column() -> None:
    rows = [Row(name, said=said) for name in ("embeddings.positions", "head.weight") for said in ("old", "new")]
    assert_expected_inline(
        Example(rows).table(40),
        """\
name  shape   std  verdict
embeddings.positions
      4x3    0.02  old
      4x3    0.02  new
head.weight
      4x3    0.02  old
      4x3    0.02  new

4 tensors, 0 marked""",
    )


def test_words_share_the_room_by_what_they_need() -> None:
    class Told(Example):
        words = ("kind", "said")
        least = ()

    lines = body(Told([Row("w", kind="words that need more room than " * 4, said="few of them")]), 70)
    assert lines[0].endswith("0.02  few of them")
    assert len(lines[0]) > 60


def test_a_summary_is_broken_into_lines() -> None:
    class Long(Example):
        summary = "words " * 30  # type: ignore[assignment]

    assert max(map(len, Long([Row("w")]).table(60).splitlines())) <= 60
    assert Long([Row("w")]).table(wide=True).splitlines()[-1] == Long.summary


def test_a_marked_row_under_a_common_beginning_is_colored() -> None:
    rows = [
        *layers(12, "attention.query.weight.of.some.length", bad=True),
        *layers(12, "attention.output.dense.weight"),
    ]
    for ordered in (rows, [*rows[12:], *rows[:12]]):
        lines = Example(ordered).table(50, color=True).splitlines()
        marked = ["length" in line for line in lines if "weight" in line]
        assert [line.startswith("\033") for line in lines if "weight" in line] == marked
        assert lines[1] == "layers.{0..11}  x12"


@pytest.mark.parametrize("wide", [False, True])
def test_no_rows_are_the_summary_alone(wide: bool) -> None:
    assert Example().table(wide=wide) == "0 tensors, 0 marked"
    assert Example().to_json() == "[]"
    assert Example()._repr_html_() == "<div><p><b>0 tensors, 0 marked</b></p></div>"


def test_json_has_every_column_of_every_row() -> None:
    records = json.loads(Example([Row("0.w", low=math.nan), Row("1.w")]).to_json())
    assert [tuple(record) for record in records] == [Example.columns] * 2
    assert (records[0]["low"], records[0]["secret"], records[0]["shape"]) == ("nan", 7, [4, 3])


class Noted(Example):
    """Rows with notes."""

    noted = "said"


def test_notes_are_numbered_below_the_table() -> None:
    rows = [*layers(3, said="one"), Row("a", said="other"), Row("b", said="one"), Row("c", said=None)]
    assert_expected_inline(
        Noted(rows).table(60),
        """\
name                      kind    shape       std
layers.{0..2}.weight  x3  Linear  4x3    0.02 [1]
a                         Linear  4x3    0.02 [2]
b                         Linear  4x3    0.02 [1]
c                         Linear  4x3        0.02

[1] said: one
[2] said: other
6 tensors, 0 marked""",
    )


def test_html_tells_the_summary_first_then_what_is_marked_then_all() -> None:
    rows = [Row(f"layer{i}.weight") for i in range(40)]
    rows[20] = Row("dead<b>", said="3 rows are 0", bad=True)
    shown = Example(rows)._repr_html_()
    assert re.match(r"<div><p><b>40 tensors, 1 marked</b></p><div [^>]*><table>", shown)
    first, rest = shown.split("<details><summary>all 40 rows</summary>")
    assert first.count("<tr") == 2
    assert rest.count("<tr") == 41
    for part in (first, rest):
        assert part.count("&#9888; dead&lt;b&gt;</td>") == part.count("&#9888;") == 1


def test_html_of_few_rows_marks_them_in_their_place() -> None:
    shown = Example([*layers(5), Row("dead", bad=True)])._repr_html_()
    assert "details" not in shown
    marked = [row for row in re.findall("<tr.*?</tr>", shown) if "box-shadow" in row]
    assert len(marked) == 1
    assert "dead" in marked[0]
    assert ">layers.{0..4}.weight</td>" in shown
    assert ">x5</td>" in shown


def test_html_needs_nothing_else() -> None:
    shown = Example(ODD)._repr_html_()
    assert not re.search("<script|<style|<link|http|class=|color: (black|white)", shown)
    assert "\033" not in shown


def test_rows_are_a_sequence_and_equal_a_list() -> None:
    rows = Example(layers(3))
    assert (len(rows), rows[0], rows[1:], list(rows)) == (3, layers(1)[0], layers(3)[1:], layers(3))
    assert rows == layers(3) == rows.rows
    assert rows != layers(2)
    assert repr(rows).startswith("Example([Row(name='layers.0.weight'")


def test_rows_without_a_picture_say_so() -> None:
    with pytest.raises(NotImplementedError, match="plot must be defined, got Example without it"):
        Example().plot()


def test_rows_need_no_summary() -> None:
    class Plain(Rows[Row]):
        columns = ("name", "shape")

        def cells(self, row: Row) -> list[Cell]:
            return [row.name, row.shape]

    assert Plain(layers(2)).table(80) == "name                     shape\nlayers.{0,1}.weight  x2  4x3"
    assert Plain().table() == ""
