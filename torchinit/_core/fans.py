"""Fans: how many inputs and outputs each unit of a layer has."""

from functools import partial

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from torchinit._core import modules
from torchinit._core.checks import check_divisible, check_partitioned


def _calculate_fan_in_and_fan_out(tensor: Tensor) -> tuple[int, int]:
    """Count the inputs and the outputs of each unit of a layer.

    Args:
        tensor: a weight of shape (fan_out, fan_in, ...); other dimensions multiply both fans

    Returns:
        fan_in and fan_out

    Raises:
        ValueError: if ``tensor`` has fewer than two dimensions
    """
    if tensor.dim() < 2:
        check_partitioned(tensor)
        raise ValueError(
            "Fan in and fan out can not be computed for tensor with fewer than 2 dimensions"
            f", got shape {list(tensor.shape)}"
        )
    shape = tensor.shape
    receptive_field_size = 1
    # A matrix skips the loop, which costs a fifth of a scripted call. NB: TorchScript has no math.prod.
    if len(shape) > 2:
        for size in shape[2:]:
            receptive_field_size *= size
    return shape[1] * receptive_field_size, shape[0] * receptive_field_size


def _calculate_correct_fan(tensor: Tensor, mode: str) -> int:
    """Count the inputs or the outputs of each unit of a layer.

    Args:
        tensor: a weight of shape (fan_out, fan_in, ...); other dimensions multiply both fans
        mode: ``"fan_in"`` or ``"fan_out"``

    Returns:
        the fan that ``mode`` names

    Raises:
        ValueError: if ``tensor`` has fewer than two dimensions, or for an unknown mode
    """
    if mode != "fan_in":
        mode = fan_mode(mode)
    fan_in, fan_out = _calculate_fan_in_and_fan_out(tensor)
    return fan_in if mode == "fan_in" else fan_out


def fan_mode(mode: str) -> str:
    """Return a mode in lower case; raise if it is unknown."""
    mode = mode.lower()
    if mode != "fan_in" and mode != "fan_out":
        # NB: the choices are spelled out; TorchScript prints a list of strings without quotes.
        raise ValueError(f"Mode {mode} not supported, please use one of ['fan_in', 'fan_out']")
    return mode


def fans(size: list[int], groups: int = 1, transposed: bool = False) -> tuple[int, int]:
    r"""Count the inputs and the outputs of each unit of a layer, with its groups and its orientation.

    ``torch.nn.init`` knows only the shape. For a grouped convolution its fan_out counts the outputs of all groups, and
    for a transposed one it swaps inputs and outputs. Here

    .. math::
        \text{fan\_in} = \text{size}_1 k, \quad \text{fan\_out} = \frac{\text{size}_0 k}{\text{groups}}

    with :math:`k` the product of the other dimensions; the two are swapped if transposed. Pass them to
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
    # NB: a compiler cannot ask this of a size that depends on data.
    if groups != 1:
        check_divisible(size, groups, "groups")
    field = 1
    for length in size[2:]:
        field *= length
    inner, outer = size[1] * field, size[0] // groups * field
    return (outer, inner) if transposed else (inner, outer)


def fans_or_given(size: list[int], mode: str, fan_in: int | None, fan_out: int | None) -> tuple[int, int]:
    """Return both fans: as given, else counted from the size if ``mode`` needs them, else 0."""
    if (fan_in is not None and fan_in < 1) or (fan_out is not None and fan_out < 1):
        raise ValueError(f"fan_in and fan_out must be positive, got {fan_in} and {fan_out}")
    first, second = 0 if fan_in is None else fan_in, 0 if fan_out is None else fan_out
    if (fan_in is None and mode != "fan_out") or (fan_out is None and mode != "fan_in"):
        counted = fans(size)
        first = counted[0] if fan_in is None else first
        second = counted[1] if fan_out is None else second
    return first, second


def fans_of(module: nn.Module) -> tuple[int, int]:
    """Count the inputs and the outputs of each unit of a module, from its ``weight`` and its attributes.

    This is :func:`fans` with the module's own groups, transposed for a transposed convolution and for the ``Conv1D`` of
    transformers' GPT-2. The module may be eager, scripted or traced. Call it from eager code only.

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
    groups, transposed = modules.orientation(modules.kind_of(module), partial(modules.attribute, module), shape)
    return fans(shape, groups, transposed)
