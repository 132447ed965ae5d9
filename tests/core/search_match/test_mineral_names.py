"""Names of minerals by formula and space group."""

from __future__ import annotations

import csv
from importlib.resources import files

import numpy as np
import pytest

from xxact_core.compositions.formula import parse_formula, reduced_formula
from xxact_core.compositions.formula_format import format_formula
from xxact_core.search_match.match import Match
from xxact_core.search_match.mineral_names import mineral_name


@pytest.mark.parametrize(
    ("formula", "space_group", "name"),
    [
        ("TiO2", 136, "rutile"),
        ("O2Ti1", 141, "anatase"),
        ("CaCO3", 167, "calcite"),
        ("CaSO4·2H2O", 15, "gypsum"),
        ("TiO2", 194, None),
        ("C", 194, None),  # graphite and lonsdaleite
        ("TiO2", None, None),
    ],
)
def test_formula_and_space_group_determine_the_name(formula: str, space_group: int | None, name: str | None) -> None:
    assert mineral_name(formula, space_group) == name


def test_every_entry_of_the_table_is_unambiguous_and_written_as_chemists_do() -> None:
    text = files("xxact_core.search_match").joinpath("mineral_names.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    keys = [(reduced_formula(parse_formula(row["formula"])), int(row["space_group"])) for row in rows]
    assert len(set(keys)) == len(keys) > 150
    assert all(1 <= space_group <= 230 for _, space_group in keys)
    assert [format_formula(row["formula"]) for row in rows] == [row["formula"] for row in rows]


@pytest.mark.parametrize(
    ("identity", "name", "label"),
    [
        ("mp-2657", "rutile", "TiO2 (rutile, mp-2657)"),
        ("mp-2657", None, "TiO2 (mp-2657)"),
        ("", "rutile", "TiO2 (rutile)"),
        ("", None, "TiO2 (space group 136)"),
    ],
)
def test_a_match_is_called_by_name_and_materials_project_id(identity: str, name: str | None, label: str) -> None:
    match = Match("TiO2", 136, identity, 0.9, 0.0, 1.0, np.array([27.4]), np.array([100.0]), "row", name)
    assert match.label == label
    assert Match.from_dict(match.to_dict(reflections=True)).label == label
