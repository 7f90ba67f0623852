"""Whole models as lists of (initializer, arguments, shape), as their authors initialize them."""

from collections.abc import Callable, Iterator
from typing import Any

Parameter = tuple[str, dict[str, Any], tuple[int, ...]]


def _norm(width: int) -> Iterator[Parameter]:
    yield "ones_", {}, (width,)
    yield "zeros_", {}, (width,)


def resnet50() -> Iterator[Parameter]:
    """He et al. 2015, https://arxiv.org/abs/1512.03385; convolutions by kaiming_normal_, fan_out."""

    def convolution(outputs: int, inputs: int, size: int) -> Iterator[Parameter]:
        yield "kaiming_normal_", {"mode": "fan_out", "nonlinearity": "relu"}, (outputs, inputs, size, size)
        yield from _norm(outputs)

    yield from convolution(64, 3, 7)
    inputs = 64
    for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(blocks):
            yield from convolution(width, inputs, 1)
            yield from convolution(width, width, 3)
            yield from convolution(4 * width, width, 1)
            if block == 0:
                yield from convolution(4 * width, inputs, 1)
            inputs = 4 * width
    yield "kaiming_uniform_", {"a": 5**0.5}, (1000, 2048)
    yield "uniform_", {"a": -(2048**-0.5), "b": 2048**-0.5}, (1000,)


def _transformer(width: int, layers: int, weight: str) -> Iterator[Parameter]:
    for _ in range(layers):
        for outputs, inputs in ((3 * width, width), (width, width), (4 * width, width), (width, 4 * width)):
            yield weight, {"std": 0.02}, (outputs, inputs)
            yield "zeros_", {}, (outputs,)
        yield from _norm(width)
        yield from _norm(width)


def vit_b_16() -> Iterator[Parameter]:
    """Dosovitskiy et al. 2020, https://arxiv.org/abs/2010.11929; weights by trunc_normal_ at std 0.02."""
    yield "trunc_normal_", {"std": 0.02}, (768, 3, 16, 16)
    yield "zeros_", {}, (768,)
    yield "trunc_normal_", {"std": 0.02}, (1, 197, 768)
    yield from _transformer(768, 12, "trunc_normal_")
    yield from _norm(768)
    yield "zeros_", {}, (1000, 768)
    yield "zeros_", {}, (1000,)


def gpt2() -> Iterator[Parameter]:
    """Radford et al. 2019; weights by normal_ at std 0.02."""
    yield "normal_", {"std": 0.02}, (50257, 768)
    yield "normal_", {"std": 0.02}, (1024, 768)
    yield from _transformer(768, 12, "normal_")
    yield from _norm(768)


MODELS = {"ResNet-50": resnet50, "ViT-B/16": vit_b_16, "GPT-2": gpt2}


def _llama(width: int, inner: int, layers: int, heads: int, pairs: int, tied: bool) -> Iterator[tuple[str, Parameter]]:
    """Grattafiori et al. 2024, https://arxiv.org/abs/2407.21783; names and initialization as in transformers."""

    def normal(name: str, *shape: int) -> tuple[str, Parameter]:
        return f"{name}.weight", ("normal_", {"std": 0.02}, shape)

    def ones(name: str) -> tuple[str, Parameter]:
        return f"{name}.weight", ("ones_", {}, (width,))

    yield normal("model.embed_tokens", 128256, width)
    for layer in range(layers):
        at = f"model.layers.{layer}"
        yield normal(f"{at}.self_attn.q_proj", width, width)
        for name in ("k_proj", "v_proj"):
            yield normal(f"{at}.self_attn.{name}", width * pairs // heads, width)
        yield normal(f"{at}.self_attn.o_proj", width, width)
        for name in ("gate_proj", "up_proj"):
            yield normal(f"{at}.mlp.{name}", inner, width)
        yield normal(f"{at}.mlp.down_proj", width, inner)
        yield ones(f"{at}.input_layernorm")
        yield ones(f"{at}.post_attention_layernorm")
    yield ones("model.norm")
    if not tied:
        yield normal("lm_head", 128256, width)


# Models that are filled on a GPU, by the names of their parameters: Llama 3.2 1B, Llama 3.1 8B, and a small one.
LARGE_MODELS: dict[str, Callable[[], dict[str, Parameter]]] = {
    "Llama-1B": lambda: dict(_llama(2048, 8192, 16, 32, 8, tied=True)),
    "Llama-8B": lambda: dict(_llama(4096, 14336, 32, 32, 8, tied=False)),
    "Llama-tiny": lambda: dict(_llama(4, 8, 2, 2, 1, tied=False)),
}
