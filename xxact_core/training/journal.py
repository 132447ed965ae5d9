"""The journal of a run: events as lines of JSON, each with a checksum."""

from __future__ import annotations

import json
import math
import os
import shutil
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from xxact_core.errors import InputError, RecipeError
from xxact_core.stored_names import JOURNAL_FIELDS, rename

JOURNAL = "journal.jsonl"
"""Name of the journal in a run folder."""

STOP = "stop"
"""Name of a file in a run folder that stops the run after the current step, as SIGTERM does."""

_CHECKSUM = ', "crc32": "'
_NUMBERS = {
    "step": ("loss", "learning_rate"),
    "started": ("steps",),
}
"""Fields of events that are numbers, and must be there."""

_TABLES = {"step": "losses", "validation": "metrics"}
"""Fields of events that are tables of numbers."""


class Journal:
    """Appends events to the file; every line is flushed, so that readers see it at once."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, event: str, **values: object) -> None:
        """Append one event."""
        line = event_to_line({"event": event, **values}).encode()
        with self.path.open("ab+") as file:
            if file.seek(0, os.SEEK_END) and file.seek(-1, os.SEEK_END) + 1 and file.read(1) != b"\n":
                line = b"\n" + line  # the last line was cut when the process was killed
            file.write(line)

    def read(self) -> list[dict[str, Any]]:
        """All undamaged events; none where there is no file yet."""
        return read_journal(self.path) if self.path.is_file() else []

    def truncate_after(self, step: int) -> None:
        """Drop events after a step, which a resumed run writes again, and an incomplete last line.

        Where other lines are damaged, the journal is kept as `journal.jsonl.damaged` as well.
        """
        if not self.path.is_file():
            return
        lines = _complete_lines(self.path.read_bytes())
        found = list(_checked(lines))
        if any(event is None for event in found):
            shutil.copy(self.path, self.path.with_name(f"{JOURNAL}.damaged"))
        kept = [
            line for line, event in zip(lines, found, strict=True) if event is not None and event.get("step", 0) <= step
        ]
        part = self.path.with_suffix(".part")
        with part.open("wb") as file:
            file.writelines(line + b"\n" for line in kept)
            file.flush()
            os.fsync(file.fileno())
        part.replace(self.path)


def event_to_line(event: Mapping[str, Any]) -> str:
    """An event as a line of JSON; its last field is the CRC-32 of what stands before it."""
    body = json.dumps(event, ensure_ascii=False)[:-1]
    return f'{body}{_CHECKSUM}{zlib.crc32(body.encode()):08x}"}}\n'


def line_to_event(line: bytes) -> dict[str, Any] | None:
    """The event of a line, under present names; None where the line is damaged.

    Lines of version 0.1.0 have no checksum; the fields that readers need are checked in all lines.
    """
    body, separator, end = line.rpartition(_CHECKSUM.encode())
    if separator and end.strip() != f'{zlib.crc32(body):08x}"}}'.encode():
        return None
    try:
        values = json.loads(body + b"}" if separator else line)
        event = rename(values, JOURNAL_FIELDS, owner=JOURNAL) if isinstance(values, dict) else None
    except (ValueError, RecursionError, RecipeError):
        return None
    return event if event is not None and _has_fields(event) else None


def read_run(run: Path) -> list[dict[str, Any]]:
    """The journal of a run folder.

    Raises:
        InputError: the folder has none.
    """
    if not (path := run / JOURNAL).is_file():
        msg = f"{run} is not a run folder of `xxact train`: it has no {JOURNAL}"
        raise InputError(msg, code="E_RUN")
    return read_journal(path)


def read_journal(path: Path) -> list[dict[str, Any]]:
    """All undamaged events of a journal; fields have their present names."""
    return [event for event in _checked(path.read_bytes().split(b"\n")) if event is not None]


def _complete_lines(content: bytes) -> list[bytes]:
    """The lines of a journal, without an incomplete last one."""
    return [line for line in content.split(b"\n")[:-1] if line.strip()]


def _checked(lines: Iterable[bytes]) -> Iterator[dict[str, Any] | None]:
    """The event of each line that is not empty; a line without checksum after one with a checksum is damaged."""
    checksums = False
    for line in lines:
        if not line.strip():
            continue
        with_checksum = _CHECKSUM.encode() in line
        yield None if checksums and not with_checksum else line_to_event(line)
        checksums |= with_checksum


def _has_fields(event: Mapping[str, Any]) -> bool:
    kind, step = event.get("event"), event.get("step", 0)
    if not isinstance(kind, str) or type(step) is not int or step < 0:
        return False
    if kind in {"step", "validation", "saved", "resumed"} and "step" not in event:
        return False
    if not all(_is_number(event.get(name)) for name in _NUMBERS.get(kind, ())):
        return False
    table = event.get(_TABLES[kind]) if kind in _TABLES else {}
    return isinstance(table, dict) and all(map(_is_number, table.values()))


def _is_number(value: object) -> bool:
    """Whether a value is a number; metrics may be NaN, where a split lacks a class."""
    return isinstance(value, int | float) and not isinstance(value, bool) and not math.isinf(value)
