"""Known materials without elements: does the index of lines propose the right one, and is it named?

    python benchmarks/quality/identify.py [--labels LABELS] [--cache FOLDER] [--quick]

LABELS is a table as in benchmarks/quality/measured.py; asked are its single phases whose formula and space group the
known materials hold, once with all their elements and once without any. FOLDER keeps the index of all known
materials, which takes minutes to build (default: the user's cache). --quick takes the first files of
LABELS, their materials and a few hundred others. The last line printed is a JSON object.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the repository

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pyarrow import parquet

from benchmarks.quality.measured import EXAMPLES, QUICK, holds, is_single, read_file, read_labels
from xxact_core.compositions.formula import parse_formula
from xxact_core.compositions.formula_format import format_formula
from xxact_core.evaluation.provenance import provenance, provenance_to_line
from xxact_core.patterns.pattern import Pattern
from xxact_core.processing.gridding import put_on_grid
from xxact_core.search_match.fit import pattern_to_profile
from xxact_core.search_match.identify import PROPOSED, Identification, Identifier
from xxact_core.search_match.peak_index import open_index
from xxact_core.shipped import TABLE as SHIPPED_TABLE
from xxact_core.shipped import shipped_path

REPOSITORY = Path(__file__).resolve().parents[2]
RESULTS = REPOSITORY / "docs" / "results" / "identify.md"
OTHERS = 500
"""Materials beside those of the patterns that are asked, where time is short."""


@dataclass(frozen=True)
class Asked:
    """Places of the true material, 0 the first: with elements and without, None where it is not among the ten named.

    proposed: place among all materials in the order of the index. seconds: that a question without elements took.
    """

    name: str
    with_elements: int | None
    without: int | None
    proposed: int
    seconds: float


def few_materials(folder: Path, formulas: Sequence[str]) -> Path:
    """A table of the materials of the elements of some formulas, and some others."""
    references = Identifier.load().references
    rows = [references.rows_within(parse_formula(formula).symbols) for formula in formulas]
    parquet.write_table(
        parquet.read_table(shipped_path(SHIPPED_TABLE)).take(np.unique(np.concatenate([*rows, np.arange(OTHERS)]))),
        folder / "few.parquet",
    )
    return folder / "few.parquet"


def place_of(found: Identification, target: tuple[str, int]) -> int | None:
    """Place of a formula and space group among those named."""
    names = [(one.formula, one.space_group) for one in found.neighbours]
    return names.index(target) if target in names else None


def ask(pattern: Pattern, formula: str, space_group: int, identifier: Identifier) -> Asked:
    """Ask for a material with its elements and without."""
    composition = parse_formula(formula)
    target = (format_formula(composition), space_group)
    known = identifier.references
    same = [row for row in known.rows_within(composition.symbols) if known.formula(int(row)) == target[0]]
    same = [row for row in same if known.symmetry(int(row))[0] == space_group]
    profile = pattern_to_profile(put_on_grid(pattern, override_coverage=True))
    order = open_index(known, folder=identifier.cache).nearest(profile, count=len(known))
    with_elements = place_of(identifier.identify(pattern, elements=composition.symbols), target)
    began = time.perf_counter()
    without = place_of(identifier.identify(pattern), target)
    seconds = time.perf_counter() - began
    return Asked(target[0], with_elements, without, int(np.flatnonzero(np.isin(order, same))[0]), seconds)


def share(places: Sequence[int | None], first: int) -> float:
    """Of places that are among the first so many (0-1)."""
    return float(np.mean([place is not None and place < first for place in places]))


def main() -> None:
    """Ask, print, and write the page unless in a hurry."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=Path, default=EXAMPLES)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    rows = [row for row in read_labels(arguments.labels) if is_single(row)][: QUICK if arguments.quick else None]
    with tempfile.TemporaryDirectory() as folder:
        table, cache = None, arguments.cache
        if arguments.quick:
            table, cache = few_materials(Path(folder), [row["formula"] for row in rows]), Path(folder)
        identifier = Identifier.load(table, cache=cache)
        asked = []
        for row in rows:
            pattern = read_file(row, arguments.labels.parent)
            if pattern is not None and holds(identifier, row["formula"], int(row["space_group"])):
                asked.append(ask(pattern, row["formula"], int(row["space_group"]), identifier))
                print(asked[-1])
        materials = len(identifier.references)
    named = {"with_elements": [one.with_elements for one in asked], "without": [one.without for one in asked]}
    figures = {
        "patterns": len(asked),
        **{f"{how}_top{first}": share(places, first) for how, places in named.items() for first in (1, 5)},
        "proposed": share([one.proposed for one in asked], PROPOSED),
        "median_place_in_index": float(np.median([one.proposed + 1 for one in asked])),
        "seconds": float(np.median([one.seconds for one in asked])),
    }
    lines = ["| known material | right first | among the first five |", "|---|---|---|"]
    for how, label in (("with_elements", "all elements given"), ("without", "none given")):
        lines.append(f"| {label} | {figures[f'{how}_top1']:.0%} | {figures[f'{how}_top5']:.0%} |")
    told = (
        f"Without elements, the {PROPOSED} materials are compared that the index of lines proposes: for "
        f"{figures['proposed']:.0%} of the patterns the true one is among them. Its median place in the order of the "
        f"index is {figures['median_place_in_index']:.0f} of {materials:,}. A question without elements takes "
        f"{figures['seconds']:.1f} s once the index is there."
    )
    lines += ["", told]
    print("\n".join(lines))
    if not arguments.quick:
        head = f"# Known materials without elements\n\n{len(asked)} measured single phases of "
        head += f"`{arguments.labels.name}` whose formula and space group the table holds. "
        head += "Made by `benchmarks/quality/identify.py`.\n\n"
        line = provenance_to_line(provenance(table_digest=identifier.references.digest, seeds=[0]))
        RESULTS.write_text(f"{head}{line}\n\n" + "\n".join(lines) + "\n", encoding="utf-8")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
