"""Tiny models of transformers with random weights. Each function imports transformers, which takes seconds."""

import os

import torch
from torch import Tensor, nn

os.environ["TRANSFORMERS_VERBOSITY"] = "error"
os.environ["HF_HUB_OFFLINE"] = "1"

TINY = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32, "vocab_size": 50}


def bert() -> nn.Module:
    from transformers import BertConfig, BertModel

    return BertModel(BertConfig(**TINY, pad_token_id=3))


def llama() -> nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(LlamaConfig(**TINY, num_key_value_heads=1, pad_token_id=4, attention_bias=True))


def gpt2() -> nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(GPT2Config(n_embd=16, n_layer=3, n_head=2, vocab_size=50, bos_token_id=0, eos_token_id=0))


def vit() -> nn.Module:
    from transformers import ViTConfig, ViTForImageClassification

    shape = {"image_size": 32, "patch_size": 16}
    sizes = {name: TINY[name] for name in TINY if name != "vocab_size"}
    return ViTForImageClassification(ViTConfig(**sizes, **shape))


class First(nn.Module):
    """Returns the first output only, so that a model can be traced."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model.eval()
        model.config.use_cache = False

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)[0]


# Constructor, example input and recipe of each.
MODELS = {
    "bert": (bert, torch.tensor([[1, 2, 3, 5]]), "gpt2"),
    "llama": (llama, torch.tensor([[1, 2, 3, 5]]), "llama"),
    "gpt2": (gpt2, torch.tensor([[1, 2, 3, 5]]), "gpt2"),
    "vit": (vit, torch.linspace(-1, 1, 3 * 32 * 32).reshape(1, 3, 32, 32), "vit"),
}
