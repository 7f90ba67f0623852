"""Weight initialization that means the same everywhere PyTorch runs.

Every name of ``torch.nn.init`` and more, as plain functions that work in eager Python, TorchScript, compilers and
exporters. The same seed gives the bits of ``torch.nn.init`` where that is correct.
"""

from importlib import import_module
from typing import Any

__version__ = "0.2.0"

__all__ = [
    "calculate_gain",
    "uniform_",
    "normal_",
    "trunc_normal_",
    "constant_",
    "ones_",
    "zeros_",
    "eye_",
    "dirac_",
    "xavier_uniform_",
    "xavier_normal_",
    "kaiming_uniform_",
    "kaiming_normal_",
    "orthogonal_",
    "sparse_",
    "uniform",
    "normal",
    "constant",
    "eye",
    "dirac",
    "xavier_uniform",
    "xavier_normal",
    "kaiming_uniform",
    "kaiming_normal",
    "orthogonal",
    "sparse",
    # Not in torch.nn.init.
    "fans",
    "fans_of",
    "depth_scaled_std",
    "trunc_normal_tf_",
    "variance_scaling_",
    "lecun_uniform_",
    "lecun_normal_",
    "sine_uniform_",
    "identity_",
    "block_orthogonal_",
    "delta_orthogonal_",
    "bilinear_",
    "icnr_",
    "lstm_bias_",
    "prior_bias_",
    "rotary_inv_freq_",
    "sinusoidal_",
    "alibi_slopes_",
    "log_arange_",
    "inverse_softplus_log_uniform_",
    "patch_torch",
    "record",
]

# Other packages import these from torch.nn.init.
_UNDERSCORED = (
    "_calculate_correct_fan",
    "_calculate_fan_in_and_fan_out",
    "_no_grad_fill_",
    "_no_grad_normal_",
    "_no_grad_trunc_normal_",
    "_no_grad_uniform_",
    "_no_grad_zero_",
)

# Names that are not in ``_core.functions``.
_ELSEWHERE = {"patch_torch": "torchinit._core.patch", "record": "torchinit.recording"}

_SUBPACKAGES = ("deploy", "diagnostics", "keyed", "recipes", "recording")


def __getattr__(name: str) -> Any:
    # Everything is imported on first use: `torchinit --help` need not wait for torch.
    if name in _SUBPACKAGES:
        return import_module(f"torchinit.{name}")
    if name in _ELSEWHERE:
        return getattr(import_module(_ELSEWHERE[name]), name)
    if name not in __all__ and name not in _UNDERSCORED:
        raise AttributeError(f"module 'torchinit' has no attribute {name!r}")
    functions = import_module("torchinit._core.functions")
    for each in {*__all__, *_UNDERSCORED} - {*_ELSEWHERE}:
        # A caller may have replaced one before the first use of another.
        globals().setdefault(each, getattr(functions, each))
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_UNDERSCORED, *_SUBPACKAGES} - {"Any", "import_module"})
