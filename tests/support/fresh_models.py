"""Freshly built models of timm and transformers, small ones. Each constructor imports its library, which takes seconds."""

import functools
import os
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from tests.support.model_libraries import add_model_libraries
from torchinit.diagnostics import Statistics, statistics

os.environ["TRANSFORMERS_VERBOSITY"] = "error"
os.environ["HF_HUB_OFFLINE"] = "1"

_SIZES = {"hidden_size": 128, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 256}
_TEXT = {**_SIZES, "vocab_size": 200}
_IMAGES = {"image_size": 32, "patch_size": 8}


def _timm(name: str, **arguments: Any) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        add_model_libraries()
        import timm

        model: nn.Module = timm.create_model(name, **arguments)
        return model

    return build


def _transformers(name: str, **arguments: Any) -> Callable[[], nn.Module]:
    """Build a model by its name, from the configuration whose name begins alike."""

    def build() -> nn.Module:
        add_model_libraries()
        import transformers

        model_class = getattr(transformers, name)
        model: nn.Module = model_class(model_class.config_class(**arguments))
        return model

    return build


def _mixer() -> nn.Module:
    add_model_libraries()
    from timm.models.mlp_mixer import MlpMixer

    return MlpMixer(num_classes=10, img_size=64, patch_size=16, num_blocks=3, embed_dim=128)


def _clip() -> nn.Module:
    add_model_libraries()
    from transformers import CLIPConfig, CLIPModel

    text = {**_TEXT, "max_position_embeddings": 16, "eos_token_id": 1, "bos_token_id": 0}
    return CLIPModel(CLIPConfig(text_config=text, vision_config={**_SIZES, **_IMAGES}, projection_dim=64))


def _swin_sizes(**names: Any) -> dict[str, Any]:
    return {"embed_dim": 32, "depths": (2, 2), "num_heads": (2, 4), "window_size": 4, **names}


_WHISPER = {
    f"{side}_{name}": n for side in ("encoder", "decoder") for name, n in (("layers", 2), ("attention_heads", 4))
}
_WHISPER |= {"encoder_ffn_dim": 256, "decoder_ffn_dim": 256, "max_source_positions": 50, "max_target_positions": 20}
_WHISPER |= {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}

FRESH: dict[str, Callable[[], nn.Module]] = {
    "resnet10t": _timm("resnet10t", num_classes=10),
    "vit": _timm("test_vit"),
    "deit": _timm("deit_tiny_patch16_224", depth=3, img_size=32, num_classes=10),
    "deit distilled": _timm("deit_tiny_distilled_patch16_224", depth=2, img_size=32, num_classes=10),
    "convnext": _timm("test_convnext"),
    "efficientnet": _timm("test_efficientnet"),
    "regnet": _timm("regnetx_002", num_classes=10),
    "mixer": _mixer,
    "swin": _timm("swin_tiny_patch4_window7_224", img_size=32, num_classes=10, **_swin_sizes()),
    "Llama": _transformers("LlamaForCausalLM", **_TEXT, num_key_value_heads=2),
    "Gemma": _transformers("GemmaForCausalLM", **_TEXT, num_key_value_heads=1, head_dim=32),
    "Mixtral": _transformers("MixtralForCausalLM", **_TEXT, num_key_value_heads=2, num_local_experts=4),
    "Qwen2": _transformers("Qwen2ForCausalLM", **_TEXT, num_key_value_heads=2),
    "GPT-2": _transformers("GPT2LMHeadModel", n_embd=128, n_layer=3, n_head=4, vocab_size=200, n_positions=32),
    "BERT": _transformers("BertForPreTraining", **_TEXT),
    "T5": _transformers("T5ForConditionalGeneration", d_model=128, d_kv=32, d_ff=256, num_layers=2, vocab_size=200),
    "CLIP": _clip,
    "ViT": _transformers("ViTForImageClassification", **_SIZES, **_IMAGES),
    "Swin": _transformers("SwinForImageClassification", image_size=32, **_swin_sizes()),
    "Whisper": _transformers("WhisperForConditionalGeneration", d_model=128, vocab_size=200, **_WHISPER),
    "Mamba": _transformers("MambaForCausalLM", hidden_size=128, num_hidden_layers=2, vocab_size=200),
}


@functools.cache
def statistics_of(name: str) -> Statistics:
    """Build a model of seed 0 and measure its tensors, once for all tests."""
    torch.manual_seed(0)
    return statistics(FRESH[name]())


def report() -> Iterator[tuple[str, int, int]]:
    """Yield the name of each model, the number of its tensors, and how many of them the verdict marks."""
    for name in FRESH:
        rows = statistics_of(name)
        yield name, len(rows), sum(row.bad for row in rows)
