"""Initialization by JAX-style keys: the same weights on any device, sharding, thread count and call order.

Each value depends only on a key and on its index in the whole tensor. It comes from the counter-based stream
Philox4x32-10 (Salmon et al. 2011, https://doi.org/10.1145/2063384.2063405). No global state is read or changed.
"""

from torchinit.keyed._compiled import compiled
from torchinit.keyed._distributions import (
    inverse_softplus_log_uniform_,
    normal_,
    trunc_normal_,
    trunc_normal_tf_,
    uniform_,
)
from torchinit.keyed._keys import fold_in, key, split
from torchinit.keyed._structured import block_orthogonal_, delta_orthogonal_, icnr_, orthogonal_, sparse_
from torchinit.keyed._variance_scaling import (
    kaiming_normal_,
    kaiming_uniform_,
    lecun_normal_,
    lecun_uniform_,
    sine_uniform_,
    variance_scaling_,
    xavier_normal_,
    xavier_uniform_,
)

# Version of the stream: releases with the same number draw the same values from a key.
VERSION = 1

__all__ = [
    "key",
    "split",
    "fold_in",
    "uniform_",
    "normal_",
    "trunc_normal_",
    "xavier_uniform_",
    "xavier_normal_",
    "kaiming_uniform_",
    "kaiming_normal_",
    "orthogonal_",
    "sparse_",
    "trunc_normal_tf_",
    "variance_scaling_",
    "lecun_uniform_",
    "lecun_normal_",
    "sine_uniform_",
    "block_orthogonal_",
    "delta_orthogonal_",
    "icnr_",
    "inverse_softplus_log_uniform_",
    "compiled",
]
