"""Polymorphs: does a model order the structures of one formula by energy, and how large does it predict the difference?

The composition of polymorphs is the same, so that these metrics show what a model reads from the pattern.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

SMALLEST_DIFFERENCE = 0.02
"""Smallest difference of two true energies that makes a pair [eV/atom]; smaller ones are within the errors of labels.
Ours."""

Pairs = tuple[Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"]]
"""Positions of the first and of the second polymorph of each pair; the second has the higher true energy."""


def polymorph_counts(formula: np.ndarray) -> Int[np.ndarray, " n"]:
    """Number of materials with the formula of each material, itself included; `formula` has the shape (n,)."""
    _, which, count = np.unique(formula, return_inverse=True, return_counts=True)
    counts: np.ndarray = count[which]
    return counts


def polymorph_pairs(
    formula: np.ndarray, energy: Float[np.ndarray, " n"], *, smallest: float = SMALLEST_DIFFERENCE
) -> Pairs:
    """All pairs of materials of one formula whose energies differ by at least `smallest` [eV/atom].

    Materials without an energy (NaN) belong to no pair.
    """
    _, which = np.unique(formula, return_inverse=True)
    known = np.flatnonzero(~np.isnan(energy))
    order = known[np.lexsort((energy[known], which[known]))]  # by formula, then by energy
    lows: list[np.ndarray] = []
    highs: list[np.ndarray] = []
    for members in np.split(order, np.flatnonzero(np.diff(which[order])) + 1):
        low, high = np.triu_indices(len(members), k=1)
        far = energy[members[high]].astype(float) - energy[members[low]] >= smallest
        lows.append(members[low[far]])
        highs.append(members[high[far]])
    return np.concatenate(lows).astype(int), np.concatenate(highs).astype(int)


def pair_accuracy(predicted: Float[np.ndarray, " n"], pairs: Pairs) -> float:
    """Fraction of pairs (0-1) whose predicted energies are in the true order; equal ones count one half."""
    low, high = pairs
    difference = predicted[high] - predicted[low]
    return float(((difference > 0) + 0.5 * (difference == 0)).mean())


def pair_slope(predicted: Float[np.ndarray, " n"], energy: Float[np.ndarray, " n"], pairs: Pairs) -> float:
    """Slope of predicted against true differences of pairs, a line through the origin: Σ ΔpΔt / Σ Δt².

    1 where differences are predicted in full, 0 where a model predicts the same energy for all polymorphs.
    """
    low, high = pairs
    true = energy[high].astype(float) - energy[low]
    found = predicted[high].astype(float) - predicted[low]
    return float((found * true).sum() / (true**2).sum())


def pair_metrics(
    predicted: Float[np.ndarray, " n"], energy: Float[np.ndarray, " n"], formula: np.ndarray
) -> dict[str, float]:
    """`polymorph_pairs` (number), `polymorph_pair_accuracy` (0-1), `polymorph_slope`; empty where there is no pair."""
    pairs = polymorph_pairs(formula, energy)
    if not len(pairs[0]):
        return {}
    return {
        "polymorph_pairs": float(len(pairs[0])),
        "polymorph_pair_accuracy": pair_accuracy(predicted, pairs),
        "polymorph_slope": pair_slope(predicted, energy, pairs),
    }
