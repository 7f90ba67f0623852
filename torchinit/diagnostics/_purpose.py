"""Which zeros in a signal are there on purpose: a weight that starts at 0 and learns, while the signal passes around it.

A parameter whose elements are all 0 stops the signal at its product. That is no fault if

- every output that the product leads to still depends on the input, by a skip connection or another branch, or the
  product is the model's last one (a head);
- the parameter gets a gradient, so that it is not 0 after the first step. Where another such zero, nearer to the output,
  keeps the gradient from it, that one is asked instead.
"""

from collections.abc import Collection, Sequence

from torch import Tensor

from torchinit.diagnostics._calls import LayerCall
from torchinit.diagnostics._flow import Flow, Zeros, ZeroWeight, is_zero


def _weights(flow: Flow) -> list[ZeroWeight]:
    """List the zero weights, those nearest to the outputs first."""
    found = dict.fromkeys(zero for sources in flow.sources for _, zeros in sources for zero in zeros)
    found |= dict.fromkeys(zero for zeros in flow.zeros for zero in zeros)
    return sorted(found, key=lambda zero: -max(zero.values))


def _is_last(flow: Flow, zero: ZeroWeight) -> bool:
    """True if no layer with a matrix takes what the weight gives."""
    after = flow.reached(zero.values, ())
    return not any(
        after[value] and value not in zero.values and any(p.dim() >= 2 for _, p in call.layer.parameters)
        for value, call in flow.calls.items()
    )


class Purpose:
    """The zeros of a forward and a backward pass that are there on purpose.

    Args:
        flow: the values of the forward pass
        inputs: numbers of the values that come from outside
        outputs: numbers of the values that the gradient comes from
        gradients: the gradients by the parameters' ids
    """

    def __init__(
        self, flow: Flow, inputs: Sequence[int], outputs: Collection[int], gradients: dict[int, Tensor]
    ) -> None:
        self._flow, self._outputs, self._gradients = flow, outputs, gradients
        weights = _weights(flow)
        self.heads: Zeros = frozenset()
        self._kept: Zeros = frozenset()
        self._stuck: Zeros = frozenset()
        if not weights:
            return
        roots = inputs or [value for value, sources in enumerate(flow.sources) if not sources]
        open_to = flow.reached(roots, weights)
        cut = [w for w in weights if not self._is_passed(w, open_to)]
        self.heads = frozenset(w for w in cut if self._learns(w) and _is_last(flow, w))
        # A head that is 0 hides whether the signal passes around the others.
        open_to = flow.reached(roots, [w for w in weights if w not in self.heads])
        self._kept = self.heads
        for weight in [w for w in weights if w not in self.heads]:
            if self._is_passed(weight, open_to) and self._learns(weight):
                self._kept |= {weight}
            else:
                self._stuck |= {weight}
        self._below_heads = flow.reaching(outputs, self.heads)
        self._below_all = flow.reaching(outputs, self._kept)

    def _is_passed(self, weight: ZeroWeight, open_to: Sequence[bool]) -> bool:
        """True if all outputs that a weight leads to depend on the input in another way."""
        led_to = self._flow.reached(weight.values, ())
        return all(open_to[output] for output in self._outputs if led_to[output])

    def _learns(self, weight: ZeroWeight) -> bool:
        """True if a weight gets a gradient, or another zero that does keeps it away."""
        gradient = self._gradients.get(id(weight.parameter))
        if gradient is not None and not is_zero(gradient.to_dense()):
            return True
        if not self._kept or self._reaches(weight, self._kept) or not self._reaches(weight, self._stuck):
            return False
        # A product of two zeros gives neither of them a gradient, also at the next step.
        return any(not self._flow.zeros[source] for value in weight.values for source, _ in self._flow.sources[value])

    def _reaches(self, weight: ZeroWeight, stopped: Zeros) -> bool:
        reaching = self._flow.reaching(self._outputs, stopped)
        return any(reaching[value] for value in weight.values)

    def of_activation(self, call: LayerCall) -> str:
        """Name the parameter that makes an activation 0 on purpose; empty if none does."""
        zeros = self._flow.zeros[call.value]
        if call.activation != 0 or not zeros or not zeros <= self._kept:
            return ""
        return min(zeros, key=lambda zero: max(zero.values)).name

    def of_gradient(self, call: LayerCall) -> str:
        """Name the parameter that makes a gradient 0 on purpose, the head's first; empty if none does."""
        if call.gradient != 0 or not self._kept or self._below_all[call.value]:
            return ""
        if not self._below_heads[call.value]:
            return self._first(call.value, self.heads)
        return self._first(call.value, self._kept)

    def _first(self, start: int, among: Zeros) -> str:
        """Name the first parameter of ``among`` that stops the gradient on the way to ``start``."""
        after = {start}
        for value in range(start + 1, len(self._flow.sources)):
            for source, zeros in self._flow.sources[value]:
                if source in after and zeros and zeros <= among:
                    return min(zeros, key=lambda zero: max(zero.values)).name
                if source in after:
                    after.add(value)
        return ""
