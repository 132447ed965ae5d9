"""The dataset: nothing is lost, nothing is mixed up, and what is quantised stays exact enough."""

from __future__ import annotations

import csv
import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr

from xxact_core.dataset.building.merge_split import merge_datasets, split_dataset
from xxact_core.dataset.inspection import count_training_polymorphs, describe_dataset, verify_dataset
from xxact_core.dataset.loading.sampler import TrainingOrder, blockwise_order, rows_in_order, shuffled_order
from xxact_core.dataset.opening import open_dataset
from xxact_core.dataset.splits import (
    SHARES,
    SPLITS,
    anonymous_formula,
    formula_to_split,
    prototype_splits,
    prototypes,
    with_split,
)
from xxact_core.dataset.store import INTENSITY_STEP, MANIFEST
from xxact_core.dataset.table import StickTable, count_compared_formulas, read_dataset
from xxact_core.errors import DatasetError
from xxact_core.json_digest import with_digest
from xxact_core.patterns.pattern import Sticks
from xxact_core.peak_profiles.reference import broaden_sticks
from xxact_core.quantities import CRYSTAL_SYSTEMS, ENERGY_KINDS, space_group_to_crystal_system
from xxact_core.simulation.diffraction import arrays_to_sticks
from xxact_core.simulation.symmetry import find_symmetry
from xxact_core.structures.structure import Structure
from xxact_core.structures.tables import read_table


@pytest.fixture(scope="module")
def structures(repository: Path) -> list[Structure]:
    return [*read_table(repository / "xxact_core" / "data" / "materials_project.parquet", start=0, stop=400)]


def test_every_structure_is_a_material_or_an_error(small_dataset: Path, small_table: StickTable) -> None:
    manifest = json.loads((small_dataset / "manifest.json").read_text())
    with (small_dataset / "errors.csv").open() as file:
        errors = list(csv.DictReader(file))
    assert len(small_table) + len(errors) == 400
    assert manifest["materials"] == len(small_table)


def test_sticks_come_back_as_they_were_simulated(small_table: StickTable, structures: list[Structure]) -> None:
    for row in range(0, 400, 23):
        structure = structures[row]
        assert small_table.id[row] == structure.id
        exact = arrays_to_sticks(
            cell=structure.cell, atomic_numbers=structure.atomic_numbers, frac_coords=structure.frac_coords
        )
        stored = small_table.sticks(row)
        np.testing.assert_allclose(stored.two_theta, exact.two_theta, atol=1e-5)
        np.testing.assert_allclose(stored.intensity, exact.intensity, atol=INTENSITY_STEP)
        assert (stored.intensity > 0).all()
        np.testing.assert_array_equal(stored.hkl, exact.hkl)


def test_what_is_rounded_away_costs_a_gridded_pattern_less_than_a_hundredth(
    small_table: StickTable, structures: list[Structure]
) -> None:
    for row in range(0, 400, 7):
        structure = structures[row]
        exact = arrays_to_sticks(
            cell=structure.cell, atomic_numbers=structure.atomic_numbers, frac_coords=structure.frac_coords
        )
        difference = broaden_sticks(small_table.sticks(row)).intensity - broaden_sticks(exact).intensity
        assert np.abs(difference).max() < 0.01


def test_equivalent_reflections_share_their_angle(small_table: StickTable) -> None:
    """Rotations of the Laue group lead to reflections of the same d, up to the tolerance symmetry was found with."""
    seen = 0
    for row in range(0, 400, 11):
        rotations = small_table.rotations[small_table.rotation_start[row] : small_table.rotation_start[row + 1]]
        assert (rotations == np.eye(3)).all(axis=(1, 2)).any()
        sticks = small_table.sticks(row)
        equivalent = Structure("s", small_table.cell[row], np.array([1]), np.zeros((1, 3)), np.ones(1))
        from xxact_core.simulation.lattice import cell_to_reciprocal_metric, hkl_to_two_theta

        metric = cell_to_reciprocal_metric(equivalent.cell)
        for rotation in rotations:
            angles = hkl_to_two_theta(sticks.hkl[:20] @ rotation, metric, wavelength=1.54184)
            np.testing.assert_allclose(angles, sticks.two_theta[:20], atol=0.3)
            seen += 1
    assert seen > 100


def test_further_targets_follow_from_the_structure(small_table: StickTable, structures: list[Structure]) -> None:
    from pymatgen.core import Lattice
    from pymatgen.core import Structure as PymatgenStructure

    from xxact_core.compositions.element_table import SYMBOLS

    for row in range(0, 400, 41):
        structure = structures[row]
        species = [SYMBOLS[number - 1] for number in structure.atomic_numbers]
        crystal = PymatgenStructure(Lattice.from_parameters(*structure.cell), species, structure.frac_coords)
        assert small_table.targets["density"][row] == pytest.approx(crystal.density, rel=2e-3)
        assert small_table.targets["volume_per_atom"][row] == pytest.approx(crystal.volume / len(crystal), rel=1e-5)
        conventional = find_symmetry(structure).conventional_cell
        names = [f"lattice_{name}" for name in ("a", "b", "c", "alpha", "beta", "gamma")]
        assert [small_table.targets[name][row] for name in names] == pytest.approx(conventional.tolist(), rel=1e-6)
        if CRYSTAL_SYSTEMS[int(small_table.targets["crystal_system"][row])] == "cubic":
            assert conventional[:3] == pytest.approx(conventional[:1].repeat(3), rel=1e-6)


def test_shard_opens_in_xarray_and_h5py_with_units_and_attributes(small_dataset: Path) -> None:
    path = min(small_dataset.glob("*.h5"))
    with xr.open_dataset(path, engine="h5netcdf") as dataset:
        assert dataset.sizes["peak"] == int(dataset.peak_count.sum())
        assert dataset.sizes["element"] == int(dataset.element_count.sum())
        assert dataset.sizes["rotation"] == int(dataset.rotation_count.sum())
        assert dataset.peak_count.attrs["sample_dimension"] == "peak"
        assert dataset.formation_energy_per_atom.attrs["units"] == "eV/atom"
        assert dataset.attrs["wavelength"] == pytest.approx(1.54184)
        assert float(dataset.intensity.max()) == pytest.approx(100)
        assert str(dataset.id[0].item()) == "matbench_000000"
    with h5py.File(path) as file:
        assert file["hkl"].fletcher32
        assert file["hkl"].dtype == np.int8
        assert file["intensity"].dtype == np.uint16


def test_data_set_opens_lazily_as_one(small_dataset: Path, small_table: StickTable) -> None:
    dataset = open_dataset(small_dataset)
    assert all(variable.chunks for name, variable in dataset.variables.items() if name != "index")
    assert dataset.sizes["material"] == 400
    assert set(dataset.coords) == {"id", "formula", "split", "two_theta", "hkl", "index"}
    assert dataset.two_theta.attrs["units"] == "degree"
    assert dataset.band_gap.attrs["units"] == "eV"
    assert dataset.attrs["digest"] == small_table.digest
    row = 333
    first = int(dataset.peak_count[:row].sum())
    lines = dataset.isel(peak=slice(first, first + int(dataset.peak_count[row])))
    sticks = small_table.sticks(row)
    np.testing.assert_allclose(lines.two_theta, sticks.two_theta, atol=1e-9)
    np.testing.assert_allclose(lines.intensity, sticks.intensity, atol=1e-4)
    np.testing.assert_array_equal(lines.hkl.values.T, sticks.hkl)
    assert dataset.id.values.tolist() == small_table.id.tolist()


def test_labels_agree_with_one_another(small_table: StickTable) -> None:
    for group, system in zip(small_table.targets["space_group"], small_table.targets["crystal_system"], strict=True):
        assert space_group_to_crystal_system(int(group) + 1) == CRYSTAL_SYSTEMS[int(system)]


def test_fractions_of_each_material_sum_to_one(small_table: StickTable) -> None:
    totals = np.add.reduceat(small_table.fraction, small_table.element_start[:-1])
    np.testing.assert_allclose(totals, 1, atol=1e-6)


def test_no_formula_is_in_two_splits(small_table: StickTable) -> None:
    splits = dict.fromkeys(small_table.formula, frozenset())
    for formula, split in zip(small_table.formula, small_table.split, strict=True):
        splits[formula] |= {split}
    assert max(map(len, splits.values())) == 1
    assert sum(len(small_table.rows(name)) for name in ("train", "validation", "test")) == len(small_table)


def test_a_sample_of_a_split_is_spread_over_the_dataset(small_table: StickTable) -> None:
    """In a joined dataset the first rows are those of one source alone."""
    rows = small_table.rows("train")
    assert small_table.sample("train", len(rows) + 1).tolist() == rows.tolist()
    assert small_table.sample("train", 0).tolist() == []
    for count in (1, 7, len(rows) - 1):
        sample = small_table.sample("train", count)
        assert len(set(sample.tolist())) == count
        assert set(sample.tolist()) <= set(rows.tolist())
        gaps = np.diff(np.searchsorted(rows, [*sample, rows[-1] + 1]))
        assert gaps.max() - gaps.min() <= 1


def test_split_shares_are_as_stated_and_depend_on_the_seed() -> None:
    formulas = [f"Na{n}Cl{n + 1}" for n in range(4000)]
    splits = [formula_to_split(formula, seed=0) for formula in formulas]
    for name, share in zip(("train", "validation", "test"), SHARES, strict=True):
        assert splits.count(name) / len(splits) == pytest.approx(share, abs=0.02)
    assert splits != [formula_to_split(formula, seed=1) for formula in formulas]
    assert splits == [formula_to_split(formula, seed=0) for formula in formulas]


@pytest.mark.parametrize(
    ("formula", "anonymous"),
    [("Cl1Na1", "AB"), ("Al2Mg1O4", "AB2C4"), ("Fe1O2Si10", "AB2C10"), ("Fe0.123457O1", "A0.123457B"), ("Si1", "A")],
)
def test_anonymous_formula_keeps_the_amounts_only(formula: str, anonymous: str) -> None:
    assert anonymous_formula(formula) == anonymous


def test_no_prototype_is_in_two_splits(small_table: StickTable) -> None:
    table = with_split(small_table, by="prototype")
    sides: dict[str, set[int]] = {}
    for name, side in zip(prototypes(table), table.split, strict=True):
        sides.setdefault(name, set()).add(int(side))
    assert len(sides) < len(table)
    assert all(len(side) == 1 for side in sides.values())
    assert sum(len(table.rows(name)) for name in SPLITS) == len(table)


def test_prototype_shares_are_as_stated_and_depend_on_the_seed(small_table: StickTable) -> None:
    formulas = np.array([f"Na{n + 1}O{2 * n + 3}" for n in range(4000)], dtype=object)
    many = replace(
        small_table,
        id=formulas,
        formula=formulas,
        split=np.zeros(4000, dtype=np.int8),
        targets={"space_group": np.where(np.arange(4000) % 7 == 0, np.nan, np.arange(4000) % 230)},
    )
    splits = prototype_splits(many, seed=0)
    np.testing.assert_allclose(np.bincount(splits) / 4000, SHARES, atol=0.02)
    assert (splits == prototype_splits(many, seed=0)).all()
    assert (splits != prototype_splits(many, seed=1)).any()


def test_prototype_of_a_material_without_a_space_group_is_its_anonymous_formula(small_table: StickTable) -> None:
    unknown = replace(small_table, targets={"space_group": np.full(len(small_table), np.nan)})
    assert prototypes(unknown).tolist() == [anonymous_formula(formula) for formula in small_table.formula]


def test_split_by_formula_is_the_stored_one_and_another_name_is_refused(small_table: StickTable) -> None:
    assert with_split(small_table, by="formula") is small_table
    with pytest.raises(DatasetError, match="prototype"):
        with_split(small_table, by="colour")


@pytest.mark.parametrize("kept", [1, 8])
def test_sticks_from_disk_equal_those_in_memory_in_any_order(
    small_dataset: Path, small_table: StickTable, kept: int
) -> None:
    streamed = read_dataset(small_dataset, resident=False, kept=kept)
    rows = np.random.default_rng(0).permutation(400)[:150]
    for one, other in ((small_table.take_sticks(rows), streamed.take_sticks(rows)),):
        np.testing.assert_array_equal(one.count, other.count)
        np.testing.assert_array_equal(one.hkl, other.hkl)
        np.testing.assert_array_equal(one.intensity, other.intensity)
    assert not streamed.resident
    with pytest.raises(DatasetError, match="take_sticks"):
        _ = streamed.hkl


def test_damaged_shard_is_refused_before_it_is_used(small_dataset: Path, tmp_path: Path) -> None:
    copy = tmp_path / "dataset"
    shutil.copytree(small_dataset, copy)
    path = next(copy.glob("*.h5"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=path.name):
        read_dataset(copy)


@pytest.mark.parametrize("content", ["", "[]", "{", '{"schema": "xxact-dataset-1"}'])
def test_manifest_that_is_none_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(DatasetError, match=r"manifest\.json"):
        read_dataset(tmp_path)


@pytest.mark.parametrize("file", ["../other/shard-0.h5", "/etc/passwd"])
def test_a_manifest_that_names_files_elsewhere_is_refused(small_dataset: Path, tmp_path: Path, file: str) -> None:
    manifest = json.loads((small_dataset / MANIFEST).read_text())
    manifest["shards"][0]["file"] = file
    (tmp_path / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(DatasetError, match="not in its folder"):
        read_dataset(tmp_path)


def test_shard_that_changes_while_it_is_read_from_disk_is_refused(small_dataset: Path, tmp_path: Path) -> None:
    """It was verified, left the memory for others, and was then built again."""
    folder = tmp_path / "set"
    shutil.copytree(small_dataset, folder)
    table = read_dataset(folder, resident=False, kept=1)
    first, second = sorted(folder.glob("*.h5"))
    sticks = table.take_sticks(np.array([0]))
    table.take_sticks(np.array([len(table) - 1]))
    assert np.array_equal(table.take_sticks(np.array([0])).hkl, sticks.hkl)
    table.take_sticks(np.array([len(table) - 1]))
    second.replace(first)
    with pytest.raises(DatasetError, match=f"{first.name} is damaged: its SHA-256 differs"):
        table.take_sticks(np.array([0]))


def test_every_epoch_is_a_new_permutation_in_blocks_of_whole_shards() -> None:
    first_row = np.arange(0, 1001, 50)  # 20 shards of 50 rows
    rows = np.flatnonzero(np.random.default_rng(0).random(1000) < 0.8)
    order = blockwise_order(rows, first_row, batch_size=32, seed=5, block_rows=200)
    steps = len(rows) * 2 // 32
    drawn = np.concatenate([order.step(step) for step in range(steps + 1)])
    first_epoch, second_epoch = drawn[: len(rows)], drawn[len(rows) : 2 * len(rows)]
    assert sorted(first_epoch) == sorted(second_epoch) == rows.tolist()
    assert (first_epoch != second_epoch).mean() > 0.9
    again = blockwise_order(rows, first_row, batch_size=32, seed=5, block_rows=200)
    np.testing.assert_array_equal(again.step(17), order.step(17))
    assert (blockwise_order(rows, first_row, batch_size=32, seed=6, block_rows=200).step(0) != order.step(0)).any()
    for step in range(len(rows) // 32):
        assert len(np.unique(order.step(step) // 50)) <= 12, "a batch lies in two blocks of six shards at most"


def test_every_epoch_in_memory_is_a_permutation_of_the_rows() -> None:
    rows = np.arange(100, 137)
    order = shuffled_order(rows, batch_size=10, seed=4)
    drawn = np.concatenate([order.step(step) for step in range(37)]).reshape(10, 37)
    for epoch in drawn:
        assert sorted(epoch) == rows.tolist()
    assert not np.array_equal(drawn[0], drawn[1])


@pytest.mark.parametrize("in_blocks", [False, True])
def test_polymorphs_stand_side_by_side_and_every_epoch_still_holds_each_row_once(in_blocks: bool) -> None:
    random = np.random.default_rng(3)
    rows = np.flatnonzero(random.random(1000) < 0.8)
    groups = random.integers(0, 150, 1000)
    settings = {"batch_size": 50, "seed": 5, "groups": groups, "together": 4}

    def order() -> TrainingOrder:
        if in_blocks:
            return blockwise_order(rows, np.arange(0, 1001, 500), block_rows=400, **settings)
        return shuffled_order(rows, **settings)

    drawn = np.concatenate([order().step(step) for step in range(2 * len(rows) // 50 + 1)])
    first_epoch, second_epoch = drawn[: len(rows)], drawn[len(rows) : 2 * len(rows)]
    assert sorted(first_epoch) == sorted(second_epoch) == rows.tolist()
    assert (first_epoch != second_epoch).mean() > 0.9
    of_epoch = groups[first_epoch]
    lengths = np.diff(np.flatnonzero(np.concatenate([[True], of_epoch[1:] != of_epoch[:-1], [True]])))
    assert lengths.mean() > 2  # alone, rows of 150 groups would hardly ever follow each other
    assert (lengths == 4).sum() > (lengths > 4).sum()
    # The rows of a step depend on its number alone, so that a resumed run equals an uninterrupted one.
    np.testing.assert_array_equal(order().step(11), drawn[11 * 50 : 12 * 50])


def test_batch_larger_than_the_data_repeats_it() -> None:
    assert sorted(shuffled_order(np.arange(3), batch_size=7, seed=0).step(0)[:6]) == [0, 0, 1, 1, 2, 2]


def test_rows_in_order_holds_each_row_once() -> None:
    assert np.concatenate(list(rows_in_order(np.arange(10), batch_size=4))).tolist() == list(range(10))


def test_description_counts_what_is_there(small_dataset: Path, small_table: StickTable) -> None:
    description = describe_dataset(small_dataset)
    assert description["materials"] == len(small_table)
    assert description["splits"]["train"] == len(small_table.rows("train"))
    assert sum(description["crystal_systems"].values()) == len(small_table)
    assert description["labelled"]["band_gap"] == int(np.isfinite(small_table.targets["band_gap"]).sum())
    assert description["lines_per_material"] == pytest.approx(small_table.reflection_count.mean())
    assert description["made_with"]["spglib"]


def test_polymorphs_that_can_be_compared_are_counted(small_dataset: Path, small_table: StickTable) -> None:
    formula = np.array(["AB", "AB", "A", "A", "C", "C", "D", "D", "D"], dtype=object)
    energy = np.array([-1, -2, -1, np.nan, -1, -2, -1, -2, -3])
    kinds = ["unique", "stated", "unique", "unique", "unique", "teacher", "approximate", "approximate", "teacher"]
    assert count_compared_formulas(formula, energy, np.array([ENERGY_KINDS.index(kind) for kind in kinds])) == 1
    kinds[-2] = "teacher"
    assert count_compared_formulas(formula, energy, np.array([ENERGY_KINDS.index(kind) for kind in kinds])) == 2
    rows = small_table.rows("train")
    labelled = Counter(small_table.formula[rows[small_table.energy_is_exact[rows]]])
    assert count_training_polymorphs(small_dataset) == sum(count > 1 for count in labelled.values())


def test_parts_of_a_data_set_merge_to_the_same_materials(
    small_dataset: Path, small_table: StickTable, tmp_path: Path
) -> None:
    counts = split_dataset(small_dataset, tmp_path / "parts", by="crystal_system", shard_rows=30)
    assert sum(counts.values()) == len(small_table)
    merge_datasets([tmp_path / "parts" / name for name in counts if counts[name]], tmp_path / "merged")
    assert verify_dataset(tmp_path / "merged") == []
    merged = read_dataset(tmp_path / "merged")
    place = {name: row for row, name in enumerate(merged.id)}
    rows = np.array([place[name] for name in small_table.id])
    one, other = small_table.take_sticks(np.arange(400)), merged.take_sticks(rows)
    np.testing.assert_array_equal(one.hkl, other.hkl)
    np.testing.assert_array_equal(one.intensity, other.intensity)
    for name, values in small_table.targets.items():
        np.testing.assert_array_equal(values, merged.targets[name][rows])
    np.testing.assert_array_equal(small_table.cell, merged.cell[rows])
    assert (small_table.split == merged.split[rows]).all()


def test_data_sets_of_another_split_are_not_merged(small_dataset: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(small_dataset, other)
    manifest = json.loads((other / "manifest.json").read_text())
    manifest["plan"]["seed"] = 7
    (other / "manifest.json").write_text(json.dumps(with_digest(manifest)))
    with pytest.raises(DatasetError, match="seed"):
        merge_datasets([small_dataset, other], tmp_path / "merged")
    with pytest.raises(DatasetError, match="not empty"):
        merge_datasets([small_dataset], other)


def test_materials_that_are_alike_are_named(small_dataset: Path, small_table: StickTable) -> None:
    with (small_dataset / "duplicates.csv").open() as file:
        pairs = [(row["id"], row["alike"]) for row in csv.DictReader(file)]
    place = {name: row for row, name in enumerate(small_table.id)}
    assert pairs
    for name, alike in pairs:
        one, other = place[name], place[alike]
        assert other < one
        assert small_table.formula[one] == small_table.formula[other]
        assert small_table.targets["space_group"][one] == small_table.targets["space_group"][other]
        assert small_table.targets["lattice_a"][one] == pytest.approx(small_table.targets["lattice_a"][other], rel=0.02)


def test_sticks_need_no_symmetry(repository: Path, tmp_path: Path) -> None:
    from xxact_core.dataset.building.build import BuildPlan, build_dataset

    table = repository / "xxact_core" / "data" / "materials_project.parquet"
    build_dataset(BuildPlan(str(table), limit=20, symmetry=False), tmp_path, workers=1, progress=False)
    read = read_dataset(tmp_path)
    assert np.isnan(read.targets["space_group"]).all()
    assert np.isfinite(read.targets["density"]).all()
    assert (read.rotations == np.eye(3)).all()
    assert isinstance(read.sticks(3), Sticks)
