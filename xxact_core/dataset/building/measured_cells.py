"""Reference table → the structures whose cells were measured, as training data for symmetry."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from xxact_core.dataset.building.structure_rows import is_for_training, read_structures, write_structures
from xxact_core.errors import DatasetError
from xxact_core.structures.structure import Structure


def write_measured_structures(source: Path, table: Path, *, split_seed: int = 0) -> int:
    """Write the structures with measured cells and training formulas to a structure table; returns their number.

    The formula that is assigned to a split includes hydrogen that has no coordinates. A structure whose located atoms
    alone have a formula of validation or test is left out, too.

    Raises:
        DatasetError: no cell of the source is stated to be measured, or the table exists.
    """
    count = write_structures(_measured_structures(source, split_seed=split_seed), table)
    if not count:
        table.unlink()
        msg = f"{source} states of no structure with a training formula that its cell was measured; expected a "
        msg += "reference table, or a column cell_is_measured"
        raise DatasetError(msg, code="E_DATASET")
    return count


def _measured_structures(source: Path, *, split_seed: int) -> Iterator[Structure]:
    for structure in read_structures(source):
        if structure.cell_is_measured and is_for_training(structure, split_seed=split_seed):
            yield structure
