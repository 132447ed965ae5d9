"""A CSV table to which results are appended as they are computed, so that an interrupted run continues."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from xxact_core.errors import DatasetError

Append = Callable[[Iterable[Sequence[object]]], None]
"""Appends rows, which are on the disk when it returns."""


def read_journal(path: Path, columns: Sequence[str]) -> list[list[str]]:
    """Rows of a journal; none where it does not exist. A row that was cut off by an interruption is removed.

    Raises:
        DatasetError: the file has other columns, so that it belongs to another run.
    """
    if not path.is_file():
        return []
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        os.truncate(path, whole)
    rows = list(csv.reader(content[:whole].decode("utf-8", errors="replace").splitlines()))
    if rows and rows[0] != list(columns):
        msg = f"{path} has the columns {rows[0]}, not {list(columns)}: it belongs to another run; choose another name"
        raise DatasetError(msg, code="E_DATASET")
    return rows[1:]


@contextmanager
def append_to_journal(path: Path, columns: Sequence[str]) -> Iterator[Append]:
    """Open a journal that `read_journal` accepted."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")

        def append(rows: Iterable[Sequence[object]]) -> None:
            writer.writerows(rows)
            file.flush()
            os.fsync(file.fileno())

        if not file.tell():
            append([columns])
        yield append
