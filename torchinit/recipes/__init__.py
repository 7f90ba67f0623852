"""Initialize whole models: which initializer for which parameter, as data.

Works on eager, scripted, traced and loaded modules alike, and can be attached to a TorchScript file as a method.
"""

from torchinit.recipes._plan import Plan, Row
from torchinit.recipes._recipe import Recipe
from torchinit.recipes._rule import RecipeError, Rule
from torchinit.recipes._shipped import dcgan, gpt2, llama, load, orthogonal_rl, resnet, torch_default, vit, xavier

# The name before 0.2; not in __all__, since `import *` would shadow the library.
torch = torch_default

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
    "torch_default",
    "vit",
    "xavier",
]
