"""Precision of matrix products: bfloat16 on a GPU, and on a CPU that computes it faster than float32."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch.nn import functional

from xxact_core.model.config import ModelConfig
from xxact_core.training.config import Recipe

LEAST_SPEEDUP = 1.3
"""Speed of bfloat16 over float32 from which a CPU uses it. With instructions for it a CPU is twice as fast; without, it
takes 1 to 7 times as long, so that load on the machine does not change the choice. Ours."""

NARROWEST = 128
"""Width of a model from which it is trained in bfloat16 on a CPU. In narrower ones, conversions take longer than
products. Source: docs/results/precision.md."""

EVENT = "precision"
"""Event of the journal that states the precision of a run."""

_ROUNDS = 4
_BATCH, _CHANNELS, _POINTS, _WIDTH = 16, 64, 425, 256
"""Sizes of the measured convolution and product, those of the preset `compact`."""


@dataclass(frozen=True)
class Precision:
    """The precision of a run."""

    name: str
    """`float32` or `bfloat16`."""

    cpu: str
    """The CPU that it was chosen for, see `describe_cpu`; empty on a GPU, or where the recipe states the precision."""

    former: str = ""
    """The precision before the run was resumed, where it was another one."""

    @property
    def notice(self) -> str:
        """What a user should know; empty where the recipe states the precision."""
        if self.former:
            return f"the precision changed from {self.former} to {self.name}: the run is resumed on another CPU"
        return f"precision {self.name}, which is the fastest on this CPU" if self.cpu else ""


def choose_precision(
    recipe: Recipe, device: torch.device, *, events: Iterable[Mapping[str, Any]] = (), resumed: bool = False
) -> Precision:
    """The precision of a run: that of the recipe or, where that is `auto`, the fastest of its device.

    A run that is resumed on the same CPU keeps its precision.

    Args:
        recipe: The recipe.
        device: The device of the run.
        events: The journal of the run.
        resumed: Whether the run continues from a snapshot.
    """
    if recipe.precision != "auto":
        return Precision(recipe.precision, "")
    if device.type != "cpu":
        return Precision("bfloat16", "")
    cpu, before = describe_cpu(), None
    if resumed:  # version 0.1.0 trained in float32 and did not write this down
        before = next((event for event in reversed(list(events)) if event["event"] == EVENT), {"precision": "float32"})
        if before.get("cpu", cpu) == cpu:
            return Precision(before["precision"], cpu)
    fast = widest(recipe.model_config()) >= NARROWEST and bfloat16_speedup() >= LEAST_SPEEDUP
    name = "bfloat16" if fast else "float32"
    return Precision(name, cpu, former="" if before is None or before["precision"] == name else before["precision"])


def widest(config: ModelConfig) -> int:
    """Largest width of a stack of the model."""
    return max(config.pattern.width, config.composition.width, config.fusion.width)


def describe_cpu() -> str:
    """Name and instruction set of the CPU, and the limit that oneDNN was given."""
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # from torch 2.11 on
    name = capabilities.get("cpu_name") or platform.processor() or platform.machine()
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA")
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}" + (f", oneDNN limited to {limit}" if limit else "")


@cache
def bfloat16_speedup() -> float:
    """How many times as fast as in float32 this CPU computes in bfloat16, by a convolution and a product.

    Both with their gradients, on one thread, by CPU time: half a second at most.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        seconds: dict[torch.dtype, list[float]] = {torch.float32: [], torch.bfloat16: []}
        speedup = 1.0
        for number in range(_ROUNDS):
            for dtype, times in seconds.items():
                began = time.thread_time()
                _convolution_and_product(dtype)
                times.append(time.thread_time() - began)
            speedup = min(seconds[torch.float32]) / max(min(seconds[torch.bfloat16]), 1e-9)
            if number > 0 and speedup < LEAST_SPEEDUP / 2:  # the first round prepares the kernels
                break
    finally:
        torch.set_num_threads(threads)
    return speedup


def _convolution_and_product(dtype: torch.dtype) -> None:
    def ones(*shape: int) -> torch.Tensor:
        return torch.ones(shape, dtype=dtype).requires_grad_()

    pattern = ones(_BATCH, 1, _POINTS, _CHANNELS).permute(0, 3, 1, 2)
    features = functional.conv2d(pattern, ones(_CHANNELS, _CHANNELS, 1, 5), padding=(0, 2))
    product = functional.linear(ones(4 * _WIDTH, _WIDTH), ones(2 * _WIDTH, _WIDTH))
    (features.sum() + product.sum()).backward()
