"""A small real data set, made once a test run by the code that makes the large one."""

from __future__ import annotations

from pathlib import Path

import pytest

from xxact_core.dataset.building.build import BuildPlan, build_dataset
from xxact_core.dataset.table import StickTable, read_dataset


@pytest.fixture(scope="session")
def small_dataset(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    """400 materials of the shipped table, in two shards."""
    folder = tmp_path_factory.mktemp("dataset") / "small"
    table = repository / "xxact_core" / "data" / "materials_project.parquet"
    build_dataset(BuildPlan(source=str(table), limit=400, shard_rows=200), folder, workers=1, progress=False)
    return folder


@pytest.fixture(scope="session")
def small_table(small_dataset: Path) -> StickTable:
    """The same in memory."""
    return read_dataset(small_dataset)
