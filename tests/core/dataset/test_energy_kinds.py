"""Where a formation energy comes from stays with its material, from the structure table to the merged dataset."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from xxact_core.dataset.building.merge_split import merge_datasets, read_materials
from xxact_core.dataset.inspection import describe_dataset
from xxact_core.dataset.loading.concat import join_training_data
from xxact_core.dataset.store import read_energy_kind
from xxact_core.dataset.table import StickTable, read_dataset
from xxact_core.errors import DatasetError, StructureError
from xxact_core.quantities import ENERGY_KINDS, FORMATION_ENERGY
from xxact_core.structures.structure import Structure
from xxact_core.structures.tables import read_table

FIXTURES = Path(__file__).parents[2] / "fixtures"


def test_kinds_of_the_shipped_table_are_those_of_its_column(repository: Path, small_table: StickTable) -> None:
    rows = read_table(repository / "xxact_core" / "data" / "materials_project.parquet", start=0, stop=400)
    kinds = [row.energy_kind for row in rows if isinstance(row, Structure)]
    assert [ENERGY_KINDS[kind] for kind in small_table.energy_kind] == kinds
    assert {"none", "unique", "approximate"} <= set(kinds)
    known = ~np.isnan(small_table.targets[FORMATION_ENERGY.name])
    np.testing.assert_array_equal(known, small_table.energy_kind != ENERGY_KINDS.index("none"))
    np.testing.assert_array_equal(small_table.energy_is_exact, [kind in {"unique", "megnet2018"} for kind in kinds])


def test_info_counts_the_kinds(small_dataset: Path, small_table: StickTable) -> None:
    counts = Counter(ENERGY_KINDS[kind] for kind in small_table.energy_kind)
    assert describe_dataset(small_dataset)["formation_energies"] == dict(counts)


def test_kinds_survive_merging_and_joining(small_dataset: Path, small_table: StickTable, tmp_path: Path) -> None:
    merge_datasets([small_dataset, small_dataset], tmp_path / "merged")
    np.testing.assert_array_equal(read_dataset(tmp_path / "merged").energy_kind, np.tile(small_table.energy_kind, 2))
    teacher = replace(small_table, energy_kind=np.full(len(small_table), ENERGY_KINDS.index("teacher"), dtype=np.int8))
    joined = join_training_data(small_table, [teacher])
    np.testing.assert_array_equal(joined.energy_kind, [*small_table.energy_kind, *teacher.energy_kind])
    assert not joined.energy_is_exact[len(small_table) :].any()


def test_shards_of_0_1_0_are_stated_or_approximate() -> None:
    path = next((FIXTURES / "v0_1_0" / "dataset").glob("shard-*.h5"))
    with h5py.File(path) as file:
        assert "energy_kind" not in file
        exact, known = file["energy_is_exact"][...] == 1, ~np.isnan(file[FORMATION_ENERGY.name][...])
    kinds = [material.energy_kind for material in read_materials(path)[0]]
    assert kinds == [
        ("stated" if one else "approximate") if there else "none" for one, there in zip(exact, known, strict=True)
    ]


def test_kinds_of_another_version_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "shard.h5", "w") as file:
        file["energy_kind"] = np.zeros(3, dtype=np.int8)
        file["energy_kind"].attrs["flag_meanings"] = "none guessed"
        with pytest.raises(DatasetError, match="'guessed'"):
            read_energy_kind(file)


def test_structure_with_an_unknown_kind_is_refused() -> None:
    with pytest.raises(StructureError, match="guessed"):
        Structure(
            "x", np.array([3, 3, 3, 90, 90, 90]), np.array([11]), np.zeros((1, 3)), np.ones(1), energy_kind="guessed"
        )


def test_polymorphs_share_the_group_of_their_formula(small_table: StickTable) -> None:
    groups = small_table.formula_group
    assert groups.dtype == np.int64
    for row in range(0, len(small_table), 37):
        same = np.asarray(small_table.formula == small_table.formula[row])
        np.testing.assert_array_equal(groups == groups[row], same)
