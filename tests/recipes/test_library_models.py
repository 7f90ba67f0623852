"""Do the shipped recipes work on models of timm and transformers, or refuse what their source does not speak of?"""

import functools
import json
import re
import warnings
from typing import Any

import pytest
import torch
from torch import nn

from tests.support.library_models import TIMM, TRANSFORMERS, timm_model, transformers_model
from torchinit import recipes
from torchinit.recipes import RecipeError

# The parameters that a recipe refuses, as the error writes them; "" if it covers all.
_TOKENS = "cls_token pos_embed"
_TABLES = "layers.*.blocks.*.attn.relative_position_bias_table"
_SCALES = "stages.*.blocks.*.gamma"
_EXPERTS = "layers.*.mlp.experts.gate_up_proj layers.*.mlp.experts.down_proj"
_CLIP = "vision_model.embeddings.class_embedding logit_scale"
_MAMBA = "layers.*.mixer.A_log layers.*.mixer.D"
REFUSED: dict[str, dict[str, str]] = {
    "resnet50": {"resnet": "", "torch": "", "xavier": ""},
    "vit_small_patch16_224": {"vit": "", "torch": _TOKENS, "gpt2": _TOKENS},
    "deit_small_patch16_224": {"vit": "", "xavier": _TOKENS},
    "swin_tiny_patch4_window7_224": {"vit": "", "torch": _TABLES},
    "convnext_tiny": {"vit": _SCALES, "xavier": _SCALES, "resnet": _SCALES},
    "mixer_s32_224": {"vit": "", "xavier": "", "torch": ""},
    "efficientnet_b0": {"resnet": "", "torch": "", "xavier": ""},
    "regnety_002": {"resnet": "", "torch": "", "xavier": ""},
    "llama": {"llama": "", "torch": "", "xavier": ""},
    "gemma": {"llama": "", "torch": "", "xavier": ""},
    "mixtral": {"llama": "", "xavier": _EXPERTS, "gpt2": _EXPERTS},
    "qwen2": {"llama": "", "torch": ""},
    "gpt2": {"gpt2": "", "xavier": ""},
    "bert": {"gpt2": "", "torch": "", "xavier": ""},
    "t5": {"t5": "", "torch": "", "xavier": ""},
    "clip": {"gpt2": _CLIP, "xavier": _CLIP},
    "vit": {"vit": "", "torch": "embeddings.cls_token embeddings.position_embeddings"},
    "swin": {"vit": ""},
    "whisper": {"gpt2": "", "torch": "", "xavier": ""},
    "mamba": {"llama": _MAMBA, "torch": _MAMBA, "xavier": _MAMBA},
}  # fmt: skip


@functools.cache
def _model(name: str) -> nn.Module:
    return timm_model(name) if name in TIMM else transformers_model(name)


@pytest.mark.parametrize("name", REFUSED)
def test_a_shipped_recipe_covers_a_model_or_names_what_it_refuses(name: str) -> None:
    assert name in TIMM or name in TRANSFORMERS
    for recipe, refused in REFUSED[name].items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                recipes.load(recipe).plan(_model(name))
                found: Any = []
            except RecipeError as error:
                found = json.loads(re.search(r'name=(\[.*?\]|".*?")\) to leave', str(error))[1])  # type: ignore[index]
        assert ([found] if isinstance(found, str) else found) == refused.split(), recipe


@pytest.mark.parametrize("name", ["llama", "gemma", "qwen2", "mixtral"])
def test_llama_does_what_the_models_of_its_family_do(name: str) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = transformers_model(name, device="cpu")
    rows = {row.name: row for row in recipes.llama().plan(model).rows}
    for own, parameter in model.named_parameters():
        row, values = rows[own], parameter.detach().float()
        if row.std == 0.0:
            assert torch.equal(values, torch.full_like(values, row.mean)), own
        else:
            # Four standard errors of the deviation of n normal draws; a padding row is 0.
            assert values.std().item() == pytest.approx(row.std, rel=4 / (2 * values.numel()) ** 0.5 + 0.01), own
