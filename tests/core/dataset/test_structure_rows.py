"""Rows of a structure table that belong to a split."""

from __future__ import annotations

from pathlib import Path

from pyarrow import parquet

from xxact_core.dataset.building.build import build_dataset
from xxact_core.dataset.building.plan import BuildPlan
from xxact_core.dataset.building.structure_rows import copy_first_of_split
from xxact_core.dataset.table import read_dataset
from xxact_core.quantities import BAND_GAP
from xxact_core.shipped import TABLE, shipped_path


def test_the_first_materials_of_a_split_keep_their_labels(tmp_path: Path) -> None:
    table = tmp_path / "some.parquet"
    assert copy_first_of_split(shipped_path(TABLE), table, split="test", count=12) == 12
    build_dataset(BuildPlan(source=str(table)), tmp_path / "data", workers=1, progress=False)
    built = read_dataset(tmp_path / "data")
    assert len(built.rows("test")) == len(built) == 12
    whole = parquet.read_table(shipped_path(TABLE), columns=["id", "band_gap"]).to_pylist()
    gaps = {row["id"]: row["band_gap"] for row in whole}
    assert built.targets[BAND_GAP.name].tolist() == [gaps[name] for name in built.id.tolist()]
    assert list(tmp_path.glob("*.part")) == []
