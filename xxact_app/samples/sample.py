"""Samples from uploaded files, and the example data."""

from __future__ import annotations

import csv
import hashlib
import logging
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Literal

from xxact_app.ui.safe_text import safe_text
from xxact_core.errors import InputError, PatternError
from xxact_core.patterns.pattern import Pattern
from xxact_core.readers.read_untrusted import prepare_reading, read_untrusted_pattern
from xxact_core.shipped import EXAMPLES, shipped_path

logger = logging.getLogger(__name__)


_HINT = re.compile(r" \(others: scan=[^)]*\)")


@dataclass(frozen=True)
class Sample:
    """A loaded pattern: `name` is unique and safe to show, `file` and `content` are those of the uploaded file.

    scan: of the file, the one that was read.
    """

    key: str
    name: str
    file: str
    pattern: Pattern
    content: bytes = field(default=b"", repr=False)
    scan: int | Literal["sum", "join"] = 0

    @property
    def scans(self) -> int:
        """Number of scans in the file."""
        stated = self.pattern.metadata.get("scans", "")
        return int(stated) if stated.isdecimal() and self.content else 1


@dataclass(frozen=True)
class Problem:
    """An error message, safe to show."""

    key: str
    text: str


@dataclass(frozen=True)
class Example:
    """An example file; `formula` and `wavelength` are empty where they are unknown."""

    path: Path
    formula: str
    wavelength: str


def warm_up_reading() -> None:
    """Start the process that reads files in advance."""
    prepare_reading()


def read_sample(file: str, content: bytes, *, number: int, taken: Collection[str]) -> Sample:
    """Read an uploaded file in a separate process with limits on time and memory.

    Args:
        file: name of the file.
        content: content of the file.
        number: number of the file in its session, part of the key, so that equal files get different keys.
        taken: names in use.

    Raises:
        PatternError: the file cannot be read; the message begins with its name.
    """
    name = file_to_name(file)
    with naming(name, as_=PatternError, code="E_FORMAT"):
        pattern = _without_hint(read_untrusted_pattern(content, name=name))
    return Sample(
        f"{hashlib.sha256(content).hexdigest()[:16]}-{number}", free_name(name, taken), file, pattern, content
    )


def read_scan(sample: Sample, *, scan: int | Literal["sum", "join"]) -> Sample:
    """Read another scan of the same file, by index, the sum of all scans, or all ranges joined.

    Raises:
        PatternError: there is no such scan, or the scans do not share their angles.
    """
    pattern = _without_hint(read_untrusted_pattern(sample.content, name=sample.pattern.name, scan=scan))
    return replace(sample, pattern=pattern, scan=scan)


def _without_hint(pattern: Pattern) -> Pattern:
    """The pattern, whose warnings do not tell how another scan is read in Python: the app has a form for it."""
    return replace(pattern, warnings=tuple(_HINT.sub("", text) for text in pattern.warnings))


def file_to_name(file: str) -> str:
    """The last part of a file name, safe to show."""
    return safe_text(file.replace("\\", "/").rpartition("/")[2]).strip() or "unnamed file"


@contextmanager
def naming(name: str, *, as_: type[InputError], code: str) -> Iterator[None]:
    """Convert all exceptions to errors whose messages begin with the name of the file.

    Args:
        name: name of the file.
        as_: type of the errors.
        code: code of errors that have none.
    """
    try:
        yield
    except InputError as error:
        msg = f"{name}: {without_name(error, name)}"
        raise as_(msg, code=error.code) from error
    except Exception as error:
        logger.exception("reading a dropped file failed")
        msg = f"{name}: cannot be read; see the server log"
        raise as_(msg, code=code) from error


def free_name(name: str, taken: Collection[str]) -> str:
    """The name, with a number appended where it is in use."""
    return name if name not in taken else next(f"{name} ({n})" for n in count(2) if f"{name} ({n})" not in taken)


def list_examples() -> list[Example]:
    """The example data.

    Raises:
        InstallationError: they are not there (E_INSTALLATION).
    """
    folder = shipped_path(EXAMPLES)
    table = shipped_path(f"{EXAMPLES}/examples.csv")
    with table.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    return [
        Example(folder / row["file"], row.get("formula") or "", row.get("wavelength") or "")
        for row in rows
        if (folder / row["file"]).is_file()
    ]


def without_name(error: Exception, name: str) -> str:
    """The message of an error without the leading file name."""
    return str(error).removeprefix(f"{name}: ")


def without_formats(message: str) -> str:
    """The message of an error with a few formats for the list of all, which would fill the screen of a phone."""
    from xxact_core.readers.read import READABLE_FORMATS  # noqa: PLC0415 - the readers run in a process of their own

    return message.replace(f"one of {', '.join(READABLE_FORMATS)}", "a diffractogram (XRDML, RAW, RASX, CIF, XY …)")
