from __future__ import annotations

import bokeh.model.model
import panel as pn
import pytest
from bokeh.document import Document

from xxact_app.page.tabs import ScreenTabs
from xxact_app.session.session import SCREENS, Session
from xxact_core.errors import DatasetError


class Drawn:
    KEY, TITLE = "drawn", "Drawn"

    def __init__(self) -> None:
        self.panel = pn.Column()
        self.told: list[bool] = []

    def come_to_front(self, *, in_front: bool) -> None:
        self.told.append(in_front)

    def to_csv(self) -> bytes:
        return b""

    def to_picture(self, _kind: str) -> bytes:
        return b""

    def python_code(self) -> str:
        return ""


KINDS = {name: type(name.capitalize(), (Drawn,), {"KEY": name, "TITLE": name.upper()}) for name in SCREENS}


def test_a_screen_is_built_once_when_it_is_opened_first_and_told_when_somebody_looks() -> None:
    session, made = Session(), []

    def make(name: str) -> Drawn:
        made.append((name, Drawn()))
        return made[-1][1]

    screens = ScreenTabs(session, {kind: lambda name=name: make(name) for name, kind in KINDS.items()})
    assert screens.panel._names == [name.upper() for name in SCREENS]
    assert [name for name, _ in made] == [SCREENS[0]]
    screens.panel.active = SCREENS.index("training")
    assert session.screen == "training"
    session.screen = SCREENS[0]
    assert screens.panel.active == 0
    session.screen = "training"
    assert [name for name, _ in made] == [SCREENS[0], "training"]
    assert [drawn.told for _, drawn in made] == [[True, False, True, False], [True, False, True]]
    assert screens.panel[SCREENS.index("training")].objects == [made[1][1].panel]


def test_a_screen_that_cannot_be_built_says_why_and_is_tried_again() -> None:
    session, faults = Session(), [DatasetError("the workspace <b>is full", code="E_DATASET")]

    def make() -> Drawn:
        if faults:
            raise faults.pop()
        return Drawn()

    screens = ScreenTabs(session, {kind: make if name == "training" else Drawn for name, kind in KINDS.items()})
    session.screen = "training"
    place = screens.panel[SCREENS.index("training")]
    assert "the workspace" in place[0].object
    assert "<b>" not in place[0].object
    session.screen = "patterns"
    session.screen = "training"
    assert isinstance(place[0], pn.Column)


def test_a_tab_says_that_it_is_being_opened_until_its_screen_is_built() -> None:
    session, waiting = Session(), []
    screens = ScreenTabs(session, dict.fromkeys(KINDS.values(), Drawn), later=lambda call, _time: waiting.append(call))
    place = screens.panel[SCREENS.index("training")]
    session.screen = "training"
    assert screens.panel.active == SCREENS.index("training")
    assert "Opening TRAINING" in place[0].object
    waiting.pop()()
    assert isinstance(place[0], pn.Column)


class Collecting(Drawn):
    MOST_FILES = 5

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[str] = []

    def take_files(self, files: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
        self.taken += [name for name, _ in files if name.endswith(".cif")]
        return [file for file in files if not file[0].endswith(".cif")]


def test_dropped_files_are_offered_to_the_open_screen_only() -> None:
    session, training = Session(), Collecting()
    screens = ScreenTabs(
        session, {kind: (lambda: training) if name == "training" else Drawn for name, kind in KINDS.items()}
    )
    files = [("a.cif", b"1"), ("b.xy", b"2")]
    assert (screens.take_files(files), screens.most_files()) == (files, 200)
    session.screen = "training"
    assert (screens.take_files(files), screens.most_files()) == ([("b.xy", b"2")], 5)
    assert training.taken == ["a.cif"]
    session.screen = SCREENS[0]
    assert screens.take_files(files) == files
    assert training.taken == ["a.cif"]


def test_an_open_screen_is_chosen_again_without_a_look_at_all_models(monkeypatch: pytest.MonkeyPatch) -> None:
    screens = ScreenTabs(Session(), dict.fromkeys(KINDS.values(), Drawn))
    document = screens.panel.server_doc(Document())
    for number in (1, 2, 0):
        screens.panel.active = number
    looked: list[object] = []
    references = bokeh.model.model.Model.references
    monkeypatch.setattr(bokeh.model.model.Model, "references", lambda model: looked.append(model) or references(model))
    screens.panel.active = 1
    assert document.roots[0].data.active == 1
    assert looked == []
