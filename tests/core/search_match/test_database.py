"""Reference database: columns of all phases, and what is known of single ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from xxact_core.compositions.element_table import ATOMIC_NUMBERS, SYMBOLS
from xxact_core.search_match.database import (
    LINES,
    StructureReferences,
    bits_to_elements,
    elements_to_bits,
    read_references,
)


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> StructureReferences:
    path = tmp_path_factory.mktemp("references") / "few.parquet"
    pq.write_table(pq.read_table(repository / "xxact_core" / "data" / "materials_project.parquet").slice(0, 25), path)
    return read_references(path)


def test_strongest_lines_are_those_of_the_calculated_pattern(references: StructureReferences) -> None:
    lines = references.lines
    assert lines.position.shape == lines.height.shape == (25, LINES)
    for row in range(25):
        sticks = references.sticks(row)
        count = min(LINES, len(sticks.two_theta))
        d = sticks.wavelength / (2 * np.sin(np.radians(sticks.two_theta / 2)))
        assert np.isnan(lines.position[row, count:]).all()
        assert (np.diff(lines.position[row, :count]) >= 0).all()
        strongest = int(lines.height[row].argmax())
        assert np.exp(-lines.position[row, strongest]) == pytest.approx(d[sticks.intensity.argmax()], rel=1e-5)
        weakest = np.sort(sticks.intensity)[-count] / sticks.intensity.max()
        assert lines.height[row, :count].min() == pytest.approx(weakest, rel=1e-5)


def test_elements_survive_the_way_through_bits() -> None:
    numbers = np.array([1, 118, 8, 64, 65, 8, 22])
    start = np.array([0, 2, 5, 7])
    element_start, element = bits_to_elements(elements_to_bits(numbers, start))
    assert element_start.tolist() == [0, 2, 5, 7]
    assert element.tolist() == [1, 118, 8, 64, 65, 8, 22]


def test_columns_agree_with_the_structures(references: StructureReferences) -> None:
    for row in range(25):
        structure = references.structure(row)
        elements = references.element[references.element_start[row] : references.element_start[row + 1]]
        assert {SYMBOLS[number - 1] for number in elements} == set(references.symbols(row))
        assert set(elements.tolist()) == {ATOMIC_NUMBERS[symbol] for symbol in structure.composition.symbols}
        density = references.cell_mass[row] / references.cell_volume[row] / 0.602214076
        assert 0.5 < density < 25
        assert references.ids(row)[0] == references.id[row]
    assert not references.disordered.any()
    assert not references.experimental.any()
    assert np.isnan(references.energy_above_hull).all()
