"""How good is the shipped checkpoint, compared with baselines, on the test split by formula?

    shipped_checkpoint.py                      measure the shipped checkpoint again
    shipped_checkpoint.py --ship RUN           make RUN's model the shipped one, then measure it
    shipped_checkpoint.py --baseline NAME=RUN  also measure RUN's model and keep it as a baseline
    shipped_checkpoint.py --quick              measure it on 600 materials, write nothing

--baseline may be given several times. Baselines measured before on the same dataset are stored with the checkpoint, so
that each is measured only once; those that need no training (training mean, trees on calculated reflections) are
measured where they are missing. Without --quick, docs/results/shipped_checkpoint.md and the tables in README and in the
model card are written.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the repository

import argparse
import re
import shutil
from dataclasses import replace

import numpy as np
import torch

from benchmarks.harness import REPOSITORY, argument_parser, finish, markdown_table, standard_dataset
from xxact_core.augmentation.config import AugmentationConfig
from xxact_core.checkpoint import Checkpoint, describe_checkpoint, load_checkpoint, save_checkpoint
from xxact_core.dataset.loading.batches import BatchMaker
from xxact_core.dataset.table import StickTable, read_dataset
from xxact_core.errors import InputError
from xxact_core.evaluation.baselines import constant_baseline, formula_baseline, tree_baseline
from xxact_core.evaluation.calibration import coverage_metrics
from xxact_core.evaluation.evaluate import metrics_of, predict_rows, silhouettes
from xxact_core.evaluation.labelled import predictions_to_labelled
from xxact_core.evaluation.provenance import provenance
from xxact_core.evaluation.summary import BASELINES
from xxact_core.shipped import CHECKPOINT, shipped_path

README_ROWS = ("model", "model_distorted", "constant", "trees_visible_lines", "crabnet", "xrd-transformer", "fcn-mlp")
"""Rows that README shows."""

PAGES = {REPOSITORY / "README.md": README_ROWS, REPOSITORY / "docs" / "explanation" / "model-card.md": None}
"""Pages with a table between marks, and the rows that it shows; None for all."""

METRICS = re.compile(r"(<!-- metrics.*? -->\n).*?(<!-- /metrics -->)", re.DOTALL)

LARGEST = 16_000_000
"""Largest size of the shipped checkpoint [bytes]."""

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
    "model_distorted": "this model, augmented patterns",
    "forgetful": "without kNN retrieval",
    "forgetful_distorted": "without kNN retrieval, augmented patterns",
    "forgetful_training": "without kNN retrieval, on as many training materials",
    **BASELINES,
}


def measure(
    checkpoint: Checkpoint,
    table: StickTable,
    *,
    augmentation: AugmentationConfig | None = None,
    rows: np.ndarray | None = None,
) -> dict[str, float]:
    """Metrics of a model on the test split or `rows`, on ideal or augmented patterns, with coverage of intervals."""
    rows = table.rows("test") if rows is None else rows
    temperatures = {name: fit["temperature"] for name, fit in checkpoint.calibration.items() if "temperature" in fit}
    maker = BatchMaker(table, device=torch.device("cpu"), augmentation=augmentation)
    predictions = predict_rows(checkpoint.model, maker, rows, checkpoint.statistics)
    metrics = metrics_of(predictions, table, temperatures=temperatures)
    labelled = predictions_to_labelled(predictions, table, temperatures=temperatures)
    metrics |= coverage_metrics(labelled, checkpoint.calibration)
    scores = silhouettes(predictions.embedding, table.targets["crystal_system"][rows])
    return metrics | {f"silhouette_{name}": score for name, score in scores.items()}


def measure_all(checkpoint: Checkpoint, table: StickTable) -> dict[str, dict[str, float]]:
    """Metrics on ideal and on augmented patterns, with and without kNN retrieval.

    `forgetful_training` is measured on training materials: its distance to `forgetful` is the overfitting.
    """
    distorted = replace(AugmentationConfig(), share=1.0)
    measured = {
        "model": measure(checkpoint, table),
        "model_distorted": measure(checkpoint, table, augmentation=distorted),
    }
    if checkpoint.model.knn_retrieval is None:
        return measured
    memory, checkpoint.model.knn_retrieval = checkpoint.model.knn_retrieval, None
    training, size = table.rows("train"), len(table.rows("test"))
    some = np.sort(np.random.default_rng(0).choice(training, min(size, len(training)), replace=False))
    measured["forgetful"] = measure(checkpoint, table)
    measured["forgetful_distorted"] = measure(checkpoint, table, augmentation=distorted)
    measured["forgetful_training"] = measure(checkpoint, table, rows=some)
    checkpoint.model.knn_retrieval = memory
    for name in ("forgetful", "forgetful_distorted", "forgetful_training"):
        del measured[name]["crystal_system_calibration_error"]  # the temperature is of the model with its memory
    return measured


def baselines(table: StickTable, runs: dict[str, Path], kept: dict[str, dict]) -> dict[str, dict[str, float]]:
    """Metrics of baselines on the same split; those in `kept` are not measured again.

    Raises:
        InputError: a run was trained on another dataset or split, so that it may have seen the test materials.
    """
    untrained = {
        "constant": constant_baseline,
        "formula": formula_baseline,
        "trees_visible_lines": lambda table: tree_baseline(table, weakest=1.0, jobs=2),
        "trees_all_sticks": lambda table: tree_baseline(table, weakest=0.0, jobs=2),
    }
    measured = {name: kept[name] if name in kept else of(table) for name, of in untrained.items()} | kept
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
    """Baselines stored in the shipped checkpoint, where they were measured on this dataset."""
    about = describe_checkpoint(shipped_path(CHECKPOINT))["about"]
    measured_on = about.get("measured", about).get("data_digest")
    return dict(about.get("baselines", {})) if measured_on == table.digest else {}


def ship(checkpoint: Checkpoint, measured: dict, compared: dict, *, digest: str) -> None:
    """Make a checkpoint the shipped one: in bfloat16, with its metrics."""
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
        msg = f"{part} takes {size:,} bytes; the shipped checkpoint may take {LARGEST:,} at most"
        raise InputError(msg)
    shutil.rmtree(shipped_path(CHECKPOINT), ignore_errors=True)
    part.replace(shipped_path(CHECKPOINT))


def to_table(columns: dict[str, dict[str, float]]) -> str:
    """A Markdown table of the main metrics, one row per model."""
    rows = []
    for column, metrics in columns.items():
        cells = [f"{metrics[name]:.{digits}f}" if name in metrics else "" for name, _, digits in ROWS]
        rows.append([COLUMNS.get(column, column), *cells])
    return markdown_table(["test split", *(label for _, label, _ in ROWS)], rows)


def fill_tables(columns: dict[str, dict[str, float]]) -> None:
    """Write the tables between the marks of README and model card."""
    for page, rows in PAGES.items():
        shown = to_table({name: columns[name] for name in rows or columns})
        text = page.read_text(encoding="utf-8")
        page.write_text(
            METRICS.sub(lambda mark, shown=shown: f"{mark[1]}\n{shown}\n\n{mark[2]}", text), encoding="utf-8"
        )


def main() -> None:
    """Ship a model if asked to, measure, print, and write the pages unless --quick is given."""
    parser = argument_parser(__doc__, dataset=True)
    parser.add_argument("--ship", type=Path, metavar="RUN", help="run folder whose model becomes the shipped one")
    parser.add_argument("--baseline", type=named_run, metavar="NAME=RUN", action="append", default=[])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with standard_dataset(arguments) as folder:
        table = read_dataset(folder)
    compared = baselines(table, dict(arguments.baseline), kept_baselines(table))
    if arguments.ship:
        # Shipped first, so that the rounded weights are measured.
        ship(
            load_checkpoint(arguments.ship / "model"),
            {"model": {}, "model_distorted": {}},
            compared,
            digest=table.digest,
        )
    checkpoint = load_checkpoint()
    measured = measure_all(checkpoint, table)
    columns = {**measured, **compared}
    if not arguments.quick:
        ship(load_checkpoint(), measured, compared, digest=table.digest)
        fill_tables(columns)
    about = checkpoint.about
    finish(
        __file__,
        to_table(columns),
        columns,
        quick=arguments.quick,
        title="The shipped checkpoint",
        introduction=f"Recipe `{about['recipe']['name']}`, {about['parameters']:,} parameters, "
        f"{len(table.rows('test')):,} test materials, split by reduced formula.",
        data_digest=table.digest,
        seed=about["seed"],
    )


def named_run(text: str) -> tuple[str, Path]:
    """NAME=RUN of the command line."""
    name, separator, run = text.partition("=")
    if not separator:
        msg = f"expected NAME=RUN, not {text!r}"
        raise argparse.ArgumentTypeError(msg)
    return name, Path(run)


if __name__ == "__main__":
    main()
