"""The Prediction screen: pattern and composition in, ranked classes and values with intervals out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar

import panel as pn
import panel_material_ui as pmui
from bokeh.plotting import figure

from xxact_app.library.models import run_name
from xxact_app.plots.export import figure_to_bytes
from xxact_app.plots.patterns import draw_probabilities, probability_figure
from xxact_app.samples.prediction_result import Answer, Missing
from xxact_app.samples.processing_steps import step_title
from xxact_app.samples.store import Store
from xxact_app.samples.wavelength_form import WavelengthForm
from xxact_app.screens.prediction import export as files
from xxact_app.screens.prediction import text as words
from xxact_app.screens.prediction.attention_view import AttentionPanel
from xxact_app.screens.prediction.batch import BatchTable
from xxact_app.screens.prediction.matches_store import MatchesStore
from xxact_app.screens.prediction.matches_view import MatchesPanel
from xxact_app.screens.prediction.report import Page, page_to_drawing, pages_to_pdf
from xxact_app.screens.prediction.store import PredictionStore
from xxact_app.screens.screen import PictureKind, standard_files
from xxact_app.session.session import Session
from xxact_app.ui.downloads import PythonCode, download_row
from xxact_app.ui.safe_text import plain_markdown
from xxact_app.ui.theme import ALERT_STYLE, TEXT_CSS, grid_css, palette
from xxact_core.errors import InputError
from xxact_core.quantities import CRYSTAL_SYSTEM, SPACE_GROUP, SURE, Quantity

if TYPE_CHECKING:
    from xxact_core.prediction.prediction import RankedLabel

_HALVES = "minmax(0, 1fr) minmax(0, 1fr)"
_ASK_LAYOUT = grid_css(
    f"{_HALVES} auto",
    ("pattern formula predict", "parsed parsed parsed", "message message message"),
    narrow=("pattern", "formula", "predict", "parsed", "message"),
    padding="20px 16px 0",
)
_ANSWER_LAYOUT = grid_css(
    _HALVES,
    ("verdict numbers", "systems groups", "matches matches", "attention attention", "basis basis"),
    narrow=("verdict", "numbers", "systems", "groups", "matches", "attention", "basis"),
)
_MOST_GROUPS = 7


class PredictionScreen:
    """The form for pattern and composition, and the prediction; `panel` is the screen."""

    KEY: ClassVar[str] = "prediction"
    TITLE: ClassVar[str] = "Prediction"

    def __init__(
        self,
        session: Session,
        store: Store,
        predictions: PredictionStore | None = None,
        search: MatchesStore | None = None,
        *,
        in_front: bool = True,
    ) -> None:
        self.session, self.store = session, store
        self.predictions = predictions or PredictionStore(session, store)
        self.matches = MatchesPanel(session, store, search or MatchesStore(session, store), on_result=self._show_answer)
        self.attention, self.batch = AttentionPanel(session), BatchTable(session, self.predictions)
        self._in_front = in_front
        field = {"sizing_mode": "stretch_width", "size": "small", "margin": 0}
        self.pattern = pmui.Select(label="Pattern", options={}, css_classes=["area-pattern"], **field)
        self.formula = pmui.TextInput(
            label="Composition",
            placeholder="LaB6 · Fe 40±2 O 60±3 · La,B,?O · empty",
            css_classes=["area-formula"],
            **field,
        )
        self.predict = pmui.Button(
            label="Predict", variant="contained", margin=0, height=40, css_classes=["area-predict"],
            on_click=self._commit,
        )  # fmt: skip
        self.parsed = _text()
        parsed = pn.Column(self.parsed, _text(words.HELP), css_classes=["area-parsed"], margin=0)
        parsed.sizing_mode = "stretch_width"
        self.message = pmui.Alert(severity="info", sizing_mode="stretch_width", margin=0, sx=ALERT_STYLE)
        self.override = pmui.Button(
            label="Predict anyway", variant="outlined", size="small", margin=(8, 0), on_click=self._override
        )
        self.ask_wavelength = pn.Column(WavelengthForm(session, store).panel, max_width=420, margin=(8, 0))
        self.hint = pn.Column(
            self.message,
            self.override,
            self.ask_wavelength,
            css_classes=["area-message"],
            sizing_mode="stretch_width",
            margin=0,
        )
        self.verdict, self.numbers, self.basis = _text(area="verdict"), _text(area="numbers"), _text()
        self.bars = {CRYSTAL_SYSTEM: probability_figure(height=270), SPACE_GROUP: probability_figure(height=270)}
        self.tables = {CRYSTAL_SYSTEM: _text(), SPACE_GROUP: _text()}
        self.python = PythonCode()
        self.downloads = download_row(
            {
                "JSON": ("prediction.json", lambda: self._file(words.to_json)),
                **standard_files(self, "prediction"),
                "Report (PDF)": ("prediction.pdf", lambda: self._file(lambda one: pages_to_pdf([self._page(one)]))),
                "Report for all patterns (PDF)": ("predictions.pdf", self._reports),
            }
        )
        self.asked = pn.Column(
            self.pattern, self.formula, self.predict, parsed, self.hint,
            stylesheets=[_ASK_LAYOUT], sizing_mode="stretch_width", margin=0,
        )  # fmt: skip
        answer = pn.Column(
            self.verdict, self.numbers, self._bars("systems", CRYSTAL_SYSTEM), self._bars("groups", SPACE_GROUP),
            _area("matches", self.matches.panel), _area("attention", self.attention.panel),
            _area("basis", self.basis, self.downloads, self.python.panel),
            stylesheets=[_ANSWER_LAYOUT], sizing_mode="stretch_width", margin=0,
        )  # fmt: skip
        self.answered = pn.Column(answer, sizing_mode="stretch_width", margin=0, visible=False)
        self.panel = pn.Column(self.asked, self.answered, self.batch.panel, sizing_mode="stretch_width", margin=0)
        self.pattern.param.watch(self._choose, "value")
        self.formula.param.watch(self._commit, ["value", "enter_pressed"])
        self.formula.param.watch(self._type, "value_input")
        session.watch(self._show_choices, ["files", "chosen", "formula", "draft_formula"])
        session.watch(
            self._show_answer,
            [
                "files", "chosen", "formula", "wavelength", "steps", "scan", "override_coverage",
                "dark", "model", "known_materials", "phase", "scale",
            ],
        )  # fmt: skip
        self._show_choices()
        self._show_answer()

    # ----------------------------------------------------------------------------------------------- what the user does
    def _choose(self, _event: object = None) -> None:
        if self.pattern.value:
            self.session.chosen = self.pattern.value

    def _commit(self, _event: object = None) -> None:
        """Store the composition as typed, even before the field loses focus."""
        self.session.set_formula((self.formula.value_input or self.formula.value or "").strip())

    def _type(self, _event: object = None) -> None:
        """Show the parsed composition while the user types; before any file is loaded, store it for the first one."""
        if not self.session.chosen:
            self._commit()
        self._show_parsed()

    def _override(self, _event: object = None) -> None:
        self.session.override_coverage = True

    # ----------------------------------------------------------------------------------------------- what the user sees
    def _show_choices(self, *_events: object) -> None:
        options = {sample.name: sample.key for sample in self.store.samples.values()}
        chosen = self.session.chosen if self.session.chosen in self.store.samples else None
        with pn.io.hold():
            self.pattern.param.update(options=options, value=chosen, disabled=not options)
            if self.session.formula != (self.formula.value_input or "").strip():
                self.formula.param.update(value=self.session.formula, value_input=self.session.formula)
        self._show_parsed()

    def _show_parsed(self, _event: object = None) -> None:
        """Show the parsed composition, or the error in it."""
        text = (self.formula.value_input or "").strip()
        try:
            line, wrong = words.composition_line(self.store.known(text)), False
        except InputError as error:
            line, wrong = words.error_line(error), True
        self.parsed.object = line
        self.formula.error_state = wrong

    def come_to_front(self, *, in_front: bool) -> None:
        """Follow the session only while the screen is visible."""
        self._in_front = in_front
        self._show_answer()

    def _show_answer(self, *_events: object) -> None:
        if not self._in_front:
            return
        chosen = self.session.chosen
        answer = self.predictions.ask(chosen) if chosen in self.store.samples else self.store.answer()
        with pn.io.hold():
            self.batch.show()
            self.hint.visible = isinstance(answer, Missing)
            self.answered.visible = isinstance(answer, Answer)
            if isinstance(answer, Missing):
                self.message.object = plain_markdown(answer.text)
                self.message.visible = answer.what != "wavelength"
                self.override.visible = answer.what == "coverage"
                self.ask_wavelength.visible = answer.what == "wavelength"
                return
            prediction = answer.prediction
            self.verdict.object = words.verdict(answer)
            self.numbers.object = words.numbers(prediction)
            self.basis.object = words.basis(
                prediction, self.store.hidden_windows(answer.sample.key), model=run_name(self.session.model)
            )
            for quantity in (CRYSTAL_SYSTEM, SPACE_GROUP):
                ranked = getattr(prediction, quantity.name)[:_MOST_GROUPS]
                self.tables[quantity].object = words.table(quantity, ranked)
                self._draw(quantity, ranked)
            self.matches.show(answer)
            self.attention.show(self.predictions.attention(answer))
            self.python.show(self.python_code())

    def _draw(self, quantity: Quantity, ranked: Sequence[RankedLabel]) -> None:
        labels = [words.label(quantity, item) for item in ranked]
        probabilities = [item.probability for item in ranked]
        colours = palette(dark=self.session.dark)
        colour = colours.accent if probabilities and probabilities[0] >= SURE else colours.uncertain
        plot, source = self.bars[quantity]
        draw_probabilities(plot, source, labels, probabilities, colour=colour, text_colour=colours.text)

    # -------------------------------------------------------------------------------------------------------- the parts
    def _bars(self, area: str, quantity: Quantity) -> pn.Column:
        title = pn.pane.HTML(f"<h3>{quantity.label}</h3>", stylesheets=[TEXT_CSS], margin=(0, 0, 4, 0))
        plot: figure = self.bars[quantity][0]
        return pn.Column(
            title, pn.pane.Bokeh(plot, sizing_mode="stretch_width", margin=0), self.tables[quantity],
            css_classes=[f"area-{area}"], sizing_mode="stretch_width", margin=0,
        )  # fmt: skip

    # ----------------------------------------------------------------------------------------------------- the files
    def _file(self, write: Callable[[Answer], bytes]) -> bytes:
        answer = self.store.answer()
        return write(answer) if isinstance(answer, Answer) else b""

    def _page(self, answer: Answer) -> Page:
        search, attention, model = self.matches.search, self.predictions.attention(answer), self.predictions.model()
        matches, wavelength = search.matches(answer), self.store.wavelength(answer.sample.key)
        facts = (
            ("Wavelength", "" if wavelength is None else f"{wavelength:.6g} Å"),
            ("Processing", "; ".join(step_title(step) for step in self.session.steps if not step.get("off"))),
            ("Model", "" if model is None else f"{model.label}, SHA-256 of the weights {model.digest}"),
            ("Created", f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC with {self.predictions.versions()}"),
        )
        return Page(
            answer, self.store.gridded(answer.sample.key), self.session.scale, facts, search.chosen(answer, matches),
            matches, None if isinstance(attention, str) else attention,
        )  # fmt: skip

    def to_csv(self) -> bytes:
        """The prediction for the selected pattern."""
        return self._file(words.to_csv)

    def to_picture(self, kind: PictureKind) -> bytes:
        """The page of the report for the selected pattern."""
        return self._file(lambda answer: figure_to_bytes(page_to_drawing(self._page(answer)), kind))

    def _reports(self) -> bytes:
        """One page for each pattern predicted so far."""
        answers = [row.answer for row in self.predictions.rows()]
        return pages_to_pdf([self._page(answer) for answer in answers if isinstance(answer, Answer)])

    def python_code(self) -> str:
        """A program that makes the same prediction."""
        answer = self.store.answer()
        search, model = self.matches.search, self.predictions.model()
        if model is None or not isinstance(answer, Answer):
            return ""
        table = search.table() if search.matches(answer) is not None else None
        sample = answer.sample
        return files.python_code(
            answer,
            reading=self.store.program(sample.key),
            model=str(model.folder),
            table=table,
            elements=search.elements(answer),
        )


def _area(area: str, *parts: object) -> pn.Column:
    return pn.Column(*parts, css_classes=[f"area-{area}"], sizing_mode="stretch_width", margin=0)


def _text(text: str = "", area: str = "") -> pn.pane.HTML:
    classes = [f"area-{area}"] if area else []
    return pn.pane.HTML(text, stylesheets=[TEXT_CSS], sizing_mode="stretch_width", margin=0, css_classes=classes)
