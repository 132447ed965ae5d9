"""Background points on the plot: click to add one, drag to move it, Backspace to remove it."""

from __future__ import annotations

import numpy as np
import panel as pn
import panel_material_ui as pmui
from bokeh.models import ColumnDataSource, PointDrawTool

from xxact_app.plots.axes import to_scale
from xxact_app.plots.patterns import PatternFigure
from xxact_app.samples.processing_steps import set_value, value_of
from xxact_app.samples.store import Store
from xxact_app.screens.patterns.drawing import DrawnPatterns
from xxact_app.session.session import Session
from xxact_app.ui.theme import TEXT_CSS, palette
from xxact_core.errors import InputError
from xxact_core.patterns.conversions import axis_to_two_theta, change_wavelength
from xxact_core.processing.background import suggest_points
from xxact_core.processing.steps import MOST_BACKGROUND_POINTS

_HINT = (
    "<p class='muted'>Click on the plot to add a point, drag it, or select it and press Backspace to remove it. Undo "
    "works for each change. {heights}</p>"
)
_OWN = "The points have their heights in this pattern."
_COMMON = "For all patterns only the angles count: each pattern has its own heights there."
_UNSUITABLE = (
    "<p class='muted'>Points are edited where the selected pattern is shown alone, before its background is "
    "subtracted.</p>"
)


class BackgroundPoints:
    """Edits the background points of the selected pattern, or of all; `panel` is shown where the method is points."""

    def __init__(self, session: Session, store: Store, figure: PatternFigure) -> None:
        self.session, self.store, self._figure = session, store, figure
        self._drawn_key = ""  # of the curve that the points belong to
        self._drawn_wavelength: float | None = None
        self._writing = False
        self.edit = pmui.Checkbox(label="Edit the points on the plot", value=True, size="small", margin=0)
        self.suggest = pmui.Button(
            label="Suggest points", variant="outlined", size="small", margin=0, on_click=self._suggest
        )
        self.alone = pmui.Button(
            label="Show it alone, as measured", variant="outlined", size="small", margin=0, on_click=self._show_alone
        )
        self.clear = pmui.Button(
            label="Remove all", variant="outlined", size="small", color="error", margin=0, on_click=self._clear
        )
        self.text = pn.pane.HTML("", stylesheets=[TEXT_CSS], sizing_mode="stretch_width", margin=0)
        self.panel = pn.Column(
            self.edit, pn.FlexBox(self.alone, self.suggest, self.clear, gap="8px", margin=(4, 0)), self.text,
            sizing_mode="stretch_width", margin=0, visible=False,
        )  # fmt: skip
        self.points = ColumnDataSource({"x": [], "y": []})
        self.marks = figure.plot.scatter(
            "x", "y", source=self.points, size=11, marker="circle", line_width=2, fill_alpha=0.5, visible=False
        )
        self.tool = PointDrawTool(renderers=[self.marks], description="Background points", visible=False)
        figure.plot.add_tools(self.tool)
        figure.plot.toolbar.active_multi = None
        self.points.on_change("data", self._moved)
        self.edit.param.watch(lambda _event: self._use_tool(), "value")

    # ------------------------------------------------------------------------------------------------------ the steps
    @property
    def own(self) -> bool:
        """Whether the selected pattern has steps of its own."""
        return self.session.sample(self.session.chosen).own_steps is not None

    def _steps(self) -> list[dict[str, object]]:
        return self.session.steps_of(self.session.chosen)

    def _set_points(self, points: list[list[float | None]]) -> None:
        steps = set_value(self._steps(), "subtract_background", method="points", points=points[:MOST_BACKGROUND_POINTS])
        self.session.set_steps(self.session.chosen, steps)

    def _clear(self, _event: object = None) -> None:
        self._set_points([])

    def _show_alone(self, _event: object = None) -> None:
        self.session.show_only([self.session.chosen])
        self.session.stage = "measured"

    def _suggest(self, _event: object = None) -> None:
        self._set_points(self.suggestion())

    def suggestion(self) -> list[list[float | None]]:
        """Points along the arPLS background of the selected pattern; none where it cannot be computed."""
        try:
            profile = self.store.stages.before_background(self.session.chosen)
        except (InputError, KeyError):
            return []
        kept = profile.covered
        found = suggest_points(profile.two_theta[kept], profile.intensity[kept], with_heights=self.own)
        return [list(point) for point in found]

    # ------------------------------------------------------------------------------------------------------- the plot
    def draw(self, drawn: DrawnPatterns) -> None:
        """Show the points of the selected pattern, where the vertical axis is that of its intensity."""
        session = self.session
        uses = value_of(self._steps(), "subtract_background", "method") == "points"
        key = session.chosen
        suitable = uses and drawn.keys == [key] and session.arrangement != "heatmap" and self._is_before()
        self.panel.visible = uses
        hint = _HINT.format(heights=_OWN if self.own else _COMMON)
        self.text.object = hint if suitable else _UNSUITABLE
        self._drawn_key, self._drawn_wavelength = (key, drawn.wavelengths[0]) if suitable else ("", None)
        self.marks.visible = self.edit.visible = suitable
        self.alone.visible = not suitable
        colours = palette(dark=session.dark)
        self.marks.glyph.update(line_color=colours.text, fill_color=colours.series[1])
        self._writing = True
        try:
            self.points.data = self._to_plot(drawn) if suitable else {"x": [], "y": []}
        finally:
            self._writing = False
        self._use_tool()

    def _is_before(self) -> bool:
        """Whether the stage shown is before the background is subtracted."""
        if self.session.stage == "gridded":
            return False
        place = self.store.stages.background_step(self.session.chosen)
        return self.session.stage == "measured" or len(self.store.stages.shown_steps(self.session.chosen)) == place

    def _to_plot(self, drawn: DrawnPatterns) -> dict[str, list[float]]:
        stored = value_of(self._steps(), "subtract_background", "points") or ()
        curve, stages = drawn.curves[0], self.store.stages
        at_step, as_drawn = stages.background_wavelengths(self._drawn_key)
        angles = np.array([point[0] for point in stored], dtype=float)
        if at_step is not None and as_drawn is not None:
            angles = change_wavelength(angles, measured=at_step, target=as_drawn)
        x = stages.on_axis(angles, wavelength=self._drawn_wavelength)
        if curve.background is None:
            heights = np.interp(angles, curve.two_theta, curve.intensity)
        else:
            heights = np.interp(angles, curve.two_theta, curve.background)
        return {"x": x.tolist(), "y": to_scale(heights, scale=self.session.scale).tolist()}

    def _moved(self, _name: str, _old: object, new: dict[str, list[float]]) -> None:
        """Take over the points that the user added, moved or removed on the plot."""
        if self._writing or not self._drawn_key:
            return
        stages = self.store.stages
        at_step, as_drawn = stages.background_wavelengths(self._drawn_key)
        x = np.asarray(new["x"], dtype=float)
        if self.session.axis != "two_theta" and self._drawn_wavelength is not None:
            x = axis_to_two_theta(x, kind=self.session.axis, wavelength=self._drawn_wavelength)
        if at_step is not None and as_drawn is not None:
            x = change_wavelength(x, measured=as_drawn, target=at_step)
        heights = _from_scale(np.asarray(new["y"], dtype=float), scale=self.session.scale)
        points = [
            [round(float(angle), 3), float(f"{height:.5g}") if self.own else None]
            for angle, height in zip(x, heights, strict=True)
            if np.isfinite(angle) and 0 <= angle <= 180  # noqa: PLR2004 - the range of a scattering angle
        ]  # fmt: skip
        self._set_points(sorted(points, key=lambda point: float(point[0] or 0)))

    def _use_tool(self) -> None:
        """Offer the tool while points can be edited; the box zoom is back afterwards."""
        toolbar, wanted = self._figure.plot.toolbar, self.marks.visible and self.edit.value
        if wanted != (toolbar.active_multi is self.tool):
            toolbar.active_multi = self.tool if wanted else None


def _from_scale(heights: np.ndarray, *, scale: str) -> np.ndarray:
    """Intensities at heights on a scale, the inverse of `axes.to_scale`."""
    if scale == "root":
        return np.square(np.maximum(heights, 0))
    return 10.0**heights if scale == "log" else heights
