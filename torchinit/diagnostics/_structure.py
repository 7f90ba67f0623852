"""Relations between the rows of a matrix: orthogonal, equal, zero, or few independent ones."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from torchinit.diagnostics._distribution import Distribution
from torchinit.diagnostics._parameters import Parameter

# Elements per chunk, 1 MiB in float32.
_CHUNK = 1 << 18
# Rows and columns of the part of a matrix whose Gram matrix is looked at.
_ROWS, _COLUMNS = 128, 1024
# A row this much larger than the median one makes its unit the only one, if few rows are.
_HUGE, _FEW_HUGE = 10.0, 0.05
# Fewer numbers in a row may be small, or nearly equal to another row's, by chance.
_FEW = 3
# Eigenvalues of the Gram matrix below this share of their mean are rounding, of bfloat16 too.
_RANK = 1e-4


@dataclass
class Lines:
    """The rows of a matrix, or its columns; of complex numbers the parts stand side by side.

    Attributes:
        values: each as a row
        norms: the norm of each, up to a common factor
        projections: the product of each with one vector
        nonzeros: the number of elements of each that are not 0
    """

    values: Tensor
    norms: Tensor
    projections: Tensor
    nonzeros: Tensor

    @property
    def length(self) -> int:
        return self.values.shape[1]

    @property
    def median(self) -> float:
        return self.norms[self.norms > 0].median().item() if bool((self.norms > 0).any()) else 0.0

    def zeros(self) -> Tensor:
        """Return the numbers of those that are zero."""
        zero = (self.norms == 0) & (self.length >= _FEW)
        return zero.nonzero().flatten()

    def huge(self) -> tuple[int, float] | None:
        """Return the largest one and how much larger than the median it is, if that is much."""
        if self.length < 8 or len(self.norms) < 8 or self.median == 0.0:
            return None
        factors = self.norms / self.median
        # NB: a weight may pack parts of different scales, such as a gate that starts near 0.
        is_few = int((factors > _HUGE).sum()) <= max(1.0, _FEW_HUGE * len(factors))
        return (int(factors.argmax()), factors.max().item()) if is_few and factors.max() > _HUGE else None

    def are_equally_long(self, resolution: float) -> bool:
        """True if all norms are equal up to rounding."""
        low, high = (bound.item() for bound in torch.aminmax(self.norms))
        return low > 0.0 and high <= low * (1.0 + _rounding(resolution))


def _rounding(resolution: float) -> float:
    """Return what rounding changes in a product of two rows; types coarser than bfloat16 hide too much."""
    return 1e-4 + min(resolution, 2.0**-7)


def _wide(matrix: Tensor, largest: float) -> Tensor:
    """Convert to float32, and extreme values to a range whose squares are finite."""
    if not 1e-12 < largest < 1e12:
        return (matrix.double() / largest).float()
    return matrix.float()


def lines(matrix: Tensor, largest: float, has_zeros: bool) -> tuple[Lines, Lines]:
    """Measure the rows and the columns of a matrix in one pass, a part at a time.

    Args:
        matrix: of two dimensions, with finite values
        largest: the largest absolute value
        has_zeros: whether some elements are 0

    Returns:
        the rows and the columns
    """
    if matrix.is_complex():
        matrix = torch.view_as_real(matrix.resolve_conj()).flatten(-2)
    rows, columns = matrix.shape
    across, along = _direction(columns, matrix.device), _direction(rows, matrix.device)
    row_parts: list[tuple[Tensor, Tensor, Tensor]] = []
    squares, projections = (across.new_zeros(columns, dtype=torch.float64) for _ in range(2))
    nonzeros = across.new_full((columns,), 0 if has_zeros else rows, dtype=torch.int64)
    step = max(1, _CHUNK // columns)
    for start in range(0, rows, step):
        part = _wide(matrix[start : start + step], largest)
        height = len(part)
        present = (part != 0).sum(1) if has_zeros else part.new_full((height,), columns, dtype=torch.int64)
        # Products with vectors are faster than sums along dimension 0.
        square = part * part
        row_parts.append((square @ part.new_ones(columns), part @ across, present))
        squares += part.new_ones(height) @ square
        projections += along[start : start + step] @ part
        if has_zeros:
            nonzeros += (part != 0).sum(0)
    norms, products, counts = (torch.cat(parts) for parts in zip(*row_parts))
    return Lines(matrix, norms.sqrt(), products, counts), Lines(matrix.t(), squares.sqrt(), projections, nonzeros)


def _direction(size: int, device: torch.device) -> Tensor:
    """Return a vector without symmetries, so that different rows have different products with it."""
    return torch.cos(1.0 + torch.arange(size, dtype=torch.float64, device=device) ** 2).float()


def differ(rows: Lines, bits: float) -> bool:
    """True if rows of values with so many bits each do not equal each other, or a constant, by chance."""
    return rows.nonzeros.double().mean().item() * bits >= 2.0 * math.log2(max(2, len(rows.norms))) + 20.0


def copies(rows: Lines) -> int:
    """Count the rows that equal another row.

    Rows are compared where their norms and products with a vector are nearly equal. At most 256 pairs are compared.
    """
    present = (rows.norms > 0).nonzero().flatten()
    order = present[rows.projections[present].argsort()]
    first, second = order[:-1], order[1:]
    scale = rows.norms[second] * 1e-5
    near = (rows.projections[second] - rows.projections[first]).abs() <= scale
    near &= (rows.norms[second] - rows.norms[first]).abs() <= scale
    pairs = near.nonzero().flatten()
    if len(pairs) == 0:
        return 0
    looked = pairs[_evenly(len(pairs), 256)]
    width = max(1, _CHUNK // rows.length)
    equal = 0
    for part in torch.split(looked, width):
        equal += int((rows.values[first[part]] == rows.values[second[part]]).all(1).sum())
    return round(equal / len(looked) * len(pairs))


def _evenly(size: int, most: int) -> Tensor:
    count = min(size, most)
    return torch.arange(count, device="cpu") * size // count


def _part(matrix: Tensor, largest: float, rows: int, columns: int) -> Tensor:
    """Return evenly spread rows of a matrix, or columns if these are fewer, divided by its largest value."""
    if matrix.shape[0] > matrix.shape[1]:
        matrix = matrix.t()
    part = matrix[_evenly(matrix.shape[0], rows)][:, _evenly(matrix.shape[1], columns)]
    return part.to(torch.complex128 if part.is_complex() else torch.float64) / largest


def rank(matrix: Tensor, largest: float) -> tuple[int, int]:
    """Return how many of the rows or columns looked at are independent, and how many were looked at."""
    # NB: a weight may pack parts of different scales.
    part = torch.nn.functional.normalize(_part(matrix, largest, _ROWS, _COLUMNS), dim=1)
    values = torch.linalg.eigvalsh(part @ part.mH)
    return int((values > _RANK * values.mean()).sum()), len(values)


def orthogonal_gain(matrix: Tensor, largest: float, resolution: float) -> float | None:
    """Return g if the shorter of rows and columns are orthogonal to each other and have norm g, else None."""
    if min(matrix.shape) < 2:
        return None
    part = _part(matrix, largest, 64, max(matrix.shape))
    gram = part @ part.mH
    square = gram.diagonal().real.mean().item()
    rest = (gram / square - torch.eye(len(gram), device=gram.device)).abs().max().item()
    return largest * math.sqrt(square) if rest < _rounding(resolution) else None


def is_mask(rows: Lines, columns: Lines, kernel: bool) -> bool:
    """True if zeros form large blocks, such as those of a triangle or of a block diagonal, or positions of a kernel."""
    present = columns.nonzeros.count_nonzero()
    if kernel and bool(((columns.nonzeros == 0) | (columns.nonzeros >= 0.9 * columns.length)).all()):
        return True
    part = rows.values[_evenly(len(rows.values), _ROWS)] != 0
    changes = (part[:, 1:] != part[:, :-1]).sum(1).float().mean().item()
    few = changes <= min(3.0, rows.length / 4)
    # Columns that all rows lack are no mask.
    return few and (bool(present == len(columns.norms)) or bool((rows.nonzeros != rows.nonzeros[0]).any()))


def is_sparse(rows: Lines, columns: Lines) -> bool:
    """True if each column has equally many zeros, in rows by chance, as ``sparse_`` leaves them."""
    share = columns.nonzeros[0].item() / columns.length
    spread = math.sqrt(rows.length * share * (1.0 - share))
    by_chance = (rows.nonzeros - share * rows.length).abs() <= 6.0 * spread + 1.0
    return bool((columns.nonzeros == columns.nonzeros[0]).all()) and bool(
        by_chance.all() and (rows.nonzeros != rows.nonzeros[0]).any()
    )


def constant_rows(rows: Lines) -> int:
    """Count the rows whose values are all equal, but not 0; at most 256 are looked at."""
    expected = rows.norms * (_direction(rows.length, rows.norms.device).sum().abs() / math.sqrt(rows.length))
    near = (rows.projections.abs() - expected).abs() <= 1e-4 * rows.norms
    found = near.nonzero().flatten()
    part = rows.values[found[_evenly(len(found), 256)]]
    equal = int(((part == part[:, :1]) & (part != 0)).all(1).sum())
    return round(equal / max(1, len(part)) * len(found))


@dataclass(frozen=True)
class Weight:
    """A weight of finite values.

    Attributes:
        parameter: the weight
        found: the distribution of its values
        matrix: the weights of each output as a row
        rows: these rows
        columns: the columns
    """

    parameter: Parameter
    found: Distribution
    matrix: Tensor
    rows: Lines
    columns: Lines

    @staticmethod
    def of(parameter: Parameter, found: Distribution, has_zeros: bool) -> "Weight":
        matrix = parameter.tensor.detach()
        if parameter.is_stack:
            matrix = matrix.flatten(0, 1)
        elif parameter.has_columns_for_units():
            matrix = matrix.transpose(0, 1)
        matrix = matrix.flatten(1)
        return Weight(parameter, found, matrix, *lines(matrix, found.largest, has_zeros))

    @property
    def tensor(self) -> Tensor:
        return self.parameter.tensor.detach()

    def orthogonal_gain(self, matrix: Tensor) -> float | None:
        """Return the gain of the weight, or of a part of it, if it is orthogonal."""
        return orthogonal_gain(matrix, self.found.largest, self.found.resolution)
