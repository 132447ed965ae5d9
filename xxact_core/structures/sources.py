"""File or folder of structures → blocks of items → structures."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain, islice
from pathlib import Path

from xxact_core.errors import DatasetError, StructureError, shorten
from xxact_core.structures.cif_archives import read_archive
from xxact_core.structures.cif_files import cif_to_structure, read_cif, read_structure_names
from xxact_core.structures.frames import frame_to_structure, read_frames
from xxact_core.structures.json_containers import CONTAINERS_IN_WORDS, check_record, read_json_records
from xxact_core.structures.json_records import record_to_structure
from xxact_core.structures.labels import Labels
from xxact_core.structures.source_files import KINDS_IN_WORDS, file_kind, files_to_names, list_source_files
from xxact_core.structures.structure import Structure
from xxact_core.structures.tables import check_table, read_table, table_rows

Files = Mapping[str, Sequence[Path]]

MOST_TEXT = 128 * 2**20
"""Characters of text in a block, above which the block ends."""

_REFERRED = frozenset({"cif", "table"})
"""Kinds of files that blocks refer to by path; the content of others is part of the block."""

_LOOKED_AT = 100


@dataclass(frozen=True)
class Block:
    """Part of a source that one worker reads, as plain values, which can be sent as JSON."""

    start: int
    """Number of the first item, counted over all files of the source."""
    rows: int
    """Number of items."""
    kind: str
    """`table` (rows of a file), `cif` (files) or `records` (content)."""
    path: str
    """The table, or the folder or file of the items."""
    content: tuple[tuple[str | int, ...], ...]
    """Table: (name, first row), once; cif: (file, name, number in the file) of each item; records: (format, name, text)
    of each item, where the text of an `error` is its reason."""

    def to_json(self) -> str:
        """The block as text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Block:
        """The block that `to_json` wrote."""
        values = json.loads(text)
        return cls(**{**values, "content": tuple(tuple(item) for item in values["content"])})


def list_blocks(source: Path, *, rows: int, limit: int | None = None, labels: Labels | None = None) -> Iterator[Block]:
    """List blocks of at most `rows` items, up to `limit` items, reproducibly.

    A folder is read by kind of file: CIF files, tables, archives, JSON, extended XYZ; each in natural order of paths.
    Compressed files are read once, a block at a time.

    Raises:
        DatasetError: before the first block, if the source does not exist or contains no structures, or a table lacks a
            column that a structure needs or a label names.
    """
    if rows < 1:
        msg = f"a block holds at least 1 row, not {rows}"
        raise DatasetError(msg, code="E_DATASET")
    files = list_source_files(source)
    for table in files.get("table", ()):
        check_table(table, labels or Labels())
    if not _REFERRED & set(files):
        _check_records(source, files)
    return _number_blocks(_all_blocks(source, files, rows=rows), limit=limit)


def read_block(block: Block, *, labels: Labels) -> Iterator[Structure | tuple[str, str]]:
    """Read each item of a block as a structure, or (id, reason) if it is none; exactly `block.rows` items.

    Raises:
        DatasetError: the table of the block is missing or was replaced.
    """
    if block.kind == "table":
        name, first = str(block.content[0][0]), int(block.content[0][1])
        rows = 0
        for row in read_table(Path(block.path), start=first, stop=first + block.rows, labels=labels, name=name):
            rows += 1
            yield row
        if rows != block.rows:
            msg = f"{block.path}: {rows} of {block.rows} listed rows exist; the table may have been replaced"
            raise DatasetError(msg, code="E_DATASET")
    else:
        for item in block.content:
            yield _item_to_structure(block, [str(part) for part in item], labels=labels)


def _item_to_structure(block: Block, item: list[str], *, labels: Labels) -> Structure | tuple[str, str]:
    try:
        if block.kind == "cif":
            path, name, number = item
            return read_cif(Path(block.path, path), name=name, index=int(number))
        form, name, text = item
        if form.startswith("cif:"):
            return cif_to_structure(text, name=name, file=name, index=int(form[4:]))
        if form == "json":
            return record_to_structure(text, fallback=name, labels=labels)
        if form == "extxyz":
            return frame_to_structure(text, fallback=name, labels=labels)
    except StructureError as error:
        return name, str(error)
    return name, text


def count_items(source: Path) -> int | None:
    """Number of items of a source; None where all files would have to be read.

    Raises:
        DatasetError: the source does not exist or contains no structures.
    """
    files = list_source_files(source)
    if set(files) - _REFERRED:
        return None
    structures = sum(len(read_structure_names(path)) for path in files.get("cif", ()))
    return structures + sum(table_rows(table) for table in files.get("table", ()))


def _all_blocks(source: Path, files: Files, *, rows: int) -> Iterator[Block]:
    """Blocks of all kinds, without numbers."""
    folder = _folder(source)
    names = files_to_names([path for paths in files.values() for path in paths], folder)
    listed = _cif_items(files.get("cif", ()), folder, names)
    while items := tuple(islice(listed, rows)):
        yield Block(start=0, rows=len(items), kind="cif", path=str(folder), content=items)
    for table in files.get("table", ()):
        total = table_rows(table)
        for first in range(0, total, rows):
            size = min(rows, total - first)
            yield Block(start=0, rows=size, kind="table", path=str(table), content=((names[table], first),))

    streams = (
        _file_records(path, name=names[path] if source.is_dir() or kind != "archive" else "")
        for kind in files
        if kind not in _REFERRED
        for path in files[kind]
    )
    yield from _record_blocks(chain.from_iterable(streams), rows=rows, path=str(source))


def _cif_items(paths: Sequence[Path], folder: Path, names: Mapping[Path, str]) -> Iterator[tuple[str, str, int]]:
    """File, name and number of each structure; the name is that of the file, with the data block if it has several."""
    for path in paths:
        file = path.relative_to(folder).as_posix()
        for number, block in enumerate(read_structure_names(path)):
            yield file, shorten(f"{names[path]}:{block}" if block else names[path]), number


def _folder(source: Path) -> Path:
    return source if source.is_dir() else source.parent


def _file_records(path: Path, *, name: str) -> Iterator[tuple[str, str, str]]:
    """Records of an archive, a JSON file or frames as (form, name, text)."""
    kind = file_kind(path)
    if kind == "archive":
        return read_archive(path, prefix=f"{name}:" if name else "")
    return read_json_records(path, name=name) if kind == "json" else read_frames(path, name=name)


def _record_blocks(records: Iterator[tuple[str, str, str]], *, rows: int, path: str) -> Iterator[Block]:
    content: list[tuple[str, str, str]] = []
    size = 0
    for record in records:
        content.append(record)
        size += len(record[2])
        if len(content) == rows or size > MOST_TEXT:
            yield Block(start=0, rows=len(content), kind="records", path=path, content=tuple(content))
            content, size = [], 0
    if content:
        yield Block(start=0, rows=len(content), kind="records", path=path, content=tuple(content))


def _check_records(source: Path, files: Files) -> None:
    """Refuse a source if the first records of all its files contain no structure."""
    reason = ""
    for path in (path for kind, paths in files.items() if kind not in _REFERRED for path in paths):
        for form, _, text in islice(_file_records(path, name=path.name), _LOOKED_AT):
            why_not = check_record(text) if form == "json" else text if form == "error" else None
            if why_not is None:
                return
            reason = reason or f"{shorten(path.name)}: {why_not}"
    msg = f"{source} contains no structure ({reason or 'it is empty'}); "
    msg += f"structures are read from {KINDS_IN_WORDS}; in JSON: {CONTAINERS_IN_WORDS}"
    raise DatasetError(msg, code="E_DATASET")


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
