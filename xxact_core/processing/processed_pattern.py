"""A pattern between two steps of its processing."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from xxact_core.patterns.conversions import other_axes
from xxact_core.patterns.pattern import Pattern
from xxact_core.processing.resampling import angles_to_stretches, coverage_to_stretches


@dataclass(frozen=True, eq=False)
class ProcessedPattern:
    """The points of a pattern after some steps of its processing."""

    two_theta: np.ndarray
    """Angles [deg], increasing, shape (points,)."""

    intensity: np.ndarray
    """Counts, shape (points,)."""

    covered: np.ndarray
    """Which points were measured, shape (points,); before the grid, all of them."""

    wavelength: float | None
    """Wavelength of the measurement [Å]; None if unknown."""

    source: Pattern
    """The pattern as measured."""

    at_copper: bool = False
    """Whether the angles are those of Cu Kα because they were computed from q or d."""

    on_grid: bool = False
    """Whether the points are those of the shared grid."""

    background: np.ndarray | None = None
    """Background that the last step subtracted, shape (points,); None after other steps."""

    notes: tuple[str, ...] = ()
    """Notes for the user."""

    @property
    def name(self) -> str:
        """Name of the pattern."""
        return self.source.name

    def at(self, two_theta: np.ndarray, intensity: np.ndarray) -> ProcessedPattern:
        """With other points, all of them measured, except those whose angle is not a number."""
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


def start_processing(pattern: Pattern) -> ProcessedPattern:
    """The points as measured."""
    return ProcessedPattern(
        two_theta=pattern.two_theta,
        intensity=pattern.intensity,
        covered=np.ones(pattern.two_theta.size, dtype=np.bool_),
        wavelength=pattern.wavelength,
        source=pattern,
        notes=pattern.warnings,
    )


def axis_hint(pattern: ProcessedPattern) -> str:
    """End of a message about a scan that is too short: the axes that it may have instead of 2θ; empty if none."""
    axes, last = other_axes(pattern.source.two_theta), pattern.source.two_theta[-1]
    if not axes:
        return ""
    return f"; if the axis up to {last:.4g} is {' or '.join(axes)}, state it with ConvertAxis(axis=...)"
