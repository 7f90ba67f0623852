"""The scale of activations and gradients at each layer of any module, measured on noise."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from torchinit._core.compat import forget_optimized_forward
from torchinit._core.rows import Rows
from torchinit._core.table import Cell, dtype_name, text
from torchinit._core.writes import no_grad_copy_
from torchinit.diagnostics._calls import RESIDUAL, CalledLayer, LayerCall
from torchinit.diagnostics._dispatch import OperatorTrace, find_layers, flatten, rms
from torchinit.diagnostics._layer_signal import LayerSignal
from torchinit.diagnostics._purpose import Purpose
from torchinit.diagnostics._residual import merged, streams
from torchinit.diagnostics._signal_plot import plot_signal
from torchinit.diagnostics._trend import marked, notes, summary
from torchinit.recipes._layers import Layer


class Signal(Rows[LayerSignal]):
    """The signal at each call of a layer and at each residual sum, in the order of execution.

    Examples:
        >>> model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Linear(8, 4))
        >>> _ = torchinit.zeros_(model[1].weight)
        >>> rows = torchinit.diagnostics.signal(model, torch.randn(4, 8))
        >>> [(rows.name(row), rows.is_marked(row)) for row in rows]
        [('0', False), ('1', False)]
        >>> rows.summary.split("; ")[1]
        'gradients: zero below 1.weight, which is 0'
    """

    columns = (*(field.name for field in fields(LayerSignal)), "note")
    heads: ClassVar[dict[str, str]] = {
        "activation_ratio": "ratio",
        "gradient_ratio": "ratio",
        "weight_gradient": "its gradient",
        "note": "",
    }
    words = ("note",)
    varying = ("note",)
    least = ("weight", "weight_gradient", "output", "kind", "gradient_ratio", "activation_ratio")
    hidden = ("use", "branch", "activation_zeroed_by", "gradient_zeroed_by")

    @cached_property
    def _said(self) -> dict[int, tuple[str, bool]]:
        pairs = zip(notes(self), marked(self), strict=True)
        return {id(row): pair for row, pair in zip(self, pairs, strict=True)}

    def cells(self, row: LayerSignal) -> list[Cell]:
        return [*(getattr(row, column) for column in self.columns[:-1]), self._said[id(row)][0]]

    def name(self, row: LayerSignal) -> str:
        """Return the layer's name, with the number of the call from the second on."""
        return row.label

    def is_marked(self, row: LayerSignal) -> bool:
        """True if the signal vanished, exploded or ended at a row; a zero on purpose is no mark."""
        return self._said[id(row)][1]

    @property
    def summary(self) -> str:
        return summary(self)

    def plot(self, title: str = "", *, columns: int = 2) -> Any:
        """Draw the scales; see :func:`plot_signal`."""
        return plot_signal(self, title, columns=columns)


@contextmanager
def _restored(module: nn.Module, parameters: list[nn.Parameter], seed: int) -> Iterator[None]:
    """Let every parameter require a gradient and seed the global generators; put everything back afterwards."""
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
        for holder, name, buffer, values in buffers:
            if holder._buffers[name] is not buffer:
                setattr(holder, name, buffer)
            if not torch.equal(buffer, values):
                no_grad_copy_(buffer, values)


def _described(inputs: Sequence[Any]) -> str:
    described = (
        f"{dtype_name(i.dtype)} {text(i.shape)}" if isinstance(i, Tensor) else type(i).__name__ for i in inputs
    )
    return ", ".join(described) or "nothing"


def _script_cause(error: Exception, inner: Exception | None = None) -> str:
    """Find the line that names the cause of an error; TorchScript puts it last, after its call stack."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if any("Traceback of TorchScript" in line for line in lines):
        if inner is not None and lines[-1].endswith("Error:"):
            return _script_cause(inner)
        lines = [line for line in lines if re.match(r"[\w.]*(Error|Exception): ", line)] or lines
        return lines[-1]
    return ": ".join([type(error).__name__, *lines[:1]])


def _forward(module: nn.Module, inputs: list[Any], trace: OperatorTrace) -> list[Tensor]:
    """Run the module and return its differentiable outputs."""
    for child in module.modules():
        if isinstance(child, torch.jit.ScriptModule):
            # NB: a cached plan runs even with optimization off.
            forget_optimized_forward(child)
    try:
        with torch.jit.optimized_execution(False), trace:
            returned = module(*inputs)
    except Exception as error:
        raise RuntimeError(
            f"forward must run on the inputs, got {_described(inputs)}: {_script_cause(error, trace.failure)}"
        ) from error
    trace.record_last_node()
    outputs = [t for t in flatten(returned) if t.is_floating_point() and t.requires_grad]
    if not outputs:
        got = _described(list(flatten(returned)))
        raise RuntimeError(f"forward must return a floating tensor that depends on a parameter, got {got}")
    return outputs


def _hook(call: LayerCall, step: Callable[[str], object]) -> None:
    """Measure the gradient when it arrives at the autograd node that made the call's output."""
    if call.edge is None:
        return
    node, index = call.edge
    # Break the cycle of node, hook and call, which would keep the model alive.
    call.edge = None

    def arrive(gradients: tuple[Tensor | None, ...]) -> None:
        gradient = gradients[index]
        call.gradient = None if gradient is None else rms(gradient)
        if call.layer.kind != RESIDUAL:
            step(call.layer.path)

    node.register_prehook(arrive)


def _backward(
    calls: list[LayerCall],
    outputs: list[Tensor],
    parameters: list[nn.Parameter],
    generator: torch.Generator,
    step: Callable[[str], object],
) -> dict[int, Tensor]:
    """Send standard normal noise back from all outputs, and return the gradients by the parameters' ids."""
    for call in calls:
        _hook(call, step)
    noise = [
        torch.randn(t.shape, generator=generator, device=generator.device, dtype=t.dtype).to(t.device) for t in outputs
    ]
    try:
        gradients = torch.autograd.grad(outputs, parameters, noise, allow_unused=True)
    except RuntimeError as error:
        raise RuntimeError(f"backward must run on the model, got {_script_cause(error)}") from error
    return {id(p): g for p, g in zip(parameters, gradients, strict=True) if g is not None}


def _ratio(value: float | None, reference: float | None) -> float | None:
    return None if value is None or not reference else value / reference


def _rows(calls: list[LayerCall], gradients: dict[int, Tensor], purpose: Purpose) -> list[LayerSignal]:
    rows = []
    for index, call in enumerate(calls):
        before = calls[index - 1].activation if index else None
        after = calls[index + 1].gradient if index + 1 < len(calls) else None
        named = [p for name, p in call.layer.parameters if "weight" in name]
        weights = named or [p for _, p in call.layer.parameters]
        arrived = [gradients[id(p)] for p in weights if id(p) in gradients]
        rows.append(
            LayerSignal(
                layer=call.layer.path,
                use=call.number,
                kind=call.layer.kind,
                output=call.shape,
                activation=call.activation,
                activation_ratio=_ratio(call.activation, before),
                gradient=call.gradient,
                gradient_ratio=_ratio(call.gradient, after),
                weight=rms(*weights) if weights else None,
                weight_gradient=rms(*arrived) if arrived else None,
                branch=call.branch,
                activation_zeroed_by=purpose.of_activation(call),
                gradient_zeroed_by=purpose.of_gradient(call),
            )
        )
    return rows


def _parameters(module: nn.Module, layers: list[CalledLayer]) -> list[nn.Parameter]:
    """List the parameters once; fail if a probe cannot measure them."""
    if not torch.is_grad_enabled():
        raise RuntimeError("a probe needs gradients, got them disabled by torch.no_grad() or the like")
    parameters = list({id(p): p for layer in layers for _, p in layer.parameters}.values())
    if not parameters:
        raise RuntimeError(
            f"a probe needs a module with floating parameters, got {Layer('', module).kind} without any"
            " (torch.jit.freeze makes them constants, and quantization packs them)"
        )
    if any(p.is_meta for p in parameters):
        raise RuntimeError("a probe needs parameters with values, got some on the meta device")
    return parameters


def signal(
    module: nn.Module,
    *inputs: Any,
    generator: torch.Generator | None = None,
    progress: Callable[[str, str, int], object] | None = None,
) -> Signal:
    """Run a module forward and backward, and measure the scale of the signal at each of its layers.

    The gradients come from standard normal noise at every floating output. Frozen parameters count as trainable. A sum
    ``x + branch(x)`` has a row of its own, after those of the branch; the shortcut may also pool, or be a projection
    between other sums. :func:`notes` tells a zero on purpose from a fault. The module, its buffers, the inputs and the
    global random generators are left as they were.

    Args:
        module: eager, scripted, traced or loaded
        inputs: the arguments of its forward
        generator: draws the noise, and the seed of forward's own draws; None for one with seed 0
        progress: called at each call of a layer, with ``"forward"`` or ``"backward"``, the layer's name and the
            number of steps as far as it is known

    Returns:
        A row for each call of a layer and for each sum of a residual stream, in the order of execution.

    Raises:
        RuntimeError: if the module cannot be run forward and backward; the message is one line

    Examples:
        >>> model = torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.ReLU(), torch.nn.Linear(32, 4))
        >>> rows = torchinit.diagnostics.signal(model, torch.randn(16, 8))
        >>> [(row.layer, row.kind, row.output) for row in rows]
        [('0', 'Linear', (16, 32)), ('2', 'Linear', (16, 4))]
    """
    generator = generator or torch.Generator().manual_seed(0)
    report = progress or (lambda *_: None)
    layers = find_layers(module)
    parameters = _parameters(module, layers)
    seed = int(torch.randint(1 << 62, (1,), generator=generator, device=generator.device))
    copies = [i.detach().clone() if isinstance(i, Tensor) else i for i in inputs]

    def step(path: str) -> None:
        report("forward", path, 2 * max(len(layers), len(trace.calls)))

    trace = OperatorTrace(layers, list(flatten(copies)), step)
    try:
        with _restored(module, parameters, seed):
            outputs = _forward(module, copies, trace)
            total = 2 * len(trace.calls)
            calls = list(merged(trace.calls, streams(trace.sums, trace.flow)))
            gradients = _backward(calls, outputs, parameters, generator, lambda path: report("backward", path, total))
    finally:
        for parameter, values in trace.overwritten.values():
            parameter.detach().copy_(values)
    ends = {value for value in map(trace.value_of, outputs) if value is not None}
    return Signal(_rows(calls, gradients, Purpose(trace.flow, trace.inputs, ends, gradients)))
