"""How many instrument files are read correctly?

    python benchmarks/quality/readers.py [--collection FOLDER]    # writes docs/results/readers.md
    python benchmarks/quality/readers.py --quick                  # the same, writes nothing

FOLDER (default: the environment variable XXACT_SHARED_DATA, else ../shared/data) has formats/truth.csv, a table of
files with reference values found by other programs: points, start and stop [deg], largest intensity and its position,
wavelength [Å]. JSON: `files_right` of the `files_total` files with an X-ray powder scan are read correctly,
and `cases_right` of the `cases_total` inputs of cases/cases.csv (patterns, structures, formulas and objects of a
notebook, see `cases.py`) are read correctly or refused with the true reason.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the repository

import csv
import hashlib
import json
import os
from dataclasses import dataclass

import numpy as np

from benchmarks.harness import REPOSITORY, argument_parser, cpu_time, finish, markdown_table
from benchmarks.quality.cases import judge_cases
from xxact_core.errors import PatternError
from xxact_core.patterns.pattern import Pattern
from xxact_core.readers.read import read_pattern, read_scans

NO_PATTERNS = {
    "cif/datalab__cod_9004112.cif": ("E_FORMAT", "a crystal structure"),
    "cif/pdCIFplotter__ALUMINA.cif": ("E_RADIATION", "neutrons"),
    "cif/pdCIFplotter__NISI.cif": ("E_RADIATION", "neutrons"),
    "nxs/xrd_analysis_workflow__Si_17.95keV.nxs": ("E_FORMAT", "links to images in another file"),
    "xys/diffraction-lib__mcstas_lbco-si.xys": ("E_AXIS", "times of flight"),
}
"""Files without an X-ray powder scan, which must be refused: error code and reason."""

REASONS = {
    "ras/rietx__rigaku_multiscan.ras": "3 points per scan; fewer than 10 are refused",
    "ras/rietx__rigaku_three_column.ras": "4 points; fewer than 10 are refused",
    "xrdml/nomad-measurements__m54313_om2th_10.xrdml": (
        "the reference counts lack the attenuation factor stated in the file, which the reader applies"
    ),
}
"""Why files differ from the reference values, where this is intended."""

NOTES = {"xye/diffraction-lib__hrpt_lbco.xye": "neutron data, but not refused: nothing in the file says so"}
"""Notes on files that are read correctly."""

OTHER_REFERENCE = {
    "nxs/pynxtools-xrd__xrdml_918-16_10_ref.nxs": (5027, 4.00657, 69.99937, 100168, 26.6169, 1.5405980),
    "raw/maud__sio250.raw": (1941, 5, 102, 1332, None, 1.541871),
    "raw/maud__Steel16CrNi4.RAW": (1701, 20, 105, 2009, None, 1.541871),
    "dat/maud__alzrc.dat": (2660, 22, 154.95, None, None, 1.540598),
    "dat/maud__bbm48bis.dat": (1800, 25, 114.95, None, None, 1.5405981),
}
"""Reference values where the table has none: the same scan in another format, or the file's header."""


@dataclass(frozen=True)
class Verdict:
    """How a file was read."""

    file: str
    right: bool
    """Whether it was read correctly, or refused as it must be."""

    meant: bool
    """Whether the outcome is intended."""

    reason: str
    milliseconds: float
    """CPU time."""


def read_truth(folder: Path) -> list[dict[str, str]]:
    """Rows of the table for files of measurements."""
    with (folder / "truth.csv").open(encoding="utf-8", newline="") as stream:
        return [row for row in csv.DictReader(stream) if not row["file"].endswith(".json")]


def judge_file(row: dict[str, str], folder: Path) -> Verdict:
    """Read one file and compare it with its row; a file of several patterns may match as a whole."""
    file = row["file"]
    before = cpu_time()
    try:
        pattern = read_pattern(folder / file)
    except PatternError as error:
        spent = 1000 * (cpu_time() - before)
        code, what = NO_PATTERNS.get(file, ("", ""))
        if error.code == code:
            return Verdict(file, right=True, meant=True, reason=f"refused: {what}", milliseconds=spent)
        reason = REASONS.get(file, f"{error.code}: {error}")
        return Verdict(file, right=False, meant=file in REASONS, reason=reason, milliseconds=spent)
    spent = 1000 * (cpu_time() - before)
    wrong = differences([pattern], row)
    if wrong and int(pattern.metadata.get("scans", "1")) > 1:
        wrong = differences(list(read_scans(folder / file)), row)
    reason = REASONS.get(file, "; ".join(wrong)) if wrong else NOTES.get(file, "")
    return Verdict(file, right=not wrong, meant=not wrong or file in REASONS, reason=reason, milliseconds=spent)


def differences(scans: list[Pattern], row: dict[str, str]) -> list[str]:
    """Differences between the concatenated scans and a row of the table."""
    angles = np.concatenate([scan.two_theta for scan in scans])
    intensity = np.concatenate([scan.intensity for scan in scans])
    stated = OTHER_REFERENCE.get(row["file"]) or tuple(
        float(row[key]) if row[key] else None
        for key in ("n_points", "start", "stop", "max_intensity", "max_at", "wavelength")
    )
    largest = float(intensity.max())
    found = {
        "points": (angles.size, stated[0], 0.0),
        "start": (angles[0], stated[1], 2e-3),
        "stop": (angles[-1], stated[2], 3e-3),
        "largest intensity": (largest, stated[3], 1e-3 * largest),
        "wavelength": (scans[0].wavelength, stated[5], 2e-3),
    }
    wrong = [
        f"{label} {value} instead of {truth}"
        for label, (value, truth, tolerance) in found.items()
        if truth is not None and (value is None or abs(value - truth) > tolerance)
    ]
    if stated[4] is not None and not np.any(np.abs(angles[intensity >= 0.999 * largest] - stated[4]) < 2e-3):
        wrong.append(f"largest intensity at {angles[intensity.argmax()]:g}° instead of {stated[4]:g}°")
    return wrong


def judge_all(folder: Path) -> tuple[list[Verdict], dict[str, float]]:
    """How all files of the table were read, and the figures of the page."""
    verdicts = [judge_file(row, folder) for row in read_truth(folder)]
    scans = [verdict for verdict in verdicts if verdict.file not in NO_PATTERNS]
    milliseconds = [verdict.milliseconds for verdict in verdicts]
    figures = {
        "files_right": sum(verdict.right for verdict in scans),
        "files_total": len(scans),
        "refused_right": sum(verdict.right for verdict in verdicts) - sum(verdict.right for verdict in scans),
        "refused_total": len(NO_PATTERNS),
        "unexplained": sum(not verdict.meant for verdict in verdicts),
        "median_milliseconds": round(float(np.median(milliseconds)), 1),
        "largest_milliseconds": round(max(milliseconds), 1),
    }
    return verdicts, figures


def main() -> None:
    """Read all files, print, and write the page unless --quick is given."""
    parser = argument_parser(__doc__)
    collection = Path(os.environ.get("XXACT_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
    parser.add_argument("--collection", type=Path, default=collection, help="folder with formats/truth.csv")
    arguments = parser.parse_args()
    folder = arguments.collection / "formats"
    if not folder.is_dir():
        print(f"no collection of files at {folder}")
        print(json.dumps({"files_right": 0, "files_total": 0, "cases_right": 0, "cases_total": 0}))
        return
    verdicts, figures = judge_all(folder)
    cases = judge_cases(arguments.collection / "cases") if (arguments.collection / "cases").is_dir() else []
    figures |= {"cases_right": sum(case.right for case in cases), "cases_total": len(cases)}
    rows = [
        [f"`{verdict.file}`", "yes" if verdict.right else "no", verdict.reason]
        for verdict in verdicts
        if verdict.reason
    ]
    wrong = [[f"`{case.case}`", "no", case.reason] for case in cases if not case.right]
    finish(
        __file__,
        markdown_table(["file", "correct", "reason"], [*rows, *wrong]),
        figures,
        quick=arguments.quick,
        title="Readers",
        introduction=f"{figures['files_right']} of {figures['files_total']} files with an X-ray powder scan are read "
        "with the correct number of points, start, stop, largest intensity and wavelength; "
        f"{figures['cases_right']} of {figures['cases_total']} small inputs that other programs read wrong (patterns, "
        "structures, formulas and notebook objects) are read correctly or refused with the true reason; "
        f"{figures['refused_right']} of {figures['refused_total']} files without one are refused with the correct "
        f"reason. Reading a file takes {figures['median_milliseconds']:g} ms of CPU time (median), "
        f"{figures['largest_milliseconds']:g} ms at most.",
        data_digest=hashlib.sha256((folder / "truth.csv").read_bytes()).hexdigest(),
    )


if __name__ == "__main__":
    main()
