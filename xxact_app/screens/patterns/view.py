"""The Patterns screen: patterns at each stage of processing, reference structures, and processing steps."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import panel as pn
import panel_material_ui as pmui
import param

from xxact_app.plots.crosshair import add_crosshair, set_crosshair
from xxact_app.plots.heatmap import draw_heatmap, heatmap_figure
from xxact_app.plots.legends import LEGEND_CSS, legend_html
from xxact_app.plots.overview import draw_overview, overview_figure
from xxact_app.plots.paper_figure import FigureContent
from xxact_app.plots.patterns import LEFT_BORDER, draw_patterns, pattern_figure, recolour
from xxact_app.plots.reflections import draw_reflections, reflection_figure
from xxact_app.samples.store import Store
from xxact_app.samples.wavelength_form import WavelengthForm
from xxact_app.screens.patterns import text as words
from xxact_app.screens.patterns.background_points import BackgroundPoints
from xxact_app.screens.patterns.drawing import DrawnPatterns, curve_offset, heatmap_rows, to_drawn
from xxact_app.screens.patterns.figure_form import FigureForm
from xxact_app.screens.patterns.peaks_panel import PeaksPanel
from xxact_app.screens.patterns.reference_list import ReferenceList
from xxact_app.screens.patterns.sample_choice import SampleChoice
from xxact_app.screens.patterns.sample_list import PatternList
from xxact_app.screens.patterns.scans import ScanForm
from xxact_app.screens.patterns.series_panel import SeriesPanel
from xxact_app.screens.patterns.series_store import SeriesStore
from xxact_app.screens.patterns.steps_form import StepsForm
from xxact_app.screens.screen import PictureKind, standard_files
from xxact_app.session.session import Session
from xxact_app.ui.downloads import PythonCode, download_row
from xxact_app.ui.theme import CHOICE_CSS, MATERIAL_THEME, TEXT_CSS, grid_css
from xxact_app.ui.timer import soon

_LAYOUT = grid_css(
    "minmax(0, 1fr) 300px",
    ("plot side", "list side"),
    narrow=("plot", "list", "side"),
)
_AXIS_LABELS = {"2θ": "two_theta", "q": "q", "d": "d"}
_SCALE_LABELS = {"linear": "linear", "√": "root", "log": "log"}
_STAGE_LABELS = {"As measured": "measured", "After a step": "step", "Model input": "gridded"}
_ARRANGEMENT_LABELS = {"Overlay": "overlay", "Stacked": "offset", "Waterfall": "waterfall", "Heat map": "heatmap"}
_PLOT_LAYOUT = """
:host { display: grid; grid-template-columns: minmax(0, 1fr) auto; gap: 12px; }
.area-legend { max-width: 190px; margin-top: 52px !important; max-height: 560px; overflow-y: auto; }
@media (max-width: 900px) {
  :host { grid-template-columns: minmax(0, 1fr); gap: 4px; }
  .area-legend { max-width: none; margin-top: 0 !important; max-height: 160px; }
}
"""
_HEATMAP_LEGEND = (
    "<p>Each row is scaled to its maximum.</p><div role='img' aria-label='Colour scale from 0 to 100 percent of each "
    "maximum' style='height:10px;min-width:120px;background:linear-gradient(90deg,#00224d,#31446b,#666970,#958f78,"
    "#cbba69,#fee838)'></div><div style='display:flex;justify-content:space-between;font-size:12px'><span>0</span>"
    "<span>100 %</span></div>"
)
_LOWEST, _PER_CURVE, _HIGHEST = 420, 60, 780
"""Height of the plot [px]: of few curves, of each stacked one, and at most."""

_EMPTY = "<p class='muted'>No patterns loaded. Drop files anywhere on this page, or load the example data.</p>"
_WIDE = {"sizing_mode": "stretch_width", "margin": 0}


class PatternsScreen:
    """Draws the patterns of a session; `panel` is the screen."""

    KEY: ClassVar[str] = "patterns"
    TITLE: ClassVar[str] = "Patterns"

    def __init__(self, session: Session, store: Store) -> None:
        self.session, self.store = session, store
        self.figure = pattern_figure(height=_LOWEST)
        shared = self.figure.plot.x_range
        self.heatmap = heatmap_figure(shared, left_border=LEFT_BORDER, height=_LOWEST)
        self.sticks = reflection_figure(shared, left_border=LEFT_BORDER)
        self.crosshairs = [add_crosshair(one.plot, self.sticks.lines) for one in (self.figure, self.heatmap)]
        self.legend = pn.pane.HTML("", stylesheets=[TEXT_CSS, LEGEND_CSS], css_classes=["area-legend"], margin=0)
        self.overview = overview_figure(self.figure.plot.x_range, left_border=LEFT_BORDER)
        self.summary = pn.pane.HTML(_EMPTY, stylesheets=[TEXT_CSS], sizing_mode="stretch_width", margin=(0, 0, 4, 0))
        self.tables = pn.pane.HTML("", stylesheets=[TEXT_CSS], sizing_mode="stretch_width", margin=(8, 0, 0, 0))
        self.list, self.references = PatternList(session, store), ReferenceList(session, store)
        self.wavelength, self.scans = WavelengthForm(session, store), ScanForm(session, store)
        self.sample = SampleChoice(session, store)
        self.points = BackgroundPoints(session, store, self.figure)
        self.steps = StepsForm(session, suggest_points=self.points.suggestion)
        self.peaks = PeaksPanel(session, store, self.figure)
        self.series = SeriesPanel(session, SeriesStore(store))
        self.figure_form = FigureForm(self._to_content, self._shown_range)
        self.python = PythonCode()
        self.files = download_row({
            **standard_files(self, "patterns"),
            "netCDF (HDF5)": ("patterns.nc", lambda: words.to_netcdf(self.drawn(), session)),
            "Reference reflections (CSV)": (
                "reference_reflections.csv", lambda: words.reflections_to_csv(self.drawn())
            ),
            "Processing steps (JSON)": ("preparation.json", lambda: words.pipeline_to_json(session)),
        })  # fmt: skip
        heading = pn.pane.HTML("<h2>Files</h2>", stylesheets=[TEXT_CSS], margin=(12, 0, 0, 0))
        self.export = pn.Column(self.figure_form.panel, heading, self.files, visible=False, **_WIDE)
        self.settings, self.below = pn.Column(**_WIDE), pn.Column(**_WIDE)
        self._waits = False
        self._axis_state: tuple[object, ...] | None = None
        self._in_front, self._stale = True, False
        drawn = [
            "files", "visible", "chosen", "wavelength", "scan", "axis", "scale", "stage", "shown_step", "arrangement",
            "curve_offset", "show_background", "show_windows", "show_peaks", "least_peak", "steps", "own_steps",
            "references", "hidden_references", "dark",
        ]  # fmt: skip
        session.watch(self._draw, drawn)
        plots = [
            pn.pane.Bokeh(plot, sizing_mode="stretch_width", margin=0)
            for plot in (self.figure.plot, self.heatmap.plot, self.sticks.plot, self.overview.plot)
        ]
        plot_area = pn.Column(pn.Column(*plots, **_WIDE), self.legend, stylesheets=[_PLOT_LAYOUT], **_WIDE)
        self.panel = pn.Column(
            pn.Column(self._toolbar(), self.summary, plot_area, self.tables, css_classes=["area-plot"], **_WIDE),
            pn.Column(self.list.panel, self.references.panel, self.below, css_classes=["area-list"], **_WIDE),
            pn.Column(
                self.sample.panel, self.wavelength.panel, self.scans.panel, self.settings, css_classes=["area-side"],
                **_WIDE,
            ),
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
        self.offset = pmui.FloatSlider.from_param(
            self.session.param.curve_offset, label="Offset", step=0.05, size="small", width=110,
            margin=(0, 10), description="",
        )  # fmt: skip
        return pn.FlexBox(
            *groups, self.offset, gap="8px", align_items="end", margin=(0, 0, 8, 0), sizing_mode="stretch_width"
        )

    def _settings(self) -> list[pn.viewable.Viewable]:
        chosen = self.session.param
        ticks = [
            pmui.Checkbox.from_param(parameter, label=label, description="", size="small", margin=0)
            for parameter, label in (
                (chosen.show_background, "Show the fitted background"),
                (chosen.show_windows, "Show the 17 windows of the model"),
            )
        ]
        title = pn.pane.HTML("<h2>Processing</h2>", stylesheets=[TEXT_CSS], margin=(8, 0, 0, 0))
        hint = pn.pane.HTML("<p class='muted'>Applied here and for predictions.</p>", stylesheets=[TEXT_CSS], margin=0)
        return [title, hint, self.steps.scope, self.steps.quick, self.points.panel, *ticks, self.steps.panel]

    def drawn(self) -> DrawnPatterns:
        """The content of the plots with the current settings."""
        return to_drawn(self.session, self.store)

    def come_to_front(self, *, in_front: bool) -> None:
        """Follow the session only while the screen is visible."""
        self._in_front = in_front
        for table in (self.list, self.references):
            table.come_to_front(in_front=in_front)
        if in_front and self._stale:
            self._draw()

    def _draw(self, *events: param.parameterized.Event) -> None:
        """Draw the patterns; where only the theme changed, only recolour them."""
        session = self.session
        self._stale = not self._in_front
        if self._stale:
            return
        drawn = self.drawn()
        heatmap = session.arrangement == "heatmap"
        axis_state = (
            session.axis, tuple((key, record.visible, record.scan) for key, record in session.samples.items()),
        )  # fmt: skip
        keep_range = axis_state == self._axis_state and self._is_zoomed()
        with pn.io.hold():
            self.figure.plot.visible, self.heatmap.plot.visible = not heatmap, heatmap
            self.offset.visible = bool(curve_offset(session, curves=len(drawn.curves)))
            if heatmap:
                rows = heatmap_rows(drawn)
                draw_heatmap(
                    self.heatmap, drawn.curves, rows, scale=session.scale, x_label=drawn.x_label, keep_range=keep_range
                )
            elif events and all(event.name == "dark" for event in events) and session.arrangement != "waterfall":
                recolour(self.figure, drawn.curves, offset=bool(curve_offset(session, curves=len(drawn.curves))))
            else:
                self._draw_curves(drawn, keep_range=keep_range)
            self._show_legend(drawn)
            draw_reflections(self.sticks, drawn.rows)
            self._set_crosshairs(drawn)
            self.points.draw(drawn)
            self.peaks.draw(drawn)
            self.series.draw()
            self._draw_overview(drawn)
            self._axis_state = axis_state
            self.summary.object = words.summary(drawn, session) if session.files or drawn.rows else _EMPTY
            self.tables.object = words.tables(drawn)
            self.python.show(words.python_code(drawn, session, self.store))
            self.export.visible = self.peaks.panel.visible = bool(drawn.curves)
        complete = self.settings.objects and (self.below.objects or not (drawn.curves or drawn.rows))
        if not complete and not self._waits:
            self._waits = True
            soon(self._complete)

    def _complete(self) -> None:
        """Add what takes time to draw: the processing steps, and what is done with patterns once there are some."""
        self._waits = False
        with pn.io.hold():
            if not self.settings.objects:
                self.settings.objects = self._settings()
            if not self.below.objects and (self.session.files or self.session.references):
                self.below.objects = [self.peaks.panel, self.series.panel, self.export, self.python.panel]

    def _draw_curves(self, drawn: DrawnPatterns, *, keep_range: bool) -> None:
        session, offset = self.session, curve_offset(self.session, curves=len(drawn.curves))
        windows = session.stage == "gridded" and session.show_windows
        themed = MATERIAL_THEME["dark" if session.dark else "light"]["palette"]["background"]
        height = max(_LOWEST, min(_HIGHEST, 120 + _PER_CURVE * len(drawn.curves))) if offset else _LOWEST
        self.figure.plot.height = height
        draw_patterns(
            self.figure, drawn.curves, scale=session.scale, offset=offset, unit=words.intensity_unit(session),
            x_label=drawn.x_label, window_edges=self.store.window_edges() if windows else None, keep_range=keep_range,
            ground=themed["paper"] if session.arrangement == "waterfall" else "",
        )  # fmt: skip

    def _is_zoomed(self) -> bool:
        """Whether the user selected a part of the horizontal range."""
        shown = self.figure.plot.x_range
        return (shown.start, shown.end) != (shown.reset_start, shown.reset_end)

    def _show_legend(self, drawn: DrawnPatterns) -> None:
        if self.session.arrangement == "heatmap":
            self.legend.object = _HEATMAP_LEGEND if drawn.curves else ""
            return
        curves = drawn.curves[::-1] if curve_offset(self.session, curves=len(drawn.curves)) else drawn.curves
        self.legend.object = legend_html([(curve.name, curve.colour, curve.dash) for curve in curves])

    def _set_crosshairs(self, drawn: DrawnPatterns) -> None:
        """The readout converts with the wavelength of the selected pattern, or of the first one shown."""
        by_key = dict(zip(drawn.keys, drawn.wavelengths, strict=True))
        known = [value for value in (by_key.get(self.session.chosen), *drawn.wavelengths) if value is not None]
        for crosshair in self.crosshairs:
            set_crosshair(crosshair, axis=self.session.axis, wavelength=next(iter(known), None))

    def _draw_overview(self, drawn: DrawnPatterns) -> None:
        """Draw the selected pattern, or the first one shown, over the range of all."""
        reset = self.figure.plot.x_range
        place = drawn.keys.index(self.session.chosen) if self.session.chosen in drawn.keys else 0
        nothing = np.zeros(0)
        x, intensity = (drawn.curves[place].x, drawn.curves[place].intensity) if drawn.curves else (nothing, nothing)
        draw_overview(self.overview, x=x, intensity=intensity, low=reset.reset_start, high=reset.reset_end)

    def _shown_range(self) -> tuple[float, float]:
        shown = self.figure.plot.x_range
        return shown.start, shown.end

    def _to_content(self, with_peaks: bool) -> FigureContent | None:  # noqa: FBT001 - called by FigureForm with this one value
        """What the plot shows, for a figure; None where it shows nothing."""
        drawn = self.drawn()
        peaks = self.peaks.labels() if with_peaks else None
        return words.to_content(drawn, self.session, peaks=peaks) if drawn.curves else None

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
