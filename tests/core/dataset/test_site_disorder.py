"""Disordered structures: what they keep of their parents, what changes, and which formulas they must never have."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from typer.testing import CliRunner

from xxact_core.commands.main import app
from xxact_core.compositions.element_table import ATOMIC_NUMBERS
from xxact_core.dataset.building import site_disorder
from xxact_core.dataset.building.build import BuildPlan, build_dataset
from xxact_core.dataset.building.measured_cells import write_measured_structures
from xxact_core.dataset.building.merge_split import merge_datasets, split_dataset
from xxact_core.dataset.building.site_disorder import (
    CALCULATED_SCALE,
    MIXING_ELEMENTS,
    exchange_sites,
    mix_sites,
    parent_weight,
    partners,
    sample_disorder,
    with_vegard_volume,
    write_disordered_structures,
)
from xxact_core.dataset.building.structure_rows import read_structures, write_structures
from xxact_core.dataset.splits import formula_to_split
from xxact_core.dataset.table import read_dataset
from xxact_core.errors import DatasetError, StructureError
from xxact_core.shipped import REFERENCE_TABLE, shipped_path
from xxact_core.simulation.lattice import cell_volume
from xxact_core.simulation.symmetry import find_symmetry
from xxact_core.structures.structure import Structure

MG, AL, OXYGEN, FE, MN = (ATOMIC_NUMBERS[symbol] for symbol in ("Mg", "Al", "O", "Fe", "Mn"))


def spinel() -> Structure:
    """MgAl2O4 in its primitive cell."""
    u = 0.2625
    oxygen = [(u, u, u), (u, u, 0.5 - 3 * u), (u, 0.5 - 3 * u, u), (0.5 - 3 * u, u, u)]
    places = [(0, 0, 0), (0.25, 0.25, 0.25)]  # origin 2 with the tetrahedral sites at 1/8: inverted and shifted by 1/8
    octahedral = [(5 / 8, 5 / 8, 5 / 8), (5 / 8, 5 / 8, 1 / 8), (5 / 8, 1 / 8, 5 / 8), (1 / 8, 5 / 8, 5 / 8)]
    shifted = [1 / 8 - np.array(place) for place in oxygen]
    coords = [*places, *octahedral, *shifted, *(0.25 - place for place in shifted)]
    return Structure(
        id="spinel",
        cell=np.array([8.08 / 2**0.5] * 3 + [60.0] * 3),
        atomic_numbers=np.array([MG] * 2 + [AL] * 4 + [OXYGEN] * 8),
        frac_coords=np.array(coords),
        occupancies=np.ones(14),
        targets={"band_gap": 7.0},
        energy_kind="unique",
        cell_is_measured=True,
    )


def site_sums(structure: Structure) -> np.ndarray:
    sites, site_of = np.unique(np.round(structure.frac_coords, 6), axis=0, return_inverse=True)
    return np.bincount(site_of.ravel(), weights=structure.occupancies, minlength=len(sites))


def small_reference(folder: Path, rows: slice) -> Path:
    """Some rows of the shipped reference table, with its metadata; measured ones first."""
    table = parquet.read_table(shipped_path(REFERENCE_TABLE))
    flags = np.asarray(table["flags"])
    table = table.take(np.argsort(-flags.astype(int), kind="stable"))
    path = folder / "reference.parquet"
    parquet.write_table(table.slice(rows.start, rows.stop - rows.start), path)
    return path


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_reference(tmp_path_factory.mktemp("source"), slice(5_900, 7_000))


def test_groups_name_elements_once_and_partners_are_mutual() -> None:
    for group in MIXING_ELEMENTS:
        assert len(set(group)) == len(group) > 1
        assert set(group) <= set(ATOMIC_NUMBERS)
    for number in range(1, 119):
        assert number not in partners(number)
        assert all(number in partners(other) for other in partners(number))
    assert set(partners(MG)) >= {FE, MN}
    assert not set(partners(OXYGEN))


def test_a_mixed_site_is_full_and_keeps_the_symmetry_of_the_parent() -> None:
    parent = spinel()
    assert find_symmetry(parent).space_group == 227
    mixed = mix_sites(parent, MG, FE, fraction=0.35)
    np.testing.assert_allclose(site_sums(mixed), 1)
    assert find_symmetry(mixed).space_group == 227
    assert mixed.reduced_formula == "Al40Fe7Mg13O80"
    twice = mix_sites(mixed, AL, ATOMIC_NUMBERS["Cr"], fraction=0.5)
    np.testing.assert_allclose(site_sums(twice), 1)
    assert find_symmetry(twice).space_group == 227


def test_exchanged_sites_keep_formula_occupancies_and_symmetry() -> None:
    parent = spinel()
    exchanged = exchange_sites(parent, MG, AL, fraction=0.3)
    np.testing.assert_allclose(site_sums(exchanged), 1)
    assert exchanged.reduced_formula == parent.reduced_formula
    assert find_symmetry(exchanged).space_group == 227
    on_tetrahedral = exchanged.occupancies[(exchanged.atomic_numbers == AL) & (exchanged.frac_coords == 0).all(axis=1)]
    np.testing.assert_allclose(on_tetrahedral, 0.3)


def test_volume_is_linear_in_composition() -> None:
    volumes = np.full(118, np.nan)
    volumes[[MG - 1, FE - 1, AL - 1, OXYGEN - 1]] = (10.0, 12.0, 9.0, 8.0)
    parent = spinel()
    before = cell_volume(parent.cell)
    of_parent = 2 * 10 + 4 * 9 + 8 * 8
    for fraction in (0.25, 0.5, 1.0):
        mixed = with_vegard_volume(mix_sites(parent, MG, FE, fraction=fraction), parent, volumes)
        assert cell_volume(mixed.cell) / before == pytest.approx(1 + 2 * 2 * fraction / of_parent)


def test_samples_are_of_all_kinds_full_or_empty_in_part_and_symmetric() -> None:
    volumes = np.full(118, 10.0)
    random = np.random.default_rng(0)
    kinds = set()
    for _ in range(40):
        disordered = sample_disorder(spinel(), volumes, random=random, split_seed=0)
        assert disordered is not None
        sums = site_sums(disordered)
        assert sums.max() < 1 + 1e-9
        kinds.add(
            "vacancies" if sums.min() < 0.99 else "exchange" if len(set(disordered.atomic_numbers)) == 3 else "mix"
        )
        assert find_symmetry(disordered).space_group == 227
        assert not disordered.targets
        assert disordered.energy_kind == "none"
        assert disordered.cell_is_measured
        np.testing.assert_allclose(disordered.cell, spinel().cell)  # equal volumes of all elements
    assert kinds == {"vacancies", "exchange", "mix"}


def test_calculated_cells_are_scaled_to_measured_ones() -> None:
    calculated = replace(spinel(), cell_is_measured=False)
    disordered = sample_disorder(calculated, np.full(118, 10.0), random=np.random.default_rng(1), split_seed=0)
    assert disordered is not None
    np.testing.assert_allclose(disordered.cell[:3], CALCULATED_SCALE * spinel().cell[:3])
    np.testing.assert_allclose(disordered.cell[3:], 60)


def test_formulas_and_end_members_are_of_the_training_split() -> None:
    # A split seed under which the parent is for training, and the iron end member is not.
    seed = next(
        seed
        for seed in range(200)
        if formula_to_split("Al2Mg1O4", seed=seed) == "train" and formula_to_split("Al2Fe1O4", seed=seed) == "test"
    )
    random = np.random.default_rng(0)
    for _ in range(60):
        disordered = sample_disorder(spinel(), np.full(118, 10.0), random=random, split_seed=seed)
        if disordered is not None:
            assert formula_to_split(disordered.reduced_formula, seed=seed) == "train"
            assert not {FE, MG} <= set(disordered.atomic_numbers.tolist())


def test_disordered_large_and_exotic_structures_are_no_parents() -> None:
    assert parent_weight(spinel()) > parent_weight(replace(spinel(), cell_is_measured=False)) > 0
    assert parent_weight(mix_sites(spinel(), MG, FE, fraction=0.5)) == 0
    numbers = np.where(spinel().atomic_numbers == MG, ATOMIC_NUMBERS["Pu"], spinel().atomic_numbers)
    assert parent_weight(replace(spinel(), atomic_numbers=numbers)) == 0


def test_other_elements_on_a_site_are_other_structures_and_equal_ones_are_written_once(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = spinel()
    second = replace(first, atomic_numbers=np.where(first.atomic_numbers == MG, MN, first.atomic_numbers))
    made = iter([first, second] * 10_000)
    monkeypatch.setattr(site_disorder, "sample_disorder", lambda *_arguments, **_named: next(made))
    write_disordered_structures(source, tmp_path / "a.parquet", count=4_000)
    formulas: dict[str, list[str]] = {}
    for structure in read_structures(tmp_path / "a.parquet"):
        formulas.setdefault(structure.id.rsplit("~", 1)[0], []).append(structure.reduced_formula)
    assert max(len(of_one) for of_one in formulas.values()) == 2
    assert all(len(set(of_one)) == len(of_one) for of_one in formulas.values())


def test_table_is_reproducible_builds_and_keeps_its_formulas(tmp_path: Path, source: Path) -> None:
    first, second = tmp_path / "a.parquet", tmp_path / "b.parquet"
    for path in (first, second):
        result = CliRunner().invoke(
            app, ["dataset", "disorder", str(source), str(path), "--count", "150", "--seed", "5"]
        )
        assert result.exit_code == 0, result.output
    assert first.read_bytes() == second.read_bytes()
    written = list(read_structures(first))
    assert 90 < len(written) < 200
    build_dataset(BuildPlan(source=str(first), measured_cells=True), tmp_path / "dataset", workers=1, progress=False)
    table = read_dataset(tmp_path / "dataset")
    assert len(table) == len(written)
    assert {formula_to_split(formula, seed=0) for formula in table.formula} == {"train"}
    assert table.cell_is_measured.all()
    assert np.isnan(table.targets["formation_energy_per_atom"]).all()
    by_id = {structure.id: structure for structure in written}
    parents = {structure.id: structure for structure in read_structures(source)}
    same = []
    for row, name in enumerate(table.id):
        disordered = by_id[name]
        assert table.formula[row] == disordered.reduced_formula
        own = slice(table.element_start[row], table.element_start[row + 1])
        np.testing.assert_allclose(table.fraction[own].sum(), 1, rtol=1e-6)
        np.testing.assert_allclose(table.fraction[own], disordered.stated_composition.fractions, rtol=1e-6)
        parent = parents[name.rsplit("~", 1)[0]]
        same.append(find_symmetry(parent).space_group == table.targets["space_group"][row] + 1)
    assert np.mean(same) > 0.95  # the tolerance of spglib is in Å, not in cells
    with pytest.raises(DatasetError, match=r"a\.parquet already exists"):
        write_disordered_structures(source, first, count=5)
    with pytest.raises(DatasetError, match="count is 0"):
        write_disordered_structures(source, tmp_path / "c.parquet", count=0)


def test_measured_cells_are_selected_with_hydrogen_that_was_not_located(tmp_path: Path) -> None:
    source = small_reference(tmp_path, slice(300, 420))
    count = write_measured_structures(source, tmp_path / "measured.parquet")
    measured = list(read_structures(tmp_path / "measured.parquet"))
    assert len(measured) == count > 10
    assert all(structure.cell_is_measured for structure in measured)
    without = [structure for structure in measured if structure.unlocated_hydrogen]
    assert without
    assert all("H" in structure.stated_composition.symbols for structure in without)
    build_dataset(BuildPlan(source=str(tmp_path / "measured.parquet")), tmp_path / "d", workers=1, progress=False)
    table = read_dataset(tmp_path / "d")
    assert set(table.split.tolist()) == {0}
    row = int(np.flatnonzero(table.id == without[0].id)[0])
    own = slice(table.element_start[row], table.element_start[row + 1])
    assert 1 in table.atomic_number[own]
    write_structures([spinel_without_provenance()], tmp_path / "plain.parquet")
    with pytest.raises(DatasetError, match="cell_is_measured"):
        write_measured_structures(tmp_path / "plain.parquet", tmp_path / "none.parquet")
    assert not (tmp_path / "none.parquet").exists()


def spinel_without_provenance() -> Structure:
    return replace(spinel(), cell_is_measured=False)


def test_tables_keep_hydrogen_and_provenance(tmp_path: Path) -> None:
    stated = replace(spinel(), unlocated_hydrogen=3.0)
    write_structures([stated, spinel_without_provenance()], tmp_path / "t.parquet")
    read = list(read_structures(tmp_path / "t.parquet"))
    assert [structure.cell_is_measured for structure in read] == [True, False]
    assert [structure.unlocated_hydrogen for structure in read] == [3.0, 0.0]
    assert pa.types.is_float64(parquet.read_schema(tmp_path / "t.parquet").field("occupancies").type.value_type)


def test_merged_and_split_datasets_know_which_cells_were_measured(tmp_path: Path) -> None:
    write_structures([spinel()], tmp_path / "t.parquet")
    for name, measured in (("calculated", False), ("measured", True)):
        plan = BuildPlan(source=str(tmp_path / "t.parquet"), measured_cells=measured)
        build_dataset(plan, tmp_path / name, workers=1, progress=False)
    merge_datasets([tmp_path / "calculated", tmp_path / "measured"], tmp_path / "merged")
    assert read_dataset(tmp_path / "merged").cell_is_measured.tolist() == [False, True]
    split_dataset(tmp_path / "merged", tmp_path / "parts", by="crystal_system")
    assert read_dataset(tmp_path / "parts" / "cubic").cell_is_measured.tolist() == [False, True]


def test_a_build_that_version_0_1_0_began_is_resumed_and_one_with_other_cells_is_not(tmp_path: Path) -> None:
    write_structures([spinel()], tmp_path / "t.parquet")
    plan = BuildPlan(source=str(tmp_path / "t.parquet"))
    build_dataset(plan, tmp_path / "dataset", workers=1, progress=False)
    path = tmp_path / "dataset" / "plan.json"
    settings = json.loads(path.read_text())
    del settings["measured_cells"]
    path.write_text(json.dumps(settings))
    assert build_dataset(plan, tmp_path / "dataset", workers=1, progress=False)["materials"] == 1
    with pytest.raises(DatasetError, match="measured_cells"):
        build_dataset(replace(plan, measured_cells=True), tmp_path / "dataset", workers=1, progress=False)


def test_a_site_with_more_than_one_atom_has_no_symmetry() -> None:
    crowded = mix_sites(spinel(), MG, FE, fraction=0.3)
    occupancies = np.where(crowded.atomic_numbers == MG, 0.9, crowded.occupancies)
    with pytest.raises(StructureError, match=r"a site holds 1\.2 atoms"):
        find_symmetry(replace(crowded, occupancies=occupancies))
    rounded = np.where(crowded.atomic_numbers == MG, 0.705, crowded.occupancies)
    assert find_symmetry(replace(crowded, occupancies=rounded)).space_group == 227
