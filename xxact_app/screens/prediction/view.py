"""The Answer screen: a large pattern with its phases, and what the specimen is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar

import panel as pn
import panel_material_ui as pmui
from bokeh.plotting import figure

from xxact_app.jobs.task_panel import TaskPanel
from xxact_app.jobs.tasks import BackgroundTask
from xxact_app.library.models import run_name
from xxact_app.plots.export import figure_to_bytes
from xxact_app.plots.patterns import draw_probabilities, probability_figure
from xxact_app.samples.prediction_result import Answer, Missing
from xxact_app.samples.processing_steps import step_title
from xxact_app.samples.store import Store
from xxact_app.samples.wavelength_form import WavelengthForm
from xxact_app.screens.prediction import export as files
from xxact_app.screens.prediction import text as words
from xxact_app.screens.prediction.answer_plot import AnswerPlot
from xxact_app.screens.prediction.attention_view import AttentionPanel
from xxact_app.screens.prediction.batch import BatchTable
from xxact_app.screens.prediction.conclusion import Conclusion, conclude
from xxact_app.screens.prediction.elements_form import ElementsForm
from xxact_app.screens.prediction.matches_view import MatchesTable
from xxact_app.screens.prediction.phases_store import PhasesStore, SearchResult
from xxact_app.screens.prediction.records import RECORDS, has_record, write_record
from xxact_app.screens.prediction.refinement_view import RefinementPanel
from xxact_app.screens.prediction.report import Page, page_to_drawing, pages_to_pdf
from xxact_app.screens.prediction.store import PredictionStore
from xxact_app.screens.screen import PictureKind, standard_files
from xxact_app.session.session import Session
from xxact_app.ui.downloads import PythonCode, download_row
from xxact_app.ui.draw_pace import DrawPace
from xxact_app.ui.safe_text import plain_markdown
from xxact_app.ui.theme import ALERT_STYLE, NARROW, TEXT_CSS, grid_css, palette
from xxact_core.compositions.composition import Composition
from xxact_core.errors import InputError
from xxact_core.quantities import CRYSTAL_SYSTEM, SPACE_GROUP, SURE, Quantity

if TYPE_CHECKING:
    from xxact_core.prediction.prediction import RankedLabel

_LAYOUT = grid_css(
    "minmax(0, 1fr) minmax(340px, 30vw)",
    ("plot ask", "plot shown"),
    narrow=("ask", "plot", "shown"),
    gap="4px 16px",
    padding="8px 16px 4px",
)
_ROWS = f"@media (min-width: {NARROW + 1}px) {{ :host {{ grid-template-rows: auto 1fr; }} }}"
"""The row of the form is as high as the form; the plot extends over both rows."""

_MORE_LAYOUT = grid_css(
    "minmax(0, 1fr) minmax(0, 1fr)",
    ("systems groups", "matches matches", "attention attention", "basis basis"),
    narrow=("systems", "groups", "matches", "attention", "basis"),
)
_PAUSE = 2000
"""Time [ms] after which phases are searched among all elements, where no elements are given. Ours."""

_SEARCHING = 1500
"""Time [ms] that a search is left to end before the details of the prediction alone are shown. Ours."""

_MOST_GROUPS = 7
_WIDE = {"sizing_mode": "stretch_width", "margin": 0}
_EMPTY = (
    "<h2>What is this powder?</h2><p>Drop a diffractogram anywhere on this page, or load the example data. Its "
    "phases, crystal system, formation energy and band gap appear here automatically. The answer is more certain if "
    "the elements are known.</p>"
)


class PredictionScreen:
    """What the selected specimen is; `panel` is the screen.

    Args:
        session: the session.
        store: its patterns.
        predictions: predictions of all patterns.
        search: searches of the phases.
        in_front: whether the screen is visible.
        by_itself: whether a search starts without being asked for; by default on a page, but not in a notebook.
    """

    KEY: ClassVar[str] = "answer"
    TITLE: ClassVar[str] = "Answer"

    def __init__(
        self,
        session: Session,
        store: Store,
        predictions: PredictionStore | None = None,
        search: PhasesStore | None = None,
        *,
        in_front: bool = True,
        by_itself: bool | None = None,
    ) -> None:
        self.session, self.store = session, store
        self.predictions = predictions or PredictionStore(session, store)
        self.search = search or PhasesStore(session, store)
        self._by_itself = pn.state.curdoc is not None if by_itself is None else by_itself
        self._in_front = in_front
        self._conclusion: Conclusion | None = None
        self._searching: tuple[str, BackgroundTask] | None = None
        self._details_asked, self._details_of = 0, ""
        self.pace = DrawPace()
        self.plot = AnswerPlot(session, store)
        self.elements = ElementsForm(session, store)
        self.pattern = pmui.Select(label="Pattern", options={}, size="small", **_WIDE)
        self.task = TaskPanel(
            label="Identify the phases", start=self._identify, current=self._task, when_done=self._show_answer,
            stop=self._stop,
        )  # fmt: skip
        self.refinement = RefinementPanel(session, store, self.search)
        self.matches = MatchesTable(session, self.search)
        self.attention, self.batch = (
            AttentionPanel(session),
            BatchTable(session, self.predictions, self.search, conclude=self._conclude),
        )
        self.message = pmui.Alert(severity="info", sx=ALERT_STYLE, **_WIDE)
        self.override = pmui.Button(
            label="Predict anyway", variant="outlined", size="small", margin=(4, 0), on_click=self._override
        )
        self.ask_wavelength = pn.Column(WavelengthForm(session, store, titled=False).panel, **_WIDE)
        self.headline = _text()
        self.phases, self.facts, self.answered_by, self.basis = (_text() for _ in range(4))
        self.bars = {CRYSTAL_SYSTEM: probability_figure(height=250), SPACE_GROUP: probability_figure(height=250)}
        self.tables = {CRYSTAL_SYSTEM: _text(), SPACE_GROUP: _text()}
        self.python = PythonCode()
        self.downloads = download_row(
            {
                "JSON": ("answer.json", lambda: self._file(words.to_json)),
                **standard_files(self, "answer"),
                "Report (PDF)": ("answer.pdf", lambda: self._file(lambda one: pages_to_pdf([self._page(one)]))),
                "Report for all patterns (PDF)": ("answers.pdf", self._reports),
                "NeXus": ("answer.nxs", lambda: self._record("nxs")),
                "Lab notebook (ELN)": ("answer.eln", lambda: self._record("eln")),
            }
        )
        self.bar_panels = [self._bars("systems", CRYSTAL_SYSTEM), self._bars("groups", SPACE_GROUP)]
        asked = pn.Column(
            self.pattern, self.elements.panel, self.headline, self.task.panel, self.message, self.override,
            self.ask_wavelength, css_classes=["area-ask"], **_WIDE,
        )  # fmt: skip
        shown = pn.Column(
            self.phases, self.refinement.panel, self.facts, self.answered_by, css_classes=["area-shown"], **_WIDE
        )
        self.intro = pn.pane.HTML(_EMPTY, stylesheets=[TEXT_CSS], **_WIDE)
        self.plot_area = pn.Column(self.intro, self.plot.panel, self.plot.table, css_classes=["area-plot"], **_WIDE)
        self.all_patterns = pn.Column(**_WIDE)
        self.details = pn.Column(stylesheets=[_MORE_LAYOUT], **_WIDE)
        self.more = pn.Column(self.details, visible=False, **_WIDE)
        self._left = [
            self.bar_panels,
            [_area("basis", self.basis, self.downloads, self.python.panel)],
            [_area("matches", self.matches.panel)],
            [_area("attention", self.attention.panel)],
        ]
        self.panel = pn.Column(
            pn.Column(self.plot_area, asked, shown, stylesheets=[_LAYOUT, _ROWS], **_WIDE),
            self.all_patterns, self.more, self.pace, **_WIDE,
        )  # fmt: skip
        self.pattern.param.watch(self._choose, "value")
        session.watch(self._show_choices, ["files", "chosen"])
        session.watch(
            self._show_answer,
            [
                "files", "chosen", "formula", "may", "one_of", "never", "use_guess", "wavelength", "steps", "own_steps",
                "scan", "override_coverage", "dark", "model", "known_materials", "phase", "scale", "axis",
                "show_background",
            ],
        )  # fmt: skip
        self._show_choices()
        self._show_answer()

    # ----------------------------------------------------------------------------------------------- what the user does
    def _choose(self, _event: object = None) -> None:
        if self.pattern.value:
            self.session.chosen = self.pattern.value

    def _override(self, _event: object = None) -> None:
        self.session.override_coverage = True

    def _identify(self) -> None:
        """Search the phases of the selected pattern."""
        chosen = self.session.chosen
        if chosen not in self.store.samples:
            return
        try:
            self.search.start(chosen)
        except InputError:
            return  # the message on the screen says why
        task = self.search.task(chosen)
        self._searching = None if task is None else (chosen, task)

    def _stop(self) -> None:
        self.search.stop(self.session.chosen)

    def _task(self) -> BackgroundTask | None:
        chosen = self.session.chosen
        return self.search.task(chosen) if chosen in self.store.samples else None

    # ------------------------------------------------------------------------------------------------- automatic search
    def _search_by_itself(self) -> None:
        """Start to search the phases: at once where elements are known, after a pause where none are."""
        chosen = self.session.chosen
        self.search.withdraw(keep=chosen)
        if not self._by_itself or not self._can_start(chosen):
            return
        states = self.search.states(chosen)
        if states.possible or states.one_of or pn.state.curdoc is None:
            self._identify()
            self.task.look()  # so that a search that ends soon is noticed
        else:
            asked = self.search.question(chosen)
            pn.state.curdoc.add_timeout_callback(lambda: self._after_pause(chosen, asked), _PAUSE)

    def _after_pause(self, chosen: str, asked: object) -> None:
        same = chosen == self.session.chosen and self._can_start(chosen) and self.search.question(chosen) == asked
        if same and self._in_front:
            self._identify()
            self.task.look()
            self._show_headline()

    def _can_start(self, chosen: str) -> bool:
        known = chosen in self.store.samples and self.search.digest(chosen) != ""
        return known and self.search.found(chosen) is None and self.search.may_start(chosen)

    # ----------------------------------------------------------------------------------------------- what the user sees
    def _show_choices(self, *_events: object) -> None:
        options = {sample.name: sample.key for sample in self.store.samples.values()}
        chosen = self.session.chosen if self.session.chosen in self.store.samples else None
        self.pattern.param.update(options=options, value=chosen, disabled=not options, visible=bool(options))

    def come_to_front(self, *, in_front: bool) -> None:
        """Follow the session only while the screen is visible."""
        self._in_front = in_front
        self._show_answer()

    def conclusion(self, key: str) -> Conclusion:
        """The answer for a pattern."""
        return self._conclude(key, self.predictions.ask(key), self.search.found(key))

    def _conclude(self, key: str, alone: Answer | Missing, found: SearchResult | None) -> Conclusion:
        return conclude(
            alone, found, predict_for=lambda formula: self.store.answer(key, formula=formula),
            complete=self._is_complete(key),
        )  # fmt: skip

    def _is_complete(self, key: str) -> bool:
        try:
            return isinstance(self.store.known(self.store.formula(key)), Composition)
        except InputError:
            return False

    def _show_answer(self, *_events: object) -> None:
        if not self._in_front:
            return
        chosen = self.session.chosen
        loaded = chosen in self.store.samples
        with pn.io.hold():
            self.plot.panel.visible = self.task.panel.visible = loaded
            self.intro.visible = not loaded
            if not loaded:
                self._conclusion = None
                self.batch.show()
                for part in (self.message, self.override, self.ask_wavelength, self.more, self.refinement.panel):
                    part.visible = False
                # Texts are emptied rather than hidden: Panel fails where a pane that is not drawn yet turns visible.
                for pane in (self.headline, self.plot.table, self.phases, self.facts):
                    pane.object = ""
                self._show_answered_by()
                return
            self._search_by_itself()
            self._conclusion = self.conclusion(chosen)
            self._show_missing(self._conclusion)
            self._show_headline()
            self.phases.object = words.phases(self._conclusion, colours=self.plot.colours())
            self.facts.object = words.facts(self._conclusion)
            self.plot.show(chosen, self._conclusion.found, self.search.chosen(chosen, self._conclusion.found))
            self.refinement.show(chosen, self._conclusion.found)
            self._show_answered_by()
            self.task.look()
            self._show_details_later()

    def _show_missing(self, conclusion: Conclusion) -> None:
        """What is missing for a prediction, and how to give it."""
        missing = conclusion.alone if isinstance(conclusion.alone, Missing) else None
        what = "" if missing is None else missing.what
        if missing is not None:
            self.message.object = plain_markdown(missing.text)
        self.message.visible = missing is not None and what != "wavelength"
        self.override.visible = what == "coverage"
        self.ask_wavelength.visible = what == "wavelength"

    def _show_headline(self) -> None:
        conclusion, chosen = self._conclusion, self.session.chosen
        if conclusion is None or chosen not in self.store.samples:
            return
        task = self._task()
        searching = task is not None and task.active
        text = words.headline(conclusion, searching=searching, waiting=self._waits(chosen))
        theme = "dark" if self.session.dark else "light"
        self.headline.object = f"<div class='{theme}' aria-live='polite'>{text}</div>"
        searchable = self.search.digest(chosen) != ""  # not without a wavelength, which the form below asks for
        self.task.button.visible = conclusion.found is None and not searching and searchable

    def _waits(self, chosen: str) -> bool:
        """Whether a search starts by itself after a pause."""
        return self._by_itself and self._can_start(chosen)

    def _show_answered_by(self) -> None:
        model, table = self.predictions.model(), self.search.table()
        found = None if self._conclusion is None else self._conclusion.found
        self.answered_by.object = words.answered_by(
            model="none" if model is None else model.label,
            references="no reference materials" if table is None else table.label,
            candidates=None if found is None else found.candidates,
        )

    # ------------------------------------------------------------------------------------------------------ the details
    def _show_details_later(self) -> None:
        """Show what is below the answer once that is drawn; while a search is running, after a pause at the earliest.

        Otherwise an answer that comes soon would wait until the browser has drawn all that.
        """
        self._details_asked += 1
        asked, task, document = self._details_asked, self._task(), pn.state.curdoc

        def show() -> None:
            if asked == self._details_asked:
                self._show_details()

        if document is not None and task is not None and task.active:
            if self._details_of != self.session.chosen:
                self.more.visible = False  # those of another pattern
            document.add_timeout_callback(lambda: self.pace.when_drawn(show), _SEARCHING)
        else:
            self.pace.when_drawn(show)

    def _show_details(self) -> None:
        conclusion, chosen = self._conclusion, self.session.chosen
        if conclusion is None or chosen not in self.store.samples:
            return
        with pn.io.hold():
            self.batch.show()
            if not self.all_patterns.objects:  # a table drawn unseen is misshapen
                self.all_patterns.objects = [self.batch.panel]
            self._details_of = chosen
            answer = conclusion.answer if isinstance(conclusion.answer, Answer) else None
            self.more.visible = answer is not None or conclusion.found is not None
            for button in self.downloads.objects[-RECORDS:]:
                button.visible = has_record(conclusion)
            for panel in self.bar_panels:
                panel.visible = answer is not None
            self.attention.panel.visible = answer is not None
            self.matches.show(chosen, conclusion.found)
            if isinstance(conclusion.alone, Answer):
                self.basis.object = words.basis(
                    conclusion.alone.prediction, self.store.hidden_windows(chosen),
                    shown=None if answer is None else answer.prediction, model=run_name(self.session.model),
                )  # fmt: skip
            if answer is not None:
                for quantity in (CRYSTAL_SYSTEM, SPACE_GROUP):
                    ranked = getattr(answer.prediction, quantity.name)[:_MOST_GROUPS]
                    self.tables[quantity].object = words.table(quantity, ranked)
                    self._draw(quantity, ranked)
                self.attention.show(self.predictions.attention(answer))
            self.python.show(self.python_code())
        self._add_details()

    def _add_details(self) -> None:
        """Add the next part of what the answer rests on, and the others once that is drawn.

        All at once, they would hold up what the user does for two seconds. Tables that are drawn unseen are misshapen.
        """
        if self._left and self.more.visible:
            self.details.extend(self._left.pop(0))
            self.pace.when_drawn(self._add_details)

    def _draw(self, quantity: Quantity, ranked: Sequence[RankedLabel]) -> None:
        labels = [words.label(quantity, item) for item in ranked]
        probabilities = [item.probability for item in ranked]
        colours = palette(dark=self.session.dark)
        colour = colours.accent if probabilities and probabilities[0] >= SURE else colours.uncertain
        plot, source = self.bars[quantity]
        draw_probabilities(plot, source, labels, probabilities, colour=colour, text_colour=colours.text)

    def _bars(self, area: str, quantity: Quantity) -> pn.Column:
        title = pn.pane.HTML(f"<h3>{quantity.label}</h3>", stylesheets=[TEXT_CSS], margin=(0, 0, 4, 0))
        plot: figure = self.bars[quantity][0]
        return _area(area, title, pn.pane.Bokeh(plot, **_WIDE), self.tables[quantity])

    # ----------------------------------------------------------------------------------------------------- the files
    def _current(self) -> Conclusion | None:
        chosen = self.session.chosen
        return self.conclusion(chosen) if chosen in self.store.samples else None

    def _file(self, write: Callable[[Conclusion], bytes]) -> bytes:
        """What is written of the answer; empty where there is no pattern.

        Raises:
            InputError: there is no prediction; the message says what is missing for one.
        """
        conclusion = self._current()
        if conclusion is not None and isinstance(conclusion.alone, Missing):
            name = self.store.samples[self.session.chosen].name
            msg = f"{name}: there is no prediction to write. {conclusion.alone.text}"
            raise InputError(msg)
        return b"" if conclusion is None else write(conclusion)

    def _page(self, conclusion: Conclusion) -> Page:
        answer, model = conclusion.alone, self.predictions.model()
        assert isinstance(answer, Answer), "only answers have a page"
        key, found = answer.sample.key, conclusion.found
        wavelength, attention = self.store.wavelength(key), self.predictions.attention(answer)
        facts = (
            ("Wavelength", "" if wavelength is None else f"{wavelength:.6g} Å"),
            ("Processing", "; ".join(step_title(step) for step in self.session.steps_of(key) if not step.get("off"))),
            ("Model", "" if model is None else f"{model.label}, SHA-256 of the weights {model.digest}"),
            ("Created", f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC with {self.predictions.versions()}"),
        )
        return Page(
            answer, conclusion, self.store.gridded(key), self.session.scale, facts, self.search.chosen(key, found),
            None if isinstance(attention, str) else attention, guessed=self.store.guessed(key),
        )  # fmt: skip

    def _record(self, kind: str) -> bytes:
        """The phases with the pattern and its processing, as a file of `xxact_core.reports`; empty without phases.

        Raises:
            InputError: the pattern cannot be put on the grid.
        """
        conclusion, key = self._current(), self.session.chosen
        table, model = self.search.table(), self.predictions.model()
        if conclusion is None or table is None or not has_record(conclusion):
            return b""
        return write_record(
            conclusion, self.store.samples[key], kind=kind, steps=self.store.stages.preparation(key),
            wavelength=self.store.wavelength(key), states=self.search.states(key), table=table.path,
            weights=None if model is None else model.digest,
        )  # fmt: skip

    def to_csv(self) -> bytes:
        """The answer for the selected pattern."""
        return self._file(words.to_csv)

    def to_picture(self, kind: PictureKind) -> bytes:
        """The page of the report for the selected pattern."""
        return self._file(lambda one: figure_to_bytes(page_to_drawing(self._page(one)), kind))

    def _reports(self) -> bytes:
        """One page for each pattern predicted so far."""
        rows = [row for row in self.predictions.rows() if isinstance(row.answer, Answer)]
        return pages_to_pdf([self._page(self.conclusion(row.sample.key)) for row in rows])

    def python_code(self) -> str:
        """A program that makes the same answer."""
        conclusion, model = self._current(), self.predictions.model()
        if model is None or conclusion is None or not isinstance(conclusion.alone, Answer):
            return ""
        key = conclusion.alone.sample.key
        return files.python_code(
            conclusion.alone, reading=self.store.program(key), model=str(model.folder),
            table=self.search.table() if conclusion.found is not None else None, states=self.search.states(key),
            wavelength=self.session.sample(key).wavelength,
        )  # fmt: skip


def _area(area: str, *parts: object) -> pn.Column:
    return pn.Column(*parts, css_classes=[f"area-{area}"], **_WIDE)


def _text() -> pn.pane.HTML:
    return pn.pane.HTML("", stylesheets=[TEXT_CSS, words.ANSWER_CSS], **_WIDE)
