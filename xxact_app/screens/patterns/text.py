"""Texts, tables, files and Python code of the Patterns screen."""

from __future__ import annotations

import html
import json
import re

import numpy as np

from xxact_app.plots.export import columns_to_csv, columns_to_netcdf
from xxact_app.plots.paper_figure import FigureContent, FigureKind, FigureSettings, PeakLabels, paper_figure
from xxact_app.plots.patterns import Curve
from xxact_app.plots.reflections import ReflectionRow, strongest_lines
from xxact_app.samples.processing_steps import KINDS, steps_to_pipeline
from xxact_app.samples.store import HIDDEN, Store
from xxact_app.screens.patterns.drawing import DrawnPatterns, curve_offset, heatmap_rows
from xxact_app.session.session import Session
from xxact_core.quantities import AXES

_STRONGEST = 20
"""Lines of a reference listed in its table; the CSV file holds all reflections."""


def summary(drawn: DrawnPatterns, session: Session) -> str:
    """What the plots show and which patterns cannot be drawn, as safe HTML."""
    lines = [f"<p>Not shown: {html.escape(name)} ({html.escape(reason)}).</p>" for name, reason in drawn.absent.items()]
    count = f"{len(drawn.curves)} of {len(session.files)} patterns shown"
    if session.stage == "gridded" and drawn.curves:
        text = f"{count} as model input: after all processing steps, scaled to a maximum of 100 on 5–90°."
        if session.show_windows:
            text += f" Dotted: the 17 windows. Hatched: {HIDDEN}."
        lines.append(f"<p class='muted'>{text}</p>")
    elif session.stage == "step" and drawn.curves:
        place = min(session.shown_step, len(session.steps) - 1)
        label = KINDS[session.steps[place]["step"]].label
        lines.append(f"<p class='muted'>{count} after step {place + 1} of {len(session.steps)}, {label}.</p>")
    elif drawn.curves:
        lines.append(f"<p class='muted'>{count} as measured.</p>")
    if drawn.rows:
        count = "1 reference" if len(drawn.rows) == 1 else f"{len(drawn.rows)} references"
        lines.append(f"<p class='muted'>Below: calculated reflections of {count}, {drawn.sticks_note}.</p>")
    return "".join(lines)


def tables(drawn: DrawnPatterns) -> str:
    """The plots as tables: range and maximum of each pattern, and the reflections of each reference; safe HTML."""
    rows = "".join(_curve_row(curve) for curve in drawn.curves)
    text = ""
    if rows:
        head = "<th>Pattern</th><th>Points</th><th>2θ from</th><th>to</th><th>Maximum at 2θ</th><th>d</th><th>I</th>"
        text = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    text += "".join(_reflection_table(row) for row in drawn.rows)
    return f"<details><summary>The plot as a table</summary>{text}</details>" if text else ""


def _reflection_table(row: ReflectionRow) -> str:
    """The strongest lines of a reference; equivalent and overlapping reflections are one line."""
    lines = strongest_lines(row, count=_STRONGEST)
    cells = "".join(
        f"<tr><td>{line.hkl}</td><td>{line.two_theta:.3f}°</td><td>{line.d:.4f} Å</td><td>{line.intensity:.1f} %</td>"
        "</tr>"
        for line in lines
    )
    head = "<th>hkl</th><th>2θ</th><th>d</th><th>I</th>"
    return (
        f"<h3>{html.escape(row.name)}: the {len(lines)} strongest lines</h3>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{cells}</tbody></table>"
    )


def _curve_row(curve: Curve) -> str:
    best, known = int(np.nanargmax(curve.intensity)), np.flatnonzero(np.isfinite(curve.intensity))
    spacing = f"{curve.d[best]:.4f} Å" if np.isfinite(curve.d[best]) else "–"
    return (
        f"<tr><td>{html.escape(curve.name)}</td><td>{known.size}</td><td>{curve.two_theta[known[0]]:.2f}°</td>"
        f"<td>{curve.two_theta[known[-1]]:.2f}°</td><td>{curve.two_theta[best]:.3f}°</td><td>{spacing}</td>"
        f"<td>{curve.intensity[best]:.6g}</td></tr>"
    )


def to_columns(drawn: DrawnPatterns) -> dict[str, np.ndarray]:
    """The curves with one row per point: pattern, 2θ [deg], d [Å], intensity, fitted background and wavelength [Å].

    `read_scans` reads them back, each curve as a scan.
    """
    nothing = np.zeros(0)
    parts: dict[str, list[np.ndarray]] = {
        "pattern": [np.repeat(curve.name, curve.x.size) for curve in drawn.curves],
        "two_theta": [np.round(curve.two_theta, 6) for curve in drawn.curves],
        "d": [np.round(curve.d, 6) for curve in drawn.curves],
        "intensity": [curve.intensity for curve in drawn.curves],
        "background": [
            np.full(curve.x.size, np.nan) if curve.background is None else curve.background for curve in drawn.curves
        ],
        "wavelength": [np.full(curve.x.size, _wavelength(curve)) for curve in drawn.curves],
    }
    return {name: np.concatenate(arrays) if arrays else nothing for name, arrays in parts.items()}


def _wavelength(curve: Curve) -> float:
    """The wavelength [Å] that 2θ and d of a curve have, NaN for a curve without d."""
    lengths = 2 * curve.d * np.sin(np.deg2rad(curve.two_theta) / 2)
    known = lengths[np.isfinite(lengths)]
    return round(float(np.median(known)), 6) if known.size else np.nan


def reflections_to_csv(drawn: DrawnPatterns) -> bytes:
    """The reflections of the references as CSV, one row each."""
    columns = {
        "reference": [np.repeat(row.name, row.x.size) for row in drawn.rows],
        "hkl": [np.array(row.hkl, dtype=str) for row in drawn.rows],
        "two_theta": [np.round(row.two_theta, 6) for row in drawn.rows],
        "d": [np.round(row.d, 6) for row in drawn.rows],
        "intensity": [np.round(row.intensity, 4) for row in drawn.rows],
    }
    return columns_to_csv({name: np.concatenate(parts) if parts else np.zeros(0) for name, parts in columns.items()})


def to_csv(drawn: DrawnPatterns) -> bytes:
    """The curves as CSV."""
    return columns_to_csv(to_columns(drawn))


def to_netcdf(drawn: DrawnPatterns, session: Session) -> bytes:
    """The curves as netCDF, with the processing steps in its attributes."""
    about = {"stage": session.stage, "steps": json.dumps(session.steps)}
    units = {"two_theta": "degree", "d": "angstrom", "wavelength": "angstrom"}
    return columns_to_netcdf(to_columns(drawn), dimension="point", units=units, about=about)


def to_content(drawn: DrawnPatterns, session: Session, *, peaks: PeakLabels | None = None) -> FigureContent:
    """The plots as drawn, as a figure for a paper shows them."""
    return FigureContent(
        drawn.curves, drawn.rows, drawn.x_label, scale=session.scale,
        offset=curve_offset(session, curves=len(drawn.curves)),
        filled=session.arrangement == "waterfall", unit=intensity_unit(session),
        heatmap=heatmap_rows(drawn) if session.arrangement == "heatmap" else None, peaks=peaks,
    )  # fmt: skip


def intensity_unit(session: Session) -> str:
    """Unit of the intensity of a single curve."""
    return "maximum 100" if session.stage == "gridded" else "as measured"


def to_picture(drawn: DrawnPatterns, session: Session, *, kind: FigureKind) -> bytes:
    """The plots as drawn, as PNG, SVG or PDF."""
    return paper_figure(to_content(drawn, session), FigureSettings(), kind=kind)


def python_code(drawn: DrawnPatterns, session: Session, store: Store) -> str:
    """Python code that reads the files shown, applies the same steps and draws the same curves."""
    if not drawn.keys:
        return ""
    steps = store.stages.shown_steps()
    own = {key: store.stages.shown_steps(key) for key in drawn.keys if session.sample(key).own_steps is not None}
    files = [
        (store.samples[key].file, session.sample(key).wavelength, session.sample(key).scan) for key in drawn.keys
    ]  # fmt: skip
    names = sorted({type(step).__name__ for some in (steps, *own.values()) for step in some})
    axis = AXES[session.axis]
    lines = ["import matplotlib.pyplot as plt", "import numpy as np", ""]
    lines.append("from xxact_core.patterns.conversions import CU_K_ALPHA, two_theta_to_d, two_theta_to_q")
    gridded = session.stage == "gridded"
    if gridded:
        lines.append("from xxact_core.processing.pipeline import finish_processing")
    lines += [
        "from xxact_core.processing.processed_pattern import start_processing",
        "from xxact_core.readers.read import read_pattern",
    ]
    lines += [f"from xxact_core.processing.steps import {', '.join(names)}"] if names else []
    lines += [
        "",
        "files = [  # file, wavelength [Å] or None for that of the file, scan",
        *(f"    {file!r}," for file in files),
        "]",
    ]
    lines += ["steps = [", *(f"    {step!r}," for step in steps), "]"]
    numbered = [(number, own[key]) for number, key in enumerate(drawn.keys) if key in own]
    if numbered:
        listed = [f"    {number}: [{', '.join(map(repr, some))}]," for number, some in numbered]
        lines += ["own_steps = {  # number of the file → its own steps", *listed, "}"]
    lines += [
        "figure, axes = plt.subplots()",
        "for number, (file, wavelength, scan) in enumerate(files):"
        if numbered
        else "for file, wavelength, scan in files:",
        "    pattern = read_pattern(file, wavelength=wavelength, scan=scan)",
        "    profile = start_processing(pattern)",
        "    for step in own_steps.get(number, steps):" if numbered else "    for step in steps:",
        "        profile = step.apply(profile)",
        "    angles, intensity = profile.two_theta, np.where(profile.covered, profile.intensity, np.nan)",
    ]
    if gridded:
        lines += [
            "    gridded = finish_processing(profile, override_coverage=True)",
            "    intensity = np.where(gridded.coverage, gridded.intensity, np.nan)",
        ]
    x = "angles"
    if axis.name != "two_theta":
        at_copper = any(step.NAME == "convert_wavelength" for step in steps)
        wavelength = "CU_K_ALPHA" if at_copper else "CU_K_ALPHA if profile.at_copper else pattern.wavelength"
        lines.append(f"    wavelength = {wavelength}")
        x = f"two_theta_to_{axis.name}(angles, wavelength=wavelength)"
    y = {"linear": "intensity", "root": "np.sqrt(np.maximum(intensity, 0))", "log": "np.maximum(intensity, 0.01)"}
    lines.append(f"    axes.plot({x}, {y[session.scale]}, label=file)")
    lines += ['axes.set_yscale("log")'] if session.scale == "log" else []
    lines += [f"axes.set_xlabel({drawn.x_label!r})", "axes.legend()", 'figure.savefig("patterns.png")']
    return _without_unused("\n".join(lines) + "\n")


def _without_unused(program: str) -> str:
    """The code without unused imports."""
    line = "from xxact_core.patterns.conversions import "
    used = [name for name in ("CU_K_ALPHA", "two_theta_to_d", "two_theta_to_q") if program.count(name) > 1]
    wanted = f"{line}{', '.join(used)}\n" if used else ""
    return re.sub(rf"{re.escape(line)}.*\n", wanted, program)


def pipeline_to_json(session: Session) -> bytes:
    """The enabled steps, as the option `--processing` reads them."""
    return json.dumps(steps_to_pipeline(session.steps).to_dict(), indent=2).encode()
