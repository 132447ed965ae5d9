"""What is known of a composition: what people type is read exactly, and drawn compositions agree with it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import compositions

from xxact_core.compositions.composition import Composition
from xxact_core.compositions.element_table import ATOMIC_NUMBERS, SYMBOLS, TYPICAL_FRACTIONS
from xxact_core.compositions.formula import parse_formula
from xxact_core.compositions.formula_format import format_formula
from xxact_core.compositions.partial import PartialComposition, parse_composition
from xxact_core.compositions.sampling import SAMPLES, sample_compositions
from xxact_core.errors import FormulaError

IRON_OXIDE = PartialComposition(("Fe", "O"), (40.0, 60.0), (2.0, 3.0))


@given(compositions())
def test_a_plain_formula_is_read_as_ever(composition: Composition) -> None:
    formula = format_formula(composition)
    assert parse_composition(formula) == parse_formula(formula)
    assert parse_composition(f"  {formula} ") == parse_formula(formula)


@given(st.text(alphabet="FeOHLa2350.()· +-", max_size=12))
def test_what_the_formula_parser_refuses_is_refused_alike(text: str) -> None:
    if "+-" in text:
        return

    def told(parse: Callable[[str], object]) -> object:
        try:
            return parse(text)
        except FormulaError as refusal:
            return str(refusal)

    assert told(parse_composition) == told(parse_formula)


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        known = parse_composition(text)
    except FormulaError:
        return
    assert isinstance(known, Composition | PartialComposition)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("?", PartialComposition()),
        ("Fe,O", PartialComposition(("Fe", "O"))),
        ("Fe; O", PartialComposition(("Fe", "O"))),
        ("La,B,?O", PartialComposition(("La", "B"), maybe=("O",))),
        ("Fe, ?O, ?H", PartialComposition(("Fe",), (1.0,), maybe=("O", "H"))),
        ("LaB6 ?O", PartialComposition(("B", "La"), (6.0, 1.0), maybe=("O",))),
        ("Fe 40±2 O 60±3", IRON_OXIDE),
        ("Fe40±2O60±3", IRON_OXIDE),
        ("Fe 40 +- 2, O 60 +/- 3", IRON_OXIDE),
        ("Fe 40±2 at%, O 60±3 at%", IRON_OXIDE),
        ("Fe 40 at% ± 2; O 60 ± 3.0 at.%", IRON_OXIDE),
        ("Fe 40±2 O 60±3 ?H", PartialComposition(("Fe", "O"), (40.0, 60.0), (2.0, 3.0), ("H",))),
        ("Fe 40 at%, O 60 at%", Composition(("Fe", "O"), (40.0, 60.0))),
        ("Fe 2, O 3", Composition(("Fe", "O"), (2.0, 3.0))),
    ],
)
def test_what_is_known_is_read(text: str, expected: Composition | PartialComposition) -> None:
    assert parse_composition(text) == expected


def test_percent_by_weight_become_atoms() -> None:
    haematite = parse_composition("Fe 69.94 wt%, O 30.06")
    assert isinstance(haematite, Composition)
    assert haematite.symbols == ("O", "Fe")
    np.testing.assert_allclose(haematite.fractions, [0.6, 0.4], atol=1e-4)
    blurred = parse_composition("Fe 69.94±0.70 wt%, O 30.06±0.30")
    relative = np.array(blurred.errors) / np.array(blurred.amounts)
    np.testing.assert_allclose(relative, [0.01, 0.01], rtol=0.01)


@pytest.mark.parametrize("text", ["?", "Fe,O", "La,B,?O", "LaB6 ?O", "Fe 40±2 at% O 60±3 at% ?H"])
def test_what_is_known_is_written_as_it_is_read(text: str) -> None:
    assert str(parse_composition(text)) == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("??", "nothing follows the [?]; expected an element that may be present"),
        ("?O", "expected an element that is present, or [?] alone"),
        ("Fe, ?Qq", "character 6: 'Qq' is not a chemical element"),
        ("Fe,Qq", "character 4: 'Qq' is not a chemical element"),
        ("Fe,fe", "character 4: 'f' is not expected; expected an element symbol"),
        ("Fe 40%, O 60%", "'%' is not expected; expected at% or wt% behind a number"),
        ("Fe 40 at%, O 60 wt%", "at% and wt% are mixed; expected one of them"),
        ("Fe 40±2, O", "character 10: O has no amount; expected all or none to have one, or [?]O"),
        ("Fe 0±2, O 60", "character 4: the amount 0 is not above 0"),
        ("Fe 40±, O 60", "'±' is not expected"),
        ("Fe 40±-2, O 60", "'±' is not expected"),
        ("Fe,O,Fe", "Fe is given twice"),
        ("Fe,O,?O", "O is given twice"),
        ("Fe 40, 5 at%", "character 8: '5' is not expected"),
        ("Fe,O" + 500 * " ", "504 characters"),
    ],
)
def test_what_cannot_be_read_is_refused_by_place(text: str, said: str) -> None:
    with pytest.raises(FormulaError, match=said):
        parse_composition(text)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((("Fe", "O"), (1.0,)), "an amount and an error for each"),
        ((("Fe",), (1.0,), (-1.0,)), "the amount of Fe is 1 ± -1"),
        ((("Fe",), (float("nan"),)), "the amount of Fe is nan"),
        ((("Xx",),), "'Xx' is not a chemical element"),
        (((), (), (), ("O",)), "no element is given as present"),
    ],
)
def test_impossible_knowledge_is_refused(arguments: tuple, said: str) -> None:
    with pytest.raises(FormulaError, match=said):
        PartialComposition(*arguments)


def test_drawn_amounts_have_the_mean_and_the_spread_that_were_given() -> None:
    drawn = sample_compositions(IRON_OXIDE, count=4000)
    ratio = np.array([dict(zip(each.symbols, each.amounts, strict=True))["Fe"] for each in drawn])
    assert ratio.mean() == pytest.approx(40, abs=0.2)
    assert ratio.std() == pytest.approx(2, rel=0.05)


def test_amounts_stay_positive_however_large_the_error() -> None:
    vague = PartialComposition(("Fe", "O"), (1.0, 60.0), (100.0, 0.0))
    assert all(min(each.amounts) > 0 and 60.0 in each.amounts for each in sample_compositions(vague, count=500))


def test_the_same_seed_draws_the_same_and_another_draws_others() -> None:
    assert sample_compositions(IRON_OXIDE) == sample_compositions(IRON_OXIDE)
    assert sample_compositions(IRON_OXIDE) != sample_compositions(IRON_OXIDE, seed=1)
    assert len(sample_compositions(IRON_OXIDE)) == SAMPLES
    assert sample_compositions(PartialComposition()) == ()


@given(st.lists(st.sampled_from(SYMBOLS), min_size=1, max_size=6, unique=True), st.integers(0, 3))
def test_drawn_compositions_hold_what_is_there_and_now_and_then_what_may_be(symbols: list[str], unsure: int) -> None:
    unsure = min(unsure, len(symbols) - 1)
    certain, maybe = tuple(symbols[unsure:]), tuple(symbols[:unsure])
    drawn = [set(each.symbols) for each in sample_compositions(PartialComposition(certain, maybe=maybe))]
    assert all(set(certain) <= each <= set(symbols) for each in drawn)
    for symbol in maybe:
        assert 0.1 < np.mean([symbol in each for each in drawn]) < 0.9


def test_elements_that_may_be_there_leave_the_ratio_of_the_others() -> None:
    drawn = sample_compositions(PartialComposition(("La", "B"), (1.0, 6.0), maybe=("O",)), count=200)
    amounts = [dict(zip(each.symbols, each.fractions, strict=True)) for each in drawn]
    np.testing.assert_allclose([each["B"] / each["La"] for each in amounts], 6)
    oxygen = [each["O"] for each in amounts if "O" in each]
    assert np.mean(oxygen) == pytest.approx(TYPICAL_FRACTIONS[ATOMIC_NUMBERS["O"] - 1], abs=0.06)


def test_unknown_fractions_lie_about_what_is_typical_of_the_elements() -> None:
    drawn = sample_compositions(PartialComposition(("Li", "O")), count=500)
    lithium = np.mean([each.fractions[each.symbols.index("Li")] for each in drawn])
    li, oxygen = (TYPICAL_FRACTIONS[ATOMIC_NUMBERS[symbol] - 1] for symbol in ("Li", "O"))
    assert lithium == pytest.approx(li / (li + oxygen), abs=0.03)
