"""Patterns from sticks: the compiled sum of lines and torch's beside a plain numpy sum, same sticks, one core.

    python benchmarks/speed/smearing.py [--quick]

Sticks are simulated from structures that are drawn from the shipped table. The last line printed is a JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from xxact_core.evaluation.provenance import file_to_line
from xxact_core.patterns.grid import GRID
from xxact_core.patterns.pattern import Sticks
from xxact_core.peak_profiles.reference import SIGMA, sum_lines
from xxact_core.peak_profiles.torch_kernels import smear_lines, smear_tensors
from xxact_core.simulation.diffraction import arrays_to_sticks
from xxact_core.structures.structure import Structure
from xxact_core.structures.tables import read_table, table_rows

REPOSITORY = Path(__file__).resolve().parents[2]
TABLE = REPOSITORY / "xxact_core" / "data" / "materials_project.parquet"
RESULTS = REPOSITORY / "docs" / "results" / "smearing.md"

BATCH = 256
"""Patterns summed in one call, as a training step asks for."""

BLOCK = 8
"""Neighbouring rows of the table drawn together."""

NARROWEST, WIDEST = 0.03, 0.3
"""Range of σ where each pattern has its own [deg]."""

AT_LEAST = {"smear_patterns_per_second": 20_000, "smear_speedup": 100}
AT_MOST = {"smear_max_error": 0.01}


def draw_sticks(count: int) -> list[Sticks]:
    """Sticks of `count` structures of the shipped table, drawn with a seed in blocks, so that little is read."""
    blocks = np.random.default_rng(0).choice(table_rows(TABLE) // BLOCK, count // BLOCK + 1, replace=False)
    drawn: list[Sticks] = []
    for block in np.sort(blocks):
        for structure in read_table(TABLE, start=int(block) * BLOCK, stop=int(block + 1) * BLOCK):
            if isinstance(structure, Structure):
                cell, numbers, places = structure.cell, structure.atomic_numbers, structure.frac_coords
                drawn.append(arrays_to_sticks(cell=cell, atomic_numbers=numbers, frac_coords=places))
    return drawn[:count]


def numpy_sum(sticks: Sticks, *, sigma: float) -> np.ndarray:
    """What one would write first: a Gaussian over the whole grid for each line."""
    total = np.zeros(GRID.points)
    for position, height in zip(sticks.two_theta, sticks.intensity, strict=True):
        total += height * np.exp(-((GRID.two_theta - position) ** 2) / (2 * sigma**2))
    return total


def per_second(work: Callable[[], object], *, patterns: int, repeats: int) -> float:
    """Patterns a second, median of the repeats; the first call, which compiles, is not counted."""
    work()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return patterns / statistics.median(times)


def largest_error(profile: torch.Tensor, exact: np.ndarray) -> float:
    """Largest difference of any point where each exact pattern is scaled to a maximum of 100."""
    scale = 100 / exact.max(axis=1, keepdims=True)
    return float((scale * np.abs(profile.double().numpy() - exact)).max())


def measure_smearing(*, quick: bool) -> dict[str, float]:
    """Speeds on one core and errors on the scale 0-100; σ = 0.1° for speeds where nothing else is said."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _measure(draw_sticks(BATCH), checked=64 if quick else BATCH, repeats=15 if quick else 101)
    finally:
        torch.set_num_threads(threads)


def _measure(drawn: list[Sticks], *, checked: int, repeats: int) -> dict[str, float]:
    two_theta = torch.from_numpy(np.concatenate([sticks.two_theta for sticks in drawn]))
    intensity = torch.from_numpy(np.concatenate([sticks.intensity for sticks in drawn])).float()
    counts = torch.tensor([len(sticks.two_theta) for sticks in drawn])
    lines = (two_theta, intensity, torch.repeat_interleave(torch.arange(len(drawn)), counts))
    constant = torch.full((len(drawn),), SIGMA)
    varied = NARROWEST + (WIDEST - NARROWEST) * torch.rand(len(drawn), generator=torch.Generator().manual_seed(0))
    half = torch.full((len(drawn),), 0.5)
    out = torch.empty((len(drawn), GRID.points))

    def speed(work: Callable[[], object], *, slow: bool = False) -> float:
        return per_second(work, patterns=len(drawn), repeats=max(3, repeats // 10) if slow else repeats)

    compiled = speed(lambda: smear_lines(*lines, batch=len(drawn), sigma=constant, out=out))
    some = drawn[: checked // 4]
    plain = per_second(lambda: [numpy_sum(item, sigma=SIGMA) for item in some], patterns=len(some), repeats=1)
    plain *= float(counts[: len(some)].float().mean() / counts.float().mean())
    figures = {
        "patterns": len(drawn),
        "lines_per_pattern": float(counts.float().mean()),
        "smear_patterns_per_second": compiled,
        "smear_patterns_per_second_fresh_memory": speed(lambda: smear_lines(*lines, batch=len(drawn), sigma=constant)),
        "smear_patterns_per_second_varied_sigma": speed(
            lambda: smear_lines(*lines, batch=len(drawn), sigma=varied, out=out)
        ),
        "smear_patterns_per_second_pseudo_voigt": speed(
            lambda: smear_lines(*lines, batch=len(drawn), sigma=varied, lorentzian=half, out=out)
        ),
        "numpy_patterns_per_second": plain,
        "smear_speedup": compiled / plain,
        "torch_patterns_per_second": speed(lambda: smear_tensors(*lines, out, sigma=constant), slow=True),
        "torch_patterns_per_second_varied_sigma": speed(lambda: smear_tensors(*lines, out, sigma=varied), slow=True),
    }
    return figures | _errors(drawn[:checked], lines, varied, half)


def _errors(
    checked: list[Sticks], lines: tuple[torch.Tensor, ...], varied: torch.Tensor, half: torch.Tensor
) -> dict[str, float]:
    by_torch = torch.empty((len(varied), GRID.points))
    figures = {}
    for form, share in (("", None), ("_pseudo_voigt", half)):
        exact = np.stack(
            [
                sum_lines(
                    sticks.two_theta,
                    sticks.intensity,
                    np.full(len(sticks.two_theta), float(varied[place])),
                    lorentzian_share=0.0 if share is None else float(share[place]),
                )
                for place, sticks in enumerate(checked)
            ]
        )
        compiled = smear_lines(*lines, batch=len(varied), sigma=varied, lorentzian=share)
        smear_tensors(*lines, by_torch, sigma=varied, lorentzian=share)
        figures[f"smear_max_error{form}"] = largest_error(compiled[: len(checked)], exact)
        figures[f"torch_max_error{form}"] = largest_error(by_torch[: len(checked)], exact)
    return figures


def write_results(table: str) -> None:
    """The page of results."""
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    text = (
        f"# Patterns from sticks\n\nOne core, batches of {BATCH} patterns of materials drawn from the shipped table, "
        f"σ = {SIGMA}° or, varied, {NARROWEST}-{WIDEST}° for each pattern. Errors: largest difference of any point "
        "from the float64 sum without windows, patterns scaled to 100, σ varied. The plain sum is numpy's, one line "
        "after another over the whole grid. Medians; made by `benchmarks/speed/smearing.py`.\n\n"
    )
    RESULTS.write_text(text + file_to_line(TABLE) + "\n\n" + table, encoding="utf-8")


def main() -> None:
    """Measure, print, and write the table unless in a hurry."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    figures = measure_smearing(quick=arguments.quick)
    table = "| what | | to reach |\n|---|---|---|\n"
    for name, value in figures.items():
        bound = f"≥ {AT_LEAST[name]:,}" if name in AT_LEAST else f"≤ {AT_MOST[name]}" if name in AT_MOST else ""
        shown = f"{value:,.0f}" if value >= 1 else f"{value:.1g}"
        table += f"| {name.replace('_', ' ')} | {shown} | {bound} |\n"
    print(table)
    if not arguments.quick:
        write_results(table)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
