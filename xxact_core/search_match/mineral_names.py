"""Formula and space group → the name of the mineral: TiO2 in P4₂/mnm is rutile."""

from __future__ import annotations

import csv
from functools import cache

from xxact_core.compositions.formula import parse_formula, reduced_formula
from xxact_core.shipped import shipped_path

_TABLE = "search_match/mineral_names.csv"
_OTHER_NAMES = "search_match/phase_names.csv"


def mineral_name(formula: str, space_group: int | None) -> str | None:
    """Name of the mineral of this composition and space group; None where the two do not determine one.

    Compositions and space groups of several minerals are left out of the table, graphite and lonsdaleite for instance.

    Source: common mineral names of the International Mineralogical Association, mineral_names.csv.

    Raises:
        FormulaError: the formula cannot be read.
    """
    if space_group is None:
        return None
    return _names().get((reduced_formula(parse_formula(formula)), space_group))


def names_of_phase(key: str, space_group: int) -> tuple[str, ...]:
    """Names of a phase, that of the mineral first, then others that people use: zirconia, YBCO, hcp-Ti.

    Args:
        key: reduced formula, as `reduced_formula` writes it.
        space_group: number.
    """
    mineral = _names().get((key, space_group))
    others = _other_names().get((key, space_group), ())
    return others if mineral is None else (mineral, *others)


@cache
def formulas_of_names() -> dict[str, tuple[str, ...]]:
    """Name → reduced formulas of the phases that it stands for."""
    found: dict[str, tuple[str, ...]] = {}
    pairs = [*_names().items(), *((key, name) for key, names in _other_names().items() for name in names)]
    for (key, _), name in pairs:
        found[name] = tuple(dict.fromkeys((*found.get(name, ()), key)))
    return found


@cache
def _other_names() -> dict[tuple[str, int], tuple[str, ...]]:
    found: dict[tuple[str, int], tuple[str, ...]] = {}
    for row in csv.DictReader(shipped_path(_OTHER_NAMES).read_text(encoding="utf-8").splitlines()):
        key = reduced_formula(parse_formula(row["formula"])), int(row["space_group"])
        found[key] = (*found.get(key, ()), row["name"])
    return found


@cache
def _names() -> dict[tuple[str, int], str]:
    text = shipped_path(_TABLE).read_text(encoding="utf-8")
    return {
        (reduced_formula(parse_formula(row["formula"])), int(row["space_group"])): row["name"]
        for row in csv.DictReader(text.splitlines())
    }
