"""Files of a source of structures: kinds, order, names and decompression."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePath

from xxact_core.errors import DatasetError, StructureError, shorten

KINDS = {
    "cif": (".cif",),
    "table": (".parquet", ".pq"),
    "archive": (".zip", ".tar", ".tgz", ".tbz2", ".txz"),
    "json": (".json", ".jsonl", ".ndjson"),
    "extxyz": (".extxyz", ".xyz"),
}
"""File extensions by kind, in the order in which a folder is read."""

KINDS_IN_WORDS = (
    "CIF files (.cif), archives of them (.zip, .tar, .tar.gz, .tar.bz2, .tar.xz), tables (.parquet), "
    "JSON (.json, .jsonl, .ndjson) and extended XYZ (.extxyz, .xyz), the text files also compressed (.gz, .bz2, .xz)"
)

UNREADABLE = (OSError, EOFError, zlib.error, lzma.LZMAError)
"""Errors of reading a file that is damaged, truncated or missing."""

_PACKED = (".gz", ".bz2", ".xz")
_UNPACKED_ONLY = (".parquet", ".pq", ".zip", ".tgz", ".tbz2", ".txz")


def file_kind(path: PurePath) -> str | None:
    """Kind of file, by its extension; None for other files."""
    name = path.name.lower()
    bare = name.removesuffix(next((ending for ending in _PACKED if name.endswith(ending)), ""))
    if bare.startswith(".") or (bare != name and bare.endswith(_UNPACKED_ONLY)):
        return None
    return next((kind for kind, endings in KINDS.items() if bare.endswith(endings)), None)


def file_stem(name: str) -> str:
    """Name of a file without folder and extensions: `x` for `folder/x.json.bz2`."""
    stem = name.rpartition("/")[2]
    for known in (_PACKED, tuple(ending for endings in KINDS.values() for ending in endings)):
        stem = stem[: -len(next((ending for ending in known if stem.lower().endswith(ending)), "")) or None]
    return stem


def natural_order(name: str) -> tuple[list[tuple[int, str]], str]:
    """Sort key that orders `part_2` before `part_10`, unique for each name."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"([0-9]+)", name)], name


def list_source_files(source: Path) -> dict[str, list[Path]]:
    """Files of a source by kind, in natural order of their paths: the file itself, or all files of the folder tree.

    Raises:
        DatasetError: the source does not exist or contains no file of a known kind.
    """
    if source.is_file():
        found = [source]
    elif source.is_dir():
        found = [path for path in source.rglob("*") if file_kind(path) and path.is_file()]
        found.sort(key=lambda path: natural_order(path.relative_to(source).as_posix()))
    else:
        msg = f"no file or folder {source} exists; structures are read from {KINDS_IN_WORDS}"
        raise DatasetError(msg, code="E_DATASET")
    files = {kind: [path for path in found if file_kind(path) == kind] for kind in KINDS}
    if not any(files.values()):
        what = "is of an unknown kind" if source.is_file() else "contains no file of structures"
        msg = f"{source} {what}; structures are read from {KINDS_IN_WORDS}"
        raise DatasetError(msg, code="E_DATASET")
    return {kind: paths for kind, paths in files.items() if paths}


def files_to_names(files: Sequence[Path], folder: Path) -> dict[Path, str]:
    """A unique name for each file: its stem, or its path in the folder if several files share the stem."""
    stems = {path: file_stem(path.name) for path in files}
    shared = {stem for stem, count in Counter(stems.values()).items() if count > 1}
    return {
        path: shorten(path.relative_to(folder).as_posix() if stem in shared else stem) for path, stem in stems.items()
    }


def open_unpacked(path: Path) -> gzip.GzipFile | bz2.BZ2File | lzma.LZMAFile | io.BufferedReader:
    """Open a file, decompressed if its first bytes are those of a compressed file."""
    with path.open("rb") as file:
        first = file.read(6)
    if first.startswith(b"\x1f\x8b"):
        return gzip.open(path, "rb")
    if first.startswith(b"BZh"):
        return bz2.open(path, "rb")
    if first.startswith(b"\xfd7zXZ\x00"):
        return lzma.open(path, "rb")
    return path.open("rb")


def read_unpacked(path: Path, *, most: int) -> bytes:
    """All bytes of a small file, decompressed.

    Raises:
        StructureError: the file is missing, damaged or larger than `most` bytes.
    """
    try:
        with open_unpacked(path) as stream:
            content = stream.read(most + 1)
    except UNREADABLE as error:
        msg = f"{shorten(path.name)}: the file cannot be read ({shorten(error)})"
        raise StructureError(msg, code="E_STRUCTURE") from error
    if len(content) > most:
        msg = f"{shorten(path.name)}: the file is larger than {most // 2**20} MB"
        raise StructureError(msg, code="E_STRUCTURE")
    return content
