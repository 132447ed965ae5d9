"""Chemical formula → composition; ambiguous formulas are refused."""

from __future__ import annotations

import math
import re
import unicodedata
from fractions import Fraction
from typing import NoReturn

from xxact_core.compositions.composition import Composition
from xxact_core.compositions.element_table import ATOMIC_NUMBERS
from xxact_core.errors import FormulaError, shorten

LONGEST_FORMULA = 500
DEEPEST_NESTING = 20
LARGEST_AMOUNT = 1_000_000

_SEPARATORS = str.maketrans(dict.fromkeys("·•∙⋅*×", "·"))
_BRACKETS = {"(": ")", "[": "]", "{": "}"}
_SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹"
_CHARGES = "+-−–—"
_TOKEN = re.compile(
    r"\s*(?:(?P<element>[A-Z][a-z]?)|(?P<number>[0-9]+(?:\.[0-9]+)?(?:[⁄/][0-9]+)?)|(?P<sign>[()\[\]{}·]))"
)
_HYDRATE = re.compile(r"(?<=[0-9A-Za-z)\]}])\.([0-9]*(?:\.[0-9]+)?(?:\([HDhd]2O\)|H2O|D2O))$")
_LARGEST_DENOMINATOR = 1000


def parse_formula(text: str) -> Composition:
    """Composition of a formula such as Fe2O3, Ca(OH)2, Li0.5CoO2, CuSO4·5H2O or 2MgO·SiO2.

    Brackets () [] {} nest; subscripts may be Unicode; a sum is written with · • ∙ * or, before a final H2O or between
    symbols, with a full stop: CuSO4.5H2O holds five waters, La1.75Sr0.25CuO4 a decimal.

    Raises:
        FormulaError: the message names the position, what was found and what was expected.
    """
    if len(text) > LONGEST_FORMULA:
        msg = f"the formula has {len(text)} characters; expected at most {LONGEST_FORMULA}"
        raise FormulaError(msg, code="E_FORMULA")
    plain = _to_plain(text)
    if not plain.strip():
        msg = "the formula is empty; expected something like Fe2O3"
        raise FormulaError(msg, code="E_FORMULA")
    amounts: dict[str, float] = {}
    _Reader(plain).read_sum(amounts)
    for symbol, amount in amounts.items():
        if amount > LARGEST_AMOUNT:
            msg = f"formula {shorten(text)!r}: the amount of {symbol} is {amount:g}; expected at most {LARGEST_AMOUNT}"
            raise FormulaError(msg, code="E_FORMULA")
    return Composition(symbols=tuple(amounts), amounts=tuple(amounts.values()))


def _to_plain(text: str) -> str:
    """The formula in ASCII, with sums written as `·`; refuses what would change its meaning."""
    characters: list[str] = []
    for position, character in enumerate(text):
        before = characters[-1][-1] if characters else " "
        kind = unicodedata.decomposition(character).split(" ")[0]
        if character in _SUPERSCRIPTS and not (before.isalpha() or before in ")]}"):
            _refuse(text, position, "a superscript here is a charge or an isotope; write the neutral formula, H for D")
        if kind == "<fraction>":
            if before.isdigit():
                _refuse(text, position, "a fraction behind a digit can be read in two ways; write a decimal")
            characters.append(f"{unicodedata.numeric(character):.9g}")
        else:
            characters.append(unicodedata.normalize("NFKC", character) or " ")
    plain = "".join(characters).translate(_SEPARATORS).strip()
    sign = next((position for position, character in enumerate(plain) if character in _CHARGES), None)
    if sign is not None:
        _refuse(plain, sign, "charges and negative amounts are not read; write the neutral formula")
    return _with_sum_dots(plain)


def _with_sum_dots(plain: str) -> str:
    """Replace full stops that denote a sum by `·`; decimal points stay."""
    plain = re.sub(r"\s+\.\s*|\s*\.\s+", "·", plain)
    plain = re.sub(r"(?<=[A-Za-z)\]}])\.(?=[A-Z(\[{])|(?<=[0-9])\.(?=[A-Z(\[{])", "·", plain)
    hydrate = _HYDRATE.search(plain)
    if hydrate:
        before = re.search(r"[0-9]*$", plain[: hydrate.start()])
        if before is None or before[0] == "" or float(before[0]) > 0:
            plain = plain[: hydrate.start()] + "·" + hydrate[1]
    doubtful = re.search(r"(?<=[A-Za-z)\]}])\.[0-9]", plain)
    if doubtful is None and re.match(r"[0-9]", plain):
        doubtful = re.search(r"(?<=[A-Za-z)\]}])0*[1-9][0-9]*\.[0-9]+(?=\s*[A-Z(\[{])", plain)
    if doubtful:
        _refuse(plain, doubtful.start(), "the full stop can be read in two ways; write · for a sum, 0.5 for a decimal")
    return plain


class _Reader:
    """Recursive descent over one formula: sum := part (· part)*, part := [number] (group [number])+."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0

    def read_sum(self, amounts: dict[str, float]) -> None:
        while True:
            self._read_part(amounts)
            kind, sign = self._peek()
            if kind == "end":
                return
            if sign != "·":
                _refuse(self.text, self._place(), f"{sign!r} has no opening bracket")
            self._take()

    def _read_part(self, amounts: dict[str, float]) -> None:
        kind, _ = self._peek()
        multiplier = self._read_number() if kind == "number" else 1.0
        for symbol, amount in self._read_groups(depth=0).items():
            amounts[symbol] = amounts.get(symbol, 0.0) + multiplier * amount

    def _read_groups(self, *, depth: int) -> dict[str, float]:
        if depth > DEEPEST_NESTING:
            _refuse(self.text, self._place(), f"brackets nest deeper than {DEEPEST_NESTING}")
        amounts: dict[str, float] = {}
        while True:
            kind, token = self._peek()
            if kind == "element":
                inner = {self._read_element(): 1.0}
            elif token in _BRACKETS:
                closing = _BRACKETS[token]
                self._take()
                inner = self._read_groups(depth=depth + 1)
                if self._peek()[1] != closing:
                    _refuse(self.text, self._place(), f"expected {closing!r} for {token!r}")
                self._take()
            elif amounts:
                return amounts
            else:
                _refuse(self.text, self._place(), "expected an element symbol or a bracket")
            multiplier = self._read_number() if self._peek()[0] == "number" else 1.0
            if self._peek()[0] == "number":
                _refuse(self.text, self._place(), "two numbers follow one another")
            for symbol, amount in inner.items():
                amounts[symbol] = amounts.get(symbol, 0.0) + multiplier * amount

    def _read_element(self) -> str:
        place = self._place()
        _, symbol = self._take()
        if symbol not in ATOMIC_NUMBERS:
            hint = "D and T are isotopes: write H" if symbol in {"D", "T"} else _suggestion(self.text)
            _refuse(self.text, place, f"{symbol!r} is not a chemical element{'; ' if hint else ''}{hint}")
        return symbol

    def _read_number(self) -> float:
        place = self._place()
        _, token = self._take()
        numerator, _, denominator = token.replace("⁄", "/").partition("/")
        if denominator and float(denominator) == 0:
            _refuse(self.text, place, f"the amount {token} divides by zero")
        value = float(numerator) / float(denominator or 1)
        if not 0 < value <= LARGEST_AMOUNT:
            shown = shorten(token, limit=20)
            _refuse(self.text, place, f"the amount {shown} is not above 0 and at most {LARGEST_AMOUNT}")
        return value

    def _place(self) -> int:
        """Position of the next token, after white space."""
        rest = self.text[self.position :]
        return self.position + len(rest) - len(rest.lstrip())

    def _peek(self) -> tuple[str, str]:
        if not self.text[self.position :].strip():
            return "end", ""
        match = _TOKEN.match(self.text, self.position)
        if match is None:
            hint = _suggestion(self.text)
            character = self.text[self._place()]
            _refuse(self.text, self._place(), f"{character!r} is not expected{'; ' if hint else ''}{hint}")
        kind = match.lastgroup or "sign"
        return kind, match[kind]

    def _take(self) -> tuple[str, str]:
        kind, token = self._peek()
        match = _TOKEN.match(self.text, self.position)
        self.position = match.end() if match else self.position
        return kind, token


def _refuse(text: str, position: int, reason: str) -> NoReturn:
    msg = f"formula {shorten(text)!r}, character {position + 1}: {reason}"
    raise FormulaError(msg, code="E_FORMULA")


def _suggestion(text: str) -> str:
    """`did you mean ...?` for symbols in the wrong case, or nothing."""
    if not re.fullmatch(r"[A-Za-z0-9.()]{1,30}", text):
        return ""
    readings = [reading for reading in _readings(re.findall(r"[A-Za-z]|[^A-Za-z]+", text.lower())) if reading != text]
    shown = readings[:1] if text.isupper() else readings
    return f"did you mean {' or '.join(shown)}?" if shown else ""


def _readings(pieces: list[str]) -> list[str]:
    """Readings of lower-case letters as element symbols, two-letter symbols first."""
    if not pieces:
        return [""]
    first = pieces[0]
    if not first.isalpha():
        return [first + rest for rest in _readings(pieces[1:])]
    found: list[str] = []
    if len(pieces) > 1 and (first + pieces[1]).capitalize() in ATOMIC_NUMBERS:
        found += [(first + pieces[1]).capitalize() + rest for rest in _readings(pieces[2:])[:3]]
    if first.upper() in ATOMIC_NUMBERS:
        found += [first.upper() + rest for rest in _readings(pieces[1:])[:3]]
    return found[:3]


def reduced_formula(composition: Composition) -> str:
    """Alphabetical, with all numbers, divided by their common factor: K1Mn1O2. The key that groups polymorphs.

    Decimals that are fractions with denominators up to 1000 become whole numbers (Li0.5CoO2 → Co2Li1O4); others stay.
    """
    amounts = reduced_amounts(composition)
    return "".join(f"{symbol}{amounts[symbol]}" for symbol in sorted(amounts))


def reduced_amounts(composition: Composition) -> dict[str, str]:
    """Amount of each element, as text, divided by their common factor; see `reduced_formula`."""
    symbols, amounts = composition.symbols, composition.amounts
    fractions = [Fraction(amount).limit_denominator(_LARGEST_DENOMINATOR) for amount in amounts]
    pairs = zip(fractions, amounts, strict=True)
    exact = all(math.isclose(fraction, amount, rel_tol=1e-9) for fraction, amount in pairs)
    multiple = math.lcm(*(fraction.denominator for fraction in fractions))
    if not exact or multiple > _LARGEST_DENOMINATOR:
        return {symbol: f"{amount:.6g}" for symbol, amount in zip(symbols, amounts, strict=True)}
    whole = [int(fraction * multiple) for fraction in fractions]
    divisor = math.gcd(*whole)
    return {symbol: str(number // divisor) for symbol, number in zip(symbols, whole, strict=True)}
