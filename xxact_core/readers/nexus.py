"""NeXus and other HDF5 files that follow its NXdata convention → measured points."""

from __future__ import annotations

import io
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import h5py
import numpy as np

from xxact_core.errors import PatternError, shorten
from xxact_core.patterns.conversions import is_wavelength_unit, parse_wavelength, quantity_to_wavelength
from xxact_core.plain_hdf5 import NotPlainError, check_dataset, walk
from xxact_core.readers.content import MAX_POINTS
from xxact_core.readers.measured_points import (
    Axis,
    MeasuredPoints,
    axis_of_title,
    doublet_wavelength,
    note_scans,
    over_time_or_monitor,
    plain_title,
    plausible_wavelength,
    refuse_neutrons,
    scan_metadata,
    select_scans,
)

_MAX_DEFAULTS = 32
"""Groups that each name the next one as their default; a ring of them has no end."""

_TWO_THETA = frozenset({"two_theta", "twotheta", "2theta", "2th", "tth", "ttheta", "polar_angle", "2_theta"})
_SIGNALS = frozenset({"intensity", "intensities", "counts", "i", "data", "detector", "det", "signal", "psd"})
_OTHER_AXES = re.compile(
    r"q(?![a-z])|d(?![a-z])|d ?-?spacing|1 ?/ ?d|dspacing|scattering vector|momentum transfer|radius|r ?mm"
)
_MOST_ROWS = 1000
"""Rows of an array of two dimensions that are offered as scans; more are a map or an image. Ours."""

_SAME_WAVELENGTH = 1e-3
"""Relative difference up to which the wavelength of the beam is the mean of the doublet of the tube, more precisely."""

_ANGSTROM = frozenset({"angstrom", "å", "a"})

_DAMAGE = (OSError, RuntimeError, LookupError, TypeError, ValueError, OverflowError)
"""What h5py raises for a damaged file, depending on the place of the damage; some files crash it or never end."""


@dataclass(frozen=True)
class _Curve:
    """One pattern of a file."""

    signal: h5py.Dataset
    axis: h5py.Dataset
    beside: Mapping[str, h5py.Dataset]
    """Datasets of the same group by name."""
    row: int | None = None
    """Of a signal with two dimensions."""
    part: slice | None = None
    """Of a signal that holds several patterns one after another."""
    label: str = ""


def read_nexus(data: bytes, *, name: str, scan: int | None = 0) -> list[MeasuredPoints]:
    """Points of one curve over 2θ, q or d of an HDF5 file, or of all for `scan=None`; the default of the file is first.

    A curve is a group of class NXdata, one with the attribute `signal`, or one that has a `two_theta` beside an
    `intensity`; its signal and axis are one-dimensional, and an axis with one value more than the signal has the edges
    of bins. Without such a group, a curve is a variable that xarray wrote with a coordinate `two_theta`, `q` or `d`, or
    each row of one with two dimensions. A dataset of names beside the signal cuts it into patterns. Only content of the
    file itself is read: links to other files, virtual datasets and external data are ignored. Called only in the
    sandbox process of `read_untrusted`, because a damaged file can crash the HDF5 library.

    Raises:
        PatternError: damaged (E_TRUNCATED), no such curve or another axis (E_FORMAT, E_AXIS), neutrons (E_RADIATION),
            more points than `MAX_POINTS` (E_TOO_LARGE), too many members, or a dataset that declares more than it can
            hold (E_FORMAT).
    """
    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            members = {path: item for path, item in walk(file) if item is not None and _is_inside(item)}
            for path, item in members.items():
                if path.endswith("/probe"):
                    refuse_neutrons(_text(item), name=name)
            curves = _find_curves(members, name=name)
            return [
                _curve_to_points(curves[index], members, name=name, scans=len(curves), scan=scan)
                for index in select_scans(scan, count=len(curves), name=name)
            ]
    except NotPlainError as error:
        msg = f"{name}: {shorten(error)}; expected a file of patterns"
        raise PatternError(msg, code="E_FORMAT") from None
    except PatternError:
        raise
    except _DAMAGE as error:
        msg = f"{name}: the HDF5 file is damaged or uses unknown filters ({shorten(error, limit=60)})"
        raise PatternError(msg, code="E_TRUNCATED") from None


def _is_inside(item: h5py.Group | h5py.Dataset) -> bool:
    return not (getattr(item, "is_virtual", False) or getattr(item, "external", None))


def _find_curves(members: dict[str, h5py.Group | h5py.Dataset], *, name: str) -> list[_Curve]:
    """The curves of a file, that of the default group first."""
    groups = [item for item in members.values() if isinstance(item, h5py.Group) and _is_data(item)]
    default = members["/"]
    for _ in range(_MAX_DEFAULTS):
        following = members.get(posixpath.join(default.name, _words(default.attrs.get("default", ""))[0]))
        if not isinstance(following, h5py.Group):
            break
        default = following
    groups.sort(key=lambda group: group != default)
    groups = [group for group in groups if not _is_processed(group, members)] or groups
    if any("NXdata" in _words(group.attrs.get("NX_class", "")) for group in groups):  # they show what detectors hold
        groups = [group for group in groups if "NXdetector" not in _words(group.attrs.get("NX_class", ""))]
    curves, others = [], []
    seen: list[tuple[h5py.Dataset, h5py.Dataset]] = []
    for group in groups:
        sets = _datasets(group, members)
        signal, axis = _signal_and_axis(group, sets)
        if signal is None or axis is None:
            others.append(f"{group.name} has no signal with an axis")
        elif signal.ndim != 1 or axis.ndim != 1:
            others.append(f"{group.name} has {signal.ndim} dimensions, of shape {signal.shape}")
        elif axis.size - signal.size not in {0, 1}:
            others.append(f"{group.name} has {axis.size} positions for {signal.size} values")
        elif (signal, axis) not in seen:  # several groups may link to one dataset
            seen.append((signal, axis))
            curves += _patterns_of(signal, axis, sets)
    curves = curves or _coordinate_curves(members)
    if not curves:
        reason = shorten("; ".join(others[:2]) or "no group of class NXdata", limit=100)
        msg = (
            f"{name}: an HDF5 file without a one-dimensional pattern ({reason}); maps and images are not read, and "
            f"links to other files not followed"
        )
        raise PatternError(msg, code="E_FORMAT")
    return curves


def _is_processed(group: h5py.Group, members: Mapping[str, h5py.Group | h5py.Dataset]) -> bool:
    """Whether a group belongs to a processing step (NXprocess), such as a background or a fit."""
    path = str(group.name)
    while path not in {"", "/"}:
        above = members.get(path)
        if above is not None and "NXprocess" in _words(above.attrs.get("NX_class", "")):
            return True
        path = posixpath.dirname(path)
    return False


def _patterns_of(signal: h5py.Dataset, axis: h5py.Dataset, sets: Mapping[str, h5py.Dataset]) -> list[_Curve]:
    """The curve of a signal, or the patterns that it holds one after another where names stand beside it."""
    names = next((item for item in sets.values() if item.dtype.kind in "OS" and item.shape == signal.shape), None)
    if names is None or signal.size > MAX_POINTS or signal.size == 0:
        return [_Curve(signal, axis, sets)]
    labels = np.array(_words(_read(names)))
    edges = [0, *(np.flatnonzero(labels[1:] != labels[:-1]) + 1).tolist(), signal.size]
    return [
        _Curve(signal, axis, sets, part=slice(begin, end), label=str(labels[begin])) for begin, end in pairwise(edges)
    ]


def _coordinate_curves(members: dict[str, h5py.Group | h5py.Dataset]) -> list[_Curve]:
    """Curves of variables that xarray or netCDF wrote, whose dimensions name the coordinates."""
    curves = []
    for path, item in members.items():
        if not isinstance(item, h5py.Dataset) or item.dtype.kind not in "iuf" or item.ndim not in {1, 2}:
            continue
        if "CLASS" in item.attrs or "DIMENSION_LIST" not in item.attrs:
            continue
        beside = {
            posixpath.basename(other): found
            for other, found in members.items()
            if isinstance(found, h5py.Dataset) and posixpath.dirname(other) == posixpath.dirname(path)
        }
        scales = [
            next((beside.get(posixpath.basename(scale.name)) for scale in dim.values()), None) for dim in item.dims
        ]
        last = next((at for at, scale in enumerate(scales) if scale is not None and _title(scale)), None)
        if last is None or (axis := scales[last]) is None or axis.ndim != 1 or axis.size != item.shape[last]:
            continue
        if item.ndim == 1:
            curves.append(_Curve(item, axis, beside))
        elif last == 1 and item.shape[0] <= _MOST_ROWS:
            curves += [_Curve(item, axis, beside, row=row) for row in range(item.shape[0])]
    return sorted(curves, key=lambda curve: posixpath.basename(curve.signal.name) != "intensity")


def _datasets(group: h5py.Group, members: dict[str, h5py.Group | h5py.Dataset]) -> dict[str, h5py.Dataset]:
    """The datasets of a group by name, soft links within the file resolved."""
    sets: dict[str, h5py.Dataset] = {}
    for key in group:
        link = group.get(key, getlink=True)
        target = posixpath.join(group.name, link.path if isinstance(link, h5py.SoftLink) else key)
        item = members.get(posixpath.normpath(target))
        if isinstance(item, h5py.Dataset):
            sets[key] = item
    return sets


def _is_data(group: h5py.Group) -> bool:
    named = "signal" in group.attrs or "NXdata" in _words(group.attrs.get("NX_class", ""))
    return named or any(key.lower() in _TWO_THETA for key in group)


def _signal_and_axis(
    group: h5py.Group, sets: Mapping[str, h5py.Dataset]
) -> tuple[h5py.Dataset | None, h5py.Dataset | None]:
    """The dataset of the signal and that of its last axis; named by the group, or in old files marked themselves."""
    marked = next((key for key, item in sets.items() if "signal" in item.attrs), "")
    marked = marked or next((key for key in sets if key.lower() in _SIGNALS), "")
    signal = sets.get(_words(group.attrs.get("signal", marked))[0])
    if signal is None:
        return None, None
    axes = _words(group.attrs.get("axes", signal.attrs.get("axes", "")))
    axis = sets.get(axes[-1].split(":")[-1])
    if axis is None:
        axis = next((item for key, item in sets.items() if key.lower() in _TWO_THETA), None)
    return signal, axis


def _curve_to_points(
    curve: _Curve,
    members: dict[str, h5py.Group | h5py.Dataset],
    *,
    name: str,
    scans: int,
    scan: int | None,
) -> MeasuredPoints:
    signal, axis = curve.signal, curve.axis
    if signal.shape[-1] > MAX_POINTS:
        msg = f"{name}: {shorten(signal.name, limit=60)!r} holds {signal.size} points; expected at most {MAX_POINTS}"
        raise PatternError(msg, code="E_TOO_LARGE")
    if signal.dtype.kind not in "iuf" or axis.dtype.kind not in "iuf":
        msg = f"{name}: {shorten(signal.name, limit=60)!r} does not hold numbers; expected a pattern"
        raise PatternError(msg, code="E_FORMAT")
    found = _axis(axis, name=name)
    positions, values = _unpacked(axis), _unpacked(signal)
    intensity = values if curve.row is None else values[curve.row]
    notes = list(found.notes)
    if positions.size == intensity.size + 1:
        positions = (positions[1:] + positions[:-1]) / 2
        notes.append("the axis has the edges of bins; the intensities are at their centres")
    alpha_2 = _number(members, "k_alpha_two")
    ratio = _number(members, "ratio_k_alphatwo_k_alphaone")
    wavelength = _wavelength(members, signal, alpha_2=alpha_2, ratio=ratio)
    same = {key: item for key, item in curve.beside.items() if item.shape == signal.shape and item.dtype.kind in "iuf"}
    if curve.row is None:
        columns = {key: np.asarray(_read(item), dtype=np.float64) for key, item in same.items() if _NUMBERS.match(key)}
        if wavelength is None and "d" in columns and found.kind == "two_theta":
            wavelength = _bragg_wavelength(positions * found.factor, columns["d"], part=curve.part)
        others = {key: values for key, values in columns.items() if key != "d"}
        if others:
            stacked = np.stack(list(others.values()), axis=1)
            intensity, divided = over_time_or_monitor(stacked, [plain_title(key) for key in others], intensity, own=-1)
            notes += divided
    part = curve.part or slice(None)
    sample = curve.label or _first_text(members, "sample/name")
    if curve.row is not None:
        sample = f"{posixpath.basename(signal.name)}, row {curve.row}"
    return MeasuredPoints(
        positions=positions[part] * found.factor,
        intensity=intensity[part],
        format="NeXus",
        kind=found.kind,
        wavelength=wavelength,
        gaps=True,
        warnings=(*notes, *note_scans(scan, count=scans)),
        metadata=scan_metadata(
            anode=_first_text(members, "xray_tube_material"),
            alpha_2=alpha_2,
            ratio=ratio,
            axis=_first_text(members, "scan_axis") or axis.name.rpartition("/")[2],
            seconds=_number(members, "count_time"),
            sample=sample,
            scans=scans,
        ),
    )


_NUMBERS = re.compile(r"d$|count(?:ing)?_time$|monitor$|mon$|i0$", re.IGNORECASE)


def _bragg_wavelength(two_theta: np.ndarray, d: np.ndarray, *, part: slice | None) -> float | None:
    """The wavelength [Å] that 2θ [deg] and d [Å] of the same points give, or None where they do not agree."""
    lengths = (2 * d * np.sin(np.deg2rad(two_theta) / 2))[part or slice(None)]
    lengths = lengths[np.isfinite(lengths) & (lengths > 0)]
    if lengths.size == 0 or np.ptp(lengths) > 0.01 * np.median(lengths):
        return None
    return plausible_wavelength(round(float(np.median(lengths)), 5))


def _title(axis: h5py.Dataset) -> str:
    """Title of a dataset that names 2θ, q, d or a radius, from its name or its long name; else empty."""
    titles = [str(axis.name).rpartition("/")[2]]
    titles += [_words(axis.attrs.get(key, ""))[0] for key in ("long_name", "standard_name")]
    for title in titles:
        if title.lower() in _TWO_THETA or re.match(r"2 ?-?th|two ?-?th|tth", plain_title(title)):
            return "two_theta"
        if _OTHER_AXES.match(plain_title(title)):
            return title
    return ""


def _axis(axis: h5py.Dataset, *, name: str) -> Axis:
    """The axis that the name and unit of a dataset state.

    Raises:
        PatternError: another axis, or a q without a unit (E_AXIS).
    """
    unit = _words(axis.attrs.get("units", ""))[0]
    title = _title(axis)
    if not title:
        shown = shorten(axis.name.rpartition("/")[2], limit=40)
        msg = f"{name}: the curve runs over {shown!r} [{shorten(unit, limit=20)}]; expected 2θ, q or d"
        raise PatternError(msg, code="E_AXIS")
    if re.match(r"d(?![a-z])|d ?-?spacing|dspacing", plain_title(title)) and not unit:
        msg = f"{name}: the curve runs over {shorten(title, limit=40)!r} []; expected 2θ, q or d with a unit"
        raise PatternError(msg, code="E_AXIS")
    return axis_of_title(f"{title} [{unit}]", name=name)


def _wavelength(
    members: dict[str, h5py.Group | h5py.Dataset], signal: h5py.Dataset, *, alpha_2: float | None, ratio: float | None
) -> float | None:
    """Wavelength [Å] of the tube or, more exactly, its beam; else the one wavelength or energy, or an attribute."""
    if (alpha_1 := _number(members, "k_alpha_one")) is not None:
        mean, used = doublet_wavelength(alpha_1, alpha_2, ratio=ratio), _number(members, "beam/incident_wavelength")
        same = mean is not None and used is not None and abs(used / mean - 1) < _SAME_WAVELENGTH
        return used if same and _unit(members, "beam/incident_wavelength") in _ANGSTROM else mean
    for key in ("wavelength", "incident_wavelength", "energy", "incident_energy"):
        unit = _unit(members, key)
        usable = is_wavelength_unit(unit) or (not unit and "wavelength" in key)
        if usable and (value := _number(members, key)):
            return plausible_wavelength(quantity_to_wavelength(value, unit))
    for item in (signal, signal.parent, members["/"]):
        if "wavelength" in item.attrs:
            value, unit = item.attrs["wavelength"], _words(item.attrs.get("wavelength_units", ""))[0]
            texts = _words(value)
            stated: object = texts[0] if isinstance(value, str | bytes) else np.asarray(value)
            return parse_wavelength((texts[0], unit) if unit else stated)
    return None


def _find(members: dict[str, h5py.Group | h5py.Dataset], end: str) -> h5py.Dataset | None:
    found = (item for path, item in members.items() if path.endswith(f"/{end}") and isinstance(item, h5py.Dataset))
    return next((item for item in found if item.size == 1), None)


def _number(members: dict[str, h5py.Group | h5py.Dataset], end: str) -> float | None:
    item = _find(members, end)
    return float(np.ravel(_read(item))[0]) if item is not None and item.dtype.kind in "iuf" else None


def _unit(members: dict[str, h5py.Group | h5py.Dataset], end: str) -> str:
    item = _find(members, end)
    return "" if item is None else _words(item.attrs.get("units", ""))[0].lower()


def _first_text(members: dict[str, h5py.Group | h5py.Dataset], end: str) -> str | None:
    item = _find(members, end)
    return None if item is None else _text(item)


def _read(item: h5py.Dataset) -> Any:  # noqa: ANN401 - HDF5 holds numbers or text, one or many
    """Values of a dataset, after a check that it can hold what it declares."""
    check_dataset(item, more_filters=[h5py.h5z.FILTER_LZF])
    return item[()]


def _unpacked(item: h5py.Dataset) -> np.ndarray:
    """Numbers of a dataset as float64, NaN for fill values, with the scale and offset that xarray packs them with.

    Source: CF conventions, section 8.1: packed data.
    """
    values = np.asarray(_read(item), dtype=np.float64)
    stated = {key: item.attrs[key] for key in _PACKING if key in item.attrs}
    numbers = {key: float(np.ravel(value)[0]) for key, value in stated.items() if np.asarray(value).dtype.kind in "iuf"}
    for key in ("_FillValue", "missing_value"):
        if key in numbers:
            values = np.where(values == numbers[key], np.nan, values)
    return values * numbers.get("scale_factor", 1.0) + numbers.get("add_offset", 0.0)


_PACKING = ("_FillValue", "missing_value", "scale_factor", "add_offset")


def _text(item: h5py.Group | h5py.Dataset) -> str:
    return _words(_read(item))[0] if getattr(item, "size", 0) == 1 else ""


def _words(value: object) -> list[str]:
    """Texts of an attribute or dataset: one or several, in bytes or characters; `[""]` for none."""
    items = np.asarray(value).reshape(-1)
    texts = [item.decode("utf-8", "replace") if isinstance(item, bytes) else str(item) for item in items]
    return texts or [""]
