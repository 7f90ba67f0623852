"""What do the compiled functions consist of?"""

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


@pytest.mark.parametrize(
    "name", [n for n, row in ROWS.items() if row.arguments[0].type == "Tensor" and n.endswith("_")]
)
def test_every_write_goes_through_detach(name: str) -> None:
    graph = scripted(name).inlined_graph
    writes = [
        node
        for kind in (
            "uniform_",
            "normal_",
            "fill_",
            "zero_",
            "copy_",
            "erfinv_",
            "mul_",
            "add_",
            "clamp_",
            "scatter_",
        )
        for node in graph.findAllNodes(f"aten::{kind}")
    ]
    assert writes
    fresh = {"aten::detach", "aten::empty_like", "aten::new_empty", "aten::to", "aten::linalg_qr", "prim::If"}
    views = {
        "aten::select",
        "aten::view",
        "aten::narrow",
        "aten::diagonal",
        "prim::Loop",
        "prim::TupleUnpack",
        "aten::t",
    }
    for write in writes:
        source = write.inputsAt(0).node()
        while source.kind() in views:
            source = source.inputsAt(2 if source.kind() == "prim::Loop" else 0).node()
        assert source.kind() in fresh, f"{name}: {write}"


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
  %4 : Tensor = aten::detach(%tensor.1)
  %5 : Tensor = aten::zero_(%4)
  return (%tensor.1)
""",
    )


def test_graph_of_trunc_normal_primitive() -> None:
    assert_expected_inline(
        graph_text(scripted("_no_grad_trunc_normal_")),
        """\
graph(%tensor.1 : Tensor,
      %mean.1 : float,
      %std.1 : float,
      %a.1 : float,
      %b.1 : float,
      %generator.1 : Generator?):
  %9 : NoneType = prim::Constant()
  %10 : int = prim::Constant[value=6]()
  %13 : int = prim::Constant[value=15]()
  %14 : bool = prim::Constant[value=1]()
  %15 : int = prim::Constant[value=5]()
  %17 : float = prim::Constant[value=0.]()
  %18 : bool = aten::eq(%std.1, %17)
  %19 : Tensor = prim::If(%18)
    block0():
      %20 : float = prim::max(%a.1, %mean.1)
      %21 : float = prim::min(%b.1, %20)
      %25 : Tensor = aten::detach(%tensor.1)
      %26 : Tensor = aten::fill_(%25, %21)
      -> (%tensor.1)
    block1():
      %27 : int = prim::dtype(%tensor.1)
      %28 : bool = aten::eq(%27, %15)
      %29 : bool = prim::If(%28)
        block0():
          -> (%14)
        block1():
          %30 : int = prim::dtype(%tensor.1)
          %31 : bool = aten::eq(%30, %13)
          -> (%31)
      %32 : Tensor = prim::If(%29)
        block0():
          %34 : int = prim::Constant[value=0]()
          %35 : int = prim::Constant[value=1]()
          %36 : bool = prim::Constant[value=1]()
          %37 : bool = prim::Constant[value=0]()
          %38 : str = prim::Constant[value="unsupported operation: more than one element of the written-to tensor refers to a single memory location, got shape {} with strides {}"]()
          %39 : str = prim::Constant[value="builtins.RuntimeError"]()
          %41 : int[] = aten::size(%tensor.1)
          %42 : int[] = aten::stride(%tensor.1)
          %43 : int = aten::len(%41)
          %44 : int = aten::len(%42)
          %45 : int[] = prim::ListConstruct(%43, %44)
          %46 : int = prim::min(%45)
           = prim::Loop(%46, %36)
            block0(%47 : int):
              %size.1 : int = aten::__getitem__(%41, %47)
              %stride.1 : int = aten::__getitem__(%42, %47)
              %50 : bool = aten::gt(%size.1, %35)
              %51 : bool = prim::If(%50)
                block0():
                  %52 : bool = aten::eq(%stride.1, %34)
                  -> (%52)
                block1():
                  -> (%37)
               = prim::If(%51)
                block0():
                  %53 : int[] = aten::size(%tensor.1)
                  %54 : int[] = aten::list(%53)
                  %55 : int[] = aten::stride(%tensor.1)
                  %56 : int[] = aten::list(%55)
                  %57 : str = aten::format(%38, %54, %56)
                   = prim::RaiseException(%57, %39)
                  -> ()
                block1():
                  -> ()
              -> (%36)
          %values.5 : Tensor = aten::empty_like(%tensor.1, %10, %9, %9, %9, %9)
          %59 : float = prim::Constant[value=1.]()
          %60 : float = prim::Constant[value=2.]()
          %61 : float = prim::Constant[value=5.5415222072999999]()
          %62 : float = prim::Constant[value=8.2923610758135968]()
          %63 : int = prim::Constant[value=1]()
          %64 : int = prim::Constant[value=2]()
          %66 : float = prim::Constant[value=1.4142135623730951]()
          %67 : int = prim::Constant[value=7]()
          %69 : float = aten::sub(%a.1, %mean.1)
          %70 : float = aten::div(%69, %std.1)
          %71 : float = aten::div(%70, %66)
          %72 : float = aten::erf(%71)
          %73 : float = aten::add(%59, %72)
          %lower.2 : float = aten::div(%73, %60)
          %75 : float = aten::sub(%b.1, %mean.1)
          %76 : float = aten::div(%75, %std.1)
          %77 : float = aten::div(%76, %66)
          %78 : float = aten::erf(%77)
          %79 : float = aten::add(%59, %78)
          %upper.2 : float = aten::div(%79, %60)
          %81 : float = aten::mul(%64, %lower.2)
          %82 : float = aten::sub(%81, %63)
          %83 : float = aten::mul(%64, %upper.2)
          %84 : float = aten::sub(%83, %63)
          %85 : Tensor = aten::uniform_(%values.5, %82, %84, %generator.1)
          %86 : Tensor = aten::erfinv_(%values.5)
          %87 : float = aten::mul(%std.1, %66)
          %88 : Tensor = aten::mul_(%values.5, %87)
          %89 : Tensor = aten::add_(%values.5, %mean.1, %63)
          %90 : int = prim::dtype(%values.5)
          %91 : bool = aten::eq(%90, %67)
          %92 : float = prim::If(%91)
            block0():
              -> (%62)
            block1():
              -> (%61)
          %reach.2 : float = aten::mul(%92, %std.1)
          %94 : float = aten::sub(%mean.1, %reach.2)
          %95 : float = prim::min(%b.1, %94)
          %96 : float = prim::max(%a.1, %95)
          %97 : float = aten::add(%mean.1, %reach.2)
          %98 : float = prim::max(%a.1, %97)
          %99 : float = prim::min(%b.1, %98)
          %100 : Tensor = aten::clamp_(%values.5, %96, %99)
          %104 : bool = prim::Constant[value=0]()
          %105 : Tensor = aten::detach(%tensor.1)
          %106 : Tensor = aten::copy_(%105, %values.5, %104)
          -> (%tensor.1)
        block1():
          %109 : Tensor = aten::detach(%tensor.1)
          %110 : float = prim::Constant[value=1.]()
          %111 : float = prim::Constant[value=2.]()
          %112 : float = prim::Constant[value=5.5415222072999999]()
          %113 : float = prim::Constant[value=8.2923610758135968]()
          %114 : int = prim::Constant[value=1]()
          %115 : int = prim::Constant[value=2]()
          %117 : float = prim::Constant[value=1.4142135623730951]()
          %118 : int = prim::Constant[value=7]()
          %120 : float = aten::sub(%a.1, %mean.1)
          %121 : float = aten::div(%120, %std.1)
          %122 : float = aten::div(%121, %117)
          %123 : float = aten::erf(%122)
          %124 : float = aten::add(%110, %123)
          %lower.1 : float = aten::div(%124, %111)
          %126 : float = aten::sub(%b.1, %mean.1)
          %127 : float = aten::div(%126, %std.1)
          %128 : float = aten::div(%127, %117)
          %129 : float = aten::erf(%128)
          %130 : float = aten::add(%110, %129)
          %upper.1 : float = aten::div(%130, %111)
          %132 : float = aten::mul(%115, %lower.1)
          %133 : float = aten::sub(%132, %114)
          %134 : float = aten::mul(%115, %upper.1)
          %135 : float = aten::sub(%134, %114)
          %136 : Tensor = aten::uniform_(%109, %133, %135, %generator.1)
          %137 : Tensor = aten::erfinv_(%109)
          %138 : float = aten::mul(%std.1, %117)
          %139 : Tensor = aten::mul_(%109, %138)
          %140 : Tensor = aten::add_(%109, %mean.1, %114)
          %141 : int = prim::dtype(%109)
          %142 : bool = aten::eq(%141, %118)
          %143 : float = prim::If(%142)
            block0():
              -> (%113)
            block1():
              -> (%112)
          %reach.1 : float = aten::mul(%143, %std.1)
          %145 : float = aten::sub(%mean.1, %reach.1)
          %146 : float = prim::min(%b.1, %145)
          %147 : float = prim::max(%a.1, %146)
          %148 : float = aten::add(%mean.1, %reach.1)
          %149 : float = prim::max(%a.1, %148)
          %150 : float = prim::min(%b.1, %149)
          %151 : Tensor = aten::clamp_(%109, %147, %150)
          -> (%tensor.1)
      -> (%32)
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
  %23 : int[] = aten::size(%tensor.1)
  %24 : int[] = aten::slice(%23, %12, %9, %receptive_field_size.1)
  %25 : int = aten::len(%24)
  %receptive_field_size : int = prim::Loop(%25, %8, %receptive_field_size.1)
    block0(%27 : int, %receptive_field_size.13 : int):
      %size.1 : int = aten::__getitem__(%24, %27)
      %receptive_field_size.5 : int = aten::mul(%receptive_field_size.13, %size.1)
      -> (%8, %receptive_field_size.5)
  %31 : int = aten::size(%tensor.1, %receptive_field_size.1)
  %32 : int = aten::mul(%31, %receptive_field_size)
  %33 : int = aten::size(%tensor.1, %16)
  %34 : int = aten::mul(%33, %receptive_field_size)
  %35 : (int, int) = prim::TupleConstruct(%32, %34)
  %fan_in.1 : int, %fan_out.1 : int = prim::TupleUnpack(%35)
  %38 : int = aten::add(%fan_in.1, %fan_out.1)
  %39 : bool = aten::eq(%38, %16)
  %std.1 : float = prim::If(%39)
    block0():
      -> (%15)
    block1():
      %41 : int = aten::add(%fan_in.1, %fan_out.1)
      %42 : float = aten::Float(%41)
      %43 : float = aten::div(%14, %42)
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
  %3 : int = prim::Constant[value=1]()
  %4 : int = prim::Constant[value=2]()
  %5 : str = prim::Constant[value="Only tensors with 2 dimensions are supported, got shape {}"]()
  %6 : str = prim::Constant[value="builtins.ValueError"]()
  %8 : int = aten::dim(%tensor.1)
  %9 : bool = aten::ne(%8, %4)
   = prim::If(%9)
    block0():
      %10 : int[] = aten::size(%tensor.1)
      %11 : int[] = aten::list(%10)
      %12 : str = aten::format(%5, %11)
       = prim::RaiseException(%12, %6)
      -> ()
    block1():
      -> ()
  %14 : float = prim::Constant[value=1.]()
  %15 : int = prim::Constant[value=1]()
  %16 : int = prim::Constant[value=2]()
  %17 : int = prim::Constant[value=0]()
  %19 : NoneType = prim::Constant()
  %20 : bool = prim::Constant[value=1]()
  %weight.1 : Tensor = aten::detach(%tensor.1)
  %22 : Tensor = aten::zero_(%weight.1)
  %23 : int = aten::numel(%weight.1)
  %24 : bool = aten::gt(%23, %17)
   = prim::If(%24)
    block0():
      %25 : int[] = aten::size(%weight.1)
      %26 : int[] = aten::slice(%25, %16, %19, %15)
      %27 : int = aten::len(%26)
      %weight.23 : Tensor = prim::Loop(%27, %20, %weight.1)
        block0(%29 : int, %weight.21 : Tensor):
          %size.1 : int = aten::__getitem__(%26, %29)
          %32 : int = aten::floordiv(%size.1, %16)
          %weight.11 : Tensor = aten::select(%weight.21, %16, %32)
          -> (%20, %weight.11)
      %34 : int = aten::size(%weight.23, %17)
      %35 : int = aten::floordiv(%34, %3)
      %36 : int = aten::size(%weight.23, %15)
      %37 : int[] = prim::ListConstruct(%3, %35, %36)
      %38 : Tensor = aten::view(%weight.23, %37)
      %39 : Tensor = aten::diagonal(%38, %17, %15, %16)
      %40 : Tensor = aten::fill_(%39, %14)
      -> ()
    block1():
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
  %13 : int[] = aten::size(%tensor.1)
  %14 : int[] = aten::slice(%13, %5, %2, %receptive_field_size.1)
  %15 : int = aten::len(%14)
  %receptive_field_size : int = prim::Loop(%15, %1, %receptive_field_size.1)
    block0(%17 : int, %receptive_field_size.13 : int):
      %size.1 : int = aten::__getitem__(%14, %17)
      %receptive_field_size.5 : int = aten::mul(%receptive_field_size.13, %size.1)
      -> (%1, %receptive_field_size.5)
  %21 : int = aten::size(%tensor.1, %receptive_field_size.1)
  %22 : int = aten::mul(%21, %receptive_field_size)
  %23 : int = aten::size(%tensor.1, %7)
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
