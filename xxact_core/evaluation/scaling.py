"""Power laws of errors over the number of training materials, with intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xxact_core.errors import InputError
from xxact_core.evaluation.intervals import CONFIDENCE, Interval

UNIT = 1_000_000
"""Unit of D in a law, as in XxaCT-NN section 4.4: the factor is the error at a million materials."""

MIN_POINTS = 3
"""Fewest errors that a law is fitted to."""


@dataclass(frozen=True)
class PowerLaw:
    """L = factor · D^exponent, with L the error in its unit and D the training materials in millions."""

    factor: float
    """Error at a million training materials."""

    exponent: float
    """Exponent of the law."""

    factor_interval: Interval
    """95 % interval of the factor."""

    exponent_interval: Interval
    """95 % interval of the exponent."""

    points: int
    """Number of fitted errors."""

    scatter: float
    """Residual standard deviation of log L."""

    centre: float
    """Mean of log D."""

    spread: float
    """Sum of squared deviations of log D from its mean."""

    def at(self, materials: np.ndarray) -> np.ndarray:
        """Error at sizes [materials] of shape (n,)."""
        return self.factor * (materials / UNIT) ** self.exponent

    def band(self, materials: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper end of the 95 % interval of the law at sizes of shape (n,); single runs scatter more."""
        off = (np.log(materials / UNIT) - self.centre) ** 2 / self.spread
        half_width = _quantile(self.points) * self.scatter * np.sqrt(1 / self.points + off)
        return self.at(materials) * np.exp(-half_width), self.at(materials) * np.exp(half_width)


def fit_power_law(materials: np.ndarray, errors: np.ndarray) -> PowerLaw:
    """The power law of errors at sizes, both of shape (n,), by least squares of the logarithms.

    Raises:
        InputError: fewer than three points, all of one size, or an error that is not above zero.
    """
    if len(materials) < MIN_POINTS or len(np.unique(materials)) == 1 or (errors <= 0).any():
        msg = f"{len(materials)} errors at the sizes {sorted(set(materials.tolist()))} do not determine a "
        msg += f"power law; expected {MIN_POINTS} or more above zero, at different sizes"
        raise InputError(msg, code="E_SCALING")
    from scipy.stats import linregress  # noqa: PLC0415 - slow to import

    x = np.log(materials / UNIT)
    line = linregress(x, np.log(errors))
    quantile = _quantile(len(x))
    spread = float(((x - x.mean()) ** 2).sum())
    ends = [float(np.exp(line.intercept + sign * quantile * line.intercept_stderr)) for sign in (-1, 1)]
    slopes = [float(line.slope + sign * quantile * line.stderr) for sign in (-1, 1)]
    return PowerLaw(
        factor=float(np.exp(line.intercept)),
        exponent=float(line.slope),
        factor_interval=(ends[0], ends[1]),
        exponent_interval=(slopes[0], slopes[1]),
        points=len(x),
        scatter=float(line.stderr * np.sqrt(spread)),
        centre=float(x.mean()),
        spread=spread,
    )


def _quantile(points: int) -> float:
    from scipy.stats import t  # noqa: PLC0415 - slow to import

    return float(t.ppf((1 + CONFIDENCE) / 2, points - 2))
