"""Structured fills: identities, orthogonal matrices, sparse columns."""

import math
from functools import partial

import torch
from torch import Tensor
from torch.jit import is_scripting

from torchinit._core.checks import (
    check_divisible,
    check_inexact,
    check_kernel,
    check_matrix,
    check_matrix_like,
    check_overlap,
    refuse_dimensions,
)
from torchinit._core.door import enter, is_plain
from torchinit._core.messages import format_float
from torchinit._core.writes import (
    _no_grad_normal_,
    no_grad_centre_,
    no_grad_copy_,
    no_grad_dirac_,
    no_grad_drop_rows_,
    no_grad_eye_,
)


def eye_(tensor: Tensor) -> Tensor:
    r"""Fill a matrix with the identity.

    A ``Linear`` layer with this weight preserves as many inputs as possible.

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
    check_matrix(tensor)
    return no_grad_eye_(tensor)


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    r"""Fill a convolution's weight with the Dirac delta.

    A convolution with this weight preserves as many channels of each group as possible.

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
    check_kernel(tensor)
    check_divisible(list(tensor.shape), groups, "groups")
    if tensor.is_meta:
        return tensor
    return no_grad_dirac_(tensor, groups)


def identity_(tensor: Tensor, gain: float = 1.0, groups: int = 1) -> Tensor:
    r"""Fill the weight of a linear layer or a convolution with a multiple of the identity.

    The layer preserves as many inputs of each group as possible, times the gain: :func:`eye_` and :func:`dirac_` with a
    gain. For ReLU layers of a recurrent network: Le et al., "A simple way to initialize recurrent networks of rectified
    linear units" (2015), https://arxiv.org/abs/1504.00941.

    .. math::
        x_{oi\mathbf{k}} = \text{gain} \, [o \bmod (\text{out} / \text{groups}) = i] \,
        [\mathbf{k} = \lfloor \text{size} / 2 \rfloor]

    Args:
        tensor: a weight of shape (out, in / groups, ...), with none to three spatial dimensions, of any dtype
        gain: factor on the inputs, which the tensor's dtype must be able to hold
        groups: number of groups of the layer, a divisor of its outputs

    Returns:
        ``tensor``

    Raises:
        ValueError: if ``tensor`` does not have 2 to 5 dimensions, or ``groups`` is below 1 or does not divide
            dimension 0
        RuntimeError: if the dtype cannot hold ``gain``

    Examples:
        >>> torchinit.identity_(torch.empty(2, 3), gain=0.5)
        tensor([[0.5000, 0.0000, 0.0000],
                [0.0000, 0.5000, 0.0000]])
    """
    if tensor.dim() not in [2, 3, 4, 5]:
        refuse_dimensions(tensor, "2, 3, 4, or 5")
    check_divisible(list(tensor.shape), groups, "groups")
    if tensor.is_meta:
        return tensor
    return no_grad_dirac_(tensor, groups, gain)


def wide_matrix(tensor: Tensor, rows: int, columns: int) -> Tensor:
    """Make an empty matrix on the tensor's device in at least 32 bits; LAPACK has no 16-bit or 8-bit kernels."""
    dtype = tensor.dtype
    if tensor.is_floating_point() and tensor.element_size() < 4:
        dtype = torch.float32
    elif dtype == torch.complex32:
        dtype = torch.complex64
    return tensor.new_empty([rows, columns], dtype=dtype)


def haar_orthogonal(normal: Tensor) -> Tensor:
    """Turn a standard normal matrix into one with orthonormal rows or columns (whichever are fewer)."""
    wide = normal.size(0) < normal.size(1)
    q, r = torch.linalg.qr(normal.t() if wide else normal)
    # The sign (phase) fix makes Q Haar-distributed: https://arxiv.org/abs/math-ph/0609050
    q *= torch.diagonal(r).sgn()
    orthonormal: Tensor = q.t() if wide else q
    return orthonormal


def orthogonal_blocks(normal: list[Tensor], gain: float) -> Tensor:
    """Turn each normal matrix into an orthogonal one times the gain, and stack them."""
    made: list[Tensor] = []
    for matrix in normal:
        block = haar_orthogonal(matrix)
        made.append(block if gain == 1.0 else block.mul_(gain))
    return made[0] if len(made) == 1 else torch.cat(made)


def _draw_blocks(tensor: Tensor, blocks: int, columns: int, gain: float, generator: torch.Generator | None) -> Tensor:
    """Draw (semi-)orthogonal blocks one after another; together they have the rows of ``tensor``."""
    # Fail on a non-number before drawing.
    gain = 1.0 if 1.0 <= gain <= 1.0 else gain
    # NB: parts of one matrix; torch.compile merges two draws into new tensors of equal shape.
    whole, rows = wide_matrix(tensor, tensor.size(0), columns), tensor.size(0) // blocks
    normal: list[Tensor] = []
    for i in range(blocks):
        part = whole if blocks == 1 else whole.narrow(0, i * rows, rows)
        normal.append(part.normal_(0.0, 1.0, generator=generator))
    return orthogonal_blocks(normal, gain)


def orthogonal_(tensor: Tensor, gain: float = 1.0, generator: torch.Generator | None = None) -> Tensor:
    r"""Fill ``tensor`` with a (semi-)orthogonal matrix.

    Saxe et al., "Exact solutions to the nonlinear dynamics of learning in deep linear neural networks" (2013),
    https://arxiv.org/abs/1312.6120. The matrix has ``tensor.size(0)`` rows; further dimensions count as columns.

    .. math::
        x = \text{gain} \; Q \operatorname{diag}\left(\tfrac{r_{ii}}{|r_{ii}|}\right), \quad QR = z, \quad
        z \sim \mathcal{N}(0, 1)

    Narrower dtypes than float32 (complex64) are computed in it and rounded once. A zero-element tensor is left alone.

    Args:
        tensor: a floating-point or complex tensor of at least 2 dimensions
        gain: factor on the matrix
        generator: the generator to draw from (default: the global generator of the tensor's device)

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
    if not is_scripting():
        if not is_plain(tensor):
            if enter(tensor, partial(orthogonal_, gain=gain, generator=generator), broadcast=True) is None:
                return tensor
    check_matrix_like(tensor)
    if tensor.numel() == 0 or tensor.is_meta:
        return tensor
    check_inexact("orthogonal_", tensor)
    check_overlap(tensor)
    matrix = _draw_blocks(tensor, 1, tensor.numel() // tensor.size(0), gain, generator)
    return no_grad_copy_(tensor, matrix if tensor.dim() == 2 else matrix.view(tensor.shape))


def block_orthogonal_(
    tensor: Tensor, blocks: int, gain: float = 1.0, generator: torch.Generator | None = None
) -> Tensor:
    r"""Fill ``tensor`` with equal blocks of rows, each a (semi-)orthogonal matrix.

    For layers packed into one weight: the four gates of an LSTM, the three of a GRU, query, key and value. The values
    are those of :func:`orthogonal_` on each block in turn. A zero-element tensor is left alone.

    .. math::
        x = \begin{pmatrix} x_1 \\ \vdots \\ x_\text{blocks} \end{pmatrix}, \quad
        x_i = \text{gain} \; Q_i

    Args:
        tensor: a floating-point or complex tensor of at least 2 dimensions
        blocks: number of blocks along dimension 0, a divisor of its size
        gain: factor on the matrices
        generator: the generator to draw from (default: the global generator of the tensor's device)

    Returns:
        ``tensor``

    Raises:
        ValueError: if ``tensor`` has fewer than 2 dimensions, or ``blocks`` is below 1 or does not divide dimension 0
        NotImplementedError: if ``tensor`` holds integers or booleans

    Examples:
        >>> lstm = torch.nn.LSTM(3, 8)
        >>> w = torchinit.block_orthogonal_(lstm.weight_hh_l0, blocks=4)
        >>> torch.allclose(w[8:16] @ w[8:16].T, torch.eye(8), atol=1e-5)
        True
    """
    if not is_scripting():
        if not is_plain(tensor):
            fill = partial(block_orthogonal_, blocks=blocks, gain=gain, generator=generator)
            if enter(tensor, fill, broadcast=True) is None:
                return tensor
    check_matrix_like(tensor)
    check_divisible(list(tensor.shape), blocks, "blocks")
    if tensor.numel() == 0 or tensor.is_meta:
        return tensor
    check_inexact("block_orthogonal_", tensor)
    check_overlap(tensor)
    matrix = _draw_blocks(tensor, blocks, tensor.numel() // tensor.size(0), gain, generator)
    return no_grad_copy_(tensor, matrix if tensor.dim() == 2 else matrix.view(tensor.shape))


def check_delta(tensor: Tensor, shape: list[int], groups: int) -> None:
    check_kernel(tensor, shape)
    check_divisible(shape, groups, "groups")
    if shape[1] > shape[0] // groups:
        raise ValueError(
            f"delta_orthogonal_ needs at least as many outputs as inputs in each group, got shape {shape} and"
            f" groups={groups}"
        )
    check_inexact("delta_orthogonal_", tensor)


def delta_orthogonal_(
    tensor: Tensor, gain: float = 1.0, groups: int = 1, generator: torch.Generator | None = None
) -> Tensor:
    r"""Fill a convolution's weight with an orthogonal matrix at the kernel's centre and zeros around it.

    Xiao et al., "Dynamical isometry and a mean field theory of CNNs" (2018), https://arxiv.org/abs/1806.05393. The
    convolution, padded to keep its input's size, multiplies the input's norm by the gain. An even kernel has no centre;
    the tap past the middle serves, and ``padding="same"`` then shifts the input by one and drops its border (0.90 of
    the norm for 10 x 10). Pad such a kernel by ``size // 2`` before and ``size // 2 - 1`` after. A zero-element tensor
    is left alone.

    .. math::
        x_{oi\mathbf{k}} = \text{gain} \; Q_{oi} \, [\mathbf{k} = \lfloor \text{size} / 2 \rfloor], \quad
        Q^\top Q = 1

    Args:
        tensor: a floating-point or complex weight of shape (out, in / groups, size, ...), with one to three spatial
            dimensions and at least as many outputs as inputs in each group
        gain: factor on the matrix
        groups: number of groups of the convolution, a divisor of its output channels, each with a matrix of its own
        generator: the generator to draw from (default: the global generator of the tensor's device)

    Returns:
        ``tensor``

    Raises:
        ValueError: if ``tensor`` does not have 3, 4 or 5 dimensions, ``groups`` is below 1 or does not divide
            dimension 0, or a group has more inputs than outputs
        NotImplementedError: if ``tensor`` holds integers or booleans

    Examples:
        >>> w = torchinit.delta_orthogonal_(torch.empty(16, 8, 3, 3))
        >>> x = torch.randn(1, 8, 10, 10)
        >>> y = torch.nn.functional.conv2d(x, w, padding=1)
        >>> torch.allclose(y.norm(), x.norm())
        True
    """
    if not is_scripting():
        if not is_plain(tensor):
            fill = partial(delta_orthogonal_, gain=gain, groups=groups, generator=generator)
            if enter(tensor, fill, broadcast=True) is None:
                return tensor
    check_delta(tensor, list(tensor.shape), groups)
    if tensor.numel() == 0 or tensor.is_meta:
        return tensor
    check_overlap(tensor)
    return no_grad_centre_(tensor, _draw_blocks(tensor, groups, tensor.size(1), gain, generator))


def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: torch.Generator | None = None) -> Tensor:
    r"""Fill a matrix from a normal distribution, then zero the same number of random entries in each column.

    Martens, "Deep learning via Hessian-free optimization" (2010).

    .. math::
        x_{ij} \sim \mathcal{N}(0, \text{std}^2), \quad \text{ or } 0 \text{ for }
        \lceil \text{sparsity} \times \text{rows} \rceil \text{ entries of each column}

    Args:
        tensor: a floating-point or complex matrix
        sparsity: fraction of each column that is zero, in :math:`[0, 1]`
        std: standard deviation of the other entries, not negative
        generator: the generator to draw values and zeros from (default: as upstream, the global generator of the
            tensor's device for the values, and that of the default device for the zeros)

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
    if not is_scripting():
        if not is_plain(tensor):
            fill = partial(sparse_, sparsity=sparsity, std=std, generator=generator)
            if enter(tensor, fill, broadcast=True) is None:
                return tensor
    check_matrix(tensor)
    if not 0.0 <= sparsity <= 1.0:
        raise ValueError(f"sparsity must be in [0, 1], got {format_float(sparsity)}")
    if tensor.is_meta:
        return tensor
    check_inexact("sparse_", tensor)
    _no_grad_normal_(tensor, 0.0, std, generator)
    return no_grad_drop_rows_(tensor, math.ceil(sparsity * tensor.size(0)), generator)
