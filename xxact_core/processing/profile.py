"""A pattern between two steps of its preparation."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from xxact_core.patterns.conversions import other_axes
from xxact_core.patterns.pattern import Pattern
from xxact_core.processing.resampling import angles_to_stretches, coverage_to_stretches


@dataclass(frozen=True, eq=False)
class Profile:
    """Points on their way to the grid.

    two_theta: [deg], increasing, shape (points,). intensity: counts, shape (points,). covered: which points were
    measured, shape (points,); before the grid all of them. wavelength: of the measurement [Å], None until it is known.
    source: the pattern as measured. at_copper: whether the angles are those of Cu Kα, though the measurement's were not
    (they were read from q or d). on_grid: whether the points are those of the shared grid. background: the curve
    that the step before took away, shape (points,); None after other steps. notes: what a user should know.
    """

    two_theta: np.ndarray
    intensity: np.ndarray
    covered: np.ndarray
    wavelength: float | None
    source: Pattern
    at_copper: bool = False
    on_grid: bool = False
    background: np.ndarray | None = None
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What the pattern is called."""
        return self.source.name

    def at(self, two_theta: np.ndarray, intensity: np.ndarray) -> Profile:
        """Other points, all of them measured; those whose angle is not a number are left out."""
        reached = np.isfinite(two_theta)
        return replace(
            self,
            two_theta=two_theta[reached],
            intensity=intensity[reached],
            covered=np.ones(int(reached.sum()), dtype=np.bool_),
            background=None,
        )

    def stretches(self) -> list[slice]:
        """Runs of points without a gap."""
        return coverage_to_stretches(self.covered) if self.on_grid else angles_to_stretches(self.two_theta)


def pattern_to_profile(pattern: Pattern) -> Profile:
    """The points as measured."""
    return Profile(
        two_theta=pattern.two_theta,
        intensity=pattern.intensity,
        covered=np.ones(pattern.two_theta.size, dtype=np.bool_),
        wavelength=pattern.wavelength,
        source=pattern,
        notes=pattern.warnings,
    )


def axis_hint(profile: Profile) -> str:
    """The end of a message about a scan that is too short: what its axis may be instead of 2θ, or nothing."""
    kinds, last = other_axes(profile.source.two_theta), profile.source.two_theta[-1]
    return f"; if the axis up to {last:.4g} is {' or '.join(kinds)}, say so by ReadAxis(kind=...)" if kinds else ""
