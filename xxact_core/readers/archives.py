"""Zip archives that vendors use as files: looked through before any of their members is trusted."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
import zlib

from xxact_core.errors import PatternError, shorten

MOST_MEMBERS = 10_000
MOST_BYTES = 128 * 2**20
"""Members, unpacked and together."""

LARGEST_RATIO = 200
_SMALL = 2**16
"""Members up to this many bytes may be packed as tightly as they like."""

_HEADER_BYTES = 30
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, struct.error, NotImplementedError, RuntimeError, OSError)


def read_members(data: bytes, *, name: str, archives_inside: bool = False) -> dict[str, bytes]:
    """Members of an archive by name, unpacked under limits on number, size and ratio.

    archives_inside: members may be archives themselves, which are not unpacked.

    Raises:
        PatternError: the archive is cut off or damaged (E_TRUNCATED), or holds what no diffractometer writes: absolute
            or climbing paths, links, repeated names, overlaps, other archives, encryption, more bytes than it says or
            than the limits (E_BOMB).
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            _check_entries(entries, name=name)
            members: dict[str, bytes] = {}
            total = 0
            for entry in entries:
                with archive.open(entry) as stream:
                    content = stream.read(entry.file_size + 1)
                total += len(content)
                if len(content) != entry.file_size or total > MOST_BYTES:
                    _refuse(name, entry.filename, "unpacks to another size than it says")
                if content.startswith(b"PK\x03\x04") and not archives_inside:
                    _refuse(name, entry.filename, "is an archive within an archive")
                members[entry.filename] = content
    except _DAMAGE as error:
        msg = f"{name}: the zip archive is damaged or cut off ({shorten(error, limit=60)})"
        raise PatternError(msg, code="E_TRUNCATED") from None
    return members


def pack_members(members: dict[str, bytes]) -> bytes:
    """A plain archive of the members: what a reader of foreign archives is given in place of the original."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    return buffer.getvalue()


def _check_entries(entries: list[zipfile.ZipInfo], *, name: str) -> None:
    if len(entries) > MOST_MEMBERS:
        msg = f"{name}: the archive holds {len(entries)} members; expected at most {MOST_MEMBERS}"
        raise PatternError(msg, code="E_BOMB")
    names = [entry.filename for entry in entries]
    if len(set(names)) != len(names):
        repeated = next(entry for index, entry in enumerate(names) if entry in names[:index])
        _refuse(name, repeated, "occurs twice")
    end = 0
    for entry in sorted(entries, key=lambda entry: entry.header_offset):
        path = entry.orig_filename.replace("\\", "/")
        if "\0" in path or path.startswith("/") or ":" in path or ".." in path.split("/"):
            _refuse(name, path, "has a path that leaves the archive")
        if stat.S_ISLNK(entry.external_attr >> 16):
            _refuse(name, path, "is a link")
        if entry.flag_bits & 1:
            _refuse(name, path, "is encrypted")
        if entry.header_offset < end:
            _refuse(name, path, "overlaps another member")
        end = entry.header_offset + _HEADER_BYTES + entry.compress_size
        if entry.file_size > _SMALL and entry.file_size > LARGEST_RATIO * max(1, entry.compress_size):
            _refuse(name, path, f"unpacks to more than {LARGEST_RATIO} times its size")
    if sum(entry.file_size for entry in entries) > MOST_BYTES:
        msg = f"{name}: the archive unpacks to more than {MOST_BYTES // 2**20} MB"
        raise PatternError(msg, code="E_BOMB")


def _refuse(name: str, member: str, reason: str) -> None:
    msg = f"{name}: member {shorten(member, limit=60)!r} {reason}"
    raise PatternError(msg, code="E_BOMB")
