"""The pattern of the selected sample with its phases: plot, height, scale and axis, and the same as a table."""

from __future__ import annotations

import html
from collections.abc import Sequence

import numpy as np
import panel as pn

from xxact_app.plots.patterns import Curve
from xxact_app.plots.reflections import ReflectionRow
from xxact_app.samples.store import Store
from xxact_app.screens.prediction.figures import answer_figure, draw_answer
from xxact_app.screens.prediction.phases_store import FittedCurves, PhaseRow, SearchResult
from xxact_app.session.session import Session
from xxact_app.ui.theme import TEXT_CSS, palette
from xxact_core.errors import InputError
from xxact_core.patterns.conversions import CU_K_ALPHA, two_theta_to_d
from xxact_core.patterns.pattern import Pattern
from xxact_core.search_match.match import Match

_AXIS_LABELS = {"two_theta": "2θ [°]", "q": "q [1/Å]", "d": "d [Å]"}
_HEIGHT = """
:host { height: max(430px, calc(100vh - 212px)); min-height: 300px; resize: vertical; overflow: hidden; }
@media (max-width: 900px) { :host { height: max(380px, 56vh); } }
"""
"""Height of plot, reflections and difference together, which the user can change at the lower edge."""

_FILLING = ":host { flex: 1 1 auto; min-height: 160px; }"

_MOST_REFLECTIONS = 10


class AnswerPlot:
    """The plot of an answer; `panel` holds it and `table` its text alternative."""

    def __init__(self, session: Session, store: Store) -> None:
        self.session, self.store = session, store
        self.figure = answer_figure()
        self.table = pn.pane.HTML("", stylesheets=[TEXT_CSS], sizing_mode="stretch_width", margin=0)
        main = pn.pane.Bokeh(self.figure.pattern.plot, sizing_mode="stretch_width", margin=0, stylesheets=[_FILLING])
        below = [
            pn.pane.Bokeh(plot, sizing_mode="stretch_width", margin=0)
            for plot in (self.figure.reflections.plot, self.figure.difference.plot)
        ]
        self.panel = pn.Column(main, *below, height=520, sizing_mode="stretch_width", margin=0, stylesheets=[_HEIGHT])
        self._range_of: tuple[object, ...] | None = None

    def show(self, key: str, found: SearchResult | None, chosen: Match | None) -> None:
        """Draw a pattern with the phases found and with the reference phase selected for comparison."""
        try:
            pattern = self.store.stages.corrected(key)
        except InputError:
            pattern = self.store.samples[key].pattern  # without a wavelength, over 2θ
        colours = palette(dark=self.session.dark)
        axis = "two_theta" if pattern.wavelength is None else self.session.axis
        curves = None if found is None else found.curves
        angles, intensity = pattern.two_theta, pattern.intensity
        background = calculated = None
        if curves is not None:
            angles, intensity, background, calculated = _beyond_the_fit(pattern, curves)
        curve = Curve(
            name=self.store.samples[key].name,
            colour=colours.series[0],
            x=self._x(angles, pattern),
            two_theta=angles,
            d=_spacing(angles, pattern),
            intensity=np.asarray(intensity, dtype=np.float64),
            background=background if self.session.show_background else None,
            calculated=None if curves is None or not len(curves.phases) else calculated,
            calculated_colour=colours.series[1],
        )
        rows = [self._row(one, pattern, colour) for one, colour in self._coloured(found)]
        if chosen is not None:
            rows.append(self._compared(chosen, pattern, colours.muted))
        shown = (key, axis, pattern.wavelength)
        draw_answer(
            self.figure, curve, rows,
            difference=None if curve.calculated is None else curve.intensity - curve.calculated,
            axis=axis, axis_label=_AXIS_LABELS[axis], scale=self.session.scale, wavelength=pattern.wavelength,
            colours=colours, keep_range=shown == self._range_of,
        )  # fmt: skip
        self._range_of = shown
        self.table.object = _table(rows)

    def colours(self) -> tuple[str, ...]:
        """The colours of the phases, in their order."""
        series = palette(dark=self.session.dark).series
        return (*series[2:], series[1])

    def _coloured(self, found: SearchResult | None) -> list[tuple[PhaseRow, str]]:
        colours = self.colours()
        phases = () if found is None else found.phases
        return [(phase, colours[number % len(colours)]) for number, phase in enumerate(phases)]

    def _row(self, phase: PhaseRow, pattern: Pattern, colour: str) -> ReflectionRow:
        return ReflectionRow(
            name=phase.label, colour=colour, x=self._x(phase.two_theta, pattern), two_theta=phase.two_theta,
            d=_spacing(phase.two_theta, pattern), intensity=phase.intensity, hkl=phase.hkl,
        )  # fmt: skip

    def _compared(self, match: Match, pattern: Pattern, colour: str) -> ReflectionRow:
        """Reflections of a match, which are at Cu Kα."""
        spacing = two_theta_to_d(np.maximum(match.two_theta, 1e-6), wavelength=CU_K_ALPHA)
        wavelength = pattern.wavelength or CU_K_ALPHA
        seen = spacing > wavelength / 2
        angles = 2 * np.degrees(np.arcsin(wavelength / (2 * spacing[seen])))
        return ReflectionRow(
            name=f"compared: {match.label}", colour=colour, x=self._x(angles, pattern), two_theta=angles,
            d=spacing[seen], intensity=match.intensity[seen], hkl=[""] * int(seen.sum()),
        )  # fmt: skip

    def _x(self, angles: np.ndarray, pattern: Pattern) -> np.ndarray:
        return self.store.stages.on_axis(np.asarray(angles, dtype=np.float64), wavelength=pattern.wavelength)


def _beyond_the_fit(pattern: Pattern, curves: FittedCurves) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Angles, measured intensity, background and calculated intensity, each of shape (points,).

    The pattern as it was fitted, and what was measured outside the range of the fit, where nothing is calculated.
    """
    step = float(np.median(np.diff(curves.two_theta)))  # the mean of several measured points may stand for them
    below, above = pattern.two_theta < curves.two_theta[0] - step, pattern.two_theta > curves.two_theta[-1] + step

    def around(inside: np.ndarray, outside: np.ndarray) -> np.ndarray:
        return np.concatenate([outside[below], inside, outside[above]])

    nothing = np.full(pattern.two_theta.shape, np.nan)
    return (
        around(curves.two_theta, pattern.two_theta), around(curves.measured, pattern.intensity),
        around(curves.background, nothing), around(curves.calculated, nothing),
    )  # fmt: skip


def _spacing(angles: np.ndarray, pattern: Pattern) -> np.ndarray:
    if pattern.wavelength is None:
        return np.full(angles.shape, np.nan)
    positive = np.maximum(np.asarray(angles, dtype=np.float64), 1e-6)
    return two_theta_to_d(positive, wavelength=pattern.wavelength)


def _table(rows: Sequence[ReflectionRow]) -> str:
    """The strongest reflections of each phase as tables, the text alternative of the ticks; safe HTML."""
    parts = []
    for row in rows:
        strongest = sorted(np.argsort(-row.intensity)[:_MOST_REFLECTIONS].tolist(), key=lambda one: row.two_theta[one])
        lines = "".join(
            f"<tr><td>{html.escape(row.hkl[one])}</td><td>{row.two_theta[one]:.2f}</td><td>{row.d[one]:.4f}</td>"
            f"<td>{row.intensity[one]:.0f}</td></tr>"
            for one in strongest
        )
        head = "".join(f"<th scope='col'>{text}</th>" for text in ("hkl", "2θ [°]", "d [Å]", "Intensity"))
        parts.append(
            f"<table><caption>{row.name}</caption><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>"
        )
    if not parts:
        return ""
    return f"<details><summary>The strongest reflections as a table</summary>{''.join(parts)}</details>"
