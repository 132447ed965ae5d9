"""The help of the commands shows every text as it is written."""

from __future__ import annotations

import re
from collections.abc import Iterator

import typer
from typer.main import get_command
from typer.testing import CliRunner

from xxact_core.commands.main import app


def commands(command: typer.core.TyperCommand, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], object]]:
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, (*path, name))


def letters(text: str) -> str:
    """Without spaces and frames, by which lines are broken."""
    return re.sub(r"[^\w\[\]*]", "", text)


def test_units_and_names_in_brackets_are_not_taken_for_markup() -> None:
    found = dict(commands(get_command(app)))
    assert len(found) > 20
    for path, command in found.items():
        shown = letters(CliRunner().invoke(app, [*path, "--help"], env={"TERMINAL_WIDTH": "4000"}).output)
        texts = [one.help or "" for one in command.params if not getattr(one, "hidden", False)] + [command.help or ""]
        for text in texts:
            assert letters(text) in shown, f"{' '.join(path)}: {text}"
