"""The shipped checkpoint beside what costs nothing: test metrics on the formula split, and two baselines.

    python benchmarks/shipped_checkpoint.py                  measure the shipped checkpoint again
    python benchmarks/shipped_checkpoint.py --ship RUN       make RUN's model the shipped one, then measure it
    python benchmarks/shipped_checkpoint.py --quick          a look at it, on a 600-row data set

The data set is the shipped table's, in the folder `--dataset`, where it is made if it is not there yet. Without --quick
the tables in docs/results, in the model card and in README are written anew. The last line printed is a JSON object.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import torch

from xxact_core.checkpoint import SHIPPED, Checkpoint, load_checkpoint, save_checkpoint
from xxact_core.dataset.batches import BatchMaker
from xxact_core.dataset.build import BuildPlan, build_dataset
from xxact_core.dataset.table import StickTable, read_dataset
from xxact_core.evaluation.baselines import constant_baseline, tree_baseline
from xxact_core.evaluation.calibration import coverage_metrics
from xxact_core.evaluation.evaluate import metrics_of, predict_rows, silhouettes
from xxact_core.evaluation.labelled import predictions_to_labelled
from xxact_core.patterns.distortions import Distortions

REPOSITORY = Path(__file__).resolve().parents[1]
TABLE = REPOSITORY / "data" / "materials_project.parquet"
RESULTS = REPOSITORY / "docs" / "results" / "shipped_checkpoint.md"
PAGES = (REPOSITORY / "README.md", REPOSITORY / "docs" / "model_card.md")
METRICS = re.compile(r"(<!-- metrics.*? -->\n).*?(<!-- /metrics -->)", re.DOTALL)

ROWS = (
    ("formation_energy_per_atom_mae_mev_per_atom", "formation energy, MAE [meV/atom]", 1),
    ("band_gap_mae_ev", "band gap, MAE [eV]", 3),
    ("crystal_system_accuracy", "crystal system, accuracy", 3),
    ("crystal_system_class_mean_accuracy", "crystal system, class-mean accuracy", 3),
    ("space_group_accuracy", "space group, accuracy", 3),
    ("space_group_class_mean_accuracy", "space group, class-mean accuracy", 3),
)
COLUMNS = {
    "model": "this model",
    "model_distorted": "this model, distorted patterns",
    "constant": "training mean / majority",
    "trees_visible_lines": "ExtraTrees, lines > 1 %",
    "trees_all_sticks": "ExtraTrees, every stick (not measurable)",
}


def measure(checkpoint: Checkpoint, table: StickTable, *, split: str) -> dict[str, dict[str, float]]:
    """Metrics of the model on ideal and on distorted patterns of a split, with coverage of its intervals."""
    torch.set_num_threads(1)
    rows = table.rows(split)
    temperatures = {name: fit["temperature"] for name, fit in checkpoint.calibration.items() if "temperature" in fit}
    measured = {}
    for title, distortions in (("model", None), ("model_distorted", replace(Distortions(), share=1.0))):
        maker = BatchMaker(table, device=torch.device("cpu"), distortions=distortions)
        predictions = predict_rows(checkpoint.model, maker, rows, checkpoint.statistics)
        metrics = metrics_of(predictions, table, temperatures=temperatures)
        labelled = predictions_to_labelled(predictions, table, temperatures=temperatures)
        metrics |= coverage_metrics(labelled, checkpoint.calibration)
        scores = silhouettes(predictions.embedding, table.targets["crystal_system"][rows])
        metrics |= {f"silhouette_{name}": score for name, score in scores.items()}
        measured[title] = metrics
    return measured


def baselines(table: StickTable) -> dict[str, dict[str, float]]:
    """What a user would have without a model, on the same split."""
    return {
        "constant": constant_baseline(table),
        "trees_visible_lines": tree_baseline(table, weakest=1.0, jobs=2),
        "trees_all_sticks": tree_baseline(table, weakest=0.0, jobs=2),
    }


def ship(checkpoint: Checkpoint, measured: dict, compared: dict) -> None:
    """Write a checkpoint to the package in half precision, with its metrics."""
    about = {
        **checkpoint.about,
        "test_metrics": measured["model"],
        "test_metrics_distorted": measured["model_distorted"],
        "baselines": compared,
    }
    shutil.rmtree(SHIPPED, ignore_errors=True)
    SHIPPED.mkdir(parents=True)
    save_checkpoint(SHIPPED, replace(checkpoint, about=about), dtype=torch.bfloat16)


def to_table(columns: dict[str, dict[str, float]]) -> str:
    """A Markdown table of the metrics that a user compares."""
    lines = [
        "| test split | " + " | ".join(COLUMNS[name] for name in columns) + " |",
        "|---" * (len(columns) + 1) + "|",
    ]
    for name, label, digits in ROWS:
        cells = [f"{metrics[name]:.{digits}f}" if name in metrics else "" for metrics in columns.values()]
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def read_or_build(folder: Path, *, quick: bool) -> StickTable:
    """The data set of the shipped table, made on the first call; of its first 600 materials if `quick`."""
    plan = BuildPlan(source=str(TABLE), limit=600, shard_rows=300) if quick else BuildPlan(source=str(TABLE))
    build_dataset(plan, folder, workers=2, progress=not quick)
    return read_dataset(folder)


def write_pages(columns: dict[str, dict[str, float]], table: StickTable) -> None:
    """The results page, and the table between the marks of README and model card."""
    about = load_checkpoint().about
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    head = f"# The shipped checkpoint\n\nData digest `{table.digest}`, seed {about['seed']}, recipe "
    head += f"`{about['recipe']['name']}`, {about['parameters']:,} parameters, {len(table.rows('test')):,} test "
    head += "materials, split by reduced formula. Made by `benchmarks/shipped_checkpoint.py`.\n\n"
    RESULTS.write_text(head + to_table(columns) + "\n", encoding="utf-8")
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        filled = METRICS.sub(lambda mark: f"{mark[1]}\n{to_table(columns)}\n\n{mark[2]}", text)
        page.write_text(filled, encoding="utf-8")


def main() -> None:
    """Measure, compare, print, and write the pages unless in a hurry."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=Path, default=REPOSITORY / "build" / "materials_project")
    parser.add_argument("--ship", type=Path, metavar="RUN", help="run folder whose model becomes the shipped one")
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    if arguments.quick:
        with tempfile.TemporaryDirectory() as scratch:
            table = read_or_build(Path(scratch) / "dataset", quick=True)
    else:
        table = read_or_build(arguments.dataset, quick=False)
    compared = baselines(table)
    if arguments.ship:
        # Halved weights are what ships, so they are what is measured.
        checkpoint = load_checkpoint(arguments.ship / "model")
        ship(checkpoint, {"model": {}, "model_distorted": {}}, compared)
    measured = measure(load_checkpoint(), table, split="test")
    columns = {**measured, **compared}
    print(to_table(columns))
    if not arguments.quick:
        ship(load_checkpoint(), measured, compared)
        write_pages(columns, table)
    print(json.dumps(columns))


if __name__ == "__main__":
    main()
