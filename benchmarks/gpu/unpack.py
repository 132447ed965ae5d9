"""Unpack a dataset, simulating its sticks on this machine; needs only the libraries that training needs.

    python -m benchmarks.gpu.unpack build/pack/materials_project.pack build/materials_project --processes 16

If all values equal those of the original, the dataset keeps the original's digest in its manifest, although its files
differ; on a CPU that rounds differently it gets its own. An existing dataset is left unchanged.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the repository

import argparse
import hashlib
import json
import multiprocessing
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import h5py
import numpy as np

from benchmarks.gpu.pack_form import LABELS, read_pack, unfold, values_digest
from xxact_core.dataset.building.plan import BuildPlan
from xxact_core.dataset.building.shard import shard_name, structure_to_material
from xxact_core.dataset.splits import SPLITS
from xxact_core.dataset.store import (
    CELL,
    MANIFEST,
    SCHEMA,
    Material,
    count_entries,
    file_digest,
    hkl_type,
    intensity_to_code,
    read_manifest,
    write_json,
)
from xxact_core.dataset.table import read_dataset
from xxact_core.quantities import CRYSTAL_SYSTEMS, ENERGY_KINDS, TARGETS
from xxact_core.quantities import space_group_to_crystal_system as system_of
from xxact_core.structures.structure import Structure

ROWS = 1024
"""Materials per shard: small enough that sixteen processes finish at about the same time."""


def unpack(path: Path, folder: Path, *, processes: int = 1) -> dict[str, Any]:
    """Unpack a dataset into `folder`; returns its manifest.

    Raises:
        ValueError: the file is not a pack.
    """
    columns, head = read_pack(path)
    folder.mkdir(parents=True, exist_ok=True)
    plan = BuildPlan.from_json(json.dumps(head["plan"]))
    make = partial(make_shard, folder=folder, plan=plan)
    if processes == 1:
        shards = [make(piece) for piece in pieces(columns)]
    else:
        with multiprocessing.get_context("spawn").Pool(processes) as pool:
            shards = list(pool.imap(make, pieces(columns)))
    manifest = {
        "schema": SCHEMA,
        "digest": hashlib.sha256("".join(shard["sha256"] for shard in shards).encode()).hexdigest(),
        "materials": sum(shard["materials"] for shard in shards),
        "errors": 0,
        "duplicates": 0,
        "plan": head["plan"],
        "shards": shards,
    }
    write_json(folder / MANIFEST, manifest)
    if values_digest(read_dataset(folder, verify=False)) == head["values"]:
        manifest["digest"] = head["digest"]
        write_json(folder / MANIFEST, manifest)
    return manifest


def pieces(columns: dict[str, np.ndarray]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The first row of each shard and its part of the columns, for a worker process."""
    names = columns["id"].tobytes().decode().split("\n")
    start, set_start = _starts(columns["atom_count"]), _starts(columns["rotations_of_set"])
    sets = [columns["rotations"][first:last] for first, last in pairwise(set_start)]
    of_atoms = ("atomic_number", "folded", "quadrant")
    of_rows = ("atom_count", "energy_kind", "space_group", *LABELS)
    for first in range(0, len(names), ROWS):
        rows = slice(first, min(first + ROWS, len(names)))
        atoms = slice(start[rows.start], start[rows.stop])
        yield (
            first,
            {
                "id": names[rows],
                "cell": columns["cell"][:, rows].T,
                "rotations": [sets[one] for one in columns["rotation_set"][rows]],
                **{name: columns[name][atoms] for name in of_atoms},
                **{name: columns[name][rows] for name in of_rows},
            },
        )


def _starts(counts: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])


def make_shard(piece: tuple[int, dict[str, Any]], *, folder: Path, plan: BuildPlan) -> dict[str, Any]:
    """Simulate the sticks of a piece and write its shard; returns its entry in the manifest."""
    first, part = piece
    plan, start, materials = replace(plan, symmetry=False), _starts(part["atom_count"]), []
    coords = unfold(part["folded"], part["quadrant"])
    for row, name in enumerate(part["id"]):
        atoms = slice(start[row], start[row + 1])
        structure = Structure(
            id=name,
            cell=part["cell"][row],
            atomic_numbers=part["atomic_number"][atoms],
            frac_coords=coords[atoms],
            occupancies=np.ones(atoms.stop - atoms.start),
            targets={label: float(part[label][row]) for label in LABELS},
            energy_kind=ENERGY_KINDS[int(part["energy_kind"][row])],
        )
        material = structure_to_material(structure, plan)
        targets = dict(material.targets)
        if (group := int(part["space_group"][row])) >= 0:
            targets |= {"space_group": group, "crystal_system": CRYSTAL_SYSTEMS.index(system_of(group + 1))}
        materials.append(replace(material, rotations=part["rotations"][row], targets=targets))
    path = folder / f"{shard_name(first)}.h5"
    write_plain_shard(path, materials, wavelength=plan.wavelength)
    return {"start": first, "errors": 0, "file": path.name, "sha256": file_digest(path), **count_entries(materials)}


def write_plain_shard(path: Path, materials: Sequence[Material], *, wavelength: float) -> None:
    """Write the columns that `read_dataset` reads with h5py alone, without compression, units and checksums."""
    with h5py.File(path, "w") as file:
        file.attrs["wavelength"] = wavelength
        for name in ("id", "formula"):
            encoded = [getattr(material, name).encode() for material in materials]
            width = max(map(len, encoded))
            file[name] = np.array(encoded, dtype=f"S{width}").view("S1").reshape(len(encoded), width)
        for column, name in enumerate(CELL):
            file[name] = np.array([material.cell[column] for material in materials])
        for target in TARGETS.values():
            values = np.array([material.targets.get(target.name, np.nan) for material in materials], dtype=np.float32)
            file[target.name] = values if target.kind == "value" else np.nan_to_num(values, nan=-1).astype(np.int16)
        kinds = [ENERGY_KINDS.index(material.energy_kind) for material in materials]
        file["energy_kind"] = np.array(kinds, dtype=np.int8)
        file["energy_kind"].attrs["flag_meanings"] = " ".join(ENERGY_KINDS)
        file["split"] = np.array([SPLITS.index(material.split) for material in materials], dtype=np.int8)
        for name, parts in (("peak", "intensity"), ("element", "atomic_numbers"), ("rotation", "rotations")):
            file[f"{name}_count"] = np.array([len(getattr(material, parts)) for material in materials], dtype=np.int32)
        hkl = np.concatenate([material.hkl for material in materials]).T
        file["hkl"] = np.ascontiguousarray(hkl, dtype=hkl_type(materials))
        file["intensity"] = intensity_to_code(np.concatenate([material.intensity for material in materials]))
        file["rotation_matrix"] = np.concatenate([material.rotations for material in materials]).astype(np.int8)
        file["atomic_number"] = np.concatenate([material.atomic_numbers for material in materials]).astype(np.uint8)
        file["fraction"] = np.concatenate([material.fractions for material in materials]).astype(np.float32)


def main() -> None:
    """Unpack, and print whether all values equal the original's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pack", type=Path)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--processes", type=int, default=1)
    arguments = parser.parse_args()
    began = time.monotonic()
    if not (arguments.dataset / MANIFEST).is_file():
        unpack(arguments.pack, arguments.dataset, processes=arguments.processes)
    manifest = read_manifest(arguments.dataset)
    equal = manifest["digest"] == read_pack(arguments.pack)[1]["digest"]
    print(json.dumps({"materials": manifest["materials"], "equal": equal, "seconds": time.monotonic() - began}))


if __name__ == "__main__":
    main()
