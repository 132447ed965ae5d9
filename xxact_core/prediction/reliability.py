"""Reliability of a prediction: prediction sets, and the distance of a pattern from the training domain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

DIRECTIONS = 16
"""Principal directions of a domain: about 90 kB of JSON for a pattern encoder of width 192."""

FRACTION_WITHIN = 0.99
"""Fraction of validation patterns within the limit of the domain."""

_DIGITS = 5
"""Significant digits stored; rounding changes the distance by less than another seed of the training does."""


def class_sets(probabilities: Float[np.ndarray, "n classes"], threshold: float) -> Bool[np.ndarray, "n classes"]:
    """Prediction sets: all classes with at least the threshold probability (0-1), and always the most probable."""
    best = np.eye(probabilities.shape[1], dtype=bool)[probabilities.argmax(axis=1)]
    sets: np.ndarray = (probabilities >= threshold) | best
    return sets


def pattern_traits(tokens: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch traits"]:
    """Summary of an encoded pattern: mean and standard deviation over its window tokens, without the [CLS] token.

    The fused [CLS] token is unsuited: it keeps only what distinguishes materials, and noise lies near its mean, closer
    than many measured patterns.
    """
    return torch.cat([tokens[:, 1:].mean(dim=1), tokens[:, 1:].std(dim=1)], dim=1)


@dataclass(frozen=True)
class Domain:
    """Distribution of the traits of training patterns: a normal distribution with few principal directions."""

    mean: tuple[float, ...]
    """Mean, shape (traits,)."""
    directions: tuple[tuple[float, ...], ...]
    """Principal directions, unit vectors, shape (directions, traits)."""
    variances: tuple[float, ...]
    """Variances along them, shape (directions,)."""
    rest: float
    """Variance along every other direction."""
    limit: float
    """Distance within which 99 % of the validation patterns lie."""

    def distance(self, traits: Float[np.ndarray, "n traits"]) -> Float[np.ndarray, " n"]:
        """Mahalanobis distance of patterns from the training ones: d² = Σ zᵢ²/λᵢ + |z - Σ zᵢ vᵢ|²/σ².

        Source: Lee et al. 2018, "A simple unified framework for detecting out-of-distribution samples", with one
        distribution for all classes.
        """
        centred = traits.astype(np.float64) - np.asarray(self.mean)
        directions = np.asarray(self.directions)
        along = centred @ directions.T
        residual = centred - along @ directions
        distances: np.ndarray = np.sqrt(
            (along**2 / np.asarray(self.variances)).sum(axis=1) + (residual**2).sum(axis=1) / self.rest
        )
        return distances

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Domain:
        """The inverse of `to_dict`."""
        return cls(
            mean=tuple(values["mean"]),
            directions=tuple(tuple(direction) for direction in values["directions"]),
            variances=tuple(values["variances"]),
            rest=values["rest"],
            limit=values["limit"],
        )


def fit_domain(training: Float[np.ndarray, "n traits"], validation: Float[np.ndarray, "m traits"]) -> Domain:
    """Fit a domain to the traits of training patterns, with the limit that contains 99 % of the validation patterns.

    All directions beyond the `DIRECTIONS` of largest variance have the mean of the remaining variances, so that
    directions in which training patterns hardly differ do not dominate the distance. Source: Tipping & Bishop 1999,
    "Probabilistic principal component analysis", equations 7 and 8.
    """
    mean = _rounded(training.mean(axis=0, dtype=np.float64))
    variances, vectors = np.linalg.eigh(np.cov(training.astype(np.float64), rowvar=False))
    kept = min(DIRECTIONS, len(variances) - 1)
    floor = 1e-9 * variances[-1] + np.finfo(float).tiny
    open_domain = Domain(
        mean=tuple(mean),
        directions=tuple(tuple(_rounded(vector)) for vector in vectors.T[::-1][:kept]),
        variances=tuple(_rounded(np.maximum(variances[::-1][:kept], floor))),
        rest=float(max(variances[:-kept].mean(), floor)),
        limit=np.inf,
    )
    distances = np.sort(open_domain.distance(validation))
    rank = min(int(np.ceil((len(distances) + 1) * FRACTION_WITHIN)), len(distances)) - 1
    return Domain(**{**asdict(open_domain), "limit": float(distances[rank])})


def _rounded(values: np.ndarray) -> list[float]:
    return [float(f"{value:.{_DIGITS}g}") for value in values]
