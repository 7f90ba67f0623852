"""The registry: one entry per function, in upstream's order, as plain data.

The code generator, recipes, keyed functions, the bundle and the docs read it. It imports no function;
``Entry.function`` looks one up by name. ``jit_tests/test_schemas.py`` compares each schema with
``torch.jit.script(function).schema``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, NamedTuple


class Choices(NamedTuple):
    """The values of a string argument, and the name of its type in the stub."""

    name: str
    values: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Entry:
    """A function.

    Args:
        schema: its JIT schema, as ``torch.jit.script(function).schema`` prints it
        family: the module of ``torchinit`` that defines it
        choices: the values of each argument that takes only a few strings
        deprecated: the old name, which warns and calls this one
    """

    schema: str
    family: str
    choices: Mapping[str, Choices] = field(default_factory=dict)
    deprecated: str | None = None

    @property
    def name(self) -> str:
        """The function's name."""
        return self.schema.partition("(")[0]

    @property
    def draws(self) -> bool:
        """True if it draws random numbers; such an initializer has a sibling in ``torchinit.keyed``."""
        return "Generator?" in self.schema

    @property
    def function(self) -> Callable[..., Any]:
        """The function itself."""
        found: Callable[..., Any] = getattr(import_module(f"torchinit.{self.family}"), self.name)
        return found


@dataclass(frozen=True, eq=False)
class Initializer(Entry):
    """An initializer.

    Args:
        ndim: dimensions of the smallest weight to try it on
        alias_of: the initializer that it equals, with other numbers
        structured: a value depends on its position, or only some shapes are valid
        indivisible: values depend on each other, so a shard cannot be drawn without the whole
        fixed_scale: a recipe cannot divide the spread of its values
    """

    ndim: int = 2
    alias_of: str | None = None
    structured: bool = False
    indivisible: bool = False
    fixed_scale: bool = False

    @property
    def needs_fans(self) -> bool:
        """True if its standard deviation follows from the fans."""
        return self.family == "_core.variance_scaling"

    @property
    def has_scale(self) -> bool:
        """True if its values have a spread around a center, which can be divided."""
        return self.draws and not self.fixed_scale

    @property
    def flattens(self) -> bool:
        """True if it makes one matrix of a weight, also of a kernel with more dimensions."""
        return self.indivisible and self.ndim == 2


# Literal types of the stub, with upstream's names where it has them.
NONLINEARITY = Choices(
    "_NonlinearityType",
    (
        *("linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
        *("sigmoid", "tanh", "relu", "leaky_relu", "selu"),
        # Not upstream.
        *("gelu", "gelu_tanh", "silu", "swish", "mish", "elu", "celu", "softplus", "hardswish", "hardsigmoid"),
        *("hardtanh", "relu6", "softsign", "squared_relu", "sine"),
    ),
)
FAN_MODE = Choices("_FanMode", ("fan_in", "fan_out"))
MEAN_MODE = Choices("_MeanMode", ("fan_in", "fan_out", "fan_avg", "fan_geo_avg"))
DISTRIBUTION = Choices("_Distribution", ("truncated_normal", "normal", "uniform"))
ROTARY_SCALING = Choices(
    "_RotaryScaling", ("default", "linear", "dynamic", "yarn", "longrope", "llama3", "proportional")
)
SINUSOIDAL_LAYOUT = Choices("_SinusoidalLayout", ("interleaved", "sin_cos", "cos_sin"))
SINUSOIDAL_FORMULA = Choices("_SinusoidalFormula", ("exp", "pow", "float64"))
ALIBI_FORMULA = Choices("_AlibiFormula", ("bloom", "mpt", "float64"))

_SCALING = {"mode": MEAN_MODE, "distribution": DISTRIBUTION}
_KAIMING = {"mode": FAN_MODE, "nonlinearity": NONLINEARITY}

# In torch.nn.init.
UPSTREAM = (
    Entry(
        "calculate_gain(str nonlinearity, Union(float, int, NoneType) param=None) -> float",
        "_core.gains",
        choices={"nonlinearity": NONLINEARITY},
    ),
    Initializer(
        "uniform_(Tensor tensor, float a=0., float b=1., Generator? generator=None) -> Tensor",
        "_core.distributions",
        deprecated="uniform",
    ),
    Initializer(
        "normal_(Tensor tensor, float mean=0., float std=1., Generator? generator=None) -> Tensor",
        "_core.distributions",
        deprecated="normal",
    ),
    Initializer(
        "trunc_normal_(Tensor tensor, float mean=0., float std=1., float a=-2., float b=2., "
        "Generator? generator=None) -> Tensor",
        "_core.distributions",
    ),
    Initializer("constant_(Tensor tensor, float val) -> Tensor", "_core.distributions", deprecated="constant"),
    Initializer("ones_(Tensor tensor) -> Tensor", "_core.distributions"),
    Initializer("zeros_(Tensor tensor) -> Tensor", "_core.distributions"),
    Initializer("eye_(Tensor tensor) -> Tensor", "_core.structured", deprecated="eye", structured=True),
    Initializer(
        "dirac_(Tensor tensor, int groups=1) -> Tensor", "_core.structured", deprecated="dirac", ndim=3, structured=True
    ),
    Initializer(
        "xavier_uniform_(Tensor tensor, float gain=1., Generator? generator=None) -> Tensor",
        "_core.variance_scaling",
        deprecated="xavier_uniform",
    ),
    Initializer(
        "xavier_normal_(Tensor tensor, float gain=1., Generator? generator=None) -> Tensor",
        "_core.variance_scaling",
        deprecated="xavier_normal",
    ),
    Initializer(
        'kaiming_uniform_(Tensor tensor, float a=0., str mode="fan_in", str nonlinearity="leaky_relu", '
        "Generator? generator=None) -> Tensor",
        "_core.variance_scaling",
        choices=_KAIMING,
        deprecated="kaiming_uniform",
    ),
    Initializer(
        'kaiming_normal_(Tensor tensor, float a=0., str mode="fan_in", str nonlinearity="leaky_relu", '
        "Generator? generator=None) -> Tensor",
        "_core.variance_scaling",
        choices=_KAIMING,
        deprecated="kaiming_normal",
    ),
    Initializer(
        "orthogonal_(Tensor tensor, float gain=1., Generator? generator=None) -> Tensor",
        "_core.structured",
        deprecated="orthogonal",
        structured=True,
        indivisible=True,
    ),
    Initializer(
        "sparse_(Tensor tensor, float sparsity, float std=0.01, Generator? generator=None) -> Tensor",
        "_core.structured",
        deprecated="sparse",
        structured=True,
        indivisible=True,
        fixed_scale=True,
    ),
    # Private upstream, but imported by other packages.
    Entry("_calculate_fan_in_and_fan_out(Tensor tensor) -> ((int, int))", "_core.fans"),
    Entry("_calculate_correct_fan(Tensor tensor, str mode) -> int", "_core.fans", choices={"mode": FAN_MODE}),
    Entry("_no_grad_uniform_(Tensor tensor, float a, float b, Generator? generator=None) -> Tensor", "_core.writes"),
    Entry(
        "_no_grad_normal_(Tensor tensor, float mean, float std, Generator? generator=None) -> Tensor", "_core.writes"
    ),
    Entry(
        "_no_grad_trunc_normal_(Tensor tensor, float mean, float std, float a, float b, "
        "Generator? generator=None) -> Tensor",
        "_core.writes",
    ),
    Entry("_no_grad_fill_(Tensor tensor, float val) -> Tensor", "_core.writes"),
    Entry("_no_grad_zero_(Tensor tensor) -> Tensor", "_core.writes"),
)

# Not in torch.nn.init.
EXTRAS = (
    Entry("fans(int[] size, int groups=1, bool transposed=False) -> ((int, int))", "_core.fans"),
    Entry("depth_scaled_std(float std, int layers, int branches=2) -> float", "_core.gains"),
    Initializer(
        "trunc_normal_tf_(Tensor tensor, float mean=0., float std=1., float a=-2., float b=2., "
        "Generator? generator=None, bool correct_std=False) -> Tensor",
        "_core.distributions",
        alias_of="trunc_normal_",
    ),
    Initializer(
        'variance_scaling_(Tensor tensor, float scale=1., str mode="fan_in", str distribution="truncated_normal", '
        "int? fan_in=None, int? fan_out=None, Generator? generator=None) -> Tensor",
        "_core.variance_scaling",
        choices=_SCALING,
    ),
    Initializer("lecun_uniform_(Tensor tensor, Generator? generator=None) -> Tensor", "_core.variance_scaling"),
    Initializer("lecun_normal_(Tensor tensor, Generator? generator=None) -> Tensor", "_core.variance_scaling"),
    Initializer(
        "sine_uniform_(Tensor tensor, float omega=30., bool is_first=False, Generator? generator=None) -> Tensor",
        "_core.variance_scaling",
    ),
    Initializer("identity_(Tensor tensor, float gain=1., int groups=1) -> Tensor", "_core.structured", structured=True),
    Initializer(
        "block_orthogonal_(Tensor tensor, int blocks, float gain=1., Generator? generator=None) -> Tensor",
        "_core.structured",
        structured=True,
        indivisible=True,
    ),
    Initializer(
        "delta_orthogonal_(Tensor tensor, float gain=1., int groups=1, Generator? generator=None) -> Tensor",
        "_core.structured",
        ndim=3,
        structured=True,
        indivisible=True,
    ),
    Initializer("bilinear_(Tensor tensor, int groups=1) -> Tensor", "_core.layers", ndim=3, structured=True),
    Initializer(
        'icnr_(Tensor tensor, int upscale_factor=2, float scale=2., str mode="fan_in", str distribution="normal", '
        "Generator? generator=None) -> Tensor",
        "_core.layers",
        choices=_SCALING,
        ndim=3,
        structured=True,
        fixed_scale=True,
    ),
    Initializer("lstm_bias_(Tensor tensor, float forget=1.) -> Tensor", "_core.layers", ndim=1, structured=True),
    Initializer("prior_bias_(Tensor tensor, float prior=0.01) -> Tensor", "_core.layers", alias_of="constant_"),
    Initializer(
        'rotary_inv_freq_(Tensor tensor, float base=10000., str scaling="default", float factor=1., '
        "int? original_max_position_embeddings=None, int? seq_len=None, float low_freq_factor=1., "
        "float high_freq_factor=4., float beta_fast=32., float beta_slow=1., bool truncate=True, "
        "float partial_rotary_factor=1., float[]? factors=None) -> Tensor",
        "_core.rotary",
        choices={"scaling": ROTARY_SCALING},
        ndim=1,
        structured=True,
    ),
    Initializer(
        'sinusoidal_(Tensor tensor, float base=10000., str layout="interleaved", bool endpoint=False, '
        'str formula="exp", int? padding_idx=None) -> Tensor',
        "_core.tables",
        choices={"layout": SINUSOIDAL_LAYOUT, "formula": SINUSOIDAL_FORMULA},
        structured=True,
    ),
    Initializer(
        'alibi_slopes_(Tensor tensor, float bias_max=8., str formula="bloom") -> Tensor',
        "_core.tables",
        choices={"formula": ALIBI_FORMULA},
        ndim=1,
        structured=True,
    ),
    Initializer("log_arange_(Tensor tensor) -> Tensor", "_core.tables", ndim=1, structured=True),
    Initializer(
        "inverse_softplus_log_uniform_(Tensor tensor, float low=0.001, float high=0.10000000000000001, "
        "float floor=0.0001, Generator? generator=None) -> Tensor",
        "_core.distributions",
        ndim=1,
        fixed_scale=True,
    ),
)

# The functions of torchinit.keyed that are not initializers.
KEYS = (
    Entry("key(int seed) -> Tensor", "keyed._keys"),
    Entry("split(Tensor key, int n=2) -> Tensor", "keyed._keys"),
    Entry("fold_in(Tensor key, Union(int, str) data) -> Tensor", "keyed._keys"),
)

# By name, in the order above.
INITIALIZERS = {entry.name: entry for entry in UPSTREAM + EXTRAS if isinstance(entry, Initializer)}
