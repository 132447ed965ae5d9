"""A reference phase that matches a measured pattern."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Match:
    """A reference phase with its fit to a measured pattern."""

    formula: str
    """Reduced formula, as chemists write it."""
    space_group: int | None
    """Number, 1-230, found by spglib; None where it finds none."""
    id: str
    """Id by which the phase is shown; empty where none of its ids means anything to people."""
    score: float
    """Agreement, at most 1: `fit.score_fit` less the penalty of the fit."""
    shift: float
    """Zero shift, to be added to the calculated angles [deg 2θ at Cu Kα]."""
    scale: float
    """Measured over calculated cell length, mean of all directions."""
    two_theta: np.ndarray
    """Fitted angles of the reflections [deg 2θ at Cu Kα], shape (reflections,)."""
    intensity: np.ndarray
    """Calculated intensities, 0-100, shape (reflections,)."""
    source_id: str = ""
    """Id in the reference database."""
    name: str | None = None
    """Name that people use, such as rutile; None where there is none."""
    probability: float | None = None
    """Probability that this formula and space group are right, 0-1; None where it was not determined."""

    @property
    def label(self) -> str:
        """Formula with mineral name and id, or with the space group: `TiO2 (rutile, mp-2657)`."""
        known = ", ".join(part for part in (self.name, self.id) if part)
        return f"{self.formula} ({known or f'space group {self.space_group}'})"

    def to_dict(self, *, reflections: bool = False) -> dict[str, Any]:
        """Plain values for JSON; angles and intensities only with `reflections`."""
        names = ("formula", "name", "space_group", "id", "source_id", "score", "shift", "scale", "probability")
        arrays = {"two_theta": self.two_theta.tolist(), "intensity": self.intensity.tolist()} if reflections else {}
        return {**{name: getattr(self, name) for name in names}, **arrays}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Match:
        """The inverse of `to_dict(reflections=True)`."""
        arrays = {name: np.array(values[name], dtype=np.float64) for name in ("two_theta", "intensity")}
        return cls(**{**values, **arrays})
