"""The Prediction screen: a pattern and a formula in, a ranked and honest answer out."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import panel as pn
import panel_material_ui as pmui
from bokeh.plotting import figure

from xxact_app.escaping import plain_markdown
from xxact_app.figures import draw_probabilities, probability_figure
from xxact_app.session import Session
from xxact_app.store import Answer, InputError, Missing, Store
from xxact_app.theme import ALERT_STYLE, TEXT_CSS, grid_css, palette
from xxact_app.views import prediction_text as words
from xxact_app.views.wavelength import WavelengthForm
from xxact_core.quantities import CRYSTAL_SYSTEM, SPACE_GROUP, SURE, Quantity

if TYPE_CHECKING:
    from xxact_core.predict import RankedLabel

_HALVES = "minmax(0, 1fr) minmax(0, 1fr)"
_ASK_LAYOUT = grid_css(
    f"{_HALVES} auto",
    ("pattern formula predict", "parsed parsed parsed", "message message message"),
    narrow=("pattern", "formula", "predict", "parsed", "message"),
    padding="20px 16px 0",
)
_ANSWER_LAYOUT = grid_css(
    _HALVES,
    ("verdict numbers", "systems groups", "basis basis"),
    narrow=("verdict", "numbers", "systems", "groups", "basis"),
)
_MOST_GROUPS = 7


class PredictionView:
    """Asks for pattern and formula, shows the store's answer; `panel` is the screen."""

    def __init__(self, session: Session, store: Store) -> None:
        self.session, self.store = session, store
        field = {"sizing_mode": "stretch_width", "size": "small", "margin": 0}
        self.pattern = pmui.Select(label="Pattern", options={}, css_classes=["area-pattern"], **field)
        self.formula = pmui.TextInput(
            label="Formula", placeholder="LaB6, Ca(OH)2, CuSO4·5H2O …", css_classes=["area-formula"], **field
        )
        self.predict = pmui.Button(
            label="Predict", variant="contained", margin=0, height=40, css_classes=["area-predict"],
            on_click=self._commit,
        )  # fmt: skip
        self.parsed = _text("parsed")
        self.message = pmui.Alert(severity="info", sizing_mode="stretch_width", margin=0, sx=ALERT_STYLE)
        self.override = pmui.Button(
            label="Predict all the same", variant="outlined", size="small", margin=(8, 0), on_click=self._override
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
        self.verdict, self.numbers, self.basis = _text("verdict"), _text("numbers"), _text()
        self.bars = {CRYSTAL_SYSTEM: probability_figure(height=270), SPACE_GROUP: probability_figure(height=270)}
        self.tables = {CRYSTAL_SYSTEM: _text(), SPACE_GROUP: _text()}
        self.downloads = [self._download("JSON", words.to_json), self._download("CSV", words.to_csv)]
        self.asked = pn.Column(
            self.pattern, self.formula, self.predict, self.parsed, self.hint,
            stylesheets=[_ASK_LAYOUT], sizing_mode="stretch_width", margin=0,
        )  # fmt: skip
        answer = pn.Column(
            self.verdict, self.numbers, self._bars("systems", CRYSTAL_SYSTEM), self._bars("groups", SPACE_GROUP),
            pn.Column(
                self.basis, pn.FlexBox(*self.downloads, gap="8px", margin=(8, 0)), css_classes=["area-basis"],
                sizing_mode="stretch_width", margin=0,
            ),
            stylesheets=[_ANSWER_LAYOUT], sizing_mode="stretch_width", margin=0,
        )  # fmt: skip
        self.answered = pn.Column(answer, sizing_mode="stretch_width", margin=0, visible=False)
        self.panel = pn.Column(self.asked, self.answered, sizing_mode="stretch_width", margin=0)
        self.pattern.param.watch(self._choose, "value")
        self.formula.param.watch(self._commit, ["value", "enter_pressed"])
        self.formula.param.watch(self._type, "value_input")
        session.param.watch(self._show_choices, ["files", "chosen", "formulas"])
        session.param.watch(
            self._show_answer,
            ["files", "chosen", "formulas", "wavelengths", "steps", "scans", "override_coverage"],
        )
        session.param.watch(self._show_answer, ["dark", "model"])
        self._show_choices()
        self._show_answer()

    # ----------------------------------------------------------------------------------------------- what the user does
    def _choose(self, _event: object = None) -> None:
        if self.pattern.value:
            self.session.chosen = self.pattern.value

    def _commit(self, _event: object = None) -> None:
        """Take the formula as typed, even before the box was left."""
        self.session.set_formula((self.formula.value_input or self.formula.value or "").strip())

    def _type(self, _event: object = None) -> None:
        """Show what is typed as it is read; before any file is there, keep it for the first one."""
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
        """Tell while the user types what the formula is read as, or what is wrong with it."""
        text = (self.formula.value_input or "").strip()
        line, wrong = "&nbsp;", False
        if text:
            try:
                line = words.composition_line(self.store.composition(text))
            except InputError as error:
                line, wrong = words.error_line(error), True
        self.parsed.object = line
        self.formula.error_state = wrong

    def _show_answer(self, *_events: object) -> None:
        answer = self.store.answer()
        with pn.io.hold():
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
                prediction, self.store.hidden_windows(answer.sample.key), model=self.session.model
            )
            for quantity in (CRYSTAL_SYSTEM, SPACE_GROUP):
                ranked = getattr(prediction, quantity.name)[:_MOST_GROUPS]
                self.tables[quantity].object = words.table(quantity, ranked)
                self._draw(quantity, ranked)

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

    def _download(self, kind: str, write: Callable[[Answer], bytes]) -> pmui.FileDownload:
        def content() -> io.BytesIO:
            answer = self.store.answer()
            return io.BytesIO(write(answer) if isinstance(answer, Answer) else b"")

        return pmui.FileDownload(
            callback=content, filename=f"prediction.{kind.lower()}", label=f"Download {kind}", variant="outlined",
            size="small", margin=0,
        )  # fmt: skip


def _text(area: str = "") -> pn.pane.HTML:
    classes = [f"area-{area}"] if area else []
    return pn.pane.HTML("", stylesheets=[TEXT_CSS], sizing_mode="stretch_width", margin=0, css_classes=classes)
