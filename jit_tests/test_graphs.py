"""What do the compiled functions consist of?"""

from typing import Any

import pytest
import torch
from expecttest import assert_expected_inline

from jit_tests.scripting import graph_text, scripted
from tests.records import DEPRECATED, ROWS


@pytest.mark.parametrize("name", [*ROWS, *DEPRECATED])
def test_inlined_graph_holds_no_python_and_no_context_manager(name: str) -> None:
    text = str(scripted(name).inlined_graph)
    assert "prim::" in text or "aten::" in text
    for kind in ("prim::PythonOp", "prim::Enter", "prim::Exit"):
        assert kind not in text


# In-place operators, the views and lists that they may reach a tensor through, and what they may then have reached:
# the tensor's no-grad view, or one that the function made.
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
    ),
}


def _origins(value: Any, seen: set[str]) -> set[str]:
    """Follow a value back through views, branches and loops to the kinds of node that made it."""
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


def test_write_to_the_argument_itself_would_be_seen() -> None:
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
  %7 : Tensor = aten::detach(%tensor.1)
  %8 : Tensor = aten::uniform_(%7, %a.1, %b.1, %generator.1)
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
  %7 : Tensor = aten::detach(%tensor.1)
  %8 : Tensor = aten::normal_(%7, %mean.1, %std.1, %generator.1)
  return (%tensor.1)
""",
    )


def test_graph_of_fill_primitive() -> None:
    assert_expected_inline(
        graph_text(scripted("_no_grad_fill_")),
        """\
graph(%tensor.1 : Tensor,
      %val.1 : float):
  %5 : Tensor = aten::detach(%tensor.1)
  %6 : Tensor = aten::fill_(%5, %val.1)
  return (%tensor.1)
""",
    )


def test_graph_of_zero_primitive() -> None:
    assert_expected_inline(
        graph_text(scripted("_no_grad_zero_")),
        """\
graph(%tensor.1 : Tensor):
  %weight.1 : Tensor = aten::detach(%tensor.1)
  %5 : bool = prim::is_sparse(%weight.1)
   = prim::If(%5)
    block0():
      %6 : Tensor = aten::_values(%weight.1)
      %7 : Tensor = aten::zero_(%6)
      -> ()
    block1():
      %8 : Tensor = aten::zero_(%weight.1)
      -> ()
  return (%tensor.1)
""",
    )


def test_graph_of_trunc_normal_primitive() -> None:
    # Its branches are functions of their own, too long to review inlined.
    assert_expected_inline(
        graph_text(scripted("_no_grad_trunc_normal_"), inlined=False),
        """\
graph(%tensor.1 : Tensor,
      %mean.1 : float,
      %std.1 : float,
      %a.1 : float,
      %b.1 : float,
      %generator.1 : Generator?):
  %6 : bool = prim::Constant[value=0]()
  %7 : Function = prim::Constant[name="_fill_trunc_normal"]()
  %8 : NoneType = prim::Constant()
  %9 : int = prim::Constant[value=6]()
  %10 : Function = prim::Constant[name="_streamed_pieces"]()
  %11 : Function = prim::Constant[name="_check_overlap"]()
  %12 : int = prim::Constant[value=15]()
  %13 : bool = prim::Constant[value=1]()
  %14 : int = prim::Constant[value=5]()
  %15 : Function = prim::Constant[name="_unguarded"]()
  %16 : Function = prim::Constant[name="_no_grad_fill_"]()
  %17 : float = prim::Constant[value=0.]()
  %18 : bool = aten::eq(%std.1, %17)
  %19 : Tensor = prim::If(%18)
    block0():
      %20 : float = prim::max(%a.1, %mean.1)
      %21 : float = prim::min(%b.1, %20)
      %22 : Tensor = prim::CallFunction(%16, %tensor.1, %21)
      -> (%22)
    block1():
      %values.5 : Tensor = prim::CallFunction(%15, %tensor.1)
      %24 : int = prim::dtype(%tensor.1)
      %25 : bool = aten::eq(%24, %14)
      %26 : bool = prim::If(%25)
        block0():
          -> (%13)
        block1():
          %27 : int = prim::dtype(%tensor.1)
          %28 : bool = aten::eq(%27, %12)
          -> (%28)
       = prim::If(%26)
        block0():
          %29 : NoneType = prim::CallFunction(%11, %tensor.1)
          %30 : Tensor[] = prim::CallFunction(%10, %values.5)
          %31 : int = aten::len(%30)
           = prim::Loop(%31, %13)
            block0(%32 : int):
              %piece.5 : Tensor = aten::__getitem__(%30, %32)
              %wide.5 : Tensor = aten::empty_like(%piece.5, %9, %8, %8, %8, %8)
              %35 : NoneType = prim::CallFunction(%7, %wide.5, %mean.1, %std.1, %a.1, %b.1, %generator.1)
              %36 : Tensor = aten::copy_(%piece.5, %wide.5, %6)
              -> (%13)
          -> ()
        block1():
          %37 : NoneType = prim::CallFunction(%7, %values.5, %mean.1, %std.1, %a.1, %b.1, %generator.1)
          -> ()
      -> (%tensor.1)
  return (%19)
""",
    )


def test_graph_of_a_basic_function() -> None:
    assert_expected_inline(
        graph_text(scripted("constant_")),
        """\
graph(%tensor.1 : Tensor,
      %val.1 : float):
  %6 : Tensor = aten::detach(%tensor.1)
  %7 : Tensor = aten::fill_(%6, %val.1)
  return (%tensor.1)
""",
    )


def test_graph_of_a_scaled_function() -> None:
    assert_expected_inline(
        graph_text(scripted("xavier_normal_")),
        """\
graph(%tensor.1 : Tensor,
      %gain.1 : float,
      %generator.1 : Generator?):
  %5 : str = prim::Constant[value="normal_"]()
  %7 : float = prim::Constant[value=0.]()
  %8 : bool = prim::Constant[value=1]()
  %9 : NoneType = prim::Constant()
  %10 : str = prim::Constant[value="builtins.ValueError"]()
  %11 : str = prim::Constant[value="Fan in and fan out can not be computed for tensor with fewer than 2 dimensions, got shape {}"]()
  %12 : int = prim::Constant[value=2]()
  %receptive_field_size.1 : int = prim::Constant[value=1]()
  %14 : float = prim::Constant[value=2.]()
  %15 : float = prim::Constant[value=0.]()
  %16 : int = prim::Constant[value=0]()
  %18 : int = aten::dim(%tensor.1)
  %19 : bool = aten::lt(%18, %12)
   = prim::If(%19)
    block0():
      %20 : int[] = aten::size(%tensor.1)
      %21 : int[] = aten::list(%20)
      %22 : str = aten::format(%11, %21)
       = prim::RaiseException(%22, %10)
      -> ()
    block1():
      -> ()
  %23 : int = aten::dim(%tensor.1)
  %24 : bool = aten::gt(%23, %12)
  %receptive_field_size : int = prim::If(%24)
    block0():
      %26 : int[] = aten::size(%tensor.1)
      %27 : int[] = aten::slice(%26, %12, %9, %receptive_field_size.1)
      %28 : int = aten::len(%27)
      %receptive_field_size.15 : int = prim::Loop(%28, %8, %receptive_field_size.1)
        block0(%30 : int, %receptive_field_size.13 : int):
          %size.1 : int = aten::__getitem__(%27, %30)
          %receptive_field_size.5 : int = aten::mul(%receptive_field_size.13, %size.1)
          -> (%8, %receptive_field_size.5)
      -> (%receptive_field_size.15)
    block1():
      -> (%receptive_field_size.1)
  %34 : int = aten::size(%tensor.1, %receptive_field_size.1)
  %35 : int = aten::mul(%34, %receptive_field_size)
  %36 : int = aten::size(%tensor.1, %16)
  %37 : int = aten::mul(%36, %receptive_field_size)
  %38 : (int, int) = prim::TupleConstruct(%35, %37)
  %fan_in.1 : int, %fan_out.1 : int = prim::TupleUnpack(%38)
  %41 : int = aten::add(%fan_in.1, %fan_out.1)
  %42 : bool = aten::eq(%41, %16)
  %std.1 : float = prim::If(%42)
    block0():
      -> (%15)
    block1():
      %44 : int = aten::add(%fan_in.1, %fan_out.1)
      %45 : float = aten::Float(%44)
      %46 : float = aten::div(%14, %45)
      %47 : float = aten::sqrt(%46)
      %48 : float = aten::mul(%gain.1, %47)
      -> (%48)
  %49 : str = prim::Constant[value="an integer dtype"]()
  %50 : str = prim::Constant[value="torch.complex128"]()
  %51 : int = prim::Constant[value=10]()
  %52 : str = prim::Constant[value="torch.complex64"]()
  %53 : int = prim::Constant[value=9]()
  %54 : str = prim::Constant[value="torch.complex32"]()
  %55 : int = prim::Constant[value=8]()
  %56 : str = prim::Constant[value="torch.uint64"]()
  %57 : int = prim::Constant[value=29]()
  %58 : str = prim::Constant[value="torch.uint32"]()
  %59 : int = prim::Constant[value=28]()
  %60 : str = prim::Constant[value="torch.uint16"]()
  %61 : int = prim::Constant[value=27]()
  %62 : str = prim::Constant[value="torch.int64"]()
  %63 : int = prim::Constant[value=4]()
  %64 : str = prim::Constant[value="torch.int32"]()
  %65 : int = prim::Constant[value=3]()
  %66 : str = prim::Constant[value="torch.int16"]()
  %67 : int = prim::Constant[value=2]()
  %68 : str = prim::Constant[value="torch.int8"]()
  %69 : int = prim::Constant[value=1]()
  %70 : str = prim::Constant[value="torch.uint8"]()
  %71 : int = prim::Constant[value=0]()
  %72 : str = prim::Constant[value="torch.bool"]()
  %73 : int = prim::Constant[value=11]()
  %74 : bool = prim::Constant[value=1]()
  %75 : str = prim::Constant[value="{} needs a floating-point or complex tensor, got {}"]()
  %77 : str = prim::Constant[value="builtins.NotImplementedError"]()
  %79 : bool = aten::is_floating_point(%tensor.1)
  %80 : bool = prim::If(%79)
    block0():
      -> (%74)
    block1():
      %81 : bool = aten::is_complex(%tensor.1)
      -> (%81)
  %82 : bool = aten::__not__(%80)
   = prim::If(%82)
    block0():
      %names.1 : Dict(int, str) = prim::DictConstruct(%73, %72, %71, %70, %69, %68, %67, %66, %65, %64, %63, %62, %61, %60, %59, %58, %57, %56, %55, %54, %53, %52, %51, %50)
      %84 : int = prim::dtype(%tensor.1)
      %85 : str = aten::get(%names.1, %84, %49)
      %86 : str = aten::format(%75, %5, %85)
       = prim::RaiseException(%86, %77)
      -> ()
    block1():
      -> ()
  %90 : Tensor = aten::detach(%tensor.1)
  %91 : Tensor = aten::normal_(%90, %7, %std.1, %generator.1)
  return (%tensor.1)
""",
    )


def test_graph_of_a_structured_function() -> None:
    assert_expected_inline(
        graph_text(scripted("eye_")),
        """\
graph(%tensor.1 : Tensor):
  %2 : str = prim::Constant[value="builtins.ValueError"]()
  %3 : str = prim::Constant[value="Only tensors with 2 dimensions are supported, got shape {}"]()
  %4 : int = prim::Constant[value=2]()
  %5 : int = aten::dim(%tensor.1)
  %6 : bool = aten::ne(%5, %4)
   = prim::If(%6)
    block0():
      %7 : int[] = aten::size(%tensor.1)
      %8 : int[] = aten::list(%7)
      %9 : str = aten::format(%3, %8)
       = prim::RaiseException(%9, %2)
      -> ()
    block1():
      -> ()
  %matrix.1 : Tensor = aten::detach(%tensor.1)
  %11 : int[] = aten::size(%matrix.1)
  %rows.1 : int, %columns.1 : int = prim::ListUnpack(%11)
  %14 : Tensor = aten::eye(%rows.1, %columns.1, %matrix.1)
  return (%tensor.1)
""",
    )


def test_graph_of_a_deprecated_function() -> None:
    assert_expected_inline(
        graph_text(scripted("constant")),
        """\
graph(%tensor.1 : Tensor,
      %val.1 : float):
  %4 : str = prim::Constant[value="constant_"]()
  %5 : str = prim::Constant[value="constant"]()
  %6 : int = prim::Constant[value=2]()
  %7 : str = prim::Constant[value="`torchinit.{}` is now deprecated in favor of `torchinit.{}`."]()
  %message.1 : str = aten::format(%7, %5, %4)
   = aten::warn[](%message.1, %6)
  %14 : Tensor = aten::detach(%tensor.1)
  %15 : Tensor = aten::fill_(%14, %val.1)
  return (%tensor.1)
""",
    )


def test_graph_of_the_fans() -> None:
    assert_expected_inline(
        graph_text(scripted("_calculate_fan_in_and_fan_out")),
        """\
graph(%tensor.1 : Tensor):
  %1 : bool = prim::Constant[value=1]()
  %2 : NoneType = prim::Constant()
  %3 : str = prim::Constant[value="builtins.ValueError"]()
  %4 : str = prim::Constant[value="Fan in and fan out can not be computed for tensor with fewer than 2 dimensions, got shape {}"]()
  %5 : int = prim::Constant[value=2]()
  %receptive_field_size.1 : int = prim::Constant[value=1]()
  %7 : int = prim::Constant[value=0]()
  %8 : int = aten::dim(%tensor.1)
  %9 : bool = aten::lt(%8, %5)
   = prim::If(%9)
    block0():
      %10 : int[] = aten::size(%tensor.1)
      %11 : int[] = aten::list(%10)
      %12 : str = aten::format(%4, %11)
       = prim::RaiseException(%12, %3)
      -> ()
    block1():
      -> ()
  %13 : int = aten::dim(%tensor.1)
  %14 : bool = aten::gt(%13, %5)
  %receptive_field_size : int = prim::If(%14)
    block0():
      %16 : int[] = aten::size(%tensor.1)
      %17 : int[] = aten::slice(%16, %5, %2, %receptive_field_size.1)
      %18 : int = aten::len(%17)
      %receptive_field_size.15 : int = prim::Loop(%18, %1, %receptive_field_size.1)
        block0(%20 : int, %receptive_field_size.13 : int):
          %size.1 : int = aten::__getitem__(%17, %20)
          %receptive_field_size.5 : int = aten::mul(%receptive_field_size.13, %size.1)
          -> (%1, %receptive_field_size.5)
      -> (%receptive_field_size.15)
    block1():
      -> (%receptive_field_size.1)
  %24 : int = aten::size(%tensor.1, %receptive_field_size.1)
  %25 : int = aten::mul(%24, %receptive_field_size)
  %26 : int = aten::size(%tensor.1, %7)
  %27 : int = aten::mul(%26, %receptive_field_size)
  %28 : (int, int) = prim::TupleConstruct(%25, %27)
  return (%28)
""",
    )


def test_torch_itself_was_asked() -> None:
    # The guard of these tests: the forbidden kinds do show where a context manager is scripted.
    def guarded(tensor: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return tensor.zero_()

    assert "prim::Enter" in str(torch.jit.script(guarded).inlined_graph)
