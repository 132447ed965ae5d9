"""The pattern or structure of a request: the content of a file, or arrays."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, replace

from xxact_core.errors import InputError, PatternError, StructureError, shorten
from xxact_core.patterns.conversions import parse_wavelength
from xxact_core.patterns.pattern import Pattern
from xxact_core.readers.content import MAX_BYTES, MAX_POINTS
from xxact_core.requests.reading import ReadRequest

UNNAMED = "pattern"
"""Name of a file that the request does not name."""


@dataclass(frozen=True, kw_only=True)
class SourceFields:
    """The fields of a JSON request that hold the data: the content of a file, or angles and intensities."""

    name: str = UNNAMED
    """Name of the file or pattern, in messages."""

    content: str | None = None
    """Content of a text file."""

    content_base64: str | None = None
    """Content of any file, in Base64."""

    two_theta: tuple[float, ...] | None = None
    """Angles [deg 2θ], ascending, instead of a file."""

    intensity: tuple[float, ...] | None = None
    """Intensities at these angles."""


@dataclass(frozen=True)
class Source:
    """The content of a file with its name, or a pattern."""

    name: str
    content: bytes = b""
    pattern: Pattern | None = None

    def read(self, request: ReadRequest) -> Pattern:
        """The pattern, with the wavelength of the request where it states one.

        Raises:
            PatternError: it cannot be read.
        """
        if self.pattern is None:
            return request.read(self.content, name=self.name)
        if request.wavelength is None:
            return self.pattern
        return replace(self.pattern, wavelength=parse_wavelength(request.wavelength))

    def structure(self) -> bytes:
        """The content of a CIF.

        Raises:
            StructureError: there are arrays instead.
        """
        if self.pattern is not None:
            msg = f"{self.name}: angles and intensities are no structure; expected a CIF"
            raise StructureError(msg, code="E_STRUCTURE")
        return self.content


def file_source(name: str, content: bytes) -> Source:
    """The source for a file.

    Raises:
        PatternError: it is larger than files may be (E_TOO_LARGE).
    """
    shown = shorten(name.replace("\\", "/").rpartition("/")[2]).strip() or UNNAMED
    if len(content) > MAX_BYTES:
        msg = f"{shown}: has {len(content) / 2**20:.0f} MB; expected at most {MAX_BYTES // 2**20} MB"
        raise PatternError(msg, code="E_TOO_LARGE")
    return Source(shown, content)


def fields_to_source(given: SourceFields) -> Source:
    """The source for the fields of a JSON request.

    Raises:
        InputError: none or several of content, content_base64 and arrays are given, or the Base64 is damaged (E_INPUT).
        PatternError: the arrays are no pattern.
    """
    arrays = given.two_theta is not None or given.intensity is not None
    if (given.content is not None) + (given.content_base64 is not None) + arrays != 1:
        msg = "give one of a file, content, content_base64, and two_theta with intensity"
        raise InputError(msg, code="E_INPUT")
    if given.content is not None:
        return file_source(given.name, given.content.encode("utf-8", errors="replace"))
    if given.content_base64 is not None:
        try:
            return file_source(given.name, base64.b64decode(given.content_base64, validate=True))
        except (binascii.Error, ValueError) as error:
            msg = f"content_base64 is no Base64: {error}"
            raise InputError(msg, code="E_INPUT") from error
    if given.two_theta is None or given.intensity is None:
        msg = "give both two_theta and intensity"
        raise InputError(msg, code="E_INPUT")
    name = shorten(given.name)
    if len(given.two_theta) > MAX_POINTS:
        msg = f"{name}: has {len(given.two_theta)} points; expected at most {MAX_POINTS}"
        raise PatternError(msg, code="E_TOO_LARGE")
    return Source(name, pattern=Pattern(given.two_theta, given.intensity, name=name))  # type: ignore[arg-type]  # converted
