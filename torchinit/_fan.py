"""Fans and gains: arithmetic on shapes and numbers that never looks at a tensor's data."""

import math

from torch import Tensor
from torch.jit import is_scripting

from torchinit._checks import _check_partitioned


def _calculate_fan_in_and_fan_out(tensor: Tensor) -> tuple[int, int]:
    """Count the inputs and the outputs of each unit of a layer.

    Args:
        tensor: a weight of shape (fan_out, fan_in, ...), the further dimensions counting into both fans

    Returns:
        fan_in and fan_out

    Raises:
        ValueError: if ``tensor`` has fewer than two dimensions
    """
    if tensor.dim() < 2:
        _check_partitioned(tensor)
        raise ValueError(
            "Fan in and fan out can not be computed for tensor with fewer than 2 dimensions"
            f", got shape {list(tensor.shape)}"
        )
    shape = tensor.shape
    receptive_field_size = 1
    # A matrix skips what TorchScript makes of a loop, a fifth of the whole call. NB: it has no math.prod.
    if len(shape) > 2:
        for size in shape[2:]:
            receptive_field_size *= size
    return shape[1] * receptive_field_size, shape[0] * receptive_field_size


def _calculate_correct_fan(tensor: Tensor, mode: str) -> int:
    """Count the inputs or the outputs of each unit of a layer.

    Args:
        tensor: a weight of shape (fan_out, fan_in, ...), the further dimensions counting into both fans
        mode: ``"fan_in"`` or ``"fan_out"``

    Returns:
        the fan that ``mode`` names

    Raises:
        ValueError: if ``tensor`` has fewer than two dimensions, or for an unknown mode
    """
    if mode != "fan_in":
        mode = mode.lower()
        if mode != "fan_in" and mode != "fan_out":
            # NB: the choices are spelled out; TorchScript prints a list of strings without quotes.
            raise ValueError(f"Mode {mode} not supported, please use one of ['fan_in', 'fan_out']")
    fan_in, fan_out = _calculate_fan_in_and_fan_out(tensor)
    return fan_in if mode == "fan_in" else fan_out


def calculate_gain(nonlinearity: str, param: int | float | None = None) -> float:
    r"""Return the gain recommended for a nonlinearity.

    The gain multiplies the standard deviation of a layer's weights so that the scale of the activations is kept from
    layer to layer.

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

    For a self-normalizing network (Klambauer et al., 2017, https://arxiv.org/abs/1706.02515) use ``"linear"``, whose
    weights have variance :math:`1 / N`, rather than ``"selu"``.

    Args:
        nonlinearity: name of the function in ``torch.nn.functional``
        param: negative slope of ``"leaky_relu"`` (default: 0.01); the others ignore it

    Returns:
        the gain, a factor without unit; in eager the int 1 where it is 1, as upstream

    Raises:
        ValueError: for an unknown nonlinearity, or a negative slope that is not a number

    Examples:
        >>> torchinit.calculate_gain("relu")
        1.4142135623730951
        >>> torchinit.calculate_gain("leaky_relu", 0.2)
        1.3867504905630728
    """
    if nonlinearity == "leaky_relu":
        if not is_scripting():
            number = type(param) is float or (isinstance(param, (int, float)) and not isinstance(param, bool))
            if not number and param is not None:
                raise ValueError(f"negative_slope {param} not a valid number")
        negative_slope = 0.01 if param is None else float(param)
        return math.sqrt(2.0 / (1 + negative_slope**2))
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
        if is_scripting():
            return 1.0
        else:
            return 1
    raise ValueError(
        f"Unsupported nonlinearity {nonlinearity}, please use one of ['linear', 'conv1d', 'conv2d', 'conv3d', "
        "'conv_transpose1d', 'conv_transpose2d', 'conv_transpose3d', 'sigmoid', 'tanh', 'relu', 'leaky_relu', 'selu']"
    )
