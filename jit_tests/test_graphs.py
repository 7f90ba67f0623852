"""What do the compiled functions consist of?"""

from typing import Any

import pytest
import torch
from expecttest import assert_expected_inline

from jit_tests.scripting import graph_text, scripted
from tests.support.records import DEPRECATED, ROWS


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
  %3 : Tensor = aten::detach(%tensor.1)
  %4 : Tensor = aten::fill_(%3, %val.1)
  return (%tensor.1)
""",
    )


def test_graph_of_zero_primitive() -> None:
    assert_expected_inline(
        graph_text(scripted("_no_grad_zero_")),
        """\
graph(%tensor.1 : Tensor):
  %weight.1 : Tensor = aten::detach(%tensor.1)
  %3 : bool = prim::is_sparse(%weight.1)
   = prim::If(%3)
    block0():
      %4 : Tensor = aten::_values(%weight.1)
      %5 : Tensor = aten::zero_(%4)
      -> ()
    block1():
      %6 : Tensor = aten::zero_(%weight.1)
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
      %22 : float = aten::add(%21, %17)
      %23 : Tensor = prim::CallFunction(%16, %tensor.1, %22)
      -> (%23)
    block1():
      %values.5 : Tensor = prim::CallFunction(%15, %tensor.1)
      %25 : int = prim::dtype(%tensor.1)
      %26 : bool = aten::eq(%25, %14)
      %27 : bool = prim::If(%26)
        block0():
          -> (%13)
        block1():
          %28 : int = prim::dtype(%tensor.1)
          %29 : bool = aten::eq(%28, %12)
          -> (%29)
       = prim::If(%27)
        block0():
          %30 : NoneType = prim::CallFunction(%11, %tensor.1)
          %31 : Tensor[] = prim::CallFunction(%10, %values.5)
          %32 : int = aten::len(%31)
           = prim::Loop(%32, %13)
            block0(%33 : int):
              %piece.5 : Tensor = aten::__getitem__(%31, %33)
              %wide.5 : Tensor = aten::empty_like(%piece.5, %9, %8, %8, %8, %8)
              %36 : NoneType = prim::CallFunction(%7, %wide.5, %mean.1, %std.1, %a.1, %b.1, %generator.1)
              %37 : Tensor = aten::copy_(%piece.5, %wide.5, %6)
              -> (%13)
          -> ()
        block1():
          %38 : NoneType = prim::CallFunction(%7, %values.5, %mean.1, %std.1, %a.1, %b.1, %generator.1)
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
  %4 : Tensor = aten::detach(%tensor.1)
  %5 : Tensor = aten::fill_(%4, %val.1)
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
  %5 : bool = prim::Constant[value=1]()
  %6 : NoneType = prim::Constant()
  %7 : str = prim::Constant[value="builtins.ValueError"]()
  %8 : str = prim::Constant[value="Fan in and fan out can not be computed for tensor with fewer than 2 dimensions, got shape {}"]()
  %10 : int = prim::Constant[value=2]()
  %receptive_field_size.1 : int = prim::Constant[value=1]()
  %12 : float = prim::Constant[value=2.]()
  %13 : float = prim::Constant[value=0.]()
  %14 : int = prim::Constant[value=0]()
  %16 : int = aten::dim(%tensor.1)
  %17 : bool = aten::lt(%16, %10)
   = prim::If(%17)
    block0():
      %18 : int[] = aten::size(%tensor.1)
      %19 : int[] = aten::list(%18)
      %20 : str = aten::format(%8, %19)
       = prim::RaiseException(%20, %7)
      -> ()
    block1():
      -> ()
  %shape.1 : int[] = aten::size(%tensor.1)
  %22 : int = aten::len(%shape.1)
  %23 : bool = aten::gt(%22, %10)
  %receptive_field_size : int = prim::If(%23)
    block0():
      %25 : int[] = aten::slice(%shape.1, %10, %6, %receptive_field_size.1)
      %26 : int = aten::len(%25)
      %receptive_field_size.15 : int = prim::Loop(%26, %5, %receptive_field_size.1)
        block0(%28 : int, %receptive_field_size.13 : int):
          %size.1 : int = aten::__getitem__(%25, %28)
          %receptive_field_size.5 : int = aten::mul(%receptive_field_size.13, %size.1)
          -> (%5, %receptive_field_size.5)
      -> (%receptive_field_size.15)
    block1():
      -> (%receptive_field_size.1)
  %32 : int = aten::__getitem__(%shape.1, %receptive_field_size.1)
  %33 : int = aten::mul(%32, %receptive_field_size)
  %34 : int = aten::__getitem__(%shape.1, %14)
  %35 : int = aten::mul(%34, %receptive_field_size)
  %36 : (int, int) = prim::TupleConstruct(%33, %35)
  %fan_in.1 : int, %fan_out.1 : int = prim::TupleUnpack(%36)
  %fans.1 : int = aten::add(%fan_in.1, %fan_out.1)
  %40 : bool = aten::eq(%fans.1, %14)
  %std.1 : float = prim::If(%40)
    block0():
      -> (%13)
    block1():
      %42 : float = aten::Float(%fans.1)
      %43 : float = aten::div(%12, %42)
      %44 : float = aten::sqrt(%43)
      %45 : float = aten::mul(%gain.1, %44)
      -> (%45)
  %47 : str = prim::Constant[value="builtins.NotImplementedError"]()
  %49 : str = prim::Constant[value="{} needs a floating-point or complex tensor, got {}"]()
  %50 : bool = prim::Constant[value=1]()
  %51 : int = prim::Constant[value=11]()
  %52 : str = prim::Constant[value="torch.bool"]()
  %53 : int = prim::Constant[value=0]()
  %54 : str = prim::Constant[value="torch.uint8"]()
  %55 : int = prim::Constant[value=1]()
  %56 : str = prim::Constant[value="torch.int8"]()
  %57 : int = prim::Constant[value=2]()
  %58 : str = prim::Constant[value="torch.int16"]()
  %59 : int = prim::Constant[value=3]()
  %60 : str = prim::Constant[value="torch.int32"]()
  %61 : int = prim::Constant[value=4]()
  %62 : str = prim::Constant[value="torch.int64"]()
  %63 : int = prim::Constant[value=27]()
  %64 : str = prim::Constant[value="torch.uint16"]()
  %65 : int = prim::Constant[value=28]()
  %66 : str = prim::Constant[value="torch.uint32"]()
  %67 : int = prim::Constant[value=29]()
  %68 : str = prim::Constant[value="torch.uint64"]()
  %69 : int = prim::Constant[value=8]()
  %70 : str = prim::Constant[value="torch.complex32"]()
  %71 : int = prim::Constant[value=9]()
  %72 : str = prim::Constant[value="torch.complex64"]()
  %73 : int = prim::Constant[value=10]()
  %74 : str = prim::Constant[value="torch.complex128"]()
  %75 : str = prim::Constant[value="an integer dtype"]()
  %76 : float = prim::Constant[value=0.]()
  %77 : str = prim::Constant[value="normal_"]()
  %80 : bool = aten::is_floating_point(%tensor.1)
  %81 : bool = aten::__not__(%80)
   = prim::If(%81)
    block0():
      %82 : bool = aten::is_floating_point(%tensor.1)
      %83 : bool = prim::If(%82)
        block0():
          -> (%50)
        block1():
          %84 : bool = aten::is_complex(%tensor.1)
          -> (%84)
      %85 : bool = aten::__not__(%83)
       = prim::If(%85)
        block0():
          %names.1 : Dict(int, str) = prim::DictConstruct(%51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74)
          %87 : int = prim::dtype(%tensor.1)
          %88 : str = aten::get(%names.1, %87, %75)
          %89 : str = aten::format(%49, %77, %88)
           = prim::RaiseException(%89, %47)
          -> ()
        block1():
          -> ()
      -> ()
    block1():
      -> ()
  %90 : Tensor = aten::detach(%tensor.1)
  %91 : Tensor = aten::normal_(%90, %76, %std.1, %generator.1)
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
  %5 : int = prim::Constant[value=2]()
  %6 : int = aten::dim(%tensor.1)
  %7 : bool = aten::ne(%6, %5)
   = prim::If(%7)
    block0():
      %9 : int[] = aten::size(%tensor.1)
      %10 : int[] = aten::list(%9)
      %11 : str = aten::format(%3, %10)
       = prim::RaiseException(%11, %2)
      -> ()
    block1():
      -> ()
  %12 : str = prim::Constant[value="builtins.RuntimeError"]()
  %13 : str = prim::Constant[value="unsupported operation: more than one element of the written-to tensor refers to a single memory location, got shape {} with strides {}"]()
  %14 : bool = prim::Constant[value=1]()
  %15 : int = prim::Constant[value=1]()
  %16 : int = prim::Constant[value=0]()
  %18 : bool = prim::Constant[value=0]()
  %19 : NoneType = prim::Constant()
  %20 : int[] = aten::size(%tensor.1)
  %rows.1 : int, %columns.1 : int = prim::ListUnpack(%20)
  %23 : int[] = aten::stride(%tensor.1)
  %24 : bool = aten::__contains__(%23, %16)
   = prim::If(%24)
    block0():
      %25 : int[] = aten::stride(%tensor.1)
      %26 : bool = aten::__contains__(%25, %16)
      %27 : bool = aten::__not__(%26)
       = prim::If(%27)
        block0():
          -> ()
        block1():
          %28 : int[] = aten::size(%tensor.1)
          %29 : int[] = aten::stride(%tensor.1)
          %30 : int = aten::len(%28)
          %31 : int = aten::len(%29)
          %32 : int[] = prim::ListConstruct(%30, %31)
          %33 : int = prim::min(%32)
           = prim::Loop(%33, %14)
            block0(%34 : int):
              %size.3 : int = aten::__getitem__(%28, %34)
              %stride.3 : int = aten::__getitem__(%29, %34)
              %37 : bool = aten::gt(%size.3, %15)
              %38 : bool = prim::If(%37)
                block0():
                  %39 : bool = aten::eq(%stride.3, %16)
                  -> (%39)
                block1():
                  -> (%18)
              %40 : bool = prim::If(%38)
                block0():
                  %41 : int = aten::numel(%tensor.1)
                  %42 : bool = aten::gt(%41, %16)
                  -> (%42)
                block1():
                  -> (%18)
               = prim::If(%40)
                block0():
                  %43 : int[] = aten::size(%tensor.1)
                  %44 : int[] = aten::list(%43)
                  %45 : int[] = aten::stride(%tensor.1)
                  %46 : int[] = aten::list(%45)
                  %47 : str = aten::format(%13, %44, %46)
                   = prim::RaiseException(%47, %12)
                  -> ()
                block1():
                  -> ()
              -> (%14)
          -> ()
      -> ()
    block1():
      -> ()
  %48 : bool = aten::is_floating_point(%tensor.1)
  %49 : bool = prim::If(%48)
    block0():
      %50 : int = aten::element_size(%tensor.1)
      %51 : bool = aten::gt(%50, %15)
      -> (%51)
    block1():
      -> (%18)
   = prim::If(%49)
    block0():
      %52 : Tensor = aten::detach(%tensor.1)
      %53 : Tensor = aten::eye(%rows.1, %columns.1, %52)
      -> ()
    block1():
      %54 : Tensor = aten::detach(%tensor.1)
      %55 : Device = prim::device(%tensor.1)
      %56 : Tensor = aten::eye(%rows.1, %columns.1, %19, %19, %55, %19)
      %57 : Tensor = aten::copy_(%54, %56, %18)
      -> ()
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
  %12 : Tensor = aten::detach(%tensor.1)
  %13 : Tensor = aten::fill_(%12, %val.1)
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
  %6 : int = prim::Constant[value=2]()
  %receptive_field_size.1 : int = prim::Constant[value=1]()
  %8 : int = prim::Constant[value=0]()
  %9 : int = aten::dim(%tensor.1)
  %10 : bool = aten::lt(%9, %6)
   = prim::If(%10)
    block0():
      %12 : int[] = aten::size(%tensor.1)
      %13 : int[] = aten::list(%12)
      %14 : str = aten::format(%4, %13)
       = prim::RaiseException(%14, %3)
      -> ()
    block1():
      -> ()
  %shape.1 : int[] = aten::size(%tensor.1)
  %16 : int = aten::len(%shape.1)
  %17 : bool = aten::gt(%16, %6)
  %receptive_field_size : int = prim::If(%17)
    block0():
      %19 : int[] = aten::slice(%shape.1, %6, %2, %receptive_field_size.1)
      %20 : int = aten::len(%19)
      %receptive_field_size.15 : int = prim::Loop(%20, %1, %receptive_field_size.1)
        block0(%22 : int, %receptive_field_size.13 : int):
          %size.1 : int = aten::__getitem__(%19, %22)
          %receptive_field_size.5 : int = aten::mul(%receptive_field_size.13, %size.1)
          -> (%1, %receptive_field_size.5)
      -> (%receptive_field_size.15)
    block1():
      -> (%receptive_field_size.1)
  %26 : int = aten::__getitem__(%shape.1, %receptive_field_size.1)
  %27 : int = aten::mul(%26, %receptive_field_size)
  %28 : int = aten::__getitem__(%shape.1, %8)
  %29 : int = aten::mul(%28, %receptive_field_size)
  %30 : (int, int) = prim::TupleConstruct(%27, %29)
  return (%30)
""",
    )


def test_torch_itself_was_asked() -> None:
    # The guard of these tests: the forbidden kinds do show where a context manager is scripted.
    def guarded(tensor: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return tensor.zero_()

    assert "prim::Enter" in str(torch.jit.script(guarded).inlined_graph)
