"""Biases that are not zero: a forget gate that remembers, a detector that expects the background."""

import math
from functools import partial

from torch import Tensor
from torch.jit import is_scripting

from torchinit._core import unusual
from torchinit._core.checks import _check_inexact, _check_overlap, _check_partitioned, _number
from torchinit._core.trunc_normal import _is_plain
from torchinit._core.writes import _filled, _no_grad_copy_, _no_grad_fill_, _no_grad_zero_, _unguarded


def lstm_bias_(tensor: Tensor, forget: float = 1.0) -> Tensor:
    r"""Fill the bias of an LSTM with zeros, but for the forget gate.

    Jozefowicz et al., "An empirical exploration of recurrent network architectures" (2015). torch orders the gates
    input, forget, cell, output, and adds two biases: fill ``bias_ih`` with this and ``bias_hh`` with zeros, or each with
    half the value.

    .. math:: x = (0, \text{forget}, 0, 0), \text{ each for all hidden units}

    Args:
        tensor: a vector of 4 x hidden units, of any dtype
        forget: bias of the forget gate, which the tensor's dtype must be able to hold

    Returns:
        ``tensor``

    Raises:
        ValueError: if ``tensor`` is not a vector whose size 4 divides
        RuntimeError: if the dtype cannot hold ``forget``

    Examples:
        >>> lstm = torch.nn.LSTM(3, 2)
        >>> torchinit.lstm_bias_(lstm.bias_ih_l0)
        Parameter containing:
        tensor([0., 0., 1., 1., 0., 0., 0., 0.], requires_grad=True)
        >>> bias = torchinit.zeros_(lstm.bias_hh_l0)
    """
    if tensor.dim() != 1 or tensor.size(0) % 4 != 0:
        _check_partitioned(tensor)
        raise ValueError(f"lstm_bias_ needs 1 dimension of 4 x hidden units, got shape {list(tensor.shape)}")
    if not is_scripting():
        if unusual._is_distributed(tensor):
            return unusual._spread_(tensor, partial(lstm_bias_, forget=forget))
    _check_overlap(tensor)
    values, hidden = _unguarded(tensor), tensor.size(0) // 4
    # What a dtype may not hold is found out before it is written to.
    value = _filled(values, forget) if forget != 1.0 and _is_plain(values) else values
    _no_grad_zero_(tensor)
    gate = values.narrow(0, hidden, hidden)
    if value is values:
        _no_grad_fill_(gate, forget)
    else:
        _no_grad_copy_(gate, value)
    return tensor


def prior_bias_(tensor: Tensor, prior: float = 0.01) -> Tensor:
    r"""Fill the bias of a classifier so that its sigmoid begins at a prior probability.

    Lin et al., "Focal loss for dense object detection" (2017), https://arxiv.org/abs/1708.02002: where nearly all
    examples are background, a detector that begins so does not spend its first steps on learning that.

    .. math:: x = -\log \frac{1 - \text{prior}}{\text{prior}}

    Args:
        tensor: a floating-point or complex tensor of any shape
        prior: the probability, in :math:`(0, 1)`

    Returns:
        ``tensor``

    Raises:
        ValueError: if ``prior`` does not lie in :math:`(0, 1)`
        NotImplementedError: if ``tensor`` holds integers or booleans

    Examples:
        >>> torch.sigmoid(torchinit.prior_bias_(torch.empty(2)))
        tensor([0.0100, 0.0100])
    """
    _check_inexact(tensor, "prior_bias_")
    if not 0.0 < prior < 1.0:
        raise ValueError(f"prior must be in (0, 1), got {_number(prior)}")
    # The same as two logarithms, which do not overflow.
    return _no_grad_fill_(tensor, math.log(prior) - math.log1p(-prior))
