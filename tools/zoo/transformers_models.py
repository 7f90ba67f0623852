"""The models of transformers: all types that AutoModel builds, at their default sizes and at small ones."""

import copy
import importlib
from collections.abc import Callable, Iterator
from typing import Any

from torch import nn

from tools.zoo.check import Result

_WIDTHS = (
    ["hidden_size", "d_model", "embed_dim", "embedding_size", "hidden_dim", "n_embd", "dim", "width", "projection_dim"]
    + ["decoder_hidden_size", "encoder_hidden_size", "output_hidden_size", "output_dim", "text_hidden_size"]
    + ["attention_hidden_size", "cross_attention_hidden_size", "vision_hidden_size", "out_hidden_size"]
)
_HEADS = [
    "num_attention_heads",
    "num_heads",
    "encoder_attention_heads",
    "decoder_attention_heads",
    "n_head",
    "n_heads",
] + ["attention_heads", "num_encoder_attention_heads", "num_decoder_attention_heads"]
_LAYERS = ["num_hidden_layers", "num_layers", "encoder_layers", "decoder_layers", "n_layer", "n_layers", "layers"] + [
    "num_encoder_layers",
    "num_decoder_layers",
    "encoder_num_layers",
    "num_hidden_groups",
]
# Small values by the names that transformers' configurations use.
_SMALL: dict[str, int] = {
    **dict.fromkeys(_WIDTHS, 32),
    **dict.fromkeys(_HEADS, 4),
    **dict.fromkeys(_LAYERS, 2),
    **dict.fromkeys(["num_key_value_heads", "num_kv_heads"], 2),
    **dict.fromkeys(["head_dim", "d_kv", "attention_head_size"], 8),
    **dict.fromkeys(["intermediate_size", "ffn_dim", "d_ff", "encoder_ffn_dim", "decoder_ffn_dim", "n_inner"], 64),
    **dict.fromkeys(["moe_intermediate_size", "shared_expert_intermediate_size", "feed_forward_size"], 64),
    **dict.fromkeys(["num_experts", "num_local_experts", "n_routed_experts"], 4),
    **dict.fromkeys(["num_experts_per_tok", "num_experts_per_token", "moe_topk"], 2),
    **dict.fromkeys(["vocab_size", "text_vocab_size"], 300),
    **dict.fromkeys(["max_position_embeddings", "n_positions", "n_ctx", "max_target_positions"], 128),
    **dict.fromkeys(["max_source_positions"], 100),
}
# Sizes that fit no other, such as those of stages and of widths per head, stay.
_STEPS: tuple[tuple[str, ...], ...] = (
    tuple(_SMALL),
    tuple(name for name in _SMALL if name not in _WIDTHS and name not in _HEADS),
    tuple([*_LAYERS, "vocab_size", "num_experts", "num_local_experts", "n_routed_experts"]),
    (*_LAYERS,),
    ("vocab_size",),
    (),
)


def _transformers() -> Any:
    return importlib.import_module("transformers")


def _mappings() -> Any:
    return importlib.import_module("transformers.models.auto.modeling_auto")


def names() -> list[str]:
    """Return every model type that AutoModel knows."""
    return sorted(_mappings().MODEL_MAPPING_NAMES)


def _family(name: str) -> str:
    mappings = _mappings()
    for family, kinds in {
        "text and images": ("IMAGE_TEXT_TO_TEXT", "MULTIMODAL_LM", "ZERO_SHOT_IMAGE_CLASSIFICATION"),
        "audio": ("AUDIO_CLASSIFICATION", "CTC", "SPEECH_SEQ_2_SEQ", "AUDIO_XVECTOR", "TEXT_TO_WAVEFORM"),
        "images": ("IMAGE_CLASSIFICATION", "OBJECT_DETECTION", "DEPTH_ESTIMATION", "IMAGE_SEGMENTATION", "IMAGE"),
        "text, encoder and decoder": ("SEQ_TO_SEQ_CAUSAL_LM",),
        "text, encoder": ("MASKED_LM",),
        "text, decoder": ("CAUSAL_LM",),
    }.items():
        if any(name in getattr(mappings, f"MODEL_FOR_{kind}_MAPPING_NAMES", ()) for kind in kinds):
            return family
    return "others"


def _shrink(config: Any, chosen: tuple[str, ...]) -> Any:
    """Return a copy of a configuration, and of those in it, with small values for the chosen names."""
    small = copy.deepcopy(config)
    pending = [small]
    while pending:
        part = pending.pop()
        for name, value in list(vars(part).items()):
            if isinstance(value, type(small)) or hasattr(value, "model_type"):
                pending.append(value)
            elif name in chosen and isinstance(value, int) and value > _SMALL[name]:
                setattr(part, name, _SMALL[name])
        _fit(part, chosen)
    return small


def _fit(config: Any, chosen: tuple[str, ...]) -> None:
    """Bring what follows from a size into line with it."""
    values = vars(config)
    if "vocab_size" in chosen:
        vocabulary = values.get("vocab_size")
        for name, value in list(values.items()):
            if name.endswith("_token_id") and isinstance(value, int) and vocabulary and value >= vocabulary:
                setattr(config, name, 1)
    layers = next((values[name] for name in _LAYERS if isinstance(values.get(name), int)), None)
    for name in ("layer_types", "mlp_layer_types"):
        if layers is not None and isinstance(values.get(name), list) and len(values[name]) > layers:
            setattr(config, name, values[name][:layers])


def task(name: str) -> tuple[Result, Callable[[], nn.Module], Iterator[Callable[[], nn.Module]]]:
    """Return a row for a model type, what builds it, and what builds it at smaller sizes."""
    transformers = _transformers()
    transformers.logging.set_verbosity_error()
    config = transformers.AutoConfig.for_model(name)

    def maker(config: Any) -> Callable[[], nn.Module]:
        return lambda: transformers.AutoModel.from_config(config)

    def smaller() -> Iterator[Callable[[], nn.Module]]:
        for chosen in _STEPS:
            yield maker(_shrink(config, chosen))

    return Result("transformers", name, _family(name)), maker(config), smaller()
