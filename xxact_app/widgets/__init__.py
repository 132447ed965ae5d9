"""The screens of the app as notebook widgets, which take files, arrays and xarray objects."""

from xxact_app.widgets.embeddings import EmbeddingView
from xxact_app.widgets.patterns import PatternView, PredictionView, ReconstructionView
from xxact_app.widgets.runs import RunMonitor

__all__ = ["EmbeddingView", "PatternView", "PredictionView", "ReconstructionView", "RunMonitor"]
