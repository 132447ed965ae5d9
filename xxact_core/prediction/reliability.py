"""How far an answer can be relied on: the set of classes that holds the true one, and whether the like was seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

DIRECTIONS = 16
"""Directions of which a domain keeps the variance: about 90 kB of JSON for a pattern encoder of width 192."""

SHARE_WITHIN = 0.99
"""Share of validation patterns that count as like the training ones."""

_DIGITS = 5
"""Significant digits that are kept: the distance changes by less than it does from one seed to another."""


def class_sets(probabilities: Float[np.ndarray, "n classes"], threshold: float) -> Bool[np.ndarray, "n classes"]:
    """Which classes belong to each material's set: all from the threshold (0-1) on, and always the most probable.

    A set without any class would say that nothing can be said, although one class is known to be the best guess.
    """
    best = np.eye(probabilities.shape[1], dtype=bool)[probabilities.argmax(axis=1)]
    return (probabilities >= threshold) | best


def pattern_traits(tokens: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch traits"]:
    """What an encoded pattern looks like on the whole: mean and standard deviation over its windows, index 0 left out.

    The fused [CLS] would not do: it learns to keep only what tells materials apart, and noise comes to lie in its
    middle, nearer than many a real pattern.
    """
    return torch.cat([tokens[:, 1:].mean(dim=1), tokens[:, 1:].std(dim=1)], dim=1)


@dataclass(frozen=True)
class Domain:
    """Where the traits of training patterns lie: a normal distribution with few free directions.

    mean: shape (traits,). directions: unit vectors, shape (directions, traits). variances: along them, shape
    (directions,). rest: variance along every other direction. limit: distance within which validation patterns are.
    """

    mean: tuple[float, ...]
    directions: tuple[tuple[float, ...], ...]
    variances: tuple[float, ...]
    rest: float
    limit: float

    def distance(self, traits: Float[np.ndarray, "n traits"]) -> Float[np.ndarray, " n"]:
        """Mahalanobis distance of patterns from the training ones: d² = Σ zᵢ²/λᵢ + |z - Σ zᵢ vᵢ|²/σ².

        Source: Lee et al. 2018, "A simple unified framework for detecting out-of-distribution samples", with one
        distribution for all classes.
        """
        centred = traits.astype(np.float64) - np.asarray(self.mean)
        directions = np.asarray(self.directions)
        along = centred @ directions.T
        beside = centred - along @ directions
        return np.sqrt((along**2 / np.asarray(self.variances)).sum(axis=1) + (beside**2).sum(axis=1) / self.rest)

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
    """The domain of the traits of training patterns, with the limit that holds 99 % of the validation ones.

    The covariance is shrunk: beyond the `DIRECTIONS` of largest variance all directions have the mean of what is left,
    so that directions in which training patterns hardly differ do not decide. Source: Tipping & Bishop 1999,
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
    rank = min(int(np.ceil((len(distances) + 1) * SHARE_WITHIN)), len(distances)) - 1
    return Domain(**{**asdict(open_domain), "limit": float(distances[rank])})


def _rounded(values: np.ndarray) -> list[float]:
    return [float(f"{value:.{_DIGITS}g}") for value in values]
