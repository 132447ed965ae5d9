"""Files of instruments, read, against what is known of them.

    python benchmarks/quality/readers.py [--collection FOLDER] [--quick]

FOLDER (default: the environment's XXACT_SHARED_DATA, else ../shared/data) has formats/truth.csv: a file a row, with the
points, start, stop [deg], largest intensity and its place, and wavelength [Å] that somebody else found. The
last line printed is a JSON object: files_right of files_total that hold an x-ray powder scan.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from xxact_core.errors import PatternError
from xxact_core.evaluation.provenance import provenance, provenance_to_line
from xxact_core.patterns.pattern import Pattern
from xxact_core.readers.read import read_pattern, read_scans

REPOSITORY = Path(__file__).resolve().parents[2]
RESULTS = REPOSITORY / "docs" / "results" / "readers.md"

NO_PATTERNS = {
    "cif/datalab__cod_9004112.cif": ("E_FORMAT", "a crystal structure"),
    "cif/pdCIFplotter__ALUMINA.cif": ("E_RADIATION", "neutrons"),
    "cif/pdCIFplotter__NISI.cif": ("E_RADIATION", "neutrons"),
    "nxs/xrd_analysis_workflow__Si_17.95keV.nxs": ("E_FORMAT", "links to images in another file"),
    "xys/diffraction-lib__mcstas_lbco-si.xys": ("E_AXIS", "times of flight"),
}
"""Files without an x-ray powder scan: they are to be refused, with this code."""

REASONS = {
    "ras/rietx__rigaku_multiscan.ras": "3 points a scan; fewer than 10 are refused",
    "ras/rietx__rigaku_three_column.ras": "4 points; fewer than 10 are refused",
    "cif/pdCIFplotter__single_list.cif": "its first pattern is 0 throughout and refused; others are read by number",
    "xrdml/nomad-measurements__m54313_om2th_10.xrdml": (
        "the table has counts without the attenuation that the file states; here they are multiplied by it"
    ),
}
"""Why files differ from the table, where that is known and meant."""

UNSAID = {
    "xye/diffraction-lib__hrpt_lbco.xye": "read right, but not refused: nothing in it says that it is of neutrons"
}
"""What cannot be told from a file."""

OTHER_TRUTH = {
    "nxs/pynxtools-xrd__xrdml_918-16_10_ref.nxs": (5027, 4.00657, 69.99937, 100168, 26.6169, 1.5405980),
    "raw/maud__sio250.raw": (1941, 5, 102, 1332, None, 1.541871),
    "raw/maud__Steel16CrNi4.RAW": (1701, 20, 105, 2009, None, 1.541871),
    "dat/maud__alzrc.dat": (2660, 22, 154.95, None, None, 1.540598),
    "dat/maud__bbm48bis.dat": (1800, 25, 114.95, None, None, 1.5405981),
}
"""Where the table is empty: the same scan in another format, or what the header states."""


@dataclass(frozen=True)
class Verdict:
    """How a file was read: right, or why not; `meant`: this is as it should be. milliseconds: processor time."""

    file: str
    right: bool
    meant: bool
    reason: str
    milliseconds: float


def read_truth(folder: Path) -> list[dict[str, str]]:
    """Rows of the table that are about files of measurements."""
    with (folder / "truth.csv").open(encoding="utf-8", newline="") as stream:
        return [row for row in csv.DictReader(stream) if not row["file"].endswith(".json")]


def judge_file(row: dict[str, str], folder: Path) -> Verdict:
    """Read one file and compare it with its row; a file of several patterns may be right all together."""
    file = row["file"]
    before = time.process_time()
    try:
        pattern = read_pattern(folder / file)
    except PatternError as error:
        spent = 1000 * (time.process_time() - before)
        code, what = NO_PATTERNS.get(file, ("", ""))
        if error.code == code:
            return Verdict(file, right=True, meant=True, reason=f"refused: {what}", milliseconds=spent)
        reason = REASONS.get(file, f"{error.code}: {error}")
        return Verdict(file, right=False, meant=file in REASONS, reason=reason, milliseconds=spent)
    spent = 1000 * (time.process_time() - before)
    wrong = differences([pattern], row)
    if wrong and int(pattern.metadata.get("scans", "1")) > 1:
        wrong = differences(list(read_scans(folder / file)), row)
    reason = REASONS.get(file, "; ".join(wrong)) if wrong else UNSAID.get(file, "")
    return Verdict(file, right=not wrong, meant=not wrong or file in REASONS, reason=reason, milliseconds=spent)


def differences(scans: list[Pattern], row: dict[str, str]) -> list[str]:
    """What differs between the scans, one behind another, and a row of the table."""
    angles = np.concatenate([scan.two_theta for scan in scans])
    intensity = np.concatenate([scan.intensity for scan in scans])
    stated = OTHER_TRUTH.get(row["file"]) or tuple(
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


def main() -> None:
    """Judge all files, print the table and one JSON object, and write the page unless in a hurry."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    collection = Path(os.environ.get("XXACT_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
    parser.add_argument("--collection", type=Path, default=collection)
    parser.add_argument("--quick", action="store_true", help="compare all, write nothing")
    arguments = parser.parse_args()
    folder = arguments.collection / "formats"
    if not folder.is_dir():
        print(f"no collection at {folder}: nothing to compare")
        print(json.dumps({"files_right": 0, "files_total": 0}))
        return
    verdicts = [judge_file(row, folder) for row in read_truth(folder)]
    scans = [verdict for verdict in verdicts if verdict.file not in NO_PATTERNS]
    told = [verdict for verdict in verdicts if verdict.reason]
    spent = [verdict.milliseconds for verdict in verdicts]
    figures = {
        "files_right": sum(verdict.right for verdict in scans),
        "files_total": len(scans),
        "refused_right": sum(verdict.right for verdict in verdicts) - sum(verdict.right for verdict in scans),
        "refused_total": len(NO_PATTERNS),
        "unexplained": sum(not verdict.meant for verdict in verdicts),
        "median_milliseconds": round(float(np.median(spent)), 1),
        "largest_milliseconds": round(max(spent), 1),
    }
    lines = ["| file | read right | why |", "|---|---|---|"]
    lines += [f"| `{verdict.file}` | {'yes' if verdict.right else 'no'} | {verdict.reason} |" for verdict in told]
    print("\n".join(lines))
    if not arguments.quick:
        digest = hashlib.sha256((folder / "truth.csv").read_bytes()).hexdigest()
        head = (
            f"# Readers\n\n{figures['files_right']} of {figures['files_total']} files with an x-ray powder scan are "
            f"read with the stated points, start, stop, largest intensity and wavelength; {figures['refused_right']} "
            f"of {figures['refused_total']} without one are refused by name. Reading takes "
            f"{figures['median_milliseconds']:g} ms of processor time in the median, "
            f"{figures['largest_milliseconds']:g} ms at most. Made by `benchmarks/quality/readers.py`.\n\n"
            f"{provenance_to_line(provenance(table_digest=digest, seeds=[0]))}\n\n"
        )
        RESULTS.parent.mkdir(parents=True, exist_ok=True)
        RESULTS.write_text(head + "\n".join(lines) + "\n", encoding="utf-8")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
