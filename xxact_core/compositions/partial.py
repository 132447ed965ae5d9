"""A partly known composition (amounts with errors, elements without amounts, possible elements), and its parsing."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import NoReturn

import numpy as np

from xxact_core.compositions.composition import Composition
from xxact_core.compositions.element_table import ATOMIC_MASSES, ATOMIC_NUMBERS
from xxact_core.compositions.formula import LARGEST_AMOUNT, LONGEST_FORMULA, parse_formula
from xxact_core.compositions.formula_format import format_formula
from xxact_core.errors import FormulaError, shorten

NOTHING_KNOWN = "?"

_NUMBER = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
_UNIT = r"(?:at|wt)\.?\s*%"
_MORE_THAN_A_FORMULA = re.compile(r"[?±%,;]|\+/?-")
_LIST_SIGNS = re.compile(r"[±%,;]|\+/?-")
_MAYBE = re.compile(r"[,;\s]*\?\s*([A-Za-z]*)")
_ENTRY = re.compile(
    rf"(?P<symbol>[A-Z][a-z]?)\s*(?:(?P<amount>{_NUMBER})\s*(?P<unit>{_UNIT})?"
    rf"\s*(?:(?:±|\+/?-)\s*(?P<error>{_NUMBER})\s*(?P<late_unit>{_UNIT})?)?)?"
)
_SEPARATOR = re.compile(r"\s*[,;]?\s*")


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
            return NOTHING_KNOWN
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


def parse_composition(text: str) -> Composition | PartialComposition:
    """Parse what is known of a composition.

    - a formula, as `parse_formula` reads it: `Fe2O3`, `CuSO4·5H2O`;
    - amounts with standard errors, in atoms or percent: `Fe 40±2 O 60±3`, `Fe 72.4±0.5 wt%, O 27.6±1 wt%`; `±` may be
      written `+-`, and a unit that is given once applies to all;
    - elements without amounts: `Fe,O`;
    - with any of these, elements that may be present: `La,B,?O`, `Fe 70 wt% ?O ?H`, `LaB6 ?O`;
    - nothing: `?`.

    A text that is complete gives a `Composition`.

    Raises:
        FormulaError: the message names the position, what was found and what was expected.
    """
    if len(text) > LONGEST_FORMULA or not _MORE_THAN_A_FORMULA.search(unicodedata.normalize("NFKC", text)):
        return parse_formula(text)
    plain = unicodedata.normalize("NFKC", text).strip()
    if plain == NOTHING_KNOWN:
        return PartialComposition()
    maybe = tuple(_possible_element(plain, found) for found in _MAYBE.finditer(plain))
    certain = _MAYBE.sub(lambda found: " " * len(found[0]), plain)
    if not certain.strip():
        _refuse(plain, 0, "expected an element that is present, or ? alone if nothing is known")
    if _LIST_SIGNS.search(certain):
        known = _entries_to_composition(certain, maybe)
    else:
        formula = parse_formula(certain)
        known = PartialComposition(formula.symbols, formula.amounts, maybe=maybe)
    return known.exact or known


def _possible_element(text: str, found: re.Match[str]) -> str:
    if found[1] not in ATOMIC_NUMBERS:
        what = f"{found[1]!r} is not a chemical element" if found[1] else "nothing follows the ?"
        _refuse(text, found.start(1), f"{what}; expected an element that may be present, such as ?O")
    return found[1]


def _entries_to_composition(text: str, maybe: tuple[str, ...]) -> PartialComposition:
    """Composition of consecutive entries `Fe 40±2 at%`, in amounts of substance."""
    entries = _read_entries(text)
    symbols = tuple(entry["symbol"] for entry in entries)
    with_amount = [entry for entry in entries if entry["amount"]]
    if not with_amount:
        return PartialComposition(symbols, maybe=maybe)
    if bare := [entry for entry in entries if not entry["amount"]]:
        symbol = bare[0]["symbol"]
        _refuse(text, bare[0].start(), f"{symbol} has no amount; expected all or none to have one, or ?{symbol}")
    units = {unit[:2] for entry in entries for unit in (entry["unit"], entry["late_unit"]) if unit}
    if len(units) > 1:
        _refuse(text, 0, "at% and wt% are mixed; expected one of them")
    in_atoms = 1.0 if units != {"wt"} else None
    masses = [in_atoms or ATOMIC_MASSES[ATOMIC_NUMBERS[symbol] - 1] for symbol in symbols]
    pairs = [(float(entry["amount"]), float(entry["error"] or 0)) for entry in entries]
    for entry, (amount, _) in zip(entries, pairs, strict=True):
        if not 0 < amount <= LARGEST_AMOUNT:
            _refuse(text, entry.start("amount"), f"the amount {amount:g} is not above 0 and at most {LARGEST_AMOUNT}")
    amounts = tuple(amount / mass for (amount, _), mass in zip(pairs, masses, strict=True))
    errors = tuple(error / mass for (_, error), mass in zip(pairs, masses, strict=True))
    return PartialComposition(symbols, amounts, errors, maybe)


def _read_entries(text: str) -> list[re.Match[str]]:
    entries: list[re.Match[str]] = []
    place = len(text) - len(text.lstrip())
    end = len(text.rstrip())
    while place < end:
        entry = _ENTRY.match(text, place)
        if entry is None:
            found = text[place]
            expected = "at% or wt% behind a number" if found == "%" else "an element symbol, such as in Fe 40±2, O 60±3"
            _refuse(text, place, f"{found!r} is not expected; expected {expected}")
        if entry["symbol"] not in ATOMIC_NUMBERS:
            _refuse(text, place, f"{entry['symbol']!r} is not a chemical element")
        entries.append(entry)
        separator = _SEPARATOR.match(text, entry.end())
        place = separator.end() if separator else entry.end()
    return entries


def _refuse(text: str, position: int, reason: str) -> NoReturn:
    msg = f"composition {shorten(text.strip())!r}, character {position + 1}: {reason}"
    raise FormulaError(msg, code="E_FORMULA")
