"""How accurate are refined weight fractions and cells, beside the instant analysis, and are cells found by indexing?

    python benchmarks/quality/refinement.py [--collection FOLDER]    # writes docs/results/refinement.md
    python benchmarks/quality/refinement.py --quick                  # three mixtures, two cells, two patterns to index
    python benchmarks/quality/refinement.py --only mixtures          # one part; writes nothing

FOLDER (default: the environment variable XXACT_SHARED_DATA, else ../shared/data) has `experimental/labels.csv` with
measured files. The phases of the CPD round robin are given by their entry of the reference table, as `--phase` does.
JSON: `weight_error` and `instant_weight_error` are mean absolute errors [wt%], `cell_error_ppm` and
`instant_cell_error_ppm` medians of cell lengths against certified or published ones, `refine_seconds` and
`instant_seconds` medians of CPU time, `indexed` of `indexed_total` patterns have their true cell first.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the repository

import csv
import os
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from benchmarks.harness import REPOSITORY, argument_parser, finish, markdown_table
from xxact_core.compositions.formula_format import format_formula
from xxact_core.errors import InputError
from xxact_core.patterns.pattern import Pattern
from xxact_core.readers.read import read_pattern
from xxact_core.refinement.indexing import index_pattern
from xxact_core.refinement.naming import named_phases
from xxact_core.refinement.refine import refine
from xxact_core.search_match.identify import Identifier

SHARED = "XXACT_SHARED_DATA"

PHASES = {"Al2O3": 167, "ZnO": 186, "CaF2": 225, "Mg(OH)2": 164, "Fe3O4": 227, "ZrSiO4": 141, "LaB6": 221}
"""Phases by formula, with the space groups that they have in the specimens."""

ORDER = ("Al2O3", "ZnO", "CaF2")
"""Phases of the mixtures whose weights are labelled without formulas."""

CELLS = {
    "cpd_qarr/corundum.prn": ("Al2O3", (4.759091, 4.759091, 12.991779)),
    "cpd_qarr/zincite.prn": ("ZnO", (3.24982, 3.24982, 5.20661)),
    "cpd_qarr/fluorite.prn": ("CaF2", (5.46305, 5.46305, 5.46305)),
    "nist_srm/nist_srm660c_100a.cif": ("LaB6", (4.156826, 4.156826, 4.156826)),
}
"""Measured patterns and cell lengths [Å] of their material.

Source: NIST certificates of SRM 676a and 660c; JCPDS-ICDD 36-1451 (zincite) and 35-816 (fluorite). Those of the CPD
specimens themselves may differ by some 0.01 %.
"""

UNKNOWN = {
    "cpd_qarr/fluorite.prn": ("cubic", (5.463, 5.463, 5.463)),
    "nist_srm/nist_srm660c_100a.cif": ("cubic", (4.1568, 4.1568, 4.1568)),
    "cpd_qarr/corundum.prn": ("trigonal", (4.759, 4.759, 12.992)),
    "cpd_qarr/zincite.prn": ("hexagonal", (3.250, 3.250, 5.207)),
    "cpd_qarr/brucite.prn": ("hexagonal", (3.148, 3.148, 4.771)),
    "cpd_qarr/zircon.prn": ("tetragonal", (6.607, 6.607, 5.982)),
    "xred_own/CdS.csv": ("hexagonal", (4.136, 4.136, 6.713)),
    "xred_own/RuO2.csv": ("tetragonal", (4.491, 4.491, 3.107)),
    "xred_own/PbSO4.csv": ("orthorhombic", (5.40, 6.96, 8.48)),
}
"""Patterns to index, the system of their lattice, and its cell lengths [Å]. Source: labels, and AMCSD for the cells."""

SAME_LENGTH = 0.005
"""Largest relative deviation of the lengths of a right cell, before it is refined on the whole pattern."""

PARTS = ("mixtures", "cells", "indexing")


@dataclass(frozen=True)
class Mixture:
    """A weighed mixture."""

    name: str
    path: Path
    weights: dict[str, float]
    """Formula to weight fraction [wt%]."""


def read_mixtures(collection: Path) -> list[Mixture]:
    """The mixtures of the CPD round robin with their weights."""
    mixtures = []
    with (collection / "experimental" / "labels.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if not row["path"].startswith("cpd_qarr/cpd-") or "weighed wt%" not in row["notes"]:
                continue
            note = row["notes"].partition("weighed wt%")[2].partition(":")[2]
            named = {name: float(value) for name, value in re.findall(r"([A-Z][A-Za-z0-9()]*) ([0-9.]+)", note)}
            plain = re.search(r"[0-9.]+/[0-9.]+/[0-9.]+", note)
            ordered = {} if plain is None else dict(zip(ORDER, map(float, plain[0].split("/")), strict=True))
            weights = ordered | named
            mixtures.append(Mixture(row["name"], collection / "experimental" / row["path"], weights))
    return mixtures


@cache
def phase_id(identifier: Identifier, formula: str) -> str:
    """The id of a phase in the reference table: an experimental one, of the entry that most structures agree with."""
    references = identifier.references
    elements = set(re.findall(r"[A-Z][a-z]?", formula))
    rows = [
        row
        for row in references.rows_within(elements)
        if references.space_group[row] in {0, PHASES[formula]}
        and format_formula(references.formula(row)) == formula
        and references.symmetry(row)[0] == PHASES[formula]
    ]
    if not rows:
        msg = f"the reference table holds no {formula} of space group {PHASES[formula]}"
        raise LookupError(msg)
    best = min(rows, key=lambda row: (not references.experimental[row], -len(references.ids(row))))
    return str(references.id[best])


@dataclass(frozen=True)
class Outcome:
    """One refinement with its instant analysis."""

    weights: dict[str, float]
    instant: dict[str, float]
    cells: dict[str, np.ndarray]
    instant_cells: dict[str, np.ndarray]
    seconds: float
    instant_seconds: float
    r_wp: float
    warnings: tuple[str, ...]


def refine_phases(identifier: Identifier, pattern: Pattern, formulas: Sequence[str]) -> Outcome:
    """Refine phases that are given by id, as the command does."""
    ids = [phase_id(identifier, formula) for formula in formulas]
    began = time.process_time()
    named = named_phases(ids, lambda: identifier.references, pattern=pattern, wavelength="CuKa")
    between = time.process_time()
    result = refine(pattern, named.phases, wavelength="CuKa")
    ended = time.process_time()
    by_id = {phase.id: formula for phase, formula in zip(named.phases, formulas, strict=True)}
    return Outcome(
        weights={by_id[one.start.id]: 100 * one.weight_fraction for one in result.phases},
        instant={by_id[one["id"]]: 100 * one["weight_fraction"] for one in named.instant},
        cells={by_id[one.start.id]: one.cell for one in result.phases},
        instant_cells={by_id[one["id"]]: np.array(one["cell"], dtype=float) for one in named.instant},
        seconds=ended - between,
        instant_seconds=between - began,
        r_wp=result.r_wp,
        warnings=result.warnings,
    )


def measure_mixtures(identifier: Identifier, collection: Path, *, quick: bool) -> tuple[dict[str, Any], str]:
    """Weight fractions of the CPD mixtures."""
    rows, errors, instant_errors, seconds, instant_seconds = [], [], [], [], []
    mixtures = read_mixtures(collection)
    for mixture in mixtures[::4] if quick else mixtures:
        pattern = read_pattern(mixture.path, wavelength="CuKa")
        outcome = refine_phases(identifier, pattern, list(mixture.weights))
        for formula, weight in mixture.weights.items():
            errors.append(abs(outcome.weights[formula] - weight))
            instant_errors.append(abs(outcome.instant.get(formula, 0.0) - weight))
        seconds.append(outcome.seconds)
        instant_seconds.append(outcome.instant_seconds)
        shown = [
            " / ".join(f"{values.get(formula, 0.0):.1f}" for formula in mixture.weights)
            for values in (mixture.weights, outcome.weights, outcome.instant)
        ]
        rows.append((mixture.name, " / ".join(mixture.weights), *shown, f"{outcome.seconds:.1f}"))
        print(" | ".join(rows[-1]), file=sys.stderr, flush=True)
    figures = {
        "weight_error": float(np.mean(errors)),
        "instant_weight_error": float(np.mean(instant_errors)),
        "refine_seconds": float(np.median(seconds)),
        "instant_seconds": float(np.median(instant_seconds)),
    }
    header = ("mixture", "phases", "weighed [wt%]", "refined", "instant analysis", "CPU time of the refinement [s]")
    return figures, "## Weight fractions\n\n" + markdown_table(header, rows)


def measure_cells(identifier: Identifier, collection: Path, *, quick: bool) -> tuple[dict[str, Any], str]:
    """Cells of single phases."""
    rows, errors, instant_errors = [], [], []
    for path, (formula, lengths) in list(CELLS.items())[: 2 if quick else None]:
        pattern = read_pattern(collection / "experimental" / path, wavelength="CuKa")
        outcome = refine_phases(identifier, pattern, [formula])
        deviations = [
            [1e6 * (cells[formula][axis] / lengths[axis] - 1) for axis in (0, 2)]
            for cells in (outcome.cells, outcome.instant_cells)
        ]
        errors += np.abs(deviations[0]).tolist()
        instant_errors += np.abs(deviations[1]).tolist()
        shown = [f"{a:+.0f} / {c:+.0f}" for a, c in deviations]
        rows.append(
            (Path(path).name, formula, f"{lengths[0]:.5f} / {lengths[2]:.5f}", *shown, f"{100 * outcome.r_wp:.1f}")
        )
        print(" | ".join(rows[-1]), file=sys.stderr, flush=True)
    figures = {"cell_error_ppm": float(np.median(errors)), "instant_cell_error_ppm": float(np.median(instant_errors))}
    header = ("pattern", "phase", "a / c [Å]", "refined: deviation [ppm]", "instant analysis [ppm]", "R_wp [%]")
    return figures, "## Cells\n\n" + markdown_table(header, rows)


def measure_indexing(_identifier: Identifier, collection: Path, *, quick: bool) -> tuple[dict[str, Any], str]:
    """Cells of patterns whose phase is not used."""
    rows, right = [], 0
    chosen = list(UNKNOWN.items())[: 2 if quick else None]
    for path, (system, lengths) in chosen:
        pattern = read_pattern(collection / "experimental" / path, wavelength="CuKa")
        began = time.process_time()
        try:
            found = index_pattern(pattern, wavelength="CuKa", seconds=180)
        except InputError as error:
            rows.append((Path(path).name, system, str(error), "", "", ""))
            continue
        seconds = time.process_time() - began
        places = [
            place
            for place, one in enumerate(found.lattices, start=1)
            if np.allclose(np.sort(one.lattice.cell[:3]), np.sort(lengths), rtol=SAME_LENGTH)
        ]
        right += places[:1] == [1]
        best = found.lattices[0] if found.lattices else None
        cell = (
            "-"
            if best is None
            else f"{best.lattice.system} {best.lattice.centring}: "
            + " ".join(f"{value:.3f}" for value in best.lattice.cell[:3])
        )
        merit = "-" if best is None else f"{best.figure_of_merit:.0f}"
        indexed = "-" if best is None else f"{best.indexed} / {best.peaks}"
        place = str(places[0]) if places else "-"
        rows.append(
            (Path(path).name, f"{system}: {' '.join(map(str, lengths))}", cell, merit, indexed, place, f"{seconds:.0f}")
        )
        print(" | ".join(rows[-1]), file=sys.stderr, flush=True)
    header = (
        "pattern",
        "true cell",
        "first cell found",
        "M20",
        "peaks indexed",
        "place of the true one",
        "CPU time [s]",
    )
    return {"indexed": right, "indexed_total": len(chosen)}, "## Indexing\n\n" + markdown_table(header, rows)


def main() -> None:
    """Measure, print, and write the page unless --quick is given."""
    parser = argument_parser(__doc__)
    default = Path(os.environ.get(SHARED, REPOSITORY.parent / "shared" / "data"))
    parser.add_argument("--collection", type=Path, default=default, help="measured patterns and their labels")
    parser.add_argument("--reference", type=Path, help="another reference table")
    parser.add_argument("--only", action="append", choices=PARTS, help="only this part; writes nothing")
    arguments = parser.parse_args()
    identifier = Identifier.load(arguments.reference)
    parts: dict[str, Callable[..., tuple[dict[str, Any], str]]] = {
        "mixtures": measure_mixtures,
        "cells": measure_cells,
        "indexing": measure_indexing,
    }
    figures: dict[str, Any] = {}
    texts = []
    for name, measure in parts.items():
        if not arguments.only or name in arguments.only:
            found, text = measure(identifier, arguments.collection, quick=arguments.quick)
            figures |= found
            texts.append(text)
    finish(
        __file__,
        "\n\n".join(texts),
        figures,
        quick=arguments.quick or bool(arguments.only),
        title="Refinement and indexing",
        introduction="Rietveld refinement of phases given by id, from cells that the instant analysis fits, on "
        "measured patterns of weighed mixtures and of materials of known cell; and indexing of measured patterns.",
        data_digest=identifier.references.digest,
        seed=0,
    )


if __name__ == "__main__":
    main()
