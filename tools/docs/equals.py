"""What each function equals, as text and as code that the tests run.

In the code ``w`` is a (64, 32) matrix, ``k`` a (64, 16, 3, 3) kernel and ``b`` a vector of 8, all float32, and every
side draws from the same seed. The names of ``torchinit`` stand for themselves.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Equation:
    """Two pieces of code with the same result: the same bits, or, unless ``exact``, equal up to rounding."""

    left: str
    right: str
    exact: bool = True


@dataclass(frozen=True)
class Equal:
    """A sentence or two, and equations."""

    text: str
    equations: tuple[Equation, ...] = ()


_UPSTREAM = (
    "The bits of the installed `torch.nn.init.{name}` for the same seed, and the generator's state after it, for every "
    "dtype, size and stride that upstream takes."
)


def _as_upstream(name: str, call: str) -> Equal:
    return Equal(_UPSTREAM.format(name=name), (Equation(call, f"torch.nn.init.{call}"),))


EQUALS: Mapping[str, Equal] = {
    "calculate_gain": Equal(
        "Upstream's numbers under upstream's names, although some differ from the formula. The other names follow it.",
        (
            Equation('calculate_gain("tanh")', 'torch.nn.init.calculate_gain("tanh")'),
            Equation('calculate_gain("squared_relu")', "math.sqrt(2 / 3)", exact=False),
        ),
    ),
    "uniform_": _as_upstream("uniform_", "uniform_(w, -1.0, 1.0)"),
    "normal_": _as_upstream("normal_", "normal_(w, std=0.02)"),
    "trunc_normal_": Equal(
        "In float32 and float64 the bits of torch 2.11 and before where `mean` lies within two `std` of [a, b], except "
        "for draws that would be infinite. Farther out, the truncated normal itself. In 16 bits, the float32 values "
        "rounded once. Upstream's sampler since torch 2.12 draws other values.",
        (Equation("trunc_normal_(w, 0.0, 0.02, -0.04, 0.04)", "trunc_normal_tf_(w, std=0.02)"),),
    ),
    "constant_": _as_upstream("constant_", "constant_(w, 0.5)"),
    "ones_": _as_upstream("ones_", "ones_(w)"),
    "zeros_": _as_upstream("zeros_", "zeros_(w)"),
    "eye_": _as_upstream("eye_", "eye_(w)"),
    "dirac_": _as_upstream("dirac_", "dirac_(k, 2)"),
    "xavier_uniform_": _as_upstream("xavier_uniform_", "xavier_uniform_(w, gain=2.0)"),
    "xavier_normal_": _as_upstream("xavier_normal_", "xavier_normal_(w, gain=2.0)"),
    "kaiming_uniform_": _as_upstream("kaiming_uniform_", 'kaiming_uniform_(w, mode="fan_out", nonlinearity="relu")'),
    "kaiming_normal_": _as_upstream("kaiming_normal_", 'kaiming_normal_(w, mode="fan_out", nonlinearity="relu")'),
    "orthogonal_": Equal(
        _UPSTREAM.format(name="orthogonal_") + " Also float16, bfloat16, complex numbers and layouts such as "
        "channels_last, where upstream raises.",
        (Equation("orthogonal_(w, gain=2.0)", "torch.nn.init.orthogonal_(w, gain=2.0)"),),
    ),
    "sparse_": Equal(
        "Without a generator the bits of the installed `torch.nn.init.sparse_`. With one, values and zeros both follow "
        "it; upstream takes the zeros from the global one.",
        (Equation("sparse_(w, 0.9)", "torch.nn.init.sparse_(w, 0.9)"),),
    ),
    "fans": Equal(
        "For a layer without groups, the fans that `torch.nn.init` counts; for a transposed one, these swapped.",
        (Equation("fans(k.shape)", "torch.nn.init._calculate_fan_in_and_fan_out(k)"),),
    ),
    "depth_scaled_std": Equal(
        "GPT-2's number, as transformers computes it.",
        (Equation("depth_scaled_std(0.02, layers=12)", "0.02 / math.sqrt(2 * 12)"),),
    ),
    "trunc_normal_tf_": Equal(
        "`trunc_normal_` with the bounds written as values.",
        (Equation("trunc_normal_tf_(w, 1.0, 0.5, -2.0, 2.0)", "trunc_normal_(w, 1.0, 0.5, 0.0, 2.0)"),),
    ),
    "variance_scaling_": Equal(
        "Every initializer that scales by a fan is a case of it.",
        (
            Equation('variance_scaling_(w, 1.0, "fan_avg", "uniform")', "xavier_uniform_(w)"),
            Equation('variance_scaling_(w, 1.0, "fan_avg", "normal")', "xavier_normal_(w)"),
            Equation(
                'variance_scaling_(w, 2.0, "fan_in", "normal")', 'kaiming_normal_(w, nonlinearity="relu")', exact=False
            ),
            Equation("variance_scaling_(w)", "lecun_normal_(w)"),
        ),
    ),
    "lecun_uniform_": Equal(
        "A case of `variance_scaling_`.",
        (Equation("lecun_uniform_(w)", 'variance_scaling_(w, 1.0, "fan_in", "uniform")'),),
    ),
    "lecun_normal_": Equal(
        "A case of `variance_scaling_`.",
        (Equation("lecun_normal_(w)", 'variance_scaling_(w, 1.0, "fan_in", "truncated_normal")'),),
    ),
    "sine_uniform_": Equal(
        "A uniform draw within the bound; in a hidden layer, the bound of `kaiming_uniform_` for ReLU over omega.",
        (
            Equation("sine_uniform_(w, is_first=True)", "uniform_(w, -1 / 32, 1 / 32)"),
            Equation(
                "sine_uniform_(w, omega=30.0)", 'variance_scaling_(w, 2 / 30**2, "fan_in", "uniform")', exact=False
            ),
        ),
    ),
    "identity_": Equal(
        "With a gain of 1 `eye_` for a matrix and `dirac_` for a kernel.",
        (Equation("identity_(w)", "eye_(w)"), Equation("identity_(k, groups=2)", "dirac_(k, 2)")),
    ),
    "block_orthogonal_": Equal(
        "`orthogonal_` on each block in turn.",
        (Equation("block_orthogonal_(w, 4)", "torch.cat([orthogonal_(block) for block in w.chunk(4)])"),),
    ),
    "delta_orthogonal_": Equal(
        "At the kernel's centre an orthogonal matrix, elsewhere 0.",
        (Equation("delta_orthogonal_(k)[:, :, 1, 1]", "orthogonal_(k[:, :, 1, 1])"),),
    ),
    "bilinear_": Equal(
        "A transposed convolution with this weight enlarges as "
        '`torch.nn.functional.interpolate(mode="bilinear", align_corners=False)` does, away from the border.'
    ),
    "icnr_": Equal(
        "A smaller weight, with each kernel repeated for the values of a cell.",
        (Equation("icnr_(k, upscale_factor=2)[::4]", 'kaiming_normal_(k[:16], nonlinearity="relu")', exact=False),),
    ),
    "lstm_bias_": Equal("Nothing is drawn.", (Equation("lstm_bias_(b).chunk(4)[1]", "torch.ones(2)"),)),
    "prior_bias_": Equal(
        "Nothing is drawn.",
        (Equation("prior_bias_(b, 0.01)", "constant_(b, -math.log((1 - 0.01) / 0.01))", exact=False),),
    ),
    "rotary_inv_freq_": Equal(
        "The bits of each entry of transformers' `ROPE_INIT_FUNCTIONS`, and of the rotary layers of Llama and GPT-NeoX, "
        "on a CPU.",
        (Equation("rotary_inv_freq_(b)", "1.0 / 10000.0 ** (torch.arange(0, 16, 2).float() / 16)"),),
    ),
    "sinusoidal_": Equal(
        "The bits of transformers' tables and of the PyTorch tutorial's, each with the arguments in the table above, on a "
        "CPU.",
        (
            Equation("sinusoidal_(w)[:, 0]", "torch.arange(64.0).sin()"),
            Equation('sinusoidal_(w, layout="sin_cos")', "sinusoidal_(w).unflatten(1, (16, 2)).mT.flatten(1)"),
        ),
    ),
    "alibi_slopes_": Equal(
        "The bits of the slopes in transformers' `build_alibi_tensor` of Bloom and Falcon and, with the formula `mpt`, in "
        "`build_mpt_alibi_tensor`, on a CPU. These two differ in the last bits from 11 heads on.",
        (Equation("alibi_slopes_(b)", "2.0 ** -torch.arange(1.0, 9.0)"),),
    ),
    "log_arange_": Equal(
        "The bits of `A_log` in transformers' Mamba and in mamba_ssm's.",
        (Equation("log_arange_(w)", "torch.arange(1.0, 33.0).log().expand(64, 32)"),),
    ),
    "inverse_softplus_log_uniform_": Equal(
        "For the same seed, the bits of the bias of the step in transformers' Mamba and in mamba_ssm's, in float32. In 16 "
        "bits, as transformers does, the float32 values rounded once.",
        (
            Equation(
                "torch.nn.functional.softplus(inverse_softplus_log_uniform_(b)).log()",
                "uniform_(b, math.log(0.001), math.log(0.1))",
                exact=False,
            ),
        ),
    ),
}
