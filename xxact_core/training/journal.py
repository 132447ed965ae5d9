"""The journal of a run: events as lines of JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from xxact_core.errors import InputError
from xxact_core.stored_names import JOURNAL_FIELDS, rename

JOURNAL = "journal.jsonl"
"""Name of the journal in a run folder."""

STOP = "stop"
"""Name of a file in a run folder that stops the run after the current step, as SIGTERM does."""


class Journal:
    """Appends events to the file; every line is flushed, so that readers see it at once."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, event: str, **values: object) -> None:
        """Append one event."""
        line = json.dumps({"event": event, **values}, ensure_ascii=False)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def truncate_after(self, step: int) -> None:
        """Drop events after a step, which a resumed run writes again, and an incomplete last line."""
        if not self.path.exists():
            return
        kept = [event for event in read_journal(self.path) if event.get("step", 0) <= step]
        part = self.path.with_suffix(".part")
        part.write_text("".join(json.dumps(event, ensure_ascii=False) + "\n" for event in kept), encoding="utf-8")
        part.replace(self.path)


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
    """All complete events of a journal; fields have their present names."""
    events = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            events.append(rename(json.loads(line), JOURNAL_FIELDS, owner=str(path)))
        except json.JSONDecodeError:
            break
    return events
