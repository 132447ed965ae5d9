"""Relatives with other elements: what stays, what changes, and what they must never teach."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pymatgen.core import Element
from typer.testing import CliRunner

from xxact_core.commands.main import app
from xxact_core.compositions.element_table import ATOMIC_NUMBERS, VILLARS_ORDER
from xxact_core.dataset.building.build import BuildPlan, build_dataset
from xxact_core.dataset.building.element_substitution import (
    fit_element_volumes,
    sample_substitution,
    write_substituted_structures,
)
from xxact_core.dataset.loading.concat import join_training_data
from xxact_core.dataset.splits import IN_NO_SPLIT, formula_to_split
from xxact_core.dataset.table import StickTable, read_dataset
from xxact_core.errors import DatasetError, RecipeError
from xxact_core.simulation.symmetry import find_symmetry
from xxact_core.structures.structure import Structure
from xxact_core.training.recipes import recipe_by_name
from xxact_core.training.run import train

COPIES = 2


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    """The first 400 rows of the shipped table, of which the small dataset is made."""
    from pyarrow import parquet

    path = tmp_path_factory.mktemp("source") / "structures.parquet"
    parquet.write_table(
        parquet.read_table(repository / "xxact_core" / "data" / "materials_project.parquet").slice(0, 400), path
    )
    return path


@pytest.fixture(scope="module")
def relatives(tmp_path_factory: pytest.TempPathFactory, source: Path) -> Path:
    """A dataset of relatives of their training structures."""
    folder = tmp_path_factory.mktemp("relatives")
    write_substituted_structures(source, folder / "relatives.parquet", copies=COPIES, seed=3)
    plan = BuildPlan(source=str(folder / "relatives.parquet"), shard_rows=400)
    build_dataset(plan, folder / "dataset", workers=1, progress=False)
    return folder / "dataset"


def rock_salt() -> Structure:
    halves = np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
    return Structure(
        id="NaCl",
        cell=np.array([5.64, 5.64, 5.64, 90, 90, 90]),
        atomic_numbers=np.array([11] * 4 + [17] * 4),
        frac_coords=np.concatenate([halves, halves + 0.5]),
        occupancies=np.ones(8),
        targets={"band_gap": 5.0},
        energy_kind="unique",
    )


def test_order_of_elements_is_that_of_their_mendeleev_numbers() -> None:
    assert [Element(symbol).mendeleev_no for symbol in VILLARS_ORDER] == list(range(1, 104))


def test_volumes_of_elements_add_up_to_cells() -> None:
    volumes = np.full(118, np.nan)
    volumes[[10, 16, 18]] = (20.0, 24.0, 33.0)
    cells = []
    for kinds in ([11, 17], [19, 17], [11, 11, 17], [19, 11]):
        edge = volumes[np.array(kinds) - 1].sum() ** (1 / 3)
        cells.append(
            Structure(
                "", np.array([edge] * 3 + [90] * 3), np.array(kinds), np.zeros((len(kinds), 3)), np.ones(len(kinds))
            )
        )
    np.testing.assert_allclose(fit_element_volumes(cells), volumes, rtol=1e-6)


def test_relative_has_the_symmetry_other_elements_and_a_cell_of_their_size() -> None:
    volumes = np.full(118, 10.0)
    volumes[ATOMIC_NUMBERS["Na"] - 1] = 30.0
    seen = set()
    for seed in range(20):
        relative = sample_substitution(rock_salt(), volumes, random=np.random.default_rng(seed), split_seed=0)
        assert relative is not None
        kinds = set(relative.atomic_numbers.tolist())
        assert len(kinds) == 2
        assert kinds != {11, 17}
        assert find_symmetry(relative).space_group == 225
        assert not relative.targets
        assert not relative.energy_is_exact
        assert formula_to_split(relative.reduced_formula, seed=0) == "train"
        wanted = (30.0 + 10.0 if 11 in kinds else 20.0) / 40.0
        assert (relative.cell[0] / 5.64) ** 3 == pytest.approx(wanted)
        seen |= kinds
    assert len(seen) > 6


def test_table_of_relatives_is_the_same_for_the_same_seed_and_leaves_the_unseen_alone(
    relatives: Path, small_table: StickTable
) -> None:
    table = read_dataset(relatives)
    assert len(table) > 0.9 * COPIES * len(small_table.rows("train"))
    assert {formula_to_split(formula, seed=0) for formula in table.formula} == {"train"}
    assert np.isnan(table.targets["formation_energy_per_atom"]).all()
    parent = {name: row for row, name in enumerate(small_table.id)}
    pairs = [(row, parent[name.rsplit("~", 1)[0]]) for row, name in enumerate(table.id)]
    groups = [(table.targets["space_group"][row], small_table.targets["space_group"][of]) for row, of in pairs]
    assert np.mean([own == parents for own, parents in groups]) > 0.95  # the tolerance of spglib is in Å, not in cells
    assert np.mean([table.formula[row] != small_table.formula[of] for row, of in pairs]) == 1


def test_command_writes_the_table_and_refuses_one_that_is_there(tmp_path: Path, source: Path) -> None:
    first, second = tmp_path / "a.parquet", tmp_path / "b.parquet"
    for path in (first, second):
        result = CliRunner().invoke(
            app, ["dataset", "substitute", str(source), str(path), "--copies", "1", "--seed", "5"]
        )
        assert result.exit_code == 0, result.output
    assert first.read_bytes() == second.read_bytes()
    with pytest.raises(DatasetError, match=r"a\.parquet already exists"):
        write_substituted_structures(source, first, copies=1)
    with pytest.raises(DatasetError, match="copies is 0; expected 1 or more"):
        write_substituted_structures(source, tmp_path / "c.parquet", copies=0)
    with pytest.raises((DatasetError, pa.ArrowException)):
        write_substituted_structures(tmp_path / "nothing", tmp_path / "c.parquet", copies=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.parquet", "b.parquet"]


def test_joined_data_sets_hold_each_material_as_it_was(small_table: StickTable, relatives: Path) -> None:
    other = read_dataset(relatives)
    split = other.split.copy()
    split[:5] = 2
    both = join_training_data(small_table, [replace(other, split=split)])
    assert len(both) == len(small_table) + len(other)
    assert both.digest == small_table.digest
    assert both.others == (other.digest,)
    for name in ("validation", "test"):
        np.testing.assert_array_equal(both.rows(name), small_table.rows(name))
    assert (both.split[len(small_table) : len(small_table) + 5] == IN_NO_SPLIT).all()
    for row in (0, 7, len(other) - 1):
        mine, theirs = both.sticks(len(small_table) + row), other.sticks(row)
        np.testing.assert_array_equal(mine.two_theta, theirs.two_theta)
        np.testing.assert_array_equal(mine.intensity, theirs.intensity)
        for name in ("element", "rotation"):
            starts = getattr(both, f"{name}_start"), getattr(other, f"{name}_start")
            values = ("fraction", "fraction") if name == "element" else ("rotations", "rotations")
            first = slice(*starts[0][len(small_table) + row :][:2])
            second = slice(*starts[1][row:][:2])
            np.testing.assert_array_equal(getattr(both, values[0])[first], getattr(other, values[1])[second])


def test_joining_refuses_what_would_teach_the_test(small_table: StickTable, relatives: Path) -> None:
    other = read_dataset(relatives)
    formula = other.formula.copy()
    formula[0] = small_table.formula[small_table.rows("test")[0]]
    with pytest.raises(DatasetError, match=r"1 groups, .* validation or test in another"):
        join_training_data(small_table, [replace(other, formula=formula)])
    with pytest.raises(DatasetError, match=r"wavelengths 1\.54184 and 0\.7 "):
        join_training_data(small_table, [replace(other, wavelength=0.7)])


def test_run_learns_from_more_data_and_says_so(small_dataset: Path, relatives: Path, tmp_path: Path) -> None:
    recipe = replace(
        recipe_by_name("tiny"), epochs=0.05, batch_size=16, extra_datasets=(str(relatives),), regression_loss="absolute"
    )
    train(recipe, small_dataset, tmp_path / "run")
    about = json.loads((tmp_path / "run" / "recipe.json").read_text(encoding="utf-8"))
    assert about["extra_digests"] == [read_dataset(relatives).digest]
    assert about["data_digest"] == read_dataset(small_dataset).digest
    started = json.loads((tmp_path / "run" / "journal.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert started["materials"] > 2 * len(read_dataset(small_dataset).rows("train"))
    with pytest.raises(RecipeError, match="joined in memory"):
        train(replace(recipe, stream_from_disk=True), small_dataset, tmp_path / "streamed")
