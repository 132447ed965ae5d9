"""The nearest known materials: a table, and the lines of one of them over the pattern."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import panel as pn
import panel_material_ui as pmui
from bokeh.models import NumberFormatter, StringFormatter

from xxact_app.jobs.task_panel import MakingPanel
from xxact_app.jobs.tasks import UnderWay
from xxact_app.samples.results import Answer
from xxact_app.samples.store import WINDOW_EDGES, Store
from xxact_app.screens.prediction.figures import draw_known, known_figure
from xxact_app.screens.prediction.matches_store import Found, KnownStore
from xxact_app.session.session import Session
from xxact_app.ui.space_groups import space_group_name
from xxact_app.ui.theme import TEXT_CSS, palette

_COLUMNS = ("Formula", "Space group", "Id", "Score", "Shift", "Scale")
_TITLES = {"Score": "Score (1 is perfect)", "Shift": "Shift [° 2θ]", "Scale": "Scale of the cell"}
_NUMBERS = {"Score": "0.000", "Shift": "+0.00", "Scale": "0.0000"}

_NO_TABLE = (
    "<p>There is nothing to compare with on this server: the Materials Project table, "
    "<code>data/materials_project.parquet</code>, comes with a checkout of the project, and a data set that you build "
    "on the Training screen does as well.</p>"
)


class KnownView:
    """`panel` shows the pattern of an answer and, once they are looked for, the known materials that agree with it."""

    def __init__(self, session: Session, store: Store, known: KnownStore, *, when_found: Callable[[], None]) -> None:
        self.session, self.store, self.known = session, store, known
        self._answer: Answer | None = None
        self._found: Found | None = None
        self._when_found = when_found
        self.words, self.verdict, self.caption = _text(), _text(), _text()
        self.tables = pmui.Select(label="Known materials", options={}, size="small", width=260, margin=0)
        self.making = MakingPanel(
            label="Find the nearest known materials", start=self._start, current=self._making, when_done=self._done,
        )  # fmt: skip
        self.figure = known_figure(edges=WINDOW_EDGES)
        self.table = pn.widgets.Tabulator(
            None, show_index=False, disabled=True, selectable=1, theme="materialize", titles=_TITLES,
            layout="fit_data_stretch", sizing_mode="stretch_width", margin=0, label="Nearest known materials",
            formatters={
                **{name: StringFormatter() for name in ("Formula", "Space group", "Id")},
                **{name: NumberFormatter(format=text) for name, text in _NUMBERS.items()},
            },
            visible=False,
        )  # fmt: skip
        plot = pn.pane.Bokeh(self.figure.plot, sizing_mode="stretch_width", margin=0)
        self.panel = pn.Column(
            pn.pane.HTML("<h2>Nearest known materials</h2>", stylesheets=[TEXT_CSS], margin=(0, 0, 4, 0)),
            self.words, pn.FlexBox(self.tables, self.making.panel, gap="12px", align_items="center", margin=0),
            self.verdict, plot, self.caption, self.table, sizing_mode="stretch_width", margin=0,
        )  # fmt: skip
        self.tables.param.watch(self._choose_table, "value")
        self.table.param.watch(self._choose, "selection")

    def show(self, answer: Answer) -> None:
        """Show what is known of this answer's pattern."""
        self._answer, self._found = answer, self.known.found(answer)
        tables, table = self.known.tables(), self.known.table()
        self.tables.param.update(
            options={one.label: one.key for one in tables}, value=None if table is None else table.key,
            visible=len(tables) > 1,
        )  # fmt: skip
        self.making.panel.visible = table is not None
        self.words.object = _NO_TABLE if table is None else self._offer(answer)
        self.making.look()
        self._show_found()
        self._draw()

    def _offer(self, answer: Answer) -> str:
        if self._found is not None:
            return ""
        if elements := self.known.elements(answer):
            return f"<p class='muted'>Compares the pattern with all known materials of {', '.join(elements)}.</p>"
        return (
            "<p class='muted'>Without elements all materials with such lines are compared, less surely. The first time "
            "this takes one to some minutes, in which an index is built.</p>"
        )

    def _show_found(self) -> None:
        found = self._found
        self.table.visible = found is not None and bool(found.neighbours)
        if found is None:
            self.verdict.object = ""
            return
        if not found.neighbours:
            self.verdict.object = "<p>None: there is no known material of these elements that scatters.</p>"
            return
        sentence = f"<b>{found.sentence}</b>" if found.several else found.sentence
        assert self._answer is not None, "what is shown belongs to an answer"
        both = self.known.both_in_words(self._answer, found)
        self.verdict.object = (
            f"<p>{sentence} {both}</p><p class='muted'>{found.candidates:,} materials were compared.</p>"
        )
        rows = [
            [one.formula, space_group_name(str(one.space_group or "unknown")), one.id, one.score, one.shift, one.scale]
            for one in found.neighbours
        ]
        self.table.value = pd.DataFrame(rows, columns=list(_COLUMNS))
        chosen = self.known.chosen(self._answer, found)
        self.table.selection = [found.neighbours.index(one) for one in (chosen,) if one is not None]

    def _draw(self) -> None:
        assert self._answer is not None, "what is drawn belongs to an answer"
        gridded = self.store.gridded(self._answer.sample.key)
        one = self.known.chosen(self._answer, self._found)
        draw_known(
            self.figure, edges=WINDOW_EDGES, two_theta=gridded.grid.two_theta,
            intensity=np.where(gridded.coverage, gridded.intensity.astype(np.float64), np.nan),
            hidden=gridded.hidden_windows, scale=self.session.scale, colours=palette(dark=self.session.dark),
            line_two_theta=np.empty(0) if one is None else one.two_theta,
            line_intensity=np.empty(0) if one is None else one.intensity,
        )  # fmt: skip
        lines = "" if one is None else f", with the calculated lines of {one.formula} ({one.id}) over it"
        self.caption.object = (
            f"<p class='muted'>The pattern as the model sees it{lines}; dotted: the 17 windows, hatched: not measured."
            f"</p>{'' if one is None else _lines_table(one.two_theta, one.intensity)}"
        )

    def recolour(self) -> None:
        """Take the colours of the present theme."""
        if self._answer is not None:
            self._draw()

    # ----------------------------------------------------------------------------------------------- what the user does
    def _start(self) -> None:
        if self._answer is not None:
            self.known.start(self._answer)

    def _making(self) -> UnderWay | None:
        return None if self._answer is None else self.known.making(self._answer)

    def _done(self) -> None:
        self._when_found()

    def _choose_table(self, _event: object = None) -> None:
        self.session.known_materials = self.tables.value or ""

    def _choose(self, _event: object = None) -> None:
        if self._answer is None or self._found is None or not self.table.selection:
            return
        number = self.table.selection[0]
        if number < len(self._found.neighbours):
            key, identity = self._answer.sample.key, self._found.neighbours[number].id
            if self.known.chosen(self._answer, self._found) is not self._found.neighbours[number]:
                self.session.neighbours = {**self.session.neighbours, key: identity}


def _lines_table(two_theta: np.ndarray, intensity: np.ndarray) -> str:
    """The strongest lines, the twin of what is drawn; safe HTML."""
    strongest = sorted(np.argsort(-intensity)[:10].tolist(), key=lambda number: two_theta[number])
    rows = "".join(f"<tr><td>{two_theta[number]:.2f}</td><td>{intensity[number]:.0f}</td></tr>" for number in strongest)
    head = "<tr><th scope='col'>2θ [°]</th><th scope='col'>Intensity</th></tr>"
    return (
        f"<details><summary>Its ten strongest lines as a table</summary><table><thead>{head}</thead>"
        f"<tbody>{rows}</tbody></table></details>"
    )


def _text() -> pn.pane.HTML:
    return pn.pane.HTML("", stylesheets=[TEXT_CSS], sizing_mode="stretch_width", margin=0)
