"""Archive of CIF files → the text of each, without extracting files to disk."""

from __future__ import annotations

import struct
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from xxact_core.errors import shorten
from xxact_core.structures.cif_files import MOST_CIF_BYTES, structure_names
from xxact_core.structures.source_files import UNREADABLE, file_kind, file_stem

_DAMAGE = (
    *UNREADABLE,
    zipfile.BadZipFile,
    tarfile.TarError,
    struct.error,
    NotImplementedError,
    RuntimeError,
    ValueError,
    LookupError,
    OverflowError,
)
"""Errors of reading an archive that is damaged, encrypted or compressed in an unknown way."""


def read_archive(path: Path, *, prefix: str) -> Iterator[tuple[str, str, str]]:
    """CIF members of an archive as (`cif:number`, name, text), or (`error`, name, reason) for one that is too large.

    The number is that of the structure in the member. A member is named by `prefix` and its file name, or by its path
    if an earlier member has the same file name; of several structures, each also by its data block. Other
    members, nested archives included, are skipped. The last item is (`error`, archive, reason) if the archive cannot
    be read to its end.
    """
    taken: set[str] = set()
    count = 0
    try:
        for member, content in _zip_members(path) if path.name.lower().endswith(".zip") else _tar_members(path):
            stem = file_stem(member)
            member_name = shorten(prefix + (member if stem in taken else stem))
            taken.add(stem)
            count += 1
            if len(content) > MOST_CIF_BYTES:
                yield "error", member_name, f"the file is larger than {MOST_CIF_BYTES // 2**20} MB"
            else:
                text = content.decode("utf-8", errors="replace")
                for number, block in enumerate(structure_names(text)):
                    yield f"cif:{number}", shorten(f"{member_name}:{block}" if block else member_name), text
    except _DAMAGE as error:
        yield "error", shorten(path.name), f"the file ends in the middle, after {count} records ({shorten(error)})"


def _is_cif(member: str) -> bool:
    return file_kind(PurePosixPath(member)) == "cif" and member.lower().endswith(".cif")


def _zip_members(path: Path) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if _is_cif(entry.filename):
                with archive.open(entry) as stream:
                    yield entry.filename, stream.read(MOST_CIF_BYTES + 1)


def _tar_members(path: Path) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(path, mode="r|*") as archive:
        while (entry := archive.next()) is not None:
            stream = archive.extractfile(entry) if entry.isreg() and _is_cif(entry.name) else None
            if stream is not None:
                yield entry.name, stream.read(MOST_CIF_BYTES + 1)
            archive.members.clear()  # type: ignore[attr-defined]  # which would grow with every member
