from __future__ import annotations

from collections import Counter

import pytest
from app_fixtures import loaded

from xxact_app.page.keyboard import PageKeyboard
from xxact_app.page.shortcuts import BY_KEY, SHORTCUTS, ShortcutContext
from xxact_app.session.history import History
from xxact_app.session.session import SCREENS, Session


class Page:
    """A session, and the keyboard that reaches it."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.keys = PageKeyboard(context=ShortcutContext(session, History(session)))

    def press(self, *names: str) -> str:
        for name in names:
            self.keys._handle_msg({"key": name})
        return self.keys.notice["text"]


@pytest.fixture
def page() -> Page:
    return Page(loaded("a.xy", "b.xy", "c.xy")[0])


def test_no_key_has_two_meanings() -> None:
    keys = Counter(key for shortcut in SHORTCUTS for key in shortcut.keys)
    assert [key for key, count in keys.items() if count > 1] == []
    assert "?" not in keys


def test_the_list_shows_every_shortcut_that_works(page: Page) -> None:
    listed = {key for shown in page.keys.shortcuts for key in shown["keys"]}
    assert listed == set(BY_KEY)
    assert all(shown["words"] for shown in page.keys.shortcuts)


def test_digits_open_the_screens_in_their_order(page: Page) -> None:
    for number, screen in enumerate(SCREENS, start=1):
        page.press(str(number))
        assert page.session.screen == screen


@pytest.mark.parametrize(("key", "name"), [("x", "axis"), ("y", "scale"), ("a", "arrangement"), ("s", "stage")])
def test_a_choice_goes_round(page: Page, key: str, name: str) -> None:
    choices = page.session.param[name].objects
    setattr(page.session, name, choices[0])  # three patterns are stacked at first
    seen = []
    for _ in choices:
        page.press(key)
        seen.append(getattr(page.session, name))
    assert seen == [*choices[1:], choices[0]]


def test_patterns_are_gone_through_in_both_directions(page: Page) -> None:
    first, second, third = page.session.files
    page.session.chosen = first
    assert page.press("n") == "Pattern 2 of 3"
    assert page.session.chosen == second
    page.press("b", "b")
    assert page.session.chosen == third
    page.press("n")
    assert page.session.chosen == first


def test_without_patterns_there_is_no_next_one() -> None:
    assert Page(Session()).press("n") == "No patterns loaded."


def test_undo_and_redo_say_what_they_did(page: Page) -> None:
    page.press("x")
    assert page.press("mod+z") == "Undone: axis"
    assert page.session.axis == "two_theta"
    assert page.press("u") == "Nothing to undo."
    assert page.press("mod+shift+z") == "Redone: axis"
    assert page.session.axis == "q"


def test_every_shortcut_does_something() -> None:
    assert [shortcut.description for shortcut in SHORTCUTS if (shortcut.act is None) == (shortcut.clicks == "")] == []


def test_unknown_keys_do_nothing_and_those_of_the_page_are_none_of_the_server(page: Page) -> None:
    before = page.session.to_dict()
    page.press("t", "w", "", "__class__")
    page.keys._handle_msg({})
    assert page.session.to_dict() == before
