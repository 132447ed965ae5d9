from __future__ import annotations

from collections.abc import Callable

import pytest
from app_fixtures import loaded, scan_file

from xxact_app.page.upload_strip import UploadStrip
from xxact_app.samples.store import Store
from xxact_app.session import history as history_module
from xxact_app.session.history import History
from xxact_app.session.sample_choices import SampleChoices
from xxact_app.session.session import Session


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def followed(session: Session, store: Store) -> History:
    return History(
        session, keep=store.keep_read, size=lambda keys: sum(len(store.read[key].content) for key in keys)
    )  # fmt: skip


def test_what_was_done_is_undone_and_done_again_in_order() -> None:
    session = Session()
    history = History(session)
    session.axis = "q"
    session.set_formula("ZnO")
    assert (history.can_undo, history.can_redo) == (True, False)
    assert history.undo() == "formula"
    assert (session.axis, session.formula) == ("q", "")
    assert history.undo() == "axis"
    assert session.axis == "two_theta"
    assert history.undo() == ""
    assert history.redo() == "axis"
    assert (session.axis, history.can_redo) == ("q", True)
    session.scale = "log"
    assert (history.can_redo, history.redo()) == (False, "")
    assert session.formula == ""


def test_what_one_action_changes_is_one_step() -> None:
    session = Session()
    waiting: list[Callable[[], None]] = []
    history = History(session, later=waiting.append)
    session.axis = "q"
    session.scale = "log"
    assert len(waiting) == 1
    waiting.pop()()
    history.undo()
    assert (session.axis, session.scale) == ("two_theta", "linear")
    assert not history.can_undo


def test_an_undo_in_the_middle_of_an_action_ends_it_first() -> None:
    session = Session()
    history = History(session, later=lambda _settle: None)
    session.axis = "q"
    assert history.undo() == "axis"
    assert session.axis == "two_theta"


def test_a_slider_that_is_dragged_is_one_step_and_one_that_comes_back_is_none() -> None:
    session, clock = Session(), Clock()
    history = History(session, clock=clock)
    session.axis = "q"
    for value in (0.3, 0.4, 0.5):
        clock.now += 0.1
        session.mask_ratio = value
    clock.now += 10
    session.mask_ratio = 0.6
    history.undo()
    assert session.mask_ratio == 0.5
    history.undo()
    assert (session.mask_ratio, session.axis) == (0.25, "q")
    session.mask_ratio = 0.3
    session.mask_ratio = 0.25
    assert history.undo() == "axis"


def test_quick_choices_among_words_stay_apart() -> None:
    session, clock = Session(), Clock()
    history = History(session, clock=clock)
    session.axis = "q"
    session.axis = "d"
    history.undo()
    assert session.axis == "q"


def test_theme_and_screen_are_not_undone() -> None:
    session = Session()
    history = History(session)
    session.param.update(dark=True, screen="training", dismissed=["problem-1"])
    assert not history.can_undo
    session.axis = "q"
    history.undo()
    assert (session.dark, session.screen) == (True, "training")


def test_removed_files_come_back_with_all_that_was_known_of_them() -> None:
    session, store = loaded("a.xy", "b.xy")
    history = followed(session, store)
    first = session.files[0]
    session.chosen = first
    session.set_formula("ZnO")
    session.change([first], wavelength=1.54)
    session.remove([first])
    assert list(store.samples) == session.files[-1:]
    assert history.undo() == "files"
    assert [sample.name for sample in store.samples.values()] == ["a.xy", "b.xy"]
    assert session.sample(first) == SampleChoices(formula="ZnO", wavelength=1.54)
    history.redo()
    assert [sample.name for sample in store.samples.values()] == ["b.xy"]


def test_dropped_files_are_one_step() -> None:
    session, store = loaded()
    history = followed(session, store)
    UploadStrip(session, store).take_files([("a.xy", scan_file()), ("b.xy", scan_file())])
    history.undo()
    assert (session.files, store.samples) == ([], {})
    history.redo()
    assert len(store.samples) == 2


def test_removed_files_are_let_go_once_nothing_needs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_module, "MOST_STEPS", 2)
    session, store = loaded("a.xy", "b.xy")
    history = followed(session, store)
    first, second = session.files
    session.remove([first])
    session.axis = "q"
    assert set(store.read) == {first, second}
    session.axis = "d"
    assert set(store.read) == {second}
    assert [history.undo(), history.undo(), history.undo()] == ["axis", "axis", ""]


def test_what_only_the_past_holds_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    session, store = loaded("a.xy", "b.xy")
    history = followed(session, store)
    monkeypatch.setattr(history_module, "MOST_BYTES", len(scan_file()) + 1)
    session.remove(session.files[:1])
    assert history.can_undo
    session.remove(session.files[:1])
    assert history.undo() == "files"
    assert not history.can_undo


def test_a_long_selection_counts_as_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_module, "MOST_BYTES", 36 * 1000)
    session = Session()
    history = History(session)
    for start in range(3):
        session.map_selected = list(range(start, start + 900 + start))
    history.undo()
    assert len(session.map_selected) == 901
    assert not history.can_undo


def test_samples_that_are_just_read_are_kept_while_others_are_let_go() -> None:
    session, store = loaded("a.xy")
    history = followed(session, store)
    fresh = store.read_files([("b.xy", scan_file())])
    session.axis = "q"
    session.remove(session.files)
    session.add(fresh)
    assert [sample.name for sample in store.samples.values()] == ["b.xy"]
    history.undo()
    history.undo()
    assert [sample.name for sample in store.samples.values()] == ["a.xy"]
