"""Energies that a teacher computed, as a table, and formation energies of structures from it.

A Parquet file with the columns `id` and `energy_per_atom` (total energies [eV]); its metadata state the teacher, the
reference energies of the elements, and the seed of the split whose training labels they were fitted to.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from xxact_core.dataset.building.element_references import to_formation_energy
from xxact_core.errors import DatasetError, shorten
from xxact_core.quantities import FORMATION_ENERGY, TEACHER
from xxact_core.structures.structure import Structure

MOST_DISAGREEMENT = 0.5
"""Difference [eV/atom] between a label and the teacher above which the label is left out. Ours: ten times the error of
the teacher."""

METADATA = "xxact_energies"
"""Key of the file's metadata."""


@dataclass(frozen=True)
class EnergyTable:
    """Total energies of structures by one teacher."""

    teacher: str
    """Name of the teacher."""
    references: Mapping[str, float]
    """Energies per atom [eV] of the elements, by symbol."""
    split_seed: int
    """Seed of the split whose training labels the references were fitted to."""
    energies: Mapping[str, float]
    """Total energies per atom [eV] by id."""

    def formation_energy(self, identity: str, formula: str) -> float:
        """Formation energy per atom [eV] by the teacher; NaN where there is none."""
        total = self.energies.get(identity)
        return float("nan") if total is None else to_formation_energy(formula, total, self.references)

    def label(self, structure: Structure) -> Structure:
        """The structure with the teacher's formation energy where it has none, or one that the teacher contradicts.

        The notes list the labels that were left out.
        """
        energy = self.formation_energy(structure.id, structure.reduced_formula)
        low, high = FORMATION_ENERGY.plausible
        if not low <= energy <= high:
            return structure
        stated = structure.targets.get(FORMATION_ENERGY.name)
        notes = structure.notes
        if stated is not None:
            if abs(stated - energy) <= MOST_DISAGREEMENT:
                return structure
            notes = (*notes, f"formation energy {stated:.3f} eV/atom left out: {self.teacher} gives {energy:.3f}")
        targets = {**structure.targets, FORMATION_ENERGY.name: energy}
        return replace(structure, targets=targets, energy_kind=TEACHER, notes=notes)


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


def read_energy_table(path: Path) -> EnergyTable:
    """The table that `write_energy_table` wrote; it is kept in memory until the file changes.

    Raises:
        DatasetError: the file is no such table.
    """
    try:
        state = path.stat()
    except OSError as error:
        msg = f"{shorten(path.name)}: the table of energies cannot be read: {error.strerror}"
        raise DatasetError(msg, code="E_DATASET") from error
    return _read_energy_table(path, (state.st_ino, state.st_size, state.st_mtime_ns))


@lru_cache(maxsize=4)
def _read_energy_table(path: Path, _state: tuple[int, int, int]) -> EnergyTable:
    import pyarrow as pa  # noqa: PLC0415 - only where a table is read
    from pyarrow import parquet  # noqa: PLC0415 - likewise

    try:
        table = parquet.read_table(path, columns=["id", "energy_per_atom"])
        about = json.loads((table.schema.metadata or {})[METADATA.encode()])
        return EnergyTable(
            teacher=str(about["teacher"]),
            references={str(symbol): float(energy) for symbol, energy in about["references"].items()},
            split_seed=int(about["split_seed"]),
            energies=dict(zip(table["id"].to_pylist(), table["energy_per_atom"].to_pylist(), strict=True)),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, pa.ArrowException) as error:
        msg = f"{shorten(path.name)}: not a table of energies as `xxact dataset label` writes it ({shorten(error)})"
        raise DatasetError(msg, code="E_DATASET") from error


def write_energy_table(path: Path, table: EnergyTable) -> None:
    """Write a table of energies atomically, in the order of ids."""
    import pyarrow as pa  # noqa: PLC0415 - only where a table is written
    from pyarrow import parquet  # noqa: PLC0415 - likewise

    ids = sorted(table.energies)
    about = {"teacher": table.teacher, "references": dict(table.references), "split_seed": table.split_seed}
    energies = np.round(np.array([table.energies[identity] for identity in ids], dtype=np.float64), 4)
    columns = pa.table({"id": pa.array(ids, pa.string()), "energy_per_atom": pa.array(energies.astype(np.float32))})
    part = path.with_name(f"{path.name}.part")
    try:
        parquet.write_table(
            columns.replace_schema_metadata({METADATA: json.dumps(about)}),
            part,
            compression="zstd",
            compression_level=19,
            use_dictionary=False,
            column_encoding={"id": "DELTA_BYTE_ARRAY", "energy_per_atom": "BYTE_STREAM_SPLIT"},
            write_statistics=False,
        )
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
