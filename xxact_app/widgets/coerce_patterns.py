"""Inputs of the pattern widgets: files, arrays, xarray objects and patterns, one or several, with names."""

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
"""Names of a coordinate of an xarray object that is the axis of a pattern, in any case."""

_COLUMNS = 2


def inputs_to_patterns(inputs: Sequence[object], *, wavelength: float | str | None = None) -> dict[str, Pattern]:
    """Patterns by name, taken from the keys of mappings, file names, or names of xarray objects and patterns.

    Args:
        inputs: each a path, a pair of arrays (2θ [deg], intensity), an array of shape (points, 2), an xarray DataArray
            or Dataset with a coordinate `two_theta`, `q` or `d` and its `units`, a `Pattern`, or a mapping of names to
            any of these.
        wavelength: in Å or by name, in place of that of the inputs. No wavelength is ever assumed.

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
    if is_xarray(value):
        for points, name in _xarray_to_points(value):
            yield name, points_to_pattern(points, name=name, wavelength=wavelength)
    elif isinstance(value, Mapping):
        for name, one in value.items():
            found = [pattern for _, pattern in _patterns_of(one, wavelength=wavelength)]
            for number, pattern in enumerate(found):
                yield f"{name}, {number}" if len(found) > 1 else str(name), pattern
    elif isinstance(value, Pattern):
        yield value.name, value if wavelength is None else replace(value, wavelength=wavelength)
    elif isinstance(value, str | Path):
        yield Path(value).name, read_untrusted_pattern(value, wavelength=wavelength)
    else:
        yield "pattern", points_to_pattern(_arrays_to_points(value), name="pattern", wavelength=wavelength)


def _arrays_to_points(value: object) -> MeasuredPoints:
    expected = "expected two arrays of one length, 2θ [deg] and intensity, or one of shape (points, 2)"
    try:
        columns = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        msg = f"{shorten(value, limit=60)} is not a pattern ({shorten(error, limit=80)}): {expected}, a path or xarray"
        raise PatternError(msg, code="E_VALUES") from error
    if isinstance(value, np.ndarray) and columns.ndim == _COLUMNS and columns.shape[1] == _COLUMNS:
        columns = columns.T
    if columns.ndim != _COLUMNS or len(columns) != _COLUMNS:
        msg = f"values of shape {columns.shape} are not a pattern: {expected}"
        raise PatternError(msg, code="E_VALUES")
    return MeasuredPoints(positions=columns[0], intensity=columns[1], format="array")


# -------------------------------------------------------------------------------------------------------------- xarray
def is_xarray(value: object) -> bool:
    """Whether an object is an xarray DataArray or Dataset, without importing xarray."""
    xarray = sys.modules.get("xarray")  # such an object exists only if xarray was imported
    return xarray is not None and isinstance(value, xarray.DataArray | xarray.Dataset)


def _xarray_to_points(value: Any) -> Iterator[tuple[MeasuredPoints, str]]:  # noqa: ANN401 - xarray is slow to import
    """The patterns in a DataArray with one or two dimensions, or in the variables of a Dataset."""
    if hasattr(value, "data_vars"):
        names = [name for name, array in value.data_vars.items() if _axis_of(array) is not None]
        if "intensity" in names:
            names = ["intensity"]
        if not names:
            msg = f"no variable of the Dataset has a pattern axis: expected a coordinate named one of {AXIS_NAMES}"
            raise PatternError(msg, code="E_AXIS")
        for name in names:
            array = value[name]
            yield from _xarray_to_points(array.assign_attrs({**_stated(value.attrs), **array.attrs}))
        return
    axis, name = _axis_of(value), str(value.name or "pattern")
    if axis is None:
        coordinates = ", ".join(map(str, value.coords)) or "none"
        msg = f"{name}: none of the coordinates ({coordinates}) is a pattern axis: expected one of {AXIS_NAMES}"
        raise PatternError(msg, code="E_AXIS")
    others = [dimension for dimension in value.dims if dimension not in value[axis].dims]
    if len(others) > 1:
        msg = f"{name}: has the dimensions {value.dims}; expected the pattern axis and at most one more"
        raise PatternError(msg, code="E_VALUES")
    kind, factor, notes = axis_of_header(f"{axis} [{value[axis].attrs.get('units', '')}]", name=name)
    stated = value.attrs.get("wavelength")
    for number in range(value.sizes[others[0]] if others else 1):
        one = value.isel({others[0]: number}) if others else value
        called = f"{name}, {others[0]} {one[others[0]].item()}" if others and others[0] in value.coords else name
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
    """The coordinate of an array that is the pattern axis, or None."""
    found = [name for name in array.coords if str(name).lower() in AXIS_NAMES and array[name].ndim == 1]
    return str(found[0]) if found else None


def _stated(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if name == "wavelength"}
