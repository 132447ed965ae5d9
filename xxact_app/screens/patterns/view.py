"""The Patterns screen: patterns at each stage of processing, reference structures, and processing steps."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import panel as pn
import panel_material_ui as pmui
import param

from xxact_app.plots.patterns import LEFT_BORDER, Curve, draw_patterns, pattern_figure, recolour
from xxact_app.samples.store import Store
from xxact_app.samples.wavelength_form import WavelengthForm
from xxact_app.screens.patterns import text as words
from xxact_app.screens.patterns.companion_plots import (
    ReferenceSticks,
    draw_overview,
    draw_sticks,
    overview_figure,
    stick_figure,
)
from xxact_app.screens.patterns.reference_list import ReferenceList, reference_colours
from xxact_app.screens.patterns.sample_list import PatternList
from xxact_app.screens.patterns.scans import ScanForm
from xxact_app.screens.patterns.steps_form import StepsForm
from xxact_app.screens.screen import PictureKind, standard_files
from xxact_app.session.session import Session
from xxact_app.ui.downloads import PythonCode, download_row
from xxact_app.ui.theme import CHOICE_CSS, MATERIAL_THEME, TEXT_CSS, grid_css, palette
from xxact_core.quantities import AXES

_LAYOUT = grid_css(
    "minmax(0, 1fr) 300px",
    ("plot side", "list side"),
    narrow=("plot", "list", "side"),
)
_AXIS_LABELS = {"2θ": "two_theta", "q": "q", "d": "d"}
_SCALE_LABELS = {"linear": "linear", "√": "root", "log": "log"}
_STAGE_LABELS = {"As measured": "measured", "After a step": "step", "Model input": "gridded"}
_ARRANGEMENT_LABELS = {"Overlay": "overlay", "Stacked": "offset", "Waterfall": "waterfall"}
OTHER_WAVELENGTH = 0.005
"""Difference of wavelengths [Å] from which reflections are at visibly other angles; that of Kα1 and mean Kα is less."""

_EMPTY = "<p class='muted'>No patterns loaded. Drop files anywhere on this page, or load the example data.</p>"
_WIDE = {"sizing_mode": "stretch_width", "margin": 0}


class PatternsScreen:
    """Draws the patterns of a session; `panel` is the screen."""

    KEY: ClassVar[str] = "patterns"
    TITLE: ClassVar[str] = "Patterns"

    def __init__(self, session: Session, store: Store) -> None:
        self.session, self.store = session, store
        self.figure = pattern_figure(height=360)
        self.sticks = stick_figure(self.figure.plot.x_range, left_border=LEFT_BORDER)
        self.overview = overview_figure(self.figure.plot.x_range, left_border=LEFT_BORDER)
        self.summary = pn.pane.HTML(_EMPTY, stylesheets=[TEXT_CSS], sizing_mode="stretch_width", margin=(0, 0, 4, 0))
        self.tables = pn.pane.HTML("", stylesheets=[TEXT_CSS], sizing_mode="stretch_width", margin=(8, 0, 0, 0))
        self.list, self.references = PatternList(session, store), ReferenceList(session, store)
        self.wavelength, self.scans, self.steps = (
            WavelengthForm(session, store),
            ScanForm(session, store),
            StepsForm(session),
        )
        self.python = PythonCode()
        self.files = download_row({
            **standard_files(self, "patterns"),
            "netCDF (HDF5)": ("patterns.nc", lambda: words.to_netcdf(self.drawn(), session)),
            "Reference reflections (CSV)": (
                "reference_reflections.csv", lambda: words.reflections_to_csv(self.drawn())
            ),
            "Processing steps (JSON)": ("preparation.json", lambda: words.pipeline_to_json(session)),
        })  # fmt: skip
        self._axis_state: tuple[object, ...] | None = None
        self._in_front, self._stale = True, False
        drawn = [
            "files", "visible", "chosen", "wavelength", "scan", "axis", "scale", "stage", "shown_step", "arrangement",
            "show_background", "show_windows", "steps", "references", "hidden_references", "dark",
        ]  # fmt: skip
        session.watch(self._draw, drawn)
        plots = [
            pn.pane.Bokeh(plot, sizing_mode="stretch_width", margin=0)
            for plot in (self.figure.plot, self.sticks.plot, self.overview.plot)
        ]
        self.panel = pn.Column(
            pn.Column(self._toolbar(), self.summary, *plots, self.tables, css_classes=["area-plot"], **_WIDE),
            pn.Column(
                self.list.panel, self.references.panel, self.files, self.python.panel, css_classes=["area-list"],
                **_WIDE,
            ),
            pn.Column(self.wavelength.panel, self.scans.panel, self._settings(), css_classes=["area-side"], **_WIDE),
            stylesheets=[_LAYOUT], **_WIDE,
        )  # fmt: skip
        self._draw()

    def _toolbar(self) -> pn.viewable.Viewable:
        groups = [
            _choice(self.session.param.stage, _STAGE_LABELS, label="Stage shown"),
            _choice(self.session.param.arrangement, _ARRANGEMENT_LABELS, label="Arrangement of several patterns"),
            _choice(self.session.param.axis, _AXIS_LABELS, label="Horizontal axis"),
            _choice(self.session.param.scale, _SCALE_LABELS, label="Intensity scale"),
        ]
        return pn.FlexBox(*groups, gap="8px", margin=(0, 0, 8, 0), sizing_mode="stretch_width")

    def _settings(self) -> pn.viewable.Viewable:
        chosen = self.session.param
        ticks = [
            pmui.Checkbox.from_param(parameter, label=label, description="", size="small", margin=0)
            for parameter, label in (
                (chosen.show_background, "Show the fitted background"),
                (chosen.show_windows, "Show the 17 windows of the model"),
            )
        ]
        title = pn.pane.HTML("<h2>Processing</h2>", stylesheets=[TEXT_CSS], margin=(8, 0, 0, 0))
        hint = pn.pane.HTML(
            "<p class='muted'>Applied to all patterns, here and for predictions.</p>", stylesheets=[TEXT_CSS], margin=0
        )
        return pn.Column(title, hint, self.steps.quick, *ticks, self.steps.panel, **_WIDE)

    def drawn(self) -> words.DrawnPatterns:
        """The content of the plots with the current settings."""
        session, colours = self.session, palette(dark=self.session.dark).series
        keys = [key for key, record in session.samples.items() if record.visible and key in self.store.samples]
        numbers = {key: number for number, key in enumerate(session.files)}
        kept, curves, absent, wavelengths = [], [], {}, {}
        windows = session.show_windows and session.stage == "gridded"
        for key in keys:
            name, trace = self.store.samples[key].name, self.store.trace(key)
            if isinstance(trace, str):
                absent[name] = trace
                continue
            hidden = self.store.hidden_windows(key) if windows else None
            colour = colours[numbers[key] % len(colours)]
            kept.append(key)
            wavelengths[key] = trace.wavelength
            curves.append(
                Curve(name, colour, trace.x, trace.two_theta, trace.d, trace.intensity, trace.background, hidden)
            )
        rows, note = self._rows(wavelengths)
        if not rows and note:
            absent["references"] = note
        axis, copper = (
            AXES[session.axis],
            any(step.NAME == "convert_wavelength" for step in self.store.stages.shown_steps()),
        )
        radiation = " (Cu Kα)" if copper and axis.name == "two_theta" else ""
        return words.DrawnPatterns(kept, curves, rows, f"{axis.label}{radiation} [{axis.unit}]", note, absent)

    def _rows(self, wavelengths: dict[str, float | None]) -> tuple[list[ReferenceSticks], str]:
        """Reflections of the references, and the wavelength they are calculated for or why there are none, as text."""
        session, colours = self.session, reference_colours(self.session)
        keys = [key for key in self.store.references if key not in session.hidden_references]
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
            trace = self.store.reference_trace(key, wavelength=wavelength)
            name = self.store.references[key].name
            rows.append(
                ReferenceSticks(name, colours[key], trace.x, trace.two_theta, trace.d, trace.intensity, trace.hkl)
            )
        return rows, f"at {wavelength:.5g} Å{warning}"

    def come_to_front(self, *, in_front: bool) -> None:
        """Follow the session only while the screen is visible."""
        self._in_front = in_front
        if in_front and self._stale:
            self._draw()

    def _draw(self, *events: param.parameterized.Event) -> None:
        """Draw the patterns; where only the theme changed, only recolour them."""
        session = self.session
        self._stale = not self._in_front
        if self._stale:
            return
        drawn = self.drawn()
        gridded, waterfall = session.stage == "gridded", session.arrangement == "waterfall"
        themed = MATERIAL_THEME["dark" if session.dark else "light"]["palette"]["background"]
        axis_state = (
            session.axis,
            session.stage,
            tuple((key, record.visible, record.scan) for key, record in session.samples.items()),
        )
        with pn.io.hold():
            if events and all(event.name == "dark" for event in events) and not waterfall:
                stacked = session.arrangement == "offset"
                recolour(self.figure, colours=[curve.colour for curve in drawn.curves], offset=stacked)
            else:
                draw_patterns(
                    self.figure, drawn.curves, scale=session.scale, offset=session.arrangement != "overlay",
                    unit="maximum 100" if gridded else "as measured", x_label=drawn.x_label,
                    window_edges=self.store.window_edges() if gridded and session.show_windows else None,
                    keep_range=axis_state == self._axis_state, ground=themed["paper"] if waterfall else "",
                )  # fmt: skip
            draw_sticks(self.sticks, drawn.rows)
            self._draw_overview(drawn)
            self._axis_state = axis_state
            self.summary.object = words.summary(drawn, session) if session.files or drawn.rows else _EMPTY
            self.tables.object = words.tables(drawn)
            self.python.show(words.python_code(drawn, session, self.store))
            self.files.visible = bool(drawn.curves)

    def _draw_overview(self, drawn: words.DrawnPatterns) -> None:
        """Draw the selected pattern, or the first one shown, over the range of all."""
        reset = self.figure.plot.x_range
        place = drawn.keys.index(self.session.chosen) if self.session.chosen in drawn.keys else 0
        nothing = np.zeros(0)
        x, intensity = (drawn.curves[place].x, drawn.curves[place].intensity) if drawn.curves else (nothing, nothing)
        draw_overview(self.overview, x=x, intensity=intensity, low=reset.reset_start, high=reset.reset_end)

    # -------------------------------------------------------------------------------------------------------- the files
    def to_csv(self) -> bytes:
        """The patterns shown, point by point."""
        drawn = self.drawn()
        return words.to_csv(drawn) if drawn.curves else b""

    def to_picture(self, kind: PictureKind) -> bytes:
        """The plot of the patterns."""
        drawn = self.drawn()
        return words.to_picture(drawn, self.session, kind=kind) if drawn.curves else b""

    def python_code(self) -> str:
        """A program that draws the same patterns."""
        return words.python_code(self.drawn(), self.session, self.store)


def _choice(parameter: param.Parameter, labels: dict[str, str], *, label: str) -> pmui.RadioButtonGroup:
    return pmui.RadioButtonGroup.from_param(
        parameter, label=label, options=labels, size="small", margin=0, description="", stylesheets=[CHOICE_CSS]
    )
