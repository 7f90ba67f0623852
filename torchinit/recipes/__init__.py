"""Initialize whole models: which initializer for which parameter, as data.

Works on eager, scripted, traced and loaded modules alike, and can be attached to a TorchScript file as a method.
"""

from torchinit.recipes._plan import Plan, Row
from torchinit.recipes._recipe import Recipe
from torchinit.recipes._rule import RecipeError, Rule
from torchinit.recipes._shipped import dcgan, gpt2, llama, load, orthogonal_rl, resnet, torch as torch, vit, xavier

# Without torch, which `import *` would put in the place of the package.
__all__ = [
    "Plan",
    "Recipe",
    "RecipeError",
    "Row",
    "Rule",
    "dcgan",
    "gpt2",
    "llama",
    "load",
    "orthogonal_rl",
    "resnet",
    "vit",
    "xavier",
]
