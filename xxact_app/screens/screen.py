"""What every screen offers, by which the page shows screens and the screens offer their files."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal, Protocol, runtime_checkable

from panel.viewable import Viewable

PictureKind = Literal["png", "svg"]
"""Formats of the pictures that a screen writes."""


class Screen(Protocol):
    """A tab of the page. Its files and its Python code hold what it shows; they are empty while it shows nothing."""

    KEY: ClassVar[str]
    """Name in the session and in the address."""

    TITLE: ClassVar[str]
    """Label of the tab."""

    panel: Viewable
    """All of it."""

    def come_to_front(self, *, in_front: bool) -> None:
        """Follow the session only while the screen is visible."""

    def to_csv(self) -> bytes:
        """What the screen shows as a table."""

    def to_picture(self, kind: PictureKind) -> bytes:
        """The main plot of the screen."""

    def python_code(self) -> str:
        """A program that computes what the screen shows."""


@runtime_checkable
class TakesFiles(Protocol):
    """A screen that has a use of its own for files dropped on the page while it is visible."""

    MOST_FILES: ClassVar[int]
    """Number of files that may be dropped at a time."""

    def take_files(self, files: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
        """Take files, given by name and content; returns those that it has no use for."""


def standard_files(screen: Screen, name: str) -> dict[str, tuple[str, Callable[[], bytes]]]:
    """The files that every screen offers, as `download_row` takes them; `name` is the stem of their names."""
    return {
        "CSV": (f"{name}.csv", screen.to_csv),
        "PNG": (f"{name}.png", lambda: screen.to_picture("png")),
        "SVG": (f"{name}.svg", lambda: screen.to_picture("svg")),
    }
