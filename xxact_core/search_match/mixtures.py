"""The best known material beside what it leaves of a pattern → whether a second material is there, too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from xxact_core.search_match.fit import Profile, lines_to_density, search
from xxact_core.search_match.ranking import Candidate, fit_width

TEXTURE = 2.0
"""Calculated intensity counts this many times over as an explanation: texture makes a line so much stronger. Ours."""

SURELY_FOREIGN = 4.0
"""Intensity beyond this many times the calculated one is looked at for a second material. Ours."""

LIKELY = 0.035
"""Share of the intensity that a second material must explain newly for more than one to be likely. Ours: of 24 measured
single phases 2 lie above, of 51 mixtures 48 (docs/results/measured.md)."""

POOR = 0.3
"""Share of the intensity left unexplained by both from which on the right materials are not among those known."""

DOUBTFUL = 0.1
"""Share beyond the lines of the first material that is told even where no second one explains it."""

_PROPOSED = 8
_AMOUNTS = np.linspace(0, 1, 26)


@dataclass(frozen=True)
class Mixture:
    """What a second known material adds to the first.

    first, second: formulas; second_id: of the table. second is "" where nothing is left to explain.
    unexplained, unexplained_by_both: shares (0-1) of the measured intensity beyond `TEXTURE` times the calculated one.
    amount: share of the second one's lines in the best sum of both; of the scattered intensity, not of the mass.
    """

    first: str
    second: str
    second_id: str
    unexplained: float
    unexplained_by_both: float
    amount: float

    @property
    def evidence(self) -> float:
        """Share of the intensity that only the second one explains: the larger, the likelier a mixture.

        0 where both together explain little: then neither is known to be there.
        """
        return self.unexplained - self.unexplained_by_both if self.unexplained_by_both <= POOR else 0.0

    @property
    def likely(self) -> bool:
        """Whether more than one phase is likely."""
        return self.evidence > LIKELY

    @property
    def sentence(self) -> str:
        """The same in words."""
        one, both = f"{self.unexplained:.0%}", f"{self.unexplained_by_both:.0%}"
        if self.unexplained_by_both > POOR:
            return f"The right material is not among these: {one} of the intensity is beyond the lines of {self.first}."
        if self.likely:
            return (
                f"More than one phase is likely: {one} of the intensity is beyond the lines of {self.first}, "
                f"and with {self.second} ({self.second_id}) only {both}."
            )
        if self.unexplained > DOUBTFUL:
            return (
                f"No second phase is seen, but {one} of the intensity is beyond the lines of {self.first}: it is "
                "textured, or another material."
            )
        return f"One phase is enough: no more than {one} of the intensity is beyond the lines of {self.first}."

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "evidence": self.evidence, "likely": self.likely, "sentence": self.sentence}


def find_second(
    first: Candidate, candidates: Sequence[Candidate], profile: Profile
) -> tuple[Candidate | None, float, float, float]:
    """The other candidate that explains best what the first one does not.

    Returns:
        It, or None where nothing is left; the share of its lines in the sum; and the shares of the measured intensity
        that the first alone, and the sum, leave unexplained.
    """
    measured, one = profile.density, lines_to_density(first.lines, first.fit, profile)
    left = np.clip(measured - SURELY_FOREIGN * one, 0, None)
    alone = _unexplained(measured, one)
    if left.sum() <= 0:
        return None, 0.0, alone, alone
    rest = Profile(left / left.sum(), profile.covered)
    others = [
        replace(candidate, fit=fit, score=fit.score)
        for candidate in candidates
        if candidate.row != first.row
        for fit in (search(rest, candidate.lines),)
    ]
    others.sort(key=lambda candidate: -candidate.score)
    best: tuple[float, Candidate | None, float, float] = (-1.0, None, 0.0, alone)
    for candidate in others[:_PROPOSED]:
        other = fit_width(candidate, rest)
        two = lines_to_density(other.lines, other.fit, profile)
        sums = (1 - _AMOUNTS[:, None]) * one + _AMOUNTS[:, None] * two
        overlaps = np.sqrt(measured * sums).sum(axis=1)
        amount = int(overlaps.argmax())
        if overlaps[amount] > best[0]:
            best = (float(overlaps[amount]), other, float(_AMOUNTS[amount]), _unexplained(measured, sums[amount]))
    _, second, amount_of_second, both = best
    return (second if amount_of_second > 0 else None), amount_of_second, alone, min(both, alone)


def _unexplained(measured: np.ndarray, calculated: np.ndarray) -> float:
    """1 - Σ min(p, 2q) of the shares of intensity p measured and q calculated."""
    return float(1 - np.minimum(measured, TEXTURE * calculated).sum())
