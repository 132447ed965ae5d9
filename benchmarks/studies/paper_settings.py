"""What do two settings of the paper's model do in the size narrow: dropout, and the linear map to masked windows?

    xxact paper all DATA/teacher RUNS --dft DATA/dft --processes 2                      about a day on two cores
    paper_settings.py --runs RUNS --dataset DATA/teacher --train CHANGED                about two hours for each setting
    paper_settings.py --study dropout --runs RUNS --dataset DATA/teacher --train CHANGED        one of them
    paper_settings.py --quick                                                           tiny models, writes nothing

Runs with a changed setting that are missing below CHANGED are trained, with the batch sizes and rates of RUNS. Compared
is the validation split, by which settings are chosen.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the repository

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from benchmarks.harness import argument_parser, finish, markdown_table, standard_dataset
from xxact_core.checkpoint import load_checkpoint
from xxact_core.dataset.loading.batches import BatchMaker
from xxact_core.dataset.table import StickTable, read_dataset
from xxact_core.evaluation.reconstruction import reconstruct_rows
from xxact_core.evaluation.report import evaluate_checkpoint
from xxact_core.paper.results import ENERGY_ERROR, WRONG, RunResults, difference_of, mean_of, read_results
from xxact_core.paper.runs import PREDICTIONS, run_experiments, run_folder
from xxact_core.paper.trials import CHOICES

UNITS = {ENERGY_ERROR: "formation energy [meV/atom]", WRONG: "wrong crystal systems [%]"}
PRETRAINED = "pretrain-mxm"
RATIO = 0.05
"""Fraction of the windows that the paper masks."""

SETTINGS_WITHOUT = {part: {"dropout": 0.0} for part in ("pattern", "composition", "fusion")}
SETTINGS_WITH = {part: {"dropout": 0.1} for part in ("pattern", "composition", "fusion")}


@dataclass(frozen=True)
class Study:
    """A setting of the model, and the runs that show what it does."""

    title: str
    introduction: str
    names: tuple[str, str]
    """Names of the setting in RUNS and of the changed one."""

    changed: Mapping[str, Any]
    """Settings of the model."""

    experiments: Mapping[str, str]
    """Experiments and what they are called on the page."""

    usual: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the model that --quick compares with."""

    reconstructs: bool = False
    """Also compare how much of a masked window is recovered after pretraining."""


STUDIES = {
    "dropout": Study(
        title="Dropout in the size narrow",
        introduction="The paper trains 112 million parameters with a dropout of 0.1. The size `narrow` of [the "
        "reproduction](../explanation/reproducing-the-paper.md) has 1.4 million and about 100,000 training materials, "
        "and no dropout.",
        names=("no dropout", "dropout 0.1"),
        changed=SETTINGS_WITH,
        usual=SETTINGS_WITHOUT,
        experiments={
            "crabnet-formation-energy": "CrabNet",
            "xrd-transformer-crystal-system": "XRD transformer",
            "xxact-formation-energy": "XxaCT",
            "xxact-crystal-system": "XxaCT",
        },
    ),
    "decoder": Study(
        title="Masked windows by a decoder that places peaks",
        introduction="In the [reproduction](../explanation/reproducing-the-paper.md), MXM pretraining helps less than "
        "contrastive pretraining, unlike in the paper. Is the linear map from a token to 250 intensities the reason? "
        "Here the shipped model's decoder replaces it, and the model reads square roots of intensities.",
        names=("linear map, as in the paper", "decoder of peaks"),
        changed={"decoder": "peaks", "intensity_scale": "sqrt"},
        experiments={
            "xxact-multi-target": "multi-task, without pretraining",
            "xxact-mxm": "multi-task, after MXM",
        },
        reconstructs=True,
    ),
}
QUICK_SETTINGS = {"epochs": 1.0, "batch_size": 64, "validation_rows": 64, "threads": 1}


def results_of(runs: Path, name: str, dataset: Path) -> RunResults:
    """Errors of a finished run on the validation split."""
    with tempfile.TemporaryDirectory() as scratch:
        model = run_folder(runs, name, 0) / "model"
        evaluate_checkpoint(model, dataset, split="validation", predictions_file=Path(scratch) / PREDICTIONS)
        return read_results(Path(scratch))


def reduction_of(runs: Path, table: StickTable) -> float:
    """Part by which the error of masked windows of the validation split lies below that of an empty window."""
    checkpoint = load_checkpoint(run_folder(runs, PRETRAINED, 0) / "model")
    maker = BatchMaker(table, device=torch.device("cpu"))
    return reconstruct_rows(checkpoint, maker, table.rows("validation"), ratio=RATIO).over_windows().gain


def compare(study: Study, runs: Path, changed: Path, dataset: Path) -> tuple[list[list[str]], dict[str, list[float]]]:
    """Lines of the table, and the numbers by experiment and error: in RUNS, changed, and their difference."""
    table = read_dataset(dataset)
    rows = table.rows("validation")
    formulas = dict(zip(table.id[rows].tolist(), table.formula[rows].tolist(), strict=True))
    lines, figures = [], {}
    for name, model in study.experiments.items():
        before, after = ([results_of(folder, name, dataset)] for folder in (runs, changed))
        for kind, unit in UNITS.items():
            means = [mean_of(results, kind, formulas) for results in (before, after)]
            lower = difference_of(after, before, kind, formulas)
            if None in means or lower is None:
                continue
            values = [mean.value for mean in means]
            shown = f"{lower.value:.1f} ({lower.low:.1f} to {lower.high:.1f})"
            lines.append([f"{model}: {unit}", *(f"{value:.1f}" for value in values), shown])
            figures[f"{name}, {kind}"] = [*values, lower.value]
    if study.reconstructs:
        gains = [reduction_of(folder, table) for folder in (runs, changed)]
        lines.append(["error of masked windows below that of empty ones", *(f"{gain:.0%}" for gain in gains), ""])
        figures[PRETRAINED] = gains
    return lines, figures


def main() -> None:
    """Train the runs that are missing, compare, print, and write the pages unless --quick is given."""
    parser = argument_parser(__doc__, dataset=True)
    parser.add_argument("--study", choices=STUDIES, help="One setting; all where not given.")
    parser.add_argument("--runs", type=Path, help="Folder of runs of `xxact paper all` in the size narrow.")
    parser.add_argument("--train", type=Path, metavar="CHANGED", help="Folder for the runs with changed settings.")
    arguments = parser.parse_args()
    if not arguments.quick and None in (arguments.runs, arguments.train):
        parser.error("--runs and --train are missing: folders of the runs, and of those with changed settings")
    torch.set_num_threads(1)
    with standard_dataset(arguments) as dataset:
        for name in [arguments.study] if arguments.study else STUDIES:
            if arguments.quick:
                with tempfile.TemporaryDirectory() as scratch:
                    write_page(name, dataset, Path(scratch) / "runs", Path(scratch) / "changed", quick=True)
            else:
                write_page(name, dataset, arguments.runs, arguments.train / name, quick=False)


def write_page(name: str, dataset: Path, runs: Path, changed: Path, *, quick: bool) -> None:
    """Train what is missing in the folder of changed runs, compare, and write the page; with `quick` train all runs."""
    study, size, settings = STUDIES[name], "tiny" if quick else "narrow", QUICK_SETTINGS if quick else {}
    if quick:
        train(study, dataset, runs, size=size, settings={**settings, "model_settings": dict(study.usual)})
    else:
        changed.mkdir(parents=True, exist_ok=True)
        (changed / CHOICES).write_bytes((runs / CHOICES).read_bytes())
    train(study, dataset, changed, size=size, settings={**settings, "model_settings": dict(study.changed)})
    lines, figures = compare(study, runs, changed, dataset)
    finish(
        __file__,
        markdown_table(["validation split", *study.names, "lower by (95 % interval)"], lines),
        figures,
        quick=quick,
        page=f"paper_{name}",
        title=study.title,
        introduction=f"{study.introduction} Intervals are by a bootstrap over formulas; one seed.",
        data_digest=read_dataset(dataset, resident=False).digest,
    )


def train(study: Study, dataset: Path, folder: Path, *, size: str, settings: Mapping[str, Any]) -> None:
    """Train the experiments that are missing in a folder."""
    for outcome in run_experiments(study.experiments, dataset, folder, size=size, seeds=1, settings=settings):
        print(f"{outcome.name}: {outcome.state}", file=sys.stderr)


if __name__ == "__main__":
    main()
