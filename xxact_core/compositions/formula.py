"""Chemical formula → composition; ambiguous formulas are refused."""

from __future__ import annotations

import math
import re
import unicodedata
from fractions import Fraction
from itertools import product
from typing import NoReturn

from xxact_core.compositions.composition import Composition
from xxact_core.compositions.element_table import ATOMIC_MASSES, ATOMIC_NUMBERS
from xxact_core.compositions.notation import (
    SUPERSCRIPTS,
    check_ligands,
    check_name,
    check_variables,
    elements_hint,
    plain_notation,
    refuse,
    with_decimal_points,
    with_hydrate_dots,
    with_values,
    without_oxidation_numbers,
    without_polymorph,
)
from xxact_core.errors import FormulaError, shorten

LONGEST_FORMULA = 500
DEEPEST_NESTING = 20
LARGEST_AMOUNT = 1_000_000

_SEPARATORS = str.maketrans(dict.fromkeys("·•∙⋅*×‧⸱・･∘", "·"))
_BRACKETS = {"(": ")", "[": "]", "{": "}"}
_CHARGES = "+-"
_TOKEN = re.compile(
    r"\s*(?:(?P<element>[A-Z][a-z]?)|(?P<number>[0-9]+[⁄/][0-9]+|[0-9]+(?:\.[0-9]+)?|\.[0-9]+)|(?P<sign>[()\[\]{}·]))"
)
_HYDRATE = re.compile(r"(?<=[0-9A-Za-z)\]}])\.([0-9]*(?:\.[0-9]+)?(?:\([HDhd]2O\)|H2O|D2O))$")
_DOUBTFUL_POINT = re.compile(r"(?<=[0-9A-Za-z)\]}])\.(?=[0-9]+[A-Z(\[{])")
_MOST_POINTS = 6
ANIONS = frozenset("O F Cl Br I S Se Te N H P".split())  # noqa: SIM905 - read as text
_VACANCY = re.compile(r"(?:□|☐|◻|▢)[0-9./]*")
_ALLOY = re.compile(
    r"([A-Z][a-z]?)((?:\s*-\s*[0-9]+(?:\.[0-9]+)?\s*(?:%|(?:at|wt)\.?\s*%)?\s*[A-Z][a-z]?)+)\s*[,(\[-]?\s*(at|wt|)\.?\s*%?\s*[)\]]?"
)
_ALLOY_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(at|wt|)\.?\s*%?\s*([A-Z][a-z]?)")
_CARBONATE = re.compile(r"(Ca|Sr|Ba|Li(?=2)|Na(?=2)|K(?=2))(2?)Co3")
_ALLOY_BEFORE_WORDS = re.compile(r"[A-Z][a-z]?(?:-[0-9]+(?:\.[0-9]+)?[A-Z][a-z]?)+(?=\s)")
_CAPITALS = re.compile(
    r"B[IK]|CS(?!2$)|CU|CO(?=[BNPSV]|O(?!H)|3O|CO3|\(OH|\(NO3|3\(PO4)|HF(?=[A-Z])|HO(?=2?O|$)|IN|N[BIP]|OS|P[BU]|S[BIN]|SC(?!N)|YB2O"
)
"""First two capitals that are far more often one element typed in capitals than two: SI, NI, PB."""
_LARGEST_DENOMINATOR = 1000


def parse_formula(text: str) -> Composition:
    """Composition of a formula such as Fe2O3, Ca(OH)2, Li0.5CoO2, CuSO4·5H2O, 2MgO·SiO2 or Ti-6Al-4V.

    Brackets () [] {} nest; a sum is written with · • ∙ * or a full stop: CuSO4.5H2O holds five waters, La1.75Sr0.25CuO4
    a decimal. Subscripts may be Unicode, HTML or LaTeX; decimals may have a comma; oxidation numbers in Roman numerals
    and names of polymorphs (α-Fe2O3, 4H-SiC) are dropped; alloys such as Fe-18Cr-8Ni are in weight percent, or at%.

    Raises:
        FormulaError: the message names the position, what was found and what was expected, and suggests what to write.
    """
    if len(text) > LONGEST_FORMULA:
        msg = f"the formula has {len(text)} characters; expected at most {LONGEST_FORMULA}"
        raise FormulaError(msg, code="E_FORMULA")
    marked_down = with_values(plain_notation(text))
    check_name(marked_down)
    plain = _to_plain(marked_down)
    if not plain.strip():
        msg = "the formula is empty; expected something like Fe2O3"
        raise FormulaError(msg, code="E_FORMULA")
    if alloy := _parse_alloy(plain):
        return alloy
    check_ligands(plain)
    _check_leading_percentages(plain)
    amounts: dict[str, float] = {}
    summed = _with_sum_dots(_with_sum_signs(plain))
    _check_part_of_one_element(summed)
    _Reader(summed).read_sum(amounts)
    for symbol, amount in amounts.items():
        if amount > LARGEST_AMOUNT:
            msg = f"formula {shorten(text)!r}: the amount of {symbol} is {amount:g}; expected at most {LARGEST_AMOUNT}"
            raise FormulaError(msg, code="E_FORMULA")
    (largest, *others) = amounts.values()
    if not others and largest >= _MANY_ATOMS and "C" not in amounts:
        typed = plain.replace("0", "O")
        meant = f"; did you mean {shorten(typed, limit=40)}?" if is_compound(typed) else ""
        refuse(plain, 0, f"{largest:g} atoms of one element, {next(iter(amounts))}; expected a formula{meant}")
    return Composition(symbols=tuple(amounts), amounts=tuple(amounts.values()))


_LEADING_AMOUNTS = re.compile(
    r"\s*(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)[A-Z][a-z]?(?:[\s-]*(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)[A-Z][a-z]?)+"
)


def _check_leading_percentages(text: str) -> None:
    """Refuse amounts before the elements, 50Fe50Ni: a formula has them behind, so that 50 would multiply Fe50Ni."""
    if _LEADING_AMOUNTS.fullmatch(text) is None:
        return
    pairs = re.findall(r"([0-9.]+)([A-Z][a-z]?)", text)
    if any(abs(sum(float(amount) for amount, _ in pairs) / whole - 1) < 0.01 for whole in (1, 100)):  # noqa: PLR2004 - 1 %
        behind = "".join(f"{symbol}{amount}" for amount, symbol in pairs)
        refuse(text, 0, f"the amounts stand before the elements; write {behind} for atoms, {behind} wt% for weights")


_PART_OF_ONE_ELEMENT = re.compile(r"(?<=[A-Za-z0-9)\]])(?:\s*[·*]\s*[0-9./]*\s*|\s+)([A-Z][a-z]?)([0-9]{2,})\s*$")


def _check_part_of_one_element(text: str) -> None:
    """Refuse many atoms of one element behind a compound: a misprint, CuSO4·5H20, or a grade, TiO2 P25."""
    found = _PART_OF_ONE_ELEMENT.search(text)
    if found is None or int(found[2]) < _MANY_ATOMS or not is_compound(text[: found.start()]):
        return
    part = found[0].strip(" ·*")
    typed = f"{text[: found.start(2)]}{found[2].replace('0', 'O')}"
    meant = f"; did you mean {shorten(typed, limit=40)}?" if is_compound(part.replace("0", "O")) else ""
    refuse(text, found.start(1), f"{int(found[2])} atoms of one element, {found[1]}, behind a formula{meant}")


_MANY_ATOMS = 13
"""Amount of an only element, from which on it is rather a misprint (H20) or the name of a steel; the largest is B12."""


def _to_plain(text: str) -> str:
    """The formula in ASCII, without what does not change its composition; refuses what would change its meaning."""
    characters: list[str] = []
    for position, character in enumerate(text):
        before = characters[-1][-1] if characters else " "
        kind = unicodedata.decomposition(character).split(" ")[0]
        if character in SUPERSCRIPTS and not (before.isalpha() or before in ")]}"):
            refuse(text, position, "a superscript here is a charge or an isotope; write the neutral formula, H for D")
        if kind == "<fraction>":
            if before.isdigit():
                refuse(text, position, "a fraction behind a digit can be read in two ways; write a decimal")
            characters.append(f"{unicodedata.numeric(character):.9g}")
        else:
            characters.append(unicodedata.normalize("NFKC", character).replace("\N{MINUS SIGN}", "-") or " ")
    plain = "".join(characters).translate(_SEPARATORS).strip()
    plain = with_decimal_points(without_oxidation_numbers(without_polymorph(plain)))
    plain = with_hydrate_dots(_VACANCY.sub("", plain)).rstrip(" .")
    if doubtful := re.search(r"[A-Za-z)\]]\s+[0-9]+(?:\.[0-9]+)?(?=[A-Z(\[])", plain):
        number = doubtful[0][1:].strip()
        refuse(
            plain, doubtful.start() + 1, f"{number} can belong to what precedes or follows it; write it without a blank"
        )
    return plain


def is_alloy(text: str) -> bool:
    """Whether a text is an alloy such as Fe-18Cr-8Ni, with or without units."""
    return _ALLOY.fullmatch(text) is not None


def _parse_alloy(plain: str) -> Composition | None:
    """Composition of an alloy such as Fe-18Cr-8Ni, whose first element is the balance; None for other texts.

    Source: percentages are by weight, as in ASTM designations, unless at% is written.

    Raises:
        FormulaError: the percentages reach 100, or at% and wt% are mixed.
    """
    found = _ALLOY.fullmatch(plain)
    if found is None or found[1] not in ATOMIC_NUMBERS:
        return None
    parts = [(float(amount), unit, symbol) for amount, unit, symbol in _ALLOY_PART.findall(found[2])]
    symbols = [found[1], *(symbol for *_, symbol in parts)]
    if any(symbol not in ATOMIC_NUMBERS for symbol in symbols) or len(set(symbols)) < len(symbols):
        return None
    units = {unit for unit in (found[3], *(unit for _, unit, _ in parts)) if unit}
    if len(units) > 1:
        refuse(plain, 0, "at% and wt% are mixed; expected one of them")
    added = [amount for amount, *_ in parts]
    if sum(added) >= 100:  # noqa: PLR2004 - percent
        refuse(plain, 0, f"the percentages sum to {sum(added):g}; expected less than 100, {found[1]} as the balance")
    shares = [100 - sum(added), *added]
    if units != {"at"}:
        shares = [share / ATOMIC_MASSES[ATOMIC_NUMBERS[s] - 1] for share, s in zip(shares, symbols, strict=True)]
    return Composition(tuple(symbols), tuple(shares))


def _with_sum_signs(plain: str) -> str:
    """Sums such as 0.5Li2O-0.5B2O3 and CaO + 2SiO2 with ·; refuses variables, mixtures without amounts, and charges."""
    parts = [part.strip() for part in re.split(r"[-+]", plain)]
    compounds = len(parts) > 1 and all(is_compound(part) for part in parts)
    counted = [bool(re.match(r"[0-9.]", part)) for part in parts]
    if compounds and (all(counted) or ("-" not in plain and any(counted))):
        return "·".join(parts)
    plain = check_variables(plain)
    if compounds:
        listed = "·".join(part if has else f"1{part}" for part, has in zip(parts, counted, strict=True))
        reason = f"a sum without all amounts; write {shorten(listed, limit=40)}{elements_hint(plain)}"
        refuse(plain, len(parts[0]), reason)
    if len(parts) > 1 and all(part in ATOMIC_NUMBERS for part in parts):
        reason = f"a system without amounts; write {','.join(parts)}, or amounts, as in Fe-30Ni (wt%)"
        refuse(plain, len(parts[0]), reason)
    composite = re.search(r"[/@]", plain)
    if composite and re.search(r"[A-Za-z)\]0-9]\s*[/@]\s*[A-Z(\[]", plain):
        refuse(plain, composite.start(), f"a composite without amounts; write a sum with ·{elements_hint(plain)}")
    if alternatives := re.search(r"[(\[][^()\[\],]*,[^()\[\]]*[)\]]", plain):
        refuse(
            plain, alternatives.start(), f"{alternatives[0]} leaves the amounts open; write them{elements_hint(plain)}"
        )
    if ":" in plain:
        host, _, dopants = plain.partition(":")
        hint = " ".join(f"?{symbol}" for symbol in re.findall(r"[A-Z][a-z]?", dopants) if symbol in ATOMIC_NUMBERS)
        refuse(
            plain, len(host), f"a dopant without an amount in the formula; write {shorten(f'{host} {hint}', limit=40)}"
        )
    if part := _PERCENT_OF_A_PART.search(plain):
        refuse(plain, part.start(1), PERCENT_OF_A_PART)
    sign = next((position for position, character in enumerate(plain) if character in _CHARGES), None)
    if sign is not None:
        _check_hyphen(plain, sign)
        refuse(plain, sign, "charges and negative amounts are not read; write the neutral formula")
    if carbonate := _CARBONATE.fullmatch(plain):
        metal, count = carbonate[1], carbonate[2] or "1"
        refuse(
            plain, carbonate.end(2), f"Co is cobalt; did you mean {plain[:-3]}CO3? For cobalt write {metal}{count}Co3"
        )
    if found := capitals_of_one_element(plain):
        merged = _suggestion(plain)
        separate = plain[: found.start() + 1] + "1" + plain[found.start() + 1 :]
        one, other = found[0][0], found[0][1]
        refuse(
            plain, found.start(), f"{found[0][:2]} may be one element; {merged} For {one} and {other} write {separate}"
        )
    return plain


PERCENT_OF_A_PART = "a percentage of one part; write those of all parts, as in 95Al2O3-5SiO2 mol%"
"""Why a sum with one percentage is refused."""

_PERCENT_OF_A_PART = re.compile(r"[+·]\s*([0-9.]+\s*[a-z]*\.?-?%)")


def _check_hyphen(plain: str, place: int) -> None:
    """Refuse a hyphen that is no charge: within a name, before words, or between formulas."""
    alloy = _ALLOY_BEFORE_WORDS.match(plain)
    if alloy:
        refuse(plain, alloy.end(), f"words behind an alloy; did you mean {alloy[0].strip()}?")
    for found in re.finditer(r"[A-Z][a-z]?", plain):
        if found[0] not in ATOMIC_NUMBERS and found[0][0] not in ATOMIC_NUMBERS and found[0] not in {"D", "T"}:
            refuse(plain, found.start(), f"{found[0]!r} is not a chemical element")
    name = re.fullmatch(r"([A-Z(\[].*[A-Za-z0-9)\]])(-[0-9]+)", plain)
    if name and is_compound(name[1]):
        refuse(plain, name.start(2), f"{name[2]} behind a formula is no amount; write the formula without it")
    if re.fullmatch(r"[A-Z(\[][A-Za-z0-9.()\[\]]*(?:\s*-\s*[0-9.]*\s*[A-Z(\[][A-Za-z0-9.()\[\]]*)+", plain):
        reason = (
            f"the hyphen can be read in several ways; write a sum with ·, an alloy as Fe-30Ni{elements_hint(plain)}"
        )
        refuse(plain, place, reason)


def capitals_of_one_element(formula: str) -> re.Match[str] | None:
    """First two letters of a formula in capitals, where they are rather one element: SI of SIO2; else None."""
    return None if re.search(r"[a-z]", formula) else _CAPITALS.match(formula)


def is_compound(part: str) -> bool:
    """Whether a text is the formula of an oxide, a salt or water: at least two elements, one of them an anion."""
    if not re.match(r"[0-9./\s]*[A-Z(\[]", part):
        return False
    amounts: dict[str, float] = {}
    try:
        _Reader(_without_points(part)).read_sum(amounts)
    except FormulaError:
        return False
    return len(amounts) > 1 and bool(ANIONS & set(amounts))


def _without_points(text: str) -> str:
    return re.sub(r"(?<=[A-Za-z)\]}])\.(?=[0-9])", "0.", text)


def _with_sum_dots(plain: str) -> str:
    """Replace full stops that denote a sum by `·`; decimal points stay."""
    plain = re.sub(r"\s+\.\s*|\s*\.\s+", "·", plain)
    plain = re.sub(r"(?<=[A-Za-z)\]}])\.(?=[A-Z(\[{])|(?<=[0-9])\.(?=[A-Z(\[{])", "·", plain)
    plain = re.sub(r"(?<=[0-9A-Za-z)\]}])\.(?=[0-9]+\.[0-9]+[A-Z(\[{])", "·", plain)
    hydrate = _HYDRATE.search(plain)
    if hydrate:
        before = re.search(r"(^|.)([0-9]*)$", plain[: hydrate.start()])
        first, digits = (before[1], before[2]) if before else ("", "")
        if first not in {"", "·"} and (digits == "" or float(digits) > 0):
            plain = plain[: hydrate.start()] + "·" + hydrate[1]
    points = [found.start() for found in _DOUBTFUL_POINT.finditer(plain) if not _is_decimal(plain, found.start())]
    if not points:
        return plain
    if len(points) > _MOST_POINTS:
        _refuse_point(plain, points[0])
    readings = [_with_points_as(plain, points, sums) for sums in product((False, True), repeat=len(points))]
    plausible = [reading for reading in readings if _is_plausible(reading)]
    if len(plausible) == 1:
        return plausible[0]
    if plausible or any(not plain[point - 1].isdigit() for point in points):
        _refuse_point(plain, points[0])
    return plain


def _refuse_point(plain: str, point: int) -> NoReturn:
    refuse(plain, point, "the full stop can be read in two ways; write · for a sum, 0.5 for a decimal")


def _is_decimal(plain: str, point: int) -> bool:
    """Whether the digits before a full stop can only be the whole part of an amount: 0, or an explicit 1."""
    before = re.search(r"[0-9]*$", plain[:point])
    digits = before[0] if before else ""
    leading = plain[: point - len(digits)].rstrip()
    return digits != "" and (float(digits) == 0 or digits == "1" or leading == "" or leading.endswith("·"))


def _with_points_as(plain: str, points: list[int], sums: tuple[bool, ...]) -> str:
    characters = list(plain)
    for point, is_sum in zip(points, sums, strict=True):
        characters[point] = "·" if is_sum else "." if plain[point - 1].isdigit() else "0."
    return "".join(characters)


def _is_plausible(reading: str) -> bool:
    """Whether all terms of a sum are compounds, and no element occurs again in a term that has decimals."""
    terms = reading.split("·")
    if len(terms) > 1 and not all(is_compound(term) for term in terms):
        return False
    for term in terms:
        outside = re.sub(r"\([^()]*\)|\[[^\[\]]*\]", "", term)
        symbols = [symbol for symbol in re.findall(r"[A-Z][a-z]?", outside) if symbol not in {"H", "C", "N"}]
        if re.search(r"[A-Za-z)\]][0-9]*\.[0-9]", term) and len(set(symbols)) < len(symbols):
            return False
    return True


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
                refuse(self.text, self._place(), f"{sign!r} has no opening bracket")
            self._take()

    def _read_part(self, amounts: dict[str, float]) -> None:
        kind, _ = self._peek()
        multiplier = self._read_number() if kind == "number" else 1.0
        for symbol, amount in self._read_groups(depth=0).items():
            amounts[symbol] = amounts.get(symbol, 0.0) + multiplier * amount

    def _read_groups(self, *, depth: int) -> dict[str, float]:
        if depth > DEEPEST_NESTING:
            refuse(self.text, self._place(), f"brackets nest deeper than {DEEPEST_NESTING}")
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
                    refuse(self.text, self._place(), f"expected {closing!r} for {token!r}")
                self._take()
            elif amounts:
                return amounts
            else:
                refuse(self.text, self._place(), "expected an element symbol or a bracket")
            multiplier = self._read_number() if self._peek()[0] == "number" else 1.0
            if self._peek()[0] == "number":
                refuse(self.text, self._place(), "two numbers follow one another")
            for symbol, amount in inner.items():
                amounts[symbol] = amounts.get(symbol, 0.0) + multiplier * amount

    def _read_element(self) -> str:
        place = self._place()
        _, symbol = self._take()
        if symbol not in ATOMIC_NUMBERS:
            isotope = "D and T are isotopes: write H" if symbol in {"D", "T"} else ""
            hint = _suggestion(self.text) or isotope
            refuse(self.text, place, f"{symbol!r} is not a chemical element{'; ' if hint else ''}{hint}")
        return symbol

    def _read_number(self) -> float:
        place = self._place()
        _, token = self._take()
        if re.match(r"0[0-9]", token):
            meant = self.text[: place + 1].rstrip("0") + "O" + self.text[place + 1 :]
            refuse(self.text, place, f"the amount {token} begins with a zero; did you mean {shorten(meant, limit=40)}?")
        numerator, _, denominator = token.replace("⁄", "/").partition("/")
        if denominator and float(denominator) == 0:
            refuse(self.text, place, f"the amount {token} divides by zero")
        value = float(numerator) / float(denominator or 1)
        if not 0 < value <= LARGEST_AMOUNT:
            shown = shorten(token, limit=20)
            refuse(self.text, place, f"the amount {shown} is not above 0 and at most {LARGEST_AMOUNT}")
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
            refuse(self.text, self._place(), f"{character!r} is not expected{'; ' if hint else ''}{hint}")
        kind = match.lastgroup or "sign"
        return kind, match[kind]

    def _take(self) -> tuple[str, str]:
        kind, token = self._peek()
        match = _TOKEN.match(self.text, self.position)
        self.position = match.end() if match else self.position
        return kind, token


def _suggestion(text: str) -> str:
    """`did you mean ...?` for symbols in the wrong case, or for words behind a formula; or nothing."""
    words = [word.strip("(),;") for word in re.split(r"\s+|(?=\([A-Za-z]{3})", text)]
    formulas = [word for word in words if len(word) > 1 and is_compound(word)] if len(words) > 1 else []
    if not formulas and len(words) > 1 and _is_formula(words[0]) and not _is_formula("".join(words)):
        formulas = words[:1]
    if len(formulas) == 1:
        return f"did you mean {formulas[0]}?"
    if not re.fullmatch(r"[A-Za-z0-9.()]{1,30}", text):
        return ""
    pieces = re.findall(r"[A-Za-z]|[^A-Za-z]+", text.lower())
    readings = sorted((reading for reading in _readings(pieces) if reading != text), key=_oddity)[:_MOST_SHOWN]
    shown = readings[:1] if text.isupper() else readings
    return f"did you mean {' or '.join(shown)}?" if shown else ""


def _is_formula(text: str) -> bool:
    """Whether a text names elements, with or without amounts, and nothing else."""
    pieces = re.findall(r"([A-Z][a-z]?)[0-9.]*", text)
    return re.fullmatch(r"(?:[A-Z][a-z]?[0-9.]*)+", text) is not None and all(one in ATOMIC_NUMBERS for one in pieces)


_MOST_SHOWN, _MOST_READINGS = 3, 12
_RARE = frozenset("No Po Cn Nh Hs Bh Ho Og Fl Ts Lv Es Fm Md Lr Cf Bk Db Sg Mt Ds Rg At Rn Fr Ac Pa Np".split())  # noqa: SIM905 - read as text


def _oddity(reading: str) -> int:
    """How unusual a reading is: its number of symbols, more for rare elements and for Co3 that may be a carbonate."""
    symbols = re.findall(r"[A-Z][a-z]?", reading)
    carbonates = 2 * len(re.findall(r"(?<=.)Co3", reading))
    return len(symbols) + carbonates + 5 * sum(symbol in _RARE for symbol in symbols)


def _readings(pieces: list[str]) -> list[str]:
    """Readings of lower-case letters as element symbols, two-letter symbols first."""
    if not pieces:
        return [""]
    first = pieces[0]
    if not first.isalpha():
        return [first + rest for rest in _readings(pieces[1:])]
    found: list[str] = []
    if len(pieces) > 1 and (first + pieces[1]).capitalize() in ATOMIC_NUMBERS:
        found += [(first + pieces[1]).capitalize() + rest for rest in _readings(pieces[2:])[:_MOST_READINGS]]
    if first.upper() in ATOMIC_NUMBERS:
        found += [first.upper() + rest for rest in _readings(pieces[1:])[:_MOST_READINGS]]
    return found[:_MOST_READINGS]


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
