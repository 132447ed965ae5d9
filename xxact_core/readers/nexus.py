"""NeXus and other HDF5 files that follow its NXdata convention → measured points."""

from __future__ import annotations

import io
import posixpath
from typing import TYPE_CHECKING, Any

import numpy as np

from xxact_core.errors import PatternError, shorten
from xxact_core.readers.points import AxisKind, MeasuredPoints, choose_scans, note_scans
from xxact_core.readers.scan_metadata import scan_facts
from xxact_core.readers.wavelengths import doublet_wavelength, refuse_neutrons

if TYPE_CHECKING:
    import h5py

MOST_POINTS = 500_000
_LONGEST_WAY = 32
"""Groups that name the next as their default, one after another; a ring of them has no end."""

_TWO_THETA = frozenset({"two_theta", "twotheta", "2theta", "2th", "tth", "ttheta", "polar_angle", "2_theta"})
_SIGNALS = frozenset({"intensity", "intensities", "counts", "i", "data"})
_LENGTHS = {"angstrom": 1.0, "å": 1.0, "a": 1.0, "nm": 10.0, "m": 1e10, "": 1.0}
_ENERGIES = {"ev": 1e-3, "kev": 1.0}
_WAVELENGTH_TIMES_ENERGY = 12.398419843
"""h c [Å keV]. Source: CODATA 2018, exact by definition."""

_DAMAGE = (OSError, RuntimeError, LookupError, TypeError, ValueError, OverflowError)
"""What h5py raises of a damaged file, depending on where it is damaged; some it does not survive, or loops over."""


def read_nexus(data: bytes, *, name: str, scan: int | None = 0) -> list[MeasuredPoints]:
    """Points of the chosen curve over 2θ, q or d of an HDF5 file, or of all; the first is the file's default.

    A curve is a group of class NXdata, one with the attribute `signal`, or one that has a `two_theta` beside an
    `intensity`; its signal and axis are one-dimensional.
    Only what is in the file itself is looked at: links to other files, virtual data sets and data kept outside are as
    if they were not there. To be called under `guarded_reading` alone.

    Raises:
        PatternError: damaged (E_TRUNCATED), no such curve or another axis (E_FORMAT, E_AXIS), neutrons (E_RADIATION),
            more points than the limit (E_TOO_LARGE), too many members, or data that cannot be what they say (E_FORMAT).
    """
    import h5py  # noqa: PLC0415 - slow, and few patterns are HDF5

    from xxact_core.plain_hdf5 import NotPlainError, walk  # noqa: PLC0415 - it loads h5py

    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            members = {path: item for path, item in walk(file) if item is not None and _is_inside(item)}
            for path, item in members.items():
                if path.endswith("/probe"):
                    refuse_neutrons(_text(item), name=name)
            curves = _find_curves(members, name=name)
            return [
                _curve_to_points(curves[index], members, name=name, scans=len(curves), scan=scan)
                for index in choose_scans(scan, count=len(curves), name=name)
            ]
    except NotPlainError as error:
        msg = f"{name}: {shorten(error)}; expected a file of patterns"
        raise PatternError(msg, code="E_FORMAT") from None
    except PatternError:
        raise
    except _DAMAGE as error:
        msg = f"{name}: the HDF5 file is damaged or uses filters that are not known here ({shorten(error, limit=60)})"
        raise PatternError(msg, code="E_TRUNCATED") from None


def _is_inside(item: h5py.Group | h5py.Dataset) -> bool:
    return not (getattr(item, "is_virtual", False) or getattr(item, "external", None))


def _find_curves(
    members: dict[str, h5py.Group | h5py.Dataset], *, name: str
) -> list[tuple[h5py.Dataset, h5py.Dataset]]:
    """Pairs of signal and axis, that of the default group first."""
    import h5py  # noqa: PLC0415 - slow, and few patterns are HDF5

    groups = [item for item in members.values() if isinstance(item, h5py.Group) and _is_data(item)]
    default = members["/"]
    for _ in range(_LONGEST_WAY):
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
        told = shorten("; ".join(others[:2]) or "no group of class NXdata", limit=100)
        msg = (
            f"{name}: an HDF5 file without a one-dimensional pattern ({told}); maps and images are not read, and links "
            f"to other files not followed"
        )
        raise PatternError(msg, code="E_FORMAT")
    return curves


def _is_data(group: h5py.Group) -> bool:
    named = "signal" in group.attrs or "NXdata" in _words(group.attrs.get("NX_class", ""))
    return named or any(key.lower() in _TWO_THETA for key in group)


def _signal_and_axis(
    group: h5py.Group, members: dict[str, h5py.Group | h5py.Dataset]
) -> tuple[h5py.Dataset | None, h5py.Dataset | None]:
    """The data set that is the signal, and that of its last axis; named by the group, or in old files by themselves."""
    import h5py  # noqa: PLC0415 - slow, and few patterns are HDF5

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
    if signal.size > MOST_POINTS:
        msg = f"{name}: {shorten(signal.name, limit=60)!r} holds {signal.size} points; expected at most {MOST_POINTS}"
        raise PatternError(msg, code="E_TOO_LARGE")
    if signal.dtype.kind not in "iuf" or axis.dtype.kind not in "iuf":
        msg = f"{name}: {shorten(signal.name, limit=60)!r} holds no numbers; expected a pattern"
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
        metadata=scan_facts(
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
    """What the axis is, from its name, and the factor from its unit to [deg], [Å⁻¹] or [Å]."""
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
    """Kα1 and Kα2 of a tube, else the one wavelength or photon energy that is written."""
    if (alpha_1 := _number(members, "k_alpha_one")) is not None:
        return doublet_wavelength(alpha_1, alpha_2, ratio=ratio)
    for key in ("wavelength", "incident_wavelength"):
        factor = _LENGTHS.get(_unit(members, key))
        if factor and (length := _number(members, key)) is not None:
            return doublet_wavelength(length * factor, None)
    for key in ("energy", "incident_energy"):
        factor = _ENERGIES.get(_unit(members, key))
        if factor and (energy := _number(members, key)):
            return doublet_wavelength(_WAVELENGTH_TIMES_ENERGY / (energy * factor), None)
    return None


def _find(members: dict[str, h5py.Group | h5py.Dataset], end: str) -> h5py.Dataset | None:
    import h5py  # noqa: PLC0415 - slow, and few patterns are HDF5

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


def _read(item: h5py.Dataset) -> Any:  # noqa: ANN401 - what HDF5 holds: numbers or text, one or many
    """Values of a data set that can be what it says."""
    import h5py  # noqa: PLC0415 - slow, and few patterns are HDF5

    from xxact_core.plain_hdf5 import check_dataset  # noqa: PLC0415 - it loads h5py

    check_dataset(item, more_filters=[h5py.h5z.FILTER_LZF])
    return item[()]


def _text(item: h5py.Group | h5py.Dataset) -> str:
    return _words(_read(item))[0] if getattr(item, "size", 0) == 1 else ""


def _words(value: object) -> list[str]:
    """Texts of an attribute or data set: one or several, in bytes or characters; `[""]` for none."""
    items = np.asarray(value).reshape(-1)
    texts = [item.decode("utf-8", "replace") if isinstance(item, bytes) else str(item) for item in items]
    return texts or [""]
