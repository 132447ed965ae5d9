"""Energies of structures by one method, and labels → energies above the convex hull."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from xxact_core.dataset.building.element_references import (
    fit_element_references,
    formula_to_fractions,
    to_formation_energy,
)
from xxact_core.errors import DatasetError, shorten
from xxact_core.structures.tables import EXACT_ENERGY_SOURCES

_LABEL, _SOURCE = "formation_energy_per_atom", "formation_energy_source"
_TRUSTED = frozenset({*EXACT_ENERGY_SOURCES, "matched", "spread<30meV"}) - {"megnet2018"}


def read_formulas_and_labels(path: Path) -> tuple[dict[str, str], dict[str, float]]:
    """Reduced formulas and formation energies per atom [eV] by id, from a structure table.

    A row is known by its `public_id`, where it has one.

    Raises:
        DatasetError: the table cannot be read, or has no formulas.
    """
    import pyarrow as pa  # noqa: PLC0415 - only where a table is read
    from pyarrow import parquet  # noqa: PLC0415 - likewise

    try:
        with parquet.ParquetFile(path) as file:
            wanted = ("id", "public_id", "reduced_formula", _LABEL, _SOURCE)
            names = [name for name in wanted if name in file.schema_arrow.names]
            rows: list[dict[str, Any]] = file.read(columns=names).to_pylist()
        named = [(str(row.get("public_id") or row["id"]), row) for row in rows]
        formulas = {identity: str(row["reduced_formula"]) for identity, row in named}
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        msg = f"{shorten(path.name)}: not a table with the columns id and reduced_formula ({shorten(error)})"
        raise DatasetError(msg, code="E_DATASET") from error
    labels = {
        identity: float(row[_LABEL])
        for identity, row in named
        if row.get(_LABEL) is not None and row.get(_SOURCE, "unique") in _TRUSTED
    }
    return formulas, labels


def formation_energies(
    formulas: Mapping[str, str], total: Mapping[str, float], labels: Mapping[str, float]
) -> dict[str, float]:
    """Formation energies per atom [eV]: from total energies where known, else labels.

    The energies of the elements are fitted to the labels, see `fit_element_references`; entries with an element that
    has too few of them are left out.
    """
    references = fit_element_references(formulas, total, labels)
    found = {
        identity: to_formation_energy(formulas[identity], energy, references)
        for identity, energy in total.items()
        if identity in formulas
    }
    known = {identity: energy for identity, energy in found.items() if np.isfinite(energy)}
    return {**{identity: energy for identity, energy in labels.items() if identity not in known}, **known}


def energies_above_hull(
    formulas: Mapping[str, str],
    energies: Mapping[str, float],
    *,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> dict[str, float]:
    """Energies above the convex hull of all entries of the same elements [eV/atom], by id.

    Elements without an entry count with a formation energy of 0; polymorphs of an element are compared with each other.

    Args:
        formulas: reduced formulas by id.
        energies: formation energies per atom [eV] by id.
        progress: progress callback (done, total) over the chemical systems.
    """
    lowest: dict[str, float] = {}
    for identity, energy in energies.items():
        formula = formulas[identity]
        lowest[formula] = min(lowest.get(formula, np.inf), energy)
    fractions = {formula: formula_to_fractions(formula) for formula in lowest}
    systems: dict[frozenset[str], list[str]] = defaultdict(list)
    for formula, parts in fractions.items():
        systems[frozenset(parts)].append(formula)
    hull: dict[str, float] = {}
    for number, (system, members) in enumerate(systems.items()):
        progress(number, len(systems))
        symbols = sorted(system)
        if len(symbols) == 1:
            hull |= {formula: lowest[formula] for formula in members}
            continue
        rivals = [
            formula
            for size in range(1, len(symbols) + 1)
            for subset in combinations(symbols, size)
            for formula in systems.get(frozenset(subset), ())
        ]
        hull |= _hull_of(symbols, members, rivals, fractions, lowest)
    return {identity: max(energy - hull[formulas[identity]], 0.0) for identity, energy in energies.items()}


def _hull_of(
    symbols: Sequence[str],
    members: Sequence[str],
    rivals: Sequence[str],
    fractions: Mapping[str, Mapping[str, float]],
    lowest: Mapping[str, float],
) -> dict[str, float]:
    """Energy of the hull at the composition of each member: the cheapest mixture of rivals and elements."""
    from scipy.optimize import linprog  # noqa: PLC0415 - slow to import

    points = np.array([[fractions[formula].get(symbol, 0.0) for symbol in symbols] for formula in rivals])
    points = np.concatenate([points, np.eye(len(symbols))])
    energy = np.array([*(lowest[formula] for formula in rivals), *([0.0] * len(symbols))])
    useful = energy <= 0
    hull = {}
    for formula in members:
        wanted = np.array([fractions[formula][symbol] for symbol in symbols])
        solved = linprog(energy[useful], A_eq=points[useful].T, b_eq=wanted, method="highs")
        hull[formula] = float(solved.fun) if solved.status == 0 else lowest[formula]
    return hull
