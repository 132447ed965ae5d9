"""What the app is told when it asks for a prediction: an answer, or what is missing for one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from xxact_app.samples.sample import Sample

if TYPE_CHECKING:
    from xxact_core.prediction.predictor import Prediction

Wanted = Literal["input", "wavelength", "coverage"]


@dataclass(frozen=True)
class Answer:
    """A prediction, and what it was asked of; formula is the text as typed, empty where nothing was."""

    sample: Sample
    formula: str
    prediction: Prediction


@dataclass(frozen=True)
class Missing:
    """In words that are safe to show: what a prediction still needs."""

    text: str
    what: Wanted = "input"
