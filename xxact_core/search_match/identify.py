"""Pattern and elements → the reference phases that match best, and whether one of them explains the pattern."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from xxact_core.patterns.pattern import GriddedPattern, Pattern
from xxact_core.prediction.prediction import Prediction
from xxact_core.processing.gridding import put_on_grid
from xxact_core.search_match.coarse_scan import LineIndex
from xxact_core.search_match.combine import combine_with_matches, prediction_to_elements, read_match_formula
from xxact_core.search_match.database import ReferenceDatabase
from xxact_core.search_match.element_states import ElementStates, parse_element_states
from xxact_core.search_match.fit import IntensityDistribution, pattern_to_distribution, reflections_to_two_theta
from xxact_core.search_match.instrument import InstrumentProfile
from xxact_core.search_match.match import Match
from xxact_core.search_match.mixtures import Mixture, analysis_to_mixture
from xxact_core.search_match.opening import open_references, reference_notes
from xxact_core.search_match.phase_analysis import Phase, PhaseAnalysis, Verdict
from xxact_core.search_match.phases import find_phases
from xxact_core.search_match.plausibility import (
    FIT_WEIGHTS,
    FIT_WEIGHTS_OF_ALL,
    NO_MATCH,
    NO_MATCH_OF_ALL,
    SCAN_WEIGHTS,
    PlausibilityWeights,
    best_of_each,
    features_to_log_odds,
    log_odds_to_probabilities,
    phase_features,
)
from xxact_core.search_match.ranking import FREED, Candidate, fit_best, scan_to_candidates

PROPOSED, PROPOSED_OF_ALL = 60, 120
"""Number of phases that the scan proposes for a fit, with elements given and without. Ours: the right phase of measured
patterns is among them 99 and 97 times of a hundred."""

PREFERRED = 0.5
"""Probability of a match from which it is preferred to another single phase that explains the pattern. Ours."""

PREFERRED_LOSS = 0.02
"""Fraction of the intensity that it may explain less. Ours."""

_ROUNDING = 1e-3

FEW_DEGREES = 15.0
"""Measured range below which a warning says that many phases match so few reflections [deg 2θ]. Ours."""


@dataclass(frozen=True, eq=False)
class Identification:
    """Result of a search for reference phases."""

    pattern: GriddedPattern
    """The pattern that was searched for, on the grid."""
    elements: tuple[str, ...]
    """Elements that the search was restricted to, in the order given; empty for all."""
    candidates: int
    """Number of reference phases compared."""
    matches: tuple[Match, ...]
    """Most probable match first, each followed by those of the same name and space group, such as solid solutions of a
    mineral; empty where the database holds no phase of these elements."""
    warnings: tuple[str, ...] = ()
    """Warnings of reading and processing the pattern."""
    no_match: float = 0.0
    """Probability that the database lacks the phase of a specimen of one phase, 0-1; it adds up to 1 with the
    probabilities of all matches. For a mixture, see `no_match_probability`."""
    analyse: Callable[[], PhaseAnalysis | None] = field(default=lambda: None, repr=False)
    """Finds the phases of the specimen; called once, by `analysis`."""

    @cached_property
    def analysis(self) -> PhaseAnalysis | None:
        """The phases of the specimen with the joint fit of their calculated patterns, found at first use.

        None where the identification was not made from a measured pattern.

        Raises:
            PatternError: the pattern has too few points for a fit.
        """
        return self.analyse()

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The phases of the specimen, largest weight fraction first."""
        return () if self.analysis is None else self.analysis.phases

    @property
    def unexplained_fraction(self) -> float:
        """Fraction of the net measured intensity that no phase explains, 0-1."""
        return 1.0 if self.analysis is None else self.analysis.unexplained_fraction

    @property
    def verdict(self) -> Verdict:
        """`single`, `mixture` or `no match`."""
        return "no match" if self.analysis is None else self.analysis.verdict

    @property
    def no_match_probability(self) -> float:
        """Probability that the database lacks the phases of the specimen, 0-1: in a mixture, even the surest one."""
        if self.verdict == "mixture":
            return 1 - max(phase.probability for phase in self.phases)
        return self.no_match

    @property
    def mixture(self) -> Mixture | None:
        """The verdict in the words and numbers of version 0.1.0; None where nothing matches."""
        return (
            None if self.analysis is None or not self.matches else analysis_to_mixture(self.analysis, self.matches[0])
        )

    def to_dict(self, *, reflections: bool = False) -> dict[str, Any]:
        """Plain values for JSON; the reflections of matches and phases only with `reflections`.

        `neighbours` is the name of `matches` from version 0.1.0.
        """
        matches = [match.to_dict(reflections=reflections) for match in self.matches]
        analysis = {} if self.analysis is None else self.analysis.to_dict(reflections=reflections)
        return {
            "elements": list(self.elements),
            "candidates": self.candidates,
            "verdict": self.verdict,
            "phases": [],
            "unexplained_fraction": self.unexplained_fraction,
            **analysis,
            "matches": matches,
            "neighbours": matches,
            "no_match_probability": self.no_match_probability,
            "mixture": None if self.mixture is None else self.mixture.to_dict(),
            "warnings": list(self.warnings),
        }


class Identifier:
    """Search and match in a database of reference phases.

    The database is read once, in seconds; then a pattern takes a fraction of a second with known elements, and about
    one without. An instance keeps what it derived from the database, so use it for all patterns.
    """

    def __init__(self, references: ReferenceDatabase, *, cache: Path | None = None) -> None:
        """Search in `references`; `cache` is deprecated and has no effect, as nothing is stored any more."""
        if cache is not None:
            warnings.warn("Identifier needs no cache folder any more", DeprecationWarning, stacklevel=2)
        self.references = references

    @classmethod
    def load(cls, reference: Path | Sequence[Path] | None = None, *, cache: Path | None = None) -> Identifier:
        """Open one or several tables of reference phases, by default the shipped one.

        Args:
            reference: reference tables, structure tables, dataset folders, or files and folders of some structures; see
                `opening.open_references`. To search own tables beside the shipped one, name it `reference_materials`.
            cache: deprecated; without effect.

        Raises:
            DatasetError: a table is missing or cannot be read.
        """
        return cls(open_references(reference), cache=cache)

    @cached_property
    def index(self) -> LineIndex:
        """The strongest lines of all phases, prepared for scans."""
        return LineIndex(self.references)

    def identify(
        self,
        pattern: Pattern | GriddedPattern,
        *,
        elements: Iterable[str] | None = None,
        maybe: Iterable[str] | None = None,
        one_of: Iterable[str] | None = None,
        exclude: Iterable[str] | None = None,
        wavelength: str | float | None = None,
        count: int = 10,
        instrument: InstrumentProfile | None = None,
        progress: Callable[[int, int], None] = lambda _done, _total: None,
        phase_progress: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> Identification:
        """Find the reference phases that match a pattern best, each formula and space group once.

        Without `elements` and `maybe` all phases of the database are compared.

        Args:
            pattern: measured pattern, or one that is on the grid already.
            elements: that the specimen contains. Phases with other elements are not compared, phases with all of them
                are preferred.
            maybe: elements that the specimen may contain besides.
            one_of: elements of which the specimen contains at least one.
            exclude: elements that no phase contains.
            wavelength: of the measurement, in Å or by name (`CuKa`); overrides that of the file.
            count: largest number of matches to return.
            instrument: width of the instrument, measured on a standard, for the sizes of crystallites.
            progress: progress callback (done, total), while candidates are fitted.
            phase_progress: progress callback (done, total), while `Identification.analysis` is determined.

        Raises:
            FormulaError: an element is unknown, or both possible and excluded.
            PatternError: the pattern cannot be used, for instance because no peak rises above the noise.
            WavelengthError: neither the file nor the call states the wavelength.
        """
        states = parse_element_states(elements=elements, maybe=maybe, one_of=one_of, exclude=exclude)
        as_measured = pattern
        if isinstance(pattern, Pattern):
            pattern = put_on_grid(pattern, wavelength=wavelength, override_coverage=True)
        measured = pattern_to_distribution(pattern)
        rows = states.rows(self.references)
        fitted = self.fit_phases(measured, states, rows, progress=progress)
        matches, no_match = self._rank(fitted, states)

        def analyse(rows: np.ndarray | None) -> PhaseAnalysis:
            return find_phases(
                as_measured,
                self.references,
                rows=rows,
                elements=states.must or None,
                index=self.index,
                wavelength=wavelength,
                instrument=instrument,
                progress=phase_progress,
            )

        return Identification(
            pattern=pattern,
            elements=states.possible,
            candidates=len(self.references) if rows is None else len(rows),
            matches=matches[:count],
            warnings=(*pattern.warnings, *_range_warning(pattern), *reference_notes(self.references)),
            no_match=no_match,
            analyse=lambda: self._prefer_match(analyse, rows, matches),
        )

    def _prefer_match(
        self,
        analyse: Callable[[np.ndarray | None], PhaseAnalysis],
        rows: np.ndarray | None,
        matches: tuple[Match, ...],
    ) -> PhaseAnalysis:
        """The phases of these rows; of a single phase, the probable match where it explains as much.

        Structures of low symmetry, superstructures and solid solutions fit a pattern as well as the simpler phase, and
        the probabilities of matches account for that.
        """
        found = analyse(rows)
        if found.verdict != "single" or not matches or (matches[0].probability or 0.0) < PREFERRED:
            return found
        phase, match = found.phases[0], matches[0]
        if (phase.formula, phase.space_group) == (match.formula, match.space_group):
            return found
        alone = analyse(np.flatnonzero(self.references.id == match.source_id))
        as_good = (
            alone.verdict == "single" and alone.unexplained_fraction <= found.unexplained_fraction + PREFERRED_LOSS
        )
        return alone if as_good else found

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
        present, possible = prediction_to_elements(prediction)
        found = self.identify(pattern, elements=present, maybe=possible or None, wavelength=wavelength)
        combined = combine_with_matches(prediction, found.matches)
        return replace(combined, warnings=(*combined.warnings, *reference_notes(self.references)))

    def weigh(
        self, prediction: Prediction, pattern: Pattern | GriddedPattern, *, wavelength: str | float | None = None
    ) -> Prediction:
        """Deprecated name of `combine`, from version 0.1.0."""
        warnings.warn("Identifier.weigh is now Identifier.combine", DeprecationWarning, stacklevel=2)
        return self.combine(prediction, pattern, wavelength=wavelength)

    def fit_phases(
        self,
        measured: IntensityDistribution,
        states: ElementStates,
        rows: np.ndarray | None,
        *,
        progress: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> list[Candidate]:
        """The phases that match best, with their cells fitted.

        Args:
            measured: the pattern.
            states: what is known of the elements.
            rows: of the phases to compare; None for all.
            progress: progress callback (done, total).
        """
        scan = self.index.scan(measured, rows)
        features = phase_features(
            self.references, scan.rows, merit=scan.agreement, missing=states.missing(self.references, scan.rows)
        )
        proposed = scan.best(
            PROPOSED if states.possible else PROPOSED_OF_ALL, features_to_log_odds(features, SCAN_WEIGHTS)
        )
        candidates = scan_to_candidates(self.references, proposed, measured, progress=progress)
        log_odds = features_to_log_odds(self.features(candidates, states), _fit_weights(states))
        likely = [candidates[place] for place in np.argsort(-log_odds, kind="stable")[:FREED]]
        return fit_best(self.references, likely, measured)

    def features(self, fitted: Sequence[Candidate], states: ElementStates) -> np.ndarray:
        """Properties on which the probabilities of fitted phases depend, shape (phases, features)."""
        rows = np.array([candidate.row for candidate in fitted], dtype=np.intp)
        return phase_features(
            self.references,
            rows,
            merit=np.array([candidate.fit.merit for candidate in fitted]),
            strains=np.array([len(candidate.fit.strain) for candidate in fitted], dtype=np.int64),
            missing=states.missing(self.references, rows),
        )

    def key(self, candidate: Candidate) -> tuple[str, int | None]:
        """Formula and space group, by which phases count as the same."""
        return self.references.formula(candidate.row), candidate.space_group

    def _rank(self, fitted: list[Candidate], states: ElementStates) -> tuple[tuple[Match, ...], float]:
        """Each formula and space group once with its probability, and the probability that there is no match."""
        features = self.features(fitted, states)
        log_odds = features_to_log_odds(features, _fit_weights(states))
        best = best_of_each([self.key(candidate) for candidate in fitted], log_odds)
        probabilities, no_match = log_odds_to_probabilities(
            log_odds[best], features[best], NO_MATCH if states.possible else NO_MATCH_OF_ALL
        )
        matches = [
            self._match(fitted[place], float(probability))
            for place, probability in zip(best.tolist(), probabilities, strict=True)
        ]
        return _beside_parents(matches), no_match

    def _match(self, candidate: Candidate, probability: float) -> Match:
        height = candidate.reflections.height
        return Match(
            formula=self.references.formula(candidate.row),
            space_group=candidate.space_group,
            id=self.references.public_id(candidate.row),
            score=candidate.fit.merit,
            shift=candidate.fit.shift,
            scale=float(1 / np.sqrt(1 - 2 * candidate.fit.strain[0])),
            two_theta=reflections_to_two_theta(candidate.reflections, candidate.fit),
            intensity=100 * height / height.max(),
            source_id=str(self.references.id[candidate.row]),
            name=self.references.name(candidate.row),
            probability=probability,
        )


def _fit_weights(states: ElementStates) -> PlausibilityWeights:
    return FIT_WEIGHTS if states.possible else FIT_WEIGHTS_OF_ALL


def _beside_parents(matches: Sequence[Match]) -> tuple[Match, ...]:
    """Matches with their solid solutions and hydrates behind them, in the order of the most probable of each group.

    Solid solutions have the name and space group of their parent, hydrates its composition but for water.
    """
    families: dict[tuple[str, int | None], list[Match]] = {}
    for match in matches:
        families.setdefault((match.name or match.formula, match.space_group), []).append(match)
    left = [(_without_water(family[0].formula), family) for family in families.values()]
    ordered: list[Match] = []
    while left:
        (dry, hydrated), family = left.pop(0)
        ordered += family
        related = [one for one in left if one[0][0] == dry and (hydrated or one[0][1])]
        left = [one for one in left if not any(one is other for other in related)]
        ordered += [match for _, others in related for match in others]
    return tuple(ordered)


def _without_water(formula: str) -> tuple[frozenset[tuple[str, float]], bool]:
    """Composition without water, relative to the least abundant element, and whether there is any.

    Hydroxides of one metal do not count as hydrates of its oxide.
    """
    composition = read_match_formula(formula)
    amounts = dict(zip(composition.symbols, composition.amounts, strict=True))
    dry = {symbol: amount for symbol, amount in amounts.items() if symbol != "H"}
    oxygen = dry.get("O", 0.0) - amounts.get("H", 0.0) / 2
    hydrated = "H" in amounts and oxygen > -_ROUNDING and len(dry.keys() - {"O"}) > 1
    if hydrated:
        dry["O"] = oxygen
        amounts = {symbol: amount for symbol, amount in dry.items() if amount > _ROUNDING}
    least = min(amounts.values())
    return frozenset((symbol, round(amount / least, 2)) for symbol, amount in amounts.items()), hydrated


def _range_warning(pattern: GriddedPattern) -> tuple[str, ...]:
    degrees = pattern.coverage.sum() * pattern.grid.step
    if degrees >= FEW_DEGREES:
        return ()
    return (f"only {degrees:.1f}° were measured: many phases match so few reflections about equally well",)
