"""The phases of a pattern as files for other programs: NeXus, and an archive for electronic lab notebooks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from xxact_app.samples.prediction_result import Answer
from xxact_app.samples.sample import Sample
from xxact_app.screens.prediction.conclusion import Conclusion
from xxact_core.dataset.store import file_digest, read_manifest
from xxact_core.processing.pipeline import ProcessingPipeline
from xxact_core.reports.analysed_pattern import (
    NO_PREDICTION_OF_MIXTURES,
    AnalysedPattern,
    AnalysisSettings,
    FileFacts,
)
from xxact_core.reports.files import analysed_to_files
from xxact_core.search_match.element_states import ElementStates
from xxact_core.search_match.identify import Identification

RECORDS = 2
"""Number of formats, whose buttons stand at the end."""


def has_record(conclusion: Conclusion) -> bool:
    """Whether there are phases to write: those of a search that has ended."""
    return conclusion.found is not None and conclusion.found.analysis is not None


def write_record(
    conclusion: Conclusion,
    sample: Sample,
    *,
    kind: str,
    steps: ProcessingPipeline,
    wavelength: float | None,
    states: ElementStates,
    table: Path,
    weights: str | None,
) -> bytes:
    """The content of a file with phases, pattern, processing and prediction.

    Args:
        conclusion: the answer, with phases.
        sample: the pattern.
        kind: `nxs` or `eln`.
        steps: to the grid.
        wavelength: of the pattern [Å]: the entered one, or that of the file.
        states: elements of the search.
        table: reference database of the search.
        weights: SHA-256 of the weights of the model; None where there is none.

    Raises:
        InputError: the pattern cannot be processed.
    """
    found = conclusion.found
    assert found is not None, "there are phases, see `has_record`"
    assert conclusion.level != "prediction only", "likewise"
    pattern = replace(sample.pattern, wavelength=wavelength)
    processed = steps.apply(pattern, override_coverage=True)
    answer = conclusion.answer if isinstance(conclusion.answer, Answer) else None
    analysed = AnalysedPattern(
        source=FileFacts.of(sample.content, name=sample.file.replace("\\", "/").rpartition("/")[2] or sample.name),
        pattern=pattern,
        pipeline=steps,
        processed=processed,
        settings=AnalysisSettings(
            elements=states.must or None,
            maybe=states.may or None,
            one_of=states.one_of or None,
            exclude=states.never or None,
        ),
        found=Identification(
            pattern=processed.gridded,
            elements=states.possible,
            candidates=found.candidates,
            matches=found.unescaped,
            warnings=pattern.warnings,
            no_match=found.no_match,
            analyse=lambda: found.analysis,
        ),
        reference_digest=file_digest(table) if table.is_file() else str(read_manifest(table)["digest"]),
        prediction=None if answer is None else answer.prediction,
        model_digest=None if answer is None else weights,
        certainty=conclusion.level,
        conditions=conclusion.conditions,
        notes=(NO_PREDICTION_OF_MIXTURES,) if conclusion.mixture else (),
    )
    content = sample.content or None
    return analysed_to_files(analysed, (kind,), content=content, stem="answer")[kind]
