"""Words, tables, files and programs of the Reconstruction screen."""

from __future__ import annotations

import html
from itertools import pairwise

import numpy as np

from xxact_app.plots.export import columns_to_csv, columns_to_netcdf, figure_to_bytes, new_figure
from xxact_app.samples.store import WINDOW_EDGES
from xxact_app.screens.reconstruction.store import TRAIN, OverSet, Shown

WINDOW_NAMES = [f"{low:.0f}–{high:.0f}°" for low, high in pairwise(WINDOW_EDGES)]
_UNIT = "% of the strongest line"
ERRORS_CAPTION = (
    f"<p class='muted'>Root mean square, {_UNIT}. Bars: this pattern; dashes: the same if nothing were expected. "
    "Diamonds: over many patterns; hollow ones: if nothing were expected.</p>"
)


def to_columns(shown: Shown) -> dict[str, np.ndarray]:
    """What is drawn, a row a point: angle [deg], measured and expected intensity (0-100), window and what it is."""
    pattern, points = shown.pattern, shown.pattern.grid.window_points
    hidden = np.repeat(shown.masked | pattern.hidden_windows, points)
    unknown = np.full(pattern.intensity.shape, np.nan)
    expected = unknown if shown.reconstruction is None else shown.reconstruction.expected
    return {
        "two_theta": np.round(pattern.grid.two_theta, 6),
        "measured": np.where(pattern.coverage, pattern.intensity, np.nan),
        "expected": np.where(hidden, expected, np.nan),
        "window": np.repeat(np.arange(1, len(shown.masked) + 1), points),
        "masked": np.repeat(shown.masked, points).astype(np.int8),
        "not_measured": np.repeat(pattern.hidden_windows, points).astype(np.int8),
    }


def to_csv(shown: Shown) -> bytes:
    """The columns as CSV."""
    return columns_to_csv(to_columns(shown))


def to_netcdf(shown: Shown) -> bytes:
    """The columns as netCDF."""
    about = {"formula": shown.formula, "file": shown.sample.file, "model": shown.model.digest if shown.model else ""}
    units = {"two_theta": "degree", "measured": _UNIT, "expected": _UNIT}
    return columns_to_netcdf(to_columns(shown), dimension="point", units=units, about=about)


def to_picture(shown: Shown, *, kind: str) -> bytes:
    """What is drawn as PNG or SVG."""
    columns = to_columns(shown)
    drawing, (axes,) = new_figure()
    for flags, colour, label in (
        (shown.masked, "#0072B2", "masked"), (shown.pattern.hidden_windows, "#6B7280", "not measured")
    ):  # fmt: skip
        for place, number in enumerate(np.flatnonzero(flags)):
            name = label if place == 0 else None
            axes.axvspan(WINDOW_EDGES[number], WINDOW_EDGES[number + 1], color=colour, alpha=0.14, lw=0, label=name)
    axes.plot(columns["two_theta"], columns["measured"], color="#5F5F5F", lw=0.8, label="measured")
    axes.plot(columns["two_theta"], columns["expected"], color="#D55E00", lw=1.1, label="expected by the model")
    axes.set(xlabel="2θ (Cu Kα) [°]", ylabel="Intensity (maximum 100)", xlim=(WINDOW_EDGES[0], WINDOW_EDGES[-1]))
    axes.set_title(f"{shown.sample.name}, {shown.formula or 'no formula'}", fontsize=10, parse_math=False)
    axes.legend(fontsize=8, frameon=False)
    return figure_to_bytes(drawing, "svg" if kind == "svg" else "png")


def summary(shown: Shown) -> str:
    """What is masked, what was not measured, and how large the error is, as safe HTML."""
    masked, absent = shown.masked, shown.pattern.hidden_windows
    lines = []
    if shown.remark:
        lines.append(f"<p><b>{html.escape(shown.remark)}</b></p>")
    if not masked.any():
        lines.append("<p>Nothing is masked: click windows in the plot, tick them below, or draw some.</p>")
    else:
        lines.append(f"<p>{masked.sum()} of {len(masked)} windows are masked: {_names(masked)}.</p>")
    if absent.any():
        lines.append(
            f"<p>Not measured, so hidden anyway: {_names(absent)}. What is expected there cannot be judged.</p>"
        )
    if shown.reconstruction is not None and masked.any():
        error, empty = (
            float(np.sqrt(np.nanmean(values[masked] ** 2)))
            for values in (shown.reconstruction.error, shown.reconstruction.empty)
        )
        better = "less" if error < empty else "not less"
        lines.append(
            f"<p>Error in the masked windows: <b>{error:.2f}</b> {_UNIT} (root mean square), {better} than the "
            f"{empty:.2f} of expecting nothing there.</p>"
        )
    return "".join(lines)


def untrained_help() -> str:
    """What to do where no model has learned to reconstruct, as safe HTML."""
    return (
        "<p>A model learns this from masked patterns, without any label. A command for a laptop:</p>"
        f"<p><code>{html.escape(TRAIN)}</code></p>"
        "<p>A run in the workspace is offered under Model as soon as it has ended.</p>"
    )


def errors_table(shown: Shown, over: OverSet | None) -> str:
    """The errors of the windows as a table, the twin of the bars; safe HTML."""
    made = shown.reconstruction
    rows = []
    for number, name in enumerate(WINDOW_NAMES):
        state = "masked" if shown.masked[number] else "shown"
        state = "not measured" if shown.pattern.hidden_windows[number] else state
        cells = [
            _number(made.error[number]) if made is not None else "–",
            _number(made.empty[number]) if made is not None else "–",
            _number(over.error[number]) if over is not None else "–",
            _number(over.empty[number]) if over is not None else "–",
        ]
        filled = "".join(f"<td>{cell}</td>" for cell in cells)
        rows.append(f"<tr><th scope='row'>{number + 1}: {name}</th><td>{state}</td>{filled}</tr>")
    heads = ("Window", "State", "Error", "If nothing expected", "Over the set", "If nothing expected")
    head = "".join(f"<th scope='col'>{text}</th>" for text in heads)
    return (
        f"<details><summary>Errors as a table [{_UNIT}]</summary><div style='overflow-x:auto'><table>"
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div></details>"
    )


def over_set_words(over: OverSet | None) -> str:
    """The error over the set in a sentence, as safe HTML."""
    if over is None:
        return "<p class='muted'>The error over the test split of the materials that ship can be taken here.</p>"
    better = "less" if over.total_error < over.total_empty else "not less"
    return (
        f"<p>Over the {over.materials} materials of the test split, {int(over.patterns.sum())} masked windows: error "
        f"<b>{over.total_error:.2f}</b> {_UNIT}, {better} than the {over.total_empty:.2f} of expecting nothing.</p>"
    )


def python_of(shown: Shown, *, prepared: str) -> str:
    """A program that makes the reconstruction that is shown; `prepared` is the beginning, which gives `gridded`."""
    windows = np.flatnonzero(shown.masked).tolist()
    folder = "" if shown.model is None else str(shown.model.folder)
    return f"""from pathlib import Path

import numpy as np

from xxact_core.checkpoint import load_checkpoint
from xxact_core.compositions.formula import parse_formula
from xxact_core.evaluation.reconstruction import reconstruct_pattern

{prepared}masked = np.zeros({len(shown.masked)}, dtype=bool)
masked[{windows}] = True
checkpoint = load_checkpoint(Path({folder!r}))
made = reconstruct_pattern(checkpoint, gridded, parse_formula({shown.formula!r}), masked=masked)
print(made.error)  # of each masked window, [{_UNIT}]
"""


def _names(flags: np.ndarray) -> str:
    return ", ".join(WINDOW_NAMES[number] for number in np.flatnonzero(flags))


def _number(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.2f}"
