from __future__ import annotations

import pytest

from xxact_app.ui.formatting import display_formula, percent, plain_formula


def test_a_percentage_never_breaks_before_its_sign() -> None:
    assert percent(0.786) == "79\N{NO-BREAK SPACE}%"
    assert percent(0.9, digits=1) == "90.0\N{NO-BREAK SPACE}%"


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
