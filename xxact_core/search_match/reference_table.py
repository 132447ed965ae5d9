"""Reference table: structures as asymmetric units, with names, flags and the strongest reflections of every phase."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from xxact_core.compositions.composition import Composition, text_to_composition
from xxact_core.compositions.element_table import ATOMIC_MASSES, ATOMIC_NUMBERS, SYMBOLS
from xxact_core.compositions.formula import parse_formula, reduced_formula
from xxact_core.compositions.formula_format import format_formula
from xxact_core.errors import FormulaError
from xxact_core.patterns.pattern import Sticks
from xxact_core.search_match.database import (
    LINES,
    TWO_THETA_RANGE,
    StrongestLines,
    bits_to_elements,
    check_elements,
    sticks_to_lines,
)
from xxact_core.simulation.diffraction import arrays_to_sticks
from xxact_core.simulation.lattice import cell_to_reciprocal_metric, cell_volume
from xxact_core.structures.asymmetric_units import OCCUPANCY_STEP, AsymmetricUnits
from xxact_core.structures.compact_tables import (
    EXPERIMENTAL,
    HYDROGEN_MISSING,
    KNOWN,
)
from xxact_core.structures.hall_groups import hall_group
from xxact_core.structures.structure import Structure

HEIGHT_STEPS = 63
"""Steps of the square root of a relative intensity in the list of strongest reflections. Ours."""

ENERGY_STEP = 1e-3
"""Step of energies above the hull [eV/atom]."""

LARGEST_AMOUNT = 50
"""Formulas with larger whole numbers are written with the decimals of their source. Ours."""

NO_ENERGY = -1
_TOGETHER = 8192
_LARGEST_INDEX = 127
DESCRIBED = ("id", "public_id", "reduced_formula", "experimental", "known", "in_icsd_guess")
_ID = re.compile(r"(.*?)(0|[1-9][0-9]{0,8})", re.DOTALL)


@dataclass(frozen=True, eq=False)
class ReferenceTable:
    """Reference phases of one file."""

    path: Path
    """The file."""
    units: AsymmetricUnits
    """The structures."""
    id_start: np.ndarray
    """Offsets of each phase's ids, shape (phases + 1,)."""
    id_prefix: np.ndarray
    """Beginning of each id, as a position in `prefixes`."""
    id_number: np.ndarray
    """Number at the end of each id, -1 where there is none."""
    prefixes: tuple[str, ...]
    """Beginnings of ids."""
    shown: np.ndarray
    """Which of a phase's ids is shown, -1 for none, shape (phases,), int8."""
    flags: np.ndarray
    """`EXPERIMENTAL`, `KNOWN` and so on, shape (phases,), uint8."""
    energy_above_hull: np.ndarray
    """Energies above the convex hull [eV/atom], NaN where unknown, shape (phases,)."""
    names: Mapping[int, tuple[str, ...]]
    """Names by row, the usual one first."""
    stated: Mapping[int, str]
    """Compositions by row as `composition_to_text` writes them, where the structure does not show it: hydrogen is
    missing, or sites are disordered."""
    line_start: np.ndarray
    """Offsets of each phase's strongest reflections, shape (phases + 1,)."""
    line_hkl: np.ndarray
    """Their Miller indices in the conventional cell, in order of 1/d, shape (lines, 3), int8."""
    line_height: np.ndarray
    """Square roots of their relative intensities in `HEIGHT_STEPS`, shape (lines,), uint8."""
    description: Mapping[str, Any]
    """Sources with their licences, and version, as the file states them."""
    notes: tuple[str, ...] = ()
    """What was assumed or left out where the table was made of files of structures, for the user."""

    def __len__(self) -> int:
        """Number of phases."""
        return len(self.units)

    @cached_property
    def id(self) -> np.ndarray:
        """Ids, shape (phases,)."""
        first = self.id_start[:-1]
        texts = [
            self._id(prefix, number)
            for prefix, number in zip(self.id_prefix[first].tolist(), self.id_number[first].tolist(), strict=True)
        ]
        return np.array(texts)

    def _id(self, prefix: int, number: int) -> str:
        return self.prefixes[prefix] if number < 0 else f"{self.prefixes[prefix]}{number}"

    @property
    def cell(self) -> np.ndarray:
        """Conventional cells a, b, c [Å], α, β, γ [deg], shape (phases, 6)."""
        return self.units.cell

    @property
    def space_group(self) -> np.ndarray:
        """Numbers of the space groups, 0 where unknown, shape (phases,)."""
        return self.units.space_group

    @cached_property
    def experimental(self) -> np.ndarray:
        """Whether the cell was measured, shape (phases,)."""
        return (self.flags & EXPERIMENTAL).astype(np.bool_)

    @cached_property
    def known(self) -> np.ndarray:
        """Whether the phase was found in experiments, shape (phases,)."""
        return (self.flags & KNOWN).astype(np.bool_)

    @cached_property
    def disordered(self) -> np.ndarray:
        """Whether sites are mixed or partly occupied, shape (phases,)."""
        units = self.units
        part = units.occupancy != round(1 / OCCUPANCY_STEP)
        disordered: np.ndarray = np.logical_or.reduceat(part, units.part_start[units.kind_start][:-1])
        return disordered

    @cached_property
    def element_bits(self) -> np.ndarray:
        """The elements as bits, shape (phases, 2), uint64; hydrogen that a structure lacks is among them."""
        units = self.units
        numbers = units.element.astype(np.uint64) - np.uint64(1)
        bit = np.left_shift(np.uint64(1), numbers % np.uint64(64))
        start = units.part_start[units.kind_start][:-1]
        halves = [np.where(numbers // np.uint64(64) == half, bit, np.uint64(0)) for half in (0, 1)]
        bits = np.stack([np.bitwise_or.reduceat(half, start) for half in halves], axis=1)
        bits[(self.flags & HYDROGEN_MISSING).astype(np.bool_), 0] |= np.uint64(1)
        return bits

    @cached_property
    def _elements(self) -> tuple[np.ndarray, np.ndarray]:
        return bits_to_elements(self.element_bits)

    @property
    def element_start(self) -> np.ndarray:
        """Offsets of each phase in `element`, shape (phases + 1,)."""
        return self._elements[0]

    @property
    def element(self) -> np.ndarray:
        """Atomic numbers of the elements of all phases, each once a phase, shape (elements,)."""
        return self._elements[1]

    @cached_property
    def cell_volume(self) -> np.ndarray:
        """Volumes of the conventional cells [Å³], shape (phases,)."""
        return cell_volume(self.cell)

    @cached_property
    def cell_mass(self) -> np.ndarray:
        """Masses of the contents of the conventional cells [g/mol], with the hydrogen that a structure lacks."""
        masses = self.units.cell_mass.copy()
        for row in np.flatnonzero(self.flags & HYDROGEN_MISSING).tolist():
            stated = text_to_composition(self.stated[row])
            weights = np.array(ATOMIC_MASSES)[stated.atomic_numbers - 1] * np.array(stated.amounts)
            masses[row] *= weights.sum() / weights[stated.atomic_numbers != 1].sum()
        return masses

    @cached_property
    def lines(self) -> StrongestLines:
        """The strongest reflections of every phase, as the file states them, or simulated at first use."""
        return self.lines_of(np.arange(len(self)))

    def lines_of(self, rows: np.ndarray) -> StrongestLines:
        """The strongest reflections of these phases, shape (rows, lines)."""
        rows = np.asarray(rows)
        if "lines" in self.__dict__:
            return StrongestLines(self.lines.position[rows], self.lines.height[rows])
        if not len(self.line_hkl):
            return self._simulated_lines(rows)
        position = np.full((len(rows), LINES), np.nan, dtype=np.float32)
        height = np.zeros((len(rows), LINES), dtype=np.float32)
        for first in range(0, len(rows), _TOGETHER):
            part = slice(first, first + _TOGETHER)
            self._fill_lines(np.asarray(rows[part]), position[part], height[part])
        return StrongestLines(position, height)

    def _simulated_lines(self, rows: np.ndarray) -> StrongestLines:
        """The same where the file states none: each phase is simulated once."""
        simulated = self._simulated
        missing = [row for row in rows.tolist() if row not in simulated]
        new = sticks_to_lines(lambda place: self.sticks(missing[place]), len(missing))
        simulated.update(zip(missing, zip(new.position, new.height, strict=True), strict=True))
        found = [simulated[row] for row in rows.tolist()]
        position, height = (np.reshape([one[part] for one in found], (len(found), LINES)) for part in (0, 1))
        return StrongestLines(position, height)

    @cached_property
    def _simulated(self) -> dict[int, tuple[np.ndarray, np.ndarray]]:
        return {}

    def _fill_lines(self, rows: np.ndarray, position: np.ndarray, height: np.ndarray) -> None:
        count = self.line_start[rows + 1] - self.line_start[rows]
        place = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        line = place + np.repeat(self.line_start[rows], count)
        row = np.repeat(np.arange(len(rows)), count)
        metric = cell_to_reciprocal_metric(self.cell[rows])
        h, k, ell = self.line_hkl[line].T.astype(np.float32)
        squared = np.zeros(len(row))
        for column, product in enumerate((h * h, k * k, ell * ell, 2 * h * k, 2 * h * ell, 2 * k * ell)):
            squared += metric[row, column] * product
        position[row, place] = np.log(squared) / 2
        height[row, place] = np.square(self.line_height[line].astype(np.float32) / HEIGHT_STEPS)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the file, as hexadecimal text."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    def rows_within(self, elements: Iterable[str]) -> np.ndarray:
        """Rows of the phases that contain no other elements than these, in ascending order.

        Raises:
            FormulaError: a symbol is not a chemical element, or none is given.
        """
        allowed = [0, 0]
        for symbol in check_elements(elements):
            half, bit = divmod(ATOMIC_NUMBERS[symbol] - 1, 64)
            allowed[half] |= 1 << bit
        others = ~np.array(allowed, dtype=np.uint64)
        return np.flatnonzero(~(self.element_bits & others).any(axis=1))

    def symbols(self, row: int) -> tuple[str, ...]:
        """Elements of one phase, by atomic number."""
        numbers = self.element[self.element_start[row] : self.element_start[row + 1]].tolist()
        return tuple(SYMBOLS[number - 1] for number in numbers)

    def composition(self, row: int) -> Composition:
        """Composition of one phase: as published where its structure does not show it."""
        stated = self.stated.get(row)
        return self.units.composition(row) if stated is None else text_to_composition(stated)

    def formula(self, row: int) -> str:
        """Formula of one phase, as chemists write it; with decimals where whole numbers would be large."""
        composition = self.composition(row)
        text = format_formula(composition)
        if all(int(number) < LARGEST_AMOUNT for number in re.findall("[0-9]+", text)):
            return text
        amounts = dict(zip(composition.symbols, composition.amounts, strict=True))
        order = dict.fromkeys(re.findall("[A-Z][a-z]?", text))
        return "".join(symbol + (f"{amounts[symbol]:.3g}" if amounts[symbol] != 1 else "") for symbol in order)

    def name(self, row: int) -> str | None:
        """Name of one phase that people use, such as rutile; None where it has none."""
        return next(iter(self.names.get(row, ())), None)

    def find(self, name: str) -> np.ndarray:
        """Rows of the phases with a name, an id or a formula, the best known first.

        Names are found whatever the case of their letters. Phases found in experiments come first, then those with more
        ids, ordered ones, and those of fewer elements and lower energy.
        """
        rows = self._find(name)
        if not len(rows):
            return rows
        energy = np.nan_to_num(self.energy_above_hull[rows], nan=np.inf)
        ids = self.id_start[rows + 1] - self.id_start[rows]
        elements = np.diff(self.element_start)[rows]
        return rows[np.lexsort((energy, elements, self.disordered[rows], -ids, ~self.known[rows]))]

    def _find(self, name: str) -> np.ndarray:
        wanted = name.strip()
        for rows in (
            [row for row, names in self.names.items() if wanted in names],
            self._find_id(wanted),
            self._find_formula(wanted),
            [row for row, names in self.names.items() if wanted.casefold() in map(str.casefold, names)],
        ):
            if len(rows):
                return np.array(rows, dtype=np.int64)
        return np.zeros(0, dtype=np.int64)

    def _find_formula(self, text: str) -> list[int]:
        try:
            formula = parse_formula(text)
        except FormulaError:
            return []
        key, rows = reduced_formula(formula), self.rows_within(formula.symbols)
        rows = rows[np.diff(self.element_start)[rows] == len(formula.symbols)]
        return [row for row in rows.tolist() if reduced_formula(self.composition(row)) == key]

    def _find_id(self, identity: str) -> np.ndarray:
        prefix, number = split_id(identity)
        if prefix not in self.prefixes:
            return np.zeros(0, dtype=np.int64)
        found = np.flatnonzero((self.id_prefix == self.prefixes.index(prefix)) & (self.id_number == number))
        return np.searchsorted(self.id_start, found, side="right") - 1

    def ids(self, row: int) -> tuple[str, ...]:
        """All ids of one phase, its own first."""
        part = slice(int(self.id_start[row]), int(self.id_start[row + 1]))
        pairs = zip(self.id_prefix[part].tolist(), self.id_number[part].tolist(), strict=True)
        return tuple(self._id(prefix, number) for prefix, number in pairs)

    def public_id(self, row: int) -> str:
        """The id by which one phase is shown; empty where its ids mean nothing to people."""
        shown = int(self.shown[row])
        return "" if shown < 0 else self.ids(row)[shown]

    def structure(self, row: int) -> Structure:
        """Crystal structure of one phase, in its conventional cell."""
        return self.units.structure(row, name=str(self.id[row]))

    def sticks(self, row: int) -> Sticks:
        """Calculated reflections of one phase, with Miller indices in the conventional cell.

        Raises:
            StructureError: no reflection lies in the range.
        """
        return unit_to_sticks(self.units, row)

    def symmetry(self, row: int) -> tuple[int | None, np.ndarray]:
        """Space group, None where unknown, and rotations of the Laue group of one phase."""
        return int(self.space_group[row]) or None, hall_group(int(self.units.hall[row])).laue


def unit_to_sticks(units: AsymmetricUnits, row: int) -> Sticks:
    """Calculated reflections of a stored structure in `TWO_THETA_RANGE`, simulated in its primitive cell.

    The Miller indices refer to the conventional cell.

    Raises:
        StructureError: no reflection lies in the range.
    """
    structure = units.structure(row, primitive=True)
    sticks = arrays_to_sticks(
        cell=structure.cell,
        atomic_numbers=structure.atomic_numbers,
        frac_coords=structure.frac_coords,
        occupancies=None if (structure.occupancies == 1).all() else structure.occupancies,
        two_theta_range=TWO_THETA_RANGE,
    )
    assert sticks.hkl is not None
    to_conventional = np.linalg.inv(hall_group(int(units.hall[row])).primitive)
    return Sticks(
        sticks.two_theta,
        sticks.intensity,
        wavelength=sticks.wavelength,
        hkl=np.rint(sticks.hkl @ to_conventional).astype(np.int64),
    )


def split_id(identity: str) -> tuple[str, int]:
    """An id as its beginning and the number at its end, -1 where there is none."""
    found = _ID.fullmatch(identity)
    return (identity, -1) if found is None else (found[1], int(found[2]))


def sticks_to_strongest(sticks: Sticks) -> tuple[np.ndarray, np.ndarray]:
    """Miller indices, shape (lines, 3), and relative intensities of the `LINES` strongest reflections, in order of 1/d.

    Reflections whose indices take more than a byte are left out.
    """
    assert sticks.hkl is not None
    fits = np.flatnonzero(np.abs(sticks.hkl).max(axis=1) <= _LARGEST_INDEX)
    kept = np.sort(fits[np.argsort(-sticks.intensity[fits], kind="stable")[:LINES]])
    return sticks.hkl[kept].astype(np.int8), sticks.intensity[kept] / sticks.intensity.max()


def describe_phase(table: ReferenceTable, row: int) -> dict[str, Any]:
    """What a table states about a phase, as plain values for JSON."""
    energy = float(table.energy_above_hull[row])
    return {
        "formula": table.formula(row),
        "name": table.name(row),
        "names": list(table.names.get(row, ())),
        "space_group": int(table.space_group[row]) or None,
        "cell": table.cell[row].round(5).tolist(),
        "id": table.public_id(row),
        "ids": list(table.ids(row)),
        "experimental": bool(table.experimental[row]),
        "known": bool(table.known[row]),
        "disordered": bool(table.disordered[row]),
        "energy_above_hull": None if np.isnan(energy) else round(energy, 3),
    }


def describe_table(table: ReferenceTable) -> dict[str, Any]:
    """Counts, sources and licences of a table, as plain values for JSON."""
    return {
        "phases": len(table),
        "measured_cells": int(table.experimental.sum()),
        "known_from_experiments": int(table.known.sum()),
        "disordered": int(table.disordered.sum()),
        "named": len(table.names),
        "energy_known": int(np.isfinite(table.energy_above_hull).sum()),
        "hydrogen_missing": int(np.count_nonzero(table.flags & HYDROGEN_MISSING)),
        "ids": int(table.id_start[-1]),
        "bytes": table.path.stat().st_size,
        **table.description,
    }
