"""How good is the shipped checkpoint, compared with baselines, on the test split by formula?

    shipped_checkpoint.py                      measure the shipped checkpoint again
    shipped_checkpoint.py --ship RUN           make RUN's model the shipped one, then measure it
    shipped_checkpoint.py --baseline NAME=RUN  also measure RUN's model and keep it as a baseline
    shipped_checkpoint.py --baseline NAME=RUN --only-baselines    the same, without measuring the model again
    shipped_checkpoint.py --model RUN/model --split validation   for choices: writes nothing, leaves out the test split
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
import tempfile
from collections import Counter
from dataclasses import replace

import numpy as np
import torch

from benchmarks.harness import REPOSITORY, RESULTS, argument_parser, finish, markdown_table, standard_dataset
from xxact_core.augmentation.config import AugmentationConfig
from xxact_core.checkpoint import (
    Checkpoint,
    describe_checkpoint,
    load_checkpoint,
    save_checkpoint,
    write_description,
)
from xxact_core.dataset.building.build import build_dataset
from xxact_core.dataset.building.plan import BuildPlan
from xxact_core.dataset.building.structure_rows import copy_first_of_split
from xxact_core.dataset.loading.batches import BatchMaker
from xxact_core.dataset.table import StickTable, read_dataset
from xxact_core.errors import InputError
from xxact_core.evaluation.baselines import constant_baseline, formula_baseline, tree_baseline
from xxact_core.evaluation.breakdown import WITHOUT_PATTERN
from xxact_core.evaluation.embeddings import embed_dataset, write_embeddings
from xxact_core.evaluation.evaluate import metrics_of, predict_rows
from xxact_core.evaluation.projection import t_sne
from xxact_core.evaluation.provenance import provenance, provenance_to_line
from xxact_core.evaluation.report import measure_rows, temperatures_of
from xxact_core.evaluation.summary import BASELINES
from xxact_core.shipped import CHECKPOINT, EMBEDDINGS, TABLE, shipped_path
from xxact_core.training.journal import JOURNAL, read_journal

README_ROWS = ("model", "model_distorted", "crabnet-alike", "constant", "trees_visible_lines")
"""Rows that README shows."""

PAGES = {REPOSITORY / "README.md": README_ROWS, REPOSITORY / "docs" / "explanation" / "model-card.md": None}
"""Pages with a table between marks, and the rows that it shows; None for all."""

METRICS = re.compile(r"(<!-- metrics.*? -->\n).*?(<!-- /metrics -->)", re.DOTALL)

LARGEST = 16_000_000
"""Largest size of the shipped checkpoint [bytes]."""

MAPPED = 2000
"""Materials whose embeddings ship."""

ROWS = (
    ("formation_energy_per_atom_mae_mev_per_atom", "formation energy, MAE [meV/atom]", 1),
    ("band_gap_mae_ev", "band gap, MAE [eV]", 3),
    ("crystal_system_accuracy", "crystal system, accuracy", 3),
    ("crystal_system_class_mean_accuracy", "crystal system, class-mean accuracy", 3),
    ("space_group_accuracy", "space group, accuracy", 3),
    ("space_group_class_mean_accuracy", "space group, class-mean accuracy", 3),
    ("crystal_system_calibration_error", "crystal system, calibration error", 3),
)
ENERGY = "formation_energy_per_atom_{}mae_mev_per_atom"
LINES = (
    (ENERGY.format("unique_"), "formation energy, formulas that occur once, MAE [meV/atom]", 1),
    (ENERGY.format("megnet2018_"), "… labels of 2018 for newer cells", 1),
    (ENERGY.format("stated_"), "… labels of unknown origin", 1),
    (ENERGY.format("teacher_"), "… computed by the teacher", 1),
    (ENERGY.format("teacher_polymorphs_"), "… by the teacher, formulas with two or more", 1),
    (ENERGY.format("1_polymorph_"), "… DFT, one structure of the formula", 1),
    (ENERGY.format("2_to_4_polymorphs_"), "… DFT, two to four", 1),
    (ENERGY.format("5_or_more_polymorphs_"), "… DFT, five or more", 1),
    (ENERGY.format("seen_prototype_"), "… DFT, prototype in the training data", 1),
    (ENERGY.format("unseen_prototype_"), "… DFT, prototype not in the training data", 1),
    (ENERGY.format(""), "… all exact DFT labels", 1),
    ("polymorph_pair_accuracy", "polymorph pairs 20 meV/atom apart, right order", 3),
    ("polymorph_slope", "slope of predicted against true differences", 2),
    ("teacher_polymorphs_error_ratio", "error with the pattern over error without, teacher, polymorphs", 2),
    ("band_gap_mae_ev", "band gap, MAE [eV]", 3),
    ("crystal_system_accuracy", "crystal system, accuracy", 3),
    ("crystal_system_seen_prototype_accuracy", "… prototype in the training data", 3),
    ("crystal_system_unseen_prototype_accuracy", "… prototype not in the training data", 3),
    ("space_group_accuracy", "space group, accuracy", 3),
    ("silhouette_mean", "silhouette by crystal system, mean", 2),
    ("reconstruction_gain", "masked windows, error saved", 2),
    ("reconstruction_gain_cubic", "… cubic", 2),
    ("formation_energy_per_atom_interval_coverage", "90 % intervals of the formation energy hold", 3),
    ("band_gap_interval_coverage", "90 % intervals of the band gap hold", 3),
    ("crystal_system_set_coverage", "90 % sets of the crystal system hold", 3),
    ("crystal_system_set_size", "… crystal systems in a set", 2),
)
"""Lines of the table of what the pattern adds: metric, label, digits."""

ALIKE = "crabnet-alike"
"""Name of the baseline that has the same targets and heads as the shipped model."""

COLUMNS = {
    "model": "this model",
    "model_distorted": "this model, augmented patterns",
    "without_retrieval": "without kNN retrieval",
    "without_retrieval_distorted": "without kNN retrieval, augmented patterns",
    "without_retrieval_training": "without kNN retrieval, on as many training materials",
    **BASELINES,
}


def measure_briefly(
    checkpoint: Checkpoint, table: StickTable, rows: np.ndarray, *, augmentation: AugmentationConfig | None = None
) -> dict[str, float]:
    """Errors and accuracies alone, on ideal or augmented patterns."""
    maker = BatchMaker(table, device=torch.device("cpu"), augmentation=augmentation)
    predictions = predict_rows(checkpoint.model, maker, rows, checkpoint.statistics)
    return metrics_of(predictions, table, temperatures=temperatures_of(checkpoint))


def measure_all(checkpoint: Checkpoint, table: StickTable, *, split: str) -> dict[str, dict[str, float]]:
    """Metrics on ideal and on augmented patterns, with and without kNN retrieval.

    `without_retrieval_training` is measured on training materials: its distance to `without_retrieval` is the
    overfitting.
    """
    rows, distorted = table.rows(split), replace(AugmentationConfig(), share=1.0)
    measured = {
        "model": dict(measure_rows(checkpoint, table, rows).metrics),
        "model_distorted": dict(measure_rows(checkpoint, table, rows, augmentation=distorted).metrics),
    }
    if checkpoint.model.knn_retrieval is None:
        return measured
    retrieval, checkpoint.model.knn_retrieval = checkpoint.model.knn_retrieval, None
    training = table.rows("train")
    some = np.sort(np.random.default_rng(0).choice(training, min(len(rows), len(training)), replace=False))
    measured["without_retrieval"] = measure_briefly(checkpoint, table, rows)
    measured["without_retrieval_distorted"] = measure_briefly(checkpoint, table, rows, augmentation=distorted)
    measured["without_retrieval_training"] = measure_briefly(checkpoint, table, some)
    checkpoint.model.knn_retrieval = retrieval
    for name in ("without_retrieval", "without_retrieval_distorted", "without_retrieval_training"):
        del measured[name]["crystal_system_calibration_error"]  # the temperature is that of the model with retrieval
    return measured


def baselines(
    table: StickTable, runs: dict[str, Path], kept: dict[str, dict], *, split: str
) -> dict[str, dict[str, float]]:
    """Metrics of baselines on the same split; those in `kept`, which are of the test split, are not measured again.

    Raises:
        InputError: a run was trained on another dataset or split, so that it may have seen the test materials.
    """
    untrained = {
        "constant": constant_baseline,
        "formula": formula_baseline,
        "trees_visible_lines": lambda table: tree_baseline(table, weakest=1.0, jobs=2),
        "trees_all_sticks": lambda table: tree_baseline(table, weakest=0.0, jobs=2),
    }
    measured: dict[str, dict[str, float]] = {}
    if split == "test":
        measured = {name: kept[name] if name in kept else of(table) for name, of in untrained.items()} | kept
    for name, run in runs.items():
        checkpoint = load_checkpoint(run / "model")
        about = checkpoint.about
        if about["data_digest"] != table.digest or about["recipe"]["split_by"] != "formula":
            msg = f"{run} was trained on {about['data_digest'][:12]} split by {about['recipe']['split_by']}; "
            msg += f"expected {table.digest[:12]} split by formula"
            raise InputError(msg)
        measured[name] = dict(measure_rows(checkpoint, table, table.rows(split)).metrics)
    return measured


def describe_run(name: str, run: Path) -> str:
    """What a baseline is, in a sentence."""
    about = describe_checkpoint(run / "model")["about"]
    events = read_journal(run / JOURNAL)
    materials = next(event["materials"] for event in events if event["event"] == "started")
    recipe = about["recipe"]
    seconds = sum(recipe["batch_size"] / event["samples_per_second"] for event in events if event["event"] == "step")
    names = (Path(folder).name.replace("_", " ") for folder in ("materials_project", *recipe["extra_datasets"]))
    folders = [name if times == 1 else f"{times} times {name}" for name, times in Counter(names).items()]
    return (
        f"{COLUMNS.get(name, name)}: recipe `{recipe['name']}`, {about['parameters']:,} parameters, "
        f"{recipe['epochs']:g} epochs of {materials:,} materials ({', '.join(folders)}) in {seconds / 3600:.1f} hours "
        f"on one shared core, retrieval from {recipe['retrieval_rows']:,} of them."
    )


def kept_baselines(table: StickTable) -> dict[str, dict[str, float]]:
    """Baselines stored in the shipped checkpoint, where they were measured on this dataset or on one of equal labels.

    Before cells were rounded, the digest of a dataset depended on the CPU by the last bit of cell angles. Where labels
    and split are equal, the errors of the training mean and of the formula's median agree to the last digit.
    """
    about = describe_checkpoint(shipped_path(CHECKPOINT))["about"]
    stored = dict(about.get("baselines", {}))
    measured_on = about.get("measured", about).get("data_digest")
    if measured_on == table.digest:
        return stored
    again = {"constant": constant_baseline(table), "formula": formula_baseline(table)}
    return stored if all(stored.get(name) == values for name, values in again.items()) else {}


def ship(checkpoint: Checkpoint, measured: dict, compared: dict, *, digest: str) -> None:
    """Make a checkpoint the shipped one: in bfloat16, with its metrics."""
    about = {
        **checkpoint.about,
        "test_metrics": measured["model"],
        "test_metrics_distorted": measured["model_distorted"],
        "baselines": compared,
        "measured": provenance(table_digest=digest, seeds=[checkpoint.about["seed"]]),
    }
    folder = shipped_path(CHECKPOINT)
    part = folder.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    save_checkpoint(part, replace(checkpoint, about=about), dtype=torch.bfloat16)
    size = sum(file.stat().st_size for file in part.iterdir())
    if size > LARGEST:
        msg = f"{part} takes {size:,} bytes; the shipped checkpoint may take {LARGEST:,} at most"
        raise InputError(msg)
    shutil.rmtree(folder, ignore_errors=True)
    part.replace(folder)


def stored_columns(page: str) -> dict[str, dict[str, float]]:
    """What was measured of the shipped model: its stored metrics, and other rows as they are rounded on the page."""
    about = describe_checkpoint(shipped_path(CHECKPOINT))["about"]
    columns = {"model": about["test_metrics"], "model_distorted": about["test_metrics_distorted"]}
    for line in page.splitlines():
        label, *cells = [cell.strip() for cell in line.strip("|").split("|")]
        name = next((name for name, shown in COLUMNS.items() if shown == label), None)
        if name is not None and name not in BASELINES and name not in columns and len(cells) == len(ROWS):
            columns[name] = {key: float(cell) for (key, _, _), cell in zip(ROWS, cells, strict=True) if cell}
    return columns


def store_baselines(compared: dict) -> str:
    """Store baselines in the shipped checkpoint, whose weights stay as they are; where the model was measured."""
    folder = shipped_path(CHECKPOINT)
    description = describe_checkpoint(folder)
    write_description(folder, {**description, "about": {**description["about"], "baselines": compared}})
    return provenance_to_line(description["about"]["measured"])


def write_map() -> None:
    """Embeddings of the first materials of the test split by the shipped model, for the map that the app opens with."""
    with tempfile.TemporaryDirectory() as folder:
        structures, dataset = Path(folder) / "structures.parquet", Path(folder) / "dataset"
        copy_first_of_split(shipped_path(TABLE), structures, split="test", count=MAPPED)
        build_dataset(BuildPlan(source=str(structures)), dataset, workers=2, progress=False)
        embedded = embed_dataset(shipped_path(CHECKPOINT), dataset)
    planar = {name: t_sne(values) for name, values in embedded.parts.items()}
    path = shipped_path(CHECKPOINT) / Path(EMBEDDINGS).name
    write_embeddings(path, replace(embedded, t_sne=planar), compact=True)


def to_table(columns: dict[str, dict[str, float]], *, split: str = "test") -> str:
    """A Markdown table of the main metrics, one row per model."""
    rows = []
    for column, metrics in columns.items():
        cells = [f"{metrics[name]:.{digits}f}" if name in metrics else "" for name, _, digits in ROWS]
        rows.append([COLUMNS.get(column, column), *cells])
    return markdown_table([f"{split} split", *(label for _, label, _ in ROWS)], rows)


def to_pattern_table(columns: dict[str, dict[str, float]], *, split: str = "test") -> str:
    """What the pattern adds: the model, the same without the pattern, and CrabNet with its heads; one line a metric."""
    model, distorted = columns["model"], columns["model_distorted"]
    alike = columns.get(ALIKE, {})
    rows = []
    for name, label, digits in LINES:
        values = (model.get(name), distorted.get(name), model.get(f"{WITHOUT_PATTERN}{name}"), alike.get(name))
        if values[0] is not None:
            rows.append([label, *("" if value is None else f"{value:.{digits}f}" for value in values)])
    header = [f"{split} split", "this model", "augmented patterns", "pattern hidden", COLUMNS[ALIKE]]
    return markdown_table(header, rows)


def to_sentence(columns: dict[str, dict[str, float]]) -> str:
    """What the pattern adds, in a line."""
    model, alike = columns["model"], columns.get(ALIKE, {})
    name = next((one for one in (LINES[0][0], ENERGY.format("")) if one in model), None)
    if name is None:
        return ""
    parts = [f"{model[name]:.1f} meV/atom with the pattern"]
    if f"{WITHOUT_PATTERN}{name}" in model:
        parts.append(f"{model[WITHOUT_PATTERN + name]:.1f} without")
    if name in alike:
        parts.append(f"{alike[name]:.1f} by {COLUMNS[ALIKE]}")
    of = "formulas that occur once" if name == LINES[0][0] else "all formulas"
    text = f"**What the pattern adds**: formation energy of {of} {', '.join(parts)}"
    if "polymorph_pair_accuracy" in model:
        text += f"; {model['polymorph_pair_accuracy']:.0%} of polymorph pairs in the right order (50 % without)"
    name = "crystal_system_accuracy"
    if f"{WITHOUT_PATTERN}{name}" in model:
        text += f"; crystal system {model[name]:.1%} instead of {model[WITHOUT_PATTERN + name]:.1%}"
    return f"{text}."


def fill_tables(columns: dict[str, dict[str, float]]) -> None:
    """Write the tables between the marks of README and model card."""
    for page, rows in PAGES.items():
        shown = to_table({name: columns[name] for name in rows or columns if name in columns})
        if rows is None:
            shown = "\n\n".join([to_sentence(columns), to_pattern_table(columns), shown])
        text = page.read_text(encoding="utf-8")
        page.write_text(
            METRICS.sub(lambda mark, shown=shown: f"{mark[1]}\n{shown}\n\n{mark[2]}", text), encoding="utf-8"
        )


def main() -> None:
    """Ship a model if asked to, measure, print, and write the pages unless --quick is given."""
    parser = argument_parser(__doc__, dataset=True)
    parser.add_argument("--ship", type=Path, metavar="RUN", help="run folder whose model becomes the shipped one")
    parser.add_argument("--model", type=Path, metavar="CHECKPOINT", help="measure another model, write nothing")
    parser.add_argument("--split", choices=("validation", "test"), default="test", help="validation writes nothing")
    parser.add_argument("--only-baselines", action="store_true", help="keep what was measured of the shipped model")
    parser.add_argument("--baseline", type=named_run, metavar="NAME=RUN", action="append", default=[])
    arguments = parser.parse_args()
    if arguments.ship and (arguments.model or arguments.split != "test" or arguments.quick):
        parser.error("--ship measures the shipped model on the test split; leave out --model, --split and --quick")
    if arguments.only_baselines and (arguments.ship or arguments.model or arguments.split != "test" or arguments.quick):
        parser.error("--only-baselines is for the shipped model on the test split; leave out --ship, --model, --split "
                     "and --quick")  # fmt: skip
    torch.set_num_threads(1)
    with standard_dataset(arguments) as folder:
        table = read_dataset(folder)
    written = not (arguments.quick or arguments.model or arguments.split != "test")
    new = [describe_run(name, run) for name, run in arguments.baseline]
    compared = baselines(table, dict(arguments.baseline), kept_baselines(table), split=arguments.split)
    if arguments.ship:
        # Shipped first, so that the rounded weights are measured.
        ship(
            load_checkpoint(arguments.ship / "model"),
            {"model": {}, "model_distorted": {}},
            compared,
            digest=table.digest,
        )
    checkpoint = load_checkpoint(arguments.model)
    about = checkpoint.about
    introduction = f"Recipe `{about['recipe']['name']}`, {about['parameters']:,} parameters, "
    introduction += f"{len(table.rows('test')):,} test materials, split by reduced formula."
    introduction = " ".join([introduction, *new])
    if arguments.only_baselines:
        measured = stored_columns((RESULTS / "shipped_checkpoint.md").read_text(encoding="utf-8"))
        introduction += (
            f" The model was measured {store_baselines(compared)} The next line is that of baselines added later."
        )
    else:
        measured = measure_all(checkpoint, table, split=arguments.split)
    columns = {**measured, **compared}
    if written:
        if not arguments.only_baselines:
            ship(load_checkpoint(), measured, compared, digest=table.digest)
            write_map()
        fill_tables(columns)
    tables = [to_pattern_table(columns, split=arguments.split), to_table(columns, split=arguments.split)]
    finish(
        __file__,
        "\n\n".join([to_sentence(columns), *tables]),
        columns,
        quick=not written,
        title="The shipped checkpoint",
        introduction=introduction,
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
