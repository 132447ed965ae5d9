"""Bokeh maps of embedded materials: points drawn by the browser, or an image drawn on the server for very many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from bokeh.models import (
    CDSView,
    ColorBar,
    ColumnDataSource,
    FixedTicker,
    GlyphRenderer,
    HoverTool,
    IndexFilter,
    LabelSet,
    LassoSelectTool,
    Legend,
    LegendItem,
    LinearColorMapper,
    Range1d,
)
from bokeh.palettes import Cividis256
from bokeh.plotting import figure

from xxact_app.plots.rasterise import points_to_image
from xxact_app.ui.formatting import percent
from xxact_core.quantities import CRYSTAL_SYSTEM_COLOURS, Quantity

MOST_POINTS = 200_000
"""Number of materials above which the server draws an image of the visible range instead of points."""

MOST_NAMED = 60_000
"""Number of materials above which their names are not sent to the browser for tooltips."""

MOST_FORMATTED = 20_000
"""Number of materials above which tooltips show formulas as the dataset stores them: formatting takes 0.1 ms each."""

MOST_MARKED = 5000
"""Largest number of selected materials marked with a ring on an image."""

MOST_LABELS = 5
"""Number of own samples above which their names are shown as tooltips only."""

IMAGE_SIZE = (640, 480)
UNKNOWN = "#9AA3AE"
_OUTLIERS = (2, 98)
_SMALLEST, _LARGEST = 3.0, 7.0


@dataclass(frozen=True)
class Colouring:
    """A colour scale and the value of each material on it."""

    label: str
    values: np.ndarray
    palette: tuple[str, ...]
    low: float
    high: float
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class MapFigure:
    """One map and its renderers and data sources."""

    plot: figure
    points: GlyphRenderer
    """All materials, where their colours are a scale."""
    groups: tuple[GlyphRenderer, ...]
    """The materials of each class, and those without a label, where the colours are classes."""
    legend: Legend
    """Hides and shows a class at a click."""
    image: GlyphRenderer
    stars: GlyphRenderer
    pixels: ColumnDataSource
    marked: ColumnDataSource
    own: ColumnDataSource
    names: LabelSet
    mapper: LinearColorMapper
    bar: ColorBar
    hover: HoverTool


def colour_by(quantity: Quantity, values: np.ndarray) -> Colouring:
    """One colour per class for few classes, otherwise a scale from the 2nd to the 98th percentile."""
    values = values.astype(np.float32)
    if 0 < len(quantity.classes) <= len(CRYSTAL_SYSTEM_COLOURS):
        last = len(quantity.classes) - 0.5
        colours = CRYSTAL_SYSTEM_COLOURS[: len(quantity.classes)]
        return Colouring(quantity.label, values, colours, -0.5, last, quantity.classes)
    values = values + (quantity.kind == "class")  # the number of a space group, which counts from 1
    known = values[np.isfinite(values)]
    low, high = (float(edge) for edge in np.percentile(known, _OUTLIERS)) if known.size else (0.0, 1.0)
    unit = f" [{quantity.unit}]" if quantity.unit else ""
    return Colouring(f"{quantity.label}{unit}", values, Cividis256, low, high if high > low else low + 1.0)


def map_figure(source: ColumnDataSource, *, number: int, height: int = 430) -> MapFigure:
    """An empty map of the columns `x{number}` and `y{number}` of a data source that maps can share."""
    plot = figure(
        height=height, sizing_mode="stretch_width", x_range=Range1d(-1, 1), y_range=Range1d(-1, 1),
        tools="pan,wheel_zoom,box_select,reset,save", active_scroll=None,
        toolbar_location="above", output_backend="canvas", lod_threshold=50_000,
    )  # fmt: skip
    plot.toolbar.logo = None
    lasso = LassoSelectTool(continuous=False)  # the table waits for the end of the stroke
    plot.add_tools(lasso)
    plot.toolbar.active_drag = lasso
    mapper = LinearColorMapper(palette=CRYSTAL_SYSTEM_COLOURS, low=-0.5, high=6.5, nan_color=UNKNOWN)
    pixels = ColumnDataSource({"image": [], "x": [], "y": [], "dw": [], "dh": []})
    image = plot.image_rgba("image", x="x", y="y", dw="dw", dh="dh", source=pixels)
    groups = tuple(
        _draw_points(plot, source, number=number, view=CDSView(filter=IndexFilter([])), color=colour, visible=False)
        for colour in (*CRYSTAL_SYSTEM_COLOURS, UNKNOWN)
    )
    points = _draw_points(plot, source, number=number, color={"field": "value", "transform": mapper}, name="materials")
    legend = Legend(
        items=[], click_policy="hide", label_text_font_size="12px", padding=4, margin=4, spacing=2,
        border_line_color=None, glyph_height=14, glyph_width=14, visible=False,
    )  # fmt: skip
    plot.add_layout(legend, "right")
    marked = ColumnDataSource({"x": [], "y": []})
    plot.scatter("x", "y", source=marked, size=6, fill_color=None, line_color="#D0021B", line_width=1)
    own = ColumnDataSource({"x": [], "y": [], "name": []})
    stars = plot.scatter(
        "x", "y", source=own, size=17, marker="star", fill_color="#FFD400", line_color="#101010", name="own"
    )
    names = LabelSet(x="x", y="y", text="name", source=own, x_offset=9, y_offset=4, text_font_size="12px")
    plot.add_layout(names)
    bar = ColorBar(color_mapper=mapper, width=10, padding=4, margin=4, label_standoff=6, title_text_font_size="12px")
    plot.add_layout(bar, "right")
    hover = HoverTool(renderers=[points, *groups, stars], tooltips=[("", "@name")], attachment="above")
    plot.add_tools(hover)
    return MapFigure(plot, points, groups, legend, image, stars, pixels, marked, own, names, mapper, bar, hover)


def _draw_points(plot: figure, source: ColumnDataSource, *, number: int, **more: object) -> GlyphRenderer:
    renderer: GlyphRenderer = plot.scatter(
        f"x{number}", f"y{number}", source=source, size=5, line_color=None, fill_alpha=0.75,
        nonselection_fill_alpha=0.08, nonselection_line_color=None, selection_fill_alpha=0.95, **more,
    )  # fmt: skip
    return renderer


def draw_map(
    target: MapFigure,
    coordinates: np.ndarray,
    colouring: Colouring,
    *,
    explained: np.ndarray | None,
    own: Sequence[tuple[float, float, str]],
    text_colour: str,
) -> None:
    """Draw a map; the points themselves are in the shared data source, which the caller fills.

    Args:
        target: the figure.
        coordinates: of the materials, shape (materials, 2).
        colouring: values and colours of the materials.
        explained: explained variance (0-1) of each principal component, shape (2,); None for a t-SNE.
        own: own samples as (x, y, name).
        text_colour: of the theme.
    """
    many = len(coordinates) > MOST_POINTS
    target.image.visible = many
    for renderer in (target.points, *target.groups):
        renderer.glyph.size = float(np.clip(400 / np.sqrt(max(len(coordinates), 1)), _SMALLEST, _LARGEST))
    named = not many and len(coordinates) <= MOST_NAMED
    target.hover.renderers = [target.stars, *([target.points, *target.groups] if named else [])]
    colour_map(target, colouring)
    show_own(target, own)
    target.marked.data = {"x": [], "y": []}
    target.names.text_color = text_colour
    for axis, label in zip((target.plot.xaxis, target.plot.yaxis), axis_labels(explained), strict=True):
        axis.axis_label = label
    everything = np.concatenate([coordinates, np.array([[x, y] for x, y, _ in own], dtype=np.float32).reshape(-1, 2)])
    for axis, low, high in zip(
        (target.plot.x_range, target.plot.y_range), everything.min(axis=0), everything.max(axis=0), strict=True
    ):
        room = 0.04 * float(high - low) or 1.0
        start, end = float(low) - room, float(high) + room
        axis.update(start=start, end=end, reset_start=start, reset_end=end)
    if many:
        draw_image(target, coordinates, colouring)
    else:
        target.pixels.data = {name: [] for name in target.pixels.data}


def axis_labels(explained: np.ndarray | None) -> tuple[str, str]:
    """Labels of the two axes of a map, see `draw_map`."""
    if explained is None:
        return "t-SNE 1", "t-SNE 2"
    first, second = (
        f"Principal component {n} ({percent(part)} of the variance)" for n, part in enumerate(explained, 1)
    )
    return first, second


def show_own(target: MapFigure, own: Sequence[tuple[float, float, str]]) -> None:
    """Draw own samples as (x, y, name) in place of the previous ones."""
    target.names.visible = len(own) <= MOST_LABELS
    target.own.data = {
        "x": [x for x, _, _ in own], "y": [y for _, y, _ in own], "name": [name for _, _, name in own]
    }  # fmt: skip


def colour_map(target: MapFigure, colouring: Colouring) -> None:
    """Update the colour scale, or the legend of classes; the values are in the shared data source."""
    many = len(colouring.values) > MOST_POINTS
    by_class = bool(colouring.classes) and not many
    target.points.visible = not many and not by_class
    target.legend.visible, target.bar.visible = by_class, not by_class
    _group(target, colouring if by_class else None)
    target.mapper.update(palette=list(colouring.palette), low=colouring.low, high=colouring.high)
    target.bar.title = colouring.label
    if colouring.classes:
        target.bar.ticker = FixedTicker(ticks=list(range(len(colouring.classes))))
        target.bar.major_label_overrides = dict(enumerate(colouring.classes))
    else:
        ticks = np.linspace(colouring.low, colouring.high, 5)
        target.bar.ticker = FixedTicker(ticks=[float(f"{tick:.3g}") for tick in ticks])
        target.bar.major_label_overrides = {}


def _group(target: MapFigure, colouring: Colouring | None) -> None:
    """Assign the materials to classes, and list those that occur in the legend; without classes there are none."""
    items = []
    for place, renderer in enumerate(target.groups):
        members = np.empty(0, dtype=np.int64)
        if colouring is not None:
            values, known = colouring.values, place < len(colouring.classes)
            last = place == len(target.groups) - 1
            members = np.flatnonzero(np.isnan(values) if last else values == place) if known or last else members
        renderer.visible = bool(len(members))
        renderer.view.filter.indices = members.tolist()
        if colouring is not None and len(members):
            name = colouring.classes[place] if place < len(colouring.classes) else "unknown"
            items.append(LegendItem(label=f"{name} ({len(members):,})", renderers=[renderer]))
    target.legend.items = items


def draw_image(target: MapFigure, coordinates: np.ndarray, colouring: Colouring) -> None:
    """Draw the materials within the visible ranges as an image."""
    x, y = target.plot.x_range, target.plot.y_range
    pixels = points_to_image(
        coordinates, colouring.values, palette=colouring.palette, value_range=(colouring.low, colouring.high),
        x_range=(x.start, x.end), y_range=(y.start, y.end), size=IMAGE_SIZE, unknown=UNKNOWN,
    )  # fmt: skip
    target.pixels.data = {
        "image": [pixels], "x": [x.start], "y": [y.start], "dw": [x.end - x.start], "dh": [y.end - y.start]
    }  # fmt: skip


def mark(target: MapFigure, coordinates: np.ndarray) -> None:
    """Mark selected materials at `coordinates`, shape (selected, 2), thinned where they are very many."""
    shown = coordinates[:: -(-len(coordinates) // MOST_MARKED) or 1]
    target.marked.data = {"x": shown[:, 0], "y": shown[:, 1]}
