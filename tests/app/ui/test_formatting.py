from __future__ import annotations

import pytest

from xxact_app.ui.formatting import display_formula, percent, plain_formula, short_probability
from xxact_app.ui.safe_text import safe_text


def test_a_percentage_never_breaks_before_its_sign() -> None:
    assert percent(0.786) == "79\N{NO-BREAK SPACE}%"
    assert percent(0.9, digits=1) == "90.0\N{NO-BREAK SPACE}%"


def test_a_small_probability_never_appears_as_zero() -> None:
    assert short_probability(0.0004) == "<\N{NO-BREAK SPACE}1\N{NO-BREAK SPACE}%"
    assert short_probability(0.01) == "1\N{NO-BREAK SPACE}%"


def test_quotes_in_messages_open_and_close() -> None:
    assert safe_text("'CuKb' is not one of ('CuKa', 'MoKa')") == "‘CuKb’ is not one of (‘CuKa’, ‘MoKa’)"
    assert safe_text("the user's file") == "the user’s file"


@pytest.mark.parametrize(
    ("stored", "shown", "typed"),
    [
        ("O1Zn1", "ZnO", "ZnO"),
        ("O2Ti1", "TiO₂", "TiO2"),
        ("B6La1", "LaB₆", "LaB6"),
        ("C1Ca1O3", "CaCO₃", "CaCO3"),
        ("no formula <b>", "no formula <b>", "no formula <b>"),
        ("", "", ""),
    ],
)
def test_formulas_are_written_as_chemists_do(stored: str, shown: str, typed: str) -> None:
    assert display_formula(stored) == shown
    assert plain_formula(stored) == typed
