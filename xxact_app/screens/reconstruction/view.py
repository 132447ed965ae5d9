"""The Reconstruction screen: windows are masked, reconstructed by the model and compared with the measurement."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import numpy as np
import panel as pn
import panel_material_ui as pmui
from bokeh.events import Tap

from xxact_app.jobs.task_panel import TaskPanel
from xxact_app.samples.processing import WINDOW_EDGES
from xxact_app.samples.store import Store
from xxact_app.screens.reconstruction import text as words
from xxact_app.screens.reconstruction.figures import draw_errors, draw_windows, error_figure, window_figure
from xxact_app.screens.reconstruction.store import MaskedPattern, ReconstructionStore
from xxact_app.screens.screen import PictureKind, standard_files
from xxact_app.session.session import Session
from xxact_app.ui.downloads import PythonCode, download_row
from xxact_app.ui.formatting import percent
from xxact_app.ui.safe_text import plain_markdown
from xxact_app.ui.theme import ALERT_STYLE, CHOICE_CSS, TEXT_CSS, grid_css, palette
from xxact_core.errors import InputError

_ASK = grid_css(
    "minmax(0, 1fr) minmax(0, 1fr) minmax(0, 1fr)",
    ("pattern formula model",),
    narrow=("pattern", "formula", "model"),
    padding="20px 16px 0",
)
_LAYOUT = grid_css("minmax(0, 1fr) 300px", ("plot side",), narrow=("plot", "side"))
_RATIOS = {percent(share): share for share in (0.05, 0.1, 0.15, 0.25, 0.5, 0.75)}
_SCALES = {"linear": False, "√": True}


class ReconstructionScreen:
    """Selects windows to mask and shows their reconstruction; `panel` is the screen."""

    KEY: ClassVar[str] = "reconstruction"
    TITLE: ClassVar[str] = "Reconstruction"

    def __init__(
        self, session: Session, store: Store, reconstructions: ReconstructionStore, *, in_front: bool = True
    ) -> None:
        self.session, self.store, self.reconstructions = session, store, reconstructions
        self._in_front = in_front
        self._random_masks = 0
        field = {"sizing_mode": "stretch_width", "size": "small", "margin": 0}
        self.pattern = pmui.Select(label="Pattern", options={}, css_classes=["area-pattern"], **field)
        self.formula = pmui.TextInput(label="Formula", css_classes=["area-formula"], **field)
        self.model = pmui.Select(label="Model", options={}, css_classes=["area-model"], **field)
        self.message = pmui.Alert(severity="info", sizing_mode="stretch_width", margin=16, sx=ALERT_STYLE)
        self.figure, self.errors = window_figure(edges=WINDOW_EDGES), error_figure(edges=WINDOW_EDGES)
        self.figure.plot.on_event(Tap, self._tapped)
        self.summary, self.help, self.table, self.test_errors = _text(), _text(), _text(), _text()
        self.ratio = pmui.Select(
            label="Masking probability", options=_RATIOS, value=session.mask_ratio, width=160, size="small", margin=0
        )
        self.mask_random = pmui.Button(
            label="Mask random windows", variant="contained", size="small", margin=0, on_click=self._mask_random,
        )  # fmt: skip
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
        self.python = PythonCode()
        self.task = TaskPanel(
            label="Evaluate on the test split", start=reconstructions.make_errors, current=reconstructions.task,
            when_done=self._show,
        )  # fmt: skip
        self.downloads = download_row(
            {
                **standard_files(self, "reconstruction"),
                "netCDF": ("reconstruction.nc", lambda: self._file(words.to_netcdf)),
            }
        )
        self.content = self._content()
        asked = pn.Column(
            self.pattern, self.formula, self.model, stylesheets=[_ASK], sizing_mode="stretch_width", margin=0
        )
        self.panel = pn.Column(asked, self.message, self.content, sizing_mode="stretch_width", margin=0)
        self.pattern.param.watch(self._choose, "value")
        self.formula.param.watch(self._commit, ["value", "enter_pressed"])
        self.model.param.watch(self._choose_model, "value")
        self.ratio.param.watch(self._choose_ratio, "value")
        self.ticks.param.watch(self._tick, "value")
        self.scale.param.watch(self._show, "value")
        session.watch(
            self._show,
            [
                "files", "chosen", "formula", "draft_formula", "wavelength", "steps", "scan", "masked",
                "reconstruction_model", "mask_ratio", "dark",
            ],
        )  # fmt: skip
        self._show()

    def _content(self) -> pn.Column:
        def stretch(*parts: object, area: str) -> pn.Column:
            return pn.Column(*parts, css_classes=[f"area-{area}"], sizing_mode="stretch_width", margin=0)

        tools = pn.FlexBox(
            self.ratio, self.mask_random, self.clear, self.scale, gap="8px", align_items="center", margin=(0, 0, 8, 0)
        )
        plot = pn.pane.Bokeh(self.figure.plot, sizing_mode="stretch_width", margin=0)
        bars = pn.pane.Bokeh(self.errors.plot, sizing_mode="stretch_width", margin=0)
        side = stretch(
            self.ticks, _heading("Test split"), self.test_errors, self.task.panel,
            area="side",
        )  # fmt: skip
        main = stretch(
            tools, self.summary, self.help, plot, _heading("Error of each window"), _text(words.ERRORS_CAPTION), bars,
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
        """Store the selected model; the default one, shown while none was selected, is not stored."""
        shown = self.reconstructions.model()
        if self.model.value and (shown is None or shown.key != self.model.value):
            self.session.reconstruction_model = self.model.value

    def _choose_ratio(self, _event: object = None) -> None:
        self.session.mask_ratio = self.ratio.value

    def _tapped(self, event: Tap) -> None:
        """Mask or unmask the window that was clicked."""
        number = int(np.searchsorted(WINDOW_EDGES, event.x, side="right")) - 1
        if 0 <= number < len(words.WINDOW_NAMES):
            masked = set(self._masked())
            self._mask(sorted(masked ^ {number}))

    def _tick(self, _event: object = None) -> None:
        if sorted(self.ticks.value) != self._masked():
            self._mask(sorted(self.ticks.value))

    def _mask_random(self, _event: object = None) -> None:
        if isinstance(self.reconstructions.masked_pattern(), MaskedPattern):
            self._random_masks += 1
            self._mask(self.reconstructions.random_windows(self.session.chosen, seed=self._random_masks))

    def _clear(self, _event: object = None) -> None:
        self._mask([])

    def _masked(self) -> list[int]:
        if self.session.chosen not in self.store.samples:
            return []
        try:
            return self.reconstructions.masked_windows(self.session.chosen)
        except InputError:  # shown as the message of the screen
            return []

    def _mask(self, numbers: list[int]) -> None:
        self.session.change([self.session.chosen], masked=tuple(numbers))

    # ----------------------------------------------------------------------------------------------- what the user sees
    def come_to_front(self, *, in_front: bool) -> None:
        """Follow the session only while the screen is visible."""
        self._in_front = in_front
        self._show()

    def _show(self, *_events: object) -> None:
        if not self._in_front:
            return
        pattern = self.reconstructions.masked_pattern()
        with pn.io.hold():
            self._show_choices()
            self.message.visible, self.content.visible = isinstance(pattern, str), not isinstance(pattern, str)
            if isinstance(pattern, str):
                self.message.object = plain_markdown(pattern)
            else:
                self._draw(pattern)
            self.task.look()

    def _show_choices(self) -> None:
        options = {sample.name: sample.key for sample in self.store.samples.values()}
        chosen = self.session.chosen if self.session.chosen in self.store.samples else None
        self.pattern.param.update(options=options, value=chosen, disabled=not options)
        if self.session.formula != (self.formula.value_input or "").strip():
            self.formula.param.update(value=self.session.formula, value_input=self.session.formula)
        models = {
            model.label + ("" if model.reconstructs else ", not trained for reconstruction"): model.key
            for model in self.reconstructions.models()
        }
        model = self.reconstructions.model()
        self.model.param.update(options=models, value=model.key if model else None, disabled=not models)
        self.ticks.value = self._masked()

    def _draw(self, pattern: MaskedPattern) -> None:
        reconstruction, colours = pattern.reconstruction, palette(dark=self.session.dark)
        columns = words.to_columns(pattern)
        draw_windows(
            self.figure, edges=WINDOW_EDGES, two_theta=columns["two_theta"], measured=columns["measured"],
            expected=None if reconstruction is None else columns["expected"], masked=pattern.masked,
            unmeasured=pattern.pattern.hidden_windows, root=self.scale.value, colours=colours,
        )  # fmt: skip
        test_errors, missing = self.reconstructions.test_errors(), np.full(len(pattern.masked), np.nan)
        errors = {
            "error": missing if reconstruction is None else reconstruction.error,
            "empty": missing if reconstruction is None else reconstruction.empty,
            "set_error": missing if test_errors is None else test_errors.error,
            "set_empty": missing if test_errors is None else test_errors.empty,
        }
        draw_errors(self.errors, edges=WINDOW_EDGES, columns=errors, colours=colours)
        trained = pattern.model is not None and pattern.model.reconstructs
        self.summary.object = words.summary(pattern)
        self.help.object = "" if trained else words.untrained_help()
        self.help.visible = not trained
        self.task.panel.visible = trained
        self.table.object = words.errors_table(pattern, test_errors)
        self.test_errors.object = (
            words.test_errors_text(test_errors)
            if trained
            else "<p class='muted'>Needs a model trained for reconstruction.</p>"
        )
        self.python.show(self.python_code())

    # -------------------------------------------------------------------------------------------------------- the files
    def to_csv(self) -> bytes:
        """The pattern and its reconstruction, point by point."""
        return self._file(words.to_csv)

    def to_picture(self, kind: PictureKind) -> bytes:
        """The plot of the pattern and its reconstruction."""
        return self._file(lambda pattern: words.to_picture(pattern, kind=kind))

    def python_code(self) -> str:
        """A program that reconstructs the same windows."""
        pattern = self.reconstructions.masked_pattern()
        if not isinstance(pattern, MaskedPattern) or pattern.reconstruction is None:
            return ""
        return words.python_code(pattern, prepared=self.store.program(pattern.sample.key))

    def _file(self, write: Callable[[MaskedPattern], bytes]) -> bytes:
        pattern = self.reconstructions.masked_pattern()
        return write(pattern) if isinstance(pattern, MaskedPattern) else b""


def _heading(text: str) -> pn.pane.HTML:
    return pn.pane.HTML(f"<h2>{text}</h2>", stylesheets=[TEXT_CSS], margin=(8, 0, 4, 0))


def _text(text: str = "") -> pn.pane.HTML:
    return pn.pane.HTML(text, stylesheets=[TEXT_CSS], sizing_mode="stretch_width", margin=0)
