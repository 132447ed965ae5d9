"""The paper's setting: several polymorphs of each formula, one label for all, and DFT labels of the same materials."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from xxact_core.dataset.building.energy_table import EnergyTable
from xxact_core.dataset.splits import formula_to_split
from xxact_core.dataset.table import StickTable, read_dataset
from xxact_core.errors import DatasetError
from xxact_core.paper.data import write_paper_data
from xxact_core.paper.runs import read_materials, write_materials
from xxact_core.quantities import ENERGY_KINDS


@pytest.fixture(scope="module")
def energies(small_table: StickTable) -> EnergyTable:
    """A teacher that gives each material the energy of its number, and every second one none."""
    return EnergyTable(
        teacher="counting",
        references=dict.fromkeys(small_table.elements("train") + small_table.elements("test"), 0.0),
        split_seed=0,
        energies={str(name): -number / 100 for number, name in enumerate(small_table.id) if number % 2},
    )


@pytest.fixture(scope="module")
def made(small_dataset: Path, energies: EnergyTable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("paper-data")
    write_paper_data([small_dataset, small_dataset], folder, energies, seed=3)
    return folder


def test_formulas_have_several_materials_with_an_energy_of_the_teacher(
    made: Path, small_table: StickTable, energies: EnergyTable
) -> None:
    table = read_dataset(made / "teacher")
    _, counts = np.unique(table.formula.astype(str), return_counts=True)
    assert counts.min() >= 2
    labelled = np.isin(small_table.id, list(energies.energies))
    formulas, counts = np.unique(small_table.formula[labelled].astype(str), return_counts=True)
    expected = small_table.id[labelled & np.isin(small_table.formula.astype(str), formulas[counts > 1])]
    assert sorted(table.id) == sorted(expected), "each once, although both datasets have it"
    assert len(table) > 5
    for name, energy in zip(table.id, table.targets["formation_energy_per_atom"], strict=True):
        assert energy == pytest.approx(energies.energies[name], abs=1e-5)
    assert table.energy_is_exact.all(), "models are judged by them"
    for formula, split in zip(table.formula, table.split, strict=True):
        assert ("train", "validation", "test")[split] == formula_to_split(formula, seed=3)


def test_second_dataset_has_dft_labels_of_the_same_materials(made: Path, small_table: StickTable) -> None:
    teacher, dft = read_dataset(made / "teacher"), read_dataset(made / "dft")
    assert set(dft.id) <= set(teacher.id)
    place = {name: number for number, name in enumerate(small_table.id)}
    rows = [place[name] for name in dft.id]
    exact = small_table.energy_is_exact[rows]
    before = small_table.targets["formation_energy_per_atom"][rows]
    np.testing.assert_array_equal(dft.targets["formation_energy_per_atom"][exact], before[exact])
    assert np.isnan(dft.targets["formation_energy_per_atom"][~exact]).all()
    assert {ENERGY_KINDS[kind] for kind in dft.energy_kind[~exact]} <= {"none"}
    np.testing.assert_array_equal(dft.targets["band_gap"], small_table.targets["band_gap"][rows])
    splits = dict(zip(teacher.id, teacher.split, strict=True))
    assert [splits[name] for name in dft.id] == dft.split.tolist()
    for row, name in enumerate(dft.id):
        np.testing.assert_allclose(dft.sticks(row).two_theta, small_table.sticks(place[name]).two_theta)


def test_number_of_materials_is_not_exceeded_and_the_origin_is_stated(
    small_dataset: Path, energies: EnergyTable, made: Path, tmp_path: Path
) -> None:
    everything = len(read_dataset(made / "teacher", resident=False))
    counts = write_paper_data([small_dataset], tmp_path, energies, materials=everything // 2, seed=3)
    assert 0 < counts["teacher"] <= everything // 2
    plan = json.loads((tmp_path / "teacher" / "manifest.json").read_text())["plan"]
    assert (plan["seed"], plan["energies"], plan["labels"]) == (3, "counting", "teacher")
    with pytest.raises(DatasetError, match="not empty"):
        write_paper_data([small_dataset], tmp_path, energies)


def test_teacher_without_energies_is_refused(small_dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no formula"):
        write_paper_data([small_dataset], tmp_path, EnergyTable("silent", {}, 0, {}))


def test_test_materials_have_their_formulas_and_dft_energies(made: Path, tmp_path: Path) -> None:
    write_materials(made / "teacher", tmp_path, dft=made / "dft")
    table, dft, found = read_dataset(made / "teacher"), read_dataset(made / "dft"), read_materials(tmp_path)
    assert found is not None
    rows = table.rows("test")
    assert found.formula == dict(zip(table.id[rows], table.formula[rows], strict=True))
    known = dict(zip(dft.id, dft.targets["formation_energy_per_atom"], strict=True))
    assert found.dft == pytest.approx(
        {name: known[name] for name in found.formula if name in known and not np.isnan(known[name])}
    )
