"""Which names become one?"""

from collections.abc import Iterable

from torchinit._core.groups import grouped


def names(items: Iterable[str]) -> list[str]:
    return [group.name for group in grouped([(item, None) for item in items])]


def test_names_that_differ_in_numbers_are_one() -> None:
    assert names(f"layers.{i}.mlp.weight" for i in range(32)) == ["layers.{0..31}.mlp.weight"]
    assert names(f"layers.{i}.blocks.{j}.w" for i in range(4) for j in range(2)) == ["layers.{0..3}.blocks.{0,1}.w"]
    assert names(["0", "1", "2"]) == ["{0..2}"]


def test_gaps_and_steps_are_shown() -> None:
    assert names(f"h.{i}.w" for i in (*range(11), 12)) == ["h.{0..10,12}.w"]
    assert names(f"h.{i}.w" for i in range(1, 32, 2)) == ["h.{1..31..2}.w"]
    assert names(f"h.{i}.w" for i in (0, 2, 4)) == ["h.{0,2,4}.w"]
    assert names(f"h.{i}.w" for i in (3, 7)) == ["h.{3,7}.w"]


def test_numbers_that_are_no_product_are_several_groups() -> None:
    assert names(f"s.{i}.b.{j}" for i, depth in enumerate([2, 2, 6, 2]) for j in range(depth)) == [
        "s.{0,1,3}.b.{0,1}",
        "s.2.b.{0..5}",
    ]


def test_only_whole_components_are_numbers() -> None:
    assert names(["conv1.w", "conv2.w", "a.07", "a.7", "a.٣"]) == ["conv1.w", "conv2.w", "a.07", "a.7", "a.٣"]


def test_another_key_is_another_group_and_the_first_member_gives_the_order() -> None:
    items = [(f"h.{i}.{what}", what == "q" and i < 2) for i in range(4) for what in ("q", "norm")]
    found = grouped([*items, ("norm", False)])
    assert [group.name for group in found] == ["h.{0,1}.q", "h.{0..3}.norm", "h.{2,3}.q", "norm"]
    assert [group.members for group in found] == [(0, 2), (1, 3, 5, 7), (4, 6), (8,)]


def test_a_group_gives_a_glob_and_the_name_of_its_layers() -> None:
    (group,) = grouped([(f"h.{i}.mlp.0.w", None) for i in range(3)])
    assert (group.glob, group.layers) == ("h.*.mlp.0.w", "h.{0..2}")
    (group,) = grouped([(f"h.{i}", None) for i in range(3)])
    assert group.layers == ""
    (group,) = grouped([("h.0.w", None)])
    assert (group.name, group.glob, group.layers) == ("h.0.w", "h.0.w", "")
