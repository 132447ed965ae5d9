"""Errors raised by invalid input; each message names the thing, the value and what was expected."""

from __future__ import annotations

import errno


class InputError(ValueError):
    """Invalid input; `code` is a stable identifier for programs, the message is for people."""

    def __init__(self, message: str, *, code: str = "E_INPUT") -> None:
        super().__init__(message)
        self.code = code


class PatternError(InputError):
    """A diffraction pattern that cannot be used (E_EMPTY, E_FORMAT, E_AXIS, E_VALUES, E_SCAN, E_LIMIT ...)."""


class WavelengthError(PatternError):
    """The wavelength is missing, unknown or out of range; it is never assumed (E_WAVELENGTH)."""


class ProcessingError(InputError):
    """A processing step that is unknown, out of place or has a setting out of range (E_PREPARATION)."""


PreparationError = ProcessingError
"""Former name of `ProcessingError`, from version 0.1.0."""


class FormulaError(InputError):
    """A chemical formula that cannot be read (E_FORMULA)."""


class StructureError(InputError):
    """A crystal structure that cannot be used (E_STRUCTURE)."""


class DatasetError(InputError):
    """A dataset file that is missing, damaged or has another schema (E_DATASET)."""


class RecipeError(InputError):
    """A training recipe with an unknown or invalid setting (E_RECIPE)."""


class CheckpointError(InputError):
    """A checkpoint that is missing, damaged or of another architecture (E_CHECKPOINT)."""


class InstallationError(InputError):
    """A file that belongs to the package is missing or damaged (E_INSTALLATION)."""


_DISK = {
    errno.ENOSPC: "the disk is full; free some space, then run the command again",
    errno.EDQUOT: "your disk quota is used up; free some space, then run the command again",
    errno.EROFS: "the disk is read-only; choose another folder",
}


def is_disk_error(error: OSError) -> bool:
    """Whether nothing can be written, because the disk is full or read-only."""
    return error.errno in _DISK


def os_error_to_text(error: OSError) -> str:
    """A message for people about a file that cannot be opened or written: its name and the reason."""
    if error.errno in _DISK:
        reason = _DISK[error.errno]
        return reason if error.filename is None else f"{shorten(error.filename)} cannot be written: {reason}"
    reason = (error.strerror or str(error)).lower()
    return reason if error.filename is None else f"{shorten(error.filename)}: cannot be opened: {reason}"


def shorten(text: object, *, limit: int = 120) -> str:
    """Text from a file, safe for a message: one line, printable, at most `limit` characters."""
    line = "".join(character if character.isprintable() else " " for character in str(text))
    return line if len(line) <= limit else line[: limit - 1] + "…"
