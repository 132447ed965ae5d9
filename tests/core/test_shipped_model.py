"""What the shipped model can do: values that users would check first."""

from __future__ import annotations

import numpy as np
import pytest

from xxact_core.checkpoint import Checkpoint, describe_checkpoint, load_checkpoint
from xxact_core.compositions.formula import parse_formula
from xxact_core.evaluation.embeddings import PARTS, read_embeddings
from xxact_core.evaluation.evaluate import silhouettes
from xxact_core.evaluation.reconstruction import reconstruct_pattern
from xxact_core.patterns.grid import GRID
from xxact_core.peak_profiles.reference import broaden_sticks
from xxact_core.shipped import CHECKPOINT, EMBEDDINGS, shipped_path
from xxact_core.simulation.diffraction import arrays_to_sticks

FACE_CENTRED = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return load_checkpoint()


@pytest.mark.parametrize("first", [30, 45])  # windows with (200) at 31.7° and (220) at 45.4°
def test_a_masked_window_of_rock_salt_comes_back_with_its_peak_in_place(checkpoint: Checkpoint, first: int) -> None:
    sticks = arrays_to_sticks(
        cell=np.array([5.6402, 5.6402, 5.6402, 90, 90, 90]),
        atomic_numbers=np.repeat([11, 17], 4),
        frac_coords=np.concatenate([FACE_CENTRED, FACE_CENTRED + 0.5]) % 1,
    )
    pattern = broaden_sticks(sticks)
    masked = GRID.start + GRID.step * GRID.window_points * np.arange(GRID.windows) == first
    found = reconstruct_pattern(checkpoint, pattern, parse_formula("NaCl"), masked=masked)
    within = np.repeat(masked, GRID.window_points)
    place = GRID.start + GRID.step * np.arange(within.size)
    true, expected = pattern.intensity[within], found.expected[within]
    assert place[within][expected.argmax()] == pytest.approx(place[within][true.argmax()], abs=0.1)
    assert expected.max() > 0.4 * true.max()
    assert np.nansum(found.error) < 0.6 * np.nansum(found.empty)


def test_the_map_that_ships_is_of_the_shipped_model_and_has_seven_groups() -> None:
    embedded = read_embeddings(shipped_path(EMBEDDINGS))
    assert embedded.model == describe_checkpoint(shipped_path(CHECKPOINT))["weights_sha256"]
    assert (len(embedded), set(embedded.parts), set(embedded.t_sne)) == (2000, set(PARTS), set(PARTS))
    scores = silhouettes(embedded.parts["fused"], embedded.targets["crystal_system"])
    assert scores["mean"] > 0.2  # 0.01 in version 0.1.0
