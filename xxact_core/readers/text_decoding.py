"""Bytes → text: the encodings that diffractometers and spreadsheets write."""

from __future__ import annotations

import codecs

from xxact_core.errors import PatternError

_SAMPLE = 4096
_MOST_CONTROL = 0.01
_LINE_CHARACTERS = frozenset(b"\t\n\r\f\x1a")


def looks_binary(data: bytes) -> bool:
    """Whether bytes without a known signature hold characters that no text has."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or _utf16_without_mark(data):
        return False
    sample = data[:_SAMPLE] + data[len(data) // 2 : len(data) // 2 + _SAMPLE] + data[-_SAMPLE:]
    control = sum(byte < 32 and byte not in _LINE_CHARACTERS for byte in sample)  # noqa: PLR2004 - ASCII control range
    return b"\0" in sample or control > _MOST_CONTROL * len(sample)


def decode_text(data: bytes, *, name: str) -> str:
    r"""Text of the bytes, line ends as \n: UTF-8 or UTF-16, with or without byte order mark, else Latin-1.

    Raises:
        PatternError: the bytes are cut in the middle of a UTF-16 character or are no UTF-16 (E_FORMAT).
    """
    try:
        text = data.decode(_encoding(data))
    except UnicodeDecodeError as error:
        msg = f"{name}: byte {error.start + 1} is no {error.encoding} text"
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
