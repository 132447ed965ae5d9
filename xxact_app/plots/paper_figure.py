"""Patterns as a figure for a paper: PNG, SVG or PDF of a chosen size, with reflections, hkl and difference below."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from xxact_app.plots.axes import heights_of_peaks, to_scale
from xxact_app.plots.heatmap import HeatMapRows, curves_to_image
from xxact_app.plots.patterns import Curve, stacking_text
from xxact_app.plots.reflections import WEAKEST_DRAWN, ReflectionRow
from xxact_app.ui.theme import DARK, LIGHT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FigureKind = Literal["png", "svg", "pdf"]
FIGURE_KINDS: tuple[FigureKind, ...] = get_args(FigureKind)
CurveNames = Literal["legend", "curves", "none"]

_CM = 1 / 2.54
_ROW_CM, _HKL_CM, _DIFFERENCE_CM = 0.3, 0.75, 1.3
"""Height of a row of reflections, of the indices above it, and of the difference [cm]."""

_WEAKEST_LABELLED = 5.0
"""Intensity [% of the strongest] below which a reflection has no hkl."""

_LABEL_ROOM = 0.16
"""Room above the highest peak that is labelled, as a share of the height of the curves."""

_LINE_OF_NAME = re.compile(r".{1,24}(?:(?<=[_\-. ])|$)|.{24}")
"""The next line of a name beside the plot: up to 24 characters."""

_DASHES = {"solid": "-", "dashed": "--", "dotted": ":", "dotdash": "-."}

_FOR_PRINT = dict(zip(DARK.series, LIGHT.series, strict=True))
"""Colour of the dark theme → the same of the light one, which is used on paper."""


@dataclass(frozen=True)
class FigureSettings:
    """Size and content of a figure."""

    width: float = 17.5
    """Width [cm], 4 to 60."""
    height: float = 9.0
    """Height [cm], 3 to 60, without rows of reflections and difference, which are added below."""
    dpi: int = 300
    """Resolution of PNG, and of heat maps in all formats, 50 to 1200."""
    font_size: float = 8.0
    """Size of the letters [pt], 4 to 24."""
    names: CurveNames = "legend"
    """Names of the curves: in a legend beside the plot, on the curves, or none."""
    hkl: bool = True
    """Whether reflections have their indices."""
    x_range: tuple[float, float] | None = None
    """Range of the horizontal axis; None for all."""


@dataclass(frozen=True)
class PeakLabels:
    """Labels above peaks: positions on the horizontal axis and texts."""

    curve: int
    """Index of the curve that the peaks are of."""
    x: np.ndarray
    text: Sequence[str]


@dataclass(frozen=True)
class FigureContent:
    """What a figure shows; as the plots on the screen."""

    curves: Sequence[Curve]
    rows: Sequence[ReflectionRow]
    x_label: str
    scale: str = "linear"
    """`linear`, `root` or `log`."""
    offset: float = 0.0
    """Vertical distance of stacked curves, as in `patterns.draw_patterns`; 0 for an overlay."""
    filled: bool = False
    """Whether curves in front cover those behind, as in a waterfall."""
    unit: str = "counts"
    """Unit of the intensity of a single curve."""
    heatmap: HeatMapRows | None = None
    """Rows of a heat map in place of curves."""
    difference: np.ndarray | None = None
    """Measured minus calculated intensity of the only curve."""
    peaks: PeakLabels | None = None


def draw_paper_figure(content: FigureContent, settings: FigureSettings) -> Figure:
    """A Matplotlib figure of the content, on white and in colours for print."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - slow to import
    from matplotlib.layout_engine import ConstrainedLayoutEngine  # noqa: PLC0415 - slow to import

    with _styled(settings):
        labelled = [settings.hkl and any(row.hkl) for row in content.rows]
        heights = [settings.height]
        heights += [_ROW_CM + (_HKL_CM if with_hkl else 0.0) for with_hkl in labelled]
        heights += [] if content.difference is None else [_DIFFERENCE_CM]
        layout = ConstrainedLayoutEngine(h_pad=0.01, w_pad=0.02, hspace=0.0, wspace=0.0)
        drawing = Figure(figsize=(settings.width * _CM, sum(heights) * _CM), layout=layout)
        parts = drawing.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
        main = parts[0]
        if content.heatmap is None:
            _draw_curves(main, content, settings)
        else:
            _draw_map(drawing, main, content)
        _set_range(main, content, settings)
        for part, row, with_hkl in zip(parts[1:], content.rows, labelled, strict=False):
            _draw_row(part, row, settings, with_hkl=with_hkl)
        if content.difference is not None:
            _draw_difference(parts[-1], content)
        for part in parts[:-1]:
            part.tick_params(axis="x", labelbottom=False)
        parts[-1].set_xlabel(content.x_label)
    return drawing


def paper_figure(content: FigureContent, settings: FigureSettings, *, kind: FigureKind) -> bytes:
    """The figure as the content of a file; letters of PDF and SVG need no font of the reader."""
    file = io.BytesIO()
    with _styled(settings):
        metadata: dict[str, Any] | None = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
        draw_paper_figure(content, settings).savefig(file, format=kind, dpi=settings.dpi, metadata=metadata)
    return file.getvalue()


def _styled(settings: FigureSettings) -> AbstractContextManager[None]:
    """Settings of Matplotlib while a figure is drawn and written; its fonts are embedded, or drawn as outlines."""
    from matplotlib import rc_context  # noqa: PLC0415 - slow to import

    return rc_context({
        "font.size": settings.font_size,
        "axes.linewidth": 0.6,
        "lines.linewidth": 0.8,
        "xtick.direction": "in",
        "ytick.direction": "in",
        "xtick.minor.visible": True,
        "pdf.fonttype": 42,
        "svg.fonttype": "path",
        "axes.unicode_minus": True,
        "text.parse_math": False,
        "svg.hashsalt": "xxact",
    })  # fmt: skip


def _draw_curves(axes: Axes, content: FigureContent, settings: FigureSettings) -> None:
    curves, relative = content.curves, len(content.curves) > 1
    tops, labelled = [], -np.inf
    for number, curve in reversed(list(enumerate(curves))):
        largest = float(np.nanmax(curve.intensity))
        factor = 100 / largest if relative and largest > 0 else 1.0
        heights = to_scale(curve.intensity * factor, scale=content.scale)
        stretch = 1 / (float(np.nanmax(heights)) or 1.0) if content.offset else 1.0
        base = number * content.offset
        if content.filled:
            axes.fill_between(curve.x, base, heights * stretch + base, color="white", lw=0)
        colour = _FOR_PRINT.get(curve.colour, curve.colour)
        axes.plot(curve.x, heights * stretch + base, color=colour, ls=_DASHES[curve.dash], label=_in_lines(curve.name))
        if curve.background is not None:
            fitted = to_scale(curve.background * factor, scale=content.scale) * stretch + base
            axes.plot(curve.x, fitted, color="0.2" if curve.background_colour else colour, lw=0.6, ls="--")
        if curve.calculated is not None:
            fitted = to_scale(curve.calculated * factor, scale=content.scale) * stretch + base
            fit_colour = curve.calculated_colour or curve.colour
            axes.plot(curve.x, fitted, color=_FOR_PRINT.get(fit_colour, fit_colour), lw=0.7)
        tops.append(float(np.nanmax(heights)) * stretch + base)
        if settings.names == "curves":
            _name_curve(axes, curve, settings, base=base if content.offset else None, colour=colour)
        if content.peaks is not None and content.peaks.curve == number:
            labelled = _label_peaks(axes, curve.x, heights * stretch + base, content.peaks, settings)
    top = max(tops, default=1.0)
    bottom = 0.0
    if content.scale == "log" and not content.offset:
        finite = [np.log10(curve.intensity[curve.intensity > 0].min(initial=np.inf)) for curve in curves]
        bottom = min((value for value in finite if np.isfinite(value)), default=0.0)
        bottom = max(bottom, top - 5)
    height = top - bottom
    axes.set_ylim(bottom - 0.01 * height, max(top + 0.05 * height, labelled + _LABEL_ROOM * height))
    _label_intensity(axes, content)
    if settings.names == "legend" and curves:
        axes.legend(
            loc="upper left", bbox_to_anchor=(1.005, 1), frameon=False, borderaxespad=0, handlelength=1.4,
            reverse=not content.offset,  # drawn from the last; the topmost of stacked curves comes first
        )  # fmt: skip


def _name_curve(axes: Axes, curve: Curve, settings: FigureSettings, *, base: float | None, colour: str) -> None:
    """Write the name of a curve at the right end, over its foot where curves are stacked."""
    from matplotlib.transforms import blended_transform_factory  # noqa: PLC0415 - slow to import

    if base is None:
        shown = sum(1 for text in axes.texts if text.get_gid() == "name")
        text = axes.text(
            0.99, 0.97 - shown * 0.075, curve.name, color=colour, ha="right", va="top", transform=axes.transAxes,
            fontsize=settings.font_size,
        )  # fmt: skip
    else:
        across = blended_transform_factory(axes.transAxes, axes.transData)
        text = axes.text(
            0.99, base, curve.name, color=colour, ha="right", va="bottom", transform=across,
            fontsize=settings.font_size, zorder=10,
        )  # fmt: skip
        from matplotlib.transforms import ScaledTranslation  # noqa: PLC0415 - slow to import

        up = ScaledTranslation(0, 3 / 72, axes.figure.dpi_scale_trans)
        text.set_transform(across + up)
    text.set_gid("name")
    text.set_bbox({"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.6})


def _label_peaks(axes: Axes, x: np.ndarray, heights: np.ndarray, peaks: PeakLabels, settings: FigureSettings) -> float:
    """Label the peaks, the higher ones where there is no room for all; height of the highest one that is labelled."""
    tops = heights_of_peaks(x, heights, peaks.x)
    low, high = settings.x_range or (float(np.nanmin(x)), float(np.nanmax(x)))
    size = settings.font_size * 0.75
    inside = (peaks.x >= min(low, high)) & (peaks.x <= max(low, high))
    shown = _with_room(np.where(inside, peaks.x, np.nan), tops, size=size, span=abs(high - low), settings=settings)
    for number in shown:
        axes.annotate(
            peaks.text[number], (peaks.x[number], tops[number]), xytext=(0, 4), textcoords="offset points", rotation=90,
            ha="center", va="bottom", fontsize=size, annotation_clip=True,
        )  # fmt: skip
    return float(tops[shown].max(initial=-np.inf))


def _with_room(
    places: np.ndarray, strengths: np.ndarray, *, size: float, span: float, settings: FigureSettings
) -> list[int]:
    """The upright labels that do not overlap, the stronger first; places that are NaN have none.

    size: of the letters [pt]. span: of the horizontal axis.
    """
    nearest = 1.25 * size / 72 / (settings.width * _CM * 0.8) * span
    taken: list[int] = []
    for number in np.argsort(-strengths, kind="stable").tolist():
        if np.isfinite(places[number]) and all(abs(places[number] - places[other]) >= nearest for other in taken):
            taken.append(number)
    return taken


def _label_intensity(axes: Axes, content: FigureContent) -> None:
    relative = len(content.curves) > 1
    scale = {"linear": "", "root": ", √ scale", "log": ", log scale"}[content.scale]
    if content.offset:
        axes.set_ylabel(f"Intensity ({stacking_text(content.offset)}{scale})")
        axes.set_yticks([])
        return
    axes.set_ylabel(f"Intensity ({'% of each maximum' if relative else content.unit}{scale})")
    if content.scale != "linear":
        from matplotlib.ticker import FuncFormatter  # noqa: PLC0415 - slow to import

        def to_text(value: float, _place: int | None = None) -> str:
            return f"{value**2 if content.scale == 'root' else 10**value:.3g}"

        axes.yaxis.set_major_formatter(FuncFormatter(to_text))


def _draw_map(drawing: Figure, axes: Axes, content: FigureContent) -> None:
    rows = content.heatmap
    assert rows is not None, "only for heat maps"
    image, low, high = curves_to_image([content.curves[number] for number in rows.order], scale=content.scale)
    drawn = axes.imshow(
        image, extent=(low, high, -0.5, len(image) - 0.5), origin="lower", aspect="auto", cmap="cividis", vmin=0,
        vmax=1, interpolation="nearest",
    )  # fmt: skip
    every = -(-len(image) // 14)
    shown = list(range(0, len(image), every))
    axes.set_yticks(shown, [rows.labels[number] for number in shown])
    axes.set_ylabel(rows.title)
    scale = {"linear": "", "root": ", √ scale", "log": ", log scale"}[content.scale]
    bar = drawing.colorbar(drawn, ax=axes, pad=0.01, fraction=0.05)
    bar.set_label(f"Intensity (of each maximum{scale})")
    bar.set_ticks([0, 1], labels=["0", "1"] if content.scale != "log" else ["≤ 0.001", "1"])


def _set_range(axes: Axes, content: FigureContent, settings: FigureSettings) -> None:
    if settings.x_range is not None:
        axes.set_xlim(*settings.x_range)
    elif content.curves:
        finite = np.concatenate([curve.x[np.isfinite(curve.x)] for curve in content.curves])
        axes.set_xlim(float(finite.min()), float(finite.max()))


def _in_lines(name: str) -> str:
    """A long name in several lines, which end after a separator where there is one."""
    return "\n".join(re.findall(_LINE_OF_NAME, name))


def _draw_row(axes: Axes, row: ReflectionRow, settings: FigureSettings, *, with_hkl: bool) -> None:
    colour = _FOR_PRINT.get(row.colour, row.colour)
    low, high = sorted(axes.get_xlim())
    kept = (row.intensity >= WEAKEST_DRAWN) & (row.x >= low) & (row.x <= high)
    full = _ROW_CM + (_HKL_CM if with_hkl else 0.0)
    axes.vlines(row.x[kept], 0, _ROW_CM * 0.8, color=colour, lw=0.7)
    axes.set_ylim(0, full)
    axes.set_yticks([])
    beside = settings.names == "legend"  # the names of the curves are there, too
    axes.text(
        1.005 if beside else -0.01, 0.5, _in_lines(row.name), transform=axes.transAxes, va="center",
        ha="left" if beside else "right", color=colour, fontsize=settings.font_size * 0.85, gid="row",
    )  # fmt: skip
    for side in ("top", "left", "right"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="x", which="both", length=0)
    if not with_hkl:
        return
    size = settings.font_size * 0.7
    named = kept & (row.intensity >= _WEAKEST_LABELLED) & np.array([bool(text) for text in row.hkl], dtype=bool)
    places = np.where(named, row.x, np.nan)
    for number in _with_room(places, row.intensity, size=size, span=high - low, settings=settings):
        axes.text(
            places[number], _ROW_CM * 0.95, row.hkl[number], rotation=90, ha="center", va="bottom", fontsize=size,
            color=colour,
        )  # fmt: skip


def _draw_difference(axes: Axes, content: FigureContent) -> None:
    assert content.difference is not None, "only where there is one"
    axes.axhline(0, color="0.6", lw=0.5)
    axes.plot(content.curves[0].x, content.difference, color="0.25", lw=0.6)
    axes.set_ylabel("Diff.")
    axes.locator_params(axis="y", nbins=3)
