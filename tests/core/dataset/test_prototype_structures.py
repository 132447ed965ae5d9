"""`xxact dataset prototypes`: several structure types a formula, at equilibrium, read back as they were made."""

from __future__ import annotations

import csv
import hashlib
from collections import defaultdict
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from tests.core.dataset.teacher_stub import StubTeacher, equilibrium_volume, lowest_energy
from xxact_core.commands.main import app
from xxact_core.compositions.element_table import SYMBOLS
from xxact_core.dataset.building.build import build_dataset
from xxact_core.dataset.building.energy_table import EnergyTable, write_energy_table
from xxact_core.dataset.building.plan import BuildPlan
from xxact_core.dataset.building.prototype_selection import (
    FEWEST_TYPES,
    MOST_TYPES,
    Prototypes,
    read_prototypes,
    sample_candidates,
)
from xxact_core.dataset.building.prototype_structures import (
    ERRORS,
    JOURNAL,
    build_prototype_table,
    candidate_structure,
    nearest_contact,
)
from xxact_core.dataset.splits import formula_to_split
from xxact_core.dataset.table import read_dataset
from xxact_core.errors import DatasetError
from xxact_core.quantities import ENERGY_KINDS, FORMATION_ENERGY
from xxact_core.shipped import REFERENCE_TABLE, shipped_path
from xxact_core.simulation.lattice import cell_volume
from xxact_core.simulation.symmetry import find_symmetry
from xxact_core.structures import prototype_tables
from xxact_core.structures.prototype_tables import METADATA
from xxact_core.structures.structure import Structure
from xxact_core.structures.tables import read_table

STUB_ENERGIES = EnergyTable("stub 1", dict.fromkeys(SYMBOLS, -1.0), 0, {})


@pytest.fixture(scope="module")
def prototypes() -> Prototypes:
    return read_prototypes(shipped_path(REFERENCE_TABLE), most_atoms=4)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, int]]:
    out = tmp_path_factory.mktemp("prototypes") / "table.parquet"
    return out, build_prototype_table(out, StubTeacher(), STUB_ENERGIES, structures=120, most_atoms=4)


def structures_of(path: Path) -> list[Structure]:
    rows = list(read_table(path))
    assert all(isinstance(row, Structure) for row in rows)
    return [row for row in rows if isinstance(row, Structure)]


def test_formulas_are_for_training_and_have_several_structure_types(prototypes: Prototypes) -> None:
    seen: set[str] = set()
    for number, group in enumerate(sample_candidates(prototypes, seed=3, split_seed=0)):
        [formula] = {candidate.formula for candidate in group}
        assert formula not in seen
        seen.add(formula)
        assert formula_to_split(formula, seed=0) == "train"
        places = np.searchsorted(prototypes.row, [candidate.row for candidate in group])
        types = prototypes.type_of[places].tolist()
        assert FEWEST_TYPES <= len(set(types)) == len(types) <= MOST_TYPES
        assert not {(formula, kind) for kind in types} & prototypes.known
        for candidate in group:
            assert candidate_structure(prototypes, candidate).reduced_formula == formula
        if number == 40:
            break


def test_all_crystal_systems_occur_and_none_prevails(prototypes: Prototypes) -> None:
    counts = np.zeros(7)
    for number, group in enumerate(sample_candidates(prototypes, seed=0, split_seed=0)):
        places = np.searchsorted(prototypes.row, [candidate.row for candidate in group])
        counts += np.bincount(prototypes.system[places], minlength=7)
        if number == 150:
            break
    assert (counts[1:] > 0.03 * counts.sum()).all()
    assert counts.max() < 0.4 * counts.sum()


def test_longer_draw_begins_with_the_shorter_one(prototypes: Prototypes) -> None:
    draws = [sample_candidates(prototypes, seed=5, split_seed=0) for _ in range(2)]
    first = [next(draws[0]) for _ in range(3)]
    assert [next(draws[1]) for _ in range(6)][:3] == first


def test_table_gives_back_structures_at_equilibrium_with_their_energies(made: tuple[Path, dict[str, int]]) -> None:
    path, counts = made
    structures = structures_of(path)
    assert len(structures) == counts["structures"] > 50
    of_formula = defaultdict(list)
    for structure in structures:
        of_formula[structure.reduced_formula].append(structure)
        assert structure.energy_kind == "teacher"
        volume = float(cell_volume(structure.cell))
        assert volume == pytest.approx(equilibrium_volume(structure), rel=0.021)
        energy = structure.targets[FORMATION_ENERGY.name]
        assert energy == pytest.approx(lowest_energy(structure) + 1.0, abs=0.003)
    assert len(of_formula) == counts["formulas"]
    assert min(map(len, of_formula.values())) >= 2


def test_symmetry_is_that_of_the_prototype(made: tuple[Path, dict[str, int]], prototypes: Prototypes) -> None:
    rows = pq.read_table(made[0])["prototype"].to_pylist()
    for structure, row in list(zip(structures_of(made[0]), rows, strict=True))[::9]:
        assert find_symmetry(structure).space_group == prototypes.units.space_group[row]


def test_all_candidates_are_rows_or_listed(made: tuple[Path, dict[str, int]]) -> None:
    path, counts = made
    with path.with_name(path.name + ERRORS).open(encoding="utf-8") as file:
        errors = list(csv.DictReader(file))
    assert counts["candidates"] == 120 == counts["structures"] + len(errors)
    assert all(row["reason"] for row in errors)


def test_interrupted_run_gives_the_same_table(made: tuple[Path, dict[str, int]], tmp_path: Path) -> None:
    out = tmp_path / "table.parquet"

    def interrupt(_done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_prototype_table(out, StubTeacher(), STUB_ENERGIES, structures=120, most_atoms=4, progress=interrupt)
    with out.with_name(out.name + JOURNAL).open("a", encoding="utf-8") as file:
        file.write("Na1Cl1,12")  # cut off
    build_prototype_table(out, StubTeacher(), STUB_ENERGIES, structures=120, most_atoms=4)
    assert out.read_bytes() == made[0].read_bytes()
    with pytest.raises(DatasetError, match="seed"):
        build_prototype_table(out, StubTeacher(), STUB_ENERGIES, structures=120, most_atoms=4, seed=1)


def test_build_reads_the_table(made: tuple[Path, dict[str, int]], tmp_path: Path) -> None:
    plan = BuildPlan(source=str(made[0]), limit=30)
    assert build_dataset(plan, tmp_path / "set", workers=1, progress=False)["materials"] == 30
    table = read_dataset(tmp_path / "set")
    assert set(table.energy_kind) == {ENERGY_KINDS.index("teacher")}
    assert set(table.split) == {0}


def test_table_of_another_reference_table_is_refused(made: tuple[Path, dict[str, int]], tmp_path: Path) -> None:
    table = pq.read_table(made[0])
    metadata = {METADATA: table.schema.metadata[METADATA.encode()].replace(b'"reference": "', b'"reference": "0')}
    pq.write_table(table.replace_schema_metadata(metadata), tmp_path / "other.parquet")
    with pytest.raises(DatasetError, match="another reference table"):
        list(read_table(tmp_path / "other.parquet"))
    pq.write_table(table.replace_schema_metadata({}), tmp_path / "none.parquet")
    with pytest.raises(DatasetError, match="does not state its reference table"):
        list(read_table(tmp_path / "none.parquet"))


def test_energies_of_another_teacher_are_refused(tmp_path: Path) -> None:
    other = EnergyTable("stub 2", {"Na": -1.0}, 0, {})
    with pytest.raises(DatasetError, match="stub 2"):
        build_prototype_table(tmp_path / "table.parquet", StubTeacher(), other, structures=5)


def test_contact_counts_images_of_the_same_atom() -> None:
    iron = Structure("Fe", np.array([2.0, 4, 4, 90, 90, 90]), np.array([26]), np.zeros((1, 3)), np.ones(1))
    assert nearest_contact(iron, np.full(118, 1.0)) == pytest.approx(1.0)


def test_command_writes_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xxact_core.teachers.open_teacher", lambda _name: StubTeacher())
    write_energy_table(tmp_path / "energies.parquet", STUB_ENERGIES)
    command = ["dataset", "prototypes", str(tmp_path / "out.parquet"), "--structures", "20", "--most-atoms", "2"]
    result = CliRunner().invoke(app, [*command, "--energies", str(tmp_path / "energies.parquet")])
    assert result.exit_code == 0, result.output
    assert structures_of(tmp_path / "out.parquet")


def test_reference_table_is_hashed_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[str] = []
    digest = hashlib.file_digest

    def counted(file: BinaryIO, name: str) -> object:
        hashed.append(file.name)
        return digest(file, name)

    monkeypatch.setattr(prototype_tables.hashlib, "file_digest", counted)
    table = tmp_path / "table.parquet"
    table.write_bytes(b"one")
    found = [prototype_tables.reference_digest(table) for _ in range(3)]
    assert set(found) == {hashlib.sha256(b"one").hexdigest()}
    assert len(hashed) == 1
    table.write_bytes(b"other")
    assert prototype_tables.reference_digest(table) == hashlib.sha256(b"other").hexdigest()
    assert len(hashed) == 2
