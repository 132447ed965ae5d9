"""JSON record → structure with id and labels."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from xxact_core.compositions.element_table import SYMBOLS
from xxact_core.compositions.formula import parse_formula
from xxact_core.errors import FormulaError, StructureError, shorten
from xxact_core.quantities import FORMATION_ENERGY
from xxact_core.structures.cif_files import cif_to_structure
from xxact_core.structures.json_dialects import DIALECTS, CrystalArrays
from xxact_core.structures.labels import NESTED, Labels, record_to_targets
from xxact_core.structures.plausibility import check_plausible
from xxact_core.structures.structure import Structure

NAMES = ("material_id", "mat_id", "jid", "id", "entry_id", "immutable_id", "task_id", "uid")
"""Members that contain the id of a record, in order of precedence."""

CRYSTALS = ("structure", "atoms", "attributes", "final_structure")
"""Members that contain the crystal of a record, tried before all others."""

_NOT_OF_THIS_FORM = (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError, RecursionError)
"""Errors of reading a malformed record."""


def find_crystal(record: object) -> tuple[Callable[[Any], CrystalArrays], Any] | None:
    """Find the crystal of a record and the function that reads it; None if there is none.

    The record itself may be the crystal; else the members `structure`, `atoms` and `attributes` are tried first, and
    the text of a CIF in a member `cif` last.

    Raises:
        StructureError: a row of a table has another number of values than there are columns, or several members contain
            a crystal, of which none has a known name.
    """
    if not isinstance(record, Mapping):
        return None
    record = _unwrap(record)
    named = {"": record, **{key: record[key] for key in CRYSTALS if key in record}}
    others = {str(key): value for key, value in record.items() if key not in named}
    for members in (*({key: value} for key, value in named.items()), others):
        found = {key: crystal for key, value in members.items() if (crystal := _as_crystal(value)) is not None}
        if len(found) > 1:
            msg = f"{len(found)} structures ({shorten(', '.join(found), limit=60)}); expected one"
            raise StructureError(msg, code="E_STRUCTURE")
        if found:
            return next(iter(found.values()))
    text = record.get("cif")
    return (_cif_to_arrays, text) if isinstance(text, str) and text.strip() else None


def record_to_structure(text: str, *, fallback: str, labels: Labels) -> Structure | tuple[str, str]:
    """The structure of a record, with its id or else `fallback`; (id, reason) if it contains none."""
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        return fallback, f"not a readable record ({shorten(error)})"
    return parsed_to_structure(record, fallback=fallback, labels=labels)


def parsed_to_structure(record: object, *, fallback: str, labels: Labels) -> Structure | tuple[str, str]:
    """As `record_to_structure`, for a record that is parsed already."""
    name = fallback
    try:
        crystal = find_crystal(record)
        if crystal is None or not isinstance(record, Mapping):
            return name, f"no structure of a known dialect: {describe_record(record)}"
        record = _unwrap(record)
        name = find_name(record) or fallback
        to_arrays, content = crystal
        return arrays_to_structure(to_arrays(content), record, name=name, labels=labels)
    except StructureError as error:
        return name, str(error)
    except _NOT_OF_THIS_FORM as error:
        return name, f"not a readable structure ({type(error).__name__}: {shorten(error)})"


def describe_record(record: object) -> str:
    """Description of a record without a crystal."""
    if isinstance(record, Mapping):
        return f"an object with the members {shorten(list(record), limit=100)}"
    return f"{type(record).__name__} {shorten(record, limit=40)}"


def arrays_to_structure(arrays: CrystalArrays, record: Mapping[str, Any], *, name: str, labels: Labels) -> Structure:
    """A structure from a crystal, its name and the labels of its record.

    Raises:
        StructureError: the arrays are inconsistent, or a label is implausible.
    """
    targets = record_to_targets(record, labels)
    _compare(arrays, record)
    structure = Structure(
        id=name,
        cell=arrays.cell,
        atomic_numbers=arrays.atomic_numbers,
        frac_coords=arrays.frac_coords,
        occupancies=arrays.occupancies,
        notes=arrays.notes,
        targets=targets,
        energy_kind="stated" if FORMATION_ENERGY.name in targets else "none",
    )
    check_plausible(
        structure.cell,
        structure.atomic_numbers,
        structure.frac_coords,
        structure.occupancies,
        stated=[("volume", arrays.volume), *(item for part in _parts(record) for item in part.items())],
    )
    return structure


def _parts(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The record, and its members in which values are nested."""
    return [record, *(part for place in NESTED if isinstance(part := record.get(place), Mapping))]


def _compare(arrays: CrystalArrays, record: Mapping[str, Any]) -> None:
    """Compare a crystal with the formula and the number of sites that its record states."""
    parts = _parts(record)
    stated = next((part["nsites"] for part in parts if isinstance(part.get("nsites"), int)), None)
    if stated is not None:
        sites = len(arrays.atomic_numbers)
        if sites != stated:
            sites = len(np.unique(np.round(arrays.frac_coords % 1, 5), axis=0))
        if sites != stated:
            msg = f"the structure has {sites} sites; nsites = {stated} is stated"
            raise StructureError(msg, code="E_CONTRADICTION")
    formula = next((part[key] for key in FORMULAS for part in parts if isinstance(part.get(key), str)), None)
    if formula is None:
        return
    try:
        composition = parse_formula(formula)
    except FormulaError:
        return
    amounts = np.bincount(arrays.atomic_numbers, weights=arrays.occupancies, minlength=_LAST_ELEMENT + 1)
    expected = np.zeros_like(amounts)
    expected[composition.atomic_numbers] = composition.fractions
    if np.abs(amounts / amounts.sum() - expected).max() > _SHARE_TOLERANCE:
        found = " ".join(f"{SYMBOLS[number - 1]}{amounts[number]:.4g}" for number in np.flatnonzero(amounts))
        msg = f"the structure contains {found}; the formula {shorten(formula, limit=60)} is stated"
        raise StructureError(msg, code="E_CONTRADICTION")


FORMULAS = ("chemical_formula_reduced", "formula_pretty", "pretty_formula", "reduced_formula", "formula", "compound")
"""Members that contain the formula of a record. Source: OPTIMADE, Materials Project, JARVIS, Alexandria, AFLOW."""

_SHARE_TOLERANCE = 0.02
"""Deviation of the atomic fraction of an element, above which structure and formula contradict each other. Ours."""

_LAST_ELEMENT = 118


def find_name(record: Mapping[str, Any]) -> str | None:
    """Id of a record; None if it has none."""
    for key in NAMES:
        for part in _parts(record):
            name = part.get(key)
            name = name.get("$oid") if isinstance(name, Mapping) else name  # MongoDB's identifiers
            if isinstance(name, str | int) and str(name).strip():
                return shorten(name)
    return None


def _as_crystal(value: object) -> tuple[Callable[[Any], CrystalArrays], Any] | None:
    """A value that is a crystal, as an object or as its JSON text in a table, and the function that reads it."""
    if isinstance(value, str):
        value = json.loads(value) if value.startswith('{"') else None
    if not isinstance(value, Mapping):
        return None
    return next(((to_arrays, value) for needed, to_arrays in DIALECTS if needed <= value.keys()), None)


def _cif_to_arrays(text: str) -> CrystalArrays:
    structure = cif_to_structure(text, name="cif", file="the text of its CIF")
    return CrystalArrays(
        structure.cell, structure.atomic_numbers, structure.frac_coords, structure.occupancies, structure.notes
    )


def _unwrap(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """The record within a row with column names (pandas), or within a response (OPTIMADE)."""
    data = record.get("data")
    if isinstance(data, Mapping) and isinstance(data.get("attributes"), Mapping):
        return data
    if record.keys() != {"columns", "row"}:
        return record
    columns, row = record["columns"], record["row"]
    if not isinstance(columns, list) or not isinstance(row, list) or len(columns) != len(row):
        msg = "the row has another number of values than the file has columns"
        raise StructureError(msg, code="E_STRUCTURE")
    return dict(zip((str(column) for column in columns), row, strict=True))
