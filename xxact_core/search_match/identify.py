"""Pattern + elements → the nearest known materials, and whether one of them is enough: in one call."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from xxact_core.patterns.pattern import GriddedPattern, Pattern
from xxact_core.prediction.prediction import Prediction
from xxact_core.processing.gridding import put_on_grid
from xxact_core.search_match.combine import prediction_to_elements, weigh_known
from xxact_core.search_match.database import KnownMaterials, check_elements, read_references
from xxact_core.search_match.fit import Profile, lines_to_two_theta, pattern_to_profile
from xxact_core.search_match.mixtures import Mixture, find_second
from xxact_core.search_match.peak_index import open_index
from xxact_core.search_match.ranking import Candidate, fit_best, rows_to_candidates

PROPOSED = 300
"""Materials that the index of lines proposes where no elements are given."""


@dataclass(frozen=True, eq=False)
class Neighbour:
    """A known material that agrees with a measured pattern.

    formula: reduced, as chemists write it. space_group: number as spglib finds it, None where it finds none. id: of the
    table. score: at most 1, of `agreement.score_fit`, less what an unlikely fit costs (see `ranking`).
    shift: to be added to the calculated angles [deg 2θ at Cu Kα]. scale: measured over calculated cell length, the mean
    of all directions. two_theta [deg], intensity (0-100): the lines as they were fitted, shape (lines,): draw them
    under the measured pattern.
    """

    formula: str
    space_group: int | None
    id: str
    score: float
    shift: float
    scale: float
    two_theta: np.ndarray
    intensity: np.ndarray

    def to_dict(self, *, lines: bool = False) -> dict[str, Any]:
        """Plain values for JSON, the lines only where asked for."""
        names = ("formula", "space_group", "id", "score", "shift", "scale")
        arrays = {"two_theta": self.two_theta.tolist(), "intensity": self.intensity.tolist()} if lines else {}
        return {**{name: getattr(self, name) for name in names}, **arrays}


@dataclass(frozen=True, eq=False)
class Identification:
    """The known materials nearest to a measurement, best first; empty where the table holds none of these elements.

    pattern: as it was compared, on the grid. elements: that were given, or none. candidates: materials compared.
    mixture: whether one material is enough; None where nothing was found.
    """

    pattern: GriddedPattern
    elements: tuple[str, ...]
    candidates: int
    neighbours: tuple[Neighbour, ...]
    mixture: Mixture | None
    warnings: tuple[str, ...] = field(default=())

    def to_dict(self, *, lines: bool = False) -> dict[str, Any]:
        """Plain values for JSON; the lines of the materials only where asked for."""
        return {
            "elements": list(self.elements),
            "candidates": self.candidates,
            "neighbours": [neighbour.to_dict(lines=lines) for neighbour in self.neighbours],
            "mixture": None if self.mixture is None else self.mixture.to_dict(),
            "warnings": list(self.warnings),
        }


class Identifier:
    """A table of known materials, ready to be asked; reading it takes seconds, a pattern with elements about one.

    cache: folder of the index of lines, which proposes candidates where no elements are given; the user's cache folder
    where not named.
    """

    def __init__(self, references: KnownMaterials, *, cache: Path | None = None) -> None:
        self.references = references
        self.cache = cache

    @classmethod
    def load(cls, table: Path | None = None, *, cache: Path | None = None) -> Identifier:
        """With the materials of a table or of a data set folder, or of the table that ships.

        Raises:
            DatasetError: the table is missing or cannot be used.
        """
        if table is None or not table.is_dir():
            return cls(read_references(table), cache=cache)
        from xxact_core.search_match.dataset_database import open_known  # noqa: PLC0415 - HDF5 is for datasets only

        return cls(open_known(table), cache=cache)

    def identify(
        self,
        pattern: Pattern | GriddedPattern,
        *,
        elements: Iterable[str] | None = None,
        wavelength: str | float | None = None,
        count: int = 10,
        tell: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> Identification:
        """The known materials that agree best with a pattern, each formula and space group once.

        Args:
            pattern: as measured, or already on the grid.
            elements: all that may be in the specimen; materials of other elements are not looked at. Without them, the
                index of lines proposes candidates.
            wavelength: of the measurement, in Å or by name (`CuKa`); wins over what the file says.
            count: neighbours at most.
            tell: called with how many of how many materials are done, while an index is built and while they are
                compared.

        Raises:
            FormulaError: an element is not known.
            PatternError: the pattern cannot be used (nothing above background ...).
            WavelengthError: neither the file nor the call says the wavelength.
        """
        symbols = () if elements is None else check_elements(elements)
        if isinstance(pattern, Pattern):
            pattern = put_on_grid(pattern, wavelength=wavelength, override_coverage=True)
        profile = pattern_to_profile(pattern)
        rows = self.references.rows_within(symbols) if elements is not None else self._propose(profile, tell)
        candidates = rows_to_candidates(self.references, rows, profile, elements=symbols, tell=tell)
        best = fit_best(self.references, candidates, profile)
        return Identification(
            pattern=pattern,
            elements=symbols,
            candidates=len(candidates),
            neighbours=self._distinct(best)[:count],
            mixture=self._mixture(best[0], candidates, profile) if best else None,
            warnings=pattern.warnings,
        )

    def weigh(
        self, prediction: Prediction, pattern: Pattern | GriddedPattern, *, wavelength: str | float | None = None
    ) -> Prediction:
        """A prediction that listens to the known materials, too: see `weighing.weigh_known`.

        Args:
            prediction: of this pattern and a composition of which at least the elements are known.
            pattern: as measured, or already on the grid.
            wavelength: of the measurement, in Å or by name (`CuKa`); wins over what the file says.

        Raises:
            FormulaError: nothing is known of the composition.
            PatternError: the pattern cannot be used (nothing above background ...).
            WavelengthError: neither the file nor the call says the wavelength.
        """
        elements = prediction_to_elements(prediction)
        return weigh_known(prediction, self.identify(pattern, elements=elements, wavelength=wavelength).neighbours)

    def _propose(self, profile: Profile, tell: Callable[[int, int], None]) -> np.ndarray:
        return open_index(self.references, folder=self.cache, tell=tell).nearest(profile, count=PROPOSED)

    def _distinct(self, best: list[Candidate]) -> tuple[Neighbour, ...]:
        """The best of each formula and space group: a table has many calculations of one material."""
        found: dict[tuple[str, int | None], Neighbour] = {}
        for candidate in best:
            neighbour = self._neighbour(candidate)
            found.setdefault((neighbour.formula, neighbour.space_group), neighbour)
        return tuple(found.values())

    def _mixture(self, first: Candidate, candidates: list[Candidate], profile: Profile) -> Mixture:
        second, amount, alone, both = find_second(first, candidates, profile)
        name, identity = ("", "") if second is None else (self._formula(second), str(self.references.id[second.row]))
        return Mixture(self._formula(first), name, identity, alone, both, amount)

    def _formula(self, candidate: Candidate) -> str:
        return self.references.formula(candidate.row)

    def _neighbour(self, candidate: Candidate) -> Neighbour:
        height = candidate.lines.height
        return Neighbour(
            formula=self._formula(candidate),
            space_group=candidate.space_group,
            id=str(self.references.id[candidate.row]),
            score=candidate.score,
            shift=candidate.fit.shift,
            scale=float(1 / np.sqrt(1 - 2 * candidate.fit.strain[0])),
            two_theta=lines_to_two_theta(candidate.lines, candidate.fit),
            intensity=100 * height / height.max(),
        )
