"""Recovers the types and attributes of an exported module's layers from its graph; the layers are plain modules."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn


@dataclass
class Told:
    """What a graph tells of a layer: the full name of its type, and the arguments of its operators by name."""

    type: str = ""
    attributes: dict[str, Any] = field(default_factory=dict)


def is_exported(module: nn.Module) -> bool:
    """True for a module of torch.fx, as ``ExportedProgram.module()`` returns it, and one that was unflattened."""
    return isinstance(module, torch.fx.GraphModule) or type(module).__name__ == "UnflattenedModule"


def told_layers(module: nn.Module) -> dict[str, Told]:
    """Collect by path what the graphs of an exported module tell of its layers."""
    found: dict[str, Told] = {}
    for path, part in module.named_modules():
        graph = getattr(part, "graph", None)
        for node in graph.nodes if isinstance(graph, torch.fx.Graph) else ():
            # One entry for each module around the operator; a second call's name ends in @1.
            for name, kind in (node.meta.get("nn_module_stack") or {}).values():
                told = found.setdefault(name.partition("@")[0], Told())
                told.type = kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__name__}"
            if isinstance(node.target, torch._ops.OpOverload):
                _add_attributes(found, path, node)
    return found


def _add_attributes(found: dict[str, Told], path: str, node: torch.fx.Node) -> None:
    """Add the arguments of an operator to the layer of the parameters that it takes."""
    names = [argument.name for argument in node.target._schema.arguments]  # type: ignore[union-attr]
    given = {name: value for name, value in zip(names, node.args) if not isinstance(value, torch.fx.Node)}
    transposed = {"transposed": True} if "conv_transpose" in str(node.target) else {}
    for source in node.all_input_nodes:
        if source.op == "get_attr":
            owner = f"{path}.{source.target}".lstrip(".").rpartition(".")[0]
            found.setdefault(owner, Told()).attributes.update(given | transposed)
