"""Which claims of the paper hold on 100,000 materials? Pages of results from a folder of finished runs.

    xxact paper all DATA/teacher RUNS --dft DATA/dft --processes 2     train, for about a day on two cores
    paper.py --runs RUNS --dataset DATA/teacher                        write the pages
    paper.py --quick                                                   train three tiny models, write nothing

Written are `docs/results/paper_claims.md`, the tables, the figures and their data. Nothing is trained without --quick.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the repository

import tempfile
from collections import Counter

from benchmarks.harness import REPOSITORY, RESULTS, argument_parser, finish, standard_dataset
from xxact_core.dataset.table import read_dataset
from xxact_core.paper.claims import folder_to_claims
from xxact_core.paper.claims_text import claims_to_markdown
from xxact_core.paper.figures import FigureData, figure_data
from xxact_core.paper.layouts import FIGURES, TABLES
from xxact_core.paper.pages import write_figure
from xxact_core.paper.runs import run_experiments, write_materials
from xxact_core.paper.tables import finished_runs, folder_to_table
from xxact_core.paper.texts import rows_to_text, table_to_text, write_text

IMAGES = REPOSITORY / "docs" / "images"
QUICK_RUNS = ("crabnet-crystal-system", "xrd-transformer-crystal-system", "xxact-crystal-system")
QUICK_SETTINGS = {"epochs": 1.0, "batch_size": 64, "validation_rows": 64, "threads": 1}

_ABOUT_FIGURES = """# Figures of the paper

From the runs behind the [claims](paper_claims.md). `xxact paper figure N RUNS --output figureN.html` writes a page with
values under the pointer, `.pdf` and `.svg` are for print. Written by `benchmarks/quality/paper.py`."""

FEWEST_RUNS = 2
"""Fewest experiments of a figure that compares models."""

LARGE = 2
"""Figure of thousands of points: a PNG is smaller than vectors, and its data are not kept."""


def write_results(folder: Path, dataset: Path) -> None:
    """Write the tables and figures of a folder of runs into `docs`."""
    for number in TABLES:
        table, path = folder_to_table(number, folder), RESULTS / f"paper_table_{number}.md"
        if table.about["seeds"]:
            write_text(path, table_to_text(table, suffix=".md"))
        else:
            path.unlink(missing_ok=True)
    sections = [_ABOUT_FIGURES]
    for number, names in FIGURES.items():
        finished = [name for name in names if finished_runs(folder, name)]
        if names and len(finished) < FEWEST_RUNS:
            sections.append(
                f"## Figure {number}\n\nMissing: {', '.join(name for name in names if name not in finished)}."
            )
        else:
            sections.append(_write_figure(figure_data(number, folder if names else dataset)))
    write_text(RESULTS / "paper_figures.md", "\n\n".join(sections) + "\n")


def _write_figure(data: FigureData) -> str:
    """Write the image and the data of a figure; returns its section."""
    suffix = ".png" if data.number == LARGE else ".svg"
    name = f"paper_figure_{data.number}"
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / f"figure{suffix}"
        write_figure(data, made)
        IMAGES.mkdir(exist_ok=True)
        (IMAGES / f"{name}{suffix}").write_bytes(made.read_bytes())
    lines = [f"## Figure {data.number}: {data.title}", "", f"![{_describe(data)}](../images/{name}{suffix})"]
    if data.number != LARGE:
        write_text(RESULTS / f"{name}.csv", rows_to_text(data.rows, data.about, suffix=".csv"))
        lines += ["", f"[Data]({name}.csv)"]
    return "\n".join(lines)


def _describe(data: FigureData) -> str:
    """What a figure shows, for those who do not see it."""
    if data.number == LARGE:
        silhouettes = ", ".join(f"{panel} {value:.2f}" for panel, value in data.about["silhouette"].items())
        return f"Two principal components of embeddings, coloured by crystal system; silhouettes: {silhouettes}"
    return f"{data.title}; the numbers are in the data below"


def main() -> None:
    """Write the pages, or try the way there on a few materials."""
    parser = argument_parser(__doc__, dataset=True)
    parser.add_argument("--runs", type=Path, help="Folder of runs of `xxact paper all`.")
    arguments = parser.parse_args()
    if not arguments.quick and arguments.runs is None:
        parser.error("--runs is missing: the folder of runs of `xxact paper all`")
    with tempfile.TemporaryDirectory() as scratch, standard_dataset(arguments) as dataset:
        folder = arguments.runs or Path(scratch)
        if arguments.quick:
            write_materials(dataset, folder)
            for _ in run_experiments(QUICK_RUNS, dataset, folder, size="tiny", seeds=1, settings=QUICK_SETTINGS):
                pass
        else:
            write_results(folder, dataset)
        claims = folder_to_claims(folder)
        text = claims_to_markdown(claims, folder).partition("\n\n")[2]
        finish(
            __file__,
            text,
            dict(Counter(claim.verdict for claim in claims)),
            quick=arguments.quick,
            title="Claims of the paper",
            introduction="[The paper](../explanation/reproducing-the-paper.md) on 100,000 polymorphs of many formulas.",
            data_digest=read_dataset(dataset, resident=False).digest,
            page="paper_claims",
        )


if __name__ == "__main__":
    main()
