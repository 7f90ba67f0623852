"""Initialize whole models by a list of rules: which initializer fills which parameter.

Recipes work on eager, scripted, traced and loaded modules, and attach to a TorchScript file as a method.
"""

from torchinit.recipes._mup import Multiplier, Multipliers, MuP, mup
from torchinit.recipes._plan import Plan, Row
from torchinit.recipes._recipe import Recipe
from torchinit.recipes._rule import RecipeError, Rule
from torchinit.recipes._schemes import deepnorm, fixup, ngpt, olmo, rezero, t5, timm_vit, torchtitan_llama
from torchinit.recipes._shipped import dcgan, gpt2, llama, load, orthogonal_rl, resnet, torch_default, vit, xavier

# The name of 0.1. Not in __all__, because `import *` would shadow the torch package.
torch = torch_default

__all__ = [
    "MuP",
    "Multiplier",
    "Multipliers",
    "Plan",
    "Recipe",
    "RecipeError",
    "Row",
    "Rule",
    "dcgan",
    "deepnorm",
    "fixup",
    "gpt2",
    "llama",
    "load",
    "mup",
    "ngpt",
    "olmo",
    "orthogonal_rl",
    "resnet",
    "rezero",
    "t5",
    "timm_vit",
    "torch_default",
    "torchtitan_llama",
    "vit",
    "xavier",
]
