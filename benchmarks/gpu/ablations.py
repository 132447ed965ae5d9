"""What is each idea worth? One change at a time of a reference recipe, with the same data, seeds and budget.

    python -m benchmarks.gpu.ablations DATASET RUNS --seconds 540 --seeds 1 --together 4 --set epochs=20 batch_size=512

Models are evaluated on the validation split; the test split is reserved for the final model. Called again with the same
folder, it continues. Settings given by --set are those of the reference, and every change applies to that; pretraining
and training after it take half of its epochs each. The last lines printed are a table, one row per run.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the repository

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.gpu.many_runs import Job, argument_parser, run_experiment
from xxact_core.augmentation.effects import Strain
from xxact_core.errors import RecipeError
from xxact_core.quantities import TARGETS
from xxact_core.training.config import Recipe, override, parse_settings
from xxact_core.training.recipes import recipe_by_name

WITHOUT_DROPOUT = {part: {"dropout": 0.0} for part in ("pattern", "composition", "fusion")}

REFERENCE = override(
    recipe_by_name("compact"),
    {
        "name": "reference",
        "epochs": 0.5,
        "batch_size": 128,
        "objectives": ("targets",),
        "mask_share": 1.0,
        "mxm_weight": 1.0,
        "polymorphs_together": 1,
        "difference_weight": 0.0,
        "symmetry_contrast_weight": 0.0,
        "threads": 1,
        "optimiser": "adamw",
        "regression_loss": "squared",
        "regression_weight": 1.0,
        "precision": "bfloat16",
        "ema_decay": None,
        "drop_pattern": 0.0,
        "drop_composition": 0.0,
        "lattice_strain": None,
        "retrieval_rows": 0,
        "validation_rows": 2048,
        "validate_every": 100,
        "save_every": 1000,
        "model_settings": {"intensity_scale": "sqrt", "tokenizer": "convolution", "peak_tokens": 0, **WITHOUT_DROPOUT},
    },
)
"""Half an epoch by default; what helps after half an epoch need not help after twenty."""


@dataclass(frozen=True)
class Ablation:
    """One change of the reference recipe."""

    name: str
    what: str
    """The change in words."""

    model: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the model that differ from the reference."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the recipe that differ from the reference."""

    pretraining: Mapping[str, Any] | None = None
    """Further settings of a pretraining that comes first, if any."""

    length: float = 1
    """Epochs of the training and of the pretraining, each as a multiple of the reference's."""

    def recipe(self, reference: Recipe = REFERENCE) -> Recipe:
        """The reference recipe with this change."""
        model = {**reference.model_settings, **self.model}
        own = {"name": self.name, "epochs": self.length * reference.epochs, "model_settings": model}
        return override(reference, {**self.settings, **own})

    def pretraining_recipe(self, reference: Recipe = REFERENCE) -> Recipe | None:
        """The recipe of the pretraining, if there is one."""
        if self.pretraining is None:
            return None
        return override(self.recipe(reference), {**self.pretraining, "name": f"{self.name}-pretraining"})


def _pretrained(name: str, what: str, **changes: object) -> Ablation:
    return Ablation(name, what, pretraining=changes, length=1 / 2)


DROPOUT = {part: {"dropout": 0.1} for part in WITHOUT_DROPOUT}
ABSOLUTE = {"regression_loss": "absolute"}
HIDDEN = {"drop_pattern": 0.1, "drop_composition": 0.1}
RELATIVES = {"lattice_strain": Strain(share=0.7, isotropic=(-0.02, 0.02), anisotropic=(0.0, 0.03))}

ABLATIONS = (
    Ablation("reference", "sizes of `compact`, AdamW, √I, convolutional tokenizer, composition passed to the heads"),
    Ablation("linear-intensity", "I instead of √I", model={"intensity_scale": "linear"}),
    Ablation("sqrt-and-log", "√I and log I as two channels", model={"intensity_scale": "sqrt_and_log"}),
    Ablation("window-tokens", "tokens as in the paper: one linear map of each window", model={"tokenizer": "windows"}),
    Ablation("finer-tokens", "85 tokens of 50 points instead of 17 of 250", model={"tokens_per_window": 5}),
    Ablation("peak-tokens", "48 tokens of peaks (log q, q², √I) in addition to the windows", model={"peak_tokens": 48}),
    Ablation("no-skip-to-heads", "heads receive the fused [CLS] token only", model={"skip_to_heads": False}),
    Ablation("deep-heads", "heads with two hidden layers of 256", model={"head_hidden_width": 256}),
    Ablation("element-readout", "mean over the element tokens passed to the heads", model={"element_readout": True}),
    Ablation("deep-heads-readout", "both of these", model={"head_hidden_width": 256, "element_readout": True}),
    Ablation("dropout", "dropout 0.1 in every layer, as in the paper", model=DROPOUT),
    Ablation("muon", "Muon for the matrices, at 3 times the learning rate", settings={"optimiser": "muon"}),
    Ablation(
        "muon-same-rate", "Muon at the learning rate of AdamW", settings={"optimiser": "muon", "muon_lr_factor": 1.0}
    ),
    Ablation("ema", "exponential moving average of the weights, 0.99", settings={"ema_decay": 0.99}),
    Ablation("modality-dropout", "composition dropped for 10 %, pattern for 10 %", settings=HIDDEN),
    Ablation("no-augmentation", "ideal patterns only", settings={"augmentation": None}),
    Ablation("lattice-strain", "70 % of the ideal patterns with a strained lattice", settings=RELATIVES),
    Ablation(
        "knn-retrieval",
        "k-nearest-neighbour retrieval from the training materials",
        settings={"retrieval_rows": 90_000},
    ),
    Ablation("absolute-loss", "absolute instead of squared errors of values", settings={"regression_loss": "absolute"}),
    Ablation(
        "absolute-loss-six",
        "the same, weighted six times",
        settings={"regression_loss": "absolute", "regression_weight": 6.0},
    ),
    Ablation("one-target", "one target per material, as in the paper", settings={"task_sampling": "one"}),
    Ablation(
        "extra-targets", "lattice, volume and density as additional targets", settings={"targets": tuple(TARGETS)}
    ),
    Ablation("half-length", "half the supervised steps: the baseline of the pretrained models", length=1 / 2),
    _pretrained(
        "mxm-5", "MXM pretraining, 5 % of the windows masked, then half the steps", objectives=("mxm",), mask_ratio=0.05
    ),
    _pretrained("mxm-15", "the same, 15 %", objectives=("mxm",), mask_ratio=0.15),
    _pretrained("mxm-40", "the same, 40 %", objectives=("mxm",), mask_ratio=0.40),
    _pretrained("mxm-75", "the same, 75 %", objectives=("mxm",), mask_ratio=0.75),
    _pretrained("contrastive", "contrastive pretraining, then half the steps", objectives=("contrastive",)),
    _pretrained(
        "siglip", "the same with a sigmoid loss per pair", objectives=("contrastive",), contrastive_loss="sigmoid"
    ),
)


def ablations_to_jobs(settings: Mapping[str, Any]) -> Iterator[Job]:
    """All changes of the reference with these settings, each after its pretraining if it has one.

    Raises:
        RecipeError: a setting is unknown or impossible, or is the seed, which --seeds decides.
    """
    if "seed" in settings:
        msg = f"seed={settings['seed']} cannot be set: --seeds N trains with the seeds 0 to N - 1"
        raise RecipeError(msg, code="E_RECIPE")
    reference = override(REFERENCE, settings)
    for ablation in ABLATIONS:
        before = ablation.pretraining_recipe(reference)
        if before is not None:
            yield Job(before.name, before)
        yield Job(ablation.name, ablation.recipe(reference), None if before is None else before.name)


def main() -> None:
    """Train the reference, then every change, and evaluate them on the validation split."""
    arguments = argument_parser(__doc__).parse_args()
    jobs = list(ablations_to_jobs(parse_settings(arguments.set)))
    run_experiment(jobs, arguments, name="ablations", options=("--split", "validation"))


if __name__ == "__main__":
    main()
