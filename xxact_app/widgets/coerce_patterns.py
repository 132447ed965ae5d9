"""What a notebook gives → patterns in a store: files, arrays, xarray, patterns, one or several, with names."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from xxact_app.samples.sample import Sample, free_name
from xxact_app.samples.store import Store
from xxact_app.ui.safe_text import safe_text
from xxact_core.errors import PatternError, shorten
from xxact_core.patterns.conversions import parse_wavelength
from xxact_core.patterns.pattern import Pattern
from xxact_core.readers.measured_points import MeasuredPoints, points_to_pattern
from xxact_core.readers.read_untrusted import read_untrusted_pattern
from xxact_core.readers.text_table import axis_of_header

AXIS_NAMES = ("two_theta", "twotheta", "2theta", "2θ", "tth", "ttheta", "q", "d", "d_spacing")
"""What a coordinate of an xarray object is called when it is the axis of a pattern, whatever its case."""

_COLUMNS = 2


def given_to_patterns(given: Sequence[object], *, wavelength: float | str | None = None) -> dict[str, Pattern]:
    """Patterns by name: those of a mapping by its keys, files by theirs, others as they call themselves.

    Each of `given` is a path, a pair of arrays (2θ [deg], intensity), an array of shape (points, 2), an xarray
    DataArray or Dataset with a coordinate `two_theta`, `q` or `d` whose `units` say which, a `Pattern`, or a mapping of
    names to any of these. wavelength: in Å or by name; goes before what they say themselves. None is ever assumed.

    Raises:
        PatternError: names what is wrong with which of them.
        OSError: a file cannot be opened.
    """
    chosen = None if wavelength is None else parse_wavelength(wavelength)
    patterns: dict[str, Pattern] = {}
    for thing in given:
        for name, pattern in _patterns_of(thing, wavelength=chosen):
            patterns[free_name(name, patterns)] = pattern
    if not patterns:
        msg = "no pattern was given; expected a path, a pair of arrays, an xarray object, or a mapping of names to them"
        raise PatternError(msg, code="E_EMPTY")
    return patterns


def give_patterns(store: Store, patterns: Mapping[str, Pattern]) -> dict[str, str]:
    """Put patterns into a store as if their files had been dropped: name of each → key of its sample."""
    keys = {}
    for name, pattern in patterns.items():
        taken = {sample.name for sample in store.samples.values()}
        sample = Sample(f"given-{uuid.uuid4().hex}", free_name(safe_text(name), taken), name, pattern)
        store.take(sample)
        keys[name] = sample.key
    return keys


def _patterns_of(thing: object, *, wavelength: float | None) -> Iterator[tuple[str, Pattern]]:
    if is_xarray(thing):
        for points, name in _xarray_to_points(thing):
            yield name, points_to_pattern(points, name=name, wavelength=wavelength)
    elif isinstance(thing, Mapping):
        for name, one in thing.items():
            found = [pattern for _, pattern in _patterns_of(one, wavelength=wavelength)]
            for number, pattern in enumerate(found):
                yield f"{name}, {number}" if len(found) > 1 else str(name), pattern
    elif isinstance(thing, Pattern):
        yield thing.name, thing if wavelength is None else replace(thing, wavelength=wavelength)
    elif isinstance(thing, str | Path):
        yield Path(thing).name, read_untrusted_pattern(thing, wavelength=wavelength)
    else:
        yield "pattern", points_to_pattern(_arrays_to_points(thing), name="pattern", wavelength=wavelength)


def _arrays_to_points(thing: object) -> MeasuredPoints:
    expected = "expected two arrays of one length, 2θ [deg] and intensity, or one of shape (points, 2)"
    try:
        columns = np.asarray(thing, dtype=np.float64)
    except (TypeError, ValueError) as error:
        msg = f"{shorten(thing, limit=60)} is no pattern ({shorten(error, limit=80)}): {expected}, a path or xarray"
        raise PatternError(msg, code="E_VALUES") from error
    if isinstance(thing, np.ndarray) and columns.ndim == _COLUMNS and columns.shape[1] == _COLUMNS:
        columns = columns.T
    if columns.ndim != _COLUMNS or len(columns) != _COLUMNS:
        msg = f"values of shape {columns.shape} are no pattern: {expected}"
        raise PatternError(msg, code="E_VALUES")
    return MeasuredPoints(positions=columns[0], intensity=columns[1], format="array")


# -------------------------------------------------------------------------------------------------------------- xarray
def is_xarray(thing: object) -> bool:
    """Whether something is an array or a data set of xarray, which is slow to import and need not be there."""
    xarray = sys.modules.get("xarray")  # who gives such an object has imported it
    return xarray is not None and isinstance(thing, xarray.DataArray | xarray.Dataset)


def _xarray_to_points(thing: Any) -> Iterator[tuple[MeasuredPoints, str]]:  # noqa: ANN401 - xarray is slow to import
    """The patterns in a DataArray of one or two dimensions, or in those variables of a Dataset that are patterns."""
    if hasattr(thing, "data_vars"):
        names = [name for name, array in thing.data_vars.items() if _axis_of(array) is not None]
        if "intensity" in names:
            names = ["intensity"]
        if not names:
            msg = f"no variable of the Dataset is over an axis of a pattern: expected a coordinate of {AXIS_NAMES}"
            raise PatternError(msg, code="E_AXIS")
        for name in names:
            array = thing[name]
            yield from _xarray_to_points(array.assign_attrs({**_stated(thing.attrs), **array.attrs}))
        return
    axis, name = _axis_of(thing), str(thing.name or "pattern")
    if axis is None:
        coordinates = ", ".join(map(str, thing.coords)) or "none"
        msg = f"{name}: no coordinate is the axis of a pattern ({coordinates}): expected one of {AXIS_NAMES}"
        raise PatternError(msg, code="E_AXIS")
    others = [dimension for dimension in thing.dims if dimension not in thing[axis].dims]
    if len(others) > 1:
        msg = f"{name}: has the dimensions {thing.dims}; expected the axis and at most one more"
        raise PatternError(msg, code="E_VALUES")
    kind, factor, notes = axis_of_header(f"{axis} [{thing[axis].attrs.get('units', '')}]", name=name)
    stated = thing.attrs.get("wavelength")
    for number in range(thing.sizes[others[0]] if others else 1):
        one = thing.isel({others[0]: number}) if others else thing
        called = f"{name}, {others[0]} {one[others[0]].item()}" if others and others[0] in thing.coords else name
        points = MeasuredPoints(
            positions=factor * np.asarray(one[axis], dtype=np.float64),
            intensity=np.asarray(one, dtype=np.float64),
            format="xarray",
            kind=kind,
            wavelength=None if stated is None else parse_wavelength(stated),
            warnings=tuple(notes),
        )
        yield points, called


def _axis_of(array: Any) -> str | None:  # noqa: ANN401 - as above
    """The coordinate of an array that is the axis of a pattern."""
    found = [name for name in array.coords if str(name).lower() in AXIS_NAMES and array[name].ndim == 1]
    return str(found[0]) if found else None


def _stated(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if name == "wavelength"}
