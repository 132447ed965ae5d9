"""JSON stream → text of its values, one by one, in constant memory."""

from __future__ import annotations

import codecs
import io
import json
from collections.abc import Iterator
from typing import NoReturn

from xxact_core.errors import DatasetError, shorten
from xxact_core.structures.source_files import UNREADABLE

MOST_VALUE_TEXT = 64 * 2**20
"""Largest number of characters of a value. Ours: a structure of thousands of atoms takes about one million."""

_CHUNK = 2**18
_NEAR = 16
_WHITESPACE = " \t\r\n"
_DECODER = json.JSONDecoder(parse_int=float)
"""Finds the end of a value; integers as floats, because Python refuses integers of thousands of digits."""


class JsonText:
    """Cursor in a JSON stream, of which only the current part is in memory.

    The standard decoder finds the end of each value, which is faster than event-based parsing and accepts NaN, which
    Python and ASE write. `lines` counts the line ends passed, `last_line` those before the end of the last value.
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
        """Next character that is not white space, without consuming it; empty at the end of the stream."""
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
        """Consume an expected character.

        Raises:
            DatasetError: another character follows (E_FORMAT), or none (E_TRUNCATED).
        """
        found = self.peek()
        if found != character:
            self.refuse(f"expected {character!r}, found {found!r}", cut=not found)
        self._at += 1
        self.last_line = self.lines

    def take_value(self) -> str:
        """Consume the next value and return its text.

        Raises:
            DatasetError: it is missing, too large or nested too deeply (E_FORMAT), or truncated (E_TRUNCATED).
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
                if left > _NEAR or not self._fill(_CHUNK):  # a number may continue in the next piece
                    return self._cut_out(length)
                continue
            if len(self._text) - self._at > MOST_VALUE_TEXT:
                self.refuse(f"a value of more than {MOST_VALUE_TEXT // 2**20} million characters", cut=False)

    def take_line(self) -> str:
        """Consume the rest of the line and return it.

        Raises:
            DatasetError: the line is too long (E_FORMAT), or truncated (E_TRUNCATED).
        """
        while (end := self._text.find("\n", self._at)) < 0 and self._fill(len(self._text) - self._at):
            if len(self._text) - self._at > MOST_VALUE_TEXT:
                self.refuse(f"a line of more than {MOST_VALUE_TEXT // 2**20} million characters", cut=False)
        return self.take_value() if end < 0 else self._cut_out(end + 1 - self._at)

    def take_elements(self) -> Iterator[str]:
        """Consume an array and yield the texts of its elements.

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
        """Raise that the stream is truncated (E_TRUNCATED), or the reason (E_FORMAT)."""
        if cut:
            raise DatasetError(self._failure, code="E_TRUNCATED")
        raise DatasetError(reason, code="E_FORMAT")

    def end_failure(self) -> str | None:
        """Reason why the stream could not be read to its end; None if it could."""
        return self._failure if self._ended and self._failure != "no more text" else None

    def _cut_out(self, length: int) -> str:
        text = self._text[self._at : self._at + length]
        self.lines += text.count("\n")
        self._at += length
        self.last_line = self.lines
        return text

    def _fill(self, amount: int) -> bool:
        """Read at least so many bytes and drop consumed text; False at the end of the stream."""
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
