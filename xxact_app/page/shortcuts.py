"""What the keyboard does: one table, which is both the list that is shown and what happens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import param

from xxact_app.session.history import History
from xxact_app.session.session import SCREENS, Session


@dataclass(frozen=True)
class Reach:
    """What a key can act on."""

    session: Session
    history: History


Action = Callable[[Reach], str]
"""Does something, and returns in words what was done; nothing where it can be seen and heard anyway."""


@dataclass(frozen=True)
class Shortcut:
    """Keys as the page names them, each of which does the same; `mod` is Ctrl, or Cmd on a Mac.

    clicks: name of the button of the page that is pressed instead, where that is all.
    """

    keys: tuple[str, ...]
    words: str
    group: Literal["Screens", "Patterns", "Everywhere"]
    act: Action | None = None
    clicks: str = ""


_SPOKEN = {
    "two_theta": "2θ", "root": "square root", "measured": "as measured", "gridded": "as the model sees it",
    "offset": "stacked",
}  # fmt: skip


def next_choice(session: Session, name: str) -> str:
    """Go on to the next value of a choice, after the last one to the first."""
    parameter = session.param[name]
    assert isinstance(parameter, param.Selector)
    choices = list(parameter.objects)
    value = choices[(choices.index(getattr(session, name)) + 1) % len(choices)]
    setattr(session, name, value)
    return f"{parameter.label}: {_SPOKEN.get(value, value)}"


def neighbour(session: Session, *, step: int) -> str:
    """Choose the next pattern, or the one before; after the last comes the first."""
    if not session.files:
        return "There is no pattern yet."
    there = session.chosen in session.files
    number = (session.files.index(session.chosen) + step) % len(session.files) if there else 0
    session.chosen = session.files[number]
    return f"Pattern {number + 1} of {len(session.files)}"


def undo(history: History) -> str:
    """Undo, and say what."""
    words = history.undo()
    return f"Undone: {words}" if words else "There is nothing to undo."


def redo(history: History) -> str:
    """Redo, and say what."""
    words = history.redo()
    return f"Done again: {words}" if words else "There is nothing to redo."


def _open(screen: str) -> Action:
    def act(reach: Reach) -> str:
        reach.session.screen = screen
        return f"{screen.capitalize()} screen"

    return act


SHORTCUTS = (
    *(
        Shortcut((str(number),), f"{screen.capitalize()} screen", "Screens", _open(screen))
        for number, screen in enumerate(SCREENS, start=1)
    ),
    Shortcut(("p",), "Predict: the answer for the chosen pattern", "Screens", _open("prediction")),
    Shortcut(("x",), "Horizontal axis: 2θ, q, d", "Patterns", lambda reach: next_choice(reach.session, "axis")),
    Shortcut(
        ("y",), "Intensity: linear, square root, log", "Patterns", lambda reach: next_choice(reach.session, "scale")
    ),
    Shortcut(
        ("a",), "Arrangement of several patterns", "Patterns", lambda reach: next_choice(reach.session, "arrangement")
    ),
    Shortcut(("s",), "Stage shown", "Patterns", lambda reach: next_choice(reach.session, "stage")),
    Shortcut(("n", "j"), "Next pattern", "Patterns", lambda reach: neighbour(reach.session, step=1)),
    Shortcut(("b", "k"), "Pattern before", "Patterns", lambda reach: neighbour(reach.session, step=-1)),
    Shortcut(("mod+z", "u"), "Undo", "Everywhere", lambda reach: undo(reach.history)),
    Shortcut(("mod+shift+z", "mod+y"), "Redo", "Everywhere", lambda reach: redo(reach.history)),
    Shortcut(("t",), "Light or dark theme", "Everywhere", clicks="Toggle theme"),
)
"""Every shortcut but `?`, which shows this list and needs no server for it."""

BY_KEY = {key: shortcut for shortcut in SHORTCUTS for key in shortcut.keys}
