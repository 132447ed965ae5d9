"""Known crystals, and what each kind of source makes of them."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pymatgen.core import Element, Lattice
from pymatgen.core import Structure as PymatgenStructure
from pymatgen.entries.computed_entries import ComputedStructureEntry

from xxact_core.structures.labels import Labels
from xxact_core.structures.sources import list_blocks, read_block
from xxact_core.structures.structure import Structure

CRYSTALS = {
    "NaCl": PymatgenStructure.from_spacegroup(225, Lattice.cubic(5.6402), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]),
    "Si": PymatgenStructure.from_spacegroup(227, Lattice.cubic(5.43102), ["Si"], [[0, 0, 0]]).get_primitive_structure(),
    "ZnO": PymatgenStructure.from_spacegroup(
        186, Lattice.hexagonal(3.2498, 5.2066), ["Zn", "O"], [[1 / 3, 2 / 3, 0], [1 / 3, 2 / 3, 0.382]]
    ),
    "mixed": PymatgenStructure.from_spacegroup(
        225, Lattice.cubic(4.2), [{"Ni": 0.6, "Mg": 0.3}, "O"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    ),
    "CuO": PymatgenStructure(
        Lattice([[4.65, 0.1, 0.2], [0.0, 3.41, 0.3], [-0.84, 0.0, 5.05]]),
        ["Cu", "O"],
        [[0.25, 0.25, 0.01], [0.0, 0.42, -0.25]],
    ),
}
ORDERED = {name: crystal for name, crystal in CRYSTALS.items() if crystal.is_ordered}
ENERGIES = {"NaCl": -2.1, "Si": 0.0, "ZnO": -1.8, "mixed": -2.9, "CuO": -0.8}
GAPS = {"NaCl": 5.0, "Si": 0.6, "ZnO": 0.7, "mixed": 3.5, "CuO": 0.0}

PACK: Mapping[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}


def read_source(source: Path, *, rows: int = 2, limit: int | None = None, labels: Labels | None = None) -> list[Any]:
    """Items of a source, each block through its JSON text as if it had gone to another process."""
    labels = labels or Labels()
    items: list[Any] = []
    for block in list_blocks(source, rows=rows, limit=limit, labels=labels):
        assert block.start == len(items)
        assert block.rows <= rows
        again = type(block).from_json(block.to_json())
        assert again == block
        found = list(read_block(again, labels=labels))
        assert len(found) == block.rows
        items += found
    return items


def assert_is(found: Structure, crystal: PymatgenStructure) -> None:
    """The arrays are those of the crystal, site by site and element by element."""
    atoms = [(site, species, share) for site in crystal for species, share in site.species.items()]
    np.testing.assert_allclose(found.cell, crystal.lattice.parameters, atol=1e-8)
    np.testing.assert_array_equal(found.atomic_numbers, [Element(species.symbol).Z for _, species, _ in atoms])
    np.testing.assert_allclose(found.frac_coords, [site.frac_coords for site, _, _ in atoms], atol=1e-8)
    np.testing.assert_allclose(found.occupancies, [share for _, _, share in atoms], atol=1e-12)


def assert_labelled(found: Structure, name: str) -> None:
    assert found.targets == {"formation_energy_per_atom": ENERGIES[name], "band_gap": GAPS[name]}
    assert found.energy_is_exact


def alexandria_entry(name: str) -> dict[str, Any]:
    data = {
        "mat_id": f"agm-{name}",
        "e_form": ENERGIES[name],
        "band_gap_ind": GAPS[name],
        "band_gap_dir": 9.0,
        "spg": 1,
    }
    return json.loads(json.dumps(ComputedStructureEntry(CRYSTALS[name], -7.0, data=data).as_dict()))


def jarvis_document(name: str, *, cartesian: bool) -> dict[str, Any]:
    crystal = CRYSTALS[name]
    coords = crystal.cart_coords if cartesian else crystal.frac_coords
    return {
        "jid": f"JVASP-{name}",
        "atoms": {
            "lattice_mat": crystal.lattice.matrix.tolist(),
            "coords": coords.tolist(),
            "elements": [site.specie.symbol for site in crystal],
            "abc": list(crystal.lattice.abc),
            "cartesian": cartesian,
            "props": [""] * len(crystal),
        },
        "formation_energy_peratom": ENERGIES[name],
        "optb88vdw_bandgap": GAPS[name],
        "mbj_bandgap": "na",
    }


def optimade_entry(name: str) -> dict[str, Any]:
    crystal = CRYSTALS[name]
    kinds = sorted({site.species_string for site in crystal})
    species = []
    for kind in kinds:
        parts = next(site.species for site in crystal if site.species_string == kind)
        symbols, shares = [part.symbol for part in parts], list(parts.values())
        if sum(shares) < 1:
            symbols, shares = [*symbols, "vacancy"], [*shares, 1 - sum(shares)]
        species.append({"name": kind, "chemical_symbols": symbols, "concentration": shares})
    return {
        "id": f"x/{name}",
        "type": "structures",
        "attributes": {
            "lattice_vectors": crystal.lattice.matrix.tolist(),
            "cartesian_site_positions": crystal.cart_coords.tolist(),
            "species_at_sites": [site.species_string for site in crystal],
            "species": species,
            "dimension_types": [1, 1, 1],
            "nsites": len(crystal),
            "_alexandria_formation_energy_per_atom": ENERGIES[name],
            "_alexandria_band_gap": GAPS[name],
        },
    }


def write_json(path: Path, content: object) -> Path:
    """JSON, packed as the name says."""
    path.write_bytes(PACK[path.suffix if path.suffix in PACK else ""](json.dumps(content).encode()))
    return path


def write_lines(path: Path, records: list[Any]) -> Path:
    text = "".join(json.dumps(record) + "\n" for record in records)
    path.write_bytes(PACK[path.suffix if path.suffix in PACK else ""](text.encode()))
    return path


def write_table(path: Path, names: list[str], **columns: object) -> Path:
    """A table with the columns of xxact_core/data/materials_project.parquet; further or other columns as given."""
    frame = {
        "id": names,
        **{
            axis: [CRYSTALS[name].lattice.parameters[index] for name in names]
            for index, axis in enumerate(("a", "b", "c", "alpha", "beta", "gamma"))
        },
        "species": [[part.symbol for site in CRYSTALS[name] for part in site.species] for name in names],
        "frac_coords": [
            [number for site in CRYSTALS[name] for _ in site.species for number in site.frac_coords.tolist()]
            for name in names
        ],
        "occupancies": [[share for site in CRYSTALS[name] for share in site.species.values()] for name in names],
        "formation_energy_per_atom": [ENERGIES[name] for name in names],
        "band_gap": [GAPS[name] for name in names],
        **columns,
    }
    pd.DataFrame(frame).to_parquet(path)
    return path


def cif_text(name: str) -> str:
    return CRYSTALS[name].to(fmt="cif")


def write_archive(path: Path, members: Mapping[str, bytes]) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for member, content in members.items():
                archive.writestr(member, content)
        return path
    packing = path.suffix.removeprefix(".") if path.suffix != ".tar" else ""
    with tarfile.open(path, f"w:{packing}") as archive:
        for member, content in members.items():
            entry = tarfile.TarInfo(member)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path
