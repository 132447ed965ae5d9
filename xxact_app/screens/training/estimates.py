"""Estimates of the time, memory and disk space of a training, and their uncertainty."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import psutil

from xxact_core.errors import RecipeError
from xxact_core.patterns.grid import GRID

if TYPE_CHECKING:
    from xxact_core.training.config import Recipe

SPEED = {("cpu", "float32"): 55e9, ("cpu", "bfloat16"): 130e9, ("cuda", "float32"): 15e12, ("cuda", "bfloat16"): 90e12}
"""Operations per second in training, per thread on a CPU.

Source: 14 journals of trainings on two AMD EPYC cores (presets compact, small, crabnet-small; 113 to 1,178 materials a
second), which agree with the values for CPUs within a factor of 1.6; those for GPUs are half of the nominal speed of an
H100 in layers of this size. Earlier runs on this machine correct them (see `slowness`).
"""

MAKING = {"ideal": 1e-4, "distorted": 5e-4}
"""CPU time [s] to simulate one pattern. Source: as above."""

FINISHING_ROWS = 12_000
"""Approximate number of patterns for the calibration of a finished run."""

BASE_BYTES = 0.7e9
"""Memory [bytes] of Python and torch before the training. Source: resident memory of such a process."""

_OPENING, _A_STEP = 8.0, 0.01
"""Time [s] before the first step, and overhead [s] of each step. Source: as above, preset tiny."""

_FORWARD_AND_BACK = 3
_COPIES = 5
_ELEMENTS = 8
_PIECE = 4
_TREES_A_MATERIAL = 0.02
_FEWEST_STEPS = 20


@dataclass(frozen=True)
class ModelCost:
    """The size of a model and the cost of one material."""

    parameters: int
    """Number of parameters."""
    operations: float
    """Operations of a forward pass."""
    kept_bytes: float
    """Activations kept for the backward pass [bytes]."""


@dataclass(frozen=True)
class Estimate:
    """Estimated time, memory and disk space of a training."""

    parameters: int
    """Number of parameters of the model."""
    steps: int
    """Number of training steps."""
    seconds: float
    """Time [s]."""
    factor: float
    """Uncertainty factor of the time."""
    memory: float
    """Memory [bytes]."""
    memory_free: float
    """Free memory [bytes]."""
    disk: float
    """Disk space [bytes]."""
    device: str
    """`cpu` or `cuda`."""
    fitting_micro_batch: int | None
    """Materials per forward pass with which the training would fit into memory, if it does not; else None."""

    @property
    def fits(self) -> bool:
        """Whether it fits into the free memory."""
        return self.memory <= self.memory_free


def estimate_training(recipe: Recipe, *, materials: int, validation: int, dataset_bytes: float) -> Estimate:
    """Estimate a training of a recipe on `materials` training and `validation` validation materials.

    Raises:
        RecipeError: the model cannot be built.
    """
    import torch  # noqa: PLC0415 - takes seconds, and pages are shown without it

    from xxact_core.training.precision import choose_precision  # noqa: PLC0415 - needs torch

    device = recipe.device.partition(":")[0]
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    config = recipe.model_config()
    rows = min(materials, recipe.training_rows or materials)
    steps = max(1, round(recipe.epochs * rows / recipe.batch_size))
    if config.architecture == "extra-trees":
        seconds, memory = rows * _TREES_A_MATERIAL, BASE_BYTES + 4 * dataset_bytes + 2e4 * rows
        return _estimate(1, 1, seconds, 4, memory, device, fixed=0, each=0, pieces=1)
    cost = _cost(json.dumps(config.to_dict(), sort_keys=True), tuple(sorted(recipe.objectives)))
    cores = min(recipe.threads, os.cpu_count() or 1) if device == "cpu" else 1
    half = choose_precision(recipe, torch.device(device)).name == "bfloat16"
    speed = SPEED[device, "bfloat16" if half else "float32"] * cores
    forward = cost.operations / speed
    making = MAKING["distorted" if recipe.augmentation else "ideal"] / (cores if device == "cpu" else 20)
    trained = _FORWARD_AND_BACK * forward * (4 / 3 if recipe.activation_checkpointing else 1) + making
    looked_at = math.ceil(steps / recipe.validate_every) * min(validation, recipe.validation_rows)
    finishing = min(materials + validation, FINISHING_ROWS) if "targets" in recipe.objectives else 0
    seconds = _OPENING + steps * (_A_STEP + recipe.batch_size * trained) + (looked_at + finishing) * (forward + making)
    micro = min(recipe.micro_batch_size or recipe.batch_size, recipe.batch_size)
    fixed = BASE_BYTES + _COPIES * 4 * cost.parameters + 2 * dataset_bytes
    fixed += recipe.batch_size * 2 * 4 * GRID.points
    each = cost.kept_bytes * (0.6 if half else 1) * (0.3 if recipe.activation_checkpointing else 1)
    return _estimate(
        cost.parameters, steps, seconds, 2, fixed + each * micro, device,
        fixed=fixed, each=each, pieces=micro,
    )  # fmt: skip


def expected_rate(recipe: Recipe, estimate: Estimate) -> float:
    """Expected materials per second."""
    return estimate.steps * recipe.batch_size / max(estimate.seconds, 1e-9)


def slowness(runs: list[tuple[float, float, int]]) -> float | None:
    """Median factor by which runs were slower than expected, from (expected rate, measured rate, steps); or None."""
    rates = [(expected, measured) for expected, measured, steps in runs if measured > 0 and steps >= _FEWEST_STEPS]
    ratios = sorted(expected / measured for expected, measured in rates)
    return ratios[len(ratios) // 2] if ratios else None


def _estimate(
    parameters: int, steps: int, seconds: float, factor: float, memory: float, device: str,
    *, fixed: float, each: float, pieces: int,
) -> Estimate:  # fmt: skip
    free = float(psutil.virtual_memory().available)
    if device == "cuda":
        import torch  # noqa: PLC0415 - see above

        free = float(torch.cuda.mem_get_info()[0])
    fitting = None
    if memory > free and each and (room := (free - fixed) / each) >= 1:
        fitting = min(pieces, 2 ** int(math.log2(room)))
    disk = 3 * _COPIES * 4 * parameters  # two snapshots with optimizer state, one being written, and the model
    return Estimate(parameters, steps, seconds, factor, memory, free, disk, device, fitting)


@lru_cache(maxsize=64)
def _cost(config: str, objectives: tuple[str, ...]) -> ModelCost:
    """Count the operations and activations of a model, on meta tensors where possible."""
    import torch  # noqa: PLC0415 - see above
    from torch.utils.flop_counter import FlopCounterMode  # noqa: PLC0415 - see above

    from xxact_core.compositions.element_features import load_element_features  # noqa: PLC0415 - belongs to torch's part
    from xxact_core.model.config import ModelConfig  # noqa: PLC0415 - see above
    from xxact_core.model.inputs import ModelInput  # noqa: PLC0415 - see above
    from xxact_core.model.registry import config_to_model  # noqa: PLC0415 - see above
    from xxact_core.model.xxact import Xxact  # noqa: PLC0415 - see above

    wanted: Mapping[str, Any] = json.loads(config)
    kept: dict[int, float] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage.nbytes()  # noqa: SLF001 - what several tensors share is counted once
        held.append(tensor)
        return tensor

    held: list[torch.Tensor] = []
    try:
        # FCN+MLP and the decoder of peaks look at values while they run, and are small.
        looks_at_values = wanted["architecture"] == "fcn-mlp" or ("mxm" in objectives and wanted["decoder"] == "peaks")
        with torch.device("cpu" if looks_at_values else "meta"):
            model = config_to_model(ModelConfig.from_dict(wanted), torch.ones(len(load_element_features()), 200))
            inputs = ModelInput(
                intensity=torch.ones(_PIECE, GRID.points),
                window_mask=torch.zeros(_PIECE, GRID.windows, dtype=torch.bool),
                atomic_numbers=torch.ones(_PIECE, _ELEMENTS, dtype=torch.long),
                fractions=torch.full((_PIECE, _ELEMENTS), 1 / _ELEMENTS),
            )
        counter = FlopCounterMode(display=False)
        with counter, torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            if not isinstance(model, Xxact) or objectives == ("targets",):
                made: Any = model(inputs)
            else:
                made = encoded = model.encode(inputs)
                if objectives != ("contrastive",):
                    made = model.reconstruct(model.fuse(encoded), inputs)
    except (RuntimeError, ValueError) as error:
        msg = f"a model with these settings cannot be built: {error}"
        raise RecipeError(msg, code="E_RECIPE") from error
    own = {parameter.untyped_storage()._cdata for parameter in model.parameters()}  # noqa: SLF001 - as above
    total = sum(size for storage, size in kept.items() if storage not in own)
    del made
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return ModelCost(parameters, counter.get_total_flops() / _PIECE, total / _PIECE)
