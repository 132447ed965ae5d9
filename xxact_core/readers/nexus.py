"""NeXus and other HDF5 files that follow its NXdata convention → measured points."""

from __future__ import annotations

import io
import posixpath
from typing import Any

import h5py
import numpy as np

from xxact_core.errors import PatternError, shorten
from xxact_core.plain_hdf5 import NotPlainError, check_dataset, walk
from xxact_core.readers.content import MAX_POINTS
from xxact_core.readers.measured_points import (
    AxisKind,
    MeasuredPoints,
    doublet_wavelength,
    note_scans,
    plausible_wavelength,
    refuse_neutrons,
    scan_metadata,
    select_scans,
)

_MAX_DEFAULTS = 32
"""Groups that each name the next one as their default; a ring of them has no end."""

_TWO_THETA = frozenset({"two_theta", "twotheta", "2theta", "2th", "tth", "ttheta", "polar_angle", "2_theta"})
_SIGNALS = frozenset({"intensity", "intensities", "counts", "i", "data"})
_LENGTHS = {"angstrom": 1.0, "å": 1.0, "a": 1.0, "nm": 10.0, "m": 1e10, "": 1.0}
_ENERGIES = {"ev": 1e-3, "kev": 1.0}
_WAVELENGTH_TIMES_ENERGY = 12.398419843
"""h c [Å keV]. Source: CODATA 2018, exact by definition."""

_DAMAGE = (OSError, RuntimeError, LookupError, TypeError, ValueError, OverflowError)
"""What h5py raises for a damaged file, depending on the place of the damage; some files crash it or never end."""


def read_nexus(data: bytes, *, name: str, scan: int | None = 0) -> list[MeasuredPoints]:
    """Points of one curve over 2θ, q or d of an HDF5 file, or of all for `scan=None`; the default of the file is first.

    A curve is a group of class NXdata, one with the attribute `signal`, or one that has a `two_theta` beside an
    `intensity`; its signal and axis are one-dimensional. Only content of the file itself is read: links to other files,
    virtual datasets and external data are ignored. Called only in the sandbox process of `read_untrusted`, because a
    damaged file can crash the HDF5 library.

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


def _find_curves(
    members: dict[str, h5py.Group | h5py.Dataset], *, name: str
) -> list[tuple[h5py.Dataset, h5py.Dataset]]:
    """Pairs of signal and axis, that of the default group first."""
    groups = [item for item in members.values() if isinstance(item, h5py.Group) and _is_data(item)]
    default = members["/"]
    for _ in range(_MAX_DEFAULTS):
        following = members.get(posixpath.join(default.name, _words(default.attrs.get("default", ""))[0]))
        if not isinstance(following, h5py.Group):
            break
        default = following
    groups.sort(key=lambda group: group != default)
    curves, others = [], []
    for group in groups:
        signal, axis = _signal_and_axis(group, members)
        if signal is None or axis is None:
            others.append(f"{group.name} has no signal with an axis")
        elif signal.ndim != 1 or axis.shape != signal.shape:
            others.append(f"{group.name} has {signal.ndim} dimensions, of shape {signal.shape}")
        else:
            curves.append((signal, axis))
    if not curves:
        reason = shorten("; ".join(others[:2]) or "no group of class NXdata", limit=100)
        msg = (
            f"{name}: an HDF5 file without a one-dimensional pattern ({reason}); maps and images are not read, and "
            f"links to other files not followed"
        )
        raise PatternError(msg, code="E_FORMAT")
    return curves


def _is_data(group: h5py.Group) -> bool:
    named = "signal" in group.attrs or "NXdata" in _words(group.attrs.get("NX_class", ""))
    return named or any(key.lower() in _TWO_THETA for key in group)


def _signal_and_axis(
    group: h5py.Group, members: dict[str, h5py.Group | h5py.Dataset]
) -> tuple[h5py.Dataset | None, h5py.Dataset | None]:
    """The dataset of the signal and that of its last axis; named by the group, or in old files marked themselves."""
    sets: dict[str, h5py.Dataset] = {}
    for key in group:
        link = group.get(key, getlink=True)
        target = posixpath.join(group.name, link.path if isinstance(link, h5py.SoftLink) else key)
        item = members.get(posixpath.normpath(target))
        if isinstance(item, h5py.Dataset):
            sets[key] = item
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
    curve: tuple[h5py.Dataset, h5py.Dataset],
    members: dict[str, h5py.Group | h5py.Dataset],
    *,
    name: str,
    scans: int,
    scan: int | None,
) -> MeasuredPoints:
    signal, axis = curve
    if signal.size > MAX_POINTS:
        msg = f"{name}: {shorten(signal.name, limit=60)!r} holds {signal.size} points; expected at most {MAX_POINTS}"
        raise PatternError(msg, code="E_TOO_LARGE")
    if signal.dtype.kind not in "iuf" or axis.dtype.kind not in "iuf":
        msg = f"{name}: {shorten(signal.name, limit=60)!r} does not hold numbers; expected a pattern"
        raise PatternError(msg, code="E_FORMAT")
    kind, factor = _axis_kind(axis, name=name)
    alpha_2 = _number(members, "k_alpha_two")
    ratio = _number(members, "ratio_k_alphatwo_k_alphaone")
    return MeasuredPoints(
        positions=np.asarray(_read(axis), dtype=np.float64) * factor,
        intensity=np.asarray(_read(signal), dtype=np.float64),
        format="NeXus",
        kind=kind,
        wavelength=_wavelength(members, alpha_2=alpha_2, ratio=ratio),
        warnings=note_scans(scan, count=scans),
        metadata=scan_metadata(
            anode=_first_text(members, "xray_tube_material"),
            alpha_2=alpha_2,
            ratio=ratio,
            axis=_first_text(members, "scan_axis") or axis.name.rpartition("/")[2],
            seconds=_number(members, "count_time"),
            sample=_first_text(members, "sample/name"),
            scans=scans,
        ),
    )


def _axis_kind(axis: h5py.Dataset, *, name: str) -> tuple[AxisKind, float]:
    """Kind of the axis from its name, and the factor from its unit to [deg], [Å⁻¹] or [Å]."""
    title = axis.name.rpartition("/")[2].lower()
    unit = _words(axis.attrs.get("units", ""))[0].lower()
    if title in _TWO_THETA:
        return "two_theta", float(np.rad2deg(1)) if unit.startswith("rad") else 1.0
    if title in {"q", "d", "d_spacing", "dspacing"} and unit:
        return ("q" if title == "q" else "d"), (10.0 if title != "q" else 0.1) if "nm" in unit else 1.0
    msg = f"{name}: the curve runs over {shorten(title, limit=40)!r} [{shorten(unit, limit=20)}]; expected 2θ, q or d"
    raise PatternError(msg, code="E_AXIS")


def _wavelength(
    members: dict[str, h5py.Group | h5py.Dataset], *, alpha_2: float | None, ratio: float | None
) -> float | None:
    """Wavelength [Å] from Kα1 and Kα2 of a tube, else from the one wavelength or photon energy in the file."""
    if (alpha_1 := _number(members, "k_alpha_one")) is not None:
        return doublet_wavelength(alpha_1, alpha_2, ratio=ratio)
    for key in ("wavelength", "incident_wavelength"):
        factor = _LENGTHS.get(_unit(members, key))
        if factor and (length := _number(members, key)) is not None:
            return plausible_wavelength(length * factor)
    for key in ("energy", "incident_energy"):
        factor = _ENERGIES.get(_unit(members, key))
        if factor and (energy := _number(members, key)):
            return plausible_wavelength(_WAVELENGTH_TIMES_ENERGY / (energy * factor))
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


def _text(item: h5py.Group | h5py.Dataset) -> str:
    return _words(_read(item))[0] if getattr(item, "size", 0) == 1 else ""


def _words(value: object) -> list[str]:
    """Texts of an attribute or dataset: one or several, in bytes or characters; `[""]` for none."""
    items = np.asarray(value).reshape(-1)
    texts = [item.decode("utf-8", "replace") if isinstance(item, bytes) else str(item) for item in items]
    return texts or [""]
