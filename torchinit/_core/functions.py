"""All functions of the package ``torchinit``, which imports this module when one of them is used."""

from torchinit._core.deprecated import (
    constant,
    dirac,
    eye,
    kaiming_normal,
    kaiming_uniform,
    normal,
    orthogonal,
    sparse,
    uniform,
    xavier_normal,
    xavier_uniform,
)
from torchinit._core.distributions import (
    constant_,
    inverse_softplus_log_uniform_,
    normal_,
    ones_,
    trunc_normal_,
    trunc_normal_tf_,
    uniform_,
    zeros_,
)
from torchinit._core.fans import (
    _calculate_correct_fan as _calculate_correct_fan,
    _calculate_fan_in_and_fan_out as _calculate_fan_in_and_fan_out,
    fans,
    fans_of,
)
from torchinit._core.gains import calculate_gain, depth_scaled_std
from torchinit._core.layers import bilinear_, icnr_, lstm_bias_, prior_bias_
from torchinit._core.rotary import rotary_inv_freq_
from torchinit._core.structured import (
    block_orthogonal_,
    delta_orthogonal_,
    dirac_,
    eye_,
    identity_,
    orthogonal_,
    sparse_,
)
from torchinit._core.tables import alibi_slopes_, log_arange_, sinusoidal_
from torchinit._core.variance_scaling import (
    kaiming_normal_,
    kaiming_uniform_,
    lecun_normal_,
    lecun_uniform_,
    sine_uniform_,
    variance_scaling_,
    xavier_normal_,
    xavier_uniform_,
)
from torchinit._core.writes import (
    _no_grad_fill_ as _no_grad_fill_,
    _no_grad_normal_ as _no_grad_normal_,
    _no_grad_trunc_normal_ as _no_grad_trunc_normal_,
    _no_grad_uniform_ as _no_grad_uniform_,
    _no_grad_zero_ as _no_grad_zero_,
)
