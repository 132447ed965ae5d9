"""The content of a file before its format is known: bytes, zip members, text and numbers, all within limits."""

from __future__ import annotations

import codecs
import io
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from xxact_core.errors import PatternError, shorten

MAX_BYTES = 64 * 2**20
"""Largest file that is read [bytes]; a laboratory scan has less than 1 MB."""

MAX_POINTS = 500_000
"""Most points of one scan."""

MAX_SCANS = 10_000
"""Most scans of one file."""

MAX_LINES = 5_000_000
"""Most lines of a text."""

MAX_MEMBERS = 10_000
"""Most members of a zip archive."""

MAX_UNPACKED_BYTES = 128 * 2**20
"""Size of all unpacked members of a zip archive together [bytes]."""

MAX_COMPRESSION_RATIO = 200
"""Unpacked size of a member over its packed size; members of at most `_SMALL` bytes are exempt."""

_SMALL = 2**16
_ZIP_HEADER_BYTES = 30
_ZIP_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, struct.error, NotImplementedError, RuntimeError, OSError)

_SAMPLE_BYTES = 4096
_MAX_CONTROL_FRACTION = 0.01
_LINE_CHARACTERS = frozenset(b"\t\n\r\f\x1a")

_PLAIN_ROWS = re.compile(r"[0-9+\-.eE, ;\t\n]*")
NUMBER = r"[+-]?(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)(?:[eE][+-]?[0-9]++)?"
"""Regular expression of a plain decimal number; possessive, so that no text takes quadratic time."""


# ------------------------------------------------------------------------------------------------------- path → bytes
def read_source(source: bytes | str | Path, *, name: str | None = None) -> tuple[bytes, str]:
    """Content of a path or of bytes, and its name: `name`, else the file name.

    Raises:
        PatternError: larger than `MAX_BYTES` (E_TOO_LARGE; the file is not read), or a folder (E_FORMAT).
        OSError: the path cannot be opened.
    """
    if isinstance(source, bytes):
        source_name = name or "pattern"
        _check_size(len(source), name=shorten(source_name))
        return source, source_name
    path = Path(source)
    source_name = name or path.name
    if path.is_dir():
        msg = f"{shorten(source_name)}: is a folder; expected the files in it (for a shell {shorten(path)}/*)"
        raise PatternError(msg, code="E_FORMAT")
    with path.open("rb") as stream:
        data = stream.read(MAX_BYTES + 1) if path.stat().st_size <= MAX_BYTES else b""
        _check_size(max(path.stat().st_size, len(data)), name=shorten(source_name))
    return data, source_name


def _check_size(size: int, *, name: str) -> None:
    if size > MAX_BYTES:
        msg = f"{name}: has {size / 2**20:.0f} MB; expected at most {MAX_BYTES // 2**20} MB"
        raise PatternError(msg, code="E_TOO_LARGE")


# -------------------------------------------------------------------------------------------------------- zip archives
def read_members(data: bytes, *, name: str, archives_inside: bool = False) -> dict[str, bytes]:
    """Members of a zip archive by name, unpacked within limits on number, size and compression ratio.

    archives_inside: allow members that are archives themselves; they are not unpacked.

    Raises:
        PatternError: the archive is truncated or damaged (E_TRUNCATED), or holds what no diffractometer writes:
            absolute paths or paths with `..`, links, repeated names, overlapping members, other archives, encryption,
            more bytes than declared or than the limits (E_BOMB).
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
                if len(content) != entry.file_size or total > MAX_UNPACKED_BYTES:
                    _refuse_member(name, entry.filename, "unpacks to another size than declared")
                if content.startswith(b"PK\x03\x04") and not archives_inside:
                    _refuse_member(name, entry.filename, "is an archive within an archive")
                members[entry.filename] = content
    except _ZIP_DAMAGE as error:
        msg = f"{name}: the zip archive is damaged or truncated ({shorten(error, limit=60)})"
        raise PatternError(msg, code="E_TRUNCATED") from None
    return members


def pack_members(members: dict[str, bytes]) -> bytes:
    """An uncompressed zip archive of the members, given to geddes in place of the original archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    return buffer.getvalue()


def _check_entries(entries: list[zipfile.ZipInfo], *, name: str) -> None:
    if len(entries) > MAX_MEMBERS:
        msg = f"{name}: the archive holds {len(entries)} members; expected at most {MAX_MEMBERS}"
        raise PatternError(msg, code="E_BOMB")
    names = [entry.filename for entry in entries]
    if len(set(names)) != len(names):
        repeated = next(entry for index, entry in enumerate(names) if entry in names[:index])
        _refuse_member(name, repeated, "occurs twice")
    end = 0
    for entry in sorted(entries, key=lambda entry: entry.header_offset):
        path = entry.orig_filename.replace("\\", "/")
        if "\0" in path or path.startswith("/") or ":" in path or ".." in path.split("/"):
            _refuse_member(name, path, "has a path that leaves the archive")
        if stat.S_ISLNK(entry.external_attr >> 16):
            _refuse_member(name, path, "is a link")
        if entry.flag_bits & 1:
            _refuse_member(name, path, "is encrypted")
        if entry.header_offset < end:
            _refuse_member(name, path, "overlaps another member")
        end = entry.header_offset + _ZIP_HEADER_BYTES + entry.compress_size
        if entry.file_size > _SMALL and entry.file_size > MAX_COMPRESSION_RATIO * max(1, entry.compress_size):
            _refuse_member(name, path, f"unpacks to more than {MAX_COMPRESSION_RATIO} times its size")
    if sum(entry.file_size for entry in entries) > MAX_UNPACKED_BYTES:
        msg = f"{name}: the archive unpacks to more than {MAX_UNPACKED_BYTES // 2**20} MB"
        raise PatternError(msg, code="E_BOMB")


def _refuse_member(name: str, member: str, reason: str) -> None:
    msg = f"{name}: member {shorten(member, limit=60)!r} {reason}"
    raise PatternError(msg, code="E_BOMB")


# -------------------------------------------------------------------------------------------------------- bytes → text
def looks_binary(data: bytes) -> bool:
    """Whether the bytes hold control characters that do not occur in text."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or _utf16_without_mark(data):
        return False
    sample = data[:_SAMPLE_BYTES] + data[len(data) // 2 : len(data) // 2 + _SAMPLE_BYTES] + data[-_SAMPLE_BYTES:]
    control = sum(byte < 32 and byte not in _LINE_CHARACTERS for byte in sample)  # noqa: PLR2004 - ASCII control range
    return b"\0" in sample or control > _MAX_CONTROL_FRACTION * len(sample)


def decode_text(data: bytes, *, name: str) -> str:
    r"""Text of the bytes with line ends \n: UTF-8 or UTF-16, with or without a byte order mark, else Latin-1.

    Raises:
        PatternError: the bytes end in the middle of a UTF-16 character or are not UTF-16 (E_FORMAT).
    """
    try:
        text = data.decode(_encoding(data))
    except UnicodeDecodeError as error:
        msg = f"{name}: byte {error.start + 1} is not valid {error.encoding}"
        raise PatternError(msg, code="E_FORMAT") from None
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\x1a", "")


def _encoding(data: bytes) -> str:
    if data.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if _utf16_without_mark(data):
        return "utf-16-le" if data[1] == 0 else "utf-16-be"
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8"


def _utf16_without_mark(data: bytes) -> bool:
    """Whether every second byte of the beginning is 0: ASCII in UTF-16."""
    sample = data[:256]
    if len(sample) < 4:  # noqa: PLR2004 - two characters
        return False
    return any(
        all(byte == 0 for byte in sample[zero::2]) and all(byte != 0 for byte in sample[1 - zero :: 2])
        for zero in (0, 1)
    )


# ---------------------------------------------------------------------------------------- XML, searched without parsing
def refuse_document_types(text: str, *, name: str) -> None:
    """Refuse XML with a document type or entity declaration: no diffractometer writes one, and both allow attacks.

    Raises:
        PatternError: names the declaration (E_XML).
    """
    found = re.search(r"<!\s*(DOCTYPE|ENTITY)", text, re.IGNORECASE)
    if found:
        msg = f"{name}: the XML declares a {found[1].upper()}; expected none"
        raise PatternError(msg, code="E_XML")


def member_to_xml(members: dict[str, bytes], member: str, *, name: str) -> str:
    """Text of an XML member of an archive; errors are those of `decode_text` and `refuse_document_types`."""
    text = decode_text(members[member], name=f"{name}, {shorten(member, limit=60)}")
    refuse_document_types(text, name=name)
    return text


def xml_element(text: str, tag: str) -> str | None:
    """Text of the first element with this tag and no children."""
    match = re.search(rf"<{tag}\b[^<>]*+>([^<]*+)</{tag}>", text)
    return match[1].strip() if match else None


def xml_content(text: str, tag: str) -> str | None:
    """All between the first start and the next end of an element, its children included; None without such."""
    found = re.search(rf"<{tag}\b[^<>]*+>", text)
    end = -1 if found is None else text.find(f"</{tag}>", found.end())
    return text[found.end() : end] if found is not None and end >= 0 else None


def xml_attribute(text: str, attribute: str, *, element: str) -> str | None:
    """Value of an attribute of the first such element that has it."""
    match = re.search(rf'<{element}\b[^<>]{{0,4000}}?\b{attribute}="([^"]*)"', text)
    return match[1] if match else None


# ------------------------------------------------------------------------------------------------------ text → numbers
def parse_number(text: str | None) -> float | None:
    """The number that a field of a header states, with a decimal point or comma; None for anything else."""
    plain = (text or "").strip().replace(",", ".")
    return float(plain) if re.fullmatch(r"[0-9]++(?:\.[0-9]++)?|\.[0-9]++", plain) else None


def parse_counts(body: str, *, points: int, name: str) -> np.ndarray:
    """Numbers of a text, separated by blanks or commas, shape (points,).

    Raises:
        PatternError: a field is not a number (E_VALUES), or there are fewer (E_TRUNCATED) or more (E_FORMAT) than
            `points` of them.
    """
    fields = body.replace(",", " ").split()
    for index, field in enumerate(fields):
        if re.fullmatch(NUMBER, field) is None:
            msg = f"{name}, count {index + 1}: {shorten(field, limit=40)!r} is not a number"
            raise PatternError(msg, code="E_VALUES")
    if len(fields) != points:
        code = "E_TRUNCATED" if len(fields) < points else "E_FORMAT"
        msg = f"{name}: holds {len(fields)} counts; its header says {points}"
        raise PatternError(msg, code=code)
    return np.array(fields, dtype=np.float64)


def parse_rows(lines: Sequence[str], *, separator: str, width: int) -> np.ndarray | None:
    """Numbers of the lines, shape (lines, width), or None if a line is not `width` plain numbers.

    The quick way for regular tables; readers fall back to a slower one that names what is wrong.

    separator: of the columns; " " stands for any blanks. Commas are decimal separators where they do not separate
        columns, occur in each angle, and no decimal point is used; then they cannot separate thousands.
    """
    text = "\n".join(lines)
    if _PLAIN_ROWS.fullmatch(text) is None:
        return None
    rows = [line.split() if separator == " " else line.split(separator) for line in lines]
    if any(len(row) != width for row in rows):
        return None
    if "," in text and separator != ",":
        if "." in text or not all("," in row[0] for row in rows):
            return None
        rows = [[field.replace(",", ".") for field in row] for row in rows]
    try:
        return np.array(rows, dtype=np.float64).reshape(-1, width)
    except ValueError:
        return None
