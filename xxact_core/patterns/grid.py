"""The 2θ grid that measured patterns, simulated patterns and the model share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class TwoThetaGrid:
    """Equidistant 2θ positions [deg], cut into equal windows (the tokens of the paper's model).

    Source: XxaCT-NN section 3.3 (5-90°, spacing 0.02°, 4250 points) and section 3.1 (17 tokens of 250 points). The
    upper end is open: the positions are 5.00, 5.02, ..., 89.98.
    """

    start: float = 5.0
    step: float = 0.02
    points: int = 4250
    windows: int = 17

    def __post_init__(self) -> None:
        """Check that the windows divide the grid."""
        if self.step <= 0 or self.points <= 0 or self.windows <= 0 or self.points % self.windows:
            msg = f"a grid needs a positive step and windows that divide its points, not {self}"
            raise ValueError(msg)

    @property
    def stop(self) -> float:
        """Upper end of the grid [deg], not itself a position."""
        return self.start + self.step * self.points

    @property
    def window_points(self) -> int:
        """Points in one window."""
        return self.points // self.windows

    @cached_property
    def two_theta(self) -> np.ndarray:
        """Positions [deg], shape (points,), float64, read-only."""
        positions = self.start + self.step * np.arange(self.points, dtype=np.float64)
        positions.setflags(write=False)
        return positions


GRID = TwoThetaGrid()
