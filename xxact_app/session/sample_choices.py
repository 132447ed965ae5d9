"""The settings of one pattern, removed together with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal


@dataclass(frozen=True)
class SampleChoices:
    """The settings of one pattern."""

    visible: bool = True
    """Whether the pattern is shown."""

    wavelength: float | None = None
    """Entered wavelength [Å]; None for that of the file."""

    formula: str = ""
    """Composition as typed."""

    scan: int | Literal["sum", "join"] = 0
    """Index of the scan in a file with several, `sum` for their sum, `join` for ranges joined into one."""

    label: str = ""
    """Name of the pattern where it is one scan of a split file; empty for the name of the file."""

    masked: tuple[int, ...] | None = None
    """Indices of the masked windows (0-16); None while none were chosen, and one is masked as an example."""

    own_steps: tuple[dict[str, Any], ...] | None = None
    """Processing steps of this pattern alone; None for those of all patterns."""

    phase: str = ""
    """Id of a reference phase whose reflections are drawn besides those of the phases found; empty for none."""

    may: tuple[str, ...] = ()
    """Elements that the specimen may contain besides those of the composition."""

    one_of: tuple[str, ...] = ()
    """Elements of which the specimen contains at least one."""

    never: tuple[str, ...] = ()
    """Elements that the specimen does not contain."""

    use_guess: bool = True
    """Whether elements that the name of the file suggests count while no composition is given."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values of the settings that differ from the defaults."""
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
    """Fields in which two sets of records differ, and `files` where their keys or order differ."""
    files = {"files"} if list(before) != list(after) else set()
    pairs = [(before.get(key, _START), after.get(key, _START)) for key in {**before, **after}]
    return frozenset(files | {name for name in SAMPLE_FIELDS for a, b in pairs if getattr(a, name) != getattr(b, name)})
