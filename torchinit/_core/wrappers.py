"""Names of tensors without the parts that wrappers of a model add."""

from torch import nn

from torchinit._core.modules import full_type

# Names of the module inside torch.compile's and other wrappers.
WRAPPER_NAMES = ("_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module")

# Types of wrappers and of peft's adapters, by package, and the name of the module inside.
_TYPES = (
    ("torch.nn.parallel.", "module"),
    ("torch.optim.swa_utils.", "module"),
    ("peft.", "base_model"),
    ("peft.", "model"),
    ("peft.", "base_layer"),
    ("peft.", "original_module"),
)


def is_wrapped(module: nn.Module, name: str) -> bool:
    """True if the child of this name is the model, or the layer, that the module wraps."""
    if name in WRAPPER_NAMES:
        return True
    kind = full_type(module)
    return any(name == inner and kind.startswith(package) for package, inner in _TYPES)


def plain_names(module: nn.Module, path: str = "", plain: str = "") -> dict[str, str]:
    """Map the qualified name of each parameter and buffer to its name without wrappers."""
    own = [name for name, tensor in (*module._parameters.items(), *module._buffers.items()) if tensor is not None]
    found = {path + name: plain + name for name in own}
    for name, child in module._modules.items():
        if child is not None:
            found |= plain_names(child, f"{path}{name}.", plain if is_wrapped(module, name) else f"{plain}{name}.")
    return found
