"""Fields of a record → targets: field names, units and plausible ranges."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from xxact_core.errors import DatasetError, StructureError, shorten
from xxact_core.quantities import BAND_GAP, FORMATION_ENERGY, Quantity

LABELLED = {quantity.name: quantity for quantity in (FORMATION_ENERGY, BAND_GAP)}
"""Targets that a source states; all others are computed from the structure."""

ALIASES = {
    FORMATION_ENERGY.name: (
        "formation_energy_per_atom",
        "formation_energy_peratom",
        "e_form",
        "e_form_per_atom",
        "delta_e",
        "hform",
    ),
    BAND_GAP.name: ("band_gap", "bandgap", "band_gap_ind", "gap pbe", "optb88vdw_bandgap", "gap"),
}
"""Names of the targets in databases, in order of precedence; all in eV/atom and eV.

The band gap is the smaller, indirect one; of several functionals, the one nearest to PBE.
Source: Materials Project (band_gap, formation_energy_per_atom), JARVIS-DFT (formation_energy_peratom,
optb88vdw_bandgap), Alexandria (e_form, band_gap_ind), Matbench (e_form, gap pbe), OQMD (delta_e), C2DB (hform, gap).
"""

NESTED = ("data", "attributes", "key_value_pairs", "info", "properties")
"""Parts of a record that may contain values, searched after the record itself."""

_EV_PER_KJ_PER_MOL = 1000 / 96485.33212
UNITS = {
    "eV": 1.0,
    "meV": 1e-3,
    "kJ/mol": _EV_PER_KJ_PER_MOL,
    "kcal/mol": 4.184 * _EV_PER_KJ_PER_MOL,
    "Ry": 13.605693122994,
    "Ha": 27.211386245988,
}
"""Energy units in eV. Source: CODATA 2018 (Faraday constant, Rydberg and Hartree energies); 1 kcal = 4.184 kJ."""

_ROUND_OFF = -0.01
"""Negative band gaps down to this value [eV] are taken as 0."""

_NO_VALUE = frozenset({"", "-", "na", "n/a", "nan", "none", "null"})


@dataclass(frozen=True)
class Labels:
    """Fields of the targets in a record; other targets are searched by their `ALIASES`."""

    columns: Mapping[str, tuple[str, str | None]] = field(default_factory=dict)
    """Target → (field, unit); the unit is None where it is that of the target."""


def parse_labels(texts: Sequence[str]) -> Labels:
    """Labels from texts such as `band_gap=gap pbe` or `formation_energy_per_atom=e_form:meV/atom`.

    The unit follows the last colon.

    Raises:
        DatasetError: a text has another form, the target is unknown or given twice, or the unit is not one of the
            target.
    """
    columns: dict[str, tuple[str, str | None]] = {}
    for text in texts:
        target, equals, rest = text.partition("=")
        name, colon, unit = rest.rpartition(":") if ":" in rest else (rest, "", "")
        target, name, unit = target.strip(), name.strip(), unit.strip()
        if not equals or not name:
            msg = f"{shorten(text)!r} is not of the form target=field or target=field:unit, e.g. band_gap=gap pbe:eV"
            raise DatasetError(msg, code="E_DATASET")
        if target not in LABELLED:
            msg = f"{shorten(target)!r} is not a target that a source states; choose from {', '.join(LABELLED)}"
            raise DatasetError(msg, code="E_DATASET")
        if target in columns:
            msg = f"{target} is given twice, as {shorten(columns[target][0])!r} and as {shorten(name)!r}"
            raise DatasetError(msg, code="E_DATASET")
        if colon:
            unit_to_factor(unit, LABELLED[target])
        columns[target] = (name, unit if colon else None)
    return Labels(columns)


def unit_to_factor(unit: str | None, quantity: Quantity) -> float:
    """Factor from a unit to that of the quantity; 1 for None.

    Raises:
        DatasetError: the unit is unknown or of another dimension.
    """
    per_atom = "/atom" if quantity.unit.endswith("/atom") else ""
    factors = {f"{name}{per_atom}": factor for name, factor in UNITS.items()}
    factor = factors.get(quantity.unit if unit is None else unit)
    if factor is None:
        msg = f"{shorten(unit)!r} is not a unit of {quantity.name}; choose from {', '.join(factors)}"
        raise DatasetError(msg, code="E_DATASET")
    return factor


def record_to_targets(record: Mapping[str, Any], labels: Labels) -> dict[str, float]:
    """Targets that a record states, in their own units; those without a value are absent.

    Raises:
        StructureError: a value is not a number, or outside the plausible range.
    """
    targets: dict[str, float] = {}
    for target, quantity in LABELLED.items():
        name, unit = labels.columns.get(target, (None, None))
        found = _field_values(record, name) if name is not None else _alias_values(record, ALIASES[target])
        value = next((number for number in (_to_number(item, target) for item in found) if number is not None), None)
        if value is None:
            continue
        value *= unit_to_factor(unit, quantity)
        if target == BAND_GAP.name and _ROUND_OFF <= value < 0:
            value = 0.0
        low, high = quantity.plausible
        if not low <= value <= high:
            msg = f"{target} {value:g} {quantity.unit} is outside {low:g} to {high:g} {quantity.unit}; "
            msg += "is it in another unit?"
            raise StructureError(msg, code="E_LABEL")
        targets[target] = value
    return targets


def _parts(record: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield record
    for place in NESTED:
        part = record.get(place)
        if isinstance(part, Mapping):
            yield part


def _field_values(record: Mapping[str, Any], name: str) -> Iterator[object]:
    """Values of a field in the record or its parts; `a.b` is also the field b of the part a."""
    for part in _parts(record):
        if name in part:
            yield part[name]
    head, _, rest = name.partition(".")
    if rest and isinstance(record.get(head), Mapping):
        yield from _field_values(record[head], rest)


def _alias_values(record: Mapping[str, Any], aliases: Sequence[str]) -> Iterator[object]:
    for alias in aliases:
        for part in _parts(record):
            if alias in part:
                yield part[alias]
    for part in _parts(record):  # OPTIMADE: a database's own properties are called _database_property
        for name, value in part.items():
            if name.startswith("_") and name[1:].partition("_")[2] in aliases:
                yield value


def _to_number(value: Any, target: str) -> float | None:  # noqa: ANN401 - any value of a file
    if value is None or (isinstance(value, str) and value.strip().lower() in _NO_VALUE):
        return None
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        msg = f"{target} {shorten(value, limit=40)!r} is not a number"
        raise StructureError(msg, code="E_LABEL") from None
    return None if math.isnan(number) else number
