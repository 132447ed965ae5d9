"""What the user chose for one pattern: one record, which goes when the pattern is removed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal


@dataclass(frozen=True)
class SampleChoices:
    """What the user chose for one pattern."""

    visible: bool = True
    """Whether it is drawn."""

    wavelength: float | None = None
    """Entered for it [Å]; None where the file's is used."""

    formula: str = ""
    """Composition as typed."""

    scan: int | Literal["sum"] = 0
    """The one that is read of a file of several, from 0, or the sum of all."""

    masked: tuple[int, ...] = ()
    """Numbers of the windows that are masked (0-16)."""

    phase: str = ""
    """Id of the reference phase whose reflections are drawn; empty for the best match."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values of what is not as at the start."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        changed = {name: value for name, value in values.items() if value != getattr(_START, name)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in changed.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SampleChoices:
        """The record of `to_dict`."""
        plain: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
        }
        return cls(**plain)


_START = SampleChoices()

SAMPLE_FIELDS = tuple(field.name for field in fields(SampleChoices))


def differing_fields(before: Mapping[str, SampleChoices], after: Mapping[str, SampleChoices]) -> frozenset[str]:
    """Fields in which two sets of records differ, and `files` where they are of other patterns or in another order."""
    files = {"files"} if list(before) != list(after) else set()
    pairs = [(before.get(key, _START), after.get(key, _START)) for key in {**before, **after}]
    return frozenset(files | {name for name in SAMPLE_FIELDS for a, b in pairs if getattr(a, name) != getattr(b, name)})
