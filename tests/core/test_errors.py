"""Is bad input refused in one clear sentence, before anything is written or drawn?"""

import pytest
import torch
from expecttest import assert_expected_inline

import torchinit
from tests.support.outcome import memory, observe, same_opening
from tests.support.record import Record, Refusal
from tests.support.records import CALLS, RECORDS, REFUSALS, call_id


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


def _messages(records: list[Record]) -> str:
    lines = []
    for record in records:
        for refusal in record.refusals:
            with pytest.raises(refusal.error) as caught:
                record.function(refusal.tensor(), **refusal.arguments)
            lines.append(f"{record.name} {refusal.label}\n  {refusal.error.__name__}: {caught.value}\n")
    return "".join(lines)


def test_messages_state_the_rule_and_then_what_arrived() -> None:
    current = [record for record in RECORDS if record.name == record.current_name]
    assert_expected_inline(
        _messages(current),
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
trunc_normal_tf_ int32-4x3
  NotImplementedError: trunc_normal_tf_ needs a floating-point tensor, got torch.int32
trunc_normal_tf_ bool-4x3
  NotImplementedError: trunc_normal_tf_ needs a floating-point tensor, got torch.bool
trunc_normal_tf_ float32-4x3-std=-0.5
  RuntimeError: trunc_normal_tf_ expects a finite std >= 0.0, but found std -0.5
trunc_normal_tf_ float32-4x3-std=nan
  RuntimeError: trunc_normal_tf_ expects a finite std >= 0.0, but found std nan
trunc_normal_tf_ float32-4x3-mean=nan
  RuntimeError: trunc_normal_tf_ expects a finite mean, but found mean nan
trunc_normal_tf_ float32-4x3-a=2.0-b=-2.5
  RuntimeError: trunc_normal_tf_ expects a <= b around a finite value, but found a=2 and b=-2.5
trunc_normal_tf_ float32-4x3-a=1.0-b=1.0-correct_std=True
  RuntimeError: trunc_normal_tf_ with correct_std expects a < b, but found a=1 and b=1
trunc_normal_tf_ float32-4x3-std=1e+30-a=1e+30-b=2e+30
  RuntimeError: trunc_normal_tf_ expects a <= b around a finite value, but found a=1.0000000000000001e+60 and b=2.0000000000000003e+60
variance_scaling_ int32-4x3
  NotImplementedError: variance_scaling_ needs a floating-point tensor, got torch.int32
variance_scaling_ bool-4x3
  NotImplementedError: variance_scaling_ needs a floating-point tensor, got torch.bool
variance_scaling_ float32-3
  ValueError: Fan in and fan out can not be computed for tensor with fewer than 2 dimensions, got shape [3]
variance_scaling_ float32-4x3-mode=fan
  ValueError: Mode fan not supported, please use one of ['fan_in', 'fan_out', 'fan_avg', 'fan_geo_avg']
variance_scaling_ float32-4x3-distribution=cauchy
  ValueError: Distribution cauchy not supported, please use one of ['truncated_normal', 'normal', 'uniform']
variance_scaling_ float32-4x3-scale=-1.0
  ValueError: scale must be a finite number that is not negative, got -1
variance_scaling_ float32-4x3-scale=nan
  ValueError: scale must be a finite number that is not negative, got nan
variance_scaling_ float32-4x3-scale=inf
  ValueError: scale must be a finite number that is not negative, got inf
variance_scaling_ float32-4x3-fan_in=0
  ValueError: fan_in and fan_out must be positive, got 0 and None
variance_scaling_ float32-4x3-mode=fan_avg-fan_out=-2
  ValueError: fan_in and fan_out must be positive, got None and -2
lecun_uniform_ int32-4x3
  NotImplementedError: lecun_uniform_ needs a floating-point or complex tensor, got torch.int32
lecun_uniform_ bool-4x3
  NotImplementedError: lecun_uniform_ needs a floating-point or complex tensor, got torch.bool
lecun_uniform_ float32-3
  ValueError: Fan in and fan out can not be computed for tensor with fewer than 2 dimensions, got shape [3]
lecun_normal_ int32-4x3
  NotImplementedError: lecun_normal_ needs a floating-point tensor, got torch.int32
lecun_normal_ bool-4x3
  NotImplementedError: lecun_normal_ needs a floating-point tensor, got torch.bool
lecun_normal_ float32-3
  ValueError: Fan in and fan out can not be computed for tensor with fewer than 2 dimensions, got shape [3]
sine_uniform_ int32-4x3
  NotImplementedError: sine_uniform_ needs a floating-point or complex tensor, got torch.int32
sine_uniform_ bool-4x3
  NotImplementedError: sine_uniform_ needs a floating-point or complex tensor, got torch.bool
sine_uniform_ float32-3
  ValueError: Fan in and fan out can not be computed for tensor with fewer than 2 dimensions, got shape [3]
sine_uniform_ float32-4x3-omega=0.0
  ValueError: omega must be a positive number, got 0
sine_uniform_ float32-4x3-omega=nan
  ValueError: omega must be a positive number, got nan
identity_ float32-3
  ValueError: Only tensors with 2, 3, 4, or 5 dimensions are supported, got shape [3]
identity_ float32-4x3x3x3x3x3
  ValueError: Only tensors with 2, 3, 4, or 5 dimensions are supported, got shape [4, 3, 3, 3, 3, 3]
identity_ float32-4x3-groups=3
  ValueError: dim 0 must be divisible by groups, got shape [4, 3] and groups=3
identity_ float32-4x3-groups=0
  ValueError: groups must be at least 1, got 0
identity_ int8-4x3-gain=300.0
  RuntimeError: value cannot be converted to type int8_t without overflow
block_orthogonal_ int32-4x3-blocks=2
  NotImplementedError: block_orthogonal_ needs a floating-point or complex tensor, got torch.int32
block_orthogonal_ float32-3-blocks=3
  ValueError: Only tensors with 2 or more dimensions are supported, got shape [3]
block_orthogonal_ float32-4x3-blocks=3
  ValueError: dim 0 must be divisible by blocks, got shape [4, 3] and blocks=3
block_orthogonal_ float32-4x3-blocks=0
  ValueError: blocks must be at least 1, got 0
delta_orthogonal_ int32-4x3x3
  NotImplementedError: delta_orthogonal_ needs a floating-point or complex tensor, got torch.int32
delta_orthogonal_ float32-4x3
  ValueError: Only tensors with 3, 4, or 5 dimensions are supported, got shape [4, 3]
delta_orthogonal_ float32-4x3x3x3x3x3
  ValueError: Only tensors with 3, 4, or 5 dimensions are supported, got shape [4, 3, 3, 3, 3, 3]
delta_orthogonal_ float32-4x5x3
  ValueError: delta_orthogonal_ needs at least as many outputs as inputs in each group, got shape [4, 5, 3] and groups=1
delta_orthogonal_ float32-4x3x3-groups=2
  ValueError: delta_orthogonal_ needs at least as many outputs as inputs in each group, got shape [4, 3, 3] and groups=2
delta_orthogonal_ float32-4x3x3-groups=3
  ValueError: dim 0 must be divisible by groups, got shape [4, 3, 3] and groups=3
delta_orthogonal_ float32-4x3x3-groups=-1
  ValueError: groups must be at least 1, got -1
bilinear_ int32-4x3x3
  NotImplementedError: bilinear_ needs a floating-point or complex tensor, got torch.int32
bilinear_ float32-4x3
  ValueError: Only tensors with 3, 4, or 5 dimensions are supported, got shape [4, 3]
bilinear_ float32-4x3x3x3x3x3
  ValueError: Only tensors with 3, 4, or 5 dimensions are supported, got shape [4, 3, 3, 3, 3, 3]
bilinear_ float32-4x3x3-groups=3
  ValueError: dim 0 must be divisible by groups, got shape [4, 3, 3] and groups=3
bilinear_ float32-4x3x3-groups=0
  ValueError: groups must be at least 1, got 0
icnr_ int32-4x3x3
  NotImplementedError: icnr_ needs a floating-point or complex tensor, got torch.int32
icnr_ float32-4x3
  ValueError: Only tensors with 3, 4, or 5 dimensions are supported, got shape [4, 3]
icnr_ float32-4x3x3x3x3x3
  ValueError: Only tensors with 3, 4, or 5 dimensions are supported, got shape [4, 3, 3, 3, 3, 3]
icnr_ float32-5x3x3
  ValueError: dim 0 must be divisible by upscale_factor once for each spatial dimension, got shape [5, 3, 3] and upscale_factor=2
icnr_ float32-4x3x3x3-upscale_factor=3
  ValueError: dim 0 must be divisible by upscale_factor once for each spatial dimension, got shape [4, 3, 3, 3] and upscale_factor=3
icnr_ float32-4x3x3-upscale_factor=0
  ValueError: upscale_factor must be at least 1, got 0
icnr_ float32-4x3x3-mode=fan
  ValueError: Mode fan not supported, please use one of ['fan_in', 'fan_out', 'fan_avg', 'fan_geo_avg']
icnr_ float32-4x3x3-distribution=cauchy
  ValueError: Distribution cauchy not supported, please use one of ['truncated_normal', 'normal', 'uniform']
icnr_ float32-4x3x3-scale=-1.0
  ValueError: scale must be a finite number that is not negative, got -1
lstm_bias_ float32-4x3
  ValueError: lstm_bias_ needs 1 dimension of 4 x hidden units, got shape [4, 3]
lstm_bias_ float32-6
  ValueError: lstm_bias_ needs 1 dimension of 4 x hidden units, got shape [6]
lstm_bias_ int8-4-forget=300.0
  RuntimeError: value cannot be converted to type int8_t without overflow
prior_bias_ int32-4x3
  NotImplementedError: prior_bias_ needs a floating-point or complex tensor, got torch.int32
prior_bias_ bool-4x3
  NotImplementedError: prior_bias_ needs a floating-point or complex tensor, got torch.bool
prior_bias_ float32-4-prior=0.0
  ValueError: prior must be in (0, 1), got 0
prior_bias_ float32-4-prior=1.0
  ValueError: prior must be in (0, 1), got 1
prior_bias_ float32-4-prior=nan
  ValueError: prior must be in (0, 1), got nan
rotary_inv_freq_ int32-4
  NotImplementedError: rotary_inv_freq_ needs a floating-point or complex tensor, got torch.int32
rotary_inv_freq_ float32-4x3
  ValueError: Only tensors with 1 dimensions are supported, got shape [4, 3]
rotary_inv_freq_ float32-scalar
  ValueError: Only tensors with 1 dimensions are supported, got shape []
rotary_inv_freq_ float32-4-base=-10000.0
  ValueError: base must be a finite number above 1, got -10000
rotary_inv_freq_ float32-4-base=1.0
  ValueError: base must be a finite number above 1, got 1
rotary_inv_freq_ float32-4-base=nan
  ValueError: base must be a finite number above 1, got nan
rotary_inv_freq_ float32-4-scaling=ntk
  ValueError: Scaling ntk not supported, please use one of ['default', 'linear', 'dynamic', 'yarn', 'longrope', 'llama3', 'proportional']
rotary_inv_freq_ float32-4-factor=2.0
  ValueError: factor must be 1 without a scaling, got 2
rotary_inv_freq_ float32-4-scaling=linear-factor=0.0
  ValueError: factor must be a positive finite number, got 0
rotary_inv_freq_ float32-4-scaling=linear-factor=2.0-partial_rotary_factor=0.5
  ValueError: partial_rotary_factor must be 1 unless the scaling is proportional, since the size says how many dimensions turn, got 0.5
rotary_inv_freq_ float32-4-scaling=proportional-partial_rotary_factor=1.5
  ValueError: partial_rotary_factor must be in [0, 1], got 1.5
rotary_inv_freq_ float32-4-scaling=yarn-factor=2.0
  ValueError: yarn scaling needs original_max_position_embeddings, got None
rotary_inv_freq_ float32-4-scaling=yarn-factor=2.0-original_max_position_embeddings=0
  ValueError: original_max_position_embeddings must be at least 1, got 0
rotary_inv_freq_ float32-4-scaling=yarn-factor=2.0-original_max_position_embeddings=4096-beta_slow=-1.0
  ValueError: beta_slow must be a positive finite number, got -1
rotary_inv_freq_ float32-1-scaling=dynamic-factor=2.0-original_max_position_embeddings=4096
  ValueError: dynamic scaling needs at least 2 values, got 1
rotary_inv_freq_ float32-4-scaling=dynamic-factor=2.0-original_max_position_embeddings=4096-seq_len=0
  ValueError: seq_len must be at least 1, got 0
rotary_inv_freq_ float32-4-scaling=llama3-original_max_position_embeddings=8192-low_freq_factor=4.0
  ValueError: high_freq_factor must be above low_freq_factor, got 4 and 4
rotary_inv_freq_ float32-4-scaling=longrope
  ValueError: longrope scaling needs factors, got None
rotary_inv_freq_ float32-4-scaling=longrope-factors=[1.0, 2.0]
  ValueError: factors must have one number for each value, got 2 for shape [4]
rotary_inv_freq_ float32-2-scaling=longrope-factors=[1.0, 0.0]
  ValueError: each of factors must be a positive finite number, got 0
rotary_inv_freq_ float32-2-factors=[1.0, 2.0]
  ValueError: factors must be None unless the scaling is longrope, got 2 factors
sinusoidal_ int32-4x2
  NotImplementedError: sinusoidal_ needs a floating-point or complex tensor, got torch.int32
sinusoidal_ float32-4
  ValueError: sinusoidal_ needs shape [length, features], or 3 dimensions with a 1 before or after the length, got shape [4]
sinusoidal_ float32-4x3x2
  ValueError: sinusoidal_ needs shape [length, features], or 3 dimensions with a 1 before or after the length, got shape [4, 3, 2]
sinusoidal_ float32-4x3
  ValueError: the last dimension must be even, got shape [4, 3]
sinusoidal_ float32-4x6-base=-1.0
  ValueError: base must be a finite number above 1, got -1
sinusoidal_ float32-4x6-base=nan
  ValueError: base must be a finite number above 1, got nan
sinusoidal_ float32-4x6-layout=halves
  ValueError: Layout halves not supported, please use one of ['interleaved', 'sin_cos', 'cos_sin']
sinusoidal_ float32-4x6-formula=float16
  ValueError: Formula float16 not supported, please use one of ['exp', 'pow', 'float64']
sinusoidal_ float32-4x2-endpoint=True
  ValueError: endpoint needs at least 4 features, got shape [4, 2]
sinusoidal_ float32-4x6-padding_idx=4
  ValueError: padding_idx must be a row of the table, got 4 for shape [4, 6]
sinusoidal_ float32-4x6-padding_idx=-5
  ValueError: padding_idx must be a row of the table, got -5 for shape [4, 6]
alibi_slopes_ int32-4
  NotImplementedError: alibi_slopes_ needs a floating-point or complex tensor, got torch.int32
alibi_slopes_ float32-scalar
  ValueError: Only tensors with 1 dimensions are supported, got shape []
alibi_slopes_ float32-4x3
  ValueError: Only tensors with 1 dimensions are supported, got shape [4, 3]
alibi_slopes_ float32-4-bias_max=0.0
  ValueError: bias_max must be a positive finite number, got 0
alibi_slopes_ float32-4-bias_max=nan
  ValueError: bias_max must be a positive finite number, got nan
alibi_slopes_ float32-4-formula=falcon
  ValueError: Formula falcon not supported, please use one of ['bloom', 'mpt', 'float64']
log_arange_ int32-4x3
  NotImplementedError: log_arange_ needs a floating-point or complex tensor, got torch.int32
log_arange_ bool-4x3
  NotImplementedError: log_arange_ needs a floating-point or complex tensor, got torch.bool
log_arange_ float32-scalar
  ValueError: Only tensors with 1 or more dimensions are supported, got shape []
inverse_softplus_log_uniform_ int32-4x3
  NotImplementedError: inverse_softplus_log_uniform_ needs a floating-point tensor, got torch.int32
inverse_softplus_log_uniform_ bool-4x3
  NotImplementedError: inverse_softplus_log_uniform_ needs a floating-point tensor, got torch.bool
inverse_softplus_log_uniform_ complex64-4x3
  NotImplementedError: inverse_softplus_log_uniform_ needs a floating-point tensor, got torch.complex64
inverse_softplus_log_uniform_ float32-4-low=0.0
  ValueError: inverse_softplus_log_uniform_ needs 0 < low <= high, both finite, got low=0 and high=0.1
inverse_softplus_log_uniform_ float32-4-low=nan
  ValueError: inverse_softplus_log_uniform_ needs 0 < low <= high, both finite, got low=nan and high=0.1
inverse_softplus_log_uniform_ float32-4-low=0.2
  ValueError: inverse_softplus_log_uniform_ needs 0 < low <= high, both finite, got low=0.2 and high=0.1
inverse_softplus_log_uniform_ float32-4-high=inf
  ValueError: inverse_softplus_log_uniform_ needs 0 < low <= high, both finite, got low=0.001 and high=inf
inverse_softplus_log_uniform_ float32-4-floor=-0.0001
  ValueError: inverse_softplus_log_uniform_ needs a finite floor that is not negative, got -0.0001
inverse_softplus_log_uniform_ float32-4-floor=nan
  ValueError: inverse_softplus_log_uniform_ needs a finite floor that is not negative, got nan
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
