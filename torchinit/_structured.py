"""Fills that place values: identities, orthogonal matrices, sparse columns."""

import math
from functools import partial

import torch
from torch import Tensor
from torch.jit import is_scripting

from torchinit import _unusual
from torchinit._checks import _check_inexact, _check_overlap, _check_partitioned, _number
from torchinit._primitives import (
    _no_grad_copy_,
    _no_grad_dirac_,
    _no_grad_drop_rows_,
    _no_grad_eye_,
    _no_grad_normal_,
    _randn_matrix,
    _unguarded,
)


def eye_(tensor: Tensor) -> Tensor:
    r"""Fill a matrix with the identity.

    A ``Linear`` layer with this weight passes on as many inputs as it can.

    .. math:: x_{ij} = [i = j]

    Args:
        tensor: a matrix of any dtype

    Returns:
        ``tensor``

    Raises:
        ValueError: if ``tensor`` does not have 2 dimensions

    Examples:
        >>> torchinit.eye_(torch.empty(2, 3))
        tensor([[1., 0., 0.],
                [0., 1., 0.]])
    """
    if tensor.dim() != 2:
        _check_partitioned(tensor)
        raise ValueError(f"Only tensors with 2 dimensions are supported, got shape {list(tensor.shape)}")
    return _no_grad_eye_(tensor)


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    r"""Fill a convolution's weight with the Dirac delta.

    A convolution with this weight passes on as many channels of each group as it can.

    .. math:: x_{oi\mathbf{k}} = [o \bmod (\text{out} / \text{groups}) = i] \, [\mathbf{k} = \lfloor \text{size} / 2 \rfloor]

    Args:
        tensor: a weight of shape (out, in / groups, size, ...), with one to three spatial dimensions, of any dtype
        groups: number of groups of the convolution, a divisor of its output channels

    Returns:
        ``tensor``

    Raises:
        ValueError: if ``tensor`` does not have 3, 4 or 5 dimensions, or ``groups`` is below 1 or does not divide
            dimension 0

    Examples:
        >>> w = torchinit.dirac_(torch.empty(16, 16, 3, 3))
        >>> x = torch.randn(1, 16, 8, 8)
        >>> torch.equal(torch.nn.functional.conv2d(x, w, padding=1), x)
        True
    """
    if tensor.dim() not in [3, 4, 5]:
        _check_partitioned(tensor)
        raise ValueError(f"Only tensors with 3, 4, or 5 dimensions are supported, got shape {list(tensor.shape)}")
    if groups < 1:
        raise ValueError(f"groups must be at least 1, got {groups}")
    if tensor.size(0) % groups != 0:
        raise ValueError(f"dim 0 must be divisible by groups, got shape {list(tensor.shape)} and groups={groups}")
    if tensor.is_meta:
        return tensor
    return _no_grad_dirac_(tensor, groups)


def _haar(matrix: Tensor) -> Tensor:
    """Turn a standard normal matrix into one with orthonormal rows or columns, whichever are fewer."""
    wide = matrix.size(0) < matrix.size(1)
    q, r = torch.linalg.qr(matrix.t() if wide else matrix)
    # The sign (phase) fix makes Q Haar-distributed: https://arxiv.org/abs/math-ph/0609050
    q *= torch.diagonal(r).sgn()
    orthonormal: Tensor = q.t() if wide else q
    return orthonormal


def orthogonal_(tensor: Tensor, gain: float = 1.0, generator: torch.Generator | None = None) -> Tensor:
    r"""Fill ``tensor`` with a (semi-)orthogonal matrix.

    Saxe et al., "Exact solutions to the nonlinear dynamics of learning in deep linear neural networks" (2013),
    https://arxiv.org/abs/1312.6120. The matrix has ``tensor.size(0)`` rows; further dimensions count as columns.

    .. math::
        x = \text{gain} \; Q \operatorname{diag}\left(\tfrac{r_{ii}}{|r_{ii}|}\right), \quad QR = z, \quad
        z \sim \mathcal{N}(0, 1)

    Below 32 bits it is computed in float32 (complex64) and rounded once. A zero-element tensor is left alone.

    Args:
        tensor: a floating-point or complex tensor of at least 2 dimensions
        gain: factor on the matrix
        generator: where the draw comes from (default: the global generator of the tensor's device)

    Returns:
        ``tensor``

    Raises:
        ValueError: if ``tensor`` has fewer than 2 dimensions
        NotImplementedError: if ``tensor`` holds integers or booleans

    Examples:
        >>> w = torchinit.orthogonal_(torch.empty(3, 5))
        >>> torch.allclose(w @ w.T, torch.eye(3), atol=1e-5)
        True
    """
    if tensor.dim() < 2:
        _check_partitioned(tensor)
        raise ValueError(f"Only tensors with 2 or more dimensions are supported, got shape {list(tensor.shape)}")
    if tensor.numel() == 0 or tensor.is_meta:
        return tensor
    _check_inexact(tensor, "orthogonal_")
    if not is_scripting():
        if _unusual._is_distributed(tensor):
            return _unusual._spread_(tensor, partial(orthogonal_, gain=gain, generator=generator), broadcast=True)
    _check_overlap(tensor)
    # Asked before anything is drawn, though the copy asks too.
    _unguarded(tensor)
    rows = tensor.size(0)
    matrix = _haar(_randn_matrix(tensor, rows, tensor.numel() // rows, generator))
    if gain != 1.0:
        matrix.mul_(gain)
    return _no_grad_copy_(tensor, matrix if tensor.dim() == 2 else matrix.view(tensor.shape))


def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: torch.Generator | None = None) -> Tensor:
    r"""Fill a matrix from a normal distribution, then zero the same number of random entries in each column.

    Martens, "Deep learning via Hessian-free optimization" (2010).

    .. math::
        x_{ij} \sim \mathcal{N}(0, \text{std}^2), \text{ or } 0 \text{ for }
        \lceil \text{sparsity} \times \text{rows} \rceil \text{ entries of each column}

    Args:
        tensor: a floating-point or complex matrix
        sparsity: fraction of each column that is zero, in :math:`[0, 1]`
        std: standard deviation of the other entries, not negative
        generator: where values and zeros are drawn from; by default the values come from the global generator of the
            tensor's device and the zeros from that of the default device, as upstream's do

    Returns:
        ``tensor``

    Raises:
        ValueError: if ``tensor`` does not have 2 dimensions, or ``sparsity`` lies outside :math:`[0, 1]`
        NotImplementedError: if ``tensor`` holds integers or booleans
        RuntimeError: if ``std`` is negative or NaN

    Examples:
        >>> w = torchinit.sparse_(torch.empty(10, 4), sparsity=0.5)
        >>> (w == 0).sum(dim=0)
        tensor([5, 5, 5, 5])
    """
    if tensor.dim() != 2:
        _check_partitioned(tensor)
        raise ValueError(f"Only tensors with 2 dimensions are supported, got shape {list(tensor.shape)}")
    if not 0.0 <= sparsity <= 1.0:
        raise ValueError(f"sparsity must be in [0, 1], got {_number(sparsity)}")
    if tensor.is_meta:
        return tensor
    _check_inexact(tensor, "normal_")
    if not is_scripting():
        if _unusual._is_distributed(tensor):
            fill = partial(sparse_, sparsity=sparsity, std=std, generator=generator)
            return _unusual._spread_(tensor, fill, broadcast=True)
    _no_grad_normal_(tensor, 0.0, std, generator)
    return _no_grad_drop_rows_(tensor, math.ceil(sparsity * tensor.size(0)), generator)
