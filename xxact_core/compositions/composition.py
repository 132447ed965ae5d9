"""A chemical composition: which elements, in which fractions."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from xxact_core.compositions.element_table import ATOMIC_NUMBERS
from xxact_core.errors import FormulaError


@dataclass(frozen=True)
class Composition:
    """Elements and their amounts, sorted by descending amount, then by atomic number."""

    symbols: tuple[str, ...]
    """Element symbols, each once."""
    amounts: tuple[float, ...]
    """Positive amounts, (3.0, 2.0) for O and Al of Al2O3."""

    def __post_init__(self) -> None:
        """Check and sort elements and amounts; `FormulaError` names the first invalid one."""
        if not self.symbols or len(self.symbols) != len(self.amounts):
            msg = f"a composition needs one amount for each element, not {self.symbols} and {self.amounts}"
            raise FormulaError(msg, code="E_FORMULA")
        if len(set(self.symbols)) != len(self.symbols):
            msg = f"an element occurs twice in {self.symbols}"
            raise FormulaError(msg, code="E_FORMULA")
        for symbol, amount in zip(self.symbols, self.amounts, strict=True):
            if symbol not in ATOMIC_NUMBERS:
                msg = f"{symbol!r} is not a chemical element (D and T are written H)"
                raise FormulaError(msg, code="E_FORMULA")
            if not (np.isfinite(amount) and amount > 0):
                msg = f"the amount of {symbol} is {amount}; expected a positive number"
                raise FormulaError(msg, code="E_FORMULA")
        pairs = sorted(
            zip(self.symbols, self.amounts, strict=True), key=lambda pair: (-pair[1], ATOMIC_NUMBERS[pair[0]])
        )
        object.__setattr__(self, "symbols", tuple(symbol for symbol, _ in pairs))
        object.__setattr__(self, "amounts", tuple(float(amount) for _, amount in pairs))

    @property
    def atomic_numbers(self) -> np.ndarray:
        """Atomic numbers, shape (elements,), int64, largest amount first."""
        return np.array([ATOMIC_NUMBERS[symbol] for symbol in self.symbols], dtype=np.int64)

    @property
    def fractions(self) -> np.ndarray:
        """Atomic fractions, shape (elements,), float64, summing to 1, largest first."""
        amounts = np.array(self.amounts, dtype=np.float64)
        fractions: np.ndarray = amounts / amounts.sum()
        return fractions


def composition_to_text(composition: Composition) -> str:
    """Elements and amounts, separated by spaces, which no notation of formulas can misread: `Si0.62 Al2.38 O4.77`."""
    return " ".join(
        f"{symbol}{amount:.6g}" for symbol, amount in zip(composition.symbols, composition.amounts, strict=True)
    )


def text_to_composition(text: str) -> Composition:
    """The inverse of `composition_to_text`.

    Raises:
        FormulaError: an element is unknown, or an amount is not positive.
        ValueError: an amount is not a number.
    """
    parts = [re.fullmatch("([A-Z][a-z]?)(.+)", part) for part in text.split()]
    pairs = [(part[1], float(part[2])) for part in parts if part is not None]
    return Composition(tuple(symbol for symbol, _ in pairs), tuple(amount for _, amount in pairs))
