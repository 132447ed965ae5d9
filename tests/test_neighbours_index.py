"""Known materials → embeddings that are kept: a pattern finds its own material without elements."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from xxact_core.checkpoint import Checkpoint, load_checkpoint, make_model
from xxact_core.errors import CheckpointError
from xxact_core.neighbours.embedding_index import EmbeddingIndex, build_index, open_index, pattern_to_traits
from xxact_core.neighbours.identify import Identifier
from xxact_core.neighbours.references import References, read_references
from xxact_core.patterns.pattern import GriddedPattern
from xxact_core.patterns.smearing import smear
from xxact_core.simulation.diffraction import arrays_to_sticks

MATERIALS = 60


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> References:
    """The first materials of the shipped table, as a table of their own."""
    path = tmp_path_factory.mktemp("known") / "few.parquet"
    table = pq.read_table(repository / "data" / "materials_project.parquet")
    pq.write_table(table.slice(0, MATERIALS), path)
    return read_references(path)


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return load_checkpoint()


@pytest.fixture(scope="module")
def index(references: References, checkpoint: Checkpoint) -> EmbeddingIndex:
    return build_index(references, checkpoint)


def narrow_pattern(references: References, row: int) -> GriddedPattern:
    structure = references.structure(row)
    sticks = arrays_to_sticks(
        cell=structure.cell, atomic_numbers=structure.atomic_numbers, frac_coords=structure.frac_coords
    )
    return smear(sticks, sigma=0.05)


def test_a_pattern_lies_nearest_to_its_own_material(
    references: References, checkpoint: Checkpoint, index: EmbeddingIndex
) -> None:
    firsts = [
        index.nearest(pattern_to_traits(narrow_pattern(references, row), checkpoint), count=5)
        for row in range(0, MATERIALS, 6)
    ]
    found = [row in near for row, near in zip(range(0, MATERIALS, 6), firsts, strict=True)]
    assert np.mean(found) >= 0.9


def test_the_index_is_kept_and_belongs_to_its_model(
    references: References, checkpoint: Checkpoint, index: EmbeddingIndex, tmp_path: Path
) -> None:
    opened = open_index(references, checkpoint, folder=tmp_path, progress=False)
    np.testing.assert_array_equal(opened.codes, index.codes)
    (file,) = tmp_path.glob("neighbours-*.npz")
    written = file.stat().st_mtime_ns
    again = open_index(references, checkpoint, folder=tmp_path, progress=False)
    np.testing.assert_array_equal(again.codes, index.codes)
    assert file.stat().st_mtime_ns == written
    other = replace(checkpoint, model=make_model(checkpoint.model.config, seed=1).eval())
    open_index(references, other, folder=tmp_path, progress=False)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_damaged_index_is_built_again(references: References, checkpoint: Checkpoint, tmp_path: Path) -> None:
    first = open_index(references, checkpoint, folder=tmp_path, progress=False)
    (file,) = tmp_path.glob("neighbours-*.npz")
    file.write_bytes(file.read_bytes()[:200])
    again = open_index(references, checkpoint, folder=tmp_path, progress=False)
    np.testing.assert_array_equal(again.codes, first.codes)


def test_a_model_that_does_not_encode_patterns_alone_is_refused(references: References, checkpoint: Checkpoint) -> None:
    config = replace(checkpoint.model.config, kind="crabnet", shortcuts_to_heads=False)
    blind = replace(checkpoint, model=make_model(config, seed=0).eval())
    with pytest.raises(CheckpointError, match="give the elements"):
        build_index(references, blind)


def test_without_elements_the_model_proposes_what_is_compared(references: References, tmp_path: Path) -> None:
    identifier = Identifier(references, cache=tmp_path)
    found = identifier.identify(narrow_pattern(references, 12))
    assert found.elements == ()
    assert found.candidates > MATERIALS / 2
    assert found.neighbours[0].id == references.id[12]


def test_the_steps_of_an_embedding_keep_its_neighbours(index: EmbeddingIndex) -> None:
    traits = index.mean + index.deviation * index.codes[7] / 127 * 4
    assert index.nearest(traits, count=1)[0] == 7
