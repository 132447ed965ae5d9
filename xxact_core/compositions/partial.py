"""A partly known composition: amounts with errors, elements without amounts, possible elements."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xxact_core.compositions.composition import Composition
from xxact_core.compositions.element_table import ATOMIC_NUMBERS
from xxact_core.compositions.formula_format import format_formula
from xxact_core.errors import FormulaError


@dataclass(frozen=True)
class PartialComposition:
    """A partly known composition; without symbols, nothing is known."""

    symbols: tuple[str, ...] = ()
    """Elements that are present, each once."""
    amounts: tuple[float, ...] = ()
    """Amounts of substance of these elements, on any scale; empty where they are unknown."""
    errors: tuple[float, ...] = ()
    """Standard errors of the amounts, on the same scale."""
    maybe: tuple[str, ...] = ()
    """Elements that may be present as well."""

    def __post_init__(self) -> None:
        """Check elements, amounts and errors; `FormulaError` names the first invalid one."""
        for symbol in possible_symbols(self):
            if symbol not in ATOMIC_NUMBERS:
                msg = f"{symbol!r} is not a chemical element (D and T are written H)"
                raise FormulaError(msg, code="E_FORMULA")
            if possible_symbols(self).count(symbol) > 1:
                msg = f"{symbol} is given twice; expected each element once"
                raise FormulaError(msg, code="E_FORMULA")
        if self.maybe and not self.symbols:
            msg = f"{', '.join(self.maybe)} may be present, but no element is given as present; expected at least one"
            raise FormulaError(msg, code="E_FORMULA")
        if self.amounts and not self.errors:
            object.__setattr__(self, "errors", (0.0,) * len(self.amounts))
        if self.amounts and not len(self.symbols) == len(self.amounts) == len(self.errors):
            msg = f"expected an amount and an error for each of {self.symbols}, not {self.amounts} and {self.errors}"
            raise FormulaError(msg, code="E_FORMULA")
        for symbol, amount, error in zip(self.symbols, self.amounts, self.errors, strict=False):
            if not (np.isfinite(amount) and amount > 0 and np.isfinite(error) and error >= 0):
                msg = f"the amount of {symbol} is {amount:g} ± {error:g}; expected it above 0, its error at least 0"
                raise FormulaError(msg, code="E_FORMULA")

    @property
    def exact(self) -> Composition | None:
        """The composition, if it is known exactly."""
        if not self.amounts or any(self.errors) or self.maybe:
            return None
        return Composition(self.symbols, self.amounts)

    def __str__(self) -> str:
        """Text that `parse_composition` reads; amounts with errors in atomic percent."""
        if not self.symbols:
            return "?"
        maybe = [f"?{symbol}" for symbol in self.maybe]
        if not self.amounts:
            return ",".join([*self.symbols, *maybe])
        if not any(self.errors):
            return " ".join([format_formula(Composition(self.symbols, self.amounts)), *maybe])
        shares = 100 / sum(self.amounts)
        known = zip(self.symbols, self.amounts, self.errors, strict=True)
        entries = [f"{symbol} {shares * amount:.4g}±{shares * error:.2g} at%" for symbol, amount, error in known]
        return " ".join([*entries, *maybe])

    @property
    def in_words(self) -> str:
        """Description of what is known."""
        if not self.symbols:
            return "no composition"
        kind = "amounts with errors" if any(self.errors) else "amounts" if self.amounts else "elements without amounts"
        return f"{kind}; {', '.join(self.maybe)} possible" if self.maybe else kind


def possible_symbols(known: Composition | PartialComposition) -> tuple[str, ...]:
    """Elements that are or may be present."""
    return (*known.symbols, *known.maybe) if isinstance(known, PartialComposition) else known.symbols
