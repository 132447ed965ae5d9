"""The peaks of the selected pattern: a table, labels on the plot, and a file."""

from __future__ import annotations

import numpy as np
import pandas as pd
import panel as pn
import panel_material_ui as pmui
from bokeh.models import ColumnDataSource, CustomJS, LabelSet, NumberFormatter, StringFormatter

from xxact_app.plots.axes import heights_of_peaks
from xxact_app.plots.export import columns_to_csv
from xxact_app.plots.paper_figure import PeakLabels
from xxact_app.plots.patterns import PatternFigure
from xxact_app.plots.reflections import ReflectionRow
from xxact_app.samples.peaks import PeakStore
from xxact_app.samples.store import Store
from xxact_app.screens.patterns.drawing import DrawnPatterns, curve_offset
from xxact_app.session.session import Session
from xxact_app.ui.downloads import download_row
from xxact_app.ui.theme import TEXT_CSS, palette

_NEAR = 0.25
"""Distance [deg 2θ] up to which a calculated reflection is listed beside a peak."""

_MOST_LABELS = 60
"""Number of peaks that are labelled on the plot, the highest ones."""

_LABEL_WIDTH = 13
"""Width of an upright label on the plot [px]."""

_SHOW_LABELS = """
const width = plot.inner_width, range = Math.abs(x_range.end - x_range.start)
const {x, y, text} = peaks.data
const places = Array.from(x), order = places.map((_, i) => i).sort((a, b) => y[b] - y[a])
const low = Math.min(x_range.start, x_range.end), high = Math.max(x_range.start, x_range.end)
const near = room * range / (width || 700), shown = []
const free = (i) => shown.every((j) => Math.abs(places[i] - places[j]) >= near)
for (const i of order) if (places[i] >= low && places[i] <= high && free(i)) shown.push(i)
labels.data = {x: shown.map((i) => x[i]), y: shown.map((i) => y[i]), text: shown.map((i) => text[i])}
"""
"""Labels the higher peaks where there is no room for all: more when the user zooms in."""

_TITLES = {
    "two_theta": "2θ [°]", "d": "d [Å]", "height": "Height", "relative_height": "I [%]", "fwhm": "FWHM [°]",
    "area": "Area", "hkl": "Nearest hkl",
}  # fmt: skip
_FORMATS = {
    "two_theta": "0.000", "d": "0.0000", "height": "0,0.[0]", "relative_height": "0.0", "fwhm": "0.000",
    "area": "0,0.[00]",
}  # fmt: skip
_NAMES = {
    "two_theta": "two_theta_deg", "u_two_theta": "u_two_theta_deg", "d": "d_angstrom", "fwhm": "fwhm_deg",
    "relative_height": "relative_height_percent", "relative_area": "relative_area_percent",
}  # fmt: skip
"""Column of a peak list → its name in the file, with the unit."""


class PeaksPanel:
    """Finds the peaks of the selected pattern; `panel` holds the form and the table."""

    def __init__(self, session: Session, store: Store, figure: PatternFigure) -> None:
        self.session, self.store = session, store
        self.peaks = PeakStore(store)
        self._columns: dict[str, np.ndarray] = {}
        self._labels: PeakLabels | None = None
        self.show = pmui.Checkbox.from_param(
            session.param.show_peaks, label="Find the peaks of the selected pattern", description="", size="small",
            margin=0,
        )  # fmt: skip
        self.least = pmui.FloatInput.from_param(
            session.param.least_peak, label="Lowest peak [% of the highest]", step=0.5, size="small", width=210,
            margin=(8, 0), description="",
        )  # fmt: skip
        self.text = pn.pane.HTML("", stylesheets=[TEXT_CSS], sizing_mode="stretch_width", margin=(4, 0))
        self.table = pn.widgets.Tabulator(
            None, show_index=False, disabled=True, theme="materialize", titles=_TITLES, layout="fit_data_stretch",
            selectable=False,
            sizing_mode="stretch_width", margin=0, max_height=320, label="Peaks", visible=False,
            formatters={
                **{name: NumberFormatter(format=text, nan_format="–") for name, text in _FORMATS.items()},
                "hkl": StringFormatter(),
            },
        )  # fmt: skip
        self.files = download_row({"Peaks (CSV)": ("peaks.csv", self.to_csv)})
        self.panel = pn.Column(
            pn.pane.HTML("<h2>Peaks</h2>", stylesheets=[TEXT_CSS], margin=(8, 0, 4, 0)), self.show, self.least,
            self.text, self.table, self.files, sizing_mode="stretch_width", margin=0,
        )  # fmt: skip
        self._source = ColumnDataSource({"x": [], "y": [], "text": []})
        self._marks = figure.plot.scatter(
            "x", "y", source=self._source, marker="inverted_triangle", size=6, line_color=None
        )
        labels = ColumnDataSource({"x": [], "y": [], "text": []})
        shared = figure.plot.x_range
        show = CustomJS(
            args={
                "peaks": self._source, "labels": labels, "x_range": shared, "plot": figure.plot, "room": _LABEL_WIDTH
            },
            code=_SHOW_LABELS,
        )  # fmt: skip
        self._source.js_on_change("data", show)
        for end in ("start", "end"):
            shared.js_on_change(end, show)
        self._texts = LabelSet(
            x="x", y="y", text="text", source=labels, angle=np.pi / 2, text_font_size="11px",
            text_baseline="middle", x_offset=0, y_offset=12,
        )  # fmt: skip
        figure.plot.add_layout(self._texts)
        self._figure = figure

    def draw(self, drawn: DrawnPatterns) -> None:
        """Show the peaks of the selected pattern, where it is drawn."""
        session, key = self.session, self.session.chosen
        found = self.peaks.peaks(key) if session.show_peaks and key in drawn.keys else None
        self.least.visible = session.show_peaks
        listed = found is not None and not isinstance(found, str)
        self.table.visible = self.files.visible = listed
        self._columns, self._labels = {}, None
        if found is None or isinstance(found, str):
            reason = "the selected pattern is not shown" if found is None else found
            self.text.object = f"<p>No peaks: {reason}.</p>" if session.show_peaks and session.files else ""
            self._source.data = {"x": [], "y": [], "text": []}
            return
        place = drawn.keys.index(key)
        x = self.peaks.positions(key, found, drawn_at=drawn.wavelengths[place])
        columns = found.to_columns()
        columns["hkl"] = np.array(_nearest(columns["two_theta"], self._rows(drawn, key)), dtype=str)
        self._columns = columns
        self.table.hidden_columns = [] if drawn.rows else ["hkl"]
        self.table.value = pd.DataFrame({name: columns[name] for name in _TITLES})
        count = "1 peak" if len(found.peaks) == 1 else f"{len(found.peaks)} peaks"
        lines = " of Kα1, fitted with Kα2" if found.doublet else ""
        spacing = "" if found.wavelength is None else f"; d at {found.wavelength:.5g} Å"
        self.text.object = (
            f"<p class='muted'>{count} of {drawn.curves[place].name}: positions, heights and widths"
            f"{lines}; fitted as pseudo-Voigt profiles above the background{spacing}.</p>"
        )
        strongest = np.sort(np.argsort(-columns["height"], kind="stable")[:_MOST_LABELS])
        texts = [f"{columns['two_theta'][number]:.2f}°" for number in strongest]
        self._labels = PeakLabels(place, x[strongest], texts)
        self._draw_labels(drawn, place)

    def _rows(self, drawn: DrawnPatterns, key: str) -> list[ReflectionRow]:
        """The reflections of the references, where they have the wavelength of the pattern."""
        shown = [value for value in drawn.wavelengths if value is not None]
        known = self.store.wavelength(key)
        return drawn.rows if known is not None and shown and abs(shown[0] - known) < 0.005 else []  # noqa: PLR2004 - Å

    def _draw_labels(self, drawn: DrawnPatterns, place: int) -> None:
        labels = self._labels
        if labels is None or self.session.arrangement == "heatmap":
            self._source.data = {"x": [], "y": [], "text": []}
            return
        slot = len(drawn.curves) - 1 - place if curve_offset(self.session, curves=len(drawn.curves)) else place
        data = self._figure.lines[slot].data_source.data
        xs, ys = np.asarray(data["x"], dtype=float), np.asarray(data["y"], dtype=float)
        heights = heights_of_peaks(xs, ys, labels.x)
        self._source.data = {"x": labels.x, "y": heights, "text": list(labels.text)}
        colours = palette(dark=self.session.dark)
        self._marks.glyph.fill_color = colours.text
        self._texts.text_color = colours.text
        top = self._figure.plot.y_range
        reach = float(heights.max(initial=0.0)) + 0.21 * (top.end - top.start)
        if reach > top.end:
            top.update(end=reach, reset_end=reach)

    def labels(self) -> PeakLabels | None:
        """The peaks as labels of a figure; None where there are none."""
        return self._labels

    def to_csv(self) -> bytes:
        """The peaks with units in the names of the columns; empty where there are none."""
        renamed = {_NAMES.get(name, name): values for name, values in self._columns.items()}
        return columns_to_csv(renamed) if renamed else b""


def _nearest(angles: np.ndarray, rows: list[ReflectionRow]) -> list[str]:
    """Indices and phase of the reflection nearest to each angle [deg]; empty where none is near."""
    texts = []
    for angle in angles.tolist():
        best, text = _NEAR, ""
        for row in rows:
            distances = np.abs(row.two_theta - angle)
            number = int(np.argmin(distances)) if distances.size else -1
            if number >= 0 and distances[number] < best:
                best = float(distances[number])
                text = f"{row.hkl[number]} {row.name}" if len(rows) > 1 else row.hkl[number]
        texts.append(text)
    return texts
