"""Refinement → a folder with report, curves, CIFs, the pattern, and project files of other programs."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from xxact_core.errors import InputError, os_error_to_text
from xxact_core.refinement import rietx_engine
from xxact_core.refinement.results import RefinedPhase, Refinement
from xxact_core.structures.cif_writing import conventional_to_cif

REPORT, TEXT, CURVES, PATTERN, REFLECTIONS = "report.json", "report.txt", "curves.csv", "pattern.xye", "reflections.csv"


def write_refinement(
    refinement: Refinement, folder: Path, *, instant: Iterable[Mapping[str, Any]] = ()
) -> tuple[Path, ...]:
    """Write everything about a refinement to a folder, which is made where there is none; files of it are replaced.

    - `report.json` and `report.txt`: the result; `report.html`: the fit as a page that needs no network;
    - `curves.csv`: measured, calculated, background and difference; `reflections.csv`: 2θ and indices of each phase;
    - `pattern.xye`: 2θ, intensity and its uncertainty, as refined;
    - `PHASE.cif` for each phase, with the refined cell and B;
    - `topas.inp` with `topas.xye`, `fullprof.pcr`, `gsas.EXP`, `gsas2.instprm`: for other programs, as far as they can
      express the refinement.

    Args:
        refinement: of `refine`.
        folder: in which the files are written.
        instant: phases of the instant analysis, as in its JSON, written beside the refined values.

    Returns:
        Paths of the files.

    Raises:
        InputError: a file cannot be written (E_WRITE).
    """
    instant = list(instant)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        phases = [_write_phase(phase, refinement, folder) for phase in refinement.phases]
        projects, notes = rietx_engine.write_projects(refinement.library, folder)
        report = {**refinement.to_dict(), "instant_analysis": instant, "notes_on_files": notes}
        (folder / REPORT).write_text(json.dumps(report, ensure_ascii=False, indent=1), encoding="utf-8")
        text = [refinement.to_text(instant=instant), *(f"  {file}: {note}" for file, note in notes.items())]
        (folder / TEXT).write_text("\n".join([*text, ""]), encoding="utf-8")
        _write_curves(refinement, folder / CURVES)
        _write_reflections(refinement.phases, folder / REFLECTIONS)
        write_xye(folder / PATTERN, refinement.two_theta, refinement.observed, refinement.sigma)
    except OSError as error:
        msg = f"the result cannot be written: {os_error_to_text(error)}"
        raise InputError(msg, code="E_WRITE") from error
    own = [folder / name for name in (REPORT, TEXT, CURVES, REFLECTIONS, PATTERN)]
    return (*own, *phases, *projects)


def write_xye(path: Path, two_theta: np.ndarray, intensity: np.ndarray, sigma: np.ndarray) -> None:
    """Write a pattern as three columns: 2θ [deg], intensity and its standard uncertainty."""
    rows = zip(two_theta, intensity, sigma, strict=True)
    path.write_text("".join(f"{x:.5f} {y:.6g} {s:.6g}\n" for x, y, s in rows), encoding="ascii")


def phase_file_name(phase: RefinedPhase) -> str:
    """File name of a phase: its name, with characters that every system allows."""
    return f"{re.sub(r'[^A-Za-z0-9_.+-]+', '_', phase.name).strip('._') or 'phase'}.cif"


def _write_phase(phase: RefinedPhase, refinement: Refinement, folder: Path) -> Path:
    path = folder / phase_file_name(phase)
    text = conventional_to_cif(
        phase.start.structure,
        name=phase.name,
        cell=phase.cell,
        u_cell=phase.u_cell,
        b_iso=phase.b_iso if np.isfinite(phase.b_iso) else None,
        comment=f"Cell refined on {refinement.name}; atoms as in {phase.start.id or 'the file of the phase'}.",
    )
    path.write_text(text, encoding="utf-8")
    return path


def _write_curves(refinement: Refinement, path: Path) -> None:
    names = ("two_theta", "observed", "calculated", "background", "difference")
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        columns = [getattr(refinement, name) for name in names]
        writer.writerows([f"{value:.6g}" for value in row] for row in zip(*columns, strict=True))


def _write_reflections(phases: Iterable[RefinedPhase], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("phase", "h", "k", "l", "two_theta"))
        for phase in phases:
            for hkl, angle in zip(phase.hkl.tolist(), phase.two_theta, strict=True):
                writer.writerow((phase.name, *hkl, f"{angle:.5f}"))
