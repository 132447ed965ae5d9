"""Structure tables of asymmetric units: the same rows, labels, splits, symmetry and patterns as before."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from locations import REPOSITORY
from typer.testing import CliRunner

from xxact_core.commands.main import app
from xxact_core.dataset.splits import formula_to_split
from xxact_core.errors import DatasetError
from xxact_core.peak_profiles.reference import broaden_sticks
from xxact_core.shipped import TABLE, shipped_path
from xxact_core.simulation.diffraction import arrays_to_sticks
from xxact_core.simulation.symmetry import find_symmetry
from xxact_core.structures.packing import ROWS, pack_table
from xxact_core.structures.structure import Structure
from xxact_core.structures.tables import read_table, table_rows

BEFORE = REPOSITORY / "tests" / "fixtures" / "structures_of_0_1_0.parquet"
"""133 rows of the table of version 0.1.0, of all crystal systems, with their row numbers and space groups."""

LABELS = (
    *("id", "mp_id_guess", "reduced_formula", "formation_energy_per_atom", "band_gap"),
    *("formation_energy_source", "in_icsd_guess", "source"),
)
LABELS_DIGEST = "e52a1f1355c36756413d16487782b178a6d4282bf6dca5186dabab02ca1dbbb3"
SPLITS_DIGEST = "c5416f4f61176ef26722a74b8543bcd57da6b8a0e7077c287430c4e28ddf7938"
"""Of the table of version 0.1.0."""


DOUBTFUL = {"matbench_062008"}
"""Symmetry on the edge of the tolerance, which depends on the last digit of the cell."""


def structures(path: Path, *, start: int = 0, stop: int | None = None) -> list[Structure]:
    found = list(read_table(path, start=start, stop=stop))
    assert all(isinstance(one, Structure) for one in found)
    return [one for one in found if isinstance(one, Structure)]


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("packed") / "packed.parquet"
    assert pack_table(BEFORE, path) == 133
    return path


@pytest.fixture(scope="module")
def stated() -> list[dict[str, int]]:
    return pq.read_table(BEFORE, columns=["row", "space_group"]).to_pylist()


def test_rows_and_labels_of_the_shipped_table_are_those_of_0_1_0() -> None:
    table = pq.read_table(shipped_path(TABLE), columns=list(LABELS))
    digest = hashlib.sha256()
    for name in LABELS:
        digest.update("\n".join(map(repr, table[name].to_pylist())).encode())
    assert digest.hexdigest() == LABELS_DIGEST


def test_splits_of_the_shipped_table_are_those_of_0_1_0() -> None:
    formulas = pq.read_table(shipped_path(TABLE), columns=["reduced_formula"])["reduced_formula"].to_pylist()
    splits = "".join(formula_to_split(formula, seed=0)[:2] for formula in formulas)
    assert hashlib.sha256(splits.encode()).hexdigest() == SPLITS_DIGEST


def assert_same_material(before: Structure, after: Structure, space_group: int) -> None:
    assert after.id == before.id
    assert after.reduced_formula == before.reduced_formula
    assert dict(after.targets) == dict(before.targets)
    assert after.energy_is_exact == before.energy_is_exact
    assert find_symmetry(before).space_group == space_group
    if before.id not in DOUBTFUL:
        assert find_symmetry(after).space_group == space_group
    first, second = (
        arrays_to_sticks(cell=one.cell, atomic_numbers=one.atomic_numbers, frac_coords=one.frac_coords)
        for one in (before, after)
    )
    profiles = [broaden_sticks(one, sigma=0.05).intensity for one in (first, second)]
    likeness = profiles[0] @ profiles[1] / np.linalg.norm(profiles[0]) / np.linalg.norm(profiles[1])
    assert likeness > 0.9995


def test_packed_structures_are_the_same_materials(packed: Path, stated: list[dict[str, int]]) -> None:
    for before, after, row in zip(structures(BEFORE), structures(packed), stated, strict=True):
        assert_same_material(before, after, row["space_group"])


def test_shipped_structures_are_those_of_0_1_0(stated: list[dict[str, int]]) -> None:
    for before, row in list(zip(structures(BEFORE), stated, strict=True))[::5]:
        (after,) = structures(shipped_path(TABLE), start=row["row"], stop=row["row"] + 1)
        assert_same_material(before, after, row["space_group"])


def test_rows_are_read_from_anywhere(packed: Path) -> None:
    assert table_rows(packed) == 133
    all_ids = [one.id for one in structures(packed)]
    assert [one.id for one in structures(packed, start=50, stop=60)] == all_ids[50:60]
    rows = slice(ROWS - 3, ROWS + 3)  # across two row groups
    ids = pq.read_table(shipped_path(TABLE), columns=["id"])["id"].to_pylist()
    found = structures(shipped_path(TABLE), start=rows.start, stop=rows.stop)
    assert [one.id for one in found] == ids[rows]


def test_a_table_is_packed_at_the_command_line(tmp_path: Path) -> None:
    small, out = tmp_path / "small.parquet", tmp_path / "packed.parquet"
    pq.write_table(pq.read_table(BEFORE).slice(0, 8), small)
    result = CliRunner().invoke(app, ["dataset", "compact", str(small), str(out)])
    assert result.exit_code == 0, result.output
    assert "8 structures" in result.output
    assert len(structures(out)) == 8
    again = CliRunner().invoke(app, ["dataset", "compact", str(small), str(out)])
    assert isinstance(again.exception, DatasetError)


def test_other_versions_and_contradictory_columns_are_refused(packed: Path, tmp_path: Path) -> None:
    content = pq.read_table(packed)
    layout = json.loads(content.schema.metadata[b"xxact_layout"])
    changed = tmp_path / "changed.parquet"
    pq.write_table(content.replace_schema_metadata({"xxact_layout": json.dumps({**layout, "version": 7})}), changed)
    with pytest.raises(DatasetError, match="version 7"):
        structures(changed)
    place = content.schema.get_field_index("sites")
    short = content.set_column(place, "sites", pa.array([[1]] * len(content), pa.list_(pa.uint16())))
    pq.write_table(short, changed)
    reasons = {item[1] for item in read_table(changed) if isinstance(item, tuple)}
    assert len(reasons) == 1
    assert "contradict" in reasons.pop()
