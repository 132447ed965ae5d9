"""The two ways of the data meet: a pattern from a file and one smeared from sticks are the same thing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from xxact_core.dataset.loading.batches import BatchMaker
from xxact_core.dataset.table import StickTable
from xxact_core.patterns.pattern import GriddedPattern
from xxact_core.peak_profiles.reference import broaden_sticks
from xxact_core.processing.gridding import put_on_grid
from xxact_core.readers.read import read_pattern


def test_file_sticks_and_batch_give_one_pattern_on_one_grid(small_table: StickTable, tmp_path: Path) -> None:
    row = int(small_table.rows("test")[0])
    sticks = small_table.sticks(row)
    smeared = broaden_sticks(sticks)
    path = tmp_path / "scan.xy"
    np.savetxt(path, np.column_stack([smeared.grid.two_theta, smeared.intensity]), fmt="%.4f")
    gridded = put_on_grid(read_pattern(path, wavelength="CuKa"), background="none")
    batch = BatchMaker(small_table, device=torch.device("cpu")).batch(np.array([row]), seed=0)
    assert type(gridded) is type(smeared) is GriddedPattern
    assert gridded.grid == smeared.grid
    np.testing.assert_allclose(gridded.intensity, smeared.intensity, atol=0.01)
    np.testing.assert_allclose(batch.intensity[0].numpy(), smeared.intensity, atol=0.01)
    assert batch.window_mask[0].tolist() == gridded.hidden_windows.tolist() == [False] * 17


@pytest.mark.parametrize(("first", "last"), [(5.0, 90.0), (20.0, 60.0), (12.4, 71.3)])
def test_partial_scan_hides_the_same_windows_in_a_file_as_in_training(first: float, last: float) -> None:
    two_theta = np.arange(first, last, 0.02)
    from xxact_core.patterns.pattern import Pattern

    pattern = Pattern(two_theta, 10 + 90 * np.exp(-0.5 * ((two_theta - 40) / 0.1) ** 2), wavelength=1.54184)
    hidden = put_on_grid(pattern).hidden_windows
    edges = np.arange(5.0, 90.0, 5.0)
    measured = np.clip(np.minimum(last, edges + 5) - np.maximum(first, edges), 0, None) / 5
    assert hidden.tolist() == (measured < 0.1).tolist()
