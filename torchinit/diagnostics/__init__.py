"""Look at a model before it trains: the statistics of its weights, and how a signal passes through its layers.

Every function returns data; the command line prints it. Plots need matplotlib (``pip install 'torchinit[plot]'``).
"""

from torchinit.diagnostics._compare import Comparison, TensorDifference, compare
from torchinit.diagnostics._histograms import plot_statistics
from torchinit.diagnostics._layer_signal import LayerSignal
from torchinit.diagnostics._signal import Signal, signal
from torchinit.diagnostics._signal_plot import plot_signal
from torchinit.diagnostics._statistics import ParameterStatistics, Statistics, statistics
from torchinit.diagnostics._trend import Trend, marked, notes, summary, trend, trends

__all__ = [
    "Comparison",
    "LayerSignal",
    "ParameterStatistics",
    "Signal",
    "Statistics",
    "TensorDifference",
    "Trend",
    "compare",
    "marked",
    "notes",
    "plot_signal",
    "plot_statistics",
    "signal",
    "statistics",
    "summary",
    "trend",
    "trends",
]
