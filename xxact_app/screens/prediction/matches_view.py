"""Matching reference phases: a table, and the reflections of one of them over the pattern."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import panel as pn
import panel_material_ui as pmui
from bokeh.models import NumberFormatter, StringFormatter

from xxact_app.jobs.task_panel import TaskPanel
from xxact_app.jobs.tasks import BackgroundTask
from xxact_app.samples.prediction_result import Answer
from xxact_app.samples.processing import WINDOW_EDGES
from xxact_app.samples.store import Store
from xxact_app.screens.prediction.figures import draw_match, match_figure
from xxact_app.screens.prediction.matches_store import Matches, MatchesStore
from xxact_app.screens.prediction.refinement_store import RefinedPhases, RefinementStore
from xxact_app.session.session import Session
from xxact_app.ui.formatting import percent
from xxact_app.ui.theme import TEXT_CSS, palette
from xxact_core.structures.space_groups import space_group_name

_COLUMNS = ("Formula", "Mineral", "Space group", "ID", "Probability", "Score", "Shift", "Scale")
_TITLES = {"Score": "Score (1 = perfect)", "Shift": "Shift [° 2θ]", "Scale": "Cell scale"}
_NUMBERS = {"Probability": "0 %", "Score": "0.000", "Shift": "+0.00", "Scale": "0.0000"}

_NO_TABLE = (
    "<p>No reference database is available: the installation lacks the reference table. Reinstall XxaCT, or "
    "build a dataset on the Training screen and search that.</p>"
)


class MatchesPanel:
    """The pattern of an answer and, after a search, the reference phases that match it; `panel` holds both."""

    def __init__(
        self,
        session: Session,
        store: Store,
        search: MatchesStore,
        *,
        on_result: Callable[[], None],
        refinement: RefinementStore | None = None,
    ) -> None:
        self.session, self.store, self.search = session, store, search
        self.refinement = RefinementStore(store, search) if refinement is None else refinement
        self._answer: Answer | None = None
        self._matches: Matches | None = None
        self._on_result = on_result
        self.hint, self.verdict, self.refined, self.caption = _text(), _text(), _text(), _text()
        self.refine = TaskPanel(
            label="Refine these phases", start=self._refine, current=self._refining, when_done=self._show_refined,
        )  # fmt: skip
        self.tables = pmui.Select(label="Reference database", options={}, size="small", width=260, margin=(8, 0, 0, 0))
        self.task = TaskPanel(
            label="Search reference phases", start=self._start, current=self._task, when_done=self._done,
        )  # fmt: skip
        self.figure = match_figure(edges=WINDOW_EDGES)
        self.table = pn.widgets.Tabulator(
            None, show_index=False, disabled=True, selectable=1, theme="materialize", titles=_TITLES,
            layout="fit_data_stretch", sizing_mode="stretch_width", margin=0, label="Matching reference phases",
            formatters={
                **{name: StringFormatter() for name in ("Formula", "Mineral", "Space group", "ID")},
                **{name: NumberFormatter(format=text) for name, text in _NUMBERS.items()},
            },
            visible=False,
        )  # fmt: skip
        plot = pn.pane.Bokeh(self.figure.plot, sizing_mode="stretch_width", margin=0)
        self.panel = pn.Column(
            pn.pane.HTML("<h2>Matching reference phases</h2>", stylesheets=[TEXT_CSS], margin=(0, 0, 4, 0)),
            self.hint, pn.FlexBox(self.tables, self.task.panel, gap="12px", align_items="center", margin=0),
            self.verdict, self.refine.panel, self.refined, plot, self.caption, self.table,
            sizing_mode="stretch_width", margin=0,
        )  # fmt: skip
        self.tables.param.watch(self._choose_table, "value")
        self.table.param.watch(self._choose, "selection")

    def show(self, answer: Answer) -> None:
        """Show the pattern of an answer and its matches so far."""
        self._answer, self._matches = answer, self.search.matches(answer)
        tables, table = self.search.tables(), self.search.table()
        self.tables.param.update(
            options={one.label: one.key for one in tables}, value=None if table is None else table.key,
            visible=len(tables) > 1,
        )  # fmt: skip
        self.task.panel.visible = table is not None
        self.hint.object = _NO_TABLE if table is None else self._offer(answer)
        self.task.look()
        self._show_matches()
        self._show_refined()
        self._draw()

    def _offer(self, answer: Answer) -> str:
        if self._matches is not None:
            return ""
        if elements := self.search.elements(answer):
            return f"<p class='muted'>Searches all reference phases in the chemical system {'–'.join(elements)}.</p>"
        return "<p class='muted'>Without elements the whole database is searched, which is less reliable.</p>"

    def _show_matches(self) -> None:
        matches = self._matches
        self.table.visible = matches is not None and bool(matches.matches)
        if matches is None:
            self.verdict.object = ""
            return
        if not matches.matches:
            self.verdict.object = (
                "<p>The database contains no phase of these elements with reflections in this range.</p>"
            )
            return
        sentence = f"<b>{matches.sentence}</b>" if matches.several else matches.sentence
        assert self._answer is not None, "the selection belongs to an answer"
        combined = self.search.combined_text(self._answer, matches)
        self.verdict.object = (
            f"<p>{sentence} {combined}</p>{_phases_table(matches)}"
            f"<p class='muted'>{matches.candidates:,} reference phases were compared.</p>"
        )
        rows = [
            [
                one.formula,
                one.name or "",
                space_group_name(str(one.space_group or "unknown")),
                one.id,
                one.probability,
                one.score,
                one.shift,
                one.scale,
            ]
            for one in matches.matches
        ]
        self.table.value = pd.DataFrame(rows, columns=list(_COLUMNS))
        chosen = self.search.chosen(self._answer, matches)
        self.table.selection = [matches.matches.index(one) for one in (chosen,) if one is not None]

    def _draw(self) -> None:
        assert self._answer is not None, "the plot belongs to an answer"
        gridded = self.store.gridded(self._answer.sample.key)
        one = self.search.chosen(self._answer, self._matches)
        draw_match(
            self.figure, edges=WINDOW_EDGES, two_theta=gridded.grid.two_theta,
            intensity=np.where(gridded.coverage, gridded.intensity.astype(np.float64), np.nan),
            hidden=gridded.hidden_windows, scale=self.session.scale, colours=palette(dark=self.session.dark),
            line_two_theta=np.empty(0) if one is None else one.two_theta,
            line_intensity=np.empty(0) if one is None else one.intensity,
        )  # fmt: skip
        reflections = "" if one is None else f", with the calculated reflections of {one.label}"
        self.caption.object = (
            f"<p class='muted'>Model input{reflections}. Dotted: the 17 windows; hatched: not measured."
            f"</p>{'' if one is None else _reflections_table(one.two_theta, one.intensity)}"
        )

    def recolour(self) -> None:
        """Redraw in the colours of the theme."""
        if self._answer is not None:
            self._draw()

    def _show_refined(self) -> None:
        """The refinement of the phases found, or the offer to start it."""
        assert self._answer is not None, "the phases belong to an answer"
        possible = self.refinement.can_refine(self._answer, self._matches)
        self.refine.panel.visible = possible and self.refinement.installed
        result = self.refinement.refined(self._answer, self._matches) if possible else None
        if possible and not self.refinement.installed:
            text = 'To refine these phases, install the extra: <code>pip install "xxact[refine]"</code>'
            self.refined.object = f"<p class='muted'>{text}</p>"
        else:
            self.refined.object = "" if result is None else _refined_table(result)
        self.refine.look()

    # ----------------------------------------------------------------------------------------------- what the user does
    def _refine(self) -> None:
        if self._answer is not None and self._matches is not None:
            self.refinement.start(self._answer, self._matches)

    def _refining(self) -> BackgroundTask | None:
        return None if self._answer is None else self.refinement.task(self._answer, self._matches)

    def _start(self) -> None:
        if self._answer is not None:
            self.search.start(self._answer)

    def _task(self) -> BackgroundTask | None:
        return None if self._answer is None else self.search.task(self._answer)

    def _done(self) -> None:
        self._on_result()

    def _choose_table(self, _event: object = None) -> None:
        self.session.known_materials = self.tables.value or ""

    def _choose(self, _event: object = None) -> None:
        if self._answer is None or self._matches is None or not self.table.selection:
            return
        number = self.table.selection[0]
        if number < len(self._matches.matches):
            key, identity = self._answer.sample.key, self._matches.matches[number].id
            if self.search.chosen(self._answer, self._matches) is not self._matches.matches[number]:
                self.session.change([key], phase=identity)


def _reflections_table(two_theta: np.ndarray, intensity: np.ndarray) -> str:
    """The strongest reflections as a table, the text alternative of the sticks; safe HTML."""
    strongest = sorted(np.argsort(-intensity)[:10].tolist(), key=lambda number: two_theta[number])
    rows = "".join(f"<tr><td>{two_theta[number]:.2f}</td><td>{intensity[number]:.0f}</td></tr>" for number in strongest)
    head = "<tr><th scope='col'>2θ [°]</th><th scope='col'>Intensity</th></tr>"
    return (
        f"<details><summary>The ten strongest reflections as a table</summary><table><thead>{head}</thead>"
        f"<tbody>{rows}</tbody></table></details>"
    )


def _text() -> pn.pane.HTML:
    return pn.pane.HTML("", stylesheets=[TEXT_CSS], sizing_mode="stretch_width", margin=0)


def _phases_table(matches: Matches) -> str:
    """The phases with weight fractions and cells as safe HTML; empty where none is found."""
    if not matches.phases:
        return ""
    heads = ("Phase", "Name", "Space group", "wt%", "Cell [Å, °]", "Size [nm]", "Probability")
    cells = [
        (one.formula, one.name, one.space_group, one.weight, one.cell, one.size, percent(one.probability))
        for one in matches.phases
    ]
    head = "".join(f"<th scope='col'>{text}</th>" for text in heads)
    body = "".join(f"<tr>{''.join(f'<td>{text}</td>' for text in row)}</tr>" for row in cells)
    rest = percent(matches.unexplained)
    return (
        f"<table><caption>Phases of the specimen; {rest} of the intensity is unexplained</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def _refined_table(result: RefinedPhases) -> str:
    """Refined weight fractions and cells as safe HTML."""
    head = "".join(f"<th scope='col'>{text}</th>" for text in ("Phase", "Name", "wt%", "Cell [Å, °]"))
    rows = ((one.formula, one.name, one.weight, one.cell) for one in result.rows)
    body = "".join(f"<tr>{''.join(f'<td>{text}</td>' for text in row)}</tr>" for row in rows)
    notes = "".join(f"<p class='muted'>{note}</p>" for note in result.notes)
    return (
        f"<table><caption>Rietveld refinement; {result.agreement}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table>{notes}"
    )
