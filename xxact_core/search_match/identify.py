"""Pattern and elements → the reference phases that match best, and whether one of them explains the pattern."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from xxact_core.patterns.pattern import GriddedPattern, Pattern
from xxact_core.prediction.prediction import Prediction
from xxact_core.processing.gridding import put_on_grid
from xxact_core.search_match.combine import combine_with_matches, prediction_to_elements
from xxact_core.search_match.database import ReferenceDatabase, check_elements, read_references
from xxact_core.search_match.fit import IntensityDistribution, pattern_to_distribution, reflections_to_two_theta
from xxact_core.search_match.match import Match
from xxact_core.search_match.mineral_names import mineral_name
from xxact_core.search_match.mixtures import Mixture, find_second_phase
from xxact_core.search_match.peak_index import open_index
from xxact_core.search_match.ranking import Candidate, fit_best, rows_to_candidates

PROPOSED = 300
"""Number of candidates that the peak index proposes where no elements are given."""


@dataclass(frozen=True, eq=False)
class Identification:
    """Result of a search for reference phases."""

    pattern: GriddedPattern
    """The pattern that was searched for, on the grid."""
    elements: tuple[str, ...]
    """Elements that the search was restricted to; empty for all."""
    candidates: int
    """Number of reference phases compared."""
    matches: tuple[Match, ...]
    """Best match first; empty where the database holds no phase of these elements."""
    mixture: Mixture | None
    """Whether one phase explains the pattern; None where nothing matches."""
    warnings: tuple[str, ...] = ()
    """Warnings of reading and processing the pattern."""

    def to_dict(self, *, reflections: bool = False) -> dict[str, Any]:
        """Plain values for JSON; the fitted reflections of the matches only with `reflections`."""
        return {
            "elements": list(self.elements),
            "candidates": self.candidates,
            "neighbours": [match.to_dict(reflections=reflections) for match in self.matches],
            "mixture": None if self.mixture is None else self.mixture.to_dict(),
            "warnings": list(self.warnings),
        }


class Identifier:
    """Search and match in a database of reference phases.

    Reading the shipped database takes seconds, a pattern with known elements about one.
    """

    def __init__(self, references: ReferenceDatabase, *, cache: Path | None = None) -> None:
        """Search in `references`; the peak index is kept in the folder `cache`, by default the user's cache folder."""
        self.references = references
        self.cache = cache

    @classmethod
    def load(cls, table: Path | None = None, *, cache: Path | None = None) -> Identifier:
        """Open a structure table or a dataset folder, by default the shipped table of Materials Project structures.

        Raises:
            DatasetError: the table is missing or cannot be read.
        """
        if table is None or not table.is_dir():
            return cls(read_references(table), cache=cache)
        from xxact_core.search_match.dataset_database import open_references  # noqa: PLC0415 - HDF5 is for datasets only

        return cls(open_references(table), cache=cache)

    def identify(
        self,
        pattern: Pattern | GriddedPattern,
        *,
        elements: Iterable[str] | None = None,
        wavelength: str | float | None = None,
        count: int = 10,
        progress: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> Identification:
        """Find the reference phases that match a pattern best, each formula and space group once.

        Args:
            pattern: measured pattern, or one that is on the grid already.
            elements: all elements that the specimen may contain; phases with other elements are not compared. By
                default the peak index proposes candidates.
            wavelength: of the measurement, in Å or by name (`CuKa`); overrides that of the file.
            count: largest number of matches to return.
            progress: progress callback (done, total), while the peak index is built and while candidates are compared.

        Raises:
            FormulaError: an element is unknown.
            PatternError: the pattern cannot be used, for instance because no peak rises above the noise.
            WavelengthError: neither the file nor the call states the wavelength.
        """
        symbols = () if elements is None else check_elements(elements)
        if isinstance(pattern, Pattern):
            pattern = put_on_grid(pattern, wavelength=wavelength, override_coverage=True)
        measured = pattern_to_distribution(pattern)
        rows = self.references.rows_within(symbols) if elements is not None else self._propose(measured, progress)
        candidates = rows_to_candidates(self.references, rows, measured, elements=symbols, progress=progress)
        best = fit_best(self.references, candidates, measured)
        return Identification(
            pattern=pattern,
            elements=symbols,
            candidates=len(candidates),
            matches=self._distinct(best)[:count],
            mixture=self._mixture(best[0], candidates, measured) if best else None,
            warnings=pattern.warnings,
        )

    def combine(
        self, prediction: Prediction, pattern: Pattern | GriddedPattern, *, wavelength: str | float | None = None
    ) -> Prediction:
        """Combine a prediction with the reference phases that match the pattern; see `combine.combine_with_matches`.

        Args:
            prediction: of this pattern and a composition of which at least the elements are known.
            pattern: measured pattern, or one that is on the grid already.
            wavelength: of the measurement, in Å or by name (`CuKa`); overrides that of the file.

        Raises:
            FormulaError: nothing is known of the composition.
            PatternError: the pattern cannot be used, for instance because no peak rises above the noise.
            WavelengthError: neither the file nor the call states the wavelength.
        """
        elements = prediction_to_elements(prediction)
        found = self.identify(pattern, elements=elements, wavelength=wavelength)
        return combine_with_matches(prediction, found.matches)

    def weigh(
        self, prediction: Prediction, pattern: Pattern | GriddedPattern, *, wavelength: str | float | None = None
    ) -> Prediction:
        """Deprecated name of `combine`, from version 0.1.0."""
        warnings.warn("Identifier.weigh is now Identifier.combine", DeprecationWarning, stacklevel=2)
        return self.combine(prediction, pattern, wavelength=wavelength)

    def _propose(self, measured: IntensityDistribution, progress: Callable[[int, int], None]) -> np.ndarray:
        return open_index(self.references, folder=self.cache, progress=progress).nearest(measured, count=PROPOSED)

    def _distinct(self, best: list[Candidate]) -> tuple[Match, ...]:
        """The best candidate of each formula and space group; databases hold several calculations of one phase."""
        found: dict[tuple[str, int | None], Match] = {}
        for candidate in best:
            match = self._match(candidate)
            found.setdefault((match.formula, match.space_group), match)
        return tuple(found.values())

    def _mixture(self, first: Candidate, candidates: list[Candidate], measured: IntensityDistribution) -> Mixture:
        second, amount, alone, both = find_second_phase(first, candidates, measured)
        formula, identity = ("", "")
        if second is not None:
            formula, identity = self.references.formula(second.row), self.references.public_id(second.row)
        return Mixture(self.references.formula(first.row), formula, identity, alone, both, amount)

    def _match(self, candidate: Candidate) -> Match:
        height = candidate.reflections.height
        formula = self.references.formula(candidate.row)
        return Match(
            formula=formula,
            space_group=candidate.space_group,
            id=self.references.public_id(candidate.row),
            score=candidate.score,
            shift=candidate.fit.shift,
            scale=float(1 / np.sqrt(1 - 2 * candidate.fit.strain[0])),
            two_theta=reflections_to_two_theta(candidate.reflections, candidate.fit),
            intensity=100 * height / height.max(),
            source_id=str(self.references.id[candidate.row]),
            name=mineral_name(formula, candidate.space_group),
        )
