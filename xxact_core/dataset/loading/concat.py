"""Several datasets → one: the first with all its splits, of the others only the training materials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from xxact_core.dataset.splits import IN_NO_SPLIT, SPLITS, prototypes
from xxact_core.dataset.table import ResidentSticks, StickTable
from xxact_core.errors import DatasetError

_TRAIN = SPLITS.index("train")


def join_training_data(table: StickTable, others: Sequence[StickTable], *, by: str = "formula") -> StickTable:
    """Append the training materials of other datasets; all must be in memory.

    Args:
        table: dataset whose validation and test splits are kept.
        others: datasets to append; their validation and test materials are in no split.
        by: grouping of the splits, see `xxact_core.dataset.splits`.

    Raises:
        DatasetError: the wavelengths differ, reflections are not in memory, or a group for training in one dataset is
            for validation or test in the first.
    """
    if not others:
        return table
    tables = [table, *others]
    unseen = set(_groups(table, by=by)[table.split > _TRAIN])
    for other in others:
        if other.wavelength != table.wavelength:
            msg = f"the datasets have wavelengths {table.wavelength} and {other.wavelength} Å; expected the same"
            raise DatasetError(msg, code="E_DATASET")
        leaked = sorted(unseen & set(_groups(other, by=by)[other.split == _TRAIN]))
        if leaked:
            msg = f"{len(leaked)} groups, such as {leaked[:3]}, are for training in one dataset and for "
            msg += "validation or test in another; build both with the same --seed"
            raise DatasetError(msg, code="E_DATASET")
    if not all(each.resident for each in tables):
        msg = "datasets that are streamed from disk cannot be joined; merge them with `xxact dataset merge`"
        raise DatasetError(msg, code="E_DATASET")

    def joined(name: str) -> np.ndarray:
        return np.concatenate([getattr(each, name) for each in tables])

    def starts(name: str) -> np.ndarray:
        ends = np.cumsum([0, *(getattr(each, name)[-1] for each in tables)])
        parts = [getattr(each, name)[:-1] + end for each, end in zip(tables, ends[:-1], strict=True)]
        return np.concatenate([*parts, ends[-1:]])

    splits = [table.split, *(np.where(other.split == _TRAIN, _TRAIN, IN_NO_SPLIT) for other in others)]
    return replace(
        table,
        id=joined("id"),
        formula=joined("formula"),
        split=np.concatenate(splits).astype(np.int8),
        energy_kind=joined("energy_kind"),
        cell_is_measured=joined("cell_is_measured"),
        targets={name: np.concatenate([each.targets[name] for each in tables]) for name in table.targets},
        cell=joined("cell"),
        element_start=starts("element_start"),
        atomic_number=joined("atomic_number"),
        fraction=joined("fraction"),
        rotation_start=starts("rotation_start"),
        rotations=joined("rotations"),
        reflection_count=joined("reflection_count"),
        stored=ResidentSticks(starts("peak_start"), joined("hkl"), joined("intensity")),
        others=tuple(other.digest for other in others),
    )


def _groups(table: StickTable, *, by: str) -> np.ndarray:
    """Formula or prototype of every material, shape (materials,)."""
    return np.asarray(table.formula, dtype=object) if by == "formula" else prototypes(table)
