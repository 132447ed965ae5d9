"""A partly known composition (amounts with errors, elements without amounts, possible elements), and its parsing."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import NoReturn

import numpy as np

from xxact_core.compositions.composition import Composition
from xxact_core.compositions.element_table import ATOMIC_MASSES, ATOMIC_NUMBERS
from xxact_core.compositions.formula import (
    ANIONS,
    LARGEST_AMOUNT,
    LONGEST_FORMULA,
    PERCENT_OF_A_PART,
    is_alloy,
    is_compound,
    parse_formula,
)
from xxact_core.compositions.formula_format import format_formula
from xxact_core.compositions.material_names import MATERIAL_NAMES
from xxact_core.compositions.notation import (
    check_name,
    plain_notation,
    with_decimal_points,
    with_hydrate_dots,
    with_values,
    without_oxidation_numbers,
)
from xxact_core.errors import FormulaError, shorten

NOTHING_KNOWN = "?"

_NUMBER = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
_UNIT = r"(?:at|wt)\.?\s*%"
_UNITS = re.compile(
    r"(?:(?P<wt>wt\.?\s*-?|wght\.?|weight|mass|ma\.?-|gew\.?-?|w)|(?P<at>at\.?\s*-?|atom(?:ic)?|mol(?:e|ar)?\.?-?|a))\s*"
    r"-?\s*(?:%|percent|pct\.?|/o(?![a-z]))",
    re.IGNORECASE,
)
_BRACKETED_UNIT = re.compile(r"[(\[]\s*((?:at|wt)%)\s*[)\]]")
_LEADING = re.compile(rf"({_NUMBER})\s*((?:at|wt)%)?\s*([A-Z][a-z]?)(?![a-z])")
_COMMA = r"(?:[,;]|(?<=[A-Za-z+])/(?=[A-Z]))"
_ALTERNATIVES = re.compile(rf"[(\[{{]((?:(?!{_COMMA})[^()\[\]{{}}])*{_COMMA}[^()\[\]{{}}]*)[)\]}}]")
_BRACKETED_DOPANT = re.compile(r"([A-Z][A-Za-z0-9]*[A-Za-z0-9])\s*\(([A-Z][a-z]?)\)")
_SUM_BY_WEIGHT = re.compile(r"([0-9.][^?±]*?[-+·][^?±]*?)\s*(at%|wt%)")
_PERCENT_OF_A_PART = re.compile(r"[A-Za-z0-9)]\s*[+·-]\s*([0-9.]+\s*(?:at|wt)%)\s*[A-Z(]")
_PERCENT_BEFORE = re.compile(rf"({_NUMBER})\s*(?:at|wt)?%?\s*([A-Z][A-Za-z0-9().]*)")
_PERCENT_BEHIND = re.compile(rf"([A-Z][A-Za-z0-9().]*)(?:\s*[:=]\s*|\s+)({_NUMBER})\s*(?:at|wt)?%?(?![0-9A-Za-z(])")
_DOPED = re.compile(
    r"\s*(?:[0-9.]+\s*(?:at|wt)?%\s*)?(?:[A-Z][a-z]?(?:[0-9]*\+)?(?:\s*[,/&+]\s*|\s+and\s+))*[A-Z][a-z]?(?:[0-9]*\+)?(?:-|\s+)doped\s+"
)
_DOPED_WITH = re.compile(r"\s+doped\s+(?:with|by)\s+")
_DOPANT = re.compile(
    r"([0-9]*\.?[0-9]+)?\s*%?\s*([A-Z][a-z]?)\s*\(?\s*(?:\(?[0-9]*[+-]\)?)?\s*(?:[0-9]*\.?[0-9]+)?\s*(?:(?:at|wt)?\s*%)?\s*\)?"
    r"(?:\s*\(?[0-9.]+\s*(?:at|wt)?%\)?)?"
)
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


def maybe_symbols(known: Composition | PartialComposition) -> tuple[str, ...]:
    """Elements that may be present besides those that are."""
    return known.maybe if isinstance(known, PartialComposition) else ()


def parse_composition(text: str) -> Composition | PartialComposition:
    """Parse what is known of a composition.

    - a formula, as `parse_formula` reads it: `Fe2O3`, `CuSO4·5H2O`;
    - amounts with standard errors, in atoms or percent: `Fe 40±2 O 60±3`, `Fe 72.4±0.5 wt%, O 27.6±1 wt%`; `±` may be
      written `+-`, and a unit that is given once applies to all;
    - elements without amounts: `Fe,O`;
    - with any of these, elements that may be present: `La,B,?O`, `Fe 70 wt% ?O ?H`, `LaB6 ?O`;
    - dopants behind a colon or before "doped", which may be present: `TiO2:Nb`, `Al-doped ZnO`;
    - solid solutions, of which the first element is present and the others may be: `(Mg,Fe)2SiO4`;
    - nothing: `?`.

    A text that is complete gives a `Composition`.

    Raises:
        FormulaError: the message names the position, what was found and what was expected, and suggests what to write.
    """
    if len(text) > LONGEST_FORMULA:
        return parse_formula(text)
    marked_down = with_values(plain_notation(text))
    plain = with_decimal_points(_with_plain_units(unicodedata.normalize("NFKC", marked_down))).strip()
    check_name(plain)
    host, dopants = _split_dopants(plain)
    if dopants:
        return _with_dopants(host, dopants)
    if by_weight := _SUM_BY_WEIGHT.fullmatch(plain):
        return _sum_in_percent(by_weight[1], by_weight[2])
    if not is_alloy(plain) and (part := _PERCENT_OF_A_PART.search(plain)):
        _refuse(plain, part.start(1), PERCENT_OF_A_PART)
    if "," in plain and plain.endswith("H2O"):
        plain = with_hydrate_dots(plain)
    plain = without_oxidation_numbers(plain)
    if alternatives := _ALTERNATIVES.search(plain):
        return _solid_solution(plain, alternatives)
    if not _MORE_THAN_A_FORMULA.search(plain) or is_alloy(plain):
        return parse_formula(text if "%" not in plain else plain)
    return PartialComposition() if plain == NOTHING_KNOWN else _parse_list(plain)


def _parse_list(plain: str) -> Composition | PartialComposition:
    """Composition of a list of elements, amounts with errors, and elements that may be present."""
    _refuse_compounds_in_percent(plain)
    if amount := re.search(r"\?\s*[A-Z][a-z]?\s*[0-9]", plain):
        _refuse(plain, amount.start(), "an element that may be present has no amount")
    maybe = tuple(_possible_element(plain, found) for found in _MAYBE.finditer(plain))
    certain = _MAYBE.sub(lambda found: " " * len(found[0]), plain)
    if not certain.strip():
        _refuse(plain, 0, "expected an element that is present, or ? alone if nothing is known")
    if _LIST_SIGNS.search(certain):
        known = _entries_to_composition(_amounts_behind(certain), maybe)
    else:
        formula = parse_composition(certain)
        if isinstance(formula, PartialComposition):
            return PartialComposition(formula.symbols, formula.amounts, formula.errors, (*formula.maybe, *maybe))
        known = PartialComposition(formula.symbols, formula.amounts, maybe=maybe)
    return known.exact or known


def _refuse_compounds_in_percent(plain: str) -> None:
    """Refuse a list of compounds with percentages, `80% SiO2, 20% Al2O3`; the message has the sum to write."""
    before, behind = _PERCENT_BEFORE.findall(plain), _PERCENT_BEHIND.findall(plain)
    for pairs in (before, [(amount, part) for part, amount in behind]):
        if len(pairs) > 1 and all(is_compound(part) for _, part in pairs):
            meant = "-".join(f"{amount}{part}" for amount, part in pairs)
            _refuse(plain, 0, f"percentages of compounds; write {shorten(meant, limit=60)} wt%, or mol%")


def _sum_in_percent(text: str, unit: str) -> Composition:
    """Composition of compounds in percent, `60SiO2-40Na2O wt%`; percentages by mole are amounts of formula units."""
    if unit == "at%":
        return parse_formula(text)
    amounts: dict[str, float] = {}
    for part in re.split(r"[-+·]", text):
        compound = re.fullmatch(rf"\s*({_NUMBER})\s*(?:wt%)?\s*([A-Z(\[].*?)\s*", part)
        if compound is None:
            _refuse(text, text.index(part), f"{part.strip()} has no percentage; expected one for each compound")
        formula = parse_formula(compound[2])
        masses = [ATOMIC_MASSES[ATOMIC_NUMBERS[symbol] - 1] for symbol in formula.symbols]
        mass = sum(amount * unit_mass for amount, unit_mass in zip(formula.amounts, masses, strict=True))
        for symbol, amount in zip(formula.symbols, formula.amounts, strict=True):
            amounts[symbol] = amounts.get(symbol, 0.0) + float(compound[1]) / mass * amount
    return Composition(tuple(amounts), tuple(amounts.values()))


def _with_plain_units(text: str) -> str:
    """Units of amounts as at% and wt%: weight-%, mass %, at.-%, mol%, w/o."""
    plain = _UNITS.sub(lambda found: "wt%" if found["wt"] else "at%", text)
    return _BRACKETED_UNIT.sub(r" \1", plain)


def _amounts_behind(text: str) -> str:
    """Entries with the amount before the symbol, `70 wt% Fe, 30 wt% Ni`, in the other order."""
    if not re.fullmatch(rf"(?:[\s,;]*{_LEADING.pattern})+[\s,;]*", text):
        return text
    return _LEADING.sub(lambda found: f"{found[3]} {found[1]} {found[2] or ''}", text)


def _split_dopants(text: str) -> tuple[str, str]:
    """Host and dopants of `TiO2:Nb` or `Nb-doped TiO2`; no dopants in other texts."""
    if text.count(":") == 1 and "?" not in text:
        host, _, dopants = (part.strip() for part in text.partition(":"))
        elements = all(part.strip() in ATOMIC_NUMBERS for part in re.split(r"[,/&+]", host))
        hosted = _DOPANT.fullmatch(re.split(r"[,;/&+]", dopants)[0].strip())
        if elements and (hosted is None or hosted[2] not in ATOMIC_NUMBERS or dopants in MATERIAL_NAMES):
            return dopants, host  # as of lasers, Nd:YAG
        return host, dopants
    if found := _DOPED.match(text):
        return text[found.end() :].strip(), re.sub(r"(?:-|\s+)doped\s+$", "", found[0]).strip()
    if (found := _BRACKETED_DOPANT.fullmatch(text)) and found[2] in ATOMIC_NUMBERS and found[2] not in ANIONS:
        return found[1], found[2]  # CsI(Tl)
    if found := _DOPED_WITH.search(text):
        return text[: found.start()].strip(), text[found.end() :].strip()
    other = re.search(r"(?:-|\s+)doped\s+", text)
    return (text[other.end() :].strip(), text[: other.start()].strip()) if other else (text, "")


def _with_dopants(host: str, dopants: str) -> PartialComposition:
    """Host with its dopants as elements that may be present; their amounts are not kept."""
    symbols: list[str] = []
    for part in re.split(r"[,;/&+]\s*(?=[0-9.]*\s*%?\s*[A-Z])|\s+and\s+", dopants):
        found = _DOPANT.fullmatch(part.strip())
        if found is None or found[2] not in ATOMIC_NUMBERS:
            msg = f"composition {shorten(f'{host}:{dopants}')!r}: {shorten(part.strip(), limit=40)!r} is not a dopant; "
            msg += "expected elements, such as in TiO2:Nb, or TiO2 ?Nb"
            raise FormulaError(msg, code="E_FORMULA")
        symbols.append(found[2])
    check_name(host, dopants=" ".join(f"?{symbol}" for symbol in symbols))
    known = parse_composition(host)
    partial = known if isinstance(known, PartialComposition) else PartialComposition(known.symbols, known.amounts)
    new = [symbol for symbol in dict.fromkeys(symbols) if symbol not in possible_symbols(partial)]
    return PartialComposition(partial.symbols, partial.amounts, partial.errors, (*partial.maybe, *new))


def _solid_solution(text: str, alternatives: re.Match[str]) -> Composition | PartialComposition:
    """Elements of a formula with alternatives in brackets; a complete one, if each alternative has its amount.

    Source: IMA formulas list the most abundant element first.
    """
    parts = [re.sub(r"[0-9]*[+-]$", "", part.strip()) for part in re.split(_COMMA, alternatives[1])]
    inside = alternatives[0][0] + "".join(parts) + alternatives[0][-1]
    if all(re.search(r"[A-Za-z)]\s*[0-9]*\.?[0-9]+$", part) for part in parts):
        return parse_composition(text[: alternatives.start()] + inside + text[alternatives.end() :])
    vacant = {"□", "☐", "◻", "▢", "Va", "vac", ""}
    named = [part for part in parts if part not in vacant]
    rest = text[: alternatives.start()] + "\0" + text[alternatives.end() :]
    if not named:
        _refuse(text, alternatives.start(), f"{alternatives[0]} names no element")
    variants = [parse_composition(rest.replace("\0", f"[{part}]")) for part in named]  # (I) is an oxidation number
    certain = variants[0].symbols
    if len(named) < len(parts):  # the site may be vacant, so that nothing on it is certain
        certain = tuple(symbol for symbol in certain if symbol not in _elements(named[0], rest))
    every = dict.fromkeys(symbol for variant in variants for symbol in possible_symbols(variant))
    present = certain or variants[0].symbols
    return PartialComposition(present, maybe=tuple(symbol for symbol in every if symbol not in present))


def _elements(part: str, rest: str) -> set[str]:
    """Elements of a part of a formula that its rest does not contain."""
    found = set(re.findall(r"[A-Z][a-z]?", part))
    return found - set(re.findall(r"[A-Z][a-z]?", rest))


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
