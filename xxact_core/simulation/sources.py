"""A source of structures → blocks of items → structures, whatever kinds of files the source is made of."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from xxact_core.errors import DatasetError, StructureError
from xxact_core.simulation.cif_files import read_cif
from xxact_core.simulation.labels import Labels
from xxact_core.simulation.source_files import files_to_names, list_source_files
from xxact_core.simulation.structures import Structure
from xxact_core.simulation.tables import check_table, read_table, table_rows


@dataclass(frozen=True)
class Block:
    """A piece of a source that one worker turns into structures; plain values only, so that it travels as JSON.

    start: number of the first item in the source, counted over all its files. rows: items in this block.
    kind: `table` (rows of a file), `cif` (files) or `records` (what was read travels along).
    path: the table, or the folder or file that the items are from.
    content: table: (name, first row) once; cif: (file, name) each; records: (form, name, text) each.
    """

    start: int
    rows: int
    kind: str
    path: str
    content: tuple[tuple[str | int, ...], ...]

    def to_json(self) -> str:
        """The block as text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Block:
        """The block that `to_json` wrote."""
        values = json.loads(text)
        return cls(**{**values, "content": tuple(tuple(item) for item in values["content"])})


def list_blocks(source: Path, *, rows: int, limit: int | None = None, labels: Labels | None = None) -> Iterator[Block]:
    """Blocks of at most `rows` items, up to `limit` items, in the same order and with the same borders on every call.

    A folder is read kind by kind: CIF files, tables, archives, JSON, extended XYZ; each in natural order of the paths.
    Compressed files are read once from the beginning, a block at a time.

    Raises:
        DatasetError: the source does not exist, holds nothing that can be read, or a table in it lacks a column that
            a structure needs or a label names. All this is found before the first block.
    """
    if rows < 1:
        msg = f"a block holds at least 1 row, not {rows}"
        raise DatasetError(msg, code="E_DATASET")
    files = list_source_files(source)
    for table in files.get("table", ()):
        check_table(table, labels or Labels())
    return _number_blocks(_all_blocks(source, files, rows=rows), limit=limit)


def read_block(block: Block, *, labels: Labels) -> Iterator[Structure | tuple[str, str]]:
    """Each item of a block as a structure, or (id, reason) where it holds none; exactly `block.rows` items.

    Raises:
        DatasetError: the table that the block refers to is gone or another one.
    """
    if block.kind == "table":
        name, first = str(block.content[0][0]), int(block.content[0][1])
        yield from read_table(Path(block.path), start=first, stop=first + block.rows, labels=labels, name=name)
    else:
        for item in block.content:
            try:
                yield read_cif(Path(block.path, str(item[0])), name=str(item[1]))
            except StructureError as error:
                yield str(item[1]), str(error)


def count_items(source: Path) -> int | None:
    """Number of items of a source where a listing tells it; None where only reading does.

    Raises:
        DatasetError: the source does not exist or holds nothing that can be read.
    """
    files = list_source_files(source)
    if set(files) - {"cif", "table"}:
        return None
    return len(files.get("cif", ())) + sum(table_rows(table) for table in files.get("table", ()))


def _all_blocks(source: Path, files: dict[str, list[Path]], *, rows: int) -> Iterator[Block]:
    """Blocks of all kinds, not yet numbered."""
    folder = source if source.is_dir() else source.parent
    names = files_to_names([path for paths in files.values() for path in paths], folder)
    listed = [(path.relative_to(folder).as_posix(), names[path]) for path in files.get("cif", ())]
    for first in range(0, len(listed), rows):
        items: Sequence[tuple[str, str]] = listed[first : first + rows]
        yield Block(start=0, rows=len(items), kind="cif", path=str(folder), content=tuple(items))
    for table in files.get("table", ()):
        total = table_rows(table)
        for first in range(0, total, rows):
            size = min(rows, total - first)
            yield Block(start=0, rows=size, kind="table", path=str(table), content=((names[table], first),))


def _number_blocks(blocks: Iterator[Block], *, limit: int | None) -> Iterator[Block]:
    start = 0
    while limit is None or start < limit:
        block = next(blocks, None)
        if block is None:
            return
        if limit is not None and start + block.rows > limit:
            size = limit - start
            content = block.content if block.kind == "table" else block.content[:size]
            block = replace(block, rows=size, content=content)
        yield replace(block, start=start)
        start += block.rows
