"""A prediction as a page: pattern with reference reflections, ranked classes, values with intervals, and basis."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xxact_app.plots.patterns import to_scale
from xxact_app.samples.prediction_result import Answer
from xxact_app.samples.processing import WINDOW_EDGES
from xxact_app.screens.prediction import text as words
from xxact_app.screens.prediction.conclusion import Conclusion
from xxact_app.screens.prediction.figures import SCALE_SUFFIXES
from xxact_app.ui.formatting import high_probability, percent
from xxact_app.ui.theme import LIGHT
from xxact_core.errors import shorten
from xxact_core.quantities import BAND_GAP, CRYSTAL_SYSTEM, FORMATION_ENERGY, SPACE_GROUP, SURE, Quantity
from xxact_core.reports.figure import FONT, printable
from xxact_core.search_match.match import Match
from xxact_core.structures.space_groups import space_group_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from xxact_app.screens.prediction.phases_store import SearchResult
    from xxact_core.evaluation.attention import WindowAttention
    from xxact_core.patterns.pattern import GriddedPattern

_A4 = (8.27, 11.69)
_LINE_CHARACTERS = 108
"""Characters of 7.5 pt that fit on a line of the page."""

_MOST_LINES = 38
_MOST_BARS = 7


@dataclass(frozen=True)
class Page:
    """The content of a page."""

    answer: Answer
    conclusion: Conclusion
    gridded: GriddedPattern
    scale: str
    """Intensity scale: `linear`, `root` or `log`."""
    facts: tuple[tuple[str, str], ...]
    """Further lines as (name, text): how the prediction was made."""
    match: Match | None = None
    """The reference phase selected for comparison."""
    attention: WindowAttention | None = None
    guessed: bool = False
    """Whether the composition is a guess from the file name."""


def pages_to_pdf(pages: Sequence[Page]) -> bytes:
    """A PDF with one page per pattern."""
    from matplotlib.backends.backend_pdf import PdfPages  # noqa: PLC0415 - slow to import

    file = io.BytesIO()
    with PdfPages(file, metadata={"Title": "XxaCT predictions", "Creator": "XxaCT"}) as pdf:
        for page in pages:
            pdf.savefig(page_to_drawing(page))
    return file.getvalue()


def page_to_drawing(page: Page) -> Figure:
    """One A4 page as a figure."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - slow to import

    answer = page.answer
    drawing = Figure(figsize=_A4)
    name = printable(shorten(answer.sample.file.replace("\\", "/").rpartition("/")[2] or answer.sample.name, limit=90))
    composition = printable(shorten(answer.formula, limit=90)) if answer.formula else "not given"
    composition += " (guessed from the file name)" if page.guessed else ""
    _write(drawing, 0.08, 0.965, name, size=13, weight="bold")
    _write(drawing, 0.08, 0.943, f"Composition: {composition}", size=9)
    _write(drawing, 0.08, 0.922, printable(shorten(words.plain_headline(page.conclusion), limit=110)), size=9)
    _draw_pattern(drawing.add_axes((0.08, 0.68, 0.86, 0.225)), page)
    top = 0.62
    if isinstance(combined := page.conclusion.answer, Answer):
        _draw_bars(drawing.add_axes((0.2, 0.47, 0.27, 0.15)), CRYSTAL_SYSTEM, combined.prediction.crystal_system)
        _draw_bars(drawing.add_axes((0.66, 0.47, 0.28, 0.15)), SPACE_GROUP, combined.prediction.space_group)
        top = 0.425
    if page.attention is not None:
        rows = len(page.attention.symbols) + 1
        height = min(0.02 * rows, 0.11)
        _draw_attention(drawing, drawing.add_axes((0.2, top - 0.02 - height, 0.68, height)), page.attention)
        top -= height + 0.075
    lines = _lines(page)
    shown = lines if len(lines) <= _MOST_LINES else [*lines[: _MOST_LINES - 1], "… continued in the JSON and CSV files"]
    step = min(0.0125, (top - 0.03) / max(len(shown), 1))
    for number, line in enumerate(shown):
        _write(drawing, 0.08, top - number * step, line, size=7.5)
    return drawing


def _write(drawing: Figure, x: float, y: float, text: str, *, size: float, weight: str = "normal") -> None:
    drawing.text(x, y, text, va="top", parse_math=False, family=FONT, size=size, weight=weight)


def _draw_pattern(axes: Axes, page: Page) -> None:
    """The pattern, with the calculated one, the reflections of the phases and the difference where they were fitted."""
    found = page.conclusion.found
    if found is None or found.curves is None:
        intensity = np.where(page.gridded.coverage, page.gridded.intensity, np.nan)
        axes.plot(page.gridded.grid.two_theta, to_scale(intensity, scale=page.scale), color=LIGHT.series[0], lw=0.7)
        axes.set_xlabel("2θ (Cu Kα) [°]", fontsize=8)
    else:
        _draw_fit(axes, page, found)
        axes.set_xlabel("2θ [°]", fontsize=8)
    axes.set(yticks=[])
    axes.margins(x=0)
    axes.set_ylabel(f"Intensity{SCALE_SUFFIXES[page.scale]}", fontsize=8)
    axes.tick_params(labelsize=7)


def _draw_fit(axes: Axes, page: Page, found: SearchResult) -> None:
    curves = found.curves
    assert curves is not None, "phases were fitted"
    largest = float(np.abs(curves.measured).max()) or 1.0
    measured, calculated = (
        to_scale(100 * values / largest, scale=page.scale) for values in (curves.measured, curves.calculated)
    )
    low, high = float(measured.min()), float(measured.max())
    row = 0.06 * (high - low)
    axes.plot(curves.two_theta, measured, color=LIGHT.series[0], lw=0.7, label="measured")
    axes.plot(curves.two_theta, calculated, color=LIGHT.series[1], lw=0.7, label="calculated")
    for number, phase in enumerate(found.phases):
        base = low - (number + 1.2) * row
        inside = (phase.two_theta >= curves.two_theta[0]) & (phase.two_theta <= curves.two_theta[-1])
        name = printable(phase.label)
        axes.vlines(
            phase.two_theta[inside], base, base + 0.8 * row, lw=0.7, label=name,
            color=LIGHT.series[2 + number % (len(LIGHT.series) - 2)],
        )  # fmt: skip
    difference = measured - calculated
    base = low - (len(found.phases) + 0.6) * row - float(difference.max(initial=0.0))
    axes.plot(curves.two_theta, difference + base, color=LIGHT.muted, lw=0.6, label="difference")
    legend = axes.legend(fontsize=7, frameon=False, loc="upper right")
    for text in legend.get_texts():
        text.set_parse_math(False)


def _draw_bars(axes: Axes, quantity: Quantity, ranked: Sequence[Any]) -> None:
    shown = ranked[:_MOST_BARS]
    rows = np.arange(len(shown))
    sure = bool(shown) and shown[0].probability >= SURE
    axes.barh(rows, [item.probability for item in shown], color=LIGHT.accent if sure else LIGHT.uncertain)
    axes.set_yticks(rows, [words.label(quantity, item) for item in shown], fontsize=7)
    for place, item in enumerate(shown):
        axes.text(item.probability + 0.02, place, high_probability(item.probability), va="center", fontsize=7)
    axes.set(xlim=(0, 1.2), xticks=[0, 0.5, 1], xticklabels=["0 %", "50 %", "100 %"])
    axes.invert_yaxis()
    axes.tick_params(labelsize=7)
    axes.set_title(quantity.label if shown else f"{quantity.label}: not predicted by this model", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_attention(drawing: Figure, axes: Axes, attention: WindowAttention) -> None:
    shares = np.vstack([attention.weights, attention.cls_weight])
    rows = np.arange(len(shares) + 1) - 0.5
    drawn = axes.pcolormesh(WINDOW_EDGES, rows, np.ma.masked_invalid(shares), cmap="cividis", vmin=0)
    axes.set_yticks(np.arange(len(shares)), [*attention.symbols, "whole composition"], fontsize=7)
    axes.invert_yaxis()
    axes.tick_params(labelsize=7)
    axes.set_title("Attention map", fontsize=9)
    bar = drawing.colorbar(drawn, ax=axes, pad=0.01, fraction=0.03)
    bar.ax.tick_params(labelsize=6)
    bar.ax.yaxis.set_major_formatter(lambda share, _position: percent(share))
    axes.set_xlabel("Window, 2θ (Cu Kα) [°]", fontsize=8)


def _lines(page: Page) -> list[str]:
    combined, found = page.conclusion.answer, page.conclusion.found
    prediction = combined.prediction if isinstance(combined, Answer) else page.answer.prediction
    facts: list[tuple[str, str]] = []
    if not page.conclusion.mixture:
        for quantity in (FORMATION_ENERGY, BAND_GAP):
            value = getattr(prediction, quantity.name)
            if value is not None:
                interval = (
                    "no interval available"
                    if value.low is None
                    else f"{percent(0.9)} interval: {words.signed(value.low)} to {words.signed(value.high)}"
                )
                facts.append((quantity.label, f"{words.signed(value.value)} {value.unit} ({interval})"))
    if found is not None:
        facts.append(("Phases", found.sentence))
        for phase in found.phases:
            named = f"{phase.formula} {phase.name}".strip()
            values = f"{phase.weight} wt%, cell {words.cell_text(phase.cell)}, size {phase.size} nm"
            facts.append(
                (
                    "Phase",
                    f"{named}, {phase.space_group}: {values}, probability {high_probability(phase.probability)}",
                )
            )
        facts += [("Basis", f"{one.text}{'' if one.met else ' (not met)'}") for one in page.conclusion.conditions]
    if (one := page.match) is not None:
        shift = f"{one.shift:+.2f}".replace("-", "−")
        fit = f"score {one.score:.3f}, shift {shift}°, cell scale {one.scale:.4f}"
        facts.append(("Compared", f"{one.label}, {space_group_name(str(one.space_group or 'unknown'))}: {fit}"))
    facts.append(("Measured", f"{percent(prediction.coverage)} of 5–90° 2θ (Cu Kα)"))
    facts.append(("Note", words.certainty_words(prediction)))
    shown = None if page.conclusion.mixture else prediction
    facts += [("Warning", text) for text in words.notes(page.answer.prediction, shown)]
    lines = []
    for name, text in [*facts, *page.facts]:
        if text:
            wrapped = textwrap.wrap(printable(shorten(f"{name}: {text}", limit=600)), _LINE_CHARACTERS)
            lines += [wrapped[0], *(f"    {line}" for line in wrapped[1:])]
    return lines
