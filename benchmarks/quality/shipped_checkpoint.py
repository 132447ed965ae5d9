"""The shipped checkpoint beside what it is held against: test metrics on the formula split.

    shipped_checkpoint.py                      measure the shipped checkpoint again
    shipped_checkpoint.py --ship RUN           make RUN's model the shipped one, then measure it
    shipped_checkpoint.py --baseline NAME=RUN  measure RUN's model, too, and keep it as a baseline
    shipped_checkpoint.py --quick              measure it on 600 materials

--baseline may be given several times. Baselines that were measured before on the same data set are kept with the
checkpoint, so that each has to be measured only once; what costs nothing (the training mean, trees on calculated lines)
is measured anew where it is missing.

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

import numpy as np
import torch

from xxact_core.augmentation.config import Distortions
from xxact_core.checkpoint import Checkpoint, describe_checkpoint, load_checkpoint, save_checkpoint
from xxact_core.dataset.building.build import BuildPlan, build_dataset
from xxact_core.dataset.loading.batches import BatchMaker
from xxact_core.dataset.table import StickTable, read_dataset
from xxact_core.errors import InputError
from xxact_core.evaluation.baselines import constant_baseline, formula_baseline, tree_baseline
from xxact_core.evaluation.calibration import coverage_metrics
from xxact_core.evaluation.evaluate import metrics_of, predict_rows, silhouettes
from xxact_core.evaluation.labelled import predictions_to_labelled
from xxact_core.evaluation.provenance import provenance, provenance_to_line
from xxact_core.shipped import CHECKPOINT, shipped_path

REPOSITORY = Path(__file__).resolve().parents[2]
TABLE = REPOSITORY / "xxact_core" / "data" / "materials_project.parquet"
RESULTS = REPOSITORY / "docs" / "results" / "shipped_checkpoint.md"
README_ROWS = ("model", "model_distorted", "constant", "trees_visible_lines", "crabnet", "xrd-transformer", "fcn-mlp")
"""What README shows; the model card has every row."""

PAGES = {REPOSITORY / "README.md": README_ROWS, REPOSITORY / "docs" / "explanation" / "model-card.md": None}
"""Pages with a table between marks, and the rows that it shows; None for all."""

METRICS = re.compile(r"(<!-- metrics.*? -->\n).*?(<!-- /metrics -->)", re.DOTALL)

LARGEST = 16_000_000
"""Bytes of a checkpoint that ships."""

ROWS = (
    ("formation_energy_per_atom_mae_mev_per_atom", "formation energy, MAE [meV/atom]", 1),
    ("band_gap_mae_ev", "band gap, MAE [eV]", 3),
    ("crystal_system_accuracy", "crystal system, accuracy", 3),
    ("crystal_system_class_mean_accuracy", "crystal system, class-mean accuracy", 3),
    ("space_group_accuracy", "space group, accuracy", 3),
    ("space_group_class_mean_accuracy", "space group, class-mean accuracy", 3),
    ("crystal_system_calibration_error", "crystal system, calibration error", 3),
)
COLUMNS = {
    "model": "this model",
    "model_distorted": "this model, distorted patterns",
    "forgetful": "without its memory",
    "forgetful_distorted": "without its memory, distorted patterns",
    "forgetful_training": "without its memory, as many training materials",
    "constant": "training mean / majority",
    "formula": "bound: the test split's own median / majority of the formula",
    "trees_visible_lines": "ExtraTrees, lines > 1 %",
    "trees_all_sticks": "ExtraTrees, every stick (not measurable)",
    "extra-trees": "ExtraTrees of the recipe",
    "crabnet": "CrabNet, composition alone, 15.5 epochs",
    "crabnet-energy": "CrabNet for the formation energy alone, 3 epochs",
    "crabnet-deep": "CrabNet with deep heads, 8 epochs",
    "crabnet-deep-energy": "CrabNet with a deep head for the formation energy alone, 8 epochs",
    "xrd-transformer": "XRD transformer, pattern alone, 2 epochs",
    "small": "XxaCT as in the paper, preset `small`, 2 epochs",
    "fcn": "FCN, pattern alone, 1 epoch",
    "fcn-mlp": "FCN + MLP, 1 epoch",
}


def measure(
    checkpoint: Checkpoint, table: StickTable, *, distortions: Distortions | None = None, rows: np.ndarray | None = None
) -> dict[str, float]:
    """Metrics of a model on the test split or `rows`, ideal patterns or distorted, with coverage of intervals."""
    rows = table.rows("test") if rows is None else rows
    temperatures = {name: fit["temperature"] for name, fit in checkpoint.calibration.items() if "temperature" in fit}
    maker = BatchMaker(table, device=torch.device("cpu"), distortions=distortions)
    predictions = predict_rows(checkpoint.model, maker, rows, checkpoint.statistics)
    metrics = metrics_of(predictions, table, temperatures=temperatures)
    labelled = predictions_to_labelled(predictions, table, temperatures=temperatures)
    metrics |= coverage_metrics(labelled, checkpoint.calibration)
    scores = silhouettes(predictions.embedding, table.targets["crystal_system"][rows])
    return metrics | {f"silhouette_{name}": score for name, score in scores.items()}


def measure_all(checkpoint: Checkpoint, table: StickTable) -> dict[str, dict[str, float]]:
    """The same on ideal patterns, and with every pattern distorted; then what the model would be without its memory.

    Last, what it would know of training materials: how much of what it knows of them it learned by heart.
    """
    distorted = replace(Distortions(), share=1.0)
    measured = {
        "model": measure(checkpoint, table),
        "model_distorted": measure(checkpoint, table, distortions=distorted),
    }
    if checkpoint.model.memory is None:
        return measured
    memory, checkpoint.model.memory = checkpoint.model.memory, None
    training, size = table.rows("train"), len(table.rows("test"))
    some = np.sort(np.random.default_rng(0).choice(training, min(size, len(training)), replace=False))
    measured["forgetful"] = measure(checkpoint, table)
    measured["forgetful_distorted"] = measure(checkpoint, table, distortions=distorted)
    measured["forgetful_training"] = measure(checkpoint, table, rows=some)
    checkpoint.model.memory = memory
    for name in ("forgetful", "forgetful_distorted", "forgetful_training"):
        del measured[name]["crystal_system_calibration_error"]  # the temperature is of the model with its memory
    return measured


def baselines(table: StickTable, runs: dict[str, Path], kept: dict[str, dict]) -> dict[str, dict[str, float]]:
    """What a user would have without the model, on the same split; `kept` need not be measured again.

    Raises:
        InputError: a run was trained on another data set or split, so that it may know the test materials.
    """
    costs_nothing = {
        "constant": constant_baseline,
        "formula": formula_baseline,
        "trees_visible_lines": lambda table: tree_baseline(table, weakest=1.0, jobs=2),
        "trees_all_sticks": lambda table: tree_baseline(table, weakest=0.0, jobs=2),
    }
    measured = {name: kept[name] if name in kept else of(table) for name, of in costs_nothing.items()} | kept
    for name, run in runs.items():
        checkpoint = load_checkpoint(run / "model")
        about = checkpoint.about
        if about["data_digest"] != table.digest or about["recipe"]["split_by"] != "formula":
            msg = f"{run} was trained on {about['data_digest'][:12]} split by {about['recipe']['split_by']}; "
            msg += f"expected {table.digest[:12]} split by formula"
            raise InputError(msg)
        measured[name] = measure(checkpoint, table)
    return measured


def kept_baselines(table: StickTable) -> dict[str, dict[str, float]]:
    """What the shipped checkpoint knows of baselines, where it was measured on this data set."""
    about = describe_checkpoint(shipped_path(CHECKPOINT))["about"]
    measured_on = about.get("measured", about).get("data_digest")
    return dict(about.get("baselines", {})) if measured_on == table.digest else {}


def ship(checkpoint: Checkpoint, measured: dict, compared: dict, *, digest: str) -> None:
    """Write a checkpoint to the package in half precision, with its metrics."""
    about = {
        **checkpoint.about,
        "test_metrics": measured["model"],
        "test_metrics_distorted": measured["model_distorted"],
        "baselines": compared,
        "measured": provenance(table_digest=digest, seeds=[checkpoint.about["seed"]]),
    }
    part = shipped_path(CHECKPOINT).with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    save_checkpoint(part, replace(checkpoint, about=about), dtype=torch.bfloat16)
    size = sum(file.stat().st_size for file in part.iterdir())
    if size > LARGEST:
        msg = f"{part} takes {size:,} bytes; what ships takes {LARGEST:,} at most"
        raise InputError(msg)
    shutil.rmtree(shipped_path(CHECKPOINT), ignore_errors=True)
    part.replace(shipped_path(CHECKPOINT))


def to_table(columns: dict[str, dict[str, float]]) -> str:
    """A Markdown table of the metrics that a user compares, a line a model."""
    lines = ["| test split | " + " | ".join(label for _, label, _ in ROWS) + " |", "|---" * (len(ROWS) + 1) + "|"]
    for column, metrics in columns.items():
        cells = [f"{metrics[name]:.{digits}f}" if name in metrics else "" for name, _, digits in ROWS]
        lines.append(f"| {COLUMNS.get(column, column)} | " + " | ".join(cells) + " |")
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
    head = f"# The shipped checkpoint\n\n{provenance_to_line(about['measured'])}\n\n"
    head += f"Recipe `{about['recipe']['name']}`, {about['parameters']:,} parameters, {len(table.rows('test')):,} test "
    head += "materials, split by reduced formula. Made by `benchmarks/quality/shipped_checkpoint.py`.\n\n"
    RESULTS.write_text(head + to_table(columns) + "\n", encoding="utf-8")
    for page, rows in PAGES.items():
        shown = to_table({name: columns[name] for name in rows or columns})
        text = page.read_text(encoding="utf-8")
        page.write_text(
            METRICS.sub(lambda mark, shown=shown: f"{mark[1]}\n{shown}\n\n{mark[2]}", text), encoding="utf-8"
        )


def main() -> None:
    """Measure, compare, print, and write the pages unless in a hurry."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=Path, default=REPOSITORY / "build" / "materials_project")
    parser.add_argument("--ship", type=Path, metavar="RUN", help="run folder whose model becomes the shipped one")
    parser.add_argument("--baseline", type=named_run, metavar="NAME=RUN", action="append", default=[])
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.quick:
        with tempfile.TemporaryDirectory() as scratch:
            table = read_or_build(Path(scratch) / "dataset", quick=True)
    else:
        table = read_or_build(arguments.dataset, quick=False)
    compared = baselines(table, dict(arguments.baseline), kept_baselines(table))
    if arguments.ship:
        # Halved weights are what ships, so they are what is measured.
        ship(
            load_checkpoint(arguments.ship / "model"),
            {"model": {}, "model_distorted": {}},
            compared,
            digest=table.digest,
        )
    measured = measure_all(load_checkpoint(), table)
    columns = {**measured, **compared}
    print(to_table(columns))
    if not arguments.quick:
        ship(load_checkpoint(), measured, compared, digest=table.digest)
        write_pages(columns, table)
    print(json.dumps(columns))


def named_run(text: str) -> tuple[str, Path]:
    """NAME=RUN of the command line."""
    name, separator, run = text.partition("=")
    if not separator:
        msg = f"expected NAME=RUN, not {text!r}"
        raise argparse.ArgumentTypeError(msg)
    return name, Path(run)


if __name__ == "__main__":
    main()
