"""The screens of the app for notebooks: they take arrays, files and xarray, and Python sees what the user does."""

from xxact_app.widgets.embeddings import EmbeddingView
from xxact_app.widgets.patterns import PatternView, PredictionView, ReconstructionView
from xxact_app.widgets.runs import RunMonitor

__all__ = ["EmbeddingView", "PatternView", "PredictionView", "ReconstructionView", "RunMonitor"]
