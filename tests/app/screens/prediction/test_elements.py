"""What the user knows of the elements: formula, periodic table and guess are one thing."""

from __future__ import annotations

import pytest

from tests.app_fixtures import loaded
from xxact_app.samples.element_choices import element_states, set_element
from xxact_app.samples.store import Store
from xxact_app.screens.prediction.elements_form import ElementsForm
from xxact_app.session.session import Session


def one(name: str = "scan.xy", *, formula: str = "") -> tuple[Session, Store, str]:
    session, store = loaded(name, wavelength="1.54184")
    session.change(session.files, formula=formula)
    return session, store, session.chosen


def test_the_name_of_a_file_is_a_guess_until_something_is_typed() -> None:
    session, store, key = one("TiO2_anatase_650C.xy")
    assert store.guessed(key)
    assert store.formula(key) == "Ti,O"
    assert element_states(session, store, key).must == ("Ti", "O")
    session.set_formula("ZnO")
    assert not store.guessed(key)
    assert store.formula(key) == "ZnO"


def test_a_guess_is_accepted_or_cleared() -> None:
    session, store, key = one("TiO2.xy")
    form = ElementsForm(session, store)
    assert form.guessed.visible is True
    assert "Ti, O" in form.guess.object
    assert form.table.guessed == ["Ti", "O"]
    form.accept.param.trigger("clicks")
    assert session.formula == "Ti,O"
    assert form.guessed.visible is False
    session.set_formula("")
    form.clear.param.trigger("clicks")
    assert store.formula(key) == ""
    assert form.guessed.visible is False
    assert form.table.states == {}


@pytest.mark.parametrize(
    ("formula", "symbol", "state", "typed", "states"),
    [
        ("", "Ti", "must", "Ti", {"Ti": "must"}),
        ("Ti", "O", "must", "Ti,O", {"Ti": "must", "O": "must"}),
        ("LaB6", "O", "may", "LaB6", {"La": "must", "B": "must", "O": "may"}),
        ("LaB6", "O", "never", "LaB6", {"La": "must", "B": "must", "O": "never"}),
        ("LaB6", "B", "", "La", {"La": "must"}),
        ("LaB6", "B", "may", "La", {"La": "must", "B": "may"}),
        ("La", "La", "one_of", "", {"La": "one_of"}),
        ("LaB6 ?O", "O", "", "LaB6", {"La": "must", "B": "must"}),
        ("LaB6 ?O", "O", "must", "B,La,O", {"La": "must", "B": "must", "O": "must"}),
    ],
)
def test_the_table_changes_the_composition(
    formula: str, symbol: str, state: str, typed: str, states: dict[str, str]
) -> None:
    session, store, key = one(formula=formula)
    form = ElementsForm(session, store)
    set_element(session, store, key, symbol, state)
    assert session.formula == typed
    assert form.table.states == states


def test_a_guess_becomes_the_composition_when_it_is_changed() -> None:
    session, store, key = one("TiO2.xy")
    set_element(session, store, key, "Zn", "may")
    assert session.formula == "Ti,O"
    assert store.formula(key) == "Ti,O ?Zn"
    set_element(session, store, key, "O", "")
    set_element(session, store, key, "Ti", "")
    assert store.formula(key) == ""
    assert not store.guessed(key)


def test_the_composition_wins_over_an_excluded_element() -> None:
    session, store, key = one(formula="TiO2")
    session.change([key], never=("O", "F"))
    assert element_states(session, store, key).never == ("F",)


def test_what_the_browser_sends_is_checked() -> None:
    session, store, _ = one()
    form = ElementsForm(session, store)
    for sent in ({"symbol": "Xx", "state": "must"}, {"symbol": "Ti", "state": "perhaps"}, {}):
        form.table.changed = {"number": form.table.changed["number"] + 1, **sent}
    assert session.formula == ""
    form.table.changed = {"number": 9, "symbol": "Ti", "state": "must"}
    assert session.formula == "Ti"
