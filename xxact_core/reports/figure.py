"""An analysed pattern → a plot: measured and calculated intensity, reflections of the phases, and the difference."""

from __future__ import annotations

import io
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from xxact_core.errors import shorten
from xxact_core.quantities import PHASE_COLOURS
from xxact_core.reports.analysed_pattern import AnalysedPattern

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KINDS = ("png", "svg", "pdf")
"""Formats of a plot."""

FONT = "DejaVu Sans"
"""Font of names and other texts that may have any character; it comes with matplotlib."""

_SIZE = (9.0, 4.8)
"""Width and height [inches]."""

_ROW = 0.055
"""Height of a row of reflections relative to that of the pattern."""

_WEAKEST = 1.0
"""Intensity of the weakest reflection drawn [% of the strongest of its phase]."""


def draw_analysis(analysed: AnalysedPattern) -> Figure:
    """Draw the fit of the phases over 2θ at the measured wavelength."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - not installed everywhere
    from matplotlib.figure import Figure  # noqa: PLC0415 - likewise

    figure = Figure(figsize=_SIZE)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.085, 0.115, 0.9, 0.815))
    _draw_fit(axes, analysed)
    axes.set_xlabel(f"2θ [°] at {analysed.analysis.wavelength:.5g} Å")
    axes.set_ylabel("intensity")
    title = f"{analysed.source.name}: {analysed.sentence}"
    axes.set_title(printable(shorten(title, limit=110)), fontsize=9, parse_math=False, family=FONT)
    return figure


@cache
def _font() -> Any:  # noqa: ANN401 - a class of the drawing library without types
    from matplotlib.font_manager import findfont, get_font  # noqa: PLC0415 - not installed everywhere

    return get_font(findfont(FONT))


def printable(text: str) -> str:
    """The text with □ for every character that `FONT` lacks."""
    return "".join(letter if _font().get_char_index(ord(letter)) else "□" for letter in text)


def draw_plot(analysed: AnalysedPattern, *, kind: str = "png", dpi: int = 110) -> bytes:
    """The plot as the content of a PNG, SVG or PDF file.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    file = io.BytesIO()
    draw_analysis(analysed).savefig(file, format=kind, dpi=dpi, metadata=_without_date(kind))
    return file.getvalue()


def _without_date(kind: str) -> dict[str, str | None]:
    """Metadata that make equal plots equal files."""
    return {} if kind == "png" else {"Date" if kind == "svg" else "CreationDate": None}


def _draw_fit(axes: Axes, analysed: AnalysedPattern) -> None:
    fit = analysed.analysis
    low, high = float(min(fit.measured.min(), fit.background.min())), float(fit.measured.max())
    height = (high - low) or 1.0
    axes.plot(fit.two_theta, fit.measured, ".", color="#7A8794", markersize=2.2, label="measured")
    axes.plot(fit.two_theta, fit.calculated, "-", color="black", linewidth=0.8, label="calculated")
    axes.plot(fit.two_theta, fit.background, "--", color="0.6", linewidth=0.7, label="background")
    for number, phase in enumerate(fit.phases):
        inside = (
            (phase.two_theta >= fit.two_theta[0])
            & (phase.two_theta <= fit.two_theta[-1])
            & (phase.intensity >= _WEAKEST)
        )
        base = low - (number + 1.3) * _ROW * height
        label = printable(f"{phase.label}, {phase.weight_text} wt%" if len(fit.phases) > 1 else phase.label)
        colour = PHASE_COLOURS[number % len(PHASE_COLOURS)]
        axes.vlines(phase.two_theta[inside], base, base + 0.8 * _ROW * height, color=colour, linewidth=0.9, label=label)
    for peak in fit.unexplained_peaks:
        top = float(np.interp(peak.two_theta, fit.two_theta, fit.measured))
        axes.annotate("?", (peak.two_theta, top), ha="center", va="bottom", fontsize=9, color="#CC3311")
    difference = fit.difference
    base = low - (len(fit.phases) + 0.8) * _ROW * height - float(difference.max(initial=0.0))
    axes.plot(fit.two_theta, difference + base, color="0.45", linewidth=0.6, label="difference")
    axes.set_yticks([tick for tick in axes.get_yticks() if min(low, 0.0) <= tick <= high])
    axes.set_xlim(float(fit.two_theta[0]), float(fit.two_theta[-1]))
    legend = axes.legend(loc="upper right", fontsize=8, framealpha=0.85)
    for text in legend.get_texts():
        text.set_parse_math(False)
