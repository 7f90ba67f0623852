"""Is bad input refused in one clear sentence, before anything is written or drawn?"""

from collections.abc import Iterable

import pytest
import torch
from expecttest import assert_expected_inline

import torchinit
from tests.support.outcome import memory, observe, same_opening
from tests.support.record import Record, Refusal
from tests.support.records import CALLS, RECORDS, REFUSALS, UPSTREAMS, call_id


@pytest.mark.parametrize(("record", "refusal"), REFUSALS, ids=call_id)
def test_refused_call_raises_and_leaves_tensor_and_generators_untouched(record: Record, refusal: Refusal) -> None:
    tensor = refusal.tensor()
    untouched = observe(lambda tensor, **_: tensor, tensor, refusal.arguments, record.takes_generator)
    outcome = observe(record.function, tensor, refusal.arguments, record.takes_generator)
    assert outcome.error is not None
    assert outcome.error[0] is refusal.error
    assert outcome.memory == untouched.memory
    assert outcome.global_state == untouched.global_state
    assert outcome.generator_state == untouched.generator_state


@pytest.mark.parametrize(
    ("record", "refusal"), [(r, f) for r, f in REFUSALS if r.upstream and r.name != "trunc_normal_"], ids=call_id
)
def test_error_has_upstreams_type_and_opening_words_unless_known_to_differ(record: Record, refusal: Refusal) -> None:
    ours = observe(record.function, refusal.tensor(), refusal.arguments)
    theirs = observe(getattr(torch.nn.init, record.name), refusal.tensor(), refusal.arguments)
    assert same_opening(ours.error, theirs.error) is (refusal.differs == "")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(("record", "arguments"), CALLS, ids=call_id)
def test_inference_tensor_is_refused_outside_inference_mode_before_a_draw(
    record: Record, arguments: dict, dtype: torch.dtype
) -> None:
    with torch.inference_mode():
        tensor = torch.zeros(record.shape, dtype=dtype)
    before = memory(tensor)
    state = torch.get_rng_state()
    with pytest.raises(RuntimeError, match=r"^Inplace update to inference tensor outside InferenceMode is not allowed"):
        record.function(tensor, **arguments)
    assert memory(tensor) == before
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(("record", "arguments"), CALLS, ids=call_id)
def test_inference_tensor_is_filled_in_inference_mode(record: Record, arguments: dict) -> None:
    torch.manual_seed(0)
    expected = record.function(torch.full(record.shape, 7.0), **arguments)
    torch.manual_seed(0)
    with torch.inference_mode():
        assert torch.equal(record.function(torch.full(record.shape, 7.0), **arguments), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("record", [r for r in RECORDS if r.takes_generator], ids=call_id)
def test_expanded_tensor_is_refused_before_a_draw(record: Record, dtype: torch.dtype) -> None:
    first, *rest = record.shape
    tensor = torch.zeros(first, *[1] * len(rest), dtype=dtype).expand(record.shape)
    state = torch.get_rng_state()
    with pytest.raises(RuntimeError, match=r"^unsupported operation: more than one element of the written-to tensor"):
        record.function(tensor, **record.calls[0])
    assert torch.equal(torch.get_rng_state(), state)
    assert not tensor.any()


def messages(records: Iterable[Record]) -> str:
    """List the errors of all refusals."""
    lines = []
    for record in records:
        for refusal in record.refusals:
            with pytest.raises(refusal.error) as caught:
                record.function(refusal.tensor(), **refusal.arguments)
            lines.append(f"{record.name} {refusal.label}\n  {refusal.error.__name__}: {caught.value}\n")
    return "".join(lines)


def test_messages_state_the_rule_and_then_what_arrived() -> None:
    """``test_errors_own.py`` has the messages of the functions that upstream lacks."""
    assert_expected_inline(
        messages(record for record in UPSTREAMS if record.name == record.current_name),
        """\
uniform_ int32-4x3
  NotImplementedError: uniform_ needs a floating-point or complex tensor, got torch.int32
uniform_ bool-4x3
  NotImplementedError: uniform_ needs a floating-point or complex tensor, got torch.bool
uniform_ float32-4x3-a=1.0-b=0.0
  RuntimeError: uniform_ expects to return a [from, to) range, but found from=1 > to=0
uniform_ float32-4x3-a=nan
  RuntimeError: uniform_ expects finite bounds, but found from=nan and to=1
uniform_ float32-4x3-b=inf
  RuntimeError: uniform_ expects finite bounds, but found from=0 and to=inf
normal_ int32-4x3
  NotImplementedError: normal_ needs a floating-point or complex tensor, got torch.int32
normal_ bool-4x3
  NotImplementedError: normal_ needs a floating-point or complex tensor, got torch.bool
normal_ float32-4x3-std=-0.5
  RuntimeError: normal expects std >= 0.0, but found std -0.5
normal_ float32-0x3-std=-0.5
  RuntimeError: normal expects std >= 0.0, but found std -0.5
normal_ float32-4x3-std=nan
  RuntimeError: normal expects std >= 0.0, but found std nan
trunc_normal_ int32-4x3
  NotImplementedError: trunc_normal_ needs a floating-point tensor, got torch.int32
trunc_normal_ bool-4x3
  NotImplementedError: trunc_normal_ needs a floating-point tensor, got torch.bool
trunc_normal_ complex64-4x3
  NotImplementedError: trunc_normal_ needs a floating-point tensor, got torch.complex64
trunc_normal_ float32-4x3-std=-0.5
  RuntimeError: trunc_normal_ expects a finite std >= 0.0, but found std -0.5
trunc_normal_ float32-4x3-std=nan
  RuntimeError: trunc_normal_ expects a finite std >= 0.0, but found std nan
trunc_normal_ float32-4x3-std=inf
  RuntimeError: trunc_normal_ expects a finite std >= 0.0, but found std inf
trunc_normal_ float32-4x3-mean=nan
  RuntimeError: trunc_normal_ expects a finite mean, but found mean nan
trunc_normal_ float32-4x3-a=2.0-b=-2.5
  RuntimeError: trunc_normal_ expects a <= b around a finite value, but found a=2 and b=-2.5
trunc_normal_ float32-4x3-a=nan
  RuntimeError: trunc_normal_ expects a <= b around a finite value, but found a=nan and b=2
trunc_normal_ float32-4x3-a=inf-b=inf
  RuntimeError: trunc_normal_ expects a <= b around a finite value, but found a=inf and b=inf
constant_ int8-4x3-val=300.0
  RuntimeError: value cannot be converted to type int8_t without overflow
eye_ float32-3
  ValueError: Only tensors with 2 dimensions are supported, got shape [3]
eye_ float32-4x3x2
  ValueError: Only tensors with 2 dimensions are supported, got shape [4, 3, 2]
dirac_ float32-4x3
  ValueError: Only tensors with 3, 4, or 5 dimensions are supported, got shape [4, 3]
dirac_ float32-4x3x3x3x3x3
  ValueError: Only tensors with 3, 4, or 5 dimensions are supported, got shape [4, 3, 3, 3, 3, 3]
dirac_ float32-4x3x3-groups=3
  ValueError: dim 0 must be divisible by groups, got shape [4, 3, 3] and groups=3
dirac_ float32-4x3x3-groups=0
  ValueError: groups must be at least 1, got 0
dirac_ float32-4x3x3-groups=-2
  ValueError: groups must be at least 1, got -2
dirac_ float32-4x3x3-groups=2.0
  TypeError: view() received an invalid combination of arguments - got (list), but expected one of:
 * (torch.dtype dtype)
      didn't match because some of the arguments have invalid types: (!list of [float, float, int]!)
 * (tuple of ints size)
      didn't match because some of the arguments have invalid types: (!list of [float, float, int]!)

xavier_uniform_ int32-4x3
  NotImplementedError: xavier_uniform_ needs a floating-point or complex tensor, got torch.int32
xavier_uniform_ bool-4x3
  NotImplementedError: xavier_uniform_ needs a floating-point or complex tensor, got torch.bool
xavier_uniform_ float32-3
  ValueError: Fan in and fan out can not be computed for tensor with fewer than 2 dimensions, got shape [3]
xavier_uniform_ float32-4x3-gain=-1.0
  RuntimeError: uniform_ expects to return a [from, to) range, but found from=0.92582 > to=-0.92582
xavier_uniform_ float32-4x3-gain=nan
  RuntimeError: xavier_uniform_ expects finite bounds, but found from=nan and to=nan
xavier_normal_ int32-4x3
  NotImplementedError: xavier_normal_ needs a floating-point or complex tensor, got torch.int32
xavier_normal_ bool-4x3
  NotImplementedError: xavier_normal_ needs a floating-point or complex tensor, got torch.bool
xavier_normal_ float32-3
  ValueError: Fan in and fan out can not be computed for tensor with fewer than 2 dimensions, got shape [3]
xavier_normal_ float32-4x3-gain=-1.0
  RuntimeError: normal expects std >= 0.0, but found std -0.534522
xavier_normal_ float32-4x3-gain=nan
  RuntimeError: normal expects std >= 0.0, but found std nan
kaiming_uniform_ int32-4x3
  NotImplementedError: kaiming_uniform_ needs a floating-point or complex tensor, got torch.int32
kaiming_uniform_ bool-4x3
  NotImplementedError: kaiming_uniform_ needs a floating-point or complex tensor, got torch.bool
kaiming_uniform_ float32-3
  ValueError: Fan in and fan out can not be computed for tensor with fewer than 2 dimensions, got shape [3]
kaiming_uniform_ float32-scalar
  ValueError: Fan in and fan out can not be computed for tensor with fewer than 2 dimensions, got shape []
kaiming_uniform_ float32-4x3-mode=fan_avg
  ValueError: Mode fan_avg not supported, please use one of ['fan_in', 'fan_out']
kaiming_uniform_ float32-4x3-nonlinearity=maxout
  ValueError: Unsupported nonlinearity maxout, please use one of ['linear', 'conv1d', 'conv2d', 'conv3d', 'conv_transpose1d', 'conv_transpose2d', 'conv_transpose3d', 'sigmoid', 'tanh', 'relu', 'leaky_relu', 'selu', 'gelu', 'gelu_tanh', 'silu', 'swish', 'mish', 'elu', 'celu', 'softplus', 'hardswish', 'hardsigmoid', 'hardtanh', 'relu6', 'softsign', 'squared_relu', 'sine']
kaiming_uniform_ float32-4x3-nonlinearity=gelu-a=0.5
  ValueError: gelu takes no parameter, got 0.5
kaiming_uniform_ float32-4x3-a=True
  ValueError: negative_slope True not a valid number
kaiming_uniform_ float32-4x3-a=0.1
  ValueError: negative_slope 0.1 not a valid number
kaiming_uniform_ float32-4x3-a=nan
  RuntimeError: kaiming_uniform_ expects finite bounds, but found from=nan and to=nan
kaiming_normal_ int32-4x3
  NotImplementedError: kaiming_normal_ needs a floating-point or complex tensor, got torch.int32
kaiming_normal_ bool-4x3
  NotImplementedError: kaiming_normal_ needs a floating-point or complex tensor, got torch.bool
kaiming_normal_ float32-3
  ValueError: Fan in and fan out can not be computed for tensor with fewer than 2 dimensions, got shape [3]
kaiming_normal_ float32-scalar
  ValueError: Fan in and fan out can not be computed for tensor with fewer than 2 dimensions, got shape []
kaiming_normal_ float32-4x3-mode=fan_avg
  ValueError: Mode fan_avg not supported, please use one of ['fan_in', 'fan_out']
kaiming_normal_ float32-4x3-nonlinearity=maxout
  ValueError: Unsupported nonlinearity maxout, please use one of ['linear', 'conv1d', 'conv2d', 'conv3d', 'conv_transpose1d', 'conv_transpose2d', 'conv_transpose3d', 'sigmoid', 'tanh', 'relu', 'leaky_relu', 'selu', 'gelu', 'gelu_tanh', 'silu', 'swish', 'mish', 'elu', 'celu', 'softplus', 'hardswish', 'hardsigmoid', 'hardtanh', 'relu6', 'softsign', 'squared_relu', 'sine']
kaiming_normal_ float32-4x3-nonlinearity=gelu-a=0.5
  ValueError: gelu takes no parameter, got 0.5
kaiming_normal_ float32-4x3-a=True
  ValueError: negative_slope True not a valid number
kaiming_normal_ float32-4x3-a=0.1
  ValueError: negative_slope 0.1 not a valid number
kaiming_normal_ float32-4x3-a=nan
  RuntimeError: normal expects std >= 0.0, but found std nan
orthogonal_ int32-4x3
  NotImplementedError: orthogonal_ needs a floating-point or complex tensor, got torch.int32
orthogonal_ bool-4x3
  NotImplementedError: orthogonal_ needs a floating-point or complex tensor, got torch.bool
orthogonal_ float32-3
  ValueError: Only tensors with 2 or more dimensions are supported, got shape [3]
sparse_ int32-4x3-sparsity=0.5
  NotImplementedError: sparse_ needs a floating-point or complex tensor, got torch.int32
sparse_ float32-4x3x2-sparsity=0.5
  ValueError: Only tensors with 2 dimensions are supported, got shape [4, 3, 2]
sparse_ float32-4x3-sparsity=-0.5
  ValueError: sparsity must be in [0, 1], got -0.5
sparse_ float32-4x3-sparsity=1.25
  ValueError: sparsity must be in [0, 1], got 1.25
sparse_ float32-4x3-sparsity=nan
  ValueError: sparsity must be in [0, 1], got nan
sparse_ float32-4x3-sparsity=0.5-std=-1.0
  RuntimeError: normal expects std >= 0.0, but found std -1
""",
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("maxout",), "^Unsupported nonlinearity maxout, please use one of .*'leaky_relu'"),
        ((3,), "^Unsupported nonlinearity 3, please"),
        (("leaky_relu", True), "^negative_slope True not a valid number$"),
        (("leaky_relu", "0.1"), "^negative_slope 0.1 not a valid number$"),
    ],
)
def test_gain_names_the_argument_it_refuses(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        torchinit.calculate_gain(*arguments)


# These look at the tensor first, and a check would slow each of their calls.
UNCHECKED = {"uniform_", "normal_", "eye_", "dirac_", "identity_", "bilinear_", "prior_bias_", "sine_uniform_"} | {
    f"{family}_{law}_" for family in ("xavier", "kaiming", "lecun") for law in ("uniform", "normal")
}


@pytest.mark.parametrize("rec", [r for r in RECORDS if r.name == r.current_name], ids=call_id)
def test_module_in_place_of_a_tensor_is_refused(rec: Record) -> None:
    error, message = TypeError, f"^{rec.name} needs a tensor, got Linear; pass its weight or bias$"
    if rec.name in UNCHECKED:
        error, message = AttributeError, "^'Linear' object has no attribute"
    with pytest.raises(error, match=message):
        rec.function(torch.nn.Linear(3, 3), **rec.calls[0])
