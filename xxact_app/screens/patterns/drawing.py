"""Settings of a session → what the Patterns screen draws."""

from __future__ import annotations

from dataclasses import dataclass

from xxact_app.plots.heatmap import HeatMapRows
from xxact_app.plots.patterns import WATERFALL_STEP, Curve, distinct_styles
from xxact_app.plots.reflections import ReflectionRow
from xxact_app.samples.store import Store
from xxact_app.screens.patterns.reference_list import reference_colours
from xxact_app.session.session import Session
from xxact_app.ui.theme import palette
from xxact_core.patterns.conversions import CU_K_ALPHA
from xxact_core.quantities import AXES
from xxact_core.series.values import UNITS, Quantity, names_to_quantities, to_one_unit

OTHER_WAVELENGTH = 0.005
"""Difference of wavelengths [Å] from which reflections are at visibly other angles; that of Kα1 and mean Kα is less."""


@dataclass(frozen=True)
class DrawnPatterns:
    """The content of the plots of the Patterns screen."""

    keys: list[str]
    """Keys of the samples drawn, in the order of `curves`."""
    curves: list[Curve]
    """The patterns."""
    wavelengths: list[float | None]
    """Wavelength [Å] of the angles of each curve; None where it is unknown."""
    rows: list[ReflectionRow]
    """The reflections of the references."""
    x_label: str
    """Label of the horizontal axis, with its unit."""
    sticks_note: str
    """The wavelength for which the reflections are calculated, as a safe text."""
    absent: dict[str, str]
    """Name of each pattern that cannot be drawn → the reason."""


def to_drawn(session: Session, store: Store) -> DrawnPatterns:
    """The content of the plots with the current settings."""
    colours = palette(dark=session.dark).series
    keys = [key for key, record in session.samples.items() if record.visible and key in store.samples]
    numbers = {key: number for number, key in enumerate(session.files)}
    styles = distinct_styles([numbers[key] for key in keys], colours=len(colours))
    windows = session.show_windows and session.stage == "gridded" and session.arrangement != "heatmap"
    kept, curves, absent = [], [], {}
    wavelengths: dict[str, float | None] = {}
    overlay = session.arrangement == "overlay"  # elsewhere the order tells curves of one colour apart
    for key, (colour, dash) in zip(keys, styles, strict=True):
        name = store.samples[key].name
        trace = store.trace(key, background=session.arrangement != "heatmap")
        if isinstance(trace, str):
            absent[name] = trace
            continue
        hidden = store.hidden_windows(key) if windows else None
        kept.append(key)
        wavelengths[key] = trace.wavelength
        curves.append(
            Curve(
                name, colours[colour], trace.x, trace.two_theta, trace.d, trace.intensity, trace.background, hidden,
                background_colour=palette(dark=session.dark).text if len(keys) == 1 else "",
                dash=dash if overlay else "solid",
            )
        )  # fmt: skip
    rows, note = _rows(session, store, wavelengths)
    if not rows and note:
        absent["references"] = note
    axis = AXES[session.axis]
    radiation = _radiation(session, list(wavelengths.values())) if axis.name == "two_theta" else ""
    label = f"{axis.label}{radiation} [{axis.unit}]"
    return DrawnPatterns(kept, curves, list(wavelengths.values()), rows, label, note, absent)


def _radiation(session: Session, wavelengths: list[float | None]) -> str:
    """The radiation for the label of angles: where all are converted to that of copper, or where they differ."""
    known = [value for value in wavelengths if value is not None]
    if known and max(known) - min(known) > OTHER_WAVELENGTH:
        return " (different wavelengths)"
    converted = session.stage != "measured" and wavelengths and all(value == CU_K_ALPHA for value in wavelengths)
    return " (Cu Kα)" if converted else ""


def _rows(session: Session, store: Store, wavelengths: dict[str, float | None]) -> tuple[list[ReflectionRow], str]:
    """Reflections of the references, and the wavelength they are calculated for or why there are none, as text."""
    colours = reference_colours(session)
    keys = [key for key in store.references if key not in session.hidden_references]
    known = [wavelengths.get(session.chosen), *wavelengths.values()]
    wavelength = next((value for value in known if value is not None), None)
    if not keys:
        return [], ""
    if wavelength is None:
        return [], "no pattern shown has a wavelength"
    others = [value for value in wavelengths.values() if value is not None]
    different = any(abs(value - wavelength) > OTHER_WAVELENGTH for value in others)
    elsewhere = different and session.axis == "two_theta"
    warning = "; their angles differ for patterns of other wavelengths" if elsewhere else ""
    rows = []
    for key in keys:
        trace = store.reference_trace(key, wavelength=wavelength)
        name = store.references[key].name
        rows.append(ReflectionRow(name, colours[key], trace.x, trace.two_theta, trace.d, trace.intensity, trace.hkl))
    return rows, f"at {wavelength:.5g} Å{warning}"


def curve_offset(session: Session, *, curves: int) -> float:
    """Vertical distance of the stacked curves as a share of their height; 0 for one curve and where none is stacked."""
    if curves < 2:  # noqa: PLR2004 - nothing to stack
        return 0.0
    usual = {"offset": 1.0, "waterfall": WATERFALL_STEP}.get(session.arrangement, 0.0)
    return usual * session.curve_offset


def heatmap_rows(drawn: DrawnPatterns) -> HeatMapRows:
    """The rows of a heat map: by temperature, pressure or time where all names state one, else in the given order."""
    names = [curve.name for curve in drawn.curves]
    for by in UNITS:
        values = [found for found in names_to_quantities(names, by) if found is not None]
        if len(values) == len(names) and len(set(values)) > 1:
            return _by_value(values, by)
    return HeatMapRows(list(range(len(names))), [str(number + 1) for number in range(len(names))], "Pattern number")


def _by_value(values: list[Quantity], by: str) -> HeatMapRows:
    converted, unit = to_one_unit(values, by)
    numbers = [float("nan") if number is None else number for number in converted]
    order = sorted(range(len(numbers)), key=lambda number: numbers[number])
    title = by.capitalize() + (f" [{unit}]" if unit else "")
    return HeatMapRows(order, [f"{numbers[number]:g}" for number in order], title)
