"""Is the right reference material found without knowing the elements?

    python benchmarks/quality/identify.py [--labels LABELS] [--cache FOLDER]    # writes docs/results/identify.md
    python benchmarks/quality/identify.py --quick    # first files, a few hundred materials; writes nothing

LABELS is a table as for `benchmarks/quality/measured.py`. Its single phases whose formula and space group are in the
reference table are searched for once with all their elements given and once without. FOLDER keeps the peak index of all
reference materials, which takes minutes to build (default: the user's cache).
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the repository

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pyarrow import parquet

from benchmarks.harness import argument_parser, finish, markdown_table
from benchmarks.quality.measured import LABELS, QUICK, holds, is_single, read_file, read_labels
from xxact_core.compositions.formula import parse_formula
from xxact_core.compositions.formula_format import format_formula
from xxact_core.patterns.pattern import Pattern
from xxact_core.processing.gridding import put_on_grid
from xxact_core.search_match.fit import pattern_to_distribution
from xxact_core.search_match.identify import PROPOSED, Identification, Identifier
from xxact_core.search_match.peak_index import open_index
from xxact_core.shipped import TABLE as SHIPPED_TABLE
from xxact_core.shipped import shipped_path

OTHERS = 500
"""Other materials in the reference table with `--quick`."""


@dataclass(frozen=True)
class Ranks:
    """Ranks of the true material, 0 the best; None where it is not among the matches."""

    name: str
    with_elements: int | None
    """With all elements given."""

    without: int | None
    """Without elements."""

    proposed: int
    """Among all materials in the order of the peak index."""

    seconds: float
    """Wall time of the search without elements."""


def few_materials(folder: Path, formulas: Sequence[str]) -> Path:
    """A reference table of the materials within the elements of some formulas, and some others."""
    references = Identifier.load().references
    rows = [references.rows_within(parse_formula(formula).symbols) for formula in formulas]
    parquet.write_table(
        parquet.read_table(shipped_path(SHIPPED_TABLE)).take(np.unique(np.concatenate([*rows, np.arange(OTHERS)]))),
        folder / "few.parquet",
    )
    return folder / "few.parquet"


def place_of(found: Identification, target: tuple[str, int]) -> int | None:
    """Rank of a formula and space group among the matches."""
    names = [(one.formula, one.space_group) for one in found.matches]
    return names.index(target) if target in names else None


def search(pattern: Pattern, formula: str, space_group: int, identifier: Identifier) -> Ranks:
    """Search for a material with its elements given and without."""
    composition = parse_formula(formula)
    target = (format_formula(composition), space_group)
    known = identifier.references
    same = [row for row in known.rows_within(composition.symbols) if known.formula(int(row)) == target[0]]
    same = [row for row in same if known.symmetry(int(row))[0] == space_group]
    profile = pattern_to_distribution(put_on_grid(pattern, override_coverage=True))
    order = open_index(known, folder=identifier.cache).nearest(profile, count=len(known))
    with_elements = place_of(identifier.identify(pattern, elements=composition.symbols), target)
    began = time.perf_counter()
    without = place_of(identifier.identify(pattern), target)
    seconds = time.perf_counter() - began
    return Ranks(target[0], with_elements, without, int(np.flatnonzero(np.isin(order, same))[0]), seconds)


def share(places: Sequence[int | None], first: int) -> float:
    """Fraction of ranks below `first` (0-1)."""
    return float(np.mean([place is not None and place < first for place in places]))


def main() -> None:
    """Search, print, and write the page unless --quick is given."""
    parser = argument_parser(__doc__)
    parser.add_argument("--labels", type=Path, default=LABELS, help="table of measured files")
    parser.add_argument("--cache", type=Path, metavar="FOLDER", help="where the peak index is kept")
    arguments = parser.parse_args()
    rows = [row for row in read_labels(arguments.labels) if is_single(row)][: QUICK if arguments.quick else None]
    with tempfile.TemporaryDirectory() as folder:
        table, cache = None, arguments.cache
        if arguments.quick:
            table, cache = few_materials(Path(folder), [row["formula"] for row in rows]), Path(folder)
        identifier = Identifier.load(table, cache=cache)
        ranks = []
        for row in rows:
            pattern = read_file(row, arguments.labels.parent)
            if pattern is not None and holds(identifier, row["formula"], int(row["space_group"])):
                ranks.append(search(pattern, row["formula"], int(row["space_group"]), identifier))
                print(ranks[-1], file=sys.stderr)
        materials = len(identifier.references)
    named = {"with_elements": [one.with_elements for one in ranks], "without": [one.without for one in ranks]}
    figures = {
        "patterns": len(ranks),
        **{f"{how}_top{first}": share(places, first) for how, places in named.items() for first in (1, 5)},
        "proposed": share([one.proposed for one in ranks], PROPOSED),
        "median_place_in_index": float(np.median([one.proposed + 1 for one in ranks])),
        "seconds": float(np.median([one.seconds for one in ranks])),
    }
    labels = {"with_elements": "all elements given", "without": "no elements given"}
    table_of_ranks = markdown_table(
        ["search-match", "top-1 accuracy", "top-5 accuracy"],
        [[label, f"{figures[f'{how}_top1']:.0%}", f"{figures[f'{how}_top5']:.0%}"] for how, label in labels.items()],
    )
    text = (
        f"Without elements, the peak index proposes {PROPOSED} candidates, which are then fitted; for "
        f"{figures['proposed']:.0%} of the patterns the true material is among them. Its median rank in the index is "
        f"{figures['median_place_in_index']:.0f} of {materials:,}. A search without elements takes "
        f"{figures['seconds']:.1f} s once the index exists."
    )
    finish(
        __file__,
        f"{table_of_ranks}\n\n{text}",
        figures,
        quick=arguments.quick,
        title="Search-match without elements",
        introduction=f"{len(ranks)} measured single phases of `{arguments.labels.name}` whose formula and space "
        "group are in the reference table.",
        data_digest=identifier.references.digest,
    )


if __name__ == "__main__":
    main()
