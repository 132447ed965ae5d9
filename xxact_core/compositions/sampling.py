"""Partly known composition → compositions that agree with it, sampled at random."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xxact_core.compositions.composition import Composition
from xxact_core.compositions.element_table import ATOMIC_NUMBERS, TYPICAL_FRACTIONS
from xxact_core.compositions.partial import PartialComposition

SAMPLES = 32
"""Number of samples of a partly known composition; a model reads them as one batch."""

PRESENCE = 0.5
"""Probability that a possible element is present."""

CONCENTRATION = 3.0
"""Sum of the parameters of the Dirichlet distribution of unknown fractions.

The most likely one of 1, 2, 3, 4, 6, ... for 20,000 training materials of the shipped `materials_project.parquet`, with
means in proportion to `TYPICAL_FRACTIONS`.
"""


def sample_compositions(known: PartialComposition, *, count: int = SAMPLES, seed: int = 0) -> tuple[Composition, ...]:
    """Sample `count` compositions that agree with what is known; none where nothing is known.

    Known amounts are sampled from normal distributions truncated at 0. Unknown fractions are sampled from a Dirichlet
    distribution around `TYPICAL_FRACTIONS`, and so is the fraction of possible elements, each of which is present with
    the probability `PRESENCE`.
    """
    if not known.symbols:
        return ()
    generator = np.random.default_rng(seed)
    return tuple(_sample(known, generator) for _ in range(count))


def compositions_to_rows(compositions: Sequence[Composition]) -> tuple[np.ndarray, np.ndarray]:
    """Atomic numbers (int64) and fractions (float32) as a model reads them, shape (compositions, elements).

    Padded with 0; without any composition there is one row of zeros.
    """
    widest = max((len(composition.symbols) for composition in compositions), default=1)
    atomic_numbers = np.zeros((max(1, len(compositions)), widest), dtype=np.int64)
    fractions = np.zeros(atomic_numbers.shape, dtype=np.float32)
    for row, composition in enumerate(compositions):
        atomic_numbers[row, : len(composition.symbols)] = composition.atomic_numbers
        fractions[row, : len(composition.symbols)] = composition.fractions
    return atomic_numbers, fractions


def _sample(known: PartialComposition, generator: np.random.Generator) -> Composition:
    present = [symbol for symbol in known.maybe if generator.random() < PRESENCE]
    if not known.amounts:
        symbols = [*known.symbols, *present]
        return _composition(symbols, _sample_fractions(_typical(symbols), generator))
    amounts = _sample_positive(np.array(known.amounts), np.array(known.errors), generator)
    if not present:
        return _composition(known.symbols, amounts)
    possible = _typical(present)
    rest = max(1 - possible.sum(), float(_typical(known.symbols).max()))
    *fractions, fraction_of_rest = _sample_fractions(np.array([*possible, rest]), generator)
    return _composition(
        [*known.symbols, *present], np.array([*(fraction_of_rest * amounts / amounts.sum()), *fractions])
    )


def _typical(symbols: list[str] | tuple[str, ...]) -> np.ndarray:
    return np.array([TYPICAL_FRACTIONS[ATOMIC_NUMBERS[symbol] - 1] for symbol in symbols])


def _sample_fractions(means: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Fractions with means in these proportions, shape (elements,), summing to 1, all above 0."""
    fractions: np.ndarray = np.maximum(generator.dirichlet(CONCENTRATION * means / means.sum()), 1e-3)
    fractions /= fractions.sum()
    return fractions


def _sample_positive(means: np.ndarray, errors: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Normal variates truncated at 0, by inversion of the distribution function; the means where errors are 0."""
    from scipy.special import ndtr, ndtri  # noqa: PLC0415 - slow to import, and needed here only

    scale = np.where(errors > 0, errors, 1.0)
    below = ndtr(-means / scale)
    variates = means + scale * ndtri(below + (1 - below) * generator.uniform(1e-6, 1, means.size))
    return np.where(errors > 0, np.maximum(variates, 1e-3 * means), means)


def _composition(symbols: list[str] | tuple[str, ...], amounts: np.ndarray) -> Composition:
    return Composition(tuple(symbols), tuple(float(amount) for amount in amounts))
