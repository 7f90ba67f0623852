"""Are the graphs of public functions the reviewed ones, one for each kind of function?"""

from expecttest import assert_expected_inline

from jit_tests.scripting import graph_text, scripted


def test_graph_of_a_basic_function() -> None:
    assert_expected_inline(
        graph_text(scripted("constant_")),
        """\
graph(%tensor.1 : Tensor,
      %val.1 : float):
  %3 : Tensor = aten::detach(%tensor.1)
  %4 : Tensor = aten::fill_(%3, %val.1)
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
  %5 : str = prim::Constant[value="xavier_normal_"]()
  %7 : int = prim::Constant[value=0]()
  %receptive_field_size.1 : int = prim::Constant[value=1]()
  %9 : int = prim::Constant[value=2]()
  %11 : str = prim::Constant[value="Fan in and fan out can not be computed for tensor with fewer than 2 dimensions, got shape {}"]()
  %12 : str = prim::Constant[value="builtins.ValueError"]()
  %13 : NoneType = prim::Constant()
  %14 : bool = prim::Constant[value=1]()
  %15 : int = aten::dim(%tensor.1)
  %16 : bool = aten::lt(%15, %9)
   = prim::If(%16)
    block0():
      %17 : int[] = aten::size(%tensor.1)
      %18 : int[] = aten::list(%17)
      %19 : str = aten::format(%11, %18)
       = prim::RaiseException(%19, %12)
      -> ()
    block1():
      -> ()
  %shape.1 : int[] = aten::size(%tensor.1)
  %21 : int = aten::len(%shape.1)
  %22 : bool = aten::gt(%21, %9)
  %receptive_field_size : int = prim::If(%22)
    block0():
      %24 : int[] = aten::slice(%shape.1, %9, %13, %receptive_field_size.1)
      %25 : int = aten::len(%24)
      %receptive_field_size.15 : int = prim::Loop(%25, %14, %receptive_field_size.1)
        block0(%27 : int, %receptive_field_size.13 : int):
          %size.1 : int = aten::__getitem__(%24, %27)
          %receptive_field_size.5 : int = aten::mul(%receptive_field_size.13, %size.1)
          -> (%14, %receptive_field_size.5)
      -> (%receptive_field_size.15)
    block1():
      -> (%receptive_field_size.1)
  %31 : int = aten::__getitem__(%shape.1, %receptive_field_size.1)
  %32 : int = aten::mul(%31, %receptive_field_size)
  %33 : int = aten::__getitem__(%shape.1, %7)
  %34 : int = aten::mul(%33, %receptive_field_size)
  %35 : (int, int) = prim::TupleConstruct(%32, %34)
  %fan_in.1 : int, %fan_out.1 : int = prim::TupleUnpack(%35)
  %39 : float = prim::Constant[value=2.]()
  %40 : float = prim::Constant[value=0.]()
  %41 : int = prim::Constant[value=0]()
  %fans.1 : int = aten::add(%fan_in.1, %fan_out.1)
  %46 : bool = aten::eq(%fans.1, %41)
  %47 : float = prim::If(%46)
    block0():
      -> (%40)
    block1():
      %50 : float = aten::Float(%fans.1)
      %51 : float = aten::div(%39, %50)
      %52 : float = aten::sqrt(%51)
      %53 : float = aten::mul(%gain.1, %52)
      -> (%53)
  %55 : str = prim::Constant[value="builtins.NotImplementedError"]()
  %57 : str = prim::Constant[value="{} needs a floating-point or complex tensor, got {}"]()
  %58 : bool = prim::Constant[value=1]()
  %59 : int = prim::Constant[value=11]()
  %60 : str = prim::Constant[value="torch.bool"]()
  %61 : int = prim::Constant[value=0]()
  %62 : str = prim::Constant[value="torch.uint8"]()
  %63 : int = prim::Constant[value=1]()
  %64 : str = prim::Constant[value="torch.int8"]()
  %65 : int = prim::Constant[value=2]()
  %66 : str = prim::Constant[value="torch.int16"]()
  %67 : int = prim::Constant[value=3]()
  %68 : str = prim::Constant[value="torch.int32"]()
  %69 : int = prim::Constant[value=4]()
  %70 : str = prim::Constant[value="torch.int64"]()
  %71 : int = prim::Constant[value=27]()
  %72 : str = prim::Constant[value="torch.uint16"]()
  %73 : int = prim::Constant[value=28]()
  %74 : str = prim::Constant[value="torch.uint32"]()
  %75 : int = prim::Constant[value=29]()
  %76 : str = prim::Constant[value="torch.uint64"]()
  %77 : int = prim::Constant[value=8]()
  %78 : str = prim::Constant[value="torch.complex32"]()
  %79 : int = prim::Constant[value=9]()
  %80 : str = prim::Constant[value="torch.complex64"]()
  %81 : int = prim::Constant[value=10]()
  %82 : str = prim::Constant[value="torch.complex128"]()
  %83 : int = prim::Constant[value=12]()
  %84 : str = prim::Constant[value="torch.qint8"]()
  %85 : int = prim::Constant[value=13]()
  %86 : str = prim::Constant[value="torch.quint8"]()
  %87 : int = prim::Constant[value=14]()
  %88 : str = prim::Constant[value="torch.qint32"]()
  %89 : str = prim::Constant[value="an integer dtype"]()
  %90 : float = prim::Constant[value=0.]()
  %93 : bool = aten::is_floating_point(%tensor.1)
  %94 : bool = aten::__not__(%93)
   = prim::If(%94)
    block0():
      %95 : bool = aten::is_floating_point(%tensor.1)
      %96 : bool = prim::If(%95)
        block0():
          -> (%58)
        block1():
          %97 : bool = aten::is_complex(%tensor.1)
          -> (%97)
      %98 : bool = aten::__not__(%96)
       = prim::If(%98)
        block0():
          %names.1 : Dict(int, str) = prim::DictConstruct(%59, %60, %61, %62, %63, %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, %80, %81, %82, %83, %84, %85, %86, %87, %88)
          %100 : int = prim::dtype(%tensor.1)
          %101 : str = aten::get(%names.1, %100, %89)
          %102 : str = aten::format(%57, %5, %101)
           = prim::RaiseException(%102, %55)
          -> ()
        block1():
          -> ()
      -> ()
    block1():
      -> ()
  %103 : Tensor = aten::detach(%tensor.1)
  %104 : Tensor = aten::normal_(%103, %90, %47, %generator.1)
  return (%tensor.1)
""",
    )


def test_graph_of_a_structured_function() -> None:
    assert_expected_inline(
        graph_text(scripted("eye_")),
        """\
graph(%tensor.1 : Tensor):
  %3 : NoneType = prim::Constant()
  %4 : str = prim::Constant[value="builtins.ValueError"]()
  %5 : str = prim::Constant[value="Only tensors with {} dimensions are supported, got shape {}"]()
  %6 : int = prim::Constant[value=2]()
  %7 : str = prim::Constant[value="2"]()
  %9 : NoneType = prim::Constant()
  %10 : int = aten::dim(%tensor.1)
  %11 : bool = aten::ne(%10, %6)
   = prim::If(%11)
    block0():
      %12 : bool = aten::__is__(%3, %9)
      %shape.1 : int[] = prim::If(%12)
        block0():
          %14 : int[] = aten::size(%tensor.1)
          %15 : int[] = aten::list(%14)
          -> (%15)
        block1():
          %full_size.7 : int[] = prim::unchecked_cast(%3)
          -> (%full_size.7)
      %17 : str = aten::format(%5, %7, %shape.1)
       = prim::RaiseException(%17, %4)
      -> ()
    block1():
      -> ()
  %18 : str = prim::Constant[value="builtins.RuntimeError"]()
  %19 : str = prim::Constant[value="unsupported operation: more than one element of the written-to tensor refers to a single memory location, got shape {} with strides {}"]()
  %20 : bool = prim::Constant[value=1]()
  %21 : int = prim::Constant[value=1]()
  %22 : int = prim::Constant[value=0]()
  %24 : bool = prim::Constant[value=0]()
  %25 : NoneType = prim::Constant()
  %26 : int[] = aten::size(%tensor.1)
  %rows.1 : int, %columns.1 : int = prim::ListUnpack(%26)
  %29 : int[] = aten::stride(%tensor.1)
  %30 : bool = aten::__contains__(%29, %22)
   = prim::If(%30)
    block0():
      %31 : int[] = aten::stride(%tensor.1)
      %32 : bool = aten::__contains__(%31, %22)
      %33 : bool = aten::__not__(%32)
       = prim::If(%33)
        block0():
          -> ()
        block1():
          %34 : int[] = aten::size(%tensor.1)
          %35 : int[] = aten::stride(%tensor.1)
          %36 : int = aten::len(%34)
          %37 : int = aten::len(%35)
          %38 : int[] = prim::ListConstruct(%36, %37)
          %39 : int = prim::min(%38)
           = prim::Loop(%39, %20)
            block0(%40 : int):
              %size.3 : int = aten::__getitem__(%34, %40)
              %stride.3 : int = aten::__getitem__(%35, %40)
              %43 : bool = aten::gt(%size.3, %21)
              %44 : bool = prim::If(%43)
                block0():
                  %45 : bool = aten::eq(%stride.3, %22)
                  -> (%45)
                block1():
                  -> (%24)
              %46 : bool = prim::If(%44)
                block0():
                  %47 : int = aten::numel(%tensor.1)
                  %48 : bool = aten::gt(%47, %22)
                  -> (%48)
                block1():
                  -> (%24)
               = prim::If(%46)
                block0():
                  %49 : int[] = aten::size(%tensor.1)
                  %50 : int[] = aten::list(%49)
                  %51 : int[] = aten::stride(%tensor.1)
                  %52 : int[] = aten::list(%51)
                  %53 : str = aten::format(%19, %50, %52)
                   = prim::RaiseException(%53, %18)
                  -> ()
                block1():
                  -> ()
              -> (%20)
          -> ()
      -> ()
    block1():
      -> ()
  %54 : bool = aten::is_floating_point(%tensor.1)
  %55 : bool = prim::If(%54)
    block0():
      %56 : int = aten::element_size(%tensor.1)
      %57 : bool = aten::gt(%56, %21)
      -> (%57)
    block1():
      -> (%24)
   = prim::If(%55)
    block0():
      %58 : Tensor = aten::detach(%tensor.1)
      %59 : Tensor = aten::eye(%rows.1, %columns.1, %58)
      -> ()
    block1():
      %60 : Tensor = aten::detach(%tensor.1)
      %61 : Device = prim::device(%tensor.1)
      %62 : Tensor = aten::eye(%rows.1, %columns.1, %25, %25, %61, %25)
      %63 : Tensor = aten::copy_(%60, %62, %24)
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
  %11 : Tensor = aten::detach(%tensor.1)
  %12 : Tensor = aten::fill_(%11, %val.1)
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
