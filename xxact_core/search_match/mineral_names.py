"""Formula and space group → the name of the mineral: TiO2 in P4₂/mnm is rutile."""

from __future__ import annotations

import csv
from functools import cache

from xxact_core.compositions.formula import parse_formula, reduced_formula
from xxact_core.shipped import shipped_path

_TABLE = "search_match/mineral_names.csv"


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


@cache
def _names() -> dict[tuple[str, int], str]:
    text = shipped_path(_TABLE).read_text(encoding="utf-8")
    return {
        (reduced_formula(parse_formula(row["formula"])), int(row["space_group"])): row["name"]
        for row in csv.DictReader(text.splitlines())
    }
