"""Texts, tables, files and Python code of the Reconstruction screen."""

from __future__ import annotations

import html
from itertools import pairwise

import numpy as np

from xxact_app.plots.export import columns_to_csv, columns_to_netcdf, figure_to_bytes, new_figure
from xxact_app.samples.processing import WINDOW_EDGES
from xxact_app.screens.reconstruction.store import TRAIN, MaskedPattern, SplitErrors

WINDOW_NAMES = [f"{low:.0f}–{high:.0f}°" for low, high in pairwise(WINDOW_EDGES)]
_UNIT = "% of the maximum"
ERRORS_CAPTION = (
    f"<p class='muted'>Root mean square, {_UNIT}. Bars: this pattern; diamonds: test split. Dashes and hollow "
    "diamonds: error of an empty window, for comparison.</p>"
)


def to_columns(masked_pattern: MaskedPattern) -> dict[str, np.ndarray]:
    """The plot with one row per point: 2θ [deg], measured and reconstructed intensity (0-100), window and its state."""
    pattern, points = masked_pattern.pattern, masked_pattern.pattern.grid.window_points
    hidden = np.repeat(masked_pattern.masked | pattern.hidden_windows, points)
    unknown = np.full(pattern.intensity.shape, np.nan)
    expected = unknown if masked_pattern.reconstruction is None else masked_pattern.reconstruction.expected
    return {
        "two_theta": np.round(pattern.grid.two_theta, 6),
        "measured": np.where(pattern.coverage, pattern.intensity, np.nan),
        "expected": np.where(hidden, expected, np.nan),
        "window": np.repeat(np.arange(1, len(masked_pattern.masked) + 1), points),
        "masked": np.repeat(masked_pattern.masked, points).astype(np.int8),
        "not_measured": np.repeat(pattern.hidden_windows, points).astype(np.int8),
    }


def to_csv(masked_pattern: MaskedPattern) -> bytes:
    """The columns as CSV."""
    return columns_to_csv(to_columns(masked_pattern))


def to_netcdf(masked_pattern: MaskedPattern) -> bytes:
    """The columns as netCDF."""
    model = "" if masked_pattern.model is None else masked_pattern.model.digest
    about = {"formula": masked_pattern.formula, "file": masked_pattern.sample.file, "model": model}
    units = {"two_theta": "degree", "measured": _UNIT, "expected": _UNIT}
    return columns_to_netcdf(to_columns(masked_pattern), dimension="point", units=units, about=about)


def to_picture(masked_pattern: MaskedPattern, *, kind: str) -> bytes:
    """The plot as PNG or SVG."""
    columns = to_columns(masked_pattern)
    drawing, (axes,) = new_figure()
    for flags, colour, label in (
        (masked_pattern.masked, "#0072B2", "masked"), (masked_pattern.pattern.hidden_windows, "#6B7280", "not measured")
    ):  # fmt: skip
        for place, number in enumerate(np.flatnonzero(flags)):
            name = label if place == 0 else None
            axes.axvspan(WINDOW_EDGES[number], WINDOW_EDGES[number + 1], color=colour, alpha=0.14, lw=0, label=name)
    axes.plot(columns["two_theta"], columns["measured"], color="#5F5F5F", lw=0.8, label="measured")
    axes.plot(columns["two_theta"], columns["expected"], color="#D55E00", lw=1.1, label="reconstructed")
    axes.set(xlabel="2θ (Cu Kα) [°]", ylabel="Intensity (maximum 100)", xlim=(WINDOW_EDGES[0], WINDOW_EDGES[-1]))
    axes.set_title(
        f"{masked_pattern.sample.name}, {masked_pattern.formula or 'no formula'}", fontsize=10, parse_math=False
    )
    axes.legend(fontsize=8, frameon=False)
    return figure_to_bytes(drawing, "svg" if kind == "svg" else "png")


def summary(masked_pattern: MaskedPattern) -> str:
    """Masked and unmeasured windows and the error of the reconstruction, as safe HTML."""
    masked, absent = masked_pattern.masked, masked_pattern.pattern.hidden_windows
    lines = []
    if masked_pattern.remark:
        lines.append(f"<p><b>{html.escape(masked_pattern.remark)}</b></p>")
    if not masked.any():
        lines.append("<p>No window is masked: click windows in the plot, tick them, or mask random ones.</p>")
    else:
        example = "" if not masked_pattern.example else (
            " An example: of the five windows with the highest peaks, the one that the model reconstructs best."
        )  # fmt: skip
        lines.append(f"<p>{masked.sum()} of {len(masked)} windows masked: {_names(masked)}.{example}</p>")
    if absent.any():
        lines.append(f"<p>Not measured and therefore masked: {_names(absent)}. No error can be given there.</p>")
    if masked_pattern.reconstruction is not None and masked.any():
        error, empty = (
            float(np.sqrt(np.nanmean(values[masked] ** 2)))
            for values in (masked_pattern.reconstruction.error, masked_pattern.reconstruction.empty)
        )
        comparison = "less than" if error < empty else "not less than"
        lines.append(
            f"<p>Error in the masked windows: <b>{error:.2f}</b> {_UNIT} (root mean square), {comparison} "
            f"the {empty:.2f} of empty windows.</p>"
        )
    return "".join(lines)


def untrained_help() -> str:
    """How to train a reconstruction model, as safe HTML."""
    return (
        "<p>Reconstruction is learned from masked patterns without labels. A command for a laptop:</p>"
        f"<p><code>{html.escape(TRAIN)}</code></p>"
        "<p>Finished runs of the workspace are listed under Model.</p>"
    )


def errors_table(masked_pattern: MaskedPattern, on_test_split: SplitErrors | None) -> str:
    """The errors of the windows as a table, the text alternative of the bars; safe HTML."""
    reconstruction = masked_pattern.reconstruction
    rows = []
    for number, name in enumerate(WINDOW_NAMES):
        state = "masked" if masked_pattern.masked[number] else "input"
        state = "not measured" if masked_pattern.pattern.hidden_windows[number] else state
        cells = [
            _number(reconstruction.error[number]) if reconstruction is not None else "–",
            _number(reconstruction.empty[number]) if reconstruction is not None else "–",
            _number(on_test_split.error[number]) if on_test_split is not None else "–",
            _number(on_test_split.empty[number]) if on_test_split is not None else "–",
        ]
        filled = "".join(f"<td>{cell}</td>" for cell in cells)
        rows.append(f"<tr><th scope='row'>{number + 1}: {name}</th><td>{state}</td>{filled}</tr>")
    heads = ("Window", "State", "Error", "Empty window", "Error, test split", "Empty window, test split")
    head = "".join(f"<th scope='col'>{text}</th>" for text in heads)
    return (
        f"<details><summary>Errors as a table [{_UNIT}]</summary><div style='overflow-x:auto'><table>"
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div></details>"
    )


def test_errors_text(on_test_split: SplitErrors | None) -> str:
    """The error on the test split in a sentence, as safe HTML."""
    if on_test_split is None:
        return "<p class='muted'>Not evaluated yet.</p>"
    comparison = "less than" if on_test_split.total_error < on_test_split.total_empty else "not less than"
    return (
        f"<p>{on_test_split.materials} materials, {int(on_test_split.patterns.sum())} masked windows: error "
        f"<b>{on_test_split.total_error:.2f}</b> {_UNIT}, {comparison} {on_test_split.total_empty:.2f} for empty "
        "windows.</p>"
    )


def python_code(masked_pattern: MaskedPattern, *, prepared: str) -> str:
    """Python code of the reconstruction; `prepared` is its beginning, which reads and processes to `gridded`."""
    windows = np.flatnonzero(masked_pattern.masked).tolist()
    folder = "" if masked_pattern.model is None else str(masked_pattern.model.folder)
    return f"""from pathlib import Path

import numpy as np

from xxact_core import load_checkpoint, parse_formula, reconstruct_pattern

{prepared}masked = np.zeros({len(masked_pattern.masked)}, dtype=bool)
masked[{windows}] = True
checkpoint = load_checkpoint(Path({folder!r}))
reconstruction = reconstruct_pattern(checkpoint, gridded, parse_formula({masked_pattern.formula!r}), masked=masked)
print(reconstruction.error)  # of each masked window [{_UNIT}]
"""


def _names(flags: np.ndarray) -> str:
    names = [f"<span style='white-space:nowrap'>{WINDOW_NAMES[number]}</span>" for number in np.flatnonzero(flags)]
    return ", ".join(names)


def _number(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.2f}"
