"""Fans: arithmetic on shapes that never looks at a tensor's data."""

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from torchinit._core import modules
from torchinit._core.checks import _check_partitioned


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


def fans(size: list[int], groups: int = 1, transposed: bool = False) -> tuple[int, int]:
    r"""Count the inputs and the outputs of each unit of a layer, by what the layer does with a weight of this shape.

    ``torch.nn.init`` knows the shape alone: of a grouped convolution it takes the outputs of all groups for fan_out,
    and of a transposed one the outputs for the inputs. Here

    .. math::
        \text{fan\_in} = \text{size}_1 k, \quad \text{fan\_out} = \frac{\text{size}_0 k}{\text{groups}}

    with :math:`k` the product of the further dimensions, and the other way round if transposed. Either goes to
    :func:`variance_scaling_`.

    Args:
        size: shape of the weight: (out, in / groups, ...), or (in, out / groups, ...) if transposed
        groups: number of groups of the convolution, a divisor of dimension 0
        transposed: whether the layer is a transposed convolution, or computes ``x @ weight``

    Returns:
        fan_in and fan_out

    Raises:
        ValueError: if ``size`` has fewer than two dimensions, or ``groups`` is below 1 or does not divide dimension 0

    Examples:
        >>> torchinit.fans([64, 1, 3, 3], groups=64)
        (9, 9)
        >>> torchinit.fans([64, 32, 4, 4], transposed=True)
        (1024, 512)
    """
    if len(size) < 2:
        raise ValueError(
            f"Fan in and fan out can not be computed for tensor with fewer than 2 dimensions, got shape {size}"
        )
    _check_divisible(size, groups, "groups")
    field = 1
    for length in size[2:]:
        field *= length
    inner, outer = size[1] * field, size[0] // groups * field
    return (outer, inner) if transposed else (inner, outer)


def _check_divisible(size: list[int], parts: int, name: str) -> None:
    if parts < 1:
        raise ValueError(f"{name} must be at least 1, got {parts}")
    # NB: near 2**63 TorchScript's remainder overflows.
    if 0 < size[0] < parts or size[0] % parts != 0:
        raise ValueError(f"dim 0 must be divisible by {name}, got shape {size} and {name}={parts}")


def fans_of(module: nn.Module) -> tuple[int, int]:
    """Count the inputs and the outputs of each unit of a module, by its ``weight`` and what it says of itself.

    That is :func:`fans` with the groups of a convolution, eager, scripted or traced, and with the orientation of a
    transposed one or of the ``Conv1D`` of transformers' GPT-2. Eager code alone can ask.

    Args:
        module: a layer with a ``weight`` of at least two dimensions

    Returns:
        fan_in and fan_out

    Raises:
        ValueError: if the module has no such weight, or a lazy one that has seen no input

    Examples:
        >>> torchinit.fans_of(torch.nn.Conv2d(32, 64, 3, groups=32))
        (9, 18)
        >>> torchinit.fans_of(torch.nn.ConvTranspose2d(32, 64, 4))
        (512, 1024)
    """
    weight = getattr(module, "weight", None)
    if not isinstance(weight, Tensor) or is_lazy(weight) or weight.dim() < 2:
        raise ValueError(
            f"fans_of needs a module whose weight has at least 2 dimensions, got {modules.kind_of(module)}"
        )
    shape = list(weight.shape)
    groups, transposed = modules.orientation(module, shape)
    return fans(shape, groups, transposed)
