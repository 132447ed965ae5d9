"""Distributions of a dataset's splits over crystal systems and elements."""

from __future__ import annotations

import numpy as np

from xxact_core.compositions.element_table import SYMBOLS
from xxact_core.dataset.splits import SPLITS
from xxact_core.dataset.table import StickTable
from xxact_core.quantities import CRYSTAL_SYSTEMS

NOBLE_GASES = (0, 2, 10, 18, 36, 54, 86, 118)
"""Atomic numbers after which a period begins."""

GROUPS = 18
LANTHANUM, LUTETIUM, ACTINIUM, LAWRENCIUM = 57, 71, 89, 103


def crystal_system_counts(table: StickTable, split: str) -> dict[str, int]:
    """Number of materials of each crystal system in a split, where it is known."""
    systems = table.targets["crystal_system"][table.rows(split)]
    counts = np.bincount(systems[~np.isnan(systems)].astype(int), minlength=len(CRYSTAL_SYSTEMS))
    return dict(zip(CRYSTAL_SYSTEMS, counts.tolist(), strict=True))


def element_counts(table: StickTable, split: str) -> dict[str, int]:
    """Number of materials of a split that contain each element; all 118 elements by symbol."""
    in_split = np.repeat(table.split == SPLITS.index(split), np.diff(table.element_start))
    counts = np.bincount(table.atomic_number[in_split], minlength=len(SYMBOLS) + 1)[1:]
    return dict(zip(SYMBOLS, counts.tolist(), strict=True))


def element_place(atomic_number: int) -> tuple[int, int]:
    """Row and column (from 1) of an element: period and group, lanthanoids in row 8 and actinoids in row 9.

    Source: IUPAC periodic table of the elements, 2022, whose two separate rows have 15 elements each, in columns 3-17.
    """
    if LANTHANUM <= atomic_number <= LUTETIUM:
        return 8, 3 + atomic_number - LANTHANUM
    if ACTINIUM <= atomic_number <= LAWRENCIUM:
        return 9, 3 + atomic_number - ACTINIUM
    period = sum(atomic_number > noble for noble in NOBLE_GASES)
    from_left, from_right = atomic_number - NOBLE_GASES[period - 1], NOBLE_GASES[period] - atomic_number
    first_block = 1 if period == 1 else 2  # hydrogen and the s block; everything else is counted from the noble gas
    return period, from_left if from_left <= first_block else GROUPS - from_right
