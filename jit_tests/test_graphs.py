"""Do scripted functions hold only operators of torch, and do they write without a context manager?"""

from typing import Any

import pytest
import torch
from expecttest import assert_expected_inline

from jit_tests.scripting import graph_text, scripted
from tests.support.record import DEPRECATED, ROWS


@pytest.mark.parametrize("name", [*ROWS, *DEPRECATED])
def test_inlined_graph_holds_no_python_and_no_context_manager(name: str) -> None:
    text = str(scripted(name).inlined_graph)
    assert "prim::" in text or "aten::" in text
    for kind in ("prim::PythonOp", "prim::Enter", "prim::Exit"):
        assert kind not in text


# WRITES: in-place operators. VIEWS: operators to follow back to the tensor written. MADE: operators that make a tensor
# that may be written: the argument's no-grad view, or a tensor of the function's own.
WRITES = [
    "uniform_",
    "normal_",
    "fill_",
    "zero_",
    "copy_",
    "erfinv_",
    "mul_",
    "add_",
    "clamp_",
    "masked_fill_",
    "scatter_",
    "sub_",
]
VIEWS = {
    *(f"aten::{name}" for name in [*WRITES, "select", "view", "narrow", "diagonal", "t", "split", "__getitem__"]),
    *("prim::ListConstruct", "prim::TupleUnpack", "aten::list", "aten::_values"),
}
MADE = {
    *(f"aten::{name}" for name in ["detach", "empty_like", "new_empty", "linalg_qr", "neg", "mul", "add", "div"]),
    *(
        "aten::reciprocal_",
        "aten::special_erfcx",
        "aten::log_",
        "aten::sqrt_",
        "aten::log1p_",
        "aten::neg_",
        "aten::zeros_like",
        "aten::cat",
        "aten::stack",
    ),
}


def _origins(value: Any, seen: set[str]) -> set[str]:
    """Return the kinds of node that made a value, followed back through views, branches and loops."""
    node = value.node()
    if value.debugName() in seen:
        return set()
    seen.add(value.debugName())
    position = next((i for i, output in enumerate(node.outputs()) if output.debugName() == value.debugName()), 0)
    if node.kind() == "prim::If":
        blocks = [list(block.outputs())[position] for block in node.blocks()]
        return set().union(*(_origins(output, seen) for output in blocks))
    if node.kind() == "prim::Loop":
        return _origins(node.inputsAt(2 + position), seen)
    if node.kind() in VIEWS:
        return _origins(node.inputsAt(0), seen)
    return {node.kind()}


@pytest.mark.parametrize(
    "name", [n for n, row in ROWS.items() if row.arguments[0].type == "Tensor" and n.endswith("_")]
)
def test_every_write_goes_through_detach_or_into_a_tensor_of_its_own(name: str) -> None:
    graph = scripted(name).inlined_graph
    targets = [node.inputsAt(0) for kind in WRITES for node in graph.findAllNodes(f"aten::{kind}")]
    targets += [list(node.inputs())[-1] for node in graph.findAllNodes("aten::eye")]
    assert targets
    kinds = set().union(*(_origins(target, set()) for target in targets if target.type().kind() == "TensorType"))
    assert kinds <= MADE
    assert kinds & {"aten::detach"}


def test_write_to_the_argument_itself_is_detected() -> None:
    def direct(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.zero_()

    graph = torch.jit.script(direct).inlined_graph
    (node,) = graph.findAllNodes("aten::zero_")
    assert _origins(node.inputsAt(0), set()) == {"prim::Param"}


def test_graph_of_uniform_primitive() -> None:
    assert_expected_inline(
        graph_text(scripted("_no_grad_uniform_")),
        """\
graph(%tensor.1 : Tensor,
      %a.1 : float,
      %b.1 : float,
      %generator.1 : Generator?):
  %4 : Tensor = aten::detach(%tensor.1)
  %5 : Tensor = aten::uniform_(%4, %a.1, %b.1, %generator.1)
  return (%tensor.1)
""",
    )


def test_graph_of_normal_primitive() -> None:
    assert_expected_inline(
        graph_text(scripted("_no_grad_normal_")),
        """\
graph(%tensor.1 : Tensor,
      %mean.1 : float,
      %std.1 : float,
      %generator.1 : Generator?):
  %4 : Tensor = aten::detach(%tensor.1)
  %5 : Tensor = aten::normal_(%4, %mean.1, %std.1, %generator.1)
  return (%tensor.1)
""",
    )


def test_graph_of_fill_primitive() -> None:
    assert_expected_inline(
        graph_text(scripted("_no_grad_fill_")),
        """\
graph(%tensor.1 : Tensor,
      %val.1 : float):
  %2 : Tensor = aten::detach(%tensor.1)
  %3 : Tensor = aten::fill_(%2, %val.1)
  return (%tensor.1)
""",
    )


def test_graph_of_zero_primitive() -> None:
    assert_expected_inline(
        graph_text(scripted("_no_grad_zero_")),
        """\
graph(%tensor.1 : Tensor):
  %values.1 : Tensor = aten::detach(%tensor.1)
  %3 : bool = prim::is_sparse(%values.1)
   = prim::If(%3)
    block0():
      %4 : Tensor = aten::_values(%values.1)
      %5 : Tensor = aten::zero_(%4)
      -> ()
    block1():
      %6 : Tensor = aten::zero_(%values.1)
      -> ()
  return (%tensor.1)
""",
    )


def test_graph_of_trunc_normal_primitive() -> None:
    # Not inlined: its branches call functions too long to review.
    assert_expected_inline(
        graph_text(scripted("_no_grad_trunc_normal_"), inlined=False),
        """\
graph(%tensor.1 : Tensor,
      %mean.1 : float,
      %std.1 : float,
      %a.1 : float,
      %b.1 : float,
      %generator.1 : Generator?):
  %6 : Function = prim::Constant[name="draw_"]()
  %7 : Function = prim::Constant[name="nearest"]()
  %8 : float = prim::Constant[value=0.]()
  %9 : bool = aten::eq(%std.1, %8)
   = prim::If(%9)
    block0():
      %10 : Tensor = aten::detach(%tensor.1)
      %11 : float = prim::CallFunction(%7, %mean.1, %a.1, %b.1)
      %12 : Tensor = aten::fill_(%10, %11)
      -> ()
    block1():
      %13 : Tensor = aten::detach(%tensor.1)
      %14 : NoneType = prim::CallFunction(%6, %13, %mean.1, %std.1, %a.1, %b.1, %generator.1)
      -> ()
  return (%tensor.1)
""",
    )


def test_scripted_context_manager_shows_in_the_graph() -> None:
    # Guards the tests above: a scripted context manager does show as prim::Enter.
    def guarded(tensor: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return tensor.zero_()

    assert "prim::Enter" in str(torch.jit.script(guarded).inlined_graph)
