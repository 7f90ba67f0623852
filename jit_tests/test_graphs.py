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
  %9 : str = prim::Constant[value="builtins.ValueError"]()
  %10 : str = prim::Constant[value="Fan in and fan out can not be computed for tensor with fewer than 2 dimensions, got shape {}"]()
  %11 : int = prim::Constant[value=2]()
  %receptive_field_size.1 : int = prim::Constant[value=1]()
  %13 : float = prim::Constant[value=2.]()
  %14 : float = prim::Constant[value=0.]()
  %15 : int = prim::Constant[value=0]()
  %17 : int = aten::dim(%tensor.1)
  %18 : bool = aten::lt(%17, %11)
   = prim::If(%18)
    block0():
      %19 : int[] = aten::size(%tensor.1)
      %20 : int[] = aten::list(%19)
      %21 : str = aten::format(%10, %20)
       = prim::RaiseException(%21, %9)
      -> ()
    block1():
      -> ()
  %shape.1 : int[] = aten::size(%tensor.1)
  %23 : int = aten::len(%shape.1)
  %24 : int = aten::__range_length(%11, %23, %receptive_field_size.1)
  %receptive_field_size : int = prim::Loop(%24, %8, %receptive_field_size.1)
    block0(%26 : int, %receptive_field_size.13 : int):
      %i.1 : int = aten::__derive_index(%26, %11, %receptive_field_size.1)
      %29 : int = aten::__getitem__(%shape.1, %i.1)
      %receptive_field_size.5 : int = aten::mul(%receptive_field_size.13, %29)
      -> (%8, %receptive_field_size.5)
  %31 : int = aten::__getitem__(%shape.1, %receptive_field_size.1)
  %32 : int = aten::mul(%31, %receptive_field_size)
  %33 : int = aten::__getitem__(%shape.1, %15)
  %34 : int = aten::mul(%33, %receptive_field_size)
  %35 : (int, int) = prim::TupleConstruct(%32, %34)
  %fan_in.1 : int, %fan_out.1 : int = prim::TupleUnpack(%35)
  %38 : int = aten::add(%fan_in.1, %fan_out.1)
  %39 : bool = aten::eq(%38, %15)
  %std.1 : float = prim::If(%39)
    block0():
      -> (%14)
    block1():
      %41 : int = aten::add(%fan_in.1, %fan_out.1)
      %42 : float = aten::Float(%41)
      %43 : float = aten::div(%13, %42)
      %44 : float = aten::sqrt(%43)
      %45 : float = aten::mul(%gain.1, %44)
      -> (%45)
  %46 : str = prim::Constant[value="an integer dtype"]()
  %47 : str = prim::Constant[value="torch.complex128"]()
  %48 : int = prim::Constant[value=10]()
  %49 : str = prim::Constant[value="torch.complex64"]()
  %50 : int = prim::Constant[value=9]()
  %51 : str = prim::Constant[value="torch.complex32"]()
  %52 : int = prim::Constant[value=8]()
  %53 : str = prim::Constant[value="torch.uint64"]()
  %54 : int = prim::Constant[value=29]()
  %55 : str = prim::Constant[value="torch.uint32"]()
  %56 : int = prim::Constant[value=28]()
  %57 : str = prim::Constant[value="torch.uint16"]()
  %58 : int = prim::Constant[value=27]()
  %59 : str = prim::Constant[value="torch.int64"]()
  %60 : int = prim::Constant[value=4]()
  %61 : str = prim::Constant[value="torch.int32"]()
  %62 : int = prim::Constant[value=3]()
  %63 : str = prim::Constant[value="torch.int16"]()
  %64 : int = prim::Constant[value=2]()
  %65 : str = prim::Constant[value="torch.int8"]()
  %66 : int = prim::Constant[value=1]()
  %67 : str = prim::Constant[value="torch.uint8"]()
  %68 : int = prim::Constant[value=0]()
  %69 : str = prim::Constant[value="torch.bool"]()
  %70 : int = prim::Constant[value=11]()
  %71 : bool = prim::Constant[value=1]()
  %72 : str = prim::Constant[value="{} needs a floating-point or complex tensor, got {}"]()
  %74 : str = prim::Constant[value="builtins.NotImplementedError"]()
  %76 : bool = aten::is_floating_point(%tensor.1)
  %77 : bool = prim::If(%76)
    block0():
      -> (%71)
    block1():
      %78 : bool = aten::is_complex(%tensor.1)
      -> (%78)
  %79 : bool = aten::__not__(%77)
   = prim::If(%79)
    block0():
      %names.1 : Dict(int, str) = prim::DictConstruct(%70, %69, %68, %67, %66, %65, %64, %63, %62, %61, %60, %59, %58, %57, %56, %55, %54, %53, %52, %51, %50, %49, %48, %47)
      %81 : int = prim::dtype(%tensor.1)
      %82 : str = aten::get(%names.1, %81, %46)
      %83 : str = aten::format(%72, %5, %82)
       = prim::RaiseException(%83, %74)
      -> ()
    block1():
      -> ()
  %87 : Tensor = aten::detach(%tensor.1)
  %88 : Tensor = aten::normal_(%87, %7, %std.1, %generator.1)
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
  %2 : str = prim::Constant[value="builtins.ValueError"]()
  %3 : str = prim::Constant[value="Fan in and fan out can not be computed for tensor with fewer than 2 dimensions, got shape {}"]()
  %4 : int = prim::Constant[value=2]()
  %receptive_field_size.1 : int = prim::Constant[value=1]()
  %6 : int = prim::Constant[value=0]()
  %7 : int = aten::dim(%tensor.1)
  %8 : bool = aten::lt(%7, %4)
   = prim::If(%8)
    block0():
      %9 : int[] = aten::size(%tensor.1)
      %10 : int[] = aten::list(%9)
      %11 : str = aten::format(%3, %10)
       = prim::RaiseException(%11, %2)
      -> ()
    block1():
      -> ()
  %shape.1 : int[] = aten::size(%tensor.1)
  %13 : int = aten::len(%shape.1)
  %14 : int = aten::__range_length(%4, %13, %receptive_field_size.1)
  %receptive_field_size : int = prim::Loop(%14, %1, %receptive_field_size.1)
    block0(%16 : int, %receptive_field_size.13 : int):
      %i.1 : int = aten::__derive_index(%16, %4, %receptive_field_size.1)
      %19 : int = aten::__getitem__(%shape.1, %i.1)
      %receptive_field_size.5 : int = aten::mul(%receptive_field_size.13, %19)
      -> (%1, %receptive_field_size.5)
  %21 : int = aten::__getitem__(%shape.1, %receptive_field_size.1)
  %22 : int = aten::mul(%21, %receptive_field_size)
  %23 : int = aten::__getitem__(%shape.1, %6)
  %24 : int = aten::mul(%23, %receptive_field_size)
  %25 : (int, int) = prim::TupleConstruct(%22, %24)
  return (%25)
""",
    )


def test_torch_itself_was_asked() -> None:
    # The guard of these tests: the forbidden kinds do show where a context manager is scripted.
    def guarded(tensor: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return tensor.zero_()

    assert "prim::Enter" in str(torch.jit.script(guarded).inlined_graph)
