"""Linear maps by oneDNN beside torch's own: from how many rows on they pay, and how much.

    python benchmarks/speed/linear.py            # half a minute, writes docs/results/linear.md
    python benchmarks/speed/linear.py --quick    # a few rounds, writes nothing

Widths are those of the preset `small`. Both ways take turns, one thread, seconds of the processor's work for this
process, medians over rounds; "with gradients" adds those of input, weights and bias. The last line is a JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from xxact_core.evaluation.provenance import file_to_line
from xxact_core.model.linear import MANY, by_onednn

REPOSITORY = Path(__file__).resolve().parents[2]
RESULTS = REPOSITORY / "docs" / "results" / "linear.md"
WIDTHS = ((192, 576), (192, 384), (256, 512), (512, 256))
ROWS = (18, MANY // 4, MANY // 2, MANY, 2304)
"""Tokens of one pattern, the fewest that oneDNN is given and parts of that, and the tokens of a batch of 128."""

PRODUCTS = 2e8
"""Multiplications of one round, so that rounds of few rows take as long as those of many."""


def microseconds(step: Callable[[], object], *, times: int) -> float:
    """Processor time of one call [µs]."""
    began = time.process_time()
    for _ in range(times):
        step()
    return (time.process_time() - began) / times * 1e6


def compare(rows: int, before: int, after: int, *, rounds: int) -> dict[str, float]:
    """Times of both [µs], alone and with gradients, and their ratios, medians over neighbouring rounds."""
    values = torch.randn(rows, before, requires_grad=True)
    weight, bias = torch.randn(after, before, requires_grad=True), torch.randn(after, requires_grad=True)
    gradient = torch.randn(rows, after)
    times = max(2, round(PRODUCTS / (rows * before * after)))

    def alone(linear: Callable[..., Tensor]) -> Callable[[], object]:
        return lambda: linear(values.detach(), weight.detach(), bias.detach())

    def trained(linear: Callable[..., Tensor]) -> Callable[[], object]:
        return lambda: torch.autograd.grad(linear(values, weight, bias), (values, weight, bias), gradient)

    found: dict[str, float] = {}
    for name, way in (("", alone), ("_with_gradients", trained)):
        pairs = [
            [microseconds(way(linear), times=times) for linear in (functional.linear, by_onednn)]
            for _ in range(rounds + 1)
        ][1:]  # the first round takes memory and writes the loops
        found[f"torch_us{name}"], found[f"onednn_us{name}"] = map(statistics.median, zip(*pairs, strict=True))
        found[f"ratio{name}"] = statistics.median(torchs / ours for torchs, ours in pairs)
    return found


def main() -> None:
    """Measure, print, and write the page unless in a hurry."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    figures = {
        f"{rows} rows, {before} to {after}": compare(rows, before, after, rounds=3 if quick else 21)
        for rows in ROWS
        for before, after in WIDTHS
    }
    table = (
        "| what | torch [µs] | oneDNN [µs] | ratio "
        "| torch, with gradients [µs] | oneDNN, with gradients [µs] | ratio |\n|---|---|---|---|---|---|---|\n"
    )
    for name, figure in figures.items():
        table += f"| {name} | " + " | ".join(f"{value:.3g}" for value in figure.values()) + " |\n"
    print(table)
    if not quick:
        RESULTS.write_text(
            "# Linear maps by oneDNN beside torch's own\n\nMade by `benchmarks/speed/linear.py`: one thread, single "
            f"precision. Ratios above 1: oneDNN is faster. The model gives it {MANY} rows and more.\n\n"
            f"{file_to_line(REPOSITORY / 'xxact_core' / 'model' / 'linear.py')}\n\n{table}",
            encoding="utf-8",
        )
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
