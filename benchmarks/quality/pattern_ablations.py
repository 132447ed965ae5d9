"""What does each part of the recipe `compact` contribute that makes the model use the pattern? One change at a time.

    python -m benchmarks.quality.pattern_ablations DATASET RUNS --epochs 1 --start-from MODEL --only reference no-strain

DATASET has several materials of one formula, with energies of a teacher for some of them. For the page, it is that of
`xxact dataset merge` of the Materials Project and the reference structures, and MODEL that of version 0.1.0, both made
as the model card says. Every run begins from the same weights: of MODEL those outside the heads, the embedding, the
decoder and the ratios of peaks, which are random in every run, so that no change has an advantage. Every run is
evaluated on the same materials of the validation split. Called again with the same folder of runs, it continues; the
page holds the runs that have finished.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the repository

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from benchmarks.harness import cpu_time, finish, markdown_table
from xxact_core.augmentation.config import AugmentationConfig
from xxact_core.augmentation.effects import Strain
from xxact_core.checkpoint import Checkpoint, describe_checkpoint, make_model
from xxact_core.dataset.table import StickTable, read_dataset
from xxact_core.evaluation.breakdown import WITHOUT_PATTERN
from xxact_core.evaluation.report import measure_rows
from xxact_core.quantities import FORMATION_ENERGY
from xxact_core.training.config import Recipe, override
from xxact_core.training.recipes import recipe_by_name
from xxact_core.training.run import Run, open_run, training_step
from xxact_core.training.start import target_statistics

CHANGES: dict[str, tuple[str, dict[str, Any]]] = {
    "reference": ("the recipe `compact`", {}),
    "other-seed": ("the same with another seed", {"seed": 1}),
    "no-difference-loss": ("no loss on differences between polymorphs", {"difference_weight": 0.0}),
    "no-estimate": ("no composition estimate", {"model_settings": {"composition_estimate": False}}),
    "no-teacher-offset": ("labels of teacher and DFT as one", {"model_settings": {"teacher_offset": False}}),
    "no-embedding": (
        "deep class heads on the fused [CLS]",
        {"model_settings": {"embedding_width": 0}, "symmetry_contrast_weight": 0.0},
    ),
    "no-contrast": ("no contrastive term on crystal systems", {"symmetry_contrast_weight": 0.0}),
    "no-metal-head": ("band gap without a gate", {"model_settings": {"metal_head": False}}),
    "no-ratios": ("no ratios of peaks", {"model_settings": {"peak_ratios": 0}}),
    "linear-decoder": ("masked windows by a linear map", {"model_settings": {"decoder": "linear"}}),
    "no-masking": ("no masked windows", {"objectives": ("targets",), "mask_share": 1.0}),
    "more-strain": (
        "lattices strained as in version 0.1.0",
        {"lattice_strain": Strain(share=0.7, isotropic=(-0.02, 0.02), anisotropic=(0.0, 0.03))},
    ),
    "no-strain": ("no lattice strain of ideal patterns", {"lattice_strain": None}),
}
"""Changes of the recipe `compact` by name: in words, and as settings."""

NEW_PARTS = ("heads.", "symmetry_embedding.", "reconstruction_head.", "peak_ratios.")
"""Parts that are random at the start, because not every change has them in one form."""

ENERGY = FORMATION_ENERGY.name
COLUMNS: dict[str, tuple[str, str]] = {
    f"{ENERGY}_mae_mev_per_atom": ("energy, DFT labels [meV/atom]", "{:.0f}"),
    f"{WITHOUT_PATTERN}{ENERGY}_mae_mev_per_atom": ("the same, pattern hidden [meV/atom]", "{:.0f}"),
    "teacher_polymorphs_error_ratio": ("polymorphs, error with the pattern over error without", "{:.3f}"),
    "teacher_polymorph_pair_accuracy": ("pairs in order", "{:.3f}"),
    "teacher_polymorph_slope": ("slope of differences", "{:.3f}"),
    "teacher_polymorph_pair_accuracy_augmented": ("pairs in order, augmented", "{:.3f}"),
    "band_gap_mae_ev": ("band gap [eV]", "{:.3f}"),
    "crystal_system_accuracy": ("crystal system", "{:.3f}"),
    "crystal_system_accuracy_augmented": ("crystal system, augmented", "{:.3f}"),
    "space_group_accuracy": ("space group", "{:.3f}"),
    "silhouette_mean": ("silhouette", "{:.2f}"),
    "reconstruction_gain": ("masked windows, error saved", "{:.3f}"),
    "reconstruction_gain_cubic": ("masked windows, cubic", "{:.3f}"),
    "materials_per_cpu_second": ("materials per CPU second", "{:.0f}"),
}


LOWER_IS_BETTER = ("mae", "error_ratio")
"""Parts of the names of metrics that are errors; of the others, more is better."""

NOISE = 3.0
"""A run differs where it lies farther from the median of all runs than this times their scatter. Ours."""

SEEDS = 2.0
"""... and than this times the difference between two seeds: runs that share their random numbers scatter less. Ours."""

SMALLEST = 0.02
"""Smallest difference that counts, as a fraction of the value. Ours."""


def changed(name: str, *, epochs: float, start_from: str | None, batch_size: int | None = None) -> Recipe:
    """The recipe `compact` with one change, of a length and start that all changes share."""
    reference = recipe_by_name("compact")
    settings = dict(CHANGES[name][1])
    model = {**reference.model_settings, **settings.pop("model_settings", {})}
    shared = {
        "name": name,
        "epochs": epochs,
        "batch_size": batch_size or reference.batch_size,
        "threads": 1,
        "retrieval_rows": 0,
        "start_from": start_from,
        "validate_every": 10**9,
        "save_every": 10**9,
        "model_settings": model,
    }
    return override(reference, {**settings, **shared})


def run_change(
    name: str,
    dataset: Path,
    folder: Path,
    *,
    epochs: float,
    start_from: str | None,
    batch_size: int | None,
    evaluated: int | None,
) -> dict[str, float]:
    """Train with one change and evaluate; the metrics by the names of `COLUMNS`, and the number of steps."""
    recipe = changed(name, epochs=epochs, start_from=start_from, batch_size=batch_size)
    run = open_run(recipe, dataset, folder, device=torch.device("cpu"))
    # The statistics are those of heads that are discarded here; these heads learn from this data alone.
    run.statistics = target_statistics(run.table, replace(recipe, start_from=None))
    forget_new_parts(run)
    began = cpu_time()
    while run.step < run.steps:
        training_step(run)
    speed = run.steps * recipe.batch_size / (cpu_time() - began)
    about = {"recipe": recipe.to_dict()}
    checkpoint = Checkpoint(run.module.inference_model.eval(), dict(run.statistics), {}, about)
    metrics = evaluate(checkpoint, run.table, evaluated_rows(run.table, evaluated))
    return {**metrics, "materials_per_cpu_second": speed, "steps": run.steps}


def forget_new_parts(run: Run) -> None:
    """Give the parts of `NEW_PARTS` random weights, in the trained model and in its moving average."""
    fresh = make_model(run.recipe.model_config(), seed=run.recipe.seed).state_dict()
    new = {name: value for name, value in fresh.items() if name.startswith(NEW_PARTS)}
    for model in {run.module.model, run.module.inference_model}:
        model.load_state_dict(new, strict=False)


def evaluated_rows(table: StickTable, count: int | None) -> np.ndarray:
    """Rows of the validation split: all, or about `count` of them, with all polymorphs of each formula."""
    rows = table.rows("validation")
    if count is None or len(rows) <= count:
        return rows
    groups = table.formula_group[rows]
    order = np.random.default_rng(0).permutation(np.unique(groups))
    place = np.argsort(order)[np.searchsorted(np.sort(order), groups)]
    sizes = np.bincount(place).cumsum()
    chosen: np.ndarray = rows[place <= np.searchsorted(sizes, count)]
    return chosen


def evaluate(checkpoint: Checkpoint, table: StickTable, rows: np.ndarray) -> dict[str, float]:
    """Metrics of rows on ideal and, with the suffix `_augmented`, on augmented patterns."""
    augmented = measure_rows(checkpoint, table, rows, augmentation=replace(AugmentationConfig(), share=1.0))
    return {
        **measure_rows(checkpoint, table, rows).metrics,
        **{f"{name}_augmented": value for name, value in augmented.metrics.items()},
    }


def conclusions(results: dict[str, dict[str, float]]) -> str:
    """What each change makes worse and better than most runs are.

    Most changes leave most metrics as they are, so that the median absolute deviation of all runs tells their scatter.
    """
    header = f"Worse and better than the median of all runs by more than {NOISE:g} times their scatter (1.48 times the "
    header += f"median absolute deviation), {SEEDS:g} times the difference between the two seeds and {SMALLEST:.0%} of "
    header += "the value; pairs and slopes are those of the teacher:"
    effects: dict[str, dict[str, list[str]]] = {name: {"worse": [], "better": []} for name in results}
    for key, (title, form) in COLUMNS.items():
        values = {name: found[key] for name, found in results.items() if key in found}
        if len(values) < 3 or key == "materials_per_cpu_second":
            continue
        middle = float(np.median(list(values.values())))
        scatter = 1.4826 * float(np.median(np.abs(np.array(list(values.values())) - middle)))
        seeds = abs(values.get("other-seed", middle) - values.get("reference", middle))
        for name, value in values.items():
            difference = value - middle
            if abs(difference) > max(NOISE * scatter, SEEDS * seeds, SMALLEST * abs(middle)):
                better = (difference < 0) == any(part in key for part in LOWER_IS_BETTER)
                sign = "+" if difference > 0 else "−"
                effects[name]["better" if better else "worse"].append(f"{title} {sign}{form.format(abs(difference))}")
    lines = [header, ""]
    for name, found in effects.items():
        if name in {"reference", "other-seed"}:
            continue
        said = [f"{word}: {', '.join(of)}" for word, of in found.items() if of]
        lines.append(f"- **{name}** {'; '.join(said) or 'makes no difference that counts'}.")
    if "no-ratios" in results and "reference" in results:
        key = f"{WITHOUT_PATTERN}{ENERGY}_mae_mev_per_atom"
        chance = abs(results["no-ratios"][key] - results["reference"][key])
        remark = "Ratios of peaks cannot matter where the pattern is hidden; that this energy differs by "
        remark += f"{chance:.0f} meV/atom without them shows how far single runs of this length scatter."
        lines += ["", remark]
    return "\n".join(lines)


def main() -> None:
    """Train and evaluate the changes, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path, help="dataset folder")
    parser.add_argument("runs", type=Path, help="folder of the runs; finished ones are not trained again")
    parser.add_argument("--epochs", type=float, default=1.0, help="length of every training")
    parser.add_argument("--start-from", help="checkpoint that every training starts from; random weights by default")
    parser.add_argument("--batch-size", type=int, metavar="N", help="materials of a step; by default the recipe's")
    parser.add_argument("--evaluated", type=int, metavar="N", help="materials of the validation split; all by default")
    parser.add_argument("--only", nargs="*", choices=list(CHANGES), default=list(CHANGES), help="changes to train")
    parser.add_argument("--quick", action="store_true", help="write no page")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    results: dict[str, dict[str, float]] = {}
    for name in CHANGES:
        path = arguments.runs / name / "metrics.json"
        if not path.is_file() and name in arguments.only:
            settings = {name: getattr(arguments, name) for name in ("epochs", "start_from", "batch_size", "evaluated")}
            found = run_change(name, arguments.dataset, path.parent, **settings)
            path.write_text(json.dumps(found), encoding="utf-8")
        if path.is_file():
            results[name] = json.loads(path.read_text(encoding="utf-8"))
    table = read_dataset(arguments.dataset, resident=False)
    rows = [
        [
            f"**{name}**: {CHANGES[name][0]}",
            *(form.format(found[key]) if key in found else "" for key, (_, form) in COLUMNS.items()),
        ]
        for name, found in results.items()
    ]
    begun = "from random weights"
    if arguments.start_from:
        weights = describe_checkpoint(Path(arguments.start_from))["weights_sha256"][:12]
        begun = f"from the encoders of a trained model (weights `{weights}`) and random heads"
    training, evaluated = len(table.rows("train")), len(evaluated_rows(table, arguments.evaluated))
    steps = max((int(found["steps"]) for found in results.values()), default=0)
    batch = arguments.batch_size or recipe_by_name("compact").batch_size
    finish(
        __file__,
        f"{markdown_table(['change', *(title for title, _ in COLUMNS.values())], rows)}\n\n{conclusions(results)}",
        results,
        quick=arguments.quick,
        title="What makes the model use the pattern",
        introduction=f"One change at a time of the recipe `compact`, {arguments.epochs:g} epochs of {training:,} "
        f"materials ({steps:,} steps of {batch}) {begun}, evaluated on {evaluated:,} materials of the validation "
        "split. One run each: small differences mean little.",
        data_digest=table.digest,
    )


if __name__ == "__main__":
    main()
