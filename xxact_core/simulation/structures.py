"""Structures from files: CIF (through pymatgen) and the Materials Project table (parquet, without it)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from xxact_core.compositions.composition import Composition
from xxact_core.compositions.element_table import ATOMIC_NUMBERS, SYMBOLS
from xxact_core.compositions.formula import reduced_formula
from xxact_core.errors import StructureError, shorten

EXACT_ENERGY_SOURCES = ("unique", "megnet2018")
"""Formation-energy sources whose label belongs to this very structure. Source: data/README.md."""


@dataclass(frozen=True, eq=False)
class Structure:
    """A crystal structure as arrays, with the labels that came with it.

    cell: a, b, c [Å], α, β, γ [deg], shape (6,). atomic_numbers: shape (atoms,). frac_coords: shape (atoms, 3).
    occupancies: shape (atoms,); a mixed site is several atoms at one place.
    targets: name of a quantity → value in its unit, only where known.
    energy_is_exact: whether the formation energy belongs to this very structure and not to a similar one.
    """

    id: str
    cell: np.ndarray
    atomic_numbers: np.ndarray
    frac_coords: np.ndarray
    occupancies: np.ndarray
    targets: Mapping[str, float] = field(default_factory=dict)
    energy_is_exact: bool = False

    def __post_init__(self) -> None:
        """Check shapes and numbers."""
        cell = np.asarray(self.cell, dtype=np.float64)
        numbers = np.asarray(self.atomic_numbers, dtype=np.int64)
        coords = np.asarray(self.frac_coords, dtype=np.float64)
        occupancies = np.asarray(self.occupancies, dtype=np.float64)
        if numbers.size == 0:
            msg = f"{self.id}: the structure has no atoms"
            raise StructureError(msg, code="E_STRUCTURE")
        if cell.shape != (6,) or coords.shape != (numbers.size, 3) or occupancies.shape != numbers.shape:
            msg = f"{self.id}: cell {cell.shape}, coordinates {coords.shape} and occupancies {occupancies.shape} "
            msg += f"do not fit {numbers.size} atoms"
            raise StructureError(msg, code="E_STRUCTURE")
        for name, array in (("cell", cell), ("coordinates", coords), ("occupancies", occupancies)):
            if not np.isfinite(array).all():
                msg = f"{self.id}: the {name} hold a value that is not a finite number"
                raise StructureError(msg, code="E_STRUCTURE")
        for name, values in (("cell", cell), ("atomic_numbers", numbers), ("frac_coords", coords)):
            object.__setattr__(self, name, values)
        object.__setattr__(self, "occupancies", occupancies)
        object.__setattr__(self, "targets", MappingProxyType(dict(self.targets)))

    @property
    def composition(self) -> Composition:
        """Elements and amounts in one cell."""
        amounts = np.bincount(self.atomic_numbers, weights=self.occupancies)
        numbers = np.flatnonzero(amounts)
        return Composition(tuple(SYMBOLS[n - 1] for n in numbers), tuple(float(amounts[n]) for n in numbers))

    @property
    def reduced_formula(self) -> str:
        """Alphabetical reduced formula with all numbers, e.g. `Al2O3`, `K1Mn1O2`."""
        return reduced_formula(self.composition)


def read_cif(path: Path) -> Structure:
    """First structure of a CIF file.

    Raises:
        StructureError: the file does not hold a readable structure.
    """
    import warnings  # noqa: PLC0415 - with pymatgen, which is loaded only when a CIF is read

    from pymatgen.io.cif import CifParser  # noqa: PLC0415 - slow, and only CIF files need it

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            structure = CifParser(path).parse_structures(primitive=False)[0]
    except Exception as error:  # pymatgen raises whatever its parser meets
        msg = f"{path.name}: not a readable CIF structure ({shorten(error)})"
        raise StructureError(msg, code="E_STRUCTURE") from error
    return pymatgen_to_structure(structure, name=path.stem)


def pymatgen_to_structure(structure: Any, *, name: str) -> Structure:  # noqa: ANN401 - pymatgen is not imported here
    """A pymatgen `Structure` as arrays; partly occupied and mixed sites become atoms with occupancies."""
    numbers, coords, occupancies = [], [], []
    for site in structure:
        for species, occupancy in site.species.items():
            symbol = {"D": "H", "T": "H"}.get(species.symbol, species.symbol)
            if symbol not in ATOMIC_NUMBERS:
                msg = f"{name}: {shorten(symbol)!r} is not a chemical element"
                raise StructureError(msg, code="E_ELEMENT")
            numbers.append(ATOMIC_NUMBERS[symbol])
            coords.append(site.frac_coords)
            occupancies.append(occupancy)
    return Structure(
        id=name,
        cell=np.array(structure.lattice.parameters),
        atomic_numbers=np.array(numbers, dtype=np.int64),
        frac_coords=np.array(coords, dtype=np.float64).reshape(-1, 3),
        occupancies=np.array(occupancies, dtype=np.float64),
    )


COLUMNS = ("id", "a", "b", "c", "alpha", "beta", "gamma", "species", "frac_coords")


def table_rows(path: Path) -> int:
    """Rows of a structure table (parquet)."""
    import pyarrow.parquet  # noqa: PLC0415 - only where a table is read

    return pyarrow.parquet.ParquetFile(path).metadata.num_rows


def read_table(path: Path, *, start: int = 0, stop: int | None = None) -> Iterator[Structure | tuple[str, str]]:
    """Structures of a parquet table such as `data/materials_project.parquet`, rows `start` to `stop`.

    Yields:
        A structure, or (id, reason) for a row that holds none.

    Raises:
        StructureError: the table lacks a column that a structure needs.
    """
    import pyarrow.parquet  # noqa: PLC0415 - only where a table is read

    file = pyarrow.parquet.ParquetFile(path)
    missing = [name for name in COLUMNS if name not in file.schema_arrow.names]
    if missing:
        msg = f"{path.name}: the table lacks the columns {missing}; a structure needs {list(COLUMNS)}"
        raise StructureError(msg, code="E_STRUCTURE")
    stop = file.metadata.num_rows if stop is None else stop
    row = 0
    for group in range(file.num_row_groups):
        size = file.metadata.row_group(group).num_rows
        if row + size > start and row < stop:
            rows = file.read_row_group(group).slice(max(0, start - row), min(stop, row + size) - max(start, row))
            for record in rows.to_pylist():
                yield _record_to_structure(record)
        row += size


def _record_to_structure(record: Mapping[str, Any]) -> Structure | tuple[str, str]:
    name = str(record["id"])
    try:
        species = record["species"]
        unknown = [symbol for symbol in species if symbol not in ATOMIC_NUMBERS]
        if unknown:
            return name, f"{shorten(unknown[0])!r} is not a chemical element"
        targets = {
            target: float(record[target])
            for target in ("formation_energy_per_atom", "band_gap")
            if record.get(target) is not None and np.isfinite(record[target])
        }
        return Structure(
            id=name,
            cell=np.array([record[axis] for axis in ("a", "b", "c", "alpha", "beta", "gamma")], dtype=np.float64),
            atomic_numbers=np.array([ATOMIC_NUMBERS[symbol] for symbol in species], dtype=np.int64),
            frac_coords=np.array(record["frac_coords"], dtype=np.float64).reshape(-1, 3),
            occupancies=np.ones(len(species)),
            targets=targets,
            energy_is_exact=record.get("formation_energy_source") in EXACT_ENERGY_SOURCES,
        )
    except (StructureError, TypeError, ValueError) as error:
        return name, shorten(error)
