"""Statistics of each parameter of a model, and a verdict on how it was initialized."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from torchinit._core.rows import Rows
from torchinit._core.scale import xavier_std
from torchinit._core.table import Cell, counted, dtype_name
from torchinit.diagnostics._moments import Moments, measure
from torchinit.diagnostics._parameters import Parameter, module_of, parameters
from torchinit.diagnostics._quantized import described, with_unlisted
from torchinit.diagnostics._schemes import he_std
from torchinit.diagnostics._verdict import Verdict, verdict, with_dead_pairs


@dataclass(frozen=True)
class ParameterStatistics:
    """Statistics of one parameter, over its finite values.

    Attributes:
        name: qualified name, of tied parameters the first
        shape: sizes of all dimensions
        dtype: the parameter's type
        fan_in: inputs of each unit of its layer; None for fewer than two dimensions or no elements
        fan_out: outputs, likewise
        mean: their mean, complex for a complex parameter; None without finite values
        std: population standard deviation; None likewise
        min: the least value; None likewise, and for a complex parameter
        max: the greatest, likewise
        zeros: share of the elements that are 0, from 0 to 1; None likewise
        not_finite: number of NaN and infinities; None if the parameter has no numbers, as on the meta device
        he: std of He's initialization, sqrt(2 / fan_in); None without fans
        xavier: std of Xavier's, sqrt(2 / (fan_in + fan_out)); None without fans
        verdict: the distribution and the known initialization that gives its scale, such as ``"normal, std 0.177 = He
            (fan_in)"``, after what is wrong if it is bad; None if nothing is known
        bad: whether it is what no sound initialization gives
        constant: whether all finite values are equal
        tied: its other names
        distribution: ``"uniform"``, ``"normal"``, ``"truncated normal"``, ``"two-valued"``, ``"constant"``, ``"other"``,
            or a structure such as ``"orthogonal"``, ``"identity"``, ``"dirac"``; None if too few values tell
        scheme: the known initialization that gives its std (``"He (fan_in)"``, ``"0.02 / sqrt(24)"``); None if none does
        gain: the gain of an orthogonal matrix, an identity or a dirac kernel; None for others
    """

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    fan_in: int | None
    fan_out: int | None
    mean: float | complex | None
    std: float | None
    min: float | None
    max: float | None
    zeros: float | None
    not_finite: int | None
    he: float | None
    xavier: float | None
    verdict: str | None
    bad: bool
    constant: bool
    tied: tuple[str, ...]
    distribution: str | None = None
    scheme: str | None = None
    gain: float | None = None


class Statistics(Rows[ParameterStatistics]):
    """The statistics of the parameters of a model, in its order.

    Args:
        rows: one for each parameter
        tensors: the parameters by name, for :meth:`plot`
    """

    columns = (
        *("name", "shape", "dtype", "fan_in", "fan_out", "mean", "std", "min", "max", "zeros", "not_finite"),
        *("he", "xavier", "verdict", "tied"),
    )
    words = ("verdict", "tied")
    varying = ("verdict", "mean")
    least = (
        *("not_finite", ("he", "xavier"), ("fan_in", "fan_out"), "dtype", "zeros", ("min", "max"), "mean", "tied"),
        *("std", "shape"),
    )

    def __init__(self, rows: Iterable[ParameterStatistics] = (), tensors: Mapping[str, Tensor] | None = None) -> None:
        super().__init__(rows)
        self.tensors = dict(tensors or {})

    def cells(self, row: ParameterStatistics) -> list[Cell]:
        cells: dict[str, Cell] = {column: getattr(row, column) for column in self.columns}
        cells["dtype"] = dtype_name(row.dtype)
        cells["tied"] = ", ".join(row.tied) or None
        if isinstance(row.mean, complex):
            cells["mean"] = f"{row.mean:.6g}"
        return list(cells.values())

    def is_marked(self, row: ParameterStatistics) -> bool:
        return row.bad

    @property
    def summary(self) -> str:
        values = sum(math.prod(row.shape) for row in self)
        return f"{counted(len(self), 'tensor')}, {counted(values, 'value')}, {sum(row.bad for row in self)} marked"

    def plot(
        self,
        others: Mapping[str, Tensor] | None = None,
        title: str = "",
        label: str = "others",
        progress: Callable[[str, str, int], object] | None = None,
        *,
        columns: int | None = None,
    ) -> Any:
        """Draw a histogram of each parameter as it is now; see :func:`plot_statistics`.

        Args:
            others: tensors to compare by parameter name, such as fresh weights
            title: heading of the page
            label: name of ``others`` in the legend
            progress: called before each panel with ``"drawing"``, the parameter's name and the number of panels
            columns: panels side by side (default: as many as make a page that is wider than high)

        Returns:
            A ``matplotlib.figure.Figure``.

        Raises:
            RuntimeError: if matplotlib is not installed, or there are no rows
        """
        # The plots import these rows.
        from torchinit.diagnostics._histograms import plot_statistics

        return plot_statistics(self.tensors, self, others, title, label, progress, columns=columns)


def _numbers(moments: Moments | None) -> dict[str, Any]:
    names = ("mean", "std", "min", "max", "zeros", "not_finite")
    numbers: dict[str, Any] = dict.fromkeys(names)
    if moments is None:
        return numbers
    numbers["not_finite"] = moments.not_finite
    if moments.count:
        numbers |= {"mean": moments.mean, "std": moments.std, "zeros": moments.zeros / moments.size}
        if math.isfinite(moments.min):
            numbers |= {"min": moments.min, "max": moments.max}
    return numbers


def _row(parameter: Parameter, moments: Moments | None, said: Verdict) -> ParameterStatistics:
    fans = parameter.fans()
    fan_in, fan_out = fans or (None, None)
    return ParameterStatistics(
        name=parameter.name,
        shape=tuple(parameter.tensor.shape),
        dtype=parameter.tensor.dtype,
        fan_in=fan_in,
        fan_out=fan_out,
        **_numbers(moments),
        he=he_std(fans[0]) if fans else None,
        xavier=xavier_std(*fans, gain=1.0) if fans else None,
        verdict=said.text,
        bad=said.fault is not None,
        constant=moments is not None and moments.constant is not None,
        tied=tuple(parameter.tied),
        distribution=said.distribution,
        scheme=said.scheme,
        gain=said.gain,
    )


def statistics(
    model: nn.Module | Mapping[str, Any], progress: Callable[[str, str, int], object] | None = None
) -> Statistics:
    """Measure each parameter of a model, say how it was drawn, and mark what no sound initialization gives.

    The verdict names the distribution, by tests at the size of the sample, then the standard deviation or the bound,
    and the known initialization that gives it: by the fans of the layer, by the number of layers, or a number such as
    0.02. An ``=`` means that the two agree within the sampling error, ``~`` that this error exceeds 5 %. Matrices are
    also compared with orthogonal ones, the identity and what torchinit's other initializers make.

    A row is bad if

    - values are not finite;
    - a weight is constant, but not 0, or both weights of a branch are 0;
    - rows are zero or copies of others, many columns are, or the rank is low;
    - no draw for these fans gives the mean, the scale or the outliers;
    - many values are 0, but by no mask and not by ``sparse_``;
    - values lie on a grid, or pile up on their bounds.

    Embeddings, norms, LayerScale and other parameters that are no weights of a layer are not compared with fans. In a
    state dict, the name tells an embedding; a transposed or grouped convolution looks like any other.

    Quantized tensors are measured by the values that they stand for, those that torch's layers pack included. Integers,
    and the scales beside them, are shown and never marked.

    Args:
        model: a module (eager, scripted, traced or loaded) or its state dict
        progress: called before each parameter with ``"measuring"``, its name and the number of parameters

    Returns:
        A row for each parameter, in the order of ``named_parameters``; tied parameters once.

    Raises:
        ValueError: if a state dict has a name that is not dotted, or a value that is not a tensor

    Examples:
        >>> layer = torch.nn.Linear(64, 256)
        >>> _ = torchinit.kaiming_normal_(layer.weight, generator=torch.Generator().manual_seed(0))
        >>> _ = torchinit.zeros_(layer.bias)
        >>> [(row.name, row.verdict) for row in torchinit.diagnostics.statistics(layer)]
        [('weight', 'normal, std 0.177 = He (fan_in)'), ('bias', 'constant 0')]
    """
    module, more = with_unlisted(model)
    found = parameters(module)
    if module is model and more:
        found += parameters(module_of(more))
    measured, verdicts = [], []
    for parameter in found:
        if progress is not None:
            progress("measuring", parameter.name, len(found))
        measured.append(measure(parameter.tensor))
        verdicts.append(verdict(parameter, measured[-1]))
    rows = [_row(*row) for row in zip(found, measured, with_dead_pairs(found, verdicts))]
    dtypes = {name: tensor.dtype for name, tensor in more.items() if tensor.is_quantized}
    return Statistics(described(rows, dtypes), {each.name: each.tensor for each in found})
