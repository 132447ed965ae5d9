"""Rows of a data set → batches: equal to the exact smear, seeded, and distorted as a laboratory would."""

from __future__ import annotations

import numpy as np
import torch

from xxact_core.dataset.batches import BatchMaker, rows_in_order, shuffled_rows
from xxact_core.dataset.distortions import Distortions
from xxact_core.dataset.table import StickTable
from xxact_core.patterns.grid import GRID
from xxact_core.patterns.smearing import smear

CPU = torch.device("cpu")


def test_batch_equals_the_exact_smear_of_the_same_sticks(small_table: StickTable) -> None:
    rows = np.arange(0, len(small_table), 7)
    batch = BatchMaker(small_table, device=CPU).batch(rows, seed=0)
    for place, row in enumerate(rows):
        sticks = small_table.sticks(row)
        exact = smear(sticks, sigma=0.1).intensity
        assert np.abs(exact - batch.intensity[place].numpy()).max() < 0.01


def test_batch_holds_its_own_rows_whatever_the_order(small_table: StickTable) -> None:
    maker = BatchMaker(small_table, device=CPU)
    rows = np.array([5, 17, 3, 200])
    batch, mirrored = maker.batch(rows, seed=0), maker.batch(rows[::-1].copy(), seed=0)
    torch.testing.assert_close(batch.intensity, mirrored.intensity.flip(0))
    torch.testing.assert_close(batch.fractions, mirrored.fractions.flip(0))
    for place, row in enumerate(rows):
        entries = slice(small_table.element_start[row], small_table.element_start[row + 1])
        present = batch.fractions[place] > 0
        np.testing.assert_array_equal(batch.atomic_numbers[place][present], small_table.atomic_number[entries])
        assert float(batch.targets["band_gap"][place]) == small_table.targets["band_gap"][row]


def test_distorted_batches_are_patterns_and_seeded(small_table: StickTable) -> None:
    maker = BatchMaker(small_table, device=CPU, distortions=Distortions(share=1.0, limited_range=0.5))
    rows = np.arange(64)
    batch, again, other = (maker.batch(rows, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(batch.intensity, again.intensity)
    assert not torch.equal(batch.intensity, other.intensity)
    torch.testing.assert_close(batch.intensity.amax(dim=1), torch.full((64,), 100.0))
    assert float(batch.intensity.min()) >= 0
    assert 0 < float(batch.hidden.float().mean()) < 0.6
    inside = batch.hidden.repeat_interleave(GRID.window_points, dim=1)
    assert float(batch.intensity[inside].mean()) < float(batch.intensity[~inside].mean())


def test_zero_shift_moves_lines_and_nothing_else_does_when_switched_off(small_table: StickTable) -> None:
    still = Distortions(1.0, (0.1, 0.1), lattice_scale=0, zero_shift=0, texture=0, background=0, noise=0)
    shifted = Distortions(1.0, (0.1, 0.1), lattice_scale=0, zero_shift=0.5, texture=0, background=0, noise=0)
    rows = np.arange(16)
    ideal = BatchMaker(small_table, device=CPU).batch(rows, seed=3).intensity
    peaks = [
        BatchMaker(small_table, device=CPU, distortions=choice).batch(rows, seed=3).intensity.argmax(dim=1)
        for choice in (still, shifted)
    ]
    # Kα1 is 0.0008 of the wavelength away, 0.06° at 90°; two lines of one height may change places.
    assert int((peaks[0] - ideal.argmax(dim=1)).abs().median()) <= 3
    assert int((peaks[1] - peaks[0]).abs().median()) > 3


def test_every_epoch_is_a_permutation_of_the_rows() -> None:
    rows = np.arange(100, 137)
    steps = [shuffled_rows(rows, batch_size=10, seed=4, step=step) for step in range(37)]
    drawn = np.concatenate(steps).reshape(10, 37)
    for epoch in drawn:
        assert sorted(epoch) == rows.tolist()
    assert not np.array_equal(drawn[0], drawn[1])


def test_batch_larger_than_the_data_repeats_it() -> None:
    assert sorted(shuffled_rows(np.arange(3), batch_size=7, seed=0, step=0)[:6]) == [0, 0, 1, 1, 2, 2]


def test_rows_in_order_holds_each_row_once() -> None:
    assert np.concatenate(list(rows_in_order(np.arange(10), batch_size=4))).tolist() == list(range(10))
