"""Sticks → file → batches: nothing is lost, nothing is mixed up, and the fast smear equals the exact one."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import xarray as xr

from xxact_core.dataset.build import BuildPlan, build_dataset, build_shard
from xxact_core.dataset.splits import SHARES, formula_to_split
from xxact_core.dataset.table import StickTable, read_dataset
from xxact_core.dataset.tasks import draw_tasks
from xxact_core.errors import DatasetError
from xxact_core.quantities import CRYSTAL_SYSTEMS, space_group_to_crystal_system

CPU = torch.device("cpu")


def test_every_structure_is_a_material_or_an_error(small_dataset: Path, small_table: StickTable) -> None:
    manifest = json.loads((small_dataset / "manifest.json").read_text())
    with (small_dataset / "errors.csv").open() as file:
        errors = list(csv.DictReader(file))
    assert len(small_table) + len(errors) == 400
    assert manifest["materials"] == len(small_table)


def test_shard_opens_in_xarray_and_h5py_with_units_and_attributes(small_dataset: Path) -> None:
    path = next(small_dataset.glob("*.h5"))
    with xr.open_dataset(path, engine="h5netcdf") as dataset:
        assert dataset.sizes["peak"] == int(dataset.peak_count.sum())
        assert dataset.sizes["element"] == int(dataset.element_count.sum())
        assert dataset.peak_count.attrs["sample_dimension"] == "peak"
        assert dataset.formation_energy_per_atom.attrs["units"] == "eV/atom"
        assert dataset.attrs["wavelength"] == pytest.approx(1.54184)
        assert str(dataset.id[0].item()).startswith("matbench_")
    with h5py.File(path) as file:
        assert file["two_theta"].fletcher32
        assert file["id"].asstr()[0].startswith("matbench_")


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


def test_split_shares_are_as_stated_and_depend_on_the_seed() -> None:
    formulas = [f"Na{n}Cl{n + 1}" for n in range(4000)]
    splits = [formula_to_split(formula, seed=0) for formula in formulas]
    for name, share in zip(("train", "validation", "test"), SHARES, strict=True):
        assert splits.count(name) / len(splits) == pytest.approx(share, abs=0.02)
    assert splits != [formula_to_split(formula, seed=1) for formula in formulas]
    assert splits == [formula_to_split(formula, seed=0) for formula in formulas]


def test_rerun_makes_a_byte_equal_shard_and_resume_fills_only_the_gap(small_dataset: Path, tmp_path: Path) -> None:
    copy = tmp_path / "dataset"
    shutil.copytree(small_dataset, copy)
    plan = BuildPlan(**json.loads((copy / "plan.json").read_text()) | {"two_theta_range": (5.0, 90.0)})
    shards = sorted(copy.glob("*.h5"))
    untouched, lost = shards[0], shards[1]
    before, time_before = lost.read_bytes(), untouched.stat().st_mtime_ns
    lost.unlink()
    (copy / "manifest.json").unlink()
    (copy / "half.part").write_bytes(b"killed while writing")
    counts = build_dataset(plan, copy, workers=1, progress=False)
    assert lost.read_bytes() == before
    assert untouched.stat().st_mtime_ns == time_before
    assert counts["materials"] + counts["errors"] == 400


def test_another_plan_in_the_same_folder_is_refused(small_dataset: Path) -> None:
    source = json.loads((small_dataset / "plan.json").read_text())["source"]
    with pytest.raises(DatasetError, match="seed"):
        build_dataset(BuildPlan(source=source, seed=99, limit=400, shard_rows=200), small_dataset, progress=False)


def test_damaged_shard_is_refused_before_it_is_used(small_dataset: Path, tmp_path: Path) -> None:
    copy = tmp_path / "dataset"
    shutil.copytree(small_dataset, copy)
    path = next(copy.glob("*.h5"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=path.name):
        read_dataset(copy)


def test_bad_structures_become_error_rows_with_id_and_reason(tmp_path: Path) -> None:
    import pandas as pd

    good = {"a": 5.64, "b": 5.64, "c": 5.64, "alpha": 90.0, "beta": 90.0, "gamma": 90.0}
    rows = [
        {"id": "good", **good, "species": ["Na", "Cl"], "frac_coords": [0, 0, 0, 0.5, 0.5, 0.5]},
        {"id": "flat", **good, "c": 0.0, "species": ["Na"], "frac_coords": [0, 0, 0]},
        {"id": "unknown", **good, "species": ["Xx"], "frac_coords": [0, 0, 0]},
        {"id": "short", **good, "species": ["Na", "Cl"], "frac_coords": [0, 0, 0]},
        {"id": "overlap", **good, "species": ["Na", "Cl"], "frac_coords": [0, 0, 0, 0, 0, 1e-9]},
    ]
    pd.DataFrame(rows).to_parquet(tmp_path / "table.parquet")
    folder = tmp_path / "dataset"
    folder.mkdir()
    shard = build_shard(BuildPlan(source=str(tmp_path / "table.parquet")), folder, 0)
    errors = dict(json.loads((folder / "shard-000000000.json").read_text())["error_rows"])
    assert shard["materials"] + shard["errors"] == 5
    assert {"flat", "unknown", "short"} <= set(errors)
    assert "good" not in errors
    assert all(errors.values())


@pytest.mark.parametrize("source", ["nothing.parquet", "empty"])
def test_source_without_structures_is_refused(tmp_path: Path, source: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match=source):
        build_dataset(BuildPlan(source=str(tmp_path / source)), tmp_path / "dataset", progress=False)


def test_task_sampling_is_uniform_over_the_labels_there_are() -> None:
    nan = float("nan")
    targets = {
        "formation_energy_per_atom": torch.tensor([1.0, nan, 1.0, nan]).repeat(3000),
        "band_gap": torch.tensor([1.0, 1.0, nan, nan]).repeat(3000),
    }
    drawn = draw_tasks(targets, tuple(targets), sampling="one", generator=torch.Generator().manual_seed(0))
    energy, gap = (drawn[name].view(-1, 4).float().mean(dim=0) for name in targets)
    assert float(energy[0]) == pytest.approx(0.5, abs=0.05)
    torch.testing.assert_close(energy + gap, torch.tensor([1.0, 1.0, 1.0, 0.0]))
    every = draw_tasks(targets, tuple(targets), sampling="all", generator=torch.Generator())
    assert every["band_gap"].view(-1, 4).float().mean(dim=0).tolist() == [1, 1, 0, 0]
