"""Pattern and composition → prediction, as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xxact_core.compositions.partial import parse_composition
from xxact_core.patterns.conversions import parse_wavelength
from xxact_core.patterns.pattern import GriddedPattern, Pattern
from xxact_core.processing.pipeline import ProcessingPipeline
from xxact_core.processing.steps import ConvertWavelength
from xxact_core.requests.reading import ReadRequest

if TYPE_CHECKING:
    from xxact_core.prediction.prediction import Prediction
    from xxact_core.prediction.predictor import Predictor
    from xxact_core.search_match.identify import Identifier


@dataclass(frozen=True, kw_only=True)
class PredictRequest(ReadRequest):
    """What is predicted from a pattern, and how the pattern is processed.

    Raises:
        FormulaError: the formula cannot be read.
        ProcessingError: a processing step is unknown or has a setting out of range.
    """

    formula: str
    """Composition: LaB6, or what is known of it: `Fe 40±2 O 60±3`, `Fe 72 wt% ?O`, `Fe,O`, `?` for nothing."""

    processing: Mapping[str, Any] | None = None
    """Processing steps, {"steps": [...]}; by default the standard steps."""

    override_coverage: bool = False
    """Predict even if less than 30 % of the 2θ range was measured."""

    def __post_init__(self) -> None:
        """Check formula and steps, so that mistakes are reported before a file is read."""
        super().__post_init__()
        parse_composition(self.formula)
        _ = self.steps

    @property
    def steps(self) -> ProcessingPipeline:
        """The processing steps, with the wavelength of the request."""
        steps = ProcessingPipeline() if self.processing is None else ProcessingPipeline.from_dict(self.processing)
        if self.wavelength is None:
            return steps
        return steps.replace_step(ConvertWavelength(wavelength=parse_wavelength(self.wavelength)))


def processed(pattern: Pattern, request: PredictRequest) -> GriddedPattern:
    """The pattern on the grid; raises as `ProcessingPipeline.apply`."""
    return request.steps.apply(pattern, override_coverage=request.override_coverage).gridded


def predict(gridded: GriddedPattern, request: PredictRequest, predictor: Predictor) -> Prediction:
    """The prediction for a processed pattern; raises as `Predictor.predict`."""
    return predictor.predict(gridded, request.formula)


def predict_pattern(
    pattern: Pattern, request: PredictRequest, predictor: Predictor, *, identifier: Identifier | None = None
) -> dict[str, Any]:
    """The prediction as `xxact predict --json` prints it, but for the file.

    Args:
        pattern: as measured.
        request: composition and processing.
        predictor: the model.
        identifier: combines the prediction with matching reference phases.

    Raises:
        CheckpointError: the outputs of the model are not finite.
        FormulaError: the model needs a composition, and nothing is known of it.
        PatternError: the pattern cannot be used.
        WavelengthError: neither the file nor the request states the wavelength.
    """
    gridded = processed(pattern, request)
    prediction = predict(gridded, request, predictor)
    if identifier is not None:
        prediction = identifier.combine(prediction, gridded)
    return prediction.to_dict()
