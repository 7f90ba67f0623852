"""The report: a page about how a model is initialized."""

from torchinit.diagnostics._report._report import Report, report

__all__ = ["Report", "report"]
