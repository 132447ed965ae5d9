"""A JSON stream, however long, value by value: the text of each, in constant memory."""

from __future__ import annotations

import codecs
import io
import json
from collections.abc import Iterator
from typing import NoReturn

from xxact_core.errors import DatasetError, shorten
from xxact_core.structures.source_files import UNREADABLE

MOST_VALUE_TEXT = 64 * 2**20
"""Characters of one value. Ours: a structure of thousands of atoms takes about one million."""

_CHUNK = 2**18
_NEAR = 16
_WHITESPACE = " \t\r\n"
_DECODER = json.JSONDecoder(parse_int=float)
"""Finds where a value ends; integers as floats, because Python refuses to read those of thousands of digits."""


class JsonText:
    """Text of a stream, of which only what is being read is in memory.

    A standard scanner finds the end of a value and the value itself is thrown away: quicker than building it event by
    event, and unlike strict readers it takes NaN, which Python and ASE write.

    lines: ends of lines that were gone past. last_line: the same, where the last value or character taken ended.
    """

    def __init__(self, stream: io.BufferedIOBase) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")(errors="replace")
        self._text = ""
        self._at = 0
        self._ended = False
        self.lines = self.last_line = 0
        self._failure = "no more text"

    def peek(self) -> str:
        """Next character that is not white, not yet taken; empty at the end of the stream."""
        while True:
            while self._at < len(self._text):
                character = self._text[self._at]
                if character not in _WHITESPACE:
                    return character
                self.lines += character == "\n"
                self._at += 1
            if not self._fill(_CHUNK):
                return ""

    def take(self, character: str) -> None:
        """Go past a character that must come next.

        Raises:
            DatasetError: another one comes (E_FORMAT), or none (E_TRUNCATED).
        """
        found = self.peek()
        if found != character:
            self.refuse(f"expected {character!r}, found {found!r}", cut=not found)
        self._at += 1
        self.last_line = self.lines

    def take_value(self) -> str:
        """Text of the next value, and go past it.

        Raises:
            DatasetError: there is none, one too large or nested too deeply (E_FORMAT), or it is cut off (E_TRUNCATED).
        """
        self.peek()
        while True:
            try:
                length = _DECODER.raw_decode(self._text, self._at)[1] - self._at
            except json.JSONDecodeError as error:
                inside = len(self._text) - error.pos > _NEAR and not error.msg.startswith("Unterminated string")
                if inside or not self._fill(len(self._text) - self._at):
                    self.refuse(error.msg, cut=not inside)
            except RecursionError:
                self.refuse("values nested too deeply", cut=False)
            else:
                left = len(self._text) - self._at - length
                if left > _NEAR or not self._fill(_CHUNK):  # a number may go on in the next piece
                    return self._cut_out(length)
                continue
            if len(self._text) - self._at > MOST_VALUE_TEXT:
                self.refuse(f"a value of more than {MOST_VALUE_TEXT // 2**20} million characters", cut=False)

    def take_line(self) -> str:
        """Text up to the end of the line, whatever it is, and go past it.

        Raises:
            DatasetError: the line is too long (E_FORMAT), or cut off (E_TRUNCATED).
        """
        while (end := self._text.find("\n", self._at)) < 0 and self._fill(len(self._text) - self._at):
            if len(self._text) - self._at > MOST_VALUE_TEXT:
                self.refuse(f"a line of more than {MOST_VALUE_TEXT // 2**20} million characters", cut=False)
        return self.take_value() if end < 0 else self._cut_out(end + 1 - self._at)

    def take_elements(self) -> Iterator[str]:
        """Texts of the elements of an array, one after another, and go past it.

        Raises:
            DatasetError: as `take_value`.
        """
        self.take("[")
        while self.peek() != "]":
            yield self.take_value()
            if self.peek() != "]":
                self.take(",")
        self.take("]")

    def refuse(self, reason: str, *, cut: bool) -> NoReturn:
        """Raise what is wrong: that the stream has ended before its time (E_TRUNCATED), or the reason (E_FORMAT)."""
        if cut:
            raise DatasetError(self._failure, code="E_TRUNCATED")
        raise DatasetError(reason, code="E_FORMAT")

    def end_failure(self) -> str | None:
        """Why the stream could not be read to its end, where all that could be read has been taken."""
        return self._failure if self._ended and self._failure != "no more text" else None

    def _cut_out(self, length: int) -> str:
        text = self._text[self._at : self._at + length]
        self.lines += text.count("\n")
        self._at += length
        self.last_line = self.lines
        return text

    def _fill(self, amount: int) -> bool:
        """Read on by at least so many bytes, and forget what was taken; False where the stream has ended."""
        pieces, size = [self._text[self._at :]], 0
        self._at = 0
        while not self._ended and size < max(amount, _CHUNK):
            try:
                piece = self._stream.read1(_CHUNK)  # `read` would lose what precedes a cut
            except UNREADABLE as error:
                self._failure, piece = shorten(error), b""
            self._ended = not piece
            size += len(piece)
            pieces.append(self._decoder.decode(piece, final=self._ended))
        self._text = "".join(pieces)
        return size > 0
