"""The Reconstruction screen: windows are hidden from the model, and what it expects there is held against the truth."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import panel as pn
import panel_material_ui as pmui
from bokeh.events import Tap

from xxact_app.jobs.task_panel import MakingPanel
from xxact_app.samples.store import WINDOW_EDGES, Store
from xxact_app.screens.reconstruction import text as words
from xxact_app.screens.reconstruction.figures import draw_errors, draw_windows, error_figure, window_figure
from xxact_app.screens.reconstruction.store import ReconstructionStore, Shown
from xxact_app.session.session import Session
from xxact_app.ui.downloads import PythonText, download_row
from xxact_app.ui.safe_text import plain_markdown
from xxact_app.ui.theme import ALERT_STYLE, CHOICE_CSS, TEXT_CSS, grid_css, palette

_ASK = grid_css(
    "minmax(0, 1fr) minmax(0, 1fr) minmax(0, 1fr)",
    ("pattern formula model",),
    narrow=("pattern", "formula", "model"),
    padding="20px 16px 0",
)
_LAYOUT = grid_css("minmax(0, 1fr) 300px", ("plot side",), narrow=("plot", "side"))
_RATIOS = {f"{share:.0%}": share for share in (0.05, 0.1, 0.15, 0.25, 0.5, 0.75)}
_SCALES = {"linear": False, "√": True}


class ReconstructionScreen:
    """Asks which windows to mask, shows what the store says; `panel` is the screen."""

    def __init__(
        self, session: Session, store: Store, reconstructions: ReconstructionStore, *, in_front: bool = True
    ) -> None:
        self.session, self.store, self.reconstructions = session, store, reconstructions
        self._in_front = in_front
        self._draws = 0
        field = {"sizing_mode": "stretch_width", "size": "small", "margin": 0}
        self.pattern = pmui.Select(label="Pattern", options={}, css_classes=["area-pattern"], **field)
        self.formula = pmui.TextInput(label="Formula", css_classes=["area-formula"], **field)
        self.model = pmui.Select(label="Model", options={}, css_classes=["area-model"], **field)
        self.message = pmui.Alert(severity="info", sizing_mode="stretch_width", margin=16, sx=ALERT_STYLE)
        self.figure, self.errors = window_figure(edges=WINDOW_EDGES), error_figure(edges=WINDOW_EDGES)
        self.figure.plot.on_event(Tap, self._tapped)
        self.words, self.help, self.table, self.over = _text(), _text(), _text(), _text()
        self.ratio = pmui.Select(
            label="Share of the windows", options=_RATIOS, value=session.mask_ratio, width=160, size="small", margin=0
        )
        self.draw = pmui.Button(label="Draw", variant="contained", size="small", margin=0, on_click=self._draw_mask)
        self.clear = pmui.Button(label="Unmask all", variant="outlined", size="small", margin=0, on_click=self._clear)
        self.scale = pmui.RadioButtonGroup(
            label="Intensity scale",
            options=_SCALES,
            value=True,
            size="small",
            margin=0,
            description="",
            stylesheets=[CHOICE_CSS],
        )
        self.ticks = pmui.CheckBoxGroup(
            label="Masked windows", options={name: number for number, name in enumerate(words.WINDOW_NAMES)},
            margin=0, inline=True,
        )  # fmt: skip
        self.python = PythonText()
        self.making = MakingPanel(
            label="Take the error over the set", start=reconstructions.make_errors, current=reconstructions.making,
            when_done=self._show,
        )  # fmt: skip
        self.downloads = download_row(
            {
                "CSV": ("reconstruction.csv", lambda: self._file(words.to_csv)),
                "netCDF": ("reconstruction.nc", lambda: self._file(words.to_netcdf)),
                "PNG": ("reconstruction.png", lambda: self._file(lambda shown: words.to_picture(shown, kind="png"))),
                "SVG": ("reconstruction.svg", lambda: self._file(lambda shown: words.to_picture(shown, kind="svg"))),
            }
        )
        self.shown = self._screen()
        asked = pn.Column(
            self.pattern, self.formula, self.model, stylesheets=[_ASK], sizing_mode="stretch_width", margin=0
        )
        self.panel = pn.Column(asked, self.message, self.shown, sizing_mode="stretch_width", margin=0)
        self.pattern.param.watch(self._choose, "value")
        self.formula.param.watch(self._commit, ["value", "enter_pressed"])
        self.model.param.watch(self._choose_model, "value")
        self.ratio.param.watch(self._choose_ratio, "value")
        self.ticks.param.watch(self._tick, "value")
        self.scale.param.watch(self._show, "value")
        session.param.watch(
            self._show,
            [
                "files", "chosen", "formulas", "wavelengths", "steps", "scans", "masked",
                "reconstruction_model", "mask_ratio", "dark",
            ],
        )  # fmt: skip
        self._show()

    def _screen(self) -> pn.Column:
        def stretch(*parts: object, area: str) -> pn.Column:
            return pn.Column(*parts, css_classes=[f"area-{area}"], sizing_mode="stretch_width", margin=0)

        tools = pn.FlexBox(
            self.ratio, self.draw, self.clear, self.scale, gap="8px", align_items="center", margin=(0, 0, 8, 0)
        )
        plot = pn.pane.Bokeh(self.figure.plot, sizing_mode="stretch_width", margin=0)
        bars = pn.pane.Bokeh(self.errors.plot, sizing_mode="stretch_width", margin=0)
        side = stretch(
            self.ticks, _heading("Over many patterns"), self.over, self.making.panel,
            area="side",
        )  # fmt: skip
        main = stretch(
            tools, self.words, self.help, plot, _heading("Error of each window"), _text(words.ERRORS_CAPTION), bars,
            self.table, self.downloads,
            self.python.panel, area="plot",
        )  # fmt: skip
        grid = pn.Column(main, side, stylesheets=[_LAYOUT], sizing_mode="stretch_width", margin=0)
        return pn.Column(grid, sizing_mode="stretch_width", margin=0)

    # ----------------------------------------------------------------------------------------------- what the user does
    def _choose(self, _event: object = None) -> None:
        if self.pattern.value:
            self.session.chosen = self.pattern.value

    def _commit(self, _event: object = None) -> None:
        self.session.set_formula((self.formula.value_input or self.formula.value or "").strip())

    def _choose_model(self, _event: object = None) -> None:
        """Take the chosen model; the one that is shown because nobody chose is no choice."""
        shown = self.reconstructions.model()
        if self.model.value and (shown is None or shown.key != self.model.value):
            self.session.reconstruction_model = self.model.value

    def _choose_ratio(self, _event: object = None) -> None:
        self.session.mask_ratio = self.ratio.value

    def _tapped(self, event: Tap) -> None:
        """Mask the window under the mouse, or show it to the model again."""
        number = int(np.searchsorted(WINDOW_EDGES, event.x, side="right")) - 1
        if 0 <= number < len(words.WINDOW_NAMES):
            masked = set(self._masked())
            self._mask(sorted(masked ^ {number}))

    def _tick(self, _event: object = None) -> None:
        self._mask(sorted(self.ticks.value))

    def _draw_mask(self, _event: object = None) -> None:
        if isinstance(self.reconstructions.shown(), Shown):
            self._draws += 1
            self._mask(self.reconstructions.drawn_windows(self.session.chosen, seed=self._draws))

    def _clear(self, _event: object = None) -> None:
        self._mask([])

    def _masked(self) -> list[int]:
        return self.session.masked.get(self.session.chosen, [])

    def _mask(self, numbers: list[int]) -> None:
        if self.session.chosen and numbers != self._masked():
            self.session.masked = {**self.session.masked, self.session.chosen: numbers}

    # ----------------------------------------------------------------------------------------------- what the user sees
    def come_to_front(self, *, in_front: bool) -> None:
        """Follow the session only while somebody looks."""
        self._in_front = in_front
        self._show()

    def _show(self, *_events: object) -> None:
        if not self._in_front:
            return
        shown = self.reconstructions.shown()
        with pn.io.hold():
            self._show_choices()
            self.message.visible, self.shown.visible = isinstance(shown, str), isinstance(shown, Shown)
            if isinstance(shown, str):
                self.message.object = plain_markdown(shown)
            else:
                self._draw(shown)
            self.making.look()

    def _show_choices(self) -> None:
        options = {sample.name: sample.key for sample in self.store.samples.values()}
        chosen = self.session.chosen if self.session.chosen in self.store.samples else None
        self.pattern.param.update(options=options, value=chosen, disabled=not options)
        if self.session.formula != (self.formula.value_input or "").strip():
            self.formula.param.update(value=self.session.formula, value_input=self.session.formula)
        models = {
            model.label + ("" if model.reconstructs else ", not trained for this"): model.key
            for model in self.reconstructions.models()
        }
        model = self.reconstructions.model()
        self.model.param.update(options=models, value=model.key if model else None, disabled=not models)
        self.ticks.value = self._masked()

    def _draw(self, shown: Shown) -> None:
        made, colours = shown.reconstruction, palette(dark=self.session.dark)
        columns = words.to_columns(shown)
        draw_windows(
            self.figure, edges=WINDOW_EDGES, two_theta=columns["two_theta"], measured=columns["measured"],
            expected=None if made is None else columns["expected"], masked=shown.masked,
            unmeasured=shown.pattern.hidden_windows, root=self.scale.value, colours=colours,
        )  # fmt: skip
        over, nothing = self.reconstructions.over_set(), np.full(len(shown.masked), np.nan)
        errors = {
            "error": nothing if made is None else made.error, "empty": nothing if made is None else made.empty,
            "set_error": nothing if over is None else over.error, "set_empty": nothing if over is None else over.empty,
        }  # fmt: skip
        draw_errors(self.errors, edges=WINDOW_EDGES, columns=errors, colours=colours)
        trained = shown.model is not None and shown.model.reconstructs
        self.words.object = words.summary(shown)
        self.help.object = "" if trained else words.untrained_help()
        self.help.visible = not trained
        self.making.panel.visible = trained
        self.table.object = words.errors_table(shown, over)
        self.over.object = (
            words.over_set_words(over) if trained else "<p class='muted'>Needs a model trained for it.</p>"
        )
        self.python.show(self._program(shown) if made is not None else "")

    def _program(self, shown: Shown) -> str:
        return words.python_of(shown, prepared=self.store.program(shown.sample.key))

    def _file(self, write: Callable[[Shown], bytes]) -> bytes:
        shown = self.reconstructions.shown()
        return write(shown) if isinstance(shown, Shown) else b""


def _heading(text: str) -> pn.pane.HTML:
    return pn.pane.HTML(f"<h2>{text}</h2>", stylesheets=[TEXT_CSS], margin=(8, 0, 4, 0))


def _text(text: str = "") -> pn.pane.HTML:
    return pn.pane.HTML(text, stylesheets=[TEXT_CSS], sizing_mode="stretch_width", margin=0)
