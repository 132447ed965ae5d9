"""Inputs of the pattern widgets: files, arrays, xarray objects and patterns, one or several, with names."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from xxact_app.samples.sample import Sample, free_name
from xxact_app.samples.store import Store
from xxact_app.ui.safe_text import safe_text
from xxact_core.errors import PatternError
from xxact_core.patterns.conversions import parse_wavelength
from xxact_core.patterns.pattern import Pattern
from xxact_core.readers.measured_points import points_to_pattern
from xxact_core.readers.objects import is_xarray, object_to_points
from xxact_core.readers.read_untrusted import read_untrusted_pattern


def inputs_to_patterns(inputs: Sequence[object], *, wavelength: float | str | None = None) -> dict[str, Pattern]:
    """Patterns by name, taken from the keys of mappings, file names, or names of xarray objects and patterns.

    Args:
        inputs: each a path, a pair of arrays (2θ [deg], intensity), an array of shape (points, 2), a pandas DataFrame
            or Series, an xarray DataArray or Dataset with a coordinate `two_theta`, `q` or `d` and its `units`, a
            `Pattern`, or a mapping of names to any of these.
        wavelength: in Å, with a unit or by name, in place of that of the inputs. No wavelength is ever assumed.

    Raises:
        PatternError: an input is invalid; the message names it.
        OSError: a file cannot be opened.
    """
    chosen = None if wavelength is None else parse_wavelength(wavelength)
    patterns: dict[str, Pattern] = {}
    for value in inputs:
        for name, pattern in _patterns_of(value, wavelength=chosen):
            patterns[free_name(name, patterns)] = pattern
    if not patterns:
        msg = (
            "no pattern was passed; expected a path, a pair of arrays, an xarray object, or a mapping of names to them"
        )
        raise PatternError(msg, code="E_EMPTY")
    return patterns


def add_patterns(store: Store, patterns: Mapping[str, Pattern]) -> dict[str, str]:
    """Add patterns to a store like uploaded files; returns name → key of the sample."""
    keys = {}
    for name, pattern in patterns.items():
        taken = {sample.name for sample in store.samples.values()}
        sample = Sample(f"given-{uuid.uuid4().hex}", free_name(safe_text(name), taken), name, pattern)
        store.take(sample)
        keys[name] = sample.key
    return keys


def _patterns_of(value: object, *, wavelength: float | None) -> Iterator[tuple[str, Pattern]]:
    if isinstance(value, Mapping) and not is_xarray(value):
        for name, one in value.items():
            found = [pattern for _, pattern in _patterns_of(one, wavelength=wavelength)]
            for number, pattern in enumerate(found):
                yield f"{name}, {number}" if len(found) > 1 else str(name), pattern
    elif isinstance(value, Pattern):
        yield value.name, value if wavelength is None else replace(value, wavelength=wavelength)
    elif isinstance(value, str | Path):
        yield Path(value).name, read_untrusted_pattern(value, wavelength=wavelength)
    else:
        for name, points in object_to_points(value, name="pattern"):
            yield name, points_to_pattern(points, name=name, wavelength=wavelength)
