"""Content of a pattern file → the pattern with its phases and the prediction that agrees with them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xxact_core.errors import PatternError
from xxact_core.patterns.conversions import parse_wavelength
from xxact_core.patterns.pattern import Pattern
from xxact_core.processing.pipeline import ProcessingPipeline, ProcessingResult, read_pipeline
from xxact_core.processing.steps import ConvertWavelength
from xxact_core.quantities import space_group_to_crystal_system
from xxact_core.readers.content import MAX_BYTES
from xxact_core.readers.read_untrusted import prepare_reading
from xxact_core.requests.identifying import IdentifyRequest, identify_pattern
from xxact_core.search_match.certainty import (
    Certainty,
    Condition,
    agree_with_phases,
    is_in_domain,
    judge_phases,
    phase_probability,
)
from xxact_core.search_match.combine import combine_with_matches
from xxact_core.search_match.instrument import read_instrument
from xxact_core.shipped import CHECKPOINT, shipped_path

if TYPE_CHECKING:
    from xxact_core.prediction.prediction import Prediction
    from xxact_core.search_match.identify import Identification
    from xxact_core.search_match.phase_analysis import PhaseAnalysis

NO_PREDICTION_OF_MIXTURES = "no single prediction applies to a mixture"
"""Note in place of the prediction of a mixture."""


@dataclass(frozen=True, kw_only=True)
class AnalysisSettings(IdentifyRequest):
    """What is known of the specimens and how their patterns are analysed; plain values for JSON.

    Raises:
        FormulaError: the composition or an element cannot be read (E_FORMULA).
        WavelengthError: the wavelength cannot be read (E_WAVELENGTH).
        PatternError: the scan is neither a number nor `sum` or `join` (E_SCAN).
    """

    processing: str | None = None
    """JSON file with the processing steps for the prediction; None for the standard steps."""
    instrument: str | None = None
    """Width of the instrument: a saved name, or a file; None to estimate crystallite sizes without."""
    reference: tuple[str, ...] = ()
    """Tables of reference phases; empty for the shipped one."""
    model: str | None = None
    """Checkpoint folder of the model; None for the shipped one."""
    predict: bool = True
    """Whether properties are predicted by the model."""

    @property
    def composition(self) -> str:
        """What is known of the composition, as `parse_composition` reads it: the formula, or the elements."""
        if self.formula is not None:
            return self.formula
        states = self.states
        return ",".join([*states.must, *(f"?{symbol}" for symbol in (*states.may, *states.one_of))]) or "?"

    @property
    def pipeline(self) -> ProcessingPipeline:
        """The processing steps, with the wavelength where one is given.

        Raises:
            ProcessingError: the file with the steps cannot be read.
        """
        steps = ProcessingPipeline() if self.processing is None else read_pipeline(Path(self.processing))
        if self.wavelength is None:
            return steps
        return steps.replace_step(ConvertWavelength(wavelength=parse_wavelength(self.wavelength)))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> AnalysisSettings:
        """From plain values, as `dataclasses.asdict` gives them."""
        plain: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
        }
        return cls(**plain)


@dataclass(frozen=True)
class FileFacts:
    """What identifies the file that a pattern was read from."""

    name: str
    """File name."""
    size: int
    """Size [bytes]."""
    sha256: str
    """SHA-256 of its content, in hexadecimal."""

    @classmethod
    def of(cls, content: bytes, *, name: str) -> FileFacts:
        """The facts of a content."""
        return cls(name=name, size=len(content), sha256=hashlib.sha256(content).hexdigest())


@dataclass(frozen=True, eq=False)
class AnalysedPattern:
    """A measured pattern with its phases and the prediction that agrees with them."""

    source: FileFacts
    """The file."""
    pattern: Pattern
    """As measured."""
    pipeline: ProcessingPipeline
    """Steps from the pattern to the grid."""
    processed: ProcessingResult
    """The pattern after each of them."""
    settings: AnalysisSettings
    """What was known of the specimen."""
    found: Identification
    """Matching reference phases and the phases of the specimen."""
    reference_digest: str
    """Digest of the tables of reference phases."""
    prediction: Prediction | None = None
    """In agreement with the phases; None for a mixture, and where no model was used."""
    model_digest: str | None = None
    """SHA-256 of the weights of the model; None where none was used."""
    certainty: Certainty = "uncertain"
    """How sure the phases are."""
    conditions: tuple[Condition, ...] = ()
    """What that rests on."""
    notes: tuple[str, ...] = ()
    """Notes for the user."""

    @property
    def analysis(self) -> PhaseAnalysis:
        """The phases with the joint fit of their calculated patterns."""
        analysis = self.found.analysis
        assert analysis is not None, "a measured pattern is analysed"
        return analysis

    @cached_property
    def sentence(self) -> str:
        """The result in a sentence, without a full stop: `single phase: LaB6 …`."""
        return self.analysis.sentence.removesuffix(".")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: the keys of `xxact identify --json`, and `prediction` as of `xxact predict --json`."""
        return {
            "file": self.source.name,
            "source": {"name": self.source.name, "size": self.source.size, "sha256": self.source.sha256},
            "format": self.pattern.format,
            "points": int(self.pattern.two_theta.size),
            "measured_wavelength": self.pattern.wavelength,
            "metadata": dict(self.pattern.metadata),
            "composition": self.settings.composition,
            **self.found.to_dict(),
            "certainty": self.certainty,
            "conditions": [{"text": one.text, "met": one.met} for one in self.conditions],
            "prediction": None if self.prediction is None else self.prediction.to_dict(),
            "processing": self.pipeline.to_dict(),
            "notes": list(self.notes),
            "program": self.program,
        }

    @property
    def program(self) -> dict[str, str | None]:
        """Version of the program, and digests of its reference tables and its model."""
        return {
            "name": "XxaCT",
            "version": version("xxact"),
            "reference_digest": self.reference_digest,
            "model_sha256": self.model_digest,
        }


class PatternAnalyser:
    """Reads, identifies and predicts; the reference tables and the model are loaded once, for all files.

    Raises:
        DatasetError: a reference table cannot be read.
        CheckpointError: the model cannot be read.
        ProcessingError: the processing steps cannot be read.
        InputError: the instrument is unknown.
    """

    def __init__(self, settings: AnalysisSettings) -> None:
        """Load what `settings` name."""
        from xxact_core.checkpoint import describe_checkpoint  # noqa: PLC0415 - torch takes a second to import
        from xxact_core.prediction.predictor import Predictor  # noqa: PLC0415 - torch takes a second to import
        from xxact_core.search_match.identify import Identifier  # noqa: PLC0415 - scipy takes half a second

        self.settings = settings
        self.pipeline = settings.pipeline
        self.instrument = None if settings.instrument is None else read_instrument(settings.instrument)
        prepare_reading()
        self.identifier = Identifier.load([Path(path) for path in settings.reference] or None)
        _ = self.identifier.index
        self.predictor, self.model_digest = None, None
        if settings.predict:
            folder = shipped_path(CHECKPOINT) if settings.model is None else Path(settings.model)
            self.predictor = Predictor.load(folder)
            self.model_digest = str(describe_checkpoint(folder)["weights_sha256"])

    def analyse(self, content: bytes, *, name: str) -> AnalysedPattern:
        """Analyse the pattern of a file.

        Raises:
            PatternError: it is no pattern that can be used; see `read_untrusted_pattern` and `Identifier.identify`.
            WavelengthError: neither the file nor the settings state the wavelength.
        """
        if len(content) > MAX_BYTES:
            msg = f"{name}: has {len(content) / 2**20:.0f} MB; expected at most {MAX_BYTES // 2**20} MB"
            raise PatternError(msg, code="E_TOO_LARGE")
        settings = self.settings
        pattern = settings.read(content, name=name)
        processed = self.pipeline.apply(pattern, override_coverage=True)
        found = identify_pattern(pattern, settings, self.identifier, instrument=self.instrument)
        alone, of_formula = None, None
        if self.predictor is not None:
            alone = self.predictor.predict(processed.gridded, settings.composition)
            if found.verdict == "single" and alone.composition_cost is not None:
                of_formula = self.predictor.predict(processed.gridded, found.phases[0].formula)
        analysed = to_analysed_pattern(
            found,
            pattern,
            source=FileFacts.of(content, name=name),
            settings=settings,
            reference_digest=self.identifier.references.digest,
            pipeline=self.pipeline,
            processed=processed,
            prediction=alone,
            prediction_of_formula=of_formula,
        )
        return replace(analysed, model_digest=self.model_digest)


def to_analysed_pattern(
    found: Identification,
    pattern: Pattern,
    *,
    source: FileFacts,
    settings: AnalysisSettings,
    reference_digest: str,
    pipeline: ProcessingPipeline | None = None,
    processed: ProcessingResult | None = None,
    prediction: Prediction | None = None,
    prediction_of_formula: Prediction | None = None,
) -> AnalysedPattern:
    """Join a pattern with what was found, judge how sure that is, and make the prediction agree with it.

    Args:
        found: the phases.
        pattern: as measured.
        source: the file.
        settings: what was known of the specimen.
        reference_digest: digest of the reference tables.
        pipeline: processing steps; those of the settings where none are given.
        processed: the pattern after these; computed where it is not given.
        prediction: of the model alone, for what is known of the composition.
        prediction_of_formula: likewise for the formula of a single phase that was found, where less is known. It is
            the prediction of a likely identification.
    """
    pipeline = settings.pipeline if pipeline is None else pipeline
    predictions = [one for one in (prediction, prediction_of_formula) if one is not None]
    certainty, conditions = judge_phases(
        found.verdict,
        _probabilities(found),
        found.unexplained_fraction,
        restricted=bool(found.elements),
        in_domain=all(map(is_in_domain, predictions)) if predictions else None,
        agreeing=_agree(found, prediction),
    )
    mixture = found.verdict == "mixture"
    shown = prediction_of_formula if prediction_of_formula is not None and certainty == "likely" else prediction
    return AnalysedPattern(
        source=source,
        pattern=pattern,
        pipeline=pipeline,
        processed=processed or pipeline.apply(pattern, override_coverage=True),
        settings=settings,
        found=found,
        reference_digest=reference_digest,
        prediction=None if shown is None or mixture else _agree_with_found(found, shown),
        certainty=certainty,
        conditions=conditions,
        notes=(NO_PREDICTION_OF_MIXTURES,) if mixture and prediction is not None else (),
    )


def _probabilities(found: Identification) -> list[float]:
    """Probability that each phase is right, 0-1."""
    return [
        phase_probability(
            phase.probability,
            phase.formula,
            phase.space_group,
            matches=found.matches,
            verdict=found.verdict,
            no_match=found.no_match_probability,
        )
        for phase in found.phases
    ]


def _agree_with_found(found: Identification, prediction: Prediction) -> Prediction:
    """The prediction in agreement with a single phase, else combined with the matches."""
    if found.verdict != "single":
        return combine_with_matches(prediction, found.matches)
    return agree_with_phases(
        prediction, found.matches, space_group=found.phases[0].space_group, probability=_probabilities(found)[0]
    )


def _agree(found: Identification, prediction: Prediction | None) -> bool | None:
    """Whether the crystal system of a single phase is the first one of model and matches combined; None if unknown."""
    if len(found.phases) != 1 or prediction is None or not prediction.crystal_system:
        return None
    group = found.phases[0].space_group
    if group is None:
        return None
    combined = combine_with_matches(prediction, found.matches)
    return combined.crystal_system[0].label == space_group_to_crystal_system(group)
