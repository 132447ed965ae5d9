"""A form for a figure for a paper: size, resolution, format, range and labels."""

from __future__ import annotations

import base64
from collections.abc import Callable

import panel as pn
import panel_material_ui as pmui

from xxact_app.plots.paper_figure import FIGURE_KINDS, CurveNames, FigureContent, FigureSettings, paper_figure
from xxact_app.ui.downloads import download_button
from xxact_app.ui.theme import TEXT_CSS

_WIDTHS = {"one column, 8.5 cm": 8.5, "1.5 columns, 12 cm": 12.0, "two columns, 17.5 cm": 17.5, "slide, 25 cm": 25.0}
_NAMES: dict[str, CurveNames] = {"legend beside the plot": "legend", "on the curves": "curves", "none": "none"}
_PREVIEW_DPI = 110


class FigureForm:
    """Writes the plot as a figure; `panel` is the form.

    content: what the plot shows, with labels of peaks or without; None while it shows nothing.
    shown: ends of the horizontal range shown on the screen, in the order of the axis.
    """

    def __init__(
        self, content: Callable[[bool], FigureContent | None], shown: Callable[[], tuple[float, float]]
    ) -> None:
        self._content, self._shown = content, shown
        field = {"size": "small", "margin": (8, 0), "width": 230}
        self.width = pmui.Select(label="Width", options=_WIDTHS, value=17.5, **field)
        self.height = pmui.FloatInput(label="Height of the plot [cm]", value=9.0, start=3, end=60, step=0.5, **field)
        self.kind = pmui.Select(label="Format", options={kind.upper(): kind for kind in FIGURE_KINDS}, **field)
        self.dpi = pmui.IntInput(label="Resolution [dpi]", value=300, start=50, end=1200, step=50, **field)
        self.font_size = pmui.FloatInput(label="Letters [pt]", value=8.0, start=4, end=24, step=0.5, **field)
        self.names = pmui.Select(label="Names of the curves", options=_NAMES, **field)
        tick = {"size": "small", "margin": 0}
        self.zoomed = pmui.Checkbox(label="Range shown on the screen", value=True, **tick)
        self.hkl = pmui.Checkbox(label="hkl at the reflections", value=True, **tick)
        self.peaks = pmui.Checkbox(label="Labels of the peaks found", value=True, **tick)
        self.preview = pmui.Button(
            label="Preview", variant="outlined", size="small", margin=0, on_click=self._show_preview
        )
        self.save = download_button("Save figure", "patterns.png", self.to_bytes, variant="contained")
        self.picture = pn.pane.HTML("", sizing_mode="stretch_width", margin=(8, 0))
        self.panel = pn.Column(
            pn.pane.HTML("<h2>Figure for a paper</h2>", stylesheets=[TEXT_CSS], margin=(8, 0, 0, 0)),
            pn.FlexBox(
                self.width, self.height, self.font_size, self.kind, self.dpi, self.names, gap="0 12px", margin=0
            ),
            pn.FlexBox(self.zoomed, self.hkl, self.peaks, gap="0 12px", margin=(4, 0)),
            pn.FlexBox(self.save, self.preview, gap="8px", margin=(4, 0)), self.picture,
            sizing_mode="stretch_width", margin=0,
        )  # fmt: skip
        self.kind.param.watch(self._name_file, "value")

    def settings(self) -> FigureSettings:
        """The settings of the form; fields left empty have their defaults."""
        usual = FigureSettings()
        return FigureSettings(
            width=self.width.value, height=self.height.value or usual.height, dpi=self.dpi.value or usual.dpi,
            font_size=self.font_size.value or usual.font_size, names=self.names.value, hkl=self.hkl.value,
            x_range=self._shown() if self.zoomed.value else None,
        )  # fmt: skip

    def to_bytes(self) -> bytes:
        """The figure as the content of a file; empty where nothing is shown."""
        content = self._content(self.peaks.value)
        return b"" if content is None else paper_figure(content, self.settings(), kind=self.kind.value)

    def _name_file(self, _event: object = None) -> None:
        self.save.filename = f"patterns.{self.kind.value}"

    def _show_preview(self, _event: object = None) -> None:
        content = self._content(self.peaks.value)
        if content is None:
            self.picture.object = ""
            return
        settings = self.settings()
        small = FigureSettings(**{**vars(settings), "dpi": _PREVIEW_DPI})
        encoded = base64.b64encode(paper_figure(content, small, kind="png")).decode()
        self.picture.object = (
            f"<img alt='Preview of the figure' style='max-width:100%;border:1px solid var(--border-color)' "
            f"src='data:image/png;base64,{encoded}'>"
        )
