"""The result of a request for a prediction: an answer, or the missing inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from xxact_app.samples.sample import Sample

if TYPE_CHECKING:
    from xxact_core.prediction.prediction import Prediction

Wanted = Literal["input", "wavelength", "coverage"]


@dataclass(frozen=True)
class Answer:
    """A prediction with its sample and the composition as typed, which may be empty."""

    sample: Sample
    formula: str
    prediction: Prediction


@dataclass(frozen=True)
class Missing:
    """What is missing for a prediction, as a safe text."""

    text: str
    what: Wanted = "input"
