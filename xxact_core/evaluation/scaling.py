"""Errors at several sizes of the data → a power law, with intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xxact_core.errors import InputError
from xxact_core.evaluation.intervals import CONFIDENCE, Interval

UNIT = 1_000_000
"""Materials that count as one in a law, as in XxaCT-NN section 4.4: the factor is the error at a million."""

FEWEST = 3


@dataclass(frozen=True)
class PowerLaw:
    """L = factor · D^exponent, with L the error in its unit and D the training materials in millions.

    Intervals are of 95 %. The rest is what `band` needs: the straight line of log L over log D, its scatter, and where
    its points lie.
    """

    factor: float
    exponent: float
    factor_interval: Interval
    exponent_interval: Interval
    points: int
    scatter: float
    centre: float
    spread: float

    def at(self, materials: np.ndarray) -> np.ndarray:
        """Error that the law gives at sizes [materials] of shape (n,)."""
        return self.factor * (materials / UNIT) ** self.exponent

    def band(self, materials: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper end of the interval of the mean error at sizes of shape (n,): of the law, not of a run."""
        off = (np.log(materials / UNIT) - self.centre) ** 2 / self.spread
        half_width = _quantile(self.points) * self.scatter * np.sqrt(1 / self.points + off)
        return self.at(materials) * np.exp(-half_width), self.at(materials) * np.exp(half_width)


def fit_power_law(materials: np.ndarray, errors: np.ndarray) -> PowerLaw:
    """The power law through errors at sizes of shape (n,): least squares of the logarithms.

    Raises:
        InputError: fewer than three points, all of one size, or an error that is not above zero.
    """
    if len(materials) < FEWEST or len(np.unique(materials)) == 1 or (errors <= 0).any():
        msg = f"{len(materials)} errors at the sizes {sorted(set(materials.tolist()))} make no power law; "
        msg += f"expected {FEWEST} or more above zero, at different sizes"
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
