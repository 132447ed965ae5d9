"""Train, validation and test split, by reduced formula or by prototype, so that no group is in two splits."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from xxact_core.errors import DatasetError

if TYPE_CHECKING:
    from xxact_core.dataset.table import StickTable

SPLITS = ("train", "validation", "test")
SHARES = (0.85, 0.05, 0.10)
"""Fractions of the formulas. XxaCT-NN (section 3.3) splits rows: 90 % and 10 %, without validation."""

IN_NO_SPLIT = -1
"""Split index of a material that is left out."""

GROUPINGS = ("formula", "prototype")
"""Groups that a split keeps together: polymorphs of a formula, or compounds of a structure type."""

_AMOUNT = re.compile(r"[A-Z][a-z]?([0-9.e+-]+)")


def formula_to_split(reduced_formula: str, *, seed: int) -> str:
    """Split of a reduced formula, by a hash of formula and seed; it does not depend on other materials."""
    digest = hashlib.sha256(f"{seed}:{reduced_formula}".encode()).digest()
    position = int.from_bytes(digest[:8], "big") / 2**64
    return SPLITS[0] if position < SHARES[0] else SPLITS[1] if position < SHARES[0] + SHARES[1] else SPLITS[2]


def anonymous_formula(reduced_formula: str) -> str:
    """A reduced formula without its elements: amounts in ascending order, with letters; Al2Mg1O4 → AB2C4."""
    amounts = sorted(_AMOUNT.findall(reduced_formula), key=float)
    return "".join(chr(ord("A") + place) + ("" if amount == "1" else amount) for place, amount in enumerate(amounts))


def prototypes(table: StickTable) -> np.ndarray:
    """Anonymous formula and space group of every material, such as `AB-225`; shape (materials,).

    Where the space group is unknown it is the anonymous formula alone. A name may denote several
    structure types, since a dataset lacks the Wyckoff positions that distinguish them.
    """
    kinds, kind_of = np.unique(np.asarray(table.formula, dtype=str), return_inverse=True)
    anonymous = np.array([anonymous_formula(kind) for kind in kinds], dtype=object)[kind_of]
    groups = ["" if np.isnan(group) else f"-{int(group) + 1}" for group in table.targets["space_group"]]
    names: np.ndarray = anonymous + np.array(groups, dtype=object)
    return names


def prototype_splits(table: StickTable, *, seed: int) -> np.ndarray:
    """Split of every material as an index of `SPLITS`, all materials of a prototype in the same; shape (materials,).

    `SHARES` are fractions of the prototypes; those of the materials differ if a prototype has many.
    """
    names, name_of = np.unique(prototypes(table).astype(str), return_inverse=True)
    codes = [SPLITS.index(formula_to_split(name, seed=seed)) for name in names]
    return np.array(codes, dtype=table.split.dtype)[name_of]


def with_split(table: StickTable, *, by: str, seed: int = 0) -> StickTable:
    """The same materials with another split: by `formula`, as the dataset was built, or by `prototype`.

    Raises:
        DatasetError: `by` is neither.
    """
    if by not in GROUPINGS:
        msg = f"cannot split by {by!r}; choose from {', '.join(GROUPINGS)}"
        raise DatasetError(msg, code="E_DATASET")
    return table if by == "formula" else replace(table, split=prototype_splits(table, seed=seed))


def with_training_rows(table: StickTable, *, rows: int | None, seed: int) -> StickTable:
    """The same dataset with only `rows` of its training materials, the others in no split; all for None.

    They are the first of a permutation by the seed, so that smaller selections are subsets of larger ones.

    Raises:
        DatasetError: the dataset has fewer.
    """
    if rows is None:
        return table
    train = table.rows("train")
    if rows > len(train):
        msg = f"{rows} training materials were requested; the dataset has {len(train)}"
        raise DatasetError(msg, code="E_DATASET")
    split = table.split.copy()
    split[np.random.default_rng(seed).permutation(train)[rows:]] = IN_NO_SPLIT
    return replace(table, split=split)
