"""The source of truth: one row a function, in upstream's order.

A row is the function's JIT schema, which Python, TorchScript and C++ share, and what no schema says.
``jit_tests/test_schemas.py`` holds each against ``torch.jit.script(function).schema``.
"""

from tools.codegen.model import Choices, row

# The stub's types, under upstream's names where it has them.
NONLINEARITY = Choices(
    "_NonlinearityType",
    (
        "linear",
        "conv1d",
        "conv2d",
        "conv3d",
        "conv_transpose1d",
        "conv_transpose2d",
        "conv_transpose3d",
        "sigmoid",
        "tanh",
        "relu",
        "leaky_relu",
        "selu",
        "gelu",
        "gelu_tanh",
        "silu",
        "swish",
        "mish",
        "elu",
        "celu",
        "softplus",
        "hardswish",
        "hardsigmoid",
        "hardtanh",
        "relu6",
        "softsign",
        "squared_relu",
        "sine",
    ),
)
FAN_MODE = Choices("_FanMode", ("fan_in", "fan_out"))

MEAN_MODE = Choices("_MeanMode", ("fan_in", "fan_out", "fan_avg", "fan_geo_avg"))
DISTRIBUTION = Choices("_Distribution", ("truncated_normal", "normal", "uniform"))

_SCALING = {"mode": MEAN_MODE, "distribution": DISTRIBUTION}
_KAIMING = {"mode": FAN_MODE, "nonlinearity": NONLINEARITY}

# What torch.nn.init has.
UPSTREAM = (
    row(
        "calculate_gain(str nonlinearity, Union(float, int, NoneType) param=None) -> float",
        family="_core.gains",
        choices={"nonlinearity": NONLINEARITY},
    ),
    row(
        "uniform_(Tensor tensor, float a=0., float b=1., Generator? generator=None) -> Tensor",
        family="_core.distributions",
        deprecated="uniform",
    ),
    row(
        "normal_(Tensor tensor, float mean=0., float std=1., Generator? generator=None) -> Tensor",
        family="_core.distributions",
        deprecated="normal",
    ),
    row(
        "trunc_normal_(Tensor tensor, float mean=0., float std=1., float a=-2., float b=2., "
        "Generator? generator=None) -> Tensor",
        family="_core.distributions",
    ),
    row("constant_(Tensor tensor, float val) -> Tensor", family="_core.distributions", deprecated="constant"),
    row("ones_(Tensor tensor) -> Tensor", family="_core.distributions"),
    row("zeros_(Tensor tensor) -> Tensor", family="_core.distributions"),
    row("eye_(Tensor tensor) -> Tensor", family="_core.structured", deprecated="eye"),
    row("dirac_(Tensor tensor, int groups=1) -> Tensor", family="_core.structured", deprecated="dirac"),
    row(
        "xavier_uniform_(Tensor tensor, float gain=1., Generator? generator=None) -> Tensor",
        family="_core.variance_scaling",
        deprecated="xavier_uniform",
    ),
    row(
        "xavier_normal_(Tensor tensor, float gain=1., Generator? generator=None) -> Tensor",
        family="_core.variance_scaling",
        deprecated="xavier_normal",
    ),
    row(
        'kaiming_uniform_(Tensor tensor, float a=0., str mode="fan_in", str nonlinearity="leaky_relu", '
        "Generator? generator=None) -> Tensor",
        family="_core.variance_scaling",
        choices=_KAIMING,
        deprecated="kaiming_uniform",
    ),
    row(
        'kaiming_normal_(Tensor tensor, float a=0., str mode="fan_in", str nonlinearity="leaky_relu", '
        "Generator? generator=None) -> Tensor",
        family="_core.variance_scaling",
        choices=_KAIMING,
        deprecated="kaiming_normal",
    ),
    row(
        "orthogonal_(Tensor tensor, float gain=1., Generator? generator=None) -> Tensor",
        family="_core.structured",
        deprecated="orthogonal",
    ),
    row(
        "sparse_(Tensor tensor, float sparsity, float std=0.01, Generator? generator=None) -> Tensor",
        family="_core.structured",
        deprecated="sparse",
    ),
    # Private upstream, but imported by other packages.
    row("_calculate_fan_in_and_fan_out(Tensor tensor) -> ((int, int))", family="_core.fans"),
    row(
        "_calculate_correct_fan(Tensor tensor, str mode) -> int",
        family="_core.fans",
        choices={"mode": FAN_MODE},
    ),
    row(
        "_no_grad_uniform_(Tensor tensor, float a, float b, Generator? generator=None) -> Tensor",
        family="_core.writes",
    ),
    row(
        "_no_grad_normal_(Tensor tensor, float mean, float std, Generator? generator=None) -> Tensor",
        family="_core.writes",
    ),
    row(
        "_no_grad_trunc_normal_(Tensor tensor, float mean, float std, float a, float b, "
        "Generator? generator=None) -> Tensor",
        family="_core.writes",
    ),
    row("_no_grad_fill_(Tensor tensor, float val) -> Tensor", family="_core.writes"),
    row("_no_grad_zero_(Tensor tensor) -> Tensor", family="_core.writes"),
)

# What it lacks.
EXTRAS = (
    row("fans(int[] size, int groups=1, bool transposed=False) -> ((int, int))", family="_core.fans"),
    row("depth_scaled_std(float std, int layers, int branches=2) -> float", family="_core.gains"),
    row(
        "trunc_normal_tf_(Tensor tensor, float mean=0., float std=1., float a=-2., float b=2., "
        "Generator? generator=None, bool correct_std=False) -> Tensor",
        family="_core.distributions",
    ),
    row(
        'variance_scaling_(Tensor tensor, float scale=1., str mode="fan_in", str distribution="truncated_normal", '
        "int? fan_in=None, int? fan_out=None, Generator? generator=None) -> Tensor",
        family="_core.variance_scaling",
        choices=_SCALING,
    ),
    row("lecun_uniform_(Tensor tensor, Generator? generator=None) -> Tensor", family="_core.variance_scaling"),
    row("lecun_normal_(Tensor tensor, Generator? generator=None) -> Tensor", family="_core.variance_scaling"),
    row(
        "sine_uniform_(Tensor tensor, float omega=30., bool is_first=False, Generator? generator=None) -> Tensor",
        family="_core.variance_scaling",
    ),
    row("identity_(Tensor tensor, float gain=1., int groups=1) -> Tensor", family="_core.structured"),
    row(
        "block_orthogonal_(Tensor tensor, int blocks, float gain=1., Generator? generator=None) -> Tensor",
        family="_core.structured",
    ),
    row(
        "delta_orthogonal_(Tensor tensor, float gain=1., int groups=1, Generator? generator=None) -> Tensor",
        family="_core.structured",
    ),
    row("bilinear_(Tensor tensor, int groups=1) -> Tensor", family="_core.layers"),
    row(
        'icnr_(Tensor tensor, int upscale_factor=2, float scale=2., str mode="fan_in", str distribution="normal", '
        "Generator? generator=None) -> Tensor",
        family="_core.layers",
        choices=_SCALING,
    ),
    row("lstm_bias_(Tensor tensor, float forget=1.) -> Tensor", family="_core.layers"),
    row("prior_bias_(Tensor tensor, float prior=0.01) -> Tensor", family="_core.layers"),
)

FUNCTIONS = UPSTREAM + EXTRAS

# Of ``torchinit.keyed``; its initializers follow from the rows above that draw.
KEYS = (
    row("key(int seed) -> Tensor", family="keyed._keys"),
    row("split(Tensor key, int n=2) -> Tensor", family="keyed._keys"),
    row("fold_in(Tensor key, Union(int, str) data) -> Tensor", family="keyed._keys"),
)

TABLE = FUNCTIONS + KEYS
