"""What a training will take, before it is begun: time, memory, disk, and how far the figures can be trusted."""

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
"""Operations a second that training reaches, on a processor of each thread.

Source: 14 journals of trainings on two AMD EPYC cores (presets compact, small, crabnet-small; 113 to 1,178 materials a
second), which the processor's figures meet within a factor of 1.6; those of GPUs are half of what an H100 is said to do
in layers of this size. Runs on this machine correct them (see `slowness`).
"""

MAKING = {"ideal": 1e-4, "distorted": 5e-4}
"""Seconds of a processor to make one pattern. Source: as above."""

FINISHING_ROWS = 12_000
"""Patterns that a finished run looks at for its calibration, about."""

BASE_BYTES = 0.7e9
"""What Python and torch take before anything is trained. Source: resident memory of such a process."""

_OPENING, _A_STEP = 8.0, 0.01
"""Seconds before the first step, and of a step whatever its batch. Source: as above, preset tiny."""

_FORWARD_AND_BACK = 3
_COPIES = 5
_ELEMENTS = 8
_PIECE = 4
_TREES_A_MATERIAL = 0.02
_FEWEST_STEPS = 20


@dataclass(frozen=True)
class ModelCost:
    """Of a model: its parameters, and for one material operations forwards and bytes kept for the way back."""

    parameters: int
    operations: float
    kept_bytes: float


@dataclass(frozen=True)
class Estimate:
    """What a training will take: seconds within a factor of `factor`; bytes of memory and disk, and what is free."""

    parameters: int
    steps: int
    seconds: float
    factor: float
    memory: float
    memory_free: float
    disk: float
    device: str
    fitting_micro_batch: int | None
    """Materials at a time with which it would fit into memory, where it does not; None where nothing helps."""

    @property
    def fits(self) -> bool:
        """Whether it fits into the memory that is free now."""
        return self.memory <= self.memory_free


def estimate_training(recipe: Recipe, *, materials: int, validation: int, dataset_bytes: float) -> Estimate:
    """Estimate a training of a recipe on so many materials.

    Raises:
        RecipeError: the model cannot be made.
    """
    import torch  # noqa: PLC0415 - takes seconds, and pages are shown without it

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
    half = recipe.precision == "bfloat16" or (recipe.precision == "auto" and device == "cuda")
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
    """Materials a second that an estimate expects."""
    return estimate.steps * recipe.batch_size / max(estimate.seconds, 1e-9)


def slowness(runs: list[tuple[float, float, int]]) -> float | None:
    """How many times slower runs were than expected, of (expected rate, measured rate, steps) each; None of none."""
    told = [(expected, measured) for expected, measured, steps in runs if measured > 0 and steps >= _FEWEST_STEPS]
    ratios = sorted(expected / measured for expected, measured in told)
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
    disk = 3 * _COPIES * 4 * parameters  # snapshots with their optimiser, one of them being written, and the model
    return Estimate(parameters, steps, seconds, factor, memory, free, disk, device, fitting)


@lru_cache(maxsize=64)
def _cost(config: str, objectives: tuple[str, ...]) -> ModelCost:
    """Count a model's operations and what it keeps, on tensors without content where it can be made of those."""
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
        # FCN+MLP looks at values while it runs, and is small.
        with torch.device("cpu" if wanted["architecture"] == "fcn-mlp" else "meta"):
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
                    made = model.reconstruct(model.fuse(encoded))
    except (RuntimeError, ValueError) as error:
        msg = f"the model of these settings cannot be made: {error}"
        raise RecipeError(msg, code="E_RECIPE") from error
    own = {parameter.untyped_storage()._cdata for parameter in model.parameters()}  # noqa: SLF001 - as above
    total = sum(size for storage, size in kept.items() if storage not in own)
    del made
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return ModelCost(parameters, counter.get_total_flops() / _PIECE, total / _PIECE)
