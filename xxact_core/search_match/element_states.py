"""What is known of the elements of a specimen → the reference phases that it may contain."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from xxact_core.compositions.element_table import ATOMIC_NUMBERS
from xxact_core.errors import FormulaError
from xxact_core.search_match.database import ReferenceDatabase, check_elements


@dataclass(frozen=True)
class ElementStates:
    """Elements that a specimen must, may, or cannot contain; each tuple in the order given."""

    must: tuple[str, ...] = ()
    """Elements that the specimen contains: each is in at least one of its phases."""
    may: tuple[str, ...] = ()
    """Elements that it may contain besides."""
    one_of: tuple[str, ...] = ()
    """Elements of which it contains at least one."""
    never: tuple[str, ...] = ()
    """Elements that no phase contains."""

    @property
    def possible(self) -> tuple[str, ...]:
        """All elements that the phases may contain; empty where every element but those of `never` is possible."""
        if not self.must and not self.may:
            return ()
        return tuple(dict.fromkeys((*self.must, *self.may, *self.one_of)))

    def rows(self, references: ReferenceDatabase) -> np.ndarray | None:
        """Rows of the phases that the specimen may contain, in ascending order; None for all."""
        if self.possible:
            return references.rows_within(self.possible)
        if not self.never:
            return None
        low, high = _bits(self.never)
        bits = references.element_bits
        return np.flatnonzero(((bits[:, 0] & low) | (bits[:, 1] & high)) == 0)

    def missing(self, references: ReferenceDatabase, rows: np.ndarray) -> np.ndarray:
        """Number of required elements that each phase lacks, shape (rows,); `one_of` counts as one element."""
        bits = references.element_bits[rows]
        lacking = np.zeros(len(rows), dtype=np.int64)
        for required in [{symbol} for symbol in self.must] + ([set(self.one_of)] if self.one_of else []):
            low, high = _bits(required)
            lacking += ((bits[:, 0] & low) | (bits[:, 1] & high)) == 0
        return lacking


def parse_element_states(
    *,
    elements: Iterable[str] | None = None,
    maybe: Iterable[str] | None = None,
    one_of: Iterable[str] | None = None,
    exclude: Iterable[str] | None = None,
) -> ElementStates:
    """Element states from lists of symbols; None where a list is not given.

    Args:
        elements: that the specimen contains. With `maybe` and `one_of` they are all elements of its phases.
        maybe: that it may contain besides.
        one_of: of which it contains at least one.
        exclude: that it does not contain; alone, all other elements are possible.

    Raises:
        FormulaError: a symbol is unknown, a list is empty, or an element is both possible and excluded (E_ELEMENT).
    """
    must, may, either, never = (_checked(symbols) for symbols in (elements, maybe, one_of, exclude))
    for name, symbols in (("elements", must), ("maybe", may), ("one_of", either)):
        both = [symbol for symbol in symbols if symbol in never]
        if both:
            msg = f"{', '.join(both)} cannot be both in {name} and excluded; expected each element in one of them"
            raise FormulaError(msg, code="E_ELEMENT")
    return ElementStates(must, tuple(symbol for symbol in may if symbol not in must), either, never)


def _checked(symbols: Iterable[str] | None) -> tuple[str, ...]:
    """Symbols, each once, in the order given; empty where none are given."""
    if symbols is None:
        return ()
    given = tuple(dict.fromkeys(symbols))
    check_elements(given)
    return given


def _bits(symbols: Iterable[str]) -> tuple[np.uint64, np.uint64]:
    """Elements as the two columns of `ReferenceDatabase.element_bits`."""
    halves = [0, 0]
    for symbol in symbols:
        half, bit = divmod(ATOMIC_NUMBERS[symbol] - 1, 64)
        halves[half] |= 1 << bit
    return np.uint64(halves[0]), np.uint64(halves[1])
