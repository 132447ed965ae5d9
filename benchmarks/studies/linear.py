"""Linear maps by oneDNN and by torch's default (MKL): from how many rows on is oneDNN faster, and by how much?

    python benchmarks/studies/linear.py            # half a minute, writes docs/results/linear.md
    python benchmarks/studies/linear.py --quick    # a few rounds, writes nothing

The answer is the constant `MIN_ROWS` of `xxact_core.model.linear`. Widths are those of the preset `small`. Both take
turns on one thread; times are CPU times, medians over rounds. "With gradients" adds those of input, weights and bias.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the repository

import statistics
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.harness import REPOSITORY, alternate, argument_parser, finish, markdown_table, median_ratio
from xxact_core.dataset.store import file_digest
from xxact_core.model.linear import MIN_ROWS, by_onednn

WIDTHS = ((192, 576), (192, 384), (256, 512), (512, 256))
ROWS = (18, MIN_ROWS // 4, MIN_ROWS // 2, MIN_ROWS, 2304)
"""Tokens of one pattern, the fewest that oneDNN is given and parts of that, and the tokens of a batch of 128."""

PRODUCTS = 2e8
"""Multiplications of one round, so that rounds of few rows take as long as those of many."""


def compare(rows: int, before: int, after: int, *, rounds: int) -> dict[str, float]:
    """Times of both [µs], alone and with gradients, and their ratios, medians over rounds."""
    values = torch.randn(rows, before, requires_grad=True)
    weight, bias = torch.randn(after, before, requires_grad=True), torch.randn(after, requires_grad=True)
    gradient = torch.randn(rows, after)
    times = max(2, round(PRODUCTS / (rows * before * after)))

    def forward(linear: Callable[..., Tensor]) -> None:
        for _ in range(times):
            linear(values.detach(), weight.detach(), bias.detach())

    def with_gradients(linear: Callable[..., Tensor]) -> None:
        for _ in range(times):
            torch.autograd.grad(linear(values, weight, bias), (values, weight, bias), gradient)

    found: dict[str, float] = {}
    for name, work in (("", forward), ("_with_gradients", with_gradients)):
        pairs = alternate(lambda work=work: work(by_onednn), lambda work=work: work(functional.linear), rounds=rounds)
        onednn, torchs = (statistics.median(of_one) / times * 1e6 for of_one in zip(*pairs, strict=True))
        found |= {f"torch_us{name}": torchs, f"onednn_us{name}": onednn, f"ratio{name}": median_ratio(pairs)}
    return found


def main() -> None:
    """Measure, print, and write the page unless --quick is given."""
    arguments = argument_parser(__doc__).parse_args()
    torch.set_num_threads(1)
    figures = {
        f"{rows} rows, {before} to {after}": compare(rows, before, after, rounds=3 if arguments.quick else 21)
        for rows in ROWS
        for before, after in WIDTHS
    }
    times = ("torch [µs]", "oneDNN [µs]", "ratio")
    header = ["linear map", *times, *(f"with gradients: {name}" for name in times)]
    rows = [[name, *(f"{value:.3g}" for value in figure.values())] for name, figure in figures.items()]
    finish(
        __file__,
        markdown_table(header, rows),
        figures,
        quick=arguments.quick,
        title="Linear maps by oneDNN",
        introduction="Single precision, one thread, CPU times. Ratios are torch's time over oneDNN's: above 1, oneDNN "
        f"is faster. The model uses oneDNN from {MIN_ROWS} rows on.",
        data_digest=file_digest(REPOSITORY / "xxact_core" / "model" / "linear.py"),
    )


if __name__ == "__main__":
    main()
