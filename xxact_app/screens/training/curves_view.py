"""The curves of the selected runs: loss, validation metrics, learning rate and speed, with a table of values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import panel as pn
import panel_material_ui as pmui

from xxact_app.plots.patterns import distinct_styles
from xxact_app.screens.training import text as words
from xxact_app.screens.training.figures import Line, curve_figure, draw_curves
from xxact_app.screens.training.run_curves import RunCurves
from xxact_app.screens.training.store import TrainingStore
from xxact_app.session.session import Session
from xxact_app.ui.safe_text import safe_text
from xxact_app.ui.theme import TEXT_CSS, grid_css, palette

if TYPE_CHECKING:
    from xxact_app.screens.training.followed_runs import FollowedRuns

_HALVES = "minmax(0, 1fr) minmax(0, 1fr)"
_LAYOUT = grid_css(
    _HALVES, ("loss metric", "rate speed", "table table"), narrow=("loss", "metric", "rate", "speed", "table"),
    padding="8px 0",
)  # fmt: skip
_ALL_PARTS = "all parts"
_PREFERRED = ("crystal_system_accuracy",)


class CurvesPanel:
    """Four figures of the runs compared in a session; `panel` holds them."""

    def __init__(self, session: Session, store: TrainingStore | FollowedRuns) -> None:
        self.session, self.store = session, store
        self._drawn: object = None
        self.loss, self.metric = curve_figure("Loss"), curve_figure("Validation")
        self.rate, self.speed = curve_figure("Learning rate"), curve_figure("Materials per second")
        field = {"sizing_mode": "stretch_width", "size": "small", "margin": (0, 0, 4, 0)}
        self.part = pmui.Select(label="Loss", options={"Loss": "loss"}, value="loss", **field)
        self.measure = pmui.Select(label="Validation", options={}, **field)
        self.table = pn.pane.HTML("", stylesheets=[TEXT_CSS], sizing_mode="stretch_width", margin=0,
                                  css_classes=["area-table"])  # fmt: skip
        curves = pn.Column(
            _cell("loss", self.part, self.loss.plot), _cell("metric", self.measure, self.metric.plot),
            _cell("rate", None, self.rate.plot), _cell("speed", None, self.speed.plot), self.table,
            stylesheets=[_LAYOUT], sizing_mode="stretch_width", margin=0,
        )  # fmt: skip
        self.panel = pn.Column(curves, sizing_mode="stretch_width", margin=0, visible=False)
        for choice in (self.part, self.measure):
            choice.param.watch(self.draw, "value")
        session.param.watch(self.draw, ["compared", "dark"])

    def draw(self, *_events: object) -> bool:
        """Redraw the runs where they or the selection have changed; returns whether that was so."""
        runs = self.runs()
        state = (
            [(name, run.count) for name, run in runs.items()],
            self.part.value,
            self.measure.value,
            self.session.dark,
        )
        if state == self._drawn:
            return False
        self._drawn = state
        with pn.io.hold():
            self.panel.visible = bool(runs)
            self._offer(runs)
            steps = max((run.step for run in runs.values()), default=1)
            draw_curves(self.loss, self._loss_lines(runs), steps=steps)
            draw_curves(self.metric, self._lines(runs, self.measure.value or ""), steps=steps)
            draw_curves(self.rate, self._lines(runs, "learning_rate"), steps=steps)
            draw_curves(self.speed, self._lines(runs, "samples_per_second"), steps=steps)
            self.metric.plot.yaxis.axis_label = words.curve_label(self.measure.value or "Validation")
            self.table.object = words.curves_table(runs, list(self.measure.options.values()))
        return True

    def runs(self) -> dict[str, RunCurves]:
        """The selected runs that have curves, read anew, by name."""
        runs = {name: self.store.curves(name) for name in self.session.compared}
        return {name: run for name, run in runs.items() if run.values}

    def lines(self) -> dict[str, list[Line]]:
        """The curves of loss and validation metric that are drawn, by the label of their axis."""
        runs = self.runs()
        return {
            "Loss": self._loss_lines(runs),
            words.curve_label(self.measure.value or "Validation"): self._lines(runs, self.measure.value or ""),
        }

    def _offer(self, runs: dict[str, RunCurves]) -> None:
        parts = dict.fromkeys(name for run in runs.values() for name in run.values if name.startswith("loss"))
        options = {words.curve_label(name): name for name in parts}
        if len(runs) == 1 and len(parts) > 2:  # noqa: PLR2004 - the loss, and one part that is all of it
            options = {"Loss and its terms": _ALL_PARTS, **options}
        if options and options != self.part.options:
            kept = self.part.value in options.values() and self.part.value != "loss"
            self.part.param.update(options=options, value=self.part.value if kept else next(iter(options.values())))
        metrics = dict.fromkeys(name for run in runs.values() for name in run.metrics)
        options = {words.curve_label(name): name for name in metrics}
        if options != self.measure.options:
            first = next((name for name in (self.measure.value, *_PREFERRED, *metrics) if name in metrics), None)
            self.measure.param.update(options=options, value=first, disabled=not options)

    def _loss_lines(self, runs: dict[str, RunCurves]) -> list[Line]:
        if self.part.value != _ALL_PARTS or len(runs) != 1:
            return self._lines(runs, "loss" if self.part.value == _ALL_PARTS else self.part.value)
        (run,) = runs.values()
        colours = palette(dark=self.session.dark).series
        names = [name for name in run.values if name.startswith("loss")]
        styles = distinct_styles(range(len(names)), colours=len(colours))
        return [
            Line(words.loss_term_label(name), colours[colour], *run.curve(name), dash=dash)
            for name, (colour, dash) in zip(names, styles, strict=True)
        ]

    def _lines(self, runs: dict[str, RunCurves], curve: str) -> list[Line]:
        colours = palette(dark=self.session.dark).series
        return [
            Line(safe_text(name), colours[number % len(colours)], *run.curve(curve))
            for number, (name, run) in enumerate(runs.items())
        ]


def _cell(area: str, choice: pmui.Select | None, plot: object) -> pn.Column:
    parts = [] if choice is None else [choice]
    return pn.Column(
        *parts, pn.pane.Bokeh(plot, sizing_mode="stretch_width", margin=0), css_classes=[f"area-{area}"],
        sizing_mode="stretch_width", margin=0,
    )  # fmt: skip
