"""Models of timm and transformers, small or on the meta device. Each function imports its library, which takes seconds."""

from typing import Any

import pytest
import torch
from torch import nn

from tests.support.model_libraries import add_model_libraries
from tests.support.transformers_models import TINY

TIMM = (
    *("resnet50", "vit_small_patch16_224", "deit_small_patch16_224", "swin_tiny_patch4_window7_224"),
    *("convnext_tiny", "mixer_s32_224", "efficientnet_b0", "regnety_002"),
)

_VISION = {name: TINY[name] for name in TINY if name != "vocab_size"} | {"image_size": 32, "patch_size": 8}
_SPEECH = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}
_HEADS = {"num_key_value_heads": 1, "head_dim": 8}
_TOWERS = {"text_config": TINY, "vision_config": {**_VISION, "projection_dim": 16}, "projection_dim": 16}
# The arguments of a small configuration, by model type.
TRANSFORMERS: dict[str, dict[str, Any]] = {
    "llama": {**TINY, "num_key_value_heads": 1},
    "gemma": {**TINY, **_HEADS},
    "mixtral": {**TINY, "num_key_value_heads": 1, "num_local_experts": 4},
    "qwen2": {**TINY, "num_key_value_heads": 1},
    "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 2, "vocab_size": 50, "bos_token_id": 0, "eos_token_id": 0},
    "bert": TINY,
    "t5": {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2, "vocab_size": 50},
    "clip": _TOWERS,
    "vit": _VISION,
    "swin": {"image_size": 32, "patch_size": 4, "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2], "window_size": 4},
    "whisper": {**_SPEECH, "encoder_attention_heads": 2, "decoder_attention_heads": 2, "vocab_size": 50,
                "pad_token_id": 1, "bos_token_id": 1, "eos_token_id": 1, "decoder_start_token_id": 1},
    "mamba": {"hidden_size": 16, "num_hidden_layers": 2, "vocab_size": 50, "state_size": 4},
}  # fmt: skip


def timm_model(name: str, device: str = "meta", **options: Any) -> nn.Module:
    """Build a model of timm; skips the test where timm is missing."""
    add_model_libraries()
    timm = pytest.importorskip("timm", exc_type=ImportError)
    with torch.device(device):
        model: nn.Module = timm.create_model(name, **options)
    return model


def transformers_model(name: str, device: str = "meta") -> nn.Module:
    """Build a small model of transformers; skips the test where transformers or the model is missing."""
    add_model_libraries()
    transformers = pytest.importorskip("transformers")
    if name not in transformers.CONFIG_MAPPING:
        pytest.skip("this release of transformers lacks the model")
    with torch.device(device):
        model: nn.Module = transformers.AutoModel.from_config(
            transformers.AutoConfig.for_model(name, **TRANSFORMERS[name])
        )
    return model
