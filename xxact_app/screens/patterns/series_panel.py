"""The patterns shown as a series: phases, weight fractions and cells over temperature, time or number."""

from __future__ import annotations

import numpy as np
import pandas as pd
import panel as pn
import panel_material_ui as pmui
from bokeh.models import Range1d

from xxact_app.jobs.task_panel import TaskPanel
from xxact_app.jobs.tasks import BackgroundTask
from xxact_app.plots.legends import LEGEND_CSS, legend_html
from xxact_app.plots.patterns import LEFT_BORDER
from xxact_app.plots.series import SeriesCurve, dash_of, draw_series_plot, series_plot
from xxact_app.screens.patterns.series_store import (
    FEWEST,
    SeriesQuestion,
    SeriesResult,
    SeriesStore,
    independent_lengths,
    with_error,
)
from xxact_app.session.session import Session
from xxact_app.ui.downloads import download_row
from xxact_app.ui.safe_text import safe_message, safe_text
from xxact_app.ui.theme import TEXT_CSS, palette
from xxact_core.errors import InputError

_HINT = (
    "<p class='muted'>Finds the phases of all patterns shown, each starting from the one before; takes a few seconds a "
    "pattern and goes on while you work.</p>"
)


class SeriesPanel:
    """Searches the patterns shown as a series; `panel` is shown from three patterns on."""

    def __init__(self, session: Session, series: SeriesStore) -> None:
        self.session, self.series = session, series
        self.elements = pmui.TextInput(
            label="Elements of the series", placeholder="Ca, C, O", size="small", width=260, margin=(8, 0)
        )
        self.task = TaskPanel(
            label="Find the phases of the series", start=self._start, current=self._current, when_done=self.draw
        )
        self.missing = pn.pane.HTML("", stylesheets=[TEXT_CSS], margin=(4, 0), visible=False)
        self.text = pn.pane.HTML("", stylesheets=[TEXT_CSS], sizing_mode="stretch_width", margin=(4, 0))
        shared = Range1d(0, 1)
        self.fractions = series_plot(shared, left_border=LEFT_BORDER, y_label="Weight fraction [%]")
        self.cells = series_plot(shared, left_border=LEFT_BORDER, y_label="Change of cell length [%]")
        self.legend = pn.pane.HTML("", stylesheets=[TEXT_CSS, LEGEND_CSS], sizing_mode="stretch_width", margin=(4, 0))
        self.table = pn.widgets.Tabulator(
            None, show_index=False, disabled=True, theme="materialize", layout="fit_data", max_height=320,
            sizing_mode="stretch_width", margin=0, label="Phases of the series",
        )  # fmt: skip
        self.files = download_row({
            "CSV": ("series.csv", lambda: self._file("series.csv")),
            "netCDF (HDF5)": ("series.nc", lambda: self._file("series.nc")),
            "PNG": ("series.png", lambda: self._file("series.png")),
            "SVG": ("series.svg", lambda: self._file("series.svg")),
            "PDF": ("series.pdf", lambda: self._file("series.pdf")),
        })  # fmt: skip
        plots = [pn.pane.Bokeh(one.plot, sizing_mode="stretch_width", margin=0) for one in (self.fractions, self.cells)]
        self.found = pn.Column(
            self.text, self.legend, *plots, self.table, self.files, sizing_mode="stretch_width", margin=0, visible=False
        )
        self.panel = pn.Column(
            pn.pane.HTML(f"<h2>Series</h2>{_HINT}", stylesheets=[TEXT_CSS], margin=(8, 0, 0, 0)), self.elements,
            self.task.panel, self.missing, self.found, sizing_mode="stretch_width", margin=0, visible=False,
        )  # fmt: skip
        self.elements.param.watch(lambda _event: self.draw(), "value")
        self.shown: SeriesResult | None = None

    def _question(self) -> SeriesQuestion | None:
        """What the form asks; None where an element is wrong."""
        try:
            question = self.series.question(self.elements.value or "")
        except InputError as error:
            self.elements.param.update(error_state=True, helper_text=safe_message(error))
            return None
        self.elements.param.update(error_state=False, helper_text="")
        return question

    def _start(self) -> None:
        question = self._question()
        missing = [] if question is None else self.series.without_wavelength(question)
        if missing:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            self.missing.object = f"<p>Enter the wavelength of {safe_text(missing[0])}{more} first.</p>"
        elif question is not None:
            self.series.start(question)
        self.missing.visible = bool(missing)

    def _current(self) -> BackgroundTask | None:
        question = self._question()
        return None if question is None else self.series.task(question)

    def draw(self) -> None:
        """Show the result for the patterns shown, if there is one."""
        question = self._question()
        self.panel.visible = question is None or len(question.keys) >= FEWEST
        if question is None or not self.panel.visible:
            return
        if self.missing.visible and not self.series.without_wavelength(question):
            self.missing.visible = False
        self.shown = self.series.result(question)
        self.found.visible = self.shown is not None
        self.task.look()
        if self.shown is not None:
            self._draw(self.shown)

    def _draw(self, result: SeriesResult) -> None:
        colours = palette(dark=self.session.dark).series
        fractions, lengths, entries = [], [], []
        for number, phase in enumerate(result.phases):
            colour = colours[number % len(colours)]
            texts = [f"{with_error(*pair)} %" for pair in zip(phase.fraction, phase.u_fraction, strict=True)]
            fractions.append(SeriesCurve(phase.label, colour, phase.fraction, phase.u_fraction, texts))
            entries.append((phase.label, colour, "solid"))
            for place, axis in enumerate(independent_lengths(phase)):
                values, errors = phase.lengths[:, axis], phase.u_lengths[:, axis]
                first = values[np.isfinite(values)][0]
                texts = [f"{with_error(*pair)} Å" for pair in zip(values, errors, strict=True)]
                name, dash = f"{'abc'[axis]} of {phase.label}", dash_of(place)
                lengths.append(
                    SeriesCurve(name, colour, 100 * (values / first - 1), 100 * errors / first, texts, dash=dash)
                )
                if place:
                    entries.append((name, colour, dash))
        for target, curves in ((self.fractions, fractions), (self.cells, lengths)):
            draw_series_plot(target, curves, x=result.values, files=result.files, x_label=result.quantity)
        self.legend.object = legend_html(entries)
        lines = [*result.changes, *result.notes]
        self.text.object = "".join(f"<p>{line}</p>" for line in lines) or "<p>No phase appears or vanishes.</p>"
        self.table.value = _to_table(result)

    def _file(self, name: str) -> bytes:
        path = None if self.shown is None else self.shown.folder / name
        return path.read_bytes() if path is not None and path.is_file() else b""


def _to_table(result: SeriesResult) -> pd.DataFrame:
    """One row for each pattern: value, and weight fraction and cell lengths of each phase with uncertainties."""
    whole = np.array_equal(result.values, np.round(result.values))
    values = result.values.astype(int) if whole else result.values
    columns: dict[str, list[object]] = {"File": list(result.files), result.quantity: values.tolist()}
    for phase in result.phases:
        columns[f"{phase.label} [wt%]"] = [
            with_error(*pair) for pair in zip(phase.fraction, phase.u_fraction, strict=True)
        ]
        for axis in independent_lengths(phase):
            columns[f"{'abc'[axis]} of {phase.label} [Å]"] = [
                with_error(*pair) for pair in zip(phase.lengths[:, axis], phase.u_lengths[:, axis], strict=True)
            ]
    return pd.DataFrame(columns)
