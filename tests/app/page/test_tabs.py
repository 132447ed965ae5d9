from __future__ import annotations

import panel as pn

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
    assert [name for name, _ in made] == ["patterns"]
    screens.panel.active = SCREENS.index("training")
    assert session.screen == "training"
    session.screen = "patterns"
    assert screens.panel.active == 0
    session.screen = "training"
    assert [name for name, _ in made] == ["patterns", "training"]
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
