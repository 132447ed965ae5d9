"""Keyboard shortcuts: the table behind both the keys and the list that the page shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import param

from xxact_app.session.history import History
from xxact_app.session.session import SCREENS, Session


@dataclass(frozen=True)
class ShortcutContext:
    """The objects that a shortcut acts on."""

    session: Session
    history: History


Action = Callable[[ShortcutContext], str]
"""Performs an action and returns a notification, empty where the action is visible anyway."""


@dataclass(frozen=True)
class Shortcut:
    """An action and the keys for it."""

    keys: tuple[str, ...]
    """Names of the keys, alternatives to each other; `mod` is Ctrl, or Cmd on a Mac."""
    description: str
    group: Literal["Screens", "Patterns", "Everywhere"]
    act: Action | None = None
    clicks: str = ""
    """Label of a button that is clicked in place of `act`."""


_LABELS = {
    "two_theta": "2θ", "root": "square root", "measured": "as measured", "gridded": "model input",
    "step": "after a step", "offset": "stacked",
}  # fmt: skip


def next_choice(session: Session, name: str) -> str:
    """Select the next value of a setting, cyclically."""
    parameter = session.param[name]
    assert isinstance(parameter, param.Selector)
    choices = list(parameter.objects)
    value = choices[(choices.index(getattr(session, name)) + 1) % len(choices)]
    setattr(session, name, value)
    return f"{parameter.label}: {_LABELS.get(value, value)}"


def select_pattern(session: Session, *, step: int) -> str:
    """Select the next (`step=1`) or previous (`step=-1`) pattern, cyclically."""
    if not session.files:
        return "No patterns loaded."
    known = session.chosen in session.files
    number = (session.files.index(session.chosen) + step) % len(session.files) if known else 0
    session.chosen = session.files[number]
    return f"Pattern {number + 1} of {len(session.files)}"


def undo(history: History) -> str:
    """Undo, with a notification."""
    words = history.undo()
    return f"Undone: {words}" if words else "Nothing to undo."


def redo(history: History) -> str:
    """Redo, with a notification."""
    words = history.redo()
    return f"Redone: {words}" if words else "Nothing to redo."


def _open(screen: str) -> Action:
    def act(context: ShortcutContext) -> str:
        context.session.screen = screen
        return f"{screen.capitalize()} screen"

    return act


SHORTCUTS = (
    *(
        Shortcut((str(number),), f"{screen.capitalize()} screen", "Screens", _open(screen))
        for number, screen in enumerate(SCREENS, start=1)
    ),
    Shortcut(("p",), "Answer for the selected pattern", "Screens", _open("answer")),
    Shortcut(("x",), "Horizontal axis: 2θ, q, d", "Patterns", lambda context: next_choice(context.session, "axis")),
    Shortcut(
        ("y",),
        "Intensity scale: linear, square root, log",
        "Patterns",
        lambda context: next_choice(context.session, "scale"),
    ),
    Shortcut(
        ("a",),
        "Arrangement of several patterns",
        "Patterns",
        lambda context: next_choice(context.session, "arrangement"),
    ),
    Shortcut(("s",), "Processing stage", "Patterns", lambda context: next_choice(context.session, "stage")),
    Shortcut(("n", "j"), "Next pattern", "Patterns", lambda context: select_pattern(context.session, step=1)),
    Shortcut(("b", "k"), "Previous pattern", "Patterns", lambda context: select_pattern(context.session, step=-1)),
    Shortcut(("mod+z", "u"), "Undo", "Everywhere", lambda context: undo(context.history)),
    Shortcut(("mod+shift+z", "mod+y"), "Redo", "Everywhere", lambda context: redo(context.history)),
    Shortcut(("t",), "Light or dark theme", "Everywhere", clicks="Toggle theme"),
)
"""All shortcuts except `?`, which shows the list and is handled in the browser."""

BY_KEY = {key: shortcut for shortcut in SHORTCUTS for key in shortcut.keys}
