"""Objects of a Python session (arrays, pairs, pandas, xarray) → measured points."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from xxact_core.errors import PatternError, shorten
from xxact_core.patterns.conversions import parse_wavelength
from xxact_core.readers.measured_points import MeasuredPoints, axis_of_title, plain_title, scan_metadata
from xxact_core.readers.text_table import columns_to_points, is_position_title

_EXPECTED = "expected two arrays of one length, 2θ [deg] and intensity, one of shape (points, 2), pandas or xarray"
_COLUMNS = 2


def object_to_points(value: object, *, name: str) -> list[tuple[str, MeasuredPoints]]:
    """Names and points of the patterns in an object.

    - two arrays (2θ [deg], intensity), an array of shape (points, 2) or a sequence of pairs; masked values and NaN are
      points that were not measured;
    - a DataFrame, whose columns or index are read as those of a text table by their names, or a Series over its index;
    - an xarray DataArray or Dataset with a coordinate `two_theta`, `q` or `d` and its `units`.

    A wavelength in `attrs` is read as `parse_wavelength` does, with its unit in `wavelength_units` if there is one.

    Raises:
        PatternError: the object is none of these (E_VALUES), or as `read_text_table`.
        WavelengthError: a wavelength in the attributes is invalid.
    """
    if is_xarray(value):
        return list(_xarray_to_points(value, name=name))
    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(value, pandas.DataFrame | pandas.Series):
        found = _pandas_to_points(value, name=name)
        return [(name if len(found) == 1 else f"{name}, {index}", points) for index, points in enumerate(found)]
    return [(name, _arrays_to_points(value))]


def _arrays_to_points(value: object) -> MeasuredPoints:
    try:
        if isinstance(value, tuple | list) and len(value) == _COLUMNS:
            columns = np.stack([_filled(one) for one in value])
        else:
            columns = _filled(value)
    except (TypeError, ValueError) as error:
        msg = f"{shorten(value, limit=60)} is not a pattern ({shorten(error, limit=80)}): {_EXPECTED}"
        raise PatternError(msg, code="E_VALUES") from error
    if columns.ndim == _COLUMNS and columns.shape[1] == _COLUMNS and len(columns) != _COLUMNS:
        columns = columns.T
    if columns.ndim != _COLUMNS or len(columns) != _COLUMNS:
        msg = f"values of shape {columns.shape} are not a pattern: {_EXPECTED}"
        raise PatternError(msg, code="E_VALUES")
    return MeasuredPoints(positions=columns[0], intensity=columns[1], format="array", gaps=True)


def _filled(value: Any) -> np.ndarray:  # noqa: ANN401 - whatever NumPy converts
    """The values as float64, NaN where they are masked.

    Raises:
        TypeError: they are complex numbers.
    """
    if np.iscomplexobj(value):
        msg = "complex numbers"
        raise TypeError(msg)
    if isinstance(value, np.ma.MaskedArray):
        return np.ma.filled(value.astype(np.float64), np.nan)
    return np.asarray(value, dtype=np.float64)


def _stated_wavelength(attributes: Mapping[Any, Any]) -> float | None:
    """Wavelength [Å] in the attributes of an object, or None without one."""
    value = next((attributes[key] for key in ("wavelength", "lambda") if key in attributes), None)
    if value is None:
        return None
    unit = next((attributes[key] for key in ("wavelength_units", "wavelength_unit") if key in attributes), None)
    return parse_wavelength(value if unit is None else (value, str(unit)))


# -------------------------------------------------------------------------------------------------------------- pandas
def _pandas_to_points(value: Any, *, name: str) -> list[MeasuredPoints]:  # noqa: ANN401 - pandas is slow to import
    frame = value.to_frame() if value.ndim == 1 else value
    if frame.index.nlevels > 1 or frame.columns.nlevels > 1:
        msg = f"{name}: a table with several levels of names; expected one (reset_index)"
        raise PatternError(msg, code="E_VALUES")
    titles = ["" if isinstance(column, int | np.integer) or column is None else str(column) for column in frame.columns]
    columns = [frame.iloc[:, index] for index in range(len(titles))]
    index_title = str(frame.index.name or "")
    counted = list(frame.index[:2]) == [0, 1]  # the default index
    if value.ndim == 1 or is_position_title(index_title) or not (counted or any(map(is_position_title, titles))):
        titles, columns = [index_title or "2theta", *titles], [frame.index, *columns]
    numbers, labels = [], []
    for title, column in zip(titles, columns, strict=True):
        try:
            numbers.append((title, _filled(column)))
        except (TypeError, ValueError):
            labels.append([str(one) for one in column])
    if len(numbers) < _COLUMNS:
        msg = f"{name}: has {len(numbers)} columns of numbers; {_EXPECTED}"
        raise PatternError(msg, code="E_VALUES")
    named = [title for title, _ in numbers]
    if any(named):
        named = [title or ("2theta" if at == 0 else "intensity") for at, title in enumerate(named)]
    wavelength = _stated_wavelength(frame.attrs)
    return columns_to_points(
        np.stack([column for _, column in numbers], axis=1),
        named if any(named) else [],
        header="" if wavelength is None else f"wavelength: {wavelength!r} Å",
        labels=[", ".join(parts) for parts in zip(*labels, strict=True)] if labels else None,
        name=name,
        scan=None,
    )


# -------------------------------------------------------------------------------------------------------------- xarray
def is_xarray(value: object) -> bool:
    """Whether an object is an xarray DataArray or Dataset, without importing xarray."""
    xarray = sys.modules.get("xarray")  # such an object exists only if xarray was imported
    return xarray is not None and isinstance(value, xarray.DataArray | xarray.Dataset)


def _xarray_to_points(value: Any, *, name: str) -> Iterator[tuple[str, MeasuredPoints]]:  # noqa: ANN401 - slow to import
    """The patterns in a DataArray with one or two dimensions, or in the variables of a Dataset."""
    if hasattr(value, "data_vars"):
        names = [key for key, array in value.data_vars.items() if _axis_of(array) is not None]
        names = ["intensity"] if "intensity" in names else names
        names = [key for key in names if not _UNCERTAINTY.fullmatch(str(key))] or names
        if not names:
            msg = f"{name}: no variable of the Dataset has a pattern axis: expected a coordinate two_theta, q or d"
            raise PatternError(msg, code="E_AXIS")
        for key in names:
            array = value[key]
            yield from _xarray_to_points(array.assign_attrs({**value.attrs, **array.attrs}), name=name)
        return
    axis, called = _axis_of(value), str(value.name or name)
    if axis is None:
        coordinates = ", ".join(map(str, value.coords)) or "none"
        msg = f"{called}: none of the coordinates ({coordinates}) is a pattern axis: expected two_theta, q or d"
        raise PatternError(msg, code="E_AXIS")
    if np.iscomplexobj(value):
        msg = f"{called}: holds complex numbers; expected intensities"
        raise PatternError(msg, code="E_VALUES")
    others = [dimension for dimension in value.dims if dimension not in value[axis].dims]
    if len(others) > 1:
        msg = f"{called}: has the dimensions {value.dims}; expected the pattern axis and at most one more"
        raise PatternError(msg, code="E_VALUES")
    found = axis_of_title(f"{_title_of(value[axis], axis)} [{value[axis].attrs.get('units', '')}]", name=called)
    wavelength = _stated_wavelength(value.attrs)
    if wavelength is None and "wavelength" in value.coords and value["wavelength"].size == 1:
        stated = value["wavelength"]
        unit = stated.attrs.get("units")
        wavelength = parse_wavelength(stated.item() if unit is None else (stated.item(), str(unit)))
    for number in range(value.sizes[others[0]] if others else 1):
        one = value.isel({others[0]: number}) if others else value
        yield (
            f"{called}, {others[0]} {one[others[0]].item()}" if others and others[0] in value.coords else called,
            MeasuredPoints(
                positions=found.factor * np.asarray(one[axis], dtype=np.float64),
                intensity=np.asarray(one, dtype=np.float64),
                format="xarray",
                kind=found.kind,
                wavelength=wavelength,
                gaps=True,
                warnings=found.notes,
                metadata=scan_metadata(sample=called),
            ),
        )


_UNCERTAINTY = re.compile(
    r"(?:.*[_ ])?(?:sigma|esd|err(?:or)?|std(?:ev)?|uncertaint(?:y|ies)|variances?|weights?|background|bkg|mask)s?",
    re.IGNORECASE,
)
"""Variables that belong to those of intensities."""


def _title_of(coordinate: Any, name: str) -> str:  # noqa: ANN401 - as above
    """The name of a coordinate, or a longer one in its attributes where the name says nothing."""
    if is_position_title(name):
        return name
    longer = (str(coordinate.attrs.get(key, "")) for key in ("long_name", "standard_name"))
    return next((title for title in longer if is_position_title(title)), "")


def _axis_of(array: Any) -> str | None:  # noqa: ANN401 - as above
    """The coordinate of an array that is the pattern axis, or None."""
    found = [key for key in array.coords if array[key].ndim == 1 and _title_of(array[key], plain_title(str(key)))]
    return str(found[0]) if found else None
