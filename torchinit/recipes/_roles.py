"""The role of a parameter in its layer: a weight, a bias, part of a norm, or an embedding."""

from torchinit.recipes._layers import Layer
from torchinit.recipes._structure import DENSE, EMBEDDINGS, GATES, NORMS

# Names of the factor that starts from 0 in peft and in diffusers. For an embedding that is the first one.
_LORA_ENDS = frozenset({"lora_B", "lora_embedding_A", "lora_up"})

ROLES = ("weight", "bias", "norm", "embedding")


def role_of(layer: Layer, name: str, ndim: int) -> str:
    """Return the role of a layer's own parameter; empty for one that is none of these, such as a class token.

    In a layer that ``torch.nn`` does not have, ``weight`` with two dimensions is a weight, with more only if it
    looks like a convolution, and a bias is one beside a weight: ``bias`` beside ``weight``, ``in_bias`` beside
    ``in_weight``.
    """
    kind = layer.standard
    if kind in NORMS:
        return "norm" if name in ("weight", "bias") else ""
    if kind not in DENSE and _is_norm(layer):
        return "norm"
    # The own parameters of an adapter, such as the magnitudes of DoRA, start from values that peft computes.
    if is_lora_end(layer) or layer.full_type.startswith("peft."):
        return ""
    if is_lora_table(layer):
        return "embedding"
    if kind in EMBEDDINGS or ("Embedding" in layer.kind and kind not in DENSE):
        computed = "sinusoid" in layer.kind.lower()
        return "embedding" if name == "weight" and ndim == 2 and not computed else ""
    if _is_weight(layer, name, ndim):
        return "weight"
    own = layer.named()
    beside = name.replace("bias", "weight")
    if ndim == 1 and "bias" in name and beside in own and _is_weight(layer, beside, own[beside].dim()):
        return "bias"
    return ""


def _is_norm(layer: Layer) -> bool:
    """True for a layer that is named a norm, and is no block with a norm in it."""
    return "norm" in layer.kind.lower() and all("." not in name for name, _ in layer.module.named_parameters())


def is_lora_end(layer: Layer) -> bool:
    """True for the factor of a low-rank adapter that starts from 0: Hu et al., "LoRA" (2021), section 4.1."""
    return not _LORA_ENDS.isdisjoint(layer.path.split("."))


def is_lora_table(layer: Layer) -> bool:
    """True for the other factor of an embedding's adapter, which loralib and peft draw as an embedding."""
    return "lora_embedding_B" in layer.path.split(".")


def _is_weight(layer: Layer, name: str, ndim: int) -> bool:
    parts = name.split("_")
    if "weight" not in parts or layer.standard == "PReLU":
        return False
    known = layer.standard in DENSE or layer.standard in GATES or layer.standard == "Bilinear"
    return ndim >= 2 if known else ndim == 2 or (ndim > 2 and layer.is_convolution)
