"""Formulas: what chemists write is read exactly, what is not sure is refused with its place."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import compositions

from xxact_core.compositions.composition import Composition
from xxact_core.compositions.formula import parse_formula, reduced_formula
from xxact_core.compositions.formula_format import format_formula
from xxact_core.errors import FormulaError


def amounts(text: str) -> dict[str, float]:
    composition = parse_formula(text)
    return dict(zip(composition.symbols, composition.amounts, strict=True))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Fe2O3", {"Fe": 2, "O": 3}),
        ("Ca(OH)2", {"Ca": 1, "O": 2, "H": 2}),
        ("K4[Fe(CN)6]", {"K": 4, "Fe": 1, "C": 6, "N": 6}),
        ("{[(Fe2)2]2}2O", {"Fe": 16, "O": 1}),
        ("Li0.5CoO2", {"Li": 0.5, "Co": 1, "O": 2}),
        ("La1.75Sr0.25CuO4", {"La": 1.75, "Sr": 0.25, "Cu": 1, "O": 4}),
        ("Fe₂O₃", {"Fe": 2, "O": 3}),
        ("Fe²O³", {"Fe": 2, "O": 3}),
        ("Ｆｅ２Ｏ３", {"Fe": 2, "O": 3}),
        (" Fe 2 O 3 ", {"Fe": 2, "O": 3}),
        ("CH3NH3PbI3", {"C": 1, "H": 6, "N": 1, "Pb": 1, "I": 3}),
        ("CuSO4·5H2O", {"Cu": 1, "S": 1, "O": 9, "H": 10}),
        ("CuSO4•5H2O", {"Cu": 1, "S": 1, "O": 9, "H": 10}),
        ("CuSO4*5H2O", {"Cu": 1, "S": 1, "O": 9, "H": 10}),
        ("CuSO4.5H2O", {"Cu": 1, "S": 1, "O": 9, "H": 10}),
        ("CuSO4 . 5 H2O", {"Cu": 1, "S": 1, "O": 9, "H": 10}),
        ("CaSO4.0.5H2O", {"Ca": 1, "S": 1, "O": 4.5, "H": 1}),
        ("CaSO4·½H2O", {"Ca": 1, "S": 1, "O": 4.5, "H": 1}),
        ("CaSO4·1/2H2O", {"Ca": 1, "S": 1, "O": 4.5, "H": 1}),
        ("Na2CO3.10H2O", {"Na": 2, "C": 1, "O": 13, "H": 20}),
        ("Mg(OH)2.H2O", {"Mg": 1, "O": 3, "H": 4}),
        ("2MgO·SiO2", {"Mg": 2, "Si": 1, "O": 4}),
        ("3CaO.Al2O3.6H2O", {"Ca": 3, "Al": 2, "O": 12, "H": 12}),
        ("MgO.SiO2", {"Mg": 1, "Si": 1, "O": 3}),
        ("Co", {"Co": 1}),
        ("CO", {"C": 1, "O": 1}),
        ("NO", {"N": 1, "O": 1}),
        ("No", {"No": 1}),
    ],
)
def test_written_formulas_are_read(text: str, expected: dict[str, float]) -> None:
    assert amounts(text) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        (" \n\t", "empty"),
        ("co", "character 1.*did you mean Co or CO"),
        ("nacl", "did you mean NaCl"),
        ("FE2O3", "character 2.*did you mean Fe2O3"),
        ("NACL", "did you mean NaCl"),
        ("Xx2", "character 1: 'Xx' is not a chemical element"),
        ("Fe2Qq", "character 4: 'Qq' is not a chemical element"),
        ("D2O", "isotopes: write H"),
        ("T2O", "isotopes: write H"),
        ("²H2O", "isotope"),
        ("Fe0", "character 3: the amount 0 is not above 0"),
        ("Fe0.0O", "the amount 0.0 is not above 0"),
        ("(FeO)0", "the amount 0 is not above 0"),
        ("0H2O", "the amount 0 is not above 0"),
        ("Fe-2", "character 3: charges and negative amounts"),
        ("Fe3+", "character 4: charges"),
        ("SO4²⁻", "character 4: a superscript"),
        ("O3/0", "divides by zero"),
        ("Fe2O3)", "character 6: '\\)' has no opening bracket"),
        ("(Fe2O3", "character 7: expected '\\)'"),
        ("(Fe]2", "character 4: expected '\\)'"),
        ("()2", "character 2: expected an element"),
        ("2", "character 2: expected an element"),
        ("Fe··O", "expected an element"),
        ("·Fe", "expected an element"),
        ("Fe2 3", "two numbers follow one another"),
        ("C o", "character 3: 'o' is not expected"),
        ("O2½", "two ways"),
        ("Fe2O3;", "';' is not expected"),
        ("1e5", "'e' is not expected"),
        ("Fe1e5", "'e' is not expected"),
        ("Fe1_000", "'_' is not expected"),
        ("Fe٣", "'٣' is not expected"),
        ("<img src=x>", "'<' is not expected"),
        ("X2O", "'X' is not a chemical element"),
        ("H1000001", "at most 1000000"),
        ("((((H2)99)99)99)99", "the amount of H is 1.92119e\\+08"),
        ("(" * 30 + "H" + ")" * 30, "nest deeper than 20"),
        ("H" * 501, "has 501 characters"),
    ],
)
def test_what_is_not_sure_is_refused_by_name_and_place(text: str, message: str) -> None:
    with pytest.raises(FormulaError, match=message) as refusal:
        parse_formula(text)
    assert refusal.value.code == "E_FORMULA"
    assert len(str(refusal.value)) < 300


@pytest.mark.parametrize(
    "text",
    ["(" * 10**6, "H" * 10**6, "((((H2)99)99)99)99" * 10**5, "9" * 490 + "H", "(((" * 160, "a" * 500, "(H)9" * 125],
)
def test_formula_bombs_are_refused_at_once(text: str) -> None:
    began = time.perf_counter()
    try:
        parse_formula(text)
    except FormulaError:
        pass
    else:
        assert text == "(H)9" * 125
    assert time.perf_counter() - began < 0.1


@given(compositions())
def test_a_reduced_formula_reads_as_the_same_material(composition: Composition) -> None:
    for written in (
        format_formula(composition),
        format_formula(composition, subscripts=True),
        reduced_formula(composition),
    ):
        again = parse_formula(written)
        assert again.symbols == composition.symbols
        assert again.fractions == pytest.approx(composition.fractions)
        assert reduced_formula(again) == reduced_formula(composition)


@given(compositions(), st.integers(2, 9))
def test_the_reduced_formula_does_not_depend_on_order_or_multiple(composition: Composition, factor: int) -> None:
    multiple = Composition(composition.symbols[::-1], tuple(factor * amount for amount in composition.amounts[::-1]))
    assert reduced_formula(multiple) == reduced_formula(composition)
    more = Composition(composition.symbols, (composition.amounts[0] + 1000, *composition.amounts[1:]))
    assert (reduced_formula(more) == reduced_formula(composition)) == (len(composition.symbols) == 1)


def test_a_reduced_formula_is_alphabetical_with_all_numbers() -> None:
    assert reduced_formula(parse_formula("K2Mn2O4")) == "K1Mn1O2"
    assert reduced_formula(parse_formula("Li0.5CoO2")) == "Co2Li1O4"
    assert reduced_formula(parse_formula("Fe0.123456789O")) == "Fe0.123457O1"


@given(st.text(max_size=40))
def test_any_text_is_a_composition_or_a_formula_error(text: str) -> None:
    try:
        total = parse_formula(text).fractions.sum()
    except FormulaError:
        total = 1
    assert total == pytest.approx(1)


@given(st.text(alphabet="FeCoO2H().5·*[] 10", max_size=14))
def test_formulas_agree_with_pymatgen_where_both_read_them(text: str) -> None:
    from pymatgen.core import Composition as Reference

    if any(sign in text for sign in ".·*") or not text.strip():
        return
    try:
        composition = parse_formula(text)
    except FormulaError:
        return
    try:
        expected = Reference(text.replace(" ", "")).get_el_amt_dict()
    except ValueError:
        assert text.lstrip(" ([")[0].isdigit()  # a leading number: only a sum notation has it
        return
    if not text.lstrip(" ")[0].isdigit():
        assert dict(zip(composition.symbols, composition.amounts, strict=True)) == pytest.approx(expected)


def test_the_formulas_of_the_materials_project_read_as_pymatgen_reads_them(repository: Path) -> None:
    import pyarrow.parquet
    from pymatgen.core import Composition as Reference

    from xxact_core.structures.structure import Structure
    from xxact_core.structures.tables import read_table

    path = repository / "xxact_core" / "data" / "materials_project.parquet"
    formulas = pyarrow.parquet.read_table(path, columns=["reduced_formula"]).column("reduced_formula").to_pylist()
    for text in formulas[::97]:
        expected = Reference(text)
        composition = parse_formula(text)
        assert dict(zip(composition.symbols, composition.amounts, strict=True)) == dict(expected.get_el_amt_dict())
        assert reduced_formula(composition) == text
        assert reduced_formula(parse_formula(expected.reduced_formula)) == text
    for text, structure in zip(formulas[:400], read_table(path, start=0, stop=400), strict=True):
        assert isinstance(structure, Structure)
        assert structure.reduced_formula == text
