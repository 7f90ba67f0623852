"""What other libraries call each function: data, keyed by our names.

In a call, ``w`` is the weight in torch's order (out, in, ...). Each entry gives our call that draws from the same
distribution as theirs, and a note if they differ unexpectedly.
"""

from collections.abc import Mapping
from dataclasses import dataclass

# A library: where its names are, and the layout of its weights.
LIBRARIES: Mapping[str, str] = {
    "JAX": "`jax.nn.initializers`, which Flax has too. Kernels are (..., in, out) unless `in_axis` and `out_axis` say "
    "otherwise; `w` here is (out, in, ...). Complex uniform and truncated values fill a disk there, but not here.",
    "Keras": "`keras.initializers`, which is also `tf.keras.initializers` and `tf.initializers`. Kernels are "
    "(..., in, out); `w` here is (out, in, ...). Names in lower case are those that `kernel_initializer` takes.",
    "TensorFlow": "What TensorFlow has beside Keras. Kernels are (..., in, out); `w` here is (out, in, ...).",
    "timm": "`timm.layers`. Weights are torch's.",
    "MLX": "`mlx.nn.init`. An initializer is called with an array, as `he_normal()(w, gain=2.0)`. Weights are "
    "(out, ..., in).",
}


@dataclass(frozen=True)
class Peer:
    """One name in one library, what to write here for it, and what is different."""

    library: str
    theirs: str
    ours: str
    note: str = ""


def _jax(theirs: str, ours: str, note: str = "") -> Peer:
    return Peer("JAX", theirs, ours, note)


def _keras(theirs: str, ours: str, note: str = "") -> tuple[Peer, ...]:
    """One peer under the name of the class, and one under the string that layers take."""
    name, _, arguments = theirs.partition("(")
    snake = "".join(f"_{c.lower()}" if c.isupper() else c for c in name).removeprefix("_")
    return Peer("Keras", theirs, ours, note), Peer("Keras", f"{snake}({arguments}", ours, note)


def _tf(theirs: str, ours: str, note: str = "") -> Peer:
    return Peer("TensorFlow", theirs, ours, note)


def _timm(theirs: str, ours: str, note: str = "") -> Peer:
    return Peer("timm", theirs, ours, note)


def _mlx(theirs: str, ours: str, note: str = "") -> Peer:
    return Peer("MLX", theirs, ours, note)


_TRUNCATED = "Truncated at two standard deviations there, which `{}` is not."
_XAVIER, _KAIMING = _TRUNCATED.format("xavier_normal_"), _TRUNCATED.format("kaiming_normal_")
_NO_GAIN = "The gain is 1 there unless the call gives one, and not that of ReLU."
_BOUNDS = "Bounds are standard deviations there, and values in `trunc_normal_`."

# Empty if none of these libraries has a name for it.
PEERS: Mapping[str, tuple[Peer, ...]] = {
    "calculate_gain": (),
    "uniform_": (
        _jax("uniform(scale)", "uniform_(w, 0.0, scale)", "From 0 up; the default scale is 0.01."),
        *_keras("RandomUniform(minval, maxval)", "uniform_(w, minval, maxval)", "By default from -0.05 to 0.05."),
        _tf("tf.random.uniform(shape, minval, maxval)", "uniform_(w, minval, maxval)"),
        _tf("tf.random_uniform_initializer(minval, maxval)", "uniform_(w, minval, maxval)"),
        _mlx("uniform(low, high)", "uniform_(w, low, high)"),
    ),
    "normal_": (
        _jax("normal(stddev)", "normal_(w, std=stddev)", "The default is 0.01."),
        *_keras("RandomNormal(mean, stddev)", "normal_(w, mean, stddev)", "The default of `stddev` is 0.05."),
        _tf("tf.random.normal(shape, mean, stddev)", "normal_(w, mean, stddev)"),
        _tf("tf.random_normal_initializer(mean, stddev)", "normal_(w, mean, stddev)"),
        _mlx("normal(mean, std)", "normal_(w, mean, std)"),
    ),
    "trunc_normal_": (
        _timm(
            "trunc_normal_(w, mean, std, a, b)",
            "trunc_normal_(w, mean, std, a, b)",
            "Bounds are values in both. timm's has no generator.",
        ),
    ),
    "constant_": (
        _jax("constant(value)", "constant_(w, value)"),
        *_keras("Constant(value)", "constant_(w, value)"),
        _tf("tf.constant_initializer(value)", "constant_(w, value)", "Takes a list of values, too."),
        _mlx("constant(value)", "constant_(w, value)"),
    ),
    "ones_": (
        _jax("ones", "ones_(w)"),
        *_keras("Ones()", "ones_(w)"),
        _tf("tf.ones_initializer()", "ones_(w)"),
    ),
    "zeros_": (
        _jax("zeros", "zeros_(w)"),
        *_keras("Zeros()", "zeros_(w)"),
        _tf("tf.zeros_initializer()", "zeros_(w)"),
    ),
    "eye_": (_mlx("identity()", "eye_(w)", "Square matrices alone."),),
    "dirac_": (),
    "xavier_uniform_": (
        _jax("glorot_uniform()", "xavier_uniform_(w)"),
        _jax("xavier_uniform()", "xavier_uniform_(w)"),
        *_keras("GlorotUniform()", "xavier_uniform_(w)"),
        _tf("tf.compat.v1.glorot_uniform_initializer()", "xavier_uniform_(w)"),
        _mlx("glorot_uniform()(w, gain)", "xavier_uniform_(w, gain)"),
    ),
    "xavier_normal_": (_mlx("glorot_normal()(w, gain)", "xavier_normal_(w, gain)", "Not truncated, as here."),),
    "kaiming_uniform_": (
        _jax("he_uniform()", 'kaiming_uniform_(w, nonlinearity="relu")'),
        _jax("kaiming_uniform()", 'kaiming_uniform_(w, nonlinearity="relu")'),
        *_keras("HeUniform()", 'kaiming_uniform_(w, nonlinearity="relu")'),
        _tf("tf.compat.v1.initializers.he_uniform()", 'kaiming_uniform_(w, nonlinearity="relu")'),
        _mlx("he_uniform()(w, mode)", 'kaiming_uniform_(w, mode=mode, nonlinearity="linear")', _NO_GAIN),
    ),
    "kaiming_normal_": (
        _mlx("he_normal()(w, mode)", 'kaiming_normal_(w, mode=mode, nonlinearity="linear")', _NO_GAIN),
    ),
    "orthogonal_": (
        _jax("orthogonal(scale)", "orthogonal_(w, scale)"),
        *_keras("Orthogonal(gain)", "orthogonal_(w, gain)"),
        _tf("tf.compat.v1.orthogonal_initializer(gain)", "orthogonal_(w, gain)"),
        _mlx("orthogonal(gain)", "orthogonal_(w, gain)", "Matrices alone."),
    ),
    "sparse_": (
        _mlx(
            "sparse(sparsity, std=std)", "sparse_(w.T, sparsity, std)", "Zeroes a part of each row; `std` is 1 there."
        ),
    ),
    "fans": (),
    "depth_scaled_std": (),
    "trunc_normal_tf_": (
        _jax(
            "truncated_normal(stddev, lower=lower, upper=upper)",
            "trunc_normal_tf_(w, std=stddev, a=lower, b=upper)",
            "The default of `stddev` is 0.01. " + _BOUNDS,
        ),
        *_keras(
            "TruncatedNormal(mean, stddev)", "trunc_normal_tf_(w, mean, stddev)", "The default of `stddev` is 0.05."
        ),
        _tf("tf.random.truncated_normal(shape, mean, stddev)", "trunc_normal_tf_(w, mean, stddev)"),
        _tf("tf.compat.v1.truncated_normal_initializer(mean, stddev)", "trunc_normal_tf_(w, mean, stddev)"),
        _timm("trunc_normal_tf_(w, mean, std, a, b)", "trunc_normal_tf_(w, mean, std, a, b)"),
    ),
    "variance_scaling_": (
        _jax("variance_scaling(scale, mode, distribution)", "variance_scaling_(w, scale, mode, distribution)"),
        _jax("glorot_normal()", 'variance_scaling_(w, 1.0, "fan_avg")', _XAVIER),
        _jax("xavier_normal()", 'variance_scaling_(w, 1.0, "fan_avg")', _XAVIER),
        _jax("he_normal()", "variance_scaling_(w, 2.0)", _KAIMING),
        _jax("kaiming_normal()", "variance_scaling_(w, 2.0)", _KAIMING),
        *_keras(
            "VarianceScaling(scale, mode, distribution)",
            "variance_scaling_(w, scale, mode, distribution)",
            '`"untruncated_normal"` there is `"normal"` here; `"normal"` there is `"truncated_normal"` here.',
        ),
        *_keras("GlorotNormal()", 'variance_scaling_(w, 1.0, "fan_avg")', _XAVIER),
        *_keras("HeNormal()", "variance_scaling_(w, 2.0)", _KAIMING),
        _tf(
            "tf.compat.v1.variance_scaling_initializer(scale, mode, distribution)",
            "variance_scaling_(w, scale, mode, distribution)",
            'Names the distributions as Keras does: `"normal"` is truncated.',
        ),
        _tf("tf.compat.v1.glorot_normal_initializer()", 'variance_scaling_(w, 1.0, "fan_avg")', _XAVIER),
        _tf("tf.compat.v1.initializers.he_normal()", "variance_scaling_(w, 2.0)", _KAIMING),
        _tf(
            "tf.compat.v1.uniform_unit_scaling_initializer(factor)",
            'variance_scaling_(w, factor**2, distribution="uniform")',
        ),
        _timm(
            "variance_scaling_(w, scale, mode, distribution)",
            "variance_scaling_(w, scale, mode, distribution)",
            'The default distribution is `"normal"` there.',
        ),
        _mlx("he_normal()(w, mode, gain)", 'variance_scaling_(w, gain**2, mode, "normal")'),
        _mlx("he_uniform()(w, mode, gain)", 'variance_scaling_(w, gain**2, mode, "uniform")'),
    ),
    "lecun_uniform_": (
        _jax("lecun_uniform()", "lecun_uniform_(w)"),
        *_keras("LecunUniform()", "lecun_uniform_(w)"),
        _tf("tf.compat.v1.initializers.lecun_uniform()", "lecun_uniform_(w)"),
    ),
    "lecun_normal_": (
        _jax("lecun_normal()", "lecun_normal_(w)"),
        *_keras("LecunNormal()", "lecun_normal_(w)"),
        _tf("tf.compat.v1.initializers.lecun_normal()", "lecun_normal_(w)"),
        _timm("lecun_normal_(w)", "lecun_normal_(w)"),
    ),
    "sine_uniform_": (),
    "identity_": (
        *_keras("Identity(gain)", "identity_(w, gain)", "Matrices alone."),
        _tf("tf.compat.v1.initializers.identity(gain)", "identity_(w, gain)", "Matrices alone."),
    ),
    "block_orthogonal_": (),
    "delta_orthogonal_": (
        _jax("delta_orthogonal(scale)", "delta_orthogonal_(w, scale)", "The centre of an even kernel is one earlier."),
    ),
    "bilinear_": (),
    "icnr_": (),
    "lstm_bias_": (
        Peer("Keras", "LSTM(unit_forget_bias=True)", "lstm_bias_(b)", "An argument of the layer, True by default."),
    ),
    "prior_bias_": (),
    "rotary_inv_freq_": (),
    "sinusoidal_": (),
    "alibi_slopes_": (),
    "log_arange_": (),
    "inverse_softplus_log_uniform_": (),
}
