"""Formulas as journals and mineral lists print them, which may say more than the sites of a structure."""

from __future__ import annotations

import re

import numpy as np

from xxact_core.compositions.composition import Composition
from xxact_core.compositions.formula import parse_formula, reduced_formula
from xxact_core.errors import FormulaError
from xxact_core.search_match.mineral_names import formulas_of_names


def composition_of_mineral(name: str, composition: Composition) -> Composition | None:
    """Composition of a mineral that differs from that of the structure by hydrogen alone; None where there is none."""
    if "H" in composition.symbols:
        return None
    here = reduced_formula(composition)
    for formula in formulas_of_names()[name]:
        whole = parse_formula(formula)
        rest = {symbol: amount for symbol, amount in zip(whole.symbols, whole.amounts, strict=True) if symbol != "H"}
        if len(rest) < len(whole.symbols) and reduced_formula(Composition(tuple(rest), tuple(rest.values()))) == here:
            return whole
    return None


def published_composition(text: str, composition: Composition) -> tuple[Composition | None, bool]:
    """Published composition where it says more than the structure, and whether the structure lacks its hydrogen.

    Args:
        text: formula as published: `Al2.38 Si.62 O4.77`, `K S2 Al3 O14 H6`.
        composition: of the structure.

    Returns:
        The composition; None where it cannot be read, contradicts the structure, or says the same.
    """
    stated = parse_published(text)
    if stated is None:
        return None, False
    there = dict(zip(composition.symbols, composition.amounts, strict=True))
    wanted = dict(zip(stated.symbols, stated.amounts, strict=True))
    lacks = "H" in wanted and "H" not in there
    others = [symbol for symbol in wanted if symbol != "H"]
    if not others or set(others) != set(there) - {"H"} or ("H" in there and "H" not in wanted):
        return None, False
    ratios = np.array([there[symbol] / wanted[symbol] for symbol in others])
    if ratios.max() > (1 + _TOLERANCE) * ratios.min():
        return None, False
    integral = all(float(amount).is_integer() for amount in there.values())
    return (stated, lacks) if lacks or not integral else (None, False)


def parse_published(text: str) -> Composition | None:
    """A formula as journals print it, with elements apart: `(Mg.7 Fe.3) O`, `K Al3 (S O4)2 (O H)6`; None for others.

    Deuterium counts as hydrogen.
    """
    levels: list[dict[str, float]] = [{}]
    place = 0
    while place < len(text):
        found = _PUBLISHED.match(text, place)
        if found is None:
            return None
        place = found.end()
        if found["open"]:
            levels.append({})
        elif found["symbol"] or len(levels) > 1:
            inner = {_HYDROGEN.get(found["symbol"], found["symbol"]): 1.0} if found["symbol"] else levels.pop()
            for symbol, amount in inner.items():
                levels[-1][symbol] = levels[-1].get(symbol, 0.0) + amount * float(found["amount"] or 1)
        else:
            return None
    try:
        return Composition(tuple(levels[0]), tuple(levels[0].values())) if len(levels) == 1 else None
    except FormulaError:
        return None


_PUBLISHED = re.compile(r"\s*(?:(?P<open>\()|(?:(?P<symbol>[A-Z][a-z]?)|\))(?P<amount>[0-9]*\.?[0-9]+)?)\s*")

_HYDROGEN = {"D": "H", "T": "H"}

_TOLERANCE = 0.05
"""Relative difference of amounts up to which a published formula agrees with the structure. Ours."""
