"""Gains: factors that keep the scale of a signal through a nonlinearity or a deep residual network."""

import math

from torch.jit import is_scripting

from torchinit._core.messages import format_float
from torchinit._core.special import erfcx


def _negative_half(x: float) -> float:
    """Compute (1 - 2 erfcx(x) + erfcx(2x)) / x^2 for positive x; its limit at 0 is 2."""
    if x >= 0.1:
        return (1.0 - 2.0 * erfcx(x) + erfcx(2.0 * x)) / (x * x)
    # erfcx(x) is the sum of (-x)^n / gamma(n/2 + 1); at 0.1 the first omitted term is 1e-17 of the sum.
    total, power, gammas = 0.0, 1.0, [1.0, math.sqrt(math.pi) / 2.0]
    for n in range(2, 20):
        gammas.append(0.5 * n * gammas[n - 2])
        total += (2.0**n - 2.0) * power / gammas[n]
        power *= -x
    return total


def _clipped(bound: float) -> float:
    """Compute E[clip(z, -c, c)^2] / min(c, 1)^2 for positive c."""
    if bound >= 40.0:
        return 1.0
    outside = math.erfc(bound / math.sqrt(2.0))
    if bound >= 0.5:
        inside = math.erf(bound / math.sqrt(2.0)) - bound * math.sqrt(2.0 / math.pi) * math.exp(-0.5 * bound * bound)
        return (inside + bound * bound * outside) / min(bound, 1.0) ** 2
    # The integral of z^2 exp(-z^2 / 2), term by term; at 0.5 the first omitted term is 1e-17 of the sum.
    total, term = 0.0, math.sqrt(2.0 / math.pi) * bound
    for n in range(11):
        total += term / (2 * n + 3)
        term *= -0.5 * bound * bound / (n + 1)
    return total + outside


def _exact_gain(nonlinearity: str, param: float | None) -> float:
    """Return 1 / sqrt(E[f(z)^2]) for z ~ N(0, 1) and a function f that ``torch.nn.init`` lacks."""
    # Integrated to 17 digits; tests/core/test_gain.py verifies them.
    known = {
        "gelu": 1.5335304411955352,
        "gelu_tanh": 1.5335805216661470,
        "silu": 1.6765324703310912,
        "swish": 1.6765324703310912,
        "mish": 1.4868475812732081,
        "softplus": 1.0418668355353017,
        "hardswish": 1.7366572127665416,
        "hardsigmoid": 1.8978404247295590,
        "relu6": 1.4142135650950737,
        "softsign": 2.3375333631085397,
        "squared_relu": 0.81649658092772603,  # sqrt(2 / 3)
    }
    if nonlinearity in known:
        if param is not None:
            raise ValueError(f"{nonlinearity} takes no parameter, got {format_float(param)}")
        return known[nonlinearity]
    if nonlinearity not in ["elu", "celu", "hardtanh", "sine"]:
        # NB: the choices are spelled out; TorchScript prints a list of strings without quotes.
        raise ValueError(
            f"Unsupported nonlinearity {nonlinearity}, please use one of ['linear', 'conv1d', 'conv2d', 'conv3d', "
            "'conv_transpose1d', 'conv_transpose2d', 'conv_transpose3d', 'sigmoid', 'tanh', 'relu', 'leaky_relu', "
            "'selu', 'gelu', 'gelu_tanh', 'silu', 'swish', 'mish', 'elu', 'celu', 'softplus', 'hardswish', "
            "'hardsigmoid', 'hardtanh', 'relu6', 'softsign', 'squared_relu', 'sine']"
        )
    x = 1.0 if param is None else param
    if not 0.0 < x < math.inf:
        raise ValueError(f"the parameter of {nonlinearity} must be a positive number, got {format_float(x)}")
    if nonlinearity == "elu":
        return 1.0 / math.sqrt(0.5 + 0.25 * x * x * _negative_half(math.sqrt(0.5)))
    if nonlinearity == "celu":
        return 1.0 / math.sqrt(0.5 + 0.25 * _negative_half(math.sqrt(0.5) / x))
    if nonlinearity == "hardtanh":
        return 1.0 / math.sqrt(_clipped(x)) / min(x, 1.0)
    # E[sin(wz)^2] = (1 - exp(-2w^2)) / 2, which for a tiny w is w^2.
    return 1.0 / math.sqrt(-0.5 * math.expm1(-2.0 * x * x)) if x > 1e-9 else 1.0 / x


def _one() -> float:
    """Return the int 1 in eager, as upstream does."""
    if is_scripting():
        return 1.0
    else:
        return 1


# Upstream's names except leaky_relu; they ignore the parameter.
_IGNORE_PARAM = frozenset(
    [*("linear", "sigmoid", "tanh", "relu", "selu"), *(f"conv{t}{n}d" for t in ("", "_transpose") for n in (1, 2, 3))]
)


def _check_param(nonlinearity: str, param: object) -> None:
    """Refuse a parameter that is not a number; in TorchScript the schema does."""
    if nonlinearity not in _IGNORE_PARAM and (isinstance(param, bool) or not isinstance(param, (int, float))):
        if nonlinearity == "leaky_relu":
            raise ValueError(f"negative_slope {param} not a valid number")
        raise ValueError(f"the parameter of {nonlinearity} must be a positive number, got {param}")


def depth_scaled_std(std: float, layers: int, branches: int = 2) -> float:
    r"""Scale down the standard deviation of the layers that write to a residual stream.

    Radford et al., "Language models are unsupervised multitask learners" (2019), GPT-2: the sum of all branches has the
    same scale at any depth.

    .. math::
        \frac{\text{std}}{\sqrt{\text{branches} \times \text{layers}}}

    Args:
        std: standard deviation of the other layers
        layers: number of the model's layers (blocks)
        branches: number of residual branches per layer, 2 for a transformer's attention and MLP

    Returns:
        the standard deviation for the last linear layer of each branch

    Raises:
        ValueError: if ``layers`` or ``branches`` is below 1

    Examples:
        >>> torchinit.depth_scaled_std(0.02, layers=8)
        0.005
    """
    if layers < 1 or branches < 1:
        raise ValueError(f"layers and branches must be at least 1, got {layers} and {branches}")
    # NB: TorchScript's integers have 64 bits.
    return std / math.sqrt(float(branches) * float(layers))


def calculate_gain(nonlinearity: str, param: int | float | None = None) -> float:
    r"""Return the gain recommended for a nonlinearity.

    The gain multiplies the standard deviation of a layer's weights to keep the scale of the activations from layer to
    layer. For upstream's names it is upstream's:

    ================= ====================================================
    nonlinearity      gain
    ================= ====================================================
    linear            :math:`1`
    conv{1,2,3}d      :math:`1`, transposed ones too
    sigmoid           :math:`1`
    tanh              :math:`\frac{5}{3}`
    relu              :math:`\sqrt{2}`
    leaky_relu        :math:`\sqrt{\frac{2}{1 + \text{negative\_slope}^2}}`
    selu              :math:`\frac{3}{4}`
    ================= ====================================================

    For all other names it keeps the second moment of a signal, as that of ``relu`` does:

    .. math::
        \text{gain} = \frac{1}{\sqrt{\mathbb{E}[f(z)^2]}}, \quad z \sim \mathcal{N}(0, 1)

    ================= ========= ==================================================
    nonlinearity      gain      parameter
    ================= ========= ==================================================
    gelu              1.533530
    gelu_tanh         1.533581
    silu, swish       1.676532
    mish              1.486848
    elu               1.245198  :math:`\alpha`, here and below 1 by default
    celu              1.245198  :math:`\alpha`
    softplus          1.041867
    hardswish         1.736657
    hardsigmoid       1.897840
    hardtanh          1.392036  the bound :math:`c` of :math:`[-c, c]`
    relu6             1.414214
    softsign          2.337533
    squared_relu      0.816497
    sine              1.520867  the frequency :math:`\omega` of :math:`\sin \omega z`
    ================= ========= ==================================================

    This holds for a signal of variance 1. A deviation from it shrinks from layer to layer (elu, tanh, sine), stays
    (relu) or grows (gelu, silu). Where it grows, a deep stack needs normalization or residual branches at any gain.

    Three of upstream's gains differ from the formula, by which the gain of tanh is 1.592537, that of sigmoid 1.846229
    and that of selu 1. For a self-normalizing network (Klambauer et al., 2017, https://arxiv.org/abs/1706.02515) use
    ``"linear"``, whose weights have variance :math:`1 / N`, rather than ``"selu"``.

    Args:
        nonlinearity: name of the function, as in ``torch.nn.functional``
        param: negative slope of ``"leaky_relu"`` (default: 0.01); alpha of ``"elu"`` and ``"celu"``, bound of
            ``"hardtanh"`` or frequency of ``"sine"``, positive (default: 1). Upstream's other names ignore it

    Returns:
        the gain, a factor without unit; in eager the int 1 where upstream returns that

    Raises:
        ValueError: for an unknown nonlinearity, a negative slope that is not a number, or a parameter that is not
            positive or that the function does not take

    Examples:
        >>> torchinit.calculate_gain("relu")
        1.4142135623730951
        >>> torchinit.calculate_gain("leaky_relu", 0.2)
        1.3867504905630728
        >>> round(torchinit.calculate_gain("elu", 0.5), 6)
        1.365595
    """
    if not is_scripting():
        if param is not None and type(param) is not float:
            _check_param(nonlinearity, param)
    if nonlinearity == "leaky_relu":
        negative_slope = 0.01 if param is None else float(param)
        # Avoid overflow of negative_slope**2; the 1 is negligible there.
        large = not abs(negative_slope) < 1e150
        return math.sqrt(2.0) / abs(negative_slope) if large else math.sqrt(2.0 / (1 + negative_slope**2))
    if nonlinearity == "relu":
        return math.sqrt(2.0)
    if nonlinearity == "tanh":
        return 5.0 / 3
    if nonlinearity == "selu":
        # Found empirically: https://github.com/pytorch/pytorch/pull/50664
        return 3.0 / 4
    if nonlinearity in [
        "linear",
        "conv1d",
        "conv2d",
        "conv3d",
        "conv_transpose1d",
        "conv_transpose2d",
        "conv_transpose3d",
        "sigmoid",
    ]:
        return _one()
    return _exact_gain(nonlinearity, None if param is None else float(param))
