"""`xxact dataset label`: energies of a teacher, and reference energies of the elements from training labels alone."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.core.dataset.teacher_stub import StubTeacher, energy_of, write_structure_rows
from xxact_core.commands.main import app
from xxact_core.dataset.building.build import build_dataset
from xxact_core.dataset.building.element_references import FEWEST_LABELS
from xxact_core.dataset.building.energy_table import EnergyTable, read_energy_table, write_energy_table
from xxact_core.dataset.building.plan import BuildPlan
from xxact_core.dataset.building.teacher_labels import CONTRADICTED, ERRORS, JOURNAL, label_structures
from xxact_core.dataset.splits import formula_to_split
from xxact_core.dataset.table import read_dataset
from xxact_core.errors import DatasetError
from xxact_core.quantities import ENERGY_KINDS, FORMATION_ENERGY
from xxact_core.structures.compact_tables import write_columns
from xxact_core.structures.prototype_tables import write_prototype_table
from xxact_core.structures.structure import Structure

ENERGY = FORMATION_ENERGY.name
REFERENCES = {"Na": -0.4, "Cl": -0.7, "K": -0.9}


def chloride(sodium: int, potassium: int, chlorine: int, *, edge: float = 0.0) -> Structure:
    """Atoms in a row, of as many elements as are given."""
    numbers = np.array([11] * sodium + [19] * potassium + [17] * chlorine)
    coords = np.array([[place / len(numbers), 0.3 * (place % 2), 0.1 * (place % 3)] for place in range(len(numbers))])
    cell = np.array([3.2 * len(numbers) + edge, 5, 5, 90, 90, 90])
    return Structure(f"s-{sodium}-{potassium}-{chlorine}-{edge:g}", cell, numbers, coords, np.ones(len(numbers)))


def formation_energy(structure: Structure) -> float:
    """What the stub's energies give with `REFERENCES`."""
    symbols = {11: "Na", 17: "Cl", 19: "K"}
    return energy_of(structure) - float(np.mean([REFERENCES[symbols[n]] for n in structure.atomic_numbers]))


def labelled(structure: Structure, *, by: float = 0.0, kind: str = "unique") -> Structure:
    return replace(structure, targets={ENERGY: formation_energy(structure) + by}, energy_kind=kind)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Labelled structures, one of which has an absurd label, and polymorphs without a label."""
    rows = [
        labelled(chloride(sodium, potassium, chlorine))
        for sodium in range(5)
        for potassium in range(5)
        for chlorine in range(1, 6)
        if sodium + potassium
    ]
    rows[7] = labelled(rows[7], by=2.0, kind="megnet2018")
    rows += [chloride(1, 1, 3, edge=0.5), chloride(4, 3, 5, edge=0.5), chloride(3, 1, 2, edge=0.4)]
    return write_structure_rows(tmp_path / "source.parquet", rows)


def rows_of(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.reader(file))[1:]


def test_reference_energies_come_from_training_labels_alone(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "energies.parquet"
    counts = label_structures(source, out, StubTeacher())
    table = read_energy_table(out)
    assert table.teacher == "stub 1"
    assert counts.elements == 3
    for symbol, energy in REFERENCES.items():
        assert table.references[symbol] == pytest.approx(energy, abs=0.01)
    changed = tmp_path / "changed.parquet"  # labels of validation and test formulas are not looked at
    rows = [labelled(chloride(s, k, c)) for s in range(5) for k in range(5) for c in range(1, 6) if s + k]
    rows = [one if formula_to_split(one.reduced_formula, seed=0) == "train" else labelled(one, by=0.3) for one in rows]
    label_structures(write_structure_rows(changed, rows), tmp_path / "again.parquet", StubTeacher())
    again = read_energy_table(tmp_path / "again.parquet")
    assert again.references == pytest.approx(REFERENCES, abs=0.001)


def test_failures_nonsense_and_contradicted_labels_are_listed(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "energies.parquet"
    counts = label_structures(source, out, StubTeacher(failing=["s-1-1-3-0.5"], nonsense=["s-4-3-5-0.5"]))
    failures = dict(rows_of(out.with_name(out.name + ERRORS)))
    assert failures.keys() == {"s-1-1-3-0.5", "s-4-3-5-0.5"}
    assert failures["s-1-1-3-0.5"] == "it is broken"
    assert counts.failed == 2
    [[identity, _, label, energy]] = rows_of(out.with_name(out.name + CONTRADICTED))
    assert float(label) - float(energy) == pytest.approx(2.0, abs=0.02)
    assert counts.contradicted == 1
    assert not failures.keys() & read_energy_table(out).energies.keys()
    assert identity in read_energy_table(out).energies


def test_interrupted_run_continues_and_asks_for_nothing_twice(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "energies.parquet"
    first = StubTeacher()
    with pytest.raises(KeyboardInterrupt):
        label_structures(source, out, first, progress=_interrupt)
    journal = out.with_name(out.name + JOURNAL)
    with journal.open("a", encoding="utf-8") as file:
        file.write("s-9-9,-0.1")  # cut off
    second = StubTeacher()
    label_structures(source, out, second)
    assert first.asked
    assert second.asked
    assert not set(first.asked) & set(second.asked)
    whole = tmp_path / "whole.parquet"
    label_structures(source, whole, StubTeacher())
    assert read_energy_table(out) == read_energy_table(whole)


def _interrupt(_done: int) -> None:
    raise KeyboardInterrupt


def test_journal_of_another_teacher_is_refused(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "energies.parquet"
    label_structures(source, out, StubTeacher())
    other = StubTeacher()
    other.name = "stub 2"
    with pytest.raises(DatasetError, match="another run"):
        label_structures(source, out, other)


def test_id_that_occurs_twice_is_computed_once(source: Path, tmp_path: Path) -> None:
    folder = tmp_path / "twice"
    folder.mkdir()
    for name in ("one", "two"):
        (folder / f"{name}.parquet").write_bytes(source.read_bytes())
    teacher = StubTeacher()
    label_structures(folder, tmp_path / "energies.parquet", teacher)
    assert len(teacher.asked) == len(set(teacher.asked))


def test_source_without_labels_is_refused_with_the_reason(tmp_path: Path) -> None:
    source = write_structure_rows(tmp_path / "few.parquet", [chloride(1, 0, 1), chloride(0, 1, 1)])
    with pytest.raises(DatasetError, match="0 of them a label of a training formula"):
        label_structures(source, tmp_path / "energies.parquet", StubTeacher())
    assert FEWEST_LABELS > 2


def test_build_takes_the_teacher_where_a_label_is_missing_or_contradicted(source: Path, tmp_path: Path) -> None:
    energies = tmp_path / "energies.parquet"
    label_structures(source, energies, StubTeacher())
    build_dataset(BuildPlan(source=str(source), energies=str(energies)), tmp_path / "set", workers=1, progress=False)
    table = read_dataset(tmp_path / "set")
    kinds = dict(zip(table.id, (ENERGY_KINDS[kind] for kind in table.energy_kind), strict=True))
    values = dict(zip(table.id, table.targets[ENERGY].tolist(), strict=True))
    assert {kinds[name] for name in ("s-1-1-3-0.5", "s-4-3-5-0.5", "s-3-1-2-0.4")} == {"teacher"}
    absurd = [name for name, kind in kinds.items() if kind == "teacher" and name.endswith("-0")]
    assert len(absurd) == 1
    [note] = [text for name, text in rows_of(tmp_path / "set" / "notes.csv") if "left out" in text]
    assert "stub 1" in note
    for row, name in enumerate(table.id):
        numbers = [int(part) for part in name.split("-")[1:4]]
        structure = chloride(*numbers, edge=float(name.split("-")[4]))
        assert values[name] == pytest.approx(formation_energy(structure), abs=0.02), name
        assert table.split[row] == ("train", "validation", "test").index(
            formula_to_split(structure.reduced_formula, seed=0)
        )


def test_energies_of_another_split_are_refused(source: Path, tmp_path: Path) -> None:
    path = tmp_path / "energies.parquet"
    write_energy_table(path, EnergyTable("stub 1", {"Na": -1.0}, 3, {"s": -1.0}))
    plan = BuildPlan(source=str(source), energies=str(path))
    with pytest.raises(DatasetError, match="--seed 3"):
        build_dataset(plan, tmp_path / "set", workers=1, progress=False)


def test_file_that_is_no_table_of_energies_is_refused(source: Path) -> None:
    with pytest.raises(DatasetError, match="not a table of energies"):
        read_energy_table(source)


def test_table_of_energies_that_changes_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "energies.parquet"
    for energy in (-1.0, -2.5):
        energies = {"a": energy}
        write_energy_table(path, EnergyTable(teacher="stub", references={"Na": 0.0}, split_seed=0, energies=energies))
        assert read_energy_table(path).energies == energies
        assert read_energy_table(path) is read_energy_table(path)
    path.unlink()
    with pytest.raises(DatasetError, match="cannot be read: No such file"):
        read_energy_table(path)


def test_unknown_teacher_and_missing_library_are_told(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["dataset", "label", str(source), str(tmp_path / "out.parquet"), "--labelled", str(source)]
    result = CliRunner().invoke(app, [*command, "--teacher", "oracle"])
    assert "not a teacher" in str(result.exception)
    monkeypatch.setattr("xxact_core.teachers.find_spec", lambda _name: None)
    result = CliRunner().invoke(app, command)
    assert result.exception is not None
    assert result.exception.code == "E_TEACHER"
    assert "xxact[teacher]" in str(result.exception)


def test_command_writes_a_table(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xxact_core.teachers.open_teacher", lambda _name: StubTeacher())
    out = tmp_path / "out.parquet"
    command = ["dataset", "label", str(source), str(out), "--labelled", str(source)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert "1 labels are contradicted" in result.output
    assert "exists already" in str(CliRunner().invoke(app, command).exception)


def test_a_table_that_cannot_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_table: object, path: Path, **_settings: object) -> None:
        path.write_bytes(b"PAR1")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pyarrow.parquet.write_table", full)
    with pytest.raises(OSError, match="No space left"):
        write_energy_table(tmp_path / "energies.parquet", EnergyTable("stub", REFERENCES, 0, {"a": -1.0}))
    with pytest.raises(OSError, match="No space left"):
        write_columns(tmp_path / "table.parquet", {"number": [1]}, metadata={}, rows=1, encodings={})
    with pytest.raises(OSError, match="No space left"):
        write_prototype_table(tmp_path / "prototypes.parquet", [], {})
    assert not list(tmp_path.iterdir())
