"""The recipes by name, in the paper's sizes unless stated otherwise.

Settings such as `--set targets='["band_gap"]' --set preset=small --set batch_size=256` adapt a recipe to other targets,
or to a laptop.
"""

from __future__ import annotations

from dataclasses import replace

from xxact_core.augmentation.config import AugmentationConfig
from xxact_core.augmentation.effects import Strain
from xxact_core.errors import RecipeError
from xxact_core.training.config import FROM_A_MODEL, Recipe

# The shipped checkpoint: about 300,000 materials on two CPU cores in some hours.
_COMPACT = Recipe(
    name="compact",
    preset="compact",
    task_sampling="all",
    regression_loss="absolute",
    regression_weight=5.0,
    augmentation=AugmentationConfig(share=0.5),
    lattice_strain=Strain(share=0.5, isotropic=(-0.01, 0.01), anisotropic=(0.0, 0.01)),
    epochs=18,
    batch_size=256,
    optimiser="muon",
    drop_pattern=0.1,
    drop_composition=0.12,
    lr_peak=8e-4,
    lr_init=1e-5,
    lr_final=1e-6,
    warmup_fraction=0.08,
    weight_decay=0.03,
    threads=2,
    grad_clip_norm=1.0,
    retrieval_rows=85_000,
    objectives=("targets", "mxm"),
    mask_ratio=0.25,
    mask_share=0.12,
    mxm_weight=3.0,
    polymorphs_together=4,
    difference_weight=1.0,
    symmetry_contrast_weight=0.1,
    model_settings={
        "intensity_scale": "sqrt_and_log",
        "element_readout": True,
        "head_hidden_width": 256,
        "embedding_width": 64,
        "composition_estimate": True,
        "teacher_offset": True,
        "metal_head": True,
        "decoder": "peaks",
        "peak_ratios": 24,
    },
)

# The same for models with one input, without what needs both.
_ONE_INPUT = replace(
    _COMPACT,
    objectives=("targets",),
    mask_share=1.0,
    mxm_weight=1.0,
    symmetry_contrast_weight=0.0,
    difference_weight=0.0,
    drop_pattern=0.0,
    drop_composition=0.0,
    model_settings={"head_hidden_width": 256, "teacher_offset": True, "metal_head": True},
)

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(name="multi-target"),
        Recipe(name="formation-energy", targets=("formation_energy_per_atom",)),
        Recipe(name="band-gap", targets=("band_gap",)),
        Recipe(name="crystal-system", targets=("crystal_system",)),
        Recipe(name="space-group", targets=("space_group",)),
        Recipe(name="pretrain-contrastive", objectives=("contrastive",), epochs=100),
        Recipe(name="pretrain-mxm", objectives=("mxm",), epochs=100),
        # The squared error of I/100 of an empty window is about 0.005, the contrastive loss begins at ln(batch size):
        # the weight brings both to the same size. The paper adds them unweighted, for patterns whose maximum is 100.
        Recipe(name="pretrain", objectives=("contrastive", "mxm"), mxm_weight=500.0, epochs=100),
        # From a run of another recipe, --set start_from=RUN/model: train all weights, or a new head only.
        Recipe(name="fine-tune", start_from=FROM_A_MODEL),
        Recipe(name="transfer-band-gap", targets=("band_gap",), start_from=FROM_A_MODEL, freeze_backbone=True),
        _COMPACT,
        # Baselines of XxaCT-NN. Epochs of the FCNs: its table 3; it does not state those of the others.
        Recipe(name="crabnet", preset="crabnet"),
        Recipe(name="xrd-transformer", preset="xrd-transformer"),
        Recipe(name="fcn", preset="fcn", epochs=100),
        Recipe(name="fcn-mlp", preset="fcn-mlp", epochs=100),
        Recipe(name="extra-trees", preset="extra-trees", targets=("crystal_system",)),
        # Two of them in a small size, trained like the shipped checkpoint.
        replace(_ONE_INPUT, name="crabnet-small", preset="crabnet-small"),
        replace(_ONE_INPUT, name="xrd-transformer-small", preset="xrd-transformer-small"),
        # For tutorials: a hundred steps take seconds on a laptop.
        Recipe(
            name="tiny",
            preset="tiny",
            task_sampling="all",
            epochs=3,
            batch_size=32,
            lr_peak=2e-3,
            validate_every=20,
            save_every=20,
        ),
    )
}

DESCRIPTIONS = {
    "compact": "recipe of the shipped model, for about 100,000 materials on a laptop",
    "tiny": "for trying out: a few seconds per hundred steps",
    "multi-target": "size of the paper, four targets from scratch; needs a GPU",
    "formation-energy": "size of the paper, one target; needs a GPU",
    "band-gap": "size of the paper, one target; needs a GPU",
    "crystal-system": "size of the paper, one target; needs a GPU",
    "space-group": "size of the paper, one target; needs a GPU",
    "pretrain-contrastive": "without labels: contrastive",
    "pretrain-mxm": "without labels: masked windows",
    "pretrain": "without labels: contrastive and masked windows",
    "fine-tune": "continues a finished run, all weights trained",
    "transfer-band-gap": "continues a finished run, only a new head trained",
    "crabnet": "baseline: composition only, size of the paper",
    "xrd-transformer": "baseline: pattern only, size of the paper",
    "fcn": "baseline: convolutions on the pattern",
    "fcn-mlp": "baseline: convolutions and the composition",
    "extra-trees": "baseline: extremely randomized trees on the pattern",
    "crabnet-small": "baseline: composition only, small",
    "xrd-transformer-small": "baseline: pattern only, small",
}
"""What each recipe is for; those for a laptop come first."""


def recipe_by_name(name: str) -> Recipe:
    """A recipe by name.

    Raises:
        RecipeError: there is no such recipe.
    """
    if name not in RECIPES:
        msg = f"there is no recipe {name!r}; expected a .toml file, or one of {', '.join(RECIPES)}"
        raise RecipeError(msg, code="E_RECIPE")
    return RECIPES[name]
