"""Figures of the paper for print and slides: PDF, SVG and PNG by Matplotlib, from the rows of `FigureData`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xxact_core.compositions.element_table import ATOMIC_NUMBERS
from xxact_core.evaluation.distributions import element_place
from xxact_core.paper.drawings import COLOURS, LABELS, values_by_share
from xxact_core.paper.experiments import EMBEDDINGS, STRATEGIES
from xxact_core.paper.figures import MODELS, SHOWN_SPLITS, FigureData, scaling_laws
from xxact_core.paper.layouts import ACCURACY, MAE
from xxact_core.quantities import CRYSTAL_SYSTEM_COLOURS, CRYSTAL_SYSTEMS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

PRINTED = (".pdf", ".svg", ".png")
"""Endings of figures for print and slides; the first two are vector graphics."""

_RESOLUTION = 200
"""Dots per inch of a PNG."""

_WIDTH = 17.5 / 2.54
"""Width of a page with two columns [inch]."""

_NARROW = 5
"""Highest ratio of the ends of a logarithmic axis that is labelled like a linear one. Ours."""

_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # comes with Matplotlib
    "font.size": 7.5,
    "axes.titlesize": 8,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "0.9",
    "grid.linewidth": 0.5,
    "legend.frameon": False,
    "pdf.fonttype": 42,  # fonts are embedded
    "svg.fonttype": "path",  # letters are outlines, which need no font
    "svg.hashsalt": "xxact",
    "text.parse_math": False,
}


def write_print(data: FigureData, path: Path) -> None:
    """Write a figure as PDF, SVG or PNG, by the ending of its name."""
    from matplotlib import rc_context  # noqa: PLC0415 - slow to import
    from matplotlib.figure import Figure  # noqa: PLC0415 - slow to import

    path.parent.mkdir(parents=True, exist_ok=True)
    without_date = {".pdf": {"CreationDate": None}, ".svg": {"Date": None}}  # the same rows, the same file
    with rc_context(_STYLE):
        drawing = Figure(layout="constrained")
        _PRINTS[data.number](data, drawing)
        drawing.savefig(path, metadata=without_date.get(path.suffix), dpi=_RESOLUTION)


def _print_embeddings(data: FigureData, drawing: Figure) -> None:
    panels = [panel for panel in EMBEDDINGS if panel in data.about["silhouette"]]
    columns = min(3, len(panels))
    lines = -(-len(panels) // columns)
    drawing.set_size_inches(_WIDTH, 2.45 * lines + 0.4)
    parts = drawing.subplots(lines, columns, squeeze=False)
    for axes in parts.flat[len(panels) :]:
        axes.set_visible(False)
    for axes, panel in zip(parts.flat, panels, strict=False):
        rows = [row for row in data.rows if row["panel"] == panel]
        for system, colour in zip(CRYSTAL_SYSTEMS, CRYSTAL_SYSTEM_COLOURS, strict=True):
            points = [(row["component_1"], row["component_2"]) for row in rows if row["crystal_system"] == system]
            x, y = np.transpose(points) if points else ([], [])
            axes.plot(x, y, ".", color=colour, markersize=3, alpha=0.7, markeredgewidth=0, label=system)
        shares = data.about["variance"][panel]
        axes.set_title(f"{panel}\nsilhouette {data.about['silhouette'][panel]:.2f}".replace("-0.", "−0."))
        axes.set_xlabel(f"component 1 ({shares[0]:.0%} of the variance)")
        axes.set_ylabel(f"component 2 ({shares[1]:.0%})")
        axes.tick_params(labelbottom=False, labelleft=False, length=0)
    handles, labels = parts.flat[0].get_legend_handles_labels()
    drawing.legend(handles, labels, loc="outside lower center", ncols=len(CRYSTAL_SYSTEMS), markerscale=2.5)


def _print_scaling(data: FigureData, drawing: Figure) -> None:
    from matplotlib.ticker import NullLocator  # noqa: PLC0415 - slow to import

    drawing.set_size_inches(0.62 * _WIDTH, 3.1)
    axes = drawing.subplots()
    laws = scaling_laws(data.rows)
    for label, colour, mark in zip(MODELS.values(), (COLOURS["unimodal"], COLOURS["bimodal"]), "so", strict=True):
        points = [(row["materials"], row["mae"]) for row in data.rows if row["model"] == label]
        if not points:
            continue
        name, (x, y) = label, np.transpose(points)
        if label in laws:
            law, sizes = laws[label], np.geomspace(x.min(), x.max(), 60)
            half = (law.exponent_interval[1] - law.exponent_interval[0]) / 2
            name = f"{label}\nexponent {law.exponent:.3f} ± {half:.3f} (95 %)".replace("-0.", "−0.")
            axes.fill_between(sizes, *law.band(sizes), color=colour, alpha=0.15, linewidth=0)
            axes.plot(sizes, law.at(sizes), color=colour, linewidth=1)
        axes.plot(x, y, mark, color=colour, markersize=4, label=name)
    axes.set_xscale("log")
    axes.set_yscale("log")
    trained = sorted({row["materials"] for row in data.rows})
    axes.set_xticks(trained, [f"{size:,}" for size in trained])
    axes.xaxis.set_minor_locator(NullLocator())
    _plain_numbers(axes.yaxis)
    axes.set_xlabel("training materials")
    axes.set_ylabel(LABELS[MAE])
    axes.grid(visible=True)
    axes.legend()


def _print_crystal_systems(data: FigureData, drawing: Figure) -> None:
    drawing.set_size_inches(_WIDTH, 2.6)
    for axes, split in zip(drawing.subplots(1, 2, sharey=True), SHOWN_SPLITS, strict=True):
        rows = [row for row in data.rows if row["split"] == split]
        bars = axes.bar(
            [row["crystal_system"] for row in rows], [row["share"] for row in rows], color=CRYSTAL_SYSTEM_COLOURS
        )
        axes.bar_label(bars, [f"{row['materials']:,}" for row in rows], fontsize=6.5)
        axes.set_title(f"{split}: {sum(row['materials'] for row in rows):,} materials")
        axes.tick_params(axis="x", rotation=35)
        axes.set_ylabel("share of materials [%]" if split == SHOWN_SPLITS[0] else "")


def _print_elements(data: FigureData, drawing: Figure) -> None:
    from matplotlib.cm import ScalarMappable  # noqa: PLC0415 - slow to import
    from matplotlib.colors import LogNorm  # noqa: PLC0415 - slow to import

    drawing.set_size_inches(_WIDTH, 6.6)
    most = max(2, *(row["materials"] for row in data.rows))
    colours = ScalarMappable(LogNorm(1, most), "viridis_r")
    parts = drawing.subplots(2, 1)
    for axes, split in zip(parts, SHOWN_SPLITS, strict=True):
        for row in (row for row in data.rows if row["split"] == split):
            line, column = element_place(ATOMIC_NUMBERS[row["element"]])
            many = row["materials"]
            colour = colours.to_rgba(many) if many else "0.92"
            ink = "white" if many**2 > most else "black"
            axes.add_patch(_square(column, -line, colour))
            axes.text(column, -line + 0.12, row["element"], ha="center", va="center", color=ink, weight="bold")
            text = f"{many:,}" if many < 10_000 else f"{many / 1000:.0f}k"  # noqa: PLR2004 - room for five letters
            axes.text(column, -line - 0.25, text, ha="center", va="center", color=ink, fontsize=5)
        axes.set(xlim=(0.4, 18.6), ylim=(-9.95, -0.4), title=f"{split}: materials that contain the element")
        axes.axis("off")
    bar = drawing.colorbar(colours, ax=parts, label="materials", shrink=0.5, pad=0.01)
    bar.ax.yaxis.set_major_formatter("{x:,.0f}")


def _plain_numbers(axis: Axis) -> None:
    """Label a logarithmic axis with plain numbers.

    They are 1, 2, 3, 5 and 7 times each power of ten, or equally far apart where the ends differ by less than a factor
    of `_NARROW`.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter  # noqa: PLC0415 - slow to import

    low, high = axis.get_data_interval()
    wide = high > _NARROW * low
    axis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7)) if wide else MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda value, _place: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _square(x: float, y: float, colour: Any) -> Any:  # noqa: ANN401 - Matplotlib's colour and patch
    from matplotlib.patches import Rectangle  # noqa: PLC0415 - slow to import

    return Rectangle((x - 0.47, y - 0.47), 0.94, 0.94, facecolor=colour, linewidth=0)


def _print_convergence(data: FigureData, drawing: Figure) -> None:
    plain, *pretrained = STRATEGIES
    drawing.set_size_inches(_WIDTH, 4.2)
    parts = drawing.subplots(2, len(pretrained), sharex=True, sharey="row")
    for line, metric in zip(parts, (MAE, ACCURACY), strict=True):
        for axes, strategy in zip(line, reversed(pretrained), strict=True):
            _draw_curves(axes, data, metric, (plain, strategy))
            axes.grid(visible=True)
            if metric == MAE:
                axes.set_yscale("log")
                _plain_numbers(axes.yaxis)
                axes.set_title(strategy)
            else:
                axes.set_xlabel("share of the training [%]")
        line[0].set_ylabel(LABELS[metric])
    if parts[0][0].get_legend_handles_labels()[0]:
        parts[0][0].legend()


def _draw_curves(axes: Axes, data: FigureData, metric: str, strategies: tuple[str, str]) -> None:
    """The curve of a strategy and that without pretraining: mean and range over seeds."""
    for name, label, colour, dash in zip(
        strategies, ("without pretraining", "pretrained"), (COLOURS["before"], COLOURS["after"]), ("--", "-"),
        strict=True,
    ):  # fmt: skip
        shares, values = values_by_share(data, name, metric)
        if len(shares):
            axes.fill_between(shares, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.15, linewidth=0)
            axes.plot(shares, values.mean(axis=0), dash, color=colour, linewidth=1, label=label)


_PRINTS: dict[int, Callable[[FigureData, Any], None]] = {
    2: _print_embeddings,
    3: _print_scaling,
    4: _print_crystal_systems,
    5: _print_elements,
    6: _print_convergence,
}
