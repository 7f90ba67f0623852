"""A row of a probe."""

from dataclasses import dataclass

from torchinit.diagnostics._calls import RESIDUAL


@dataclass(frozen=True)
class LayerSignal:
    """The signal at one call of a layer, that is, of a module with parameters of its own, or at a residual sum.

    A call is a run of operators that take the layer's parameters, with no other layer's in between. A parameter that is
    taken again begins a new call, except in RNN, LSTM and GRU. A residual sum adds a branch to the stream that the
    branch started from. All scales are root mean squares.

    Attributes:
        layer: qualified name of the module; for a tied parameter, of the first module that holds it; for a sum, the
            module that holds the branch
        use: number of the call, from 1
        kind: name of the module's type, or ``"residual"`` for a sum
        output: shape of the last operator's result
        activation: scale of that result
        activation_ratio: ``activation`` over that of the row before; None for the first row
        gradient: scale of the gradient at that result; None if none arrived
        gradient_ratio: ``gradient`` over that of the row after, where gradients come from; None for the last row
        weight: scale of the layer's weights, or of all its parameters if none is named a weight; None for a sum
        weight_gradient: scale of their gradient, summed over all calls; None if none arrived
        branch: for a layer within a residual branch, the name of the sum that adds it
        activation_zeroed_by: name of the parameter that makes the activation 0 on purpose: all its elements are 0,
            it learns at the first step, and the signal passes around it; empty if there is none
        gradient_zeroed_by: the same for the gradient; the parameter may also be that of the model's last layer
    """

    layer: str
    use: int
    kind: str
    output: tuple[int, ...]
    activation: float
    activation_ratio: float | None
    gradient: float | None
    gradient_ratio: float | None
    weight: float | None
    weight_gradient: float | None
    branch: str = ""
    activation_zeroed_by: str = ""
    gradient_zeroed_by: str = ""

    @property
    def label(self) -> str:
        """The layer's name, after ``x +`` for a sum, with the number of the call from the second on."""
        name = ("x + " if self.kind == RESIDUAL else "") + (self.layer or "(root)")
        return name if self.use == 1 else f"{name} #{self.use}"
