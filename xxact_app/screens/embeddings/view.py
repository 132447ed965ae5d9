"""The Embeddings screen: maps of the embeddings of many materials by one or two models."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import panel as pn
import panel_material_ui as pmui
from bokeh.events import RangesUpdate, SelectionGeometry
from bokeh.models import ColumnDataSource

from xxact_app.jobs.task_panel import TaskPanel
from xxact_app.plots.rasterise import outline_to_points
from xxact_app.screens.embeddings import text as words
from xxact_app.screens.embeddings.figures import (
    MOST_FORMATTED,
    MOST_NAMED,
    MOST_POINTS,
    Colouring,
    colour_by,
    colour_map,
    draw_image,
    draw_map,
    map_figure,
    mark,
    show_own,
)
from xxact_app.screens.embeddings.selection import SelectionPanel
from xxact_app.screens.embeddings.store import (
    MOST_MODELS,
    EmbeddingMap,
    EmbeddingStore,
    MissingMap,
    ModelMap,
    shipped_map,
)
from xxact_app.screens.screen import PictureKind, standard_files
from xxact_app.session.session import Session
from xxact_app.ui.downloads import PythonCode, download_row
from xxact_app.ui.formatting import display_formula
from xxact_app.ui.safe_text import plain_markdown, safe_text
from xxact_app.ui.theme import ALERT_STYLE, CHOICE_CSS, TEXT_CSS, grid_css, palette
from xxact_app.ui.timer import soon
from xxact_core.evaluation.embeddings import Embeddings
from xxact_core.structures.public_ids import public_id

_ASK = grid_css(
    "minmax(0, 1fr) minmax(0, 1fr) minmax(0, 1fr) minmax(0, 0.8fr)",
    ("first second materials colour", "part part projection projection"),
    narrow=("first", "second", "materials", "colour", "part", "projection"),
    padding="20px 16px 0",
)
_LAYOUT = grid_css("minmax(0, 1fr) 380px", ("maps side", "below side"), narrow=("maps", "side", "below"))
_ONE, _TWO = (
    ":host { display: grid; grid-template-columns: minmax(0, 1fr); gap: 12px; }",
    ":host { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 380px), 1fr)); gap: 12px; }",
)


class EmbeddingsScreen:
    """Draws maps of embeddings and the selection on them; `panel` is the screen."""

    KEY: ClassVar[str] = "embeddings"
    TITLE: ClassVar[str] = "Embeddings"

    def __init__(self, session: Session, embeddings: EmbeddingStore, *, in_front: bool = True) -> None:
        self.session, self.embeddings = session, embeddings
        self._in_front = in_front
        self.map: EmbeddingMap | MissingMap = MissingMap("")
        self.colouring: Colouring | None = None
        self._drawn: object = None
        field = {"sizing_mode": "stretch_width", "size": "small", "margin": 0}
        self.models = [
            pmui.Select(label=label, options={}, css_classes=[f"area-{area}"], **field)
            for label, area in (("Model", "first"), ("Compare with", "second"))
        ]
        self.materials = pmui.Select(label="Materials", options={}, css_classes=["area-materials"], **field)
        self.colour = pmui.Select(label="Colour by", options={}, css_classes=["area-colour"], **field)
        self.part = pmui.RadioButtonGroup.from_param(
            session.param.map_part, label="Embedding", options=words.PART_LABELS, size="small", margin=0,
            description="", css_classes=["area-part"], stylesheets=[CHOICE_CSS],
        )  # fmt: skip
        self.projection = pmui.RadioButtonGroup.from_param(
            session.param.map_projection, label="Map", options=words.PROJECTION_LABELS, size="small", margin=0,
            description="", css_classes=["area-projection"], stylesheets=[CHOICE_CSS],
        )  # fmt: skip
        self.message = pmui.Alert(severity="info", sizing_mode="stretch_width", margin=(16, 16, 8, 16), sx=ALERT_STYLE)
        self.task = TaskPanel(
            label="Compute the map", start=embeddings.make, current=embeddings.task, when_done=self._show
        )
        self.made = pn.Column(self.task.panel, margin=(0, 16), sizing_mode="stretch_width")
        self.source = ColumnDataSource({name: [] for name in ("x0", "y0", "x1", "y1", "value", "name")})
        self.figures = [map_figure(self.source, number=number) for number in range(MOST_MODELS)]
        self.titles = [_text() for _ in range(MOST_MODELS)]
        self.summary, self.silhouettes = _text(), _text()
        self.selection = SelectionPanel(session, embeddings)
        self.python = PythonCode()
        self.downloads = download_row(
            {
                **standard_files(self, "materials"),
                "netCDF": ("materials.nc", self.to_netcdf),
            }
        )
        self.panels = [
            pn.Column(title, pn.pane.Bokeh(drawn.plot, sizing_mode="stretch_width", margin=0), margin=0,
                      sizing_mode="stretch_width")
            for title, drawn in zip(self.titles, self.figures, strict=True)
        ]  # fmt: skip
        self.side, self.below = (
            pn.Column(css_classes=[f"area-{area}"], sizing_mode="stretch_width", margin=0) for area in ("side", "below")
        )
        self.maps = pn.Column(*self.panels, stylesheets=[_ONE], sizing_mode="stretch_width", margin=0)
        self.content = self._content()
        self.asked = pn.Column(
            *self.models, self.materials, self.colour, self.part, self.projection, stylesheets=[_ASK],
            sizing_mode="stretch_width", margin=0,
        )  # fmt: skip
        self.panel = pn.Column(self.asked, self.message, self.made, self.content, sizing_mode="stretch_width", margin=0)
        self._watch()
        self._show()

    def _content(self) -> pn.Column:
        grid = pn.Column(
            pn.Column(self.summary, self.maps, css_classes=["area-maps"], sizing_mode="stretch_width", margin=0),
            self.side, self.below, stylesheets=[_LAYOUT], sizing_mode="stretch_width", margin=0,
        )  # fmt: skip
        return pn.Column(grid, sizing_mode="stretch_width", margin=0)

    def _complete(self) -> None:
        """Add what belongs to a map, once it is on its way to the browser."""
        if self.side.objects:
            return
        with pn.io.hold():
            self.side.objects = [
                _heading("Silhouette coefficients"), self.silhouettes, _heading("Export"),
                _text("<p class='muted'>The selected materials, or all where none are selected.</p>"),
                self.downloads, self.python.panel,
            ]  # fmt: skip
            self.below.objects = [self.selection.panel]

    def _watch(self) -> None:
        for select in self.models:
            select.param.watch(self._choose_models, "value")
        self.materials.param.watch(self._choose_materials, "value")
        self.colour.param.watch(self._choose_colour, "value")
        self.source.selected.on_change("indices", self._selected_points)
        for drawn in self.figures:
            drawn.plot.on_event(SelectionGeometry, self._selected_outline)
            drawn.plot.on_event(RangesUpdate, self._zoomed)
        self.session.param.watch(self._show, ["map_models", "map_materials", "map_part", "map_projection"])
        self.session.watch(self._show_own, ["files", "formula", "wavelength", "steps", "scan"])
        self.session.param.watch(self._recolour, ["map_colour", "dark"])
        self.session.param.watch(self._show_selection, "map_selected")

    # ----------------------------------------------------------------------------------------------- what the user does
    def _choose_models(self, _event: object = None) -> None:
        chosen = [select.value for select in self.models if select.value]
        self._choose(map_models=list(dict.fromkeys(chosen)))

    def _choose_materials(self, _event: object = None) -> None:
        self._choose(map_materials=self.materials.value or "")

    def _choose(self, **choice: object) -> None:
        """Store a choice of models or materials, which clears the selection on the map."""
        if any(getattr(self.session, name) != value for name, value in choice.items()):
            self.session.param.update(**choice, map_selected=[])

    def _choose_colour(self, _event: object = None) -> None:
        if self.colour.value:
            self.session.map_colour = self.colour.value

    def _selected_points(self, _attribute: str, _old: object, new: list[int]) -> None:
        """Store the points selected in the browser."""
        if isinstance(self.map, EmbeddingMap) and not self._is_image and list(new) != self.session.map_selected:
            self.session.map_selected = sorted(new)

    def _selected_outline(self, event: SelectionGeometry) -> None:
        """Select the materials inside an outline drawn on an image, which has no points to select."""
        if event.final and isinstance(self.map, EmbeddingMap) and self._is_image:
            number = next(n for n, drawn in enumerate(self.figures) if drawn.plot.id == event.model.id)
            self.session.map_selected = outline_to_points(self.map.panels[number].coordinates, event.geometry).tolist()

    def _zoomed(self, event: RangesUpdate) -> None:
        """Redraw an image for the visible ranges."""
        if isinstance(self.map, EmbeddingMap) and self._is_image and self.colouring is not None:
            for drawn, panel in zip(self.figures, self.map.panels, strict=False):
                if drawn.plot.id == event.model.id:
                    draw_image(drawn, panel.coordinates, self.colouring)

    @property
    def _is_image(self) -> bool:
        return isinstance(self.map, EmbeddingMap) and len(self.map.embedded) > MOST_POINTS

    # ----------------------------------------------------------------------------------------------- what the user sees
    def come_to_front(self, *, in_front: bool) -> None:
        """Follow the session only while the screen is visible, since drawing a map is slow."""
        self._in_front = in_front
        self._show()

    def _show(self, *_events: object) -> None:
        if not self._in_front:
            return
        with pn.io.hold():
            self._show_choices()
            self.map = self.embeddings.map()
            there = isinstance(self.map, EmbeddingMap)
            self.message.visible, self.content.visible, self.colour.disabled = not there, there, not there
            self.made.visible = isinstance(self.map, MissingMap) and self.map.can_compute
            if isinstance(self.map, MissingMap):
                self.message.object = plain_markdown(self.map.text)
                self._drawn = None
            elif self._drawn == self._what_is_drawn(self.map):
                self._place_own(self.map)
            else:
                self._draw(self.map)
                self._drawn = self._what_is_drawn(self.map)
            self.task.look()

    def _what_is_drawn(self, shown: EmbeddingMap) -> object:
        """Everything on which a drawn map depends but the own samples; drawing it again takes 0.3 s."""
        files = tuple((path, path.stat().st_mtime_ns) for path in shown.files if path.is_file())
        models = tuple(panel.model.digest for panel in shown.panels)
        if not files:
            return object()  # arrays that a caller passed, which nothing identifies
        chosen = shown.part, shown.projection, shown.materials.key, self.session.map_colour, self.session.dark
        return files, models, chosen

    def _show_choices(self) -> None:
        models = {model.label: model.key for model in self.embeddings.models()}
        chosen = [model.key for model in self.embeddings.chosen_models()]
        first, second = chosen[0] if chosen else None, chosen[1] if len(chosen) > 1 else ""
        self.models[0].param.update(options=models, value=first)
        others = {label: key for label, key in models.items() if key != first}
        self.models[1].param.update(options={"none": "", **others}, value=second, disabled=not others)
        materials = self.embeddings.chosen_materials()
        self.materials.param.update(
            options={choice.label: choice.key for choice in self.embeddings.materials()},
            value=materials.key if materials is not None else None,
        )

    def _draw(self, shown: EmbeddingMap) -> None:
        self.colouring = self._colouring(shown)
        self.colour.param.update(options=words.colour_choices(shown), value=self.session.map_colour)
        two = len(shown.panels) > 1
        self.maps.stylesheets = [_TWO if two else _ONE]
        self.panels[1].visible = two
        text_colour = palette(dark=self.session.dark).text
        columns: dict[str, object] = {"value": self.colouring.values, "name": _names(shown.embedded)}
        for number in range(MOST_MODELS):
            coordinates = shown.panels[min(number, len(shown.panels) - 1)].coordinates
            columns |= {f"x{number}": coordinates[:, 0], f"y{number}": coordinates[:, 1]}
        if self._is_image:
            columns = {name: [] for name in columns}
        self.source.selected.indices = []
        self.source.data = columns
        for number, panel in enumerate(shown.panels):
            draw_map(
                self.figures[number], panel.coordinates, self.colouring, explained=panel.explained, own=_own(panel),
                text_colour=text_colour,
            )  # fmt: skip
            self.titles[number].object = words.panel_title(shown, number)
        self.summary.object = words.map_summary(shown)
        self.silhouettes.object = words.silhouette_table(shown)
        self.python.show(self.python_code())
        self._show_selection()
        if not self.side.objects:
            soon(self._complete)

    def _show_own(self, *_events: object) -> None:
        """Redraw only the own samples, without sending the materials to the browser again."""
        if not self._in_front or not isinstance(self.map, EmbeddingMap):
            return
        renewed = self.embeddings.map()
        if isinstance(renewed, EmbeddingMap):
            self.map = renewed
            with pn.io.hold():
                self._place_own(renewed)

    def _place_own(self, shown: EmbeddingMap) -> None:
        for drawn, panel in zip(self.figures, shown.panels, strict=False):
            show_own(drawn, _own(panel))
        self.summary.object = words.map_summary(shown)

    def _recolour(self, *_events: object) -> None:
        if not isinstance(self.map, EmbeddingMap):
            return
        self.colouring = self._colouring(self.map)
        with pn.io.hold():
            if not self._is_image:
                self.source.data["value"] = self.colouring.values
            for drawn, panel in zip(self.figures, self.map.panels, strict=False):
                colour_map(drawn, self.colouring)
                drawn.names.text_color = palette(dark=self.session.dark).text
                if self._is_image:
                    draw_image(drawn, panel.coordinates, self.colouring)
            self.selection.recolour()
        if self._drawn is not None:
            self._drawn = self._what_is_drawn(self.map)

    def _colouring(self, shown: EmbeddingMap) -> Colouring:
        targets = shown.embedded.targets
        name = self.session.map_colour if self.session.map_colour in targets else next(iter(targets), "crystal_system")
        return colour_by(shown.quantities[name], targets.get(name, np.full(len(shown.embedded), np.nan)))

    def _show_selection(self, *_events: object) -> None:
        if not isinstance(self.map, EmbeddingMap):
            return
        numbers = [number for number in self.session.map_selected if number < len(self.map.embedded)]
        with pn.io.hold():
            if self._is_image:
                for drawn, panel in zip(self.figures, self.map.panels, strict=False):
                    mark(drawn, panel.coordinates[np.asarray(numbers, dtype=np.int64)])
            elif self.source.selected.indices != numbers:
                self.source.selected.indices = numbers
            self.selection.show(self.map, numbers)

    # -------------------------------------------------------------------------------------------------------- the files
    def to_csv(self) -> bytes:
        """The selected materials, or all of them."""
        return words.to_csv(self.map, self.session.map_selected) if isinstance(self.map, EmbeddingMap) else b""

    def to_netcdf(self) -> bytes:
        """The same with the embeddings, as netCDF-4."""
        return words.to_netcdf(self.map, self.session.map_selected) if isinstance(self.map, EmbeddingMap) else b""

    def to_picture(self, kind: PictureKind) -> bytes:
        """The maps side by side."""
        if not isinstance(self.map, EmbeddingMap) or self.colouring is None:
            return b""
        return words.to_picture(self.map, self.colouring, kind=kind)

    def python_code(self) -> str:
        """A program that makes the same maps."""
        return words.python_code(self.map) if isinstance(self.map, EmbeddingMap) else ""


def _own(panel: ModelMap) -> list[tuple[float, float, str]]:
    return [(point.x, point.y, point.name) for point in panel.own]


def warm_up_map() -> None:
    """Project the shipped map and write its tooltips in advance; both are kept, and take a second the first time."""
    shipped = shipped_map()
    if shipped is not None:
        _names(shipped.embedded)


def _names(embedded: Embeddings) -> list[str]:
    """The tooltip of each material; empty where they are too many."""
    if len(embedded) > MOST_NAMED:
        return [""] * len(embedded) if len(embedded) <= MOST_POINTS else []
    formulas = embedded.formula.tolist()
    if len(embedded) <= MOST_FORMATTED:
        formulas = [display_formula(formula) for formula in formulas]
    names = map(public_id, embedded.id.tolist())
    return [
        safe_text(f"{formula} ({name})" if name else formula) for formula, name in zip(formulas, names, strict=True)
    ]


def _heading(text: str) -> pn.pane.HTML:
    return pn.pane.HTML(f"<h2>{text}</h2>", stylesheets=[TEXT_CSS], margin=(8, 0, 4, 0))


def _text(text: str = "") -> pn.pane.HTML:
    return pn.pane.HTML(text, stylesheets=[TEXT_CSS], sizing_mode="stretch_width", margin=0)
