"""Pack a dataset into one small file, for a machine that has only the libraries that training needs.

    python -m benchmarks.gpu.pack build/materials_project build/pack/materials_project.pack

The file holds what cannot be calculated there: structures, labels and symmetry. Sticks, which make up 90 % of a
dataset, are simulated again by `benchmarks.gpu.unpack` with the same code.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the repository

import argparse
import json

import numpy as np

from benchmarks.gpu.pack_form import LABELS, fold, values_digest, write_pack
from benchmarks.harness import TABLE
from xxact_core.dataset.store import read_manifest
from xxact_core.dataset.table import StickTable, read_dataset
from xxact_core.structures.structure import Structure
from xxact_core.structures.tables import read_table


def pack(dataset: Path, source: Path, path: Path) -> dict[str, float]:
    """Pack a dataset that was built from the structure table `source`; returns megabytes by column.

    Raises:
        ValueError: the dataset is not that of the first rows of the table, or a structure cannot be packed because of
            partly occupied sites or coordinates between the steps of the format.
    """
    manifest, table = read_manifest(dataset), read_dataset(dataset)
    structures = [item for item in read_table(source, stop=len(table)) if isinstance(item, Structure)]
    if [structure.id for structure in structures] != table.id.tolist():
        msg = f"{dataset} does not hold the first {len(table):,} structures of {source}"
        raise ValueError(msg)
    if any((structure.occupancies != 1).any() for structure in structures):
        msg = f"{source} has partly occupied sites, which cannot be packed"
        raise ValueError(msg)
    folded, quadrant = fold(np.concatenate([structure.frac_coords for structure in structures]))
    sets, set_of = _rotation_sets(table)
    columns = {
        "id": np.frombuffer("\n".join(table.id.tolist()).encode(), dtype=np.uint8),
        "atom_count": np.array([len(structure.atomic_numbers) for structure in structures], dtype=np.uint16),
        "atomic_number": np.concatenate([structure.atomic_numbers for structure in structures]).astype(np.uint8),
        "folded": folded,
        "quadrant": quadrant,
        "cell": np.ascontiguousarray(table.cell.T),
        "energy_kind": table.energy_kind.astype(np.uint8),
        "space_group": np.nan_to_num(table.targets["space_group"], nan=-1).astype(np.int16),
        "rotation_set": set_of,
        "rotations_of_set": np.array([len(one) for one in sets], dtype=np.uint8),
        "rotations": np.concatenate(sets),
        **{name: table.targets[name] for name in LABELS},
    }
    about = {"plan": manifest["plan"], "digest": manifest["digest"], "values": values_digest(table)}
    return write_pack(path, columns, about)


def _rotation_sets(table: StickTable) -> tuple[list[np.ndarray], np.ndarray]:
    """The distinct sets of rotations, and the index of each material's set."""
    known: dict[bytes, int] = {}
    sets, set_of = [], np.empty(len(table), dtype=np.uint16)
    for row in range(len(table)):
        one = table.rotations[table.rotation_start[row] : table.rotation_start[row + 1]]
        set_of[row] = known.setdefault(one.tobytes(), len(known))
        if len(known) > len(sets):
            sets.append(one)
    return sets, set_of


def main() -> None:
    """Pack, and print the sizes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("pack", type=Path)
    parser.add_argument("--source", type=Path, default=TABLE, help="structure table (default: the shipped one)")
    arguments = parser.parse_args()
    megabytes = pack(arguments.dataset, arguments.source, arguments.pack)
    print(json.dumps({**megabytes, "megabytes": sum(megabytes.values())}))


if __name__ == "__main__":
    main()
