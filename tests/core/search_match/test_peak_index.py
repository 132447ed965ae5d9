"""Known materials → profiles that are kept: a pattern finds its own material without elements."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from xxact_core.patterns.pattern import GriddedPattern, Pattern, Sticks
from xxact_core.peak_profiles.reference import broaden_sticks
from xxact_core.processing.gridding import put_on_grid
from xxact_core.search_match import identify
from xxact_core.search_match.database import StructureReferences, read_references
from xxact_core.search_match.fit import pattern_to_distribution
from xxact_core.search_match.identify import Identifier
from xxact_core.search_match.peak_index import PeakIndex, build_index, open_index

MATERIALS = 60


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> StructureReferences:
    """The first materials of the shipped table, as a table of their own."""
    path = tmp_path_factory.mktemp("known") / "few.parquet"
    table = pq.read_table(repository / "xxact_core" / "data" / "materials_project.parquet")
    pq.write_table(table.slice(0, MATERIALS), path)
    return read_references(path)


@pytest.fixture(scope="module")
def index(references: StructureReferences) -> PeakIndex:
    return build_index(references)


def measured(
    references: StructureReferences, row: int, *, scale: float = 0.99, sigma: float = 0.05, stop: float = 90
) -> GriddedPattern:
    """A material as a diffractometer shows it: its cell `scale` as large as calculated, on a background with noise."""
    sticks = references.sticks(row)
    sine = np.sin(np.radians(sticks.two_theta / 2)) / scale
    angles = np.degrees(2 * np.arcsin(np.minimum(sine, 1)))
    ideal = broaden_sticks(Sticks(angles, sticks.intensity, wavelength=sticks.wavelength), sigma=sigma)
    counts = np.random.default_rng(row).poisson(20 * ideal.intensity + 100 + 200 / ideal.grid.two_theta)
    inside = ideal.grid.two_theta <= stop
    pattern = Pattern(ideal.grid.two_theta[inside], counts[inside].astype(float), wavelength=sticks.wavelength)
    return put_on_grid(pattern, override_coverage=True)


@pytest.mark.parametrize(("scale", "sigma", "stop"), [(0.99, 0.05, 90), (0.98, 0.1, 90), (1.005, 0.05, 60)])
def test_a_measured_pattern_lies_nearest_to_its_own_material(
    references: StructureReferences, index: PeakIndex, scale: float, sigma: float, stop: float
) -> None:
    rows = range(0, MATERIALS, 5)
    patterns = [measured(references, row, scale=scale, sigma=sigma, stop=stop) for row in rows]
    firsts = [index.nearest(pattern_to_distribution(pattern), count=3) for pattern in patterns]
    assert np.mean([row in near for row, near in zip(rows, firsts, strict=True)]) >= 0.9


def test_the_index_is_kept(references: StructureReferences, index: PeakIndex, tmp_path: Path) -> None:
    opened = open_index(references, folder=tmp_path, progress_bar=False)
    np.testing.assert_array_equal(opened.codes, index.codes)
    (file,) = tmp_path.iterdir()
    written = file.stat().st_mtime_ns
    open_index(references, folder=tmp_path, progress_bar=False)
    assert file.stat().st_mtime_ns == written


def test_a_damaged_index_is_built_again(references: StructureReferences, index: PeakIndex, tmp_path: Path) -> None:
    open_index(references, folder=tmp_path, progress_bar=False)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:200])
    again = open_index(references, folder=tmp_path, progress_bar=False)
    np.testing.assert_array_equal(again.codes, index.codes)


def test_without_elements_the_index_proposes_what_is_compared(
    references: StructureReferences, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identify, "PROPOSED", 5)
    found = Identifier(references, cache=tmp_path).identify(measured(references, 12))
    assert (found.elements, found.candidates) == ((), 5)
    assert found.matches[0].id == references.id[12]
