"""Does every function that upstream lacks state the rule and then what arrived?"""

from expecttest import assert_expected_inline

from tests.core.test_errors import messages
from tests.support.records import RECORDS


def test_messages_state_the_rule_and_then_what_arrived() -> None:
    assert_expected_inline(
        messages(record for record in RECORDS if not record.upstream),
        """\
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
