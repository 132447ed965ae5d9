"""Figures of the paper as HoloViews objects and HTML pages, from the rows of `FigureData`."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from xxact_core.compositions.element_table import ATOMIC_NUMBERS
from xxact_core.evaluation.distributions import element_place
from xxact_core.paper.experiments import EMBEDDINGS, STRATEGIES
from xxact_core.paper.figures import MODELS, FigureData, scaling_laws
from xxact_core.paper.layouts import ACCURACY, MAE
from xxact_core.paper.texts import write_text
from xxact_core.quantities import CRYSTAL_SYSTEM_COLOURS, CRYSTAL_SYSTEMS

Drawing = Any
"""A HoloViews object; the library is imported in functions, since its import takes seconds."""

COLOURS = {"before": "#5F5F5F", "after": "#0072B2", "unimodal": "#009E73", "bimodal": "#D55E00"}
LABELS = {MAE: "formation energy, MAE [meV/atom]", ACCURACY: "crystal system, accuracy [%]"}
_LOG_TICKS = [10, 20, 30, 50, 70, 100, 150, 200, 250, 300, 400, 500, 700, 1000, 1500, 2000]
_FONT = {"title": "11pt", "labels": "10pt", "ticks": "9pt", "legend": "9pt"}
_AXES = {"fontsize": _FONT, "toolbar": None, "show_grid": True, "gridstyle": {"grid_line_alpha": 0.4}}


def draw(data: FigureData) -> Drawing:
    """The figure as a HoloViews object with Bokeh options."""
    import holoviews as hv  # noqa: PLC0415 - slow to import

    hv.extension("bokeh")
    return _DRAWINGS[data.number](data)


def write_page(data: FigureData, path: Path) -> None:
    """Write the figure as a self-contained HTML file, which needs no network."""
    import holoviews as hv  # noqa: PLC0415 - slow to import
    from bokeh.core.validation import silence  # noqa: PLC0415 - slow to import
    from bokeh.core.validation.warnings import FIXED_SIZING_MODE  # noqa: PLC0415 - slow to import
    from bokeh.embed import components  # noqa: PLC0415 - slow to import
    from bokeh.resources import Resources  # noqa: PLC0415 - slow to import

    drawing = draw(data)
    silence(FIXED_SIZING_MODE)  # HoloViews sets the size of the frame only
    script, div = components(hv.render(drawing, backend="bokeh"))
    silence(FIXED_SIZING_MODE, silence=False)
    # Only the scripts of Bokeh: `render_js` would add those of other libraries, which are not there.
    library = "".join(f"<script>{text}</script>" for text in Resources(mode="inline", components=["bokeh"]).js_raw)
    head = f'<meta charset="utf-8"><title>Figure {data.number}: {escape(data.title)}</title>'
    write_text(
        path, f'<!DOCTYPE html>\n<html lang="en"><head>{head}{library}</head><body>{div}{script}</body></html>\n'
    )


def draw_embeddings(data: FigureData) -> Drawing:
    """Figure 2: embeddings, a panel for each model, coloured by crystal system."""
    import holoviews as hv  # noqa: PLC0415 - slow to import

    panels = [panel for panel in EMBEDDINGS if panel in data.about["silhouette"]]
    drawn = []
    for number, panel in enumerate(panels):
        rows = [row for row in data.rows if row["panel"] == panel]
        axes = [
            hv.Dimension(f"{panel} {axis}", label=f"component {axis} ({share:.0%} of the variance)")
            for axis, share in enumerate(data.about["variance"][panel], start=1)
        ]
        parts = []
        for system, colour in zip(CRYSTAL_SYSTEMS, CRYSTAL_SYSTEM_COLOURS, strict=True):
            points = [(row["component_1"], row["component_2"], row["id"], system)
                      for row in rows if row["crystal_system"] == system]  # fmt: skip
            drawn_points = hv.Points(points, axes, ["material", "crystal system"], label=system)
            parts.append(
                drawn_points.opts(
                    color=colour, size=3.5, alpha=0.6, line_color=None, tools=["hover"],
                    hover_tooltips=["material", "crystal system"],
                )
            )  # fmt: skip
        drawn.append(
            hv.Overlay(parts).opts(
                title=f"{panel}\nsilhouette {data.about['silhouette'][panel]:.2f}", frame_width=225, frame_height=225,
                show_legend=number == min(len(panels), 3) - 1, legend_position="right",
                **(_AXES | {"fontsize": _FONT | {"title": "9.5pt"}}),
            )
        )  # fmt: skip
    return hv.Layout(drawn).cols(3).opts(shared_axes=False, toolbar=None)


def draw_scaling(data: FigureData) -> Drawing:
    """Figure 3: errors of runs, with the power law of each model and its 95 % band."""
    import holoviews as hv  # noqa: PLC0415 - slow to import

    x, y = hv.Dimension("materials", label="training materials"), hv.Dimension("mae", label=LABELS[MAE])
    parts, laws = [], scaling_laws(data.rows)
    for label, colour in zip(MODELS.values(), (COLOURS["unimodal"], COLOURS["bimodal"]), strict=True):
        points = [(row["materials"], row["mae"], row["seed"]) for row in data.rows if row["model"] == label]
        name = label
        if label in laws:
            law = laws[label]
            sizes = np.geomspace(min(size for size, *_ in points), max(size for size, *_ in points), 60)
            low, high = law.exponent_interval
            name = f"{label}: {law.factor:.3g} · D^{law.exponent:.3f}, exponent {low:.3f} to {high:.3f} at 95 %"
            parts.append(
                hv.Area((sizes, *law.band(sizes)), x, [y, "high"]).opts(color=colour, alpha=0.15, line_color=None)
            )
            parts.append(hv.Curve((sizes, law.at(sizes)), x, y).opts(color=colour, line_width=2))
        parts.append(hv.Scatter(points, x, [y, "seed"], label=name).opts(color=colour, size=7, tools=["hover"]))
    trained = sorted({row["materials"] for row in data.rows})
    return hv.Overlay(parts).opts(
        title=f"{data.title} (D in millions)", logx=True, logy=True, frame_width=760, frame_height=430,
        xlim=(trained[0] / 1.2, trained[-1] * 1.2),
        xticks=[(size, f"{size:,}") for size in trained], yticks=_LOG_TICKS,
        legend_position="bottom", legend_cols=1, **_AXES,
    )  # fmt: skip


def draw_crystal_systems(data: FigureData) -> Drawing:
    """Figure 4: fraction and number of the materials of each crystal system, in training and test split."""
    import holoviews as hv  # noqa: PLC0415 - slow to import

    y = hv.Dimension("share", label="share of materials [%]", range=(0, 1.12 * max(row["share"] for row in data.rows)))
    drawn = []
    for split in ("train", "test"):
        rows = [row for row in data.rows if row["split"] == split]
        bars = [(row["crystal_system"], row["share"], row["materials"], colour)
                for row, colour in zip(rows, CRYSTAL_SYSTEM_COLOURS, strict=True)]  # fmt: skip
        counts = [(row["crystal_system"], row["share"], f"{row['materials']:,}") for row in rows]
        total = sum(row["materials"] for row in rows)
        columns = hv.Bars(bars, "crystal system", [y, "materials", "colour"]).opts(
            color="colour", line_color=None, tools=["hover"], hover_tooltips=["crystal system", "share", "materials"]
        )
        overlay = columns * hv.Labels(counts, ["crystal system", "share"], "count").opts(
            text_font_size="8.5pt", text_baseline="bottom", yoffset=0.3, text_color="#1F2933"
        )
        drawn.append(
            overlay.opts(
                title=f"{split}: {total:,} materials", frame_width=400, frame_height=330, xrotation=35,
                show_legend=False, **_AXES,
            )
        )  # fmt: skip
    return hv.Layout(drawn).cols(2).opts(toolbar=None)


def draw_elements(data: FigureData) -> Drawing:
    """Figure 5: periodic tables of training and test split, coloured by the number of materials."""
    import holoviews as hv  # noqa: PLC0415 - slow to import

    drawn = []
    for split in ("train", "test"):
        rows = [row for row in data.rows if row["split"] == split]
        most = max(row["materials"] for row in rows)
        cells: list[tuple[Any, ...]] = []
        empty: list[tuple[float, ...]] = []
        symbols, counts = [], []
        for row in rows:
            period, group = element_place(ATOMIC_NUMBERS[row["element"]])
            x, y = group, -(period + 0.35 * (period > 7))  # noqa: PLR2004 - the two separate rows
            edges = (x - 0.47, y - 0.47, x + 0.47, y + 0.47)
            many = row["materials"]
            # Few materials have dark colours, on a logarithmic scale, and light text.
            ink = "#1F2933" if many**2 > most or not many else "white"
            (cells if many else empty).append((*edges, many, row["element"]) if many else edges)
            symbols.append((x, y + 0.15, row["element"], ink))
            counts.append((x, y - 0.24, _short(many), ink))
        box = ["left", "bottom", "right", "top"]
        tiles = hv.Rectangles(cells, box, [hv.Dimension("materials"), "element"]).opts(
            tools=["hover"], hover_tooltips=["element", "materials"],
            color="materials", cmap="viridis", logz=True, clim=(1, max(most, 2)), line_color=None, colorbar=True,
            colorbar_opts={"title": "materials", "width": 12},
        )  # fmt: skip
        rest = hv.Rectangles(empty, box).opts(color="#E6E8EB", line_color=None)
        names = hv.Labels(symbols, ["x", "y"], ["symbol", "ink"]).opts(
            text_font_size="10pt", text_font_style="bold", text_color="ink"
        )
        numbers = hv.Labels(counts, ["x", "y"], ["count", "ink"]).opts(text_font_size="7.5pt", text_color="ink")
        drawn.append(
            (rest * tiles * names * numbers).opts(
                title=f"{split}: materials that contain the element", frame_width=830, frame_height=400,
                xaxis=None, yaxis=None, xlim=(0.4, 18.6), ylim=(-9.95, -0.4), show_frame=False,
                **(_AXES | {"show_grid": False}),
            )
        )  # fmt: skip
    return hv.Layout(drawn).cols(1).opts(shared_axes=False, toolbar=None)


def draw_convergence(data: FigureData) -> Drawing:
    """Figure 6: error (above) and accuracy (below), a column for each pretraining; means over seeds."""
    import holoviews as hv  # noqa: PLC0415 - slow to import

    plain, *pretrained = STRATEGIES
    drawn: list[Drawing] = []
    for metric, label in LABELS.items():
        x = hv.Dimension("share", label="share of the training [%]", range=(0, 102))
        y = hv.Dimension(metric, label=label)
        for strategy in reversed(pretrained):
            parts = []
            for name, legend, colour, dash in (
                (plain, plain, COLOURS["before"], "dashed"),
                (strategy, "pretrained", COLOURS["after"], "solid"),
            ):
                shares, values = values_by_share(data, name, metric)
                if len(shares):
                    band = (shares, values.min(axis=0), values.max(axis=0))
                    parts.append(
                        hv.Area(band, x, [y, f"{metric} high"]).opts(color=colour, alpha=0.15, line_color=None)
                    )
                    curve = hv.Curve((shares, values.mean(axis=0)), x, y, label=legend)
                    parts.append(curve.opts(color=colour, line_dash=dash, line_width=2, tools=["hover"]))
            in_first_row = metric == MAE
            drawn.append(
                hv.Overlay(parts).opts(
                    title=strategy, frame_width=195, frame_height=210, border=12, logy=in_first_row,
                    **({"yticks": _LOG_TICKS} if in_first_row else {}),
                    show_legend=in_first_row and strategy == pretrained[0], legend_position="right", **_AXES,
                )
            )  # fmt: skip
    return hv.Layout(drawn).cols(len(pretrained)).opts(toolbar=None)


def values_by_share(data: FigureData, strategy: str, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Fractions of the training, and values at them for each seed: shapes (validations,) and (seeds, validations)."""
    rows = [row for row in data.rows if row["strategy"] == strategy and row["metric"] == metric]
    shares = np.array(sorted({row["share"] for row in rows}))
    seeds = sorted({row["seed"] for row in rows})
    curves = [np.array([(row["share"], row["value"]) for row in rows if row["seed"] == seed]) for seed in seeds]
    return shares, np.array([np.interp(shares, curve[:, 0], curve[:, 1]) for curve in curves])


def _short(count: int) -> str:
    """A number in few characters: 950, 12.4k."""
    thousand = 1000
    return (
        str(count)
        if count < thousand
        else f"{count / thousand:.3g}k"
        if count < thousand**2
        else (f"{count / thousand**2:.3g}M")
    )


_DRAWINGS: dict[int, Callable[[FigureData], Drawing]] = {
    2: draw_embeddings,
    3: draw_scaling,
    4: draw_crystal_systems,
    5: draw_elements,
    6: draw_convergence,
}
