"""Whole models as lists of (initializer, arguments, shape), as their authors initialize them."""

from collections.abc import Iterator
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
