"""Data of the paper's figures as rows, from a dataset or a folder of runs, without running a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from xxact_core.dataset.splits import with_split
from xxact_core.dataset.table import StickTable, read_dataset
from xxact_core.errors import InputError
from xxact_core.evaluation.convergence import run_length, validation_curve
from xxact_core.evaluation.distributions import crystal_system_counts, element_counts
from xxact_core.evaluation.embeddings import read_embeddings
from xxact_core.evaluation.evaluate import silhouettes
from xxact_core.evaluation.projection import embedding_to_components
from xxact_core.evaluation.scaling import MIN_POINTS, PowerLaw, fit_power_law
from xxact_core.paper.experiments import EMBEDDINGS, SHARES, STRATEGIES, scaling_name
from xxact_core.paper.layouts import ACCURACY, MAE, PAPER_LAWS, figure_runs
from xxact_core.paper.measures import run_to_measures
from xxact_core.paper.runs import PREDICTIONS
from xxact_core.paper.tables import finished_runs, runs_to_provenance
from xxact_core.quantities import CRYSTAL_SYSTEMS
from xxact_core.training.journal import read_run

MOST_POINTS = 2000
"""Largest number of materials in a panel of figure 2; more would overlap."""

MODELS = {"crabnet": "CrabNet (composition)", "xxact": "XxaCT-NN (pattern, composition)"}
SHOWN_SPLITS = ("train", "test")

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class FigureData:
    """Data of a figure: a row for each mark, and what describes the figure as a whole."""

    number: int
    title: str
    rows: Rows
    about: Mapping[str, Any] = field(default_factory=dict)


def figure_data(number: int, source: Path, *, split: str = "formula") -> FigureData:
    """The data of a figure: figures 4 and 5 from a dataset with its split, the others from a folder of runs.

    Raises:
        InputError: the paper has no such plot, or the folder has none of its runs.
    """
    names = figure_runs(number)
    if not names:
        table = with_split(read_dataset(source, resident=False), by=split)
        about = {"data_digest": table.digest, "split": split}
        if number == 4:  # noqa: PLR2004 - its number in the paper
            return FigureData(4, "Crystal systems in training and test", crystal_system_rows(table), about)
        return FigureData(5, "Materials that contain an element, in training and test", element_rows(table), about)
    runs = {name: finished_runs(source, name) for name in names}
    if not any(runs.values()):
        msg = f"{source} has no finished run of figure {number}; run `xxact paper run --figure {number}` first"
        raise InputError(msg, code="E_PAPER")
    title, make = _FROM_RUNS[number]
    rows, more = make(source)
    return FigureData(number, title, rows, {**runs_to_provenance(runs), **more})


def crystal_system_rows(table: StickTable) -> Rows:
    """Number of materials of each crystal system in training and test split, and their fraction of the split [%]."""
    rows = []
    for split in SHOWN_SPLITS:
        counts = crystal_system_counts(table, split)
        total = max(1, sum(counts.values()))
        rows += [
            {"split": split, "crystal_system": system, "materials": count, "share": 100 * count / total}
            for system, count in counts.items()
        ]
    return rows


def element_rows(table: StickTable) -> Rows:
    """Number of materials of training and test split that contain each element."""
    return [
        {"split": split, "element": symbol, "materials": count}
        for split in SHOWN_SPLITS
        for symbol, count in element_counts(table, split).items()
    ]


def embedding_rows(folder: Path) -> tuple[Rows, dict[str, Any]]:
    """Two principal components of the embedding of test materials, of the first seed of each model.

    The components are fitted to all materials; rows are those of a seeded sample. Also returns the variance that the
    components explain and the mean silhouette over materials.
    """
    rows: Rows = []
    variance, means = {}, {}
    for panel, name in EMBEDDINGS.items():
        for run in list(finished_runs(folder, name).values())[:1]:
            found = read_embeddings(run / PREDICTIONS, parts=("fused",))
            if "crystal_system" not in found.targets:
                msg = f"{run / PREDICTIONS} has no labels of the crystal system, by which figure 2 is coloured"
                raise InputError(msg, code="E_PAPER")
            true = found.targets["crystal_system"]
            known = ~np.isnan(true)
            ids, embedding, systems = found.id[known], found.parts["fused"][known], true[known].astype(int)
            components, shares = embedding_to_components(embedding)
            variance[panel] = shares.tolist()
            means[panel] = silhouettes(embedding, systems)["mean"]
            for row in np.sort(np.random.default_rng(0).permutation(len(components))[:MOST_POINTS]):
                rows.append(
                    {
                        "panel": panel,
                        "id": str(ids[row]),
                        "crystal_system": CRYSTAL_SYSTEMS[systems[row]],
                        "component_1": float(components[row, 0]),
                        "component_2": float(components[row, 1]),
                    }
                )
    return rows, {"variance": variance, "silhouette": means}


def scaling_rows(folder: Path) -> tuple[Rows, dict[str, Any]]:
    """Error of the formation energy on the test split [meV/atom] by number of training materials."""
    rows: Rows = []
    for model, label in MODELS.items():
        for share in SHARES:
            for seed, run in finished_runs(folder, scaling_name(model, share)).items():
                started = next(event for event in read_run(run) if event["event"] == "started")
                mae = run_to_measures(run, by_system=False)[MAE]
                rows.append({"model": label, "materials": started["materials"], "seed": seed, "mae": mae.value})
    laws = {label: asdict(law) for label, law in scaling_laws(rows).items()}
    paper = {MODELS[model]: {"factor": law[0], "exponent": law[1]} for model, law in PAPER_LAWS.items()}
    return rows, {"laws": laws, "laws_of_the_paper": paper}


def scaling_laws(rows: Rows) -> dict[str, PowerLaw]:
    """The power law of each model with enough sizes; factors in meV/atom at a million materials."""
    laws = {}
    for label in MODELS.values():
        of_model = [row for row in rows if row["model"] == label]
        materials = np.array([row["materials"] for row in of_model], dtype=float)
        if len(np.unique(materials)) >= MIN_POINTS:
            laws[label] = fit_power_law(materials, np.array([row["mae"] for row in of_model]))
    return laws


def convergence_rows(folder: Path) -> tuple[Rows, dict[str, Any]]:
    """Validation metrics along the training: error [meV/atom] and accuracy [%], by fraction of the training [%]."""
    rows: Rows = []
    for strategy, name in STRATEGIES.items():
        for seed, run in finished_runs(folder, name).items():
            events = read_run(run)
            for metric, factor in ((MAE, 1), (ACCURACY, 100)):
                for step, value in zip(*validation_curve(events, metric), strict=True):
                    share = 100 * float(step) / run_length(events)
                    row = {"strategy": strategy, "seed": seed, "metric": metric, "step": int(step), "share": share}
                    rows.append({**row, "value": factor * float(value)})
    return rows, {}


_FROM_RUNS: dict[int, tuple[str, Callable[[Path], tuple[Rows, dict[str, Any]]]]] = {
    2: ("Embeddings of test materials, by crystal system", embedding_rows),
    3: ("Error against the size of the training data", scaling_rows),
    6: ("Convergence with and without pretraining", convergence_rows),
}
