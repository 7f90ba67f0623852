"""The source of truth: one row a function, in upstream's order.

A row is the function's JIT schema, which Python, TorchScript and C++ share, and what no schema says.
``jit_tests/test_schemas.py`` holds each against ``torch.jit.script(function).schema``.
"""

from tools.codegen.model import Choices, row

# The stub's types, under upstream's names.
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
    ),
)
FAN_MODE = Choices("_FanMode", ("fan_in", "fan_out"))

_KAIMING = {"mode": FAN_MODE, "nonlinearity": NONLINEARITY}

FUNCTIONS = (
    row(
        "calculate_gain(str nonlinearity, Union(float, int, NoneType) param=None) -> float",
        family="_fan",
        choices={"nonlinearity": NONLINEARITY},
    ),
    row(
        "uniform_(Tensor tensor, float a=0., float b=1., Generator? generator=None) -> Tensor",
        family="_basic",
        deprecated="uniform",
    ),
    row(
        "normal_(Tensor tensor, float mean=0., float std=1., Generator? generator=None) -> Tensor",
        family="_basic",
        deprecated="normal",
    ),
    row(
        "trunc_normal_(Tensor tensor, float mean=0., float std=1., float a=-2., float b=2., "
        "Generator? generator=None) -> Tensor",
        family="_basic",
    ),
    row("constant_(Tensor tensor, float val) -> Tensor", family="_basic", deprecated="constant"),
    row("ones_(Tensor tensor) -> Tensor", family="_basic"),
    row("zeros_(Tensor tensor) -> Tensor", family="_basic"),
    row("eye_(Tensor tensor) -> Tensor", family="_structured", deprecated="eye"),
    row("dirac_(Tensor tensor, int groups=1) -> Tensor", family="_structured", deprecated="dirac"),
    row(
        "xavier_uniform_(Tensor tensor, float gain=1., Generator? generator=None) -> Tensor",
        family="_scaled",
        deprecated="xavier_uniform",
    ),
    row(
        "xavier_normal_(Tensor tensor, float gain=1., Generator? generator=None) -> Tensor",
        family="_scaled",
        deprecated="xavier_normal",
    ),
    row(
        'kaiming_uniform_(Tensor tensor, float a=0., str mode="fan_in", str nonlinearity="leaky_relu", '
        "Generator? generator=None) -> Tensor",
        family="_scaled",
        choices=_KAIMING,
        deprecated="kaiming_uniform",
    ),
    row(
        'kaiming_normal_(Tensor tensor, float a=0., str mode="fan_in", str nonlinearity="leaky_relu", '
        "Generator? generator=None) -> Tensor",
        family="_scaled",
        choices=_KAIMING,
        deprecated="kaiming_normal",
    ),
    row(
        "orthogonal_(Tensor tensor, float gain=1., Generator? generator=None) -> Tensor",
        family="_structured",
        deprecated="orthogonal",
    ),
    row(
        "sparse_(Tensor tensor, float sparsity, float std=0.01, Generator? generator=None) -> Tensor",
        family="_structured",
        deprecated="sparse",
    ),
    # Private upstream, but imported by other packages.
    row("_calculate_fan_in_and_fan_out(Tensor tensor) -> ((int, int))", family="_fan"),
    row(
        "_calculate_correct_fan(Tensor tensor, str mode) -> int",
        family="_fan",
        choices={"mode": FAN_MODE},
    ),
    row(
        "_no_grad_uniform_(Tensor tensor, float a, float b, Generator? generator=None) -> Tensor",
        family="_primitives",
    ),
    row(
        "_no_grad_normal_(Tensor tensor, float mean, float std, Generator? generator=None) -> Tensor",
        family="_primitives",
    ),
    row(
        "_no_grad_trunc_normal_(Tensor tensor, float mean, float std, float a, float b, "
        "Generator? generator=None) -> Tensor",
        family="_primitives",
    ),
    row("_no_grad_fill_(Tensor tensor, float val) -> Tensor", family="_primitives"),
    row("_no_grad_zero_(Tensor tensor) -> Tensor", family="_primitives"),
)

# Of ``torchinit.keyed``; its initializers follow from the rows above that draw.
KEYS = (
    row("key(int seed) -> Tensor", family="keyed._keys"),
    row("split(Tensor key, int n=2) -> Tensor", family="keyed._keys"),
    row("fold_in(Tensor key, Union(int, str) data) -> Tensor", family="keyed._keys"),
)

TABLE = FUNCTIONS + KEYS
