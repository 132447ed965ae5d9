"""Reliability of a prediction: intervals and sets by similarity, and whether the prediction can be trusted at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

DIRECTIONS = 16
"""Principal directions of a domain: about 90 kB of JSON for a pattern encoder of width 192."""

FRACTION_WITHIN = 0.99
"""Fraction of validation patterns within the limit of the domain."""

_RIDGE = 1e-3
"""Penalty on squared weights of the regression. Ours."""

_DIGITS = 5
"""Significant digits stored; rounding changes the distance by less than another seed of the training does."""


SMALLEST_MASS = 0.6
"""Probabilities of the classes of a set that is binned by similarity add up to at least this (0-1). Ours: a set of one
class that has a third of the probability would be called a 90 % set because the model is mostly right elsewhere."""

BIN_EDGES = (0.05, 0.15, 0.3, 0.5, 0.75)
"""Inner edges of the bins of similarity for intervals and sets, as quantiles of the validation materials: finer where
materials are unlike those of the training, where errors grow quickly. Ours."""


def class_sets(
    probabilities: Float[np.ndarray, "n classes"],
    threshold: float | Float[np.ndarray, " n"],
    *,
    smallest_mass: float = 0.0,
) -> Bool[np.ndarray, "n classes"]:
    """Prediction sets: all classes with at least the threshold probability (0-1), and always the most probable.

    Args:
        probabilities: of the classes.
        threshold: for all, or for each row.
        smallest_mass: further classes, the most probable ones, until the probabilities of the set add up to this.
    """
    sets: np.ndarray = class_scores(probabilities, smallest_mass=smallest_mass) >= np.reshape(threshold, (-1, 1))
    return sets


def class_scores(
    probabilities: Float[np.ndarray, "n classes"], *, smallest_mass: float = 0.0
) -> Float[np.ndarray, "n classes"]:
    """Largest threshold (0-1) at which `class_sets` still holds a class; 1 for classes that every set holds."""
    order = np.argsort(-probabilities, axis=1, kind="stable")
    ranked = np.take_along_axis(probabilities, order, axis=1)
    before = np.cumsum(ranked, axis=1) - ranked
    always = before < smallest_mass
    always[:, 0] = True
    scores = np.empty(probabilities.shape)
    np.put_along_axis(scores, order, np.where(always, 1.0, ranked), axis=1)
    return scores


def similarity_edges(similarity: Float[np.ndarray, " n"], *, smallest: int = 1) -> list[float]:
    """Inner edges of the bins of similarity, see `BIN_EDGES`; those that leave a bin fewer materials are left out.

    Args:
        similarity: of validation materials.
        smallest: number of materials in a bin, at least.
    """
    kept: list[float] = []
    for edge in BIN_EDGES:
        below = kept[-1] if kept else 0.0
        if min(edge - below, 1 - edge) * len(similarity) >= smallest:
            kept.append(edge)
    return [float(edge) for edge in np.quantile(similarity, kept)] if kept else []


def similarity_bins(similarity: Float[np.ndarray, " n"], edges: Sequence[float]) -> Int[np.ndarray, " n"]:
    """Number of the bin of each similarity, 0 the least similar."""
    bins: np.ndarray = np.searchsorted(np.asarray(edges), similarity, side="right")
    return bins


@dataclass(frozen=True)
class SetThresholds:
    """Arguments of `class_sets` besides the probabilities."""

    threshold: float | np.ndarray
    smallest_mass: float


def set_thresholds(
    calibration: Mapping[str, Mapping[str, Any]], name: str, similarity: Float[np.ndarray, " n"] | None
) -> SetThresholds | None:
    """Thresholds of the 90 % prediction sets of a target; None without calibration.

    Args:
        calibration: of a checkpoint. That of version 0.1.0 has one threshold for all similarities.
        name: of the target.
        similarity: of the nearest training material; None where it is unknown.
    """
    fit = calibration.get(name, {})
    bins = _bins_of(calibration, similarity)
    if "set_thresholds_90" in fit and bins is not None:
        return SetThresholds(np.asarray(fit["set_thresholds_90"])[bins], SMALLEST_MASS)
    return SetThresholds(fit["set_threshold_90"], 0.0) if "set_threshold_90" in fit else None


def interval_half_widths(
    calibration: Mapping[str, Mapping[str, Any]], name: str, similarity: Float[np.ndarray, " n"] | None
) -> float | Float[np.ndarray, " n"] | None:
    """Half-widths of the 90 % intervals of a target in its unit; None without calibration. See `set_thresholds`."""
    fit = calibration.get(name, {})
    bins = _bins_of(calibration, similarity)
    if "residuals_90" in fit and bins is not None:
        half: np.ndarray = np.asarray(fit["residuals_90"])[bins]
        return half
    return fit.get("residual_90")


def _bins_of(
    calibration: Mapping[str, Mapping[str, Any]], similarity: np.ndarray | None
) -> Int[np.ndarray, " n"] | None:
    """Bin of each similarity; None where it is needed and unknown."""
    edges = calibration.get("similarity", {}).get("edges", [])
    if similarity is None:
        return None if edges else np.zeros(1, dtype=int)
    return similarity_bins(similarity, edges)


@dataclass(frozen=True)
class Trust:
    """How often the crystal system is wrong, from what the nearest training materials are like (a logistic regression).

    A prediction is doubtful where nothing similar was learned, or where similar materials have another crystal system.
    The distance of a pattern from the training patterns, and the answer from the composition alone, tell less.
    """

    constant: float
    similarity: float
    """Weight of the cosine similarity of the nearest training material."""
    agreement: float
    """Weight of the share of the neighbours, 0-1, that have the predicted crystal system."""

    def risk(self, similarity: Float[np.ndarray, " n"], agreement: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Probability that the most probable crystal system is wrong, 0-1."""
        log_odds = self.constant + self.similarity * similarity + self.agreement * agreement
        risks: np.ndarray = 1 / (1 + np.exp(-log_odds.astype(np.float64)))
        return risks

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def agreement_of(
    votes: Float[np.ndarray, "n classes"], probabilities: Float[np.ndarray, "n classes"]
) -> Float[np.ndarray, " n"]:
    """Share of the neighbours that have the most probable class of each row, 0-1."""
    shares: np.ndarray = votes[np.arange(len(votes)), probabilities.argmax(axis=1)]
    return shares


def fit_trust(
    similarity: Float[np.ndarray, " n"], agreement: Float[np.ndarray, " n"], wrong: Bool[np.ndarray, " n"]
) -> Trust:
    """The regression of highest likelihood, with a weak penalty on the weights, from validation materials."""
    from scipy.optimize import minimize  # noqa: PLC0415 - predictions do without

    features = np.stack([similarity, agreement], axis=1).astype(np.float64)
    mean, deviation = features.mean(axis=0), features.std(axis=0) + 1e-9
    scaled = np.column_stack([np.ones(len(features)), (features - mean) / deviation])

    def loss(weights: np.ndarray) -> float:
        log_odds = scaled @ weights
        return float((np.logaddexp(0, log_odds) - wrong * log_odds).mean() + _RIDGE * weights[1:] @ weights[1:])

    weights = minimize(loss, np.zeros(3), method="L-BFGS-B").x
    of_features = weights[1:] / deviation
    return Trust(*(float(f"{value:.{_DIGITS}g}") for value in (weights[0] - of_features @ mean, *of_features)))


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
