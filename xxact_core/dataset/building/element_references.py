"""Total energies of one method and labels → reference energies of the elements → formation energies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np

from xxact_core.compositions.formula import parse_formula

FEWEST_LABELS = 20
"""Compounds with a label and an energy that an element needs for its reference energy to be fitted. Ours."""

ROUND_OFF = 0.02
"""Misfit [eV/atom] below which all compounds weigh the same in the fit of reference energies. Ours."""

_ROUNDS = 10


def fit_element_references(
    formulas: Mapping[str, str], total: Mapping[str, float], labels: Mapping[str, float]
) -> dict[str, float]:
    """Energies per atom [eV] of the elements that bring total energies to formation energies, by symbol.

    They have the smallest absolute deviations from the labels; elements in fewer than `FEWEST_LABELS` compounds with
    both are left out.

    Args:
        formulas: formulas by id.
        total: total energies per atom [eV] by id, all of one method.
        labels: formation energies per atom [eV] by id.
    """
    from scipy.sparse import csr_array, diags_array  # noqa: PLC0415 - slow to import
    from scipy.sparse.linalg import lsqr  # noqa: PLC0415 - likewise

    both = [identity for identity in total if identity in labels and identity in formulas]
    fractions = [formula_to_fractions(formulas[identity]) for identity in both]
    often = Counter(symbol for parts in fractions for symbol in parts)
    if not often:
        return {}
    column = {symbol: number for number, symbol in enumerate(sorted(often))}
    entries = [(row, column[symbol], part) for row, parts in enumerate(fractions) for symbol, part in parts.items()]
    rows, columns, parts = zip(*entries, strict=True)
    matrix = csr_array((parts, (rows, columns)), shape=(len(both), len(column)))
    difference = np.array([total[identity] - labels[identity] for identity in both])
    weights, energies = np.ones(len(both)), np.zeros(len(column))
    for _ in range(_ROUNDS):
        root = np.sqrt(weights)
        energies = lsqr(diags_array(root) @ matrix, root * difference, damp=1e-6)[0]
        weights = 1 / np.maximum(np.abs(difference - matrix @ energies), ROUND_OFF)
    return {symbol: float(energies[number]) for symbol, number in column.items() if often[symbol] >= FEWEST_LABELS}


def to_formation_energy(formula: str, total: float, references: Mapping[str, float]) -> float:
    """Formation energy per atom [eV] of a total one; NaN where an element has no reference energy."""
    fractions = formula_to_fractions(formula)
    if not fractions.keys() <= references.keys():
        return float("nan")
    return total - sum(part * references[symbol] for symbol, part in fractions.items())


def formula_to_fractions(formula: str) -> dict[str, float]:
    """Atomic fractions of a formula by symbol."""
    composition = parse_formula(formula)
    return dict(zip(composition.symbols, composition.fractions.tolist(), strict=True))
