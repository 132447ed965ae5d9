"""Phases of a specimen → the verdict on a mixture in the terms of version 0.1.0, which programs still read."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from xxact_core.search_match.match import Match
from xxact_core.search_match.phase_analysis import PhaseAnalysis


@dataclass(frozen=True)
class Mixture:
    """Whether more than one phase is present, with the two most important ones."""

    first: str
    """Formula of the phase that explains most."""
    second: str
    """Formula of the second phase; empty where there is none."""
    second_id: str
    """Id of the second phase."""
    unexplained: float
    """Fraction of the intensity that the first phase leaves unexplained, 0-1."""
    unexplained_by_both: float
    """Fraction of the intensity that all phases leave unexplained, 0-1."""
    amount: float
    """Fraction of the second phase in the calculated intensity of both, not of mass, 0-1."""
    likely: bool
    """Whether a mixture is likely."""
    sentence: str
    """The verdict as a sentence."""

    @property
    def evidence(self) -> float:
        """Fraction of the intensity that only the further phases explain."""
        return self.unexplained - self.unexplained_by_both

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "evidence": self.evidence}


def analysis_to_mixture(analysis: PhaseAnalysis, best: Match) -> Mixture:
    """The verdict on a mixture; where no phase was found, about the best match."""
    areas = sorted(((float(phase.calculated.sum()), phase) for phase in analysis.phases), key=lambda pair: -pair[0])
    total = sum(area for area, _ in areas)
    explained = 1 - analysis.unexplained_fraction
    alone = explained * areas[0][0] / total if total > 0 else 0.0
    second = areas[1] if len(areas) > 1 else None
    return Mixture(
        first=areas[0][1].formula if areas else best.formula,
        second="" if second is None else second[1].formula,
        second_id="" if second is None else second[1].id,
        unexplained=1 - alone,
        unexplained_by_both=analysis.unexplained_fraction,
        amount=0.0 if second is None else second[0] / (areas[0][0] + second[0]),
        likely=analysis.verdict == "mixture",
        sentence=analysis.sentence,
    )
