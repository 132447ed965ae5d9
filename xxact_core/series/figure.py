"""Phases of a series → a figure: patterns as a heat map, weight fractions, and cell lengths."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from xxact_core.errors import InputError, shorten
from xxact_core.quantities import PHASE_COLOURS
from xxact_core.series.phase_series import PhaseSeries, patterns_to_image

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = (".png", ".svg", ".pdf")
"""Endings of the files that can be written."""

MARKERS = "osD^vPX<>*"
"""Markers of the phases."""

_AXES_OF_CELL = (("a", "-"), ("b", "--"), ("c", ":"))
_EQUAL = 1e-6


def draw_series(series: PhaseSeries) -> Figure:
    """Draw a series: heat map of the patterns, weight fractions with uncertainties, relative cell lengths.

    Vertical lines mark where phases appear and vanish, between the frames without and with them.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - not installed everywhere
    from matplotlib.figure import Figure  # noqa: PLC0415 - likewise

    figure = Figure(figsize=(8, 10), layout="constrained")
    FigureCanvasAgg(figure)
    top, middle, bottom = figure.subplots(3, 1, sharex=True, height_ratios=(1.3, 1, 1))
    positions, label = _positions(series)
    _draw_patterns(top, series, positions)
    _draw_fractions(middle, series, positions)
    _draw_cells(bottom, series, positions)
    bottom.set_xlabel(label)
    for axes in (middle, bottom):
        _mark_changes(axes, series, positions)
    return figure


def write_figure(series: PhaseSeries, path: Path, *, dpi: int = 150) -> None:
    """Write the figure of a series as PNG, SVG or PDF.

    Raises:
        InputError: the ending is another (E_SERIES), or the file cannot be written (E_WRITE).
        ModuleNotFoundError: matplotlib is not installed.
    """
    if path.suffix.lower() not in FORMATS:
        msg = f"{shorten(path.name)}: a figure ends in {', '.join(FORMATS)}"
        raise InputError(msg, code="E_SERIES")
    try:
        draw_series(series).savefig(path, dpi=dpi)
    except OSError as error:
        msg = f"{shorten(path.name)}: cannot be written ({shorten(error)})"
        raise InputError(msg, code="E_WRITE") from error


def _positions(series: PhaseSeries) -> tuple[np.ndarray, str]:
    """Where each frame is drawn, and the name of the axis: numbers of frames where values repeat or are unknown."""
    values = series.value
    if np.isfinite(values).all() and (np.diff(values) > 0).all():
        return values, f"{series.by} [{series.unit}]" if series.unit else series.by
    return np.arange(len(values), dtype=np.float64), f"frame, in the order of the names (not of {series.by})"


def _edges(positions: np.ndarray) -> np.ndarray:
    """Borders of the columns of the heat map, half-way between the frames."""
    if positions.size == 1:
        return np.array([positions[0] - 0.5, positions[0] + 0.5])
    middle: np.ndarray = (positions[1:] + positions[:-1]) / 2
    return np.concatenate([[2 * positions[0] - middle[0]], middle, [2 * positions[-1] - middle[-1]]])


def _draw_patterns(axes: Axes, series: PhaseSeries, positions: np.ndarray) -> None:
    angles, image, wavelength = patterns_to_image(series.frames, columns=1500)
    title = "measured patterns, square root of the intensity"
    if angles.size:
        brightest = np.nanpercentile(image, 99.8)
        shown = np.sqrt(np.clip(image / brightest if brightest > 0 else image, 0, 1))
        axes.pcolormesh(_edges(positions), _edges(angles), shown.T, cmap="cividis", rasterized=True)
        axes.set_ylim(angles[0], angles[-1])
    axes.set_ylabel("2θ [°]" if np.isnan(wavelength) else f"2θ [°] at {wavelength:.4f} Å")
    axes.set_title(title, fontsize="medium")


def _draw_fractions(axes: Axes, series: PhaseSeries, positions: np.ndarray) -> None:
    fractions, errors = 100 * series.weight_fraction, 100 * series.u_weight_fraction
    for index, phase in enumerate(series.phases):
        axes.errorbar(
            positions,
            fractions[:, index],
            yerr=np.nan_to_num(errors[:, index]),
            color=PHASE_COLOURS[index % len(PHASE_COLOURS)],
            marker=MARKERS[index % len(MARKERS)],
            markersize=3,
            linewidth=1,
            capsize=2,
            label=phase.label,
        )
    for number in np.flatnonzero(~series.usable):
        axes.axvspan(*_edges(positions)[number : number + 2], color="0.9", zorder=0)
    axes.set_ylabel("weight fraction [%]")
    axes.set_ylim(-4, 104)
    if series.phases:
        axes.legend(fontsize="small", loc="best")


def _draw_cells(axes: Axes, series: PhaseSeries, positions: np.ndarray) -> None:
    cells, errors = series.cell, series.u_cell
    for index, phase in enumerate(series.phases):
        lengths = cells[:, index, :3]
        known = np.flatnonzero(np.isfinite(lengths).all(axis=1))
        if not known.size:
            continue
        first = lengths[known[0]]
        for axis, (name, style) in enumerate(_AXES_OF_CELL):
            if any(np.allclose(lengths[known, axis], lengths[known, other], rtol=_EQUAL) for other in range(axis)):
                continue
            axes.errorbar(
                positions,
                100 * (lengths[:, axis] / first[axis] - 1),
                yerr=100 * np.nan_to_num(errors[:, index, axis]) / first[axis],
                color=PHASE_COLOURS[index % len(PHASE_COLOURS)],
                linestyle=style,
                marker=MARKERS[index % len(MARKERS)],
                markersize=3,
                linewidth=1,
                capsize=2,
                label=f"{name} of {phase.label}, from {first[axis]:.4f} Å",
            )
    axes.set_ylabel("change of the cell length [%]")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize="x-small", loc="best")


def _mark_changes(axes: Axes, series: PhaseSeries, positions: np.ndarray) -> None:
    """Lines where phases appear (dashed) and vanish (dotted), in their colours."""
    usable = np.flatnonzero(series.usable)
    for index, phase in enumerate(series.phases):
        colour = PHASE_COLOURS[index % len(PHASE_COLOURS)]
        for begin, end in phase.stretches:
            before, after = usable[usable < begin], usable[usable > end]
            if before.size:
                axes.axvline(
                    (positions[before[-1]] + positions[begin]) / 2, color=colour, linestyle="--", linewidth=0.8
                )
            if after.size:
                axes.axvline((positions[after[0]] + positions[end]) / 2, color=colour, linestyle=":", linewidth=0.8)
