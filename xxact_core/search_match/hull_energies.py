"""Energies of structures by one method, and labels → energies above the convex hull."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from xxact_core.compositions.formula import parse_formula
from xxact_core.errors import DatasetError, shorten
from xxact_core.structures.tables import EXACT_ENERGY_SOURCES

FEWEST_LABELS = 20
"""Compounds with a label and an energy that an element needs for its reference energy to be fitted. Ours."""

ROUND_OFF = 0.02
"""Misfit [eV/atom] below which all compounds weigh the same in the fit of reference energies. Ours."""

_LABEL, _SOURCE = "formation_energy_per_atom", "formation_energy_source"
_TRUSTED = frozenset({*EXACT_ENERGY_SOURCES, "matched", "spread<30meV"}) - {"megnet2018"}


def read_total_energies(path: Path) -> dict[str, float]:
    """Energies per atom [eV] by id, from a CSV table `id,energy_per_atom` with or without a header; NaN is left out.

    Raises:
        DatasetError: the table cannot be read, or a line has other columns.
    """
    found: dict[str, float] = {}
    line = 0
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.reader(file)
            for row in reader:
                line = reader.line_num
                if row[:1] == ["id"] or not row:
                    continue
                identity, energy = row
                if np.isfinite(value := float(energy)):
                    found[identity] = value
    except (OSError, ValueError, csv.Error) as error:
        msg = f"{shorten(path.name)}: not a table with the columns id and energy_per_atom, line {line}: {error}"
        raise DatasetError(msg, code="E_DATASET") from error
    return found


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

    The energies of the elements are those that bring total energies and labels together with the smallest absolute
    deviations; entries with an element that has fewer than `FEWEST_LABELS` are left out.
    """
    from scipy.sparse import csr_array, diags_array  # noqa: PLC0415 - slow to import
    from scipy.sparse.linalg import lsqr  # noqa: PLC0415 - likewise

    fractions = {identity: _fractions(formulas[identity]) for identity in total if identity in formulas}
    both = [identity for identity in fractions if identity in labels]
    elements = sorted({symbol for parts in fractions.values() for symbol in parts})
    column = {symbol: number for number, symbol in enumerate(elements)}
    entries = [(row, column[symbol], part) for row, one in enumerate(both) for symbol, part in fractions[one].items()]
    found: dict[str, float] = {}
    if entries:
        rows, columns, parts = zip(*entries, strict=True)
        matrix = csr_array((parts, (rows, columns)), shape=(len(both), len(elements)))
        difference = np.array([total[identity] - labels[identity] for identity in both])
        weights = np.ones(len(both))
        for _ in range(10):
            root = np.sqrt(weights)
            energies = lsqr(diags_array(root) @ matrix, root * difference, damp=1e-6)[0]
            weights = 1 / np.maximum(np.abs(difference - matrix @ energies), ROUND_OFF)
        fitted = {
            elements[place] for place in np.flatnonzero(np.bincount(columns, minlength=len(elements)) >= FEWEST_LABELS)
        }
        for identity, parts_of in fractions.items():
            if parts_of.keys() <= fitted:
                reference = sum(part * float(energies[column[symbol]]) for symbol, part in parts_of.items())
                found[identity] = total[identity] - reference
    return {**{identity: energy for identity, energy in labels.items() if identity not in found}, **found}


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
    fractions = {formula: _fractions(formula) for formula in lowest}
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


def _fractions(formula: str) -> dict[str, float]:
    composition = parse_formula(formula)
    return dict(zip(composition.symbols, composition.fractions.tolist(), strict=True))
