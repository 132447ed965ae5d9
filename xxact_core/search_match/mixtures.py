"""Best match and the intensity that it leaves unexplained → whether a second phase is present."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from xxact_core.search_match.coarse_scan import LineIndex
from xxact_core.search_match.fit import IntensityDistribution, reflections_to_density
from xxact_core.search_match.match import shown_id
from xxact_core.search_match.ranking import Candidate, scan_to_candidates

TEXTURE = 2.0
"""Factor by which texture may raise a reflection: measured intensity up to this many times the calculated one counts
as explained. Ours."""

SURELY_FOREIGN = 4.0
"""Measured intensity above this many times the calculated one is searched for a second phase. Ours."""

LIKELY = 0.035
"""Fraction of the intensity that only the second phase explains, above which a mixture is likely. Ours: of 24 measured
single phases 2 lie above, of 51 mixtures 48 (docs/results/measured.md)."""

POOR = 0.3
"""Fraction of the intensity unexplained by both phases, above which the phases present are not in the database."""

DOUBTFUL = 0.1
"""Fraction of the intensity unexplained by the first phase, above which this is reported without a second phase."""

_PROPOSED = 8
_AMOUNTS = np.linspace(0, 1, 26)


@dataclass(frozen=True)
class Mixture:
    """What a second reference phase explains in addition to the first."""

    first: str
    """Formula of the first phase."""
    second: str
    """Formula of the second phase; empty where nothing is left to explain."""
    second_id: str
    """Materials Project id of the second phase, or its id in the reference database."""
    unexplained: float
    """Fraction of the measured intensity above `TEXTURE` times that calculated for the first phase, 0-1."""
    unexplained_by_both: float
    """Fraction of the measured intensity above `TEXTURE` times that of the best sum of both phases, 0-1."""
    amount: float
    """Fraction of the second phase in that sum, of scattered intensity, not of mass, 0-1."""

    @property
    def evidence(self) -> float:
        """Fraction of the intensity that only the second phase explains; the larger, the more likely a mixture.

        0 where both phases together explain little, so that neither can be taken to be present.
        """
        return self.unexplained - self.unexplained_by_both if self.unexplained_by_both <= POOR else 0.0

    @property
    def likely(self) -> bool:
        """Whether a mixture is likely."""
        return self.evidence > LIKELY

    @property
    def sentence(self) -> str:
        """The result as a sentence."""
        alone, both = 1 - self.unexplained, 1 - self.unexplained_by_both
        if self.unexplained_by_both > POOR:
            return (
                f"Probably not in the database: {self.first}, the best match, explains only {_percent(alone)} of the "
                "intensity."
            )
        if self.likely:
            rest = "the rest" if self.unexplained_by_both < 0.005 else f"{_percent(both - alone)} more"  # noqa: PLR2004 - shown as 0 %
            identity = f" ({shown_id(self.second_id)})" if shown_id(self.second_id) else ""
            return (
                f"Likely a mixture: {self.first} explains {_percent(alone)} of the intensity; adding {self.second}"
                f"{identity} explains {rest}."
            )
        if self.unexplained > DOUBTFUL:
            return (
                f"{self.first} explains {_percent(alone)} of the intensity and no second phase was found: the specimen "
                "may be textured, or another material."
            )
        return f"Single phase: {self.first} explains {_percent(alone)} of the intensity."

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "evidence": self.evidence, "likely": self.likely, "sentence": self.sentence}


def find_second_phase(
    first: Candidate, index: LineIndex, rows: np.ndarray | None, measured: IntensityDistribution
) -> tuple[Candidate | None, float, float, float]:
    """The phase that best explains the intensity left by the first phase.

    Args:
        first: the first phase.
        index: the strongest lines of all phases.
        rows: of the phases to compare; None for all.
        measured: the pattern.

    Returns:
        The candidate, None where nothing is left; its fraction in the sum of both; and the fractions of the measured
        intensity that the first phase alone, and the sum, leave unexplained.
    """
    density, one = measured.density, reflections_to_density(first.reflections, first.fit, measured)
    left = np.clip(density - SURELY_FOREIGN * one, 0, None)
    alone = _unexplained(density, one)
    if left.sum() <= 0:
        return None, 0.0, alone, alone
    rest = IntensityDistribution(left / left.sum(), measured.covered)
    others = scan_to_candidates(index.references, index.scan(rest, rows).best(_PROPOSED), rest)
    best: tuple[float, Candidate | None, float, float] = (-1.0, None, 0.0, alone)
    for other in others:
        if other.row == first.row:
            continue
        two = reflections_to_density(other.reflections, other.fit, measured)
        sums = (1 - _AMOUNTS[:, None]) * one + _AMOUNTS[:, None] * two
        overlaps = np.sqrt(density * sums).sum(axis=1)
        amount = int(overlaps.argmax())
        if overlaps[amount] > best[0]:
            best = (float(overlaps[amount]), other, float(_AMOUNTS[amount]), _unexplained(density, sums[amount]))
    _, second, amount_of_second, both = best
    return (second if amount_of_second > 0 else None), amount_of_second, alone, min(both, alone)


def _unexplained(measured: np.ndarray, calculated: np.ndarray) -> float:
    """1 - Σ min(p, 2q) for the fractions of intensity p measured and q calculated."""
    return float(1 - np.minimum(measured, TEXTURE * calculated).sum())


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.0f} %"
