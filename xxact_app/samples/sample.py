"""Dropped files → samples: read by the core, named safely; and the examples that come with the app."""

from __future__ import annotations

import csv
import hashlib
import logging
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


@dataclass(frozen=True)
class Sample:
    """A pattern that was read: `name` is safe to show and no other sample's; `file` and `content` are as they came.

    scan: of the file, the one that was read.
    """

    key: str
    name: str
    file: str
    pattern: Pattern
    content: bytes = field(default=b"", repr=False)
    scan: int | Literal["sum"] = 0

    @property
    def scans(self) -> int:
        """How many scans the file holds."""
        stated = self.pattern.metadata.get("scans", "")
        return int(stated) if stated.isdecimal() and self.content else 1


@dataclass(frozen=True)
class Problem:
    """Something that went wrong, in words that are safe to show."""

    key: str
    text: str


@dataclass(frozen=True)
class Example:
    """A measured file that comes with the app; `formula` and `wavelength` are empty where nobody states them."""

    path: Path
    formula: str
    wavelength: str


def warm_up_reading() -> None:
    """Start the process that reads files, so that the first one need not wait for it."""
    prepare_reading()


def read_sample(file: str, content: bytes, *, number: int, taken: Collection[str]) -> Sample:
    """Read one dropped file, in a process of its own that ends where the file takes too much time or memory.

    number: of this file in its session, part of the key, so that a file dropped twice is kept twice.
    taken: names that other samples have already.

    Raises:
        PatternError: what is wrong with the file, in words that begin with its name.
    """
    name = file_to_name(file)
    with naming(name, as_=PatternError, code="E_FORMAT"):
        pattern = read_untrusted_pattern(content, name=name)
    return Sample(
        f"{hashlib.sha256(content).hexdigest()[:16]}-{number}", free_name(name, taken), file, pattern, content
    )


def read_scan(sample: Sample, *, scan: int | Literal["sum"]) -> Sample:
    """The same file with another of its scans, from 0, or with the sum of all of them.

    Raises:
        PatternError: there is no such scan, or the scans do not share their angles.
    """
    pattern = read_untrusted_pattern(sample.content, name=sample.pattern.name, scan=scan)
    return replace(sample, pattern=pattern, scan=scan)


def file_to_name(file: str) -> str:
    """What a dropped file is called: the last part of its name, safe to show."""
    return safe_text(file.replace("\\", "/").rpartition("/")[2]).strip() or "unnamed file"


@contextmanager
def naming(name: str, *, as_: type[InputError], code: str) -> Iterator[None]:
    """Whatever goes wrong in reading becomes an error in words that begin with the name of the file.

    as_, code: what is raised; an error in words keeps its own code.
    """
    try:
        yield
    except InputError as error:
        msg = f"{name}: {without_name(error, name)}"
        raise as_(msg, code=error.code) from error
    except Exception as error:
        logger.exception("reading a dropped file failed")
        msg = f"{name}: cannot be read; the server's log says more"
        raise as_(msg, code=code) from error


def free_name(name: str, taken: Collection[str]) -> str:
    """The name, or with a number behind it where others have it already."""
    return name if name not in taken else next(f"{name} ({n})" for n in count(2) if f"{name} ({n})" not in taken)


def list_examples() -> list[Example]:
    """The examples that come with the app.

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
    """The message of an error without the file's name in front, where the name is shown anyway."""
    return str(error).removeprefix(f"{name}: ")
