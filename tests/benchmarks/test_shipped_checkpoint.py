"""The page of the shipped checkpoint can be written again from what is stored."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from benchmarks.harness import RESULTS
from benchmarks.quality import shipped_checkpoint
from benchmarks.quality.shipped_checkpoint import ALIKE, store_baselines, stored_columns, to_pattern_table, to_table
from xxact_core.checkpoint import describe_checkpoint
from xxact_core.shipped import CHECKPOINT, shipped_path

PAGE = RESULTS / "shipped_checkpoint.md"


def test_tables_of_the_page_follow_from_what_is_stored() -> None:
    page = PAGE.read_text(encoding="utf-8")
    stored = describe_checkpoint(shipped_path(CHECKPOINT))["about"]["baselines"]
    columns = {**stored_columns(page), **stored}
    assert "without_retrieval" in columns
    assert to_table(columns) in page
    assert to_pattern_table(columns) in page


def test_baselines_are_stored_beside_weights_that_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, shipped = tmp_path / "compact", shipped_path(CHECKPOINT)
    folder.mkdir()
    shutil.copy(shipped / "checkpoint.json", folder)
    monkeypatch.setattr(shipped_checkpoint, "shipped_path", lambda _: folder)
    before = describe_checkpoint(folder)
    line = store_baselines({ALIKE: {"band_gap_mae_ev": 0.5}})
    assert before["about"]["measured"]["commit"] in line
    after = describe_checkpoint(folder)
    assert after["about"].pop("baselines") == {ALIKE: {"band_gap_mae_ev": 0.5}}
    assert before["about"].pop("baselines")
    assert json.dumps(after) == json.dumps(before)
