"""Recognizes a layer of ``torch.nn`` by its type's name and its shapes, where the bases of the type are forgotten."""

from collections.abc import Callable, Mapping

from torch import nn

DENSE = ("Linear", *(f"Conv{n}d" for n in (1, 2, 3)), *(f"ConvTranspose{n}d" for n in (1, 2, 3)))
STATISTICAL = (*(f"{norm}{n}d" for norm in ("BatchNorm", "InstanceNorm") for n in (1, 2, 3)), "SyncBatchNorm")
NORMS = (*STATISTICAL, "LayerNorm", "GroupNorm", "RMSNorm")
EMBEDDINGS = ("Embedding", "EmbeddingBag")
# The number of gates of each recurrent layer.
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1, "LSTMCell": 4, "GRUCell": 3, "RNNCell": 1}
# The types of torch.nn that have a default.
KINDS = (*DENSE, *NORMS, *GATES, *EMBEDDINGS, "Bilinear", "PReLU", "MultiheadAttention")

Dimensions = Mapping[str, int]


def _is_dense(ndim: int) -> Callable[[Dimensions], bool]:
    return lambda own: own.get("weight") == ndim and own.keys() <= {"weight", "bias"} and own.get("bias", 1) == 1


def _is_norm(own: Dimensions) -> bool:
    return "weight" in own and own.keys() <= {"weight", "bias"}


# A part of a type's name, the type of torch.nn, and the dimensions of its own parameters by name; longest first.
_STRUCTURES: tuple[tuple[str, str, Callable[[Dimensions], bool]], ...] = (
    *((f"ConvTranspose{n}d", f"ConvTranspose{n}d", _is_dense(n + 2)) for n in (1, 2, 3)),
    *((f"Conv{n}d", f"Conv{n}d", _is_dense(n + 2)) for n in (1, 2, 3)),
    ("Embedding", "Embedding", lambda own: own == {"weight": 2}),
    *((name, name, _is_norm) for name in ("LayerNorm", "GroupNorm", "RMSNorm")),
    *((name, name, lambda own: any(each.startswith("weight_hh") for each in own)) for name in GATES),
    ("Linear", "Linear", _is_dense(2)),
)


def type_by_structure(kind: str, module: nn.Module) -> str:
    """Return the type of ``torch.nn`` that a layer is like; empty if there is none."""
    own = {name: parameter.dim() for name, parameter in module._parameters.items() if parameter is not None}
    if "running_mean" in module._buffers and own.keys() <= {"weight", "bias"}:
        return "InstanceNorm2d" if "InstanceNorm" in kind else "BatchNorm2d" if "Norm" in kind else ""
    return next((standard for name, standard, fits in _STRUCTURES if name in kind and fits(own)), "")
