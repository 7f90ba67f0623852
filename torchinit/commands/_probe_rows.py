"""How the scale of activations and gradients moves from layer to layer of any module, on noise."""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from torchinit._core.writes import no_grad_copy_ as _no_grad_copy_
from torchinit._progress import Progress
from torchinit.commands._probe_watch import Use, Watch, find_owners, flatten, rms
from torchinit.recipes._layers import Layer


@dataclass(frozen=True)
class Row:
    """One use of a layer, that is, of a module with parameters of its own.

    A use is a run of operators that take the layer's parameters, with no other layer's in between; it ends where a
    parameter is taken once more, but for RNN, LSTM and GRU.

    Attributes:
        layer: the qualified name; of a tied parameter, the first module that holds it
        use: 1, or which one of several
        kind: the module's type
        output: the shape of the last operator's result
        activation: its root mean square
        activation_ratio: the same over that of the row before, None for the first
        gradient: the root mean square of the gradient there, None if none arrived
        gradient_ratio: the same over that of the row after, where gradients come from, None for the last
        weight: the root mean square of the layer's weights, or of all its parameters if none is called a weight
        weight_gradient: that of their gradient, summed over all uses
    """

    layer: str
    use: int
    kind: str
    output: tuple[int, ...]
    activation: float
    activation_ratio: float | None
    gradient: float | None
    gradient_ratio: float | None
    weight: float
    weight_gradient: float | None

    @property
    def label(self) -> str:
        name = self.layer or "(root)"
        return name if self.use == 1 else f"{name} #{self.use}"


@contextmanager
def _restored(module: nn.Module, parameters: list[nn.Parameter], seed: int) -> Iterator[None]:
    """Let every parameter require a gradient and seed the global generators; then put all back as it was."""
    buffers = [(m, name, b, b.clone()) for m in module.modules() for name, b in m._buffers.items() if b is not None]
    frozen = [p for p in parameters if not p.requires_grad]
    generators = [torch.default_generator, *torch.cuda.default_generators]
    states = [g.get_state() for g in generators]
    try:
        for parameter in frozen:
            parameter.requires_grad_(True)
        for generator in generators:
            generator.manual_seed(seed)
        yield
    finally:
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)
        for parameter in frozen:
            parameter.requires_grad_(False)
        for owner, name, buffer, values in buffers:
            if owner._buffers[name] is not buffer:
                setattr(owner, name, buffer)
            if not torch.equal(buffer, values):
                _no_grad_copy_(buffer, values)


def _described(inputs: Sequence[Any]) -> str:
    described = (
        f"{str(i.dtype).removeprefix('torch.')} {'x'.join(map(str, i.shape)) or 'scalar'}"
        if isinstance(i, Tensor)
        else type(i).__name__
        for i in inputs
    )
    return ", ".join(described) or "nothing"


def _cause(error: Exception, inner: Exception | None = None) -> str:
    """The one line of an error that names its cause: TorchScript says it last, after the whole call stack."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if any("Traceback of TorchScript" in line for line in lines):
        if inner is not None and lines[-1].endswith("Error:"):
            return _cause(inner)
        lines = [line for line in lines if re.match(r"[\w.]*(Error|Exception): ", line)] or lines
        return lines[-1]
    return ": ".join([type(error).__name__, *lines[:1]])


def _forward(module: nn.Module, inputs: list[Any], watch: Watch) -> list[Tensor]:
    """Run the module, and return its differentiable outputs."""
    for child in module.modules():
        if isinstance(child, torch.jit.ScriptModule) and child._c._has_method("forward"):
            # NB: a plan that was optimized in earlier calls has gradients of its own, outside the graph of autograd,
            # and is run even where optimization is off. The legacy executor has no such plan, and raises.
            with suppress(RuntimeError):
                child._c._get_method("forward")._debug_flush_compilation_cache()
    try:
        with torch.jit.optimized_execution(False), watch:
            returned = module(*inputs)
    except Exception as error:
        raise RuntimeError(
            f"forward must run on the inputs, got {_described(inputs)}: {_cause(error, watch.failure)}"
        ) from error
    watch.settle()
    outputs = [t for t in flatten(returned) if t.is_floating_point() and t.requires_grad]
    if not outputs:
        got = _described(list(flatten(returned)))
        raise RuntimeError(f"forward must return a floating tensor that depends on a parameter, got {got}")
    return outputs


def _hook(use: Use, step: Callable[[str], None]) -> None:
    """Measure the gradient when it arrives at the node of autograd that has the use's output."""
    if use.edge is None:
        return
    node, index = use.edge
    # Else node, hook and use would keep each other, and with them the model, alive.
    use.edge = None

    def arrive(gradients: tuple[Tensor | None, ...]) -> None:
        gradient = gradients[index]
        use.gradient = None if gradient is None else rms(gradient)
        step(use.owner.path)

    node.register_prehook(arrive)


def _backward(
    uses: list[Use],
    outputs: list[Tensor],
    parameters: list[nn.Parameter],
    generator: torch.Generator,
    step: Callable[[str], None],
) -> dict[int, Tensor]:
    """Send standard normal noise back from all outputs, and return the parameters' gradients by their ids."""
    for use in uses:
        _hook(use, step)
    noise = [
        torch.randn(t.shape, generator=generator, device=generator.device, dtype=t.dtype).to(t.device) for t in outputs
    ]
    try:
        gradients = torch.autograd.grad(outputs, parameters, noise, allow_unused=True)
    except RuntimeError as error:
        raise RuntimeError(f"backward must run on the model, got {_cause(error)}") from error
    return {id(p): g for p, g in zip(parameters, gradients, strict=True) if g is not None}


def _ratio(value: float | None, reference: float | None) -> float | None:
    return None if value is None or not reference else value / reference


def _rows(uses: list[Use], gradients: dict[int, Tensor]) -> list[Row]:
    rows = []
    for index, use in enumerate(uses):
        before = uses[index - 1].activation if index else None
        after = uses[index + 1].gradient if index + 1 < len(uses) else None
        named = [p for name, p in use.owner.parameters if "weight" in name]
        weights = named or [p for _, p in use.owner.parameters]
        arrived = [gradients[id(p)] for p in weights if id(p) in gradients]
        rows.append(
            Row(
                layer=use.owner.path,
                use=use.number,
                kind=use.owner.kind,
                output=use.shape,
                activation=use.activation,
                activation_ratio=_ratio(use.activation, before),
                gradient=use.gradient,
                gradient_ratio=_ratio(use.gradient, after),
                weight=rms(*weights),
                weight_gradient=rms(*arrived) if arrived else None,
            )
        )
    return rows


def measure(module: nn.Module, inputs: tuple[Any, ...], generator: torch.Generator, progress: Progress) -> list[Row]:
    """Do what ``probe`` does, and say how far it is."""
    if not torch.is_grad_enabled():
        raise RuntimeError("a probe needs gradients, got them disabled by torch.no_grad() or the like")
    owners = find_owners(module)
    parameters = list({id(p): p for owner in owners for _, p in owner.parameters}.values())
    if not parameters:
        raise RuntimeError(
            f"a probe needs a module with floating parameters, got {Layer('', module).kind} without any"
            " (torch.jit.freeze makes them constants)"
        )
    if any(p.is_meta for p in parameters):
        raise RuntimeError("a probe needs parameters with values, got some on the meta device")
    seed = int(torch.randint(1 << 62, (1,), generator=generator, device=generator.device))
    progress.total = 2 * len(owners)
    copies = [i.detach().clone() if isinstance(i, Tensor) else i for i in inputs]

    def step(path: str) -> None:
        progress.total = max(progress.total, 2 * len(watch.uses))
        progress.step("forward", path)

    watch = Watch(owners, list(flatten(copies)), step)
    try:
        with _restored(module, parameters, seed):
            outputs = _forward(module, copies, watch)
            progress.total = 2 * len(watch.uses)
            gradients = _backward(
                watch.uses, outputs, parameters, generator, lambda path: progress.step("backward", path)
            )
    finally:
        for parameter, values in watch.overwritten.values():
            parameter.detach().copy_(values)
        progress.clear()
    return _rows(watch.uses, gradients)


def probe(module: nn.Module, *inputs: Any, generator: torch.Generator | None = None) -> list[Row]:
    """Run a module forward and backward, and measure the scale of the signal at each of its layers.

    The gradients come from standard normal noise at every floating output. Parameters count as trainable, frozen or
    not; the module, its buffers, the inputs and the global random generators are left as they were.

    Args:
        module: eager, scripted, traced or loaded
        inputs: the arguments of its forward
        generator: for the noise, and a seed for what forward itself draws; None for one that starts from seed 0

    Returns:
        One row for each use of a layer, in the order of execution.

    Raises:
        RuntimeError: if it cannot be run forward and backward, in one line
    """
    return measure(module, inputs, generator or torch.Generator().manual_seed(0), Progress(0, after=math.inf))
