"""Name of a file or sample → the elements that it probably names; nothing where that is doubtful."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from xxact_core.compositions.element_table import ATOMIC_NUMBERS
from xxact_core.compositions.formula import parse_formula
from xxact_core.compositions.material_names import MATERIAL_NAMES
from xxact_core.compositions.partial import parse_composition, possible_symbols
from xxact_core.errors import FormulaError

_ENDING = re.compile(r"(\.[A-Za-z][A-Za-z0-9]{0,6})+$")
_SEPARATORS = re.compile(r"[\s_,;+&@#=]+|\.(?![0-9])|--+|-(?=[0-9]+(?:min|h|C|K)\b)")
_FORMULA = re.compile(r"(?:[A-Z(\[][A-Za-z0-9()\[\]]*(?:\.[0-9]+[A-Za-z0-9()\[\]]*)*)(?:·[0-9.]*[A-Z][A-Za-z0-9()]*)*")
_SYMBOL = re.compile(r"[A-Z][a-z]?")
_FACTOR = re.compile(r"^[0-9](?=[A-Z][A-Za-z0-9()]*[A-Z])")
_LEAST_NAME = 4

_NOT_POWDERS = frozenset(
    "CO CO2 NO NO2 N2O N2 O2 H2 H2O SO2 SO3 NH3 CH4 H2S HCl HF HBr HNO3 H2SO4 H3PO4 H2O2 CF4 SF6 NaOH KOH".split()  # noqa: SIM905 - a list to read
)
"""Gases, liquids, acids and bases of a treatment."""

_RADIATION = re.compile(
    r"(?:Cr|Fe|Co|Ni|Cu|Zn|Mo|Rh|Pd|Ag|W)-?K(?:[abαβ][0-9,]*)?|(?:Cu|Co|Mo|Ag|Cr|Fe)rad", re.IGNORECASE
)

_WORDS = frozenset({
    "chalk", "glass", "ice", "lime", "limestone", "permalloy", "rust", "salt", "sand", "steel", "water", "bronze",
    "brass", "silica", "perovskite", "spinel", "olivine", "apatite", "graphene",
})  # fmt: skip
"""Names that are also substrates, containers, families of structures or words."""

_PLAIN_ELEMENTS = frozenset("Si Al Ni Ti Au Pt Pd Zn Mg Ge Sn Pb Bi Sb Zr Nb Ta".split())  # noqa: SIM905 - a list to read
"""Symbols that alone name a powder; others are anodes (Cu, Co, Mo …), gases, or words (In, As, No …)."""

_ELEMENT_NAMES = {
    "aluminium": "Al", "aluminum": "Al", "antimony": "Sb", "bismuth": "Bi", "chromium": "Cr", "cobalt": "Co",
    "copper": "Cu", "germanium": "Ge", "gold": "Au", "iron": "Fe", "magnesium": "Mg", "manganese": "Mn",
    "molybdenum": "Mo", "nickel": "Ni", "niobium": "Nb", "palladium": "Pd", "platinum": "Pt", "silicon": "Si",
    "silver": "Ag", "tantalum": "Ta", "tellurium": "Te", "tin": "Sn", "titanium": "Ti", "tungsten": "W",
    "vanadium": "V", "zinc": "Zn", "zirconium": "Zr",
}  # fmt: skip
_COMPOUND_WORDS = re.compile(
    r"oxide|nitride|carbide|sulfide|sulphide|sulfate|sulphate|carbonate|phosphate|chloride|fluoride|bromide|iodide|boride"
    r"|selenide|telluride|silicate|titanate|hydroxide|arsenide|antimonide|silicide|antimonate|hexaboride"
)


@lru_cache(maxsize=4096)
def guess_elements(*names: str) -> tuple[str, ...]:
    """Elements that the first of these names with any names, in its order: `TiO2_anatase_650C.xy` → Ti, O.

    Formulas of at least two elements, sequences such as `Li-Mn-O`, names of minerals and of elements count; gases,
    acids, anodes and words of capitals do not. Empty where no name has any.

    Args:
        names: of a file, a sample or a measurement, most telling first.
    """
    for name in names:
        found = dict.fromkeys(symbol for part in _parts(name) for symbol in _read(part))
        if found:
            return tuple(found)
    return ()


def _parts(name: str) -> Iterator[str]:
    """The words of a name without folders and endings."""
    stem = _ENDING.sub("", name.replace("\\", "/").rpartition("/")[2])
    lower = stem.lower()
    if _COMPOUND_WORDS.search(lower):  # "iron oxide" says less than its elements
        return
    for part in _SEPARATORS.split(stem):
        if _RADIATION.fullmatch(part):
            continue
        if symbols := _sequence(part):
            yield "-".join(symbols)
        else:
            yield from part.split("-")


def _sequence(part: str) -> list[str]:
    """The symbols of `Li-Mn-O`; empty for anything else."""
    symbols = part.split("-")
    known = len(symbols) > 1 and all(symbol in ATOMIC_NUMBERS for symbol in symbols)
    return symbols if known and len(set(symbols)) == len(symbols) and len(part) > 2 * len(symbols) - 1 else []


def _read(part: str) -> tuple[str, ...]:
    """The elements that a word names."""
    if symbols := _sequence(part):
        return tuple(symbols)
    lower = part.lower()
    if lower in _ELEMENT_NAMES and part in {lower, lower.capitalize(), lower.upper()}:
        return (_ELEMENT_NAMES[lower],)
    if part in _PLAIN_ELEMENTS:
        return (part,)
    if len(part) >= _LEAST_NAME and part.isalpha() and lower in MATERIAL_NAMES and lower not in _WORDS:
        return _elements_of(MATERIAL_NAMES[lower])
    formula = _FACTOR.sub("", part)
    if formula in _NOT_POWDERS or not _FORMULA.fullmatch(formula) or _is_capitals(formula):
        return ()
    return _elements_of(formula, least=2, exact=True)


def _is_capitals(text: str) -> bool:
    """Whether a text is a word of capitals, or a counter such as S1P2, rather than a formula."""
    letters = re.sub(r"[^A-Za-z]", "", text)
    if letters != letters.upper():
        return False
    return text.isalpha() or not re.search(r"O[2-9]", text)


def _elements_of(text: str, *, least: int = 1, exact: bool = False) -> tuple[str, ...]:
    """Elements of a composition with at least `least` of them; empty where it cannot be read."""
    try:
        known = parse_formula(text) if exact else parse_composition(text)
    except FormulaError:
        return ()
    symbols = possible_symbols(known)
    written = dict.fromkeys(_SYMBOL.findall(text))
    return tuple(sorted(symbols, key=[*written, *symbols].index)) if len(symbols) >= least else ()
