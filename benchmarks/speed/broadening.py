"""How fast are patterns made from sticks by the compiled sum and by torch, compared with a plain numpy sum?

    python benchmarks/speed/broadening.py            # writes docs/results/broadening.md
    python benchmarks/speed/broadening.py --quick    # a few repeats, writes nothing

Sticks are simulated from random structures of the shipped table. One core, the same sticks for all.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the repository

from collections.abc import Callable

import numpy as np
import torch

from benchmarks.harness import TABLE, Figure, argument_parser, figures_to_table, finish, median_seconds
from xxact_core.dataset.store import file_digest
from xxact_core.patterns.grid import GRID
from xxact_core.patterns.pattern import Sticks
from xxact_core.peak_profiles.reference import SIGMA, sum_peaks
from xxact_core.peak_profiles.torch_kernels import broaden_peaks, broaden_tensors
from xxact_core.simulation.diffraction import arrays_to_sticks
from xxact_core.structures.structure import Structure
from xxact_core.structures.tables import read_table, table_rows

BATCH = 256
"""Patterns summed in one call, as in a training step."""

BLOCK = 8
"""Neighbouring rows of the table drawn together."""

NARROWEST, WIDEST = 0.03, 0.3
"""Range of σ where each pattern has its own [deg]."""

FIGURES = {
    "patterns": Figure("patterns in a batch"),
    "lines_per_pattern": Figure("reflections per pattern, mean"),
    "smear_patterns_per_second": Figure("compiled sum, patterns per second", at_least=20_000),
    "smear_patterns_per_second_fresh_memory": Figure("the same, allocating the output"),
    "smear_patterns_per_second_varied_sigma": Figure("the same, σ varied"),
    "smear_patterns_per_second_pseudo_voigt": Figure("the same, pseudo-Voigt profiles, σ varied"),
    "numpy_patterns_per_second": Figure("plain numpy sum, patterns per second"),
    "smear_speedup": Figure("speed-up of the compiled sum over it", at_least=100),
    "torch_patterns_per_second": Figure("sum by torch, patterns per second"),
    "torch_patterns_per_second_varied_sigma": Figure("the same, σ varied"),
    "smear_max_error": Figure("largest error of the compiled sum", at_most=0.01),
    "torch_max_error": Figure("largest error of the sum by torch"),
    "smear_max_error_pseudo_voigt": Figure("largest error of the compiled sum, pseudo-Voigt"),
    "torch_max_error_pseudo_voigt": Figure("largest error of the sum by torch, pseudo-Voigt"),
}


def draw_sticks(count: int) -> list[Sticks]:
    """Sticks of random structures of the shipped table (seed 0), in blocks, so that little is read."""
    blocks = np.random.default_rng(0).choice(table_rows(TABLE) // BLOCK, count // BLOCK + 1, replace=False)
    drawn: list[Sticks] = []
    for block in np.sort(blocks):
        for structure in read_table(TABLE, start=int(block) * BLOCK, stop=int(block + 1) * BLOCK):
            if isinstance(structure, Structure):
                cell, numbers, places = structure.cell, structure.atomic_numbers, structure.frac_coords
                drawn.append(arrays_to_sticks(cell=cell, atomic_numbers=numbers, frac_coords=places))
    return drawn[:count]


def numpy_sum(sticks: Sticks, *, sigma: float) -> np.ndarray:
    """The plain sum: a Gaussian over the whole grid for each reflection."""
    total = np.zeros(GRID.points)
    for position, height in zip(sticks.two_theta, sticks.intensity, strict=True):
        total += height * np.exp(-((GRID.two_theta - position) ** 2) / (2 * sigma**2))
    return total


def per_second(work: Callable[[], object], *, patterns: int, repeats: int) -> float:
    """Patterns per second, median of the repeats."""
    return patterns / median_seconds(work, repeats=repeats)


def largest_error(profile: torch.Tensor, exact: np.ndarray) -> float:
    """Largest deviation of any point, with each exact pattern scaled to a maximum of 100."""
    scale = 100 / exact.max(axis=1, keepdims=True)
    return float((scale * np.abs(profile.double().numpy() - exact)).max())


def measure_broadening(*, quick: bool) -> dict[str, float]:
    """Speeds on one core and errors on the scale 0-100; σ = 0.1° where nothing else is stated."""
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

    compiled = speed(lambda: broaden_peaks(*lines, batch=len(drawn), sigma=constant, out=out))
    some = drawn[: checked // 4]
    plain = per_second(lambda: [numpy_sum(item, sigma=SIGMA) for item in some], patterns=len(some), repeats=1)
    plain *= float(counts[: len(some)].float().mean() / counts.float().mean())
    figures = {
        "patterns": len(drawn),
        "lines_per_pattern": float(counts.float().mean()),
        "smear_patterns_per_second": compiled,
        "smear_patterns_per_second_fresh_memory": speed(
            lambda: broaden_peaks(*lines, batch=len(drawn), sigma=constant)
        ),
        "smear_patterns_per_second_varied_sigma": speed(
            lambda: broaden_peaks(*lines, batch=len(drawn), sigma=varied, out=out)
        ),
        "smear_patterns_per_second_pseudo_voigt": speed(
            lambda: broaden_peaks(*lines, batch=len(drawn), sigma=varied, lorentzian=half, out=out)
        ),
        "numpy_patterns_per_second": plain,
        "smear_speedup": compiled / plain,
        "torch_patterns_per_second": speed(lambda: broaden_tensors(*lines, out, sigma=constant), slow=True),
        "torch_patterns_per_second_varied_sigma": speed(lambda: broaden_tensors(*lines, out, sigma=varied), slow=True),
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
                sum_peaks(
                    sticks.two_theta,
                    sticks.intensity,
                    np.full(len(sticks.two_theta), float(varied[place])),
                    lorentzian_share=0.0 if share is None else float(share[place]),
                )
                for place, sticks in enumerate(checked)
            ]
        )
        compiled = broaden_peaks(*lines, batch=len(varied), sigma=varied, lorentzian=share)
        broaden_tensors(*lines, by_torch, sigma=varied, lorentzian=share)
        figures[f"smear_max_error{form}"] = largest_error(compiled[: len(checked)], exact)
        figures[f"torch_max_error{form}"] = largest_error(by_torch[: len(checked)], exact)
    return figures


def main() -> None:
    """Measure, print, and write the page unless --quick is given."""
    arguments = argument_parser(__doc__).parse_args()
    figures = measure_broadening(quick=arguments.quick)
    finish(
        __file__,
        figures_to_table(figures, FIGURES),
        figures,
        quick=arguments.quick,
        title="Patterns from sticks",
        introduction=f"One core, batches of {BATCH} patterns of random materials of the shipped table, medians; σ = "
        f"{SIGMA}° or, varied, {NARROWEST}-{WIDEST}°, drawn for each pattern. Errors are largest deviations of any "
        "point from the complete sum in double precision, with patterns scaled to 100 and σ varied. The plain numpy "
        "sum adds one reflection after another over the whole grid.",
        data_digest=file_digest(TABLE),
    )


if __name__ == "__main__":
    main()
