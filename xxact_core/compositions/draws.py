"""What is known of a composition → compositions that it may be, drawn at random."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xxact_core.compositions.composition import Composition
from xxact_core.compositions.element_table import ATOMIC_NUMBERS, TYPICAL_FRACTIONS
from xxact_core.compositions.partial import PartialComposition

DRAWS = 32
"""Compositions that stand for one that is known in part: they pass a model together."""

PRESENT = 0.5
"""Probability that an element which may be there is there."""

CONCENTRATION = 3.0
"""Sum of the parameters of the Dirichlet distribution of unknown fractions.

The most likely one of 1, 2, 3, 4, 6, ... for 20,000 training materials of data/materials_project.parquet, with means in
proportion to `TYPICAL_FRACTIONS`.
"""


def draw_compositions(known: PartialComposition, *, count: int = DRAWS, seed: int = 0) -> tuple[Composition, ...]:
    """Compositions that agree with what is known, `count` of them; none where nothing is known.

    Amounts are drawn from normal distributions cut off at 0. Where there are none, fractions are drawn from a Dirichlet
    distribution around `TYPICAL_FRACTIONS`; and so is the share of elements that may be there, which is the same for
    all with amounts. Each of these is there as often as `PRESENT` says.
    """
    if not known.symbols:
        return ()
    generator = np.random.default_rng(seed)
    return tuple(_draw(known, generator) for _ in range(count))


def compositions_to_rows(compositions: Sequence[Composition]) -> tuple[np.ndarray, np.ndarray]:
    """Atomic numbers (int64) and fractions (float32), shape (compositions, elements): what a model reads.

    Empty slots are 0; without any composition there is one row of nothing.
    """
    widest = max((len(composition.symbols) for composition in compositions), default=1)
    atomic_numbers = np.zeros((max(1, len(compositions)), widest), dtype=np.int64)
    fractions = np.zeros(atomic_numbers.shape, dtype=np.float32)
    for row, composition in enumerate(compositions):
        atomic_numbers[row, : len(composition.symbols)] = composition.atomic_numbers
        fractions[row, : len(composition.symbols)] = composition.fractions
    return atomic_numbers, fractions


def _draw(known: PartialComposition, generator: np.random.Generator) -> Composition:
    there = [symbol for symbol in known.maybe if generator.random() < PRESENT]
    if not known.amounts:
        symbols = [*known.symbols, *there]
        return _composition(symbols, _draw_fractions(_typical(symbols), generator))
    amounts = _draw_positive(np.array(known.amounts), np.array(known.errors), generator)
    if not there:
        return _composition(known.symbols, amounts)
    possible = _typical(there)
    rest = max(1 - possible.sum(), float(_typical(known.symbols).max()))
    *shares, of_rest = _draw_fractions(np.array([*possible, rest]), generator)
    return _composition([*known.symbols, *there], np.array([*(of_rest * amounts / amounts.sum()), *shares]))


def _typical(symbols: list[str] | tuple[str, ...]) -> np.ndarray:
    return np.array([TYPICAL_FRACTIONS[ATOMIC_NUMBERS[symbol] - 1] for symbol in symbols])


def _draw_fractions(means: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Fractions with these means but for a factor, shape (elements,), summing to 1 and none of them quite 0."""
    drawn: np.ndarray = np.maximum(generator.dirichlet(CONCENTRATION * means / means.sum()), 1e-3)
    return drawn / drawn.sum()


def _draw_positive(means: np.ndarray, errors: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Normal numbers above 0, by the inverse of the distribution's part that is; the means where errors are 0."""
    from scipy.special import ndtr, ndtri  # noqa: PLC0415 - slow to import, and needed here only

    scale = np.where(errors > 0, errors, 1.0)
    below = ndtr(-means / scale)
    drawn = means + scale * ndtri(below + (1 - below) * generator.uniform(1e-6, 1, means.size))
    return np.where(errors > 0, np.maximum(drawn, 1e-3 * means), means)


def _composition(symbols: list[str] | tuple[str, ...], amounts: np.ndarray) -> Composition:
    return Composition(tuple(symbols), tuple(float(amount) for amount in amounts))
