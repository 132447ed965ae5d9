"""The Patterns screen: what was dropped, how it looks as measured and as the model sees it, and its settings."""

from __future__ import annotations

import html

import panel as pn
import panel_material_ui as pmui
import param

from xxact_app.figures import Curve, draw_patterns, pattern_figure, recolour
from xxact_app.session import LARGEST_SMEARING, LARGEST_ZERO_SHIFT, Session
from xxact_app.store import HIDDEN, Store
from xxact_app.theme import TEXT_CSS, grid_css, palette
from xxact_app.views.pattern_list import PatternList
from xxact_app.views.wavelength import WavelengthForm
from xxact_core.quantities import AXES

_LAYOUT = grid_css(
    "minmax(0, 1fr) 300px",
    ("plot side", "list side"),
    narrow=("plot", "list", "side"),
)
_AXIS_LABELS = {"2θ": "two_theta", "q": "q", "d": "d"}
_SCALE_LABELS = {"linear": "linear", "√": "root", "log": "log"}
_STAGE_LABELS = {"As measured": "measured", "As the model sees it": "gridded"}
_ARRANGEMENT_LABELS = {"Overlay": "overlay", "Stacked": "offset"}
_BACKGROUND_LABELS = {"arPLS (smooth)": "arpls", "SNIP (peak clipping)": "snip", "none (keep it)": "none"}
_CHOICE = ".MuiFormLabel-root { font-size: 12px !important; } button { white-space: nowrap; }"
_EMPTY = "<p class='muted'>No pattern yet. Drop files anywhere on this page, or load the example data.</p>"


class PatternView:
    """Draws the session's patterns; `panel` is the screen."""

    def __init__(self, session: Session, store: Store) -> None:
        self.session, self.store = session, store
        self.figure = pattern_figure()
        self.note = pn.pane.HTML(_EMPTY, stylesheets=[TEXT_CSS], sizing_mode="stretch_width", margin=(0, 0, 4, 0))
        self.list = PatternList(session, store)
        self.wavelength = WavelengthForm(session, store)
        self._axis_drawn: tuple[object, ...] | None = None
        drawn = [
            "files", "hidden", "chosen", "wavelengths", "axis", "scale", "stage", "arrangement", "show_background",
            "show_windows", "background", "smearing", "zero_shift", "dark",
        ]  # fmt: skip
        session.param.watch(self._draw, drawn)
        self.panel = pn.Column(
            pn.Column(
                self._toolbar(), self.note, pn.pane.Bokeh(self.figure.plot, sizing_mode="stretch_width", margin=0),
                css_classes=["area-plot"], sizing_mode="stretch_width", margin=0,
            ),
            pn.Column(self.list.panel, css_classes=["area-list"], sizing_mode="stretch_width", margin=0),
            pn.Column(
                self.wavelength.panel, self._settings(), css_classes=["area-side"], sizing_mode="stretch_width",
                margin=0,
            ),
            stylesheets=[_LAYOUT], sizing_mode="stretch_width", margin=0,
        )  # fmt: skip
        self._draw()

    def _toolbar(self) -> pn.viewable.Viewable:
        groups = [
            _choice(self.session.param.stage, _STAGE_LABELS, label="Stage shown"),
            _choice(self.session.param.arrangement, _ARRANGEMENT_LABELS, label="Arrangement of several patterns"),
            _choice(self.session.param.axis, _AXIS_LABELS, label="Horizontal axis"),
            _choice(self.session.param.scale, _SCALE_LABELS, label="Intensity scale"),
        ]
        return pn.FlexBox(*groups, gap="8px", margin=(0, 0, 8, 0), sizing_mode="stretch_width")

    def _settings(self) -> pn.viewable.Viewable:
        chosen = self.session.param
        field = {"description": "", "sizing_mode": "stretch_width", "size": "small"}
        background = pmui.Select.from_param(
            chosen.background, label="Background", options=_BACKGROUND_LABELS, margin=(8, 0), **field
        )
        smearing = pmui.FloatSlider.from_param(
            chosen.smearing, label="Smearing σ [° 2θ]", start=0, end=LARGEST_SMEARING, step=0.01, margin=(8, 14),
            **field,
        )  # fmt: skip
        zero_shift = pmui.FloatInput.from_param(
            chosen.zero_shift, label="Zero shift [° 2θ], added to every angle", start=-LARGEST_ZERO_SHIFT,
            end=LARGEST_ZERO_SHIFT, step=0.01, margin=(8, 0), **field,
        )  # fmt: skip
        ticks = [
            pmui.Checkbox.from_param(parameter, label=label, description="", size="small", margin=0)
            for parameter, label in (
                (chosen.show_background, "Show the fitted background"),
                (chosen.show_windows, "Show the model's 17 windows"),
            )
        ]
        title = pn.pane.HTML("<h2>Processing</h2>", stylesheets=[TEXT_CSS], margin=(8, 0, 0, 0))
        words = pn.pane.HTML(
            "<p class='muted'>Of every pattern, here and in the prediction.</p>", stylesheets=[TEXT_CSS], margin=0
        )
        return pn.Column(title, words, background, smearing, zero_shift, *ticks, sizing_mode="stretch_width", margin=0)

    def _draw(self, *events: param.parameterized.Event) -> None:
        """Draw what the session asks for; a change of theme alone only changes colours."""
        colours = palette(dark=self.session.dark).series
        shown = [key for key in self.session.files if key not in self.session.hidden and key in self.store.samples]
        numbers = {key: number for number, key in enumerate(self.session.files)}
        if events and all(event.name == "dark" for event in events):
            recolour(self.figure, colours=[colours[numbers[key] % len(colours)] for key in shown])
            return
        curves, absent = [], []
        for key in shown:
            name, trace = self.store.samples[key].name, self.store.trace(key)
            if trace is None:
                absent.append(name)
                continue
            colour = colours[numbers[key] % len(colours)]
            wanted = self.session.show_windows and self.session.stage == "gridded"
            hidden = self.store.hidden_windows(key) if wanted else None
            curves.append(
                Curve(name, colour, trace.x, trace.two_theta, trace.d, trace.intensity, trace.background, hidden)
            )
        gridded = self.session.stage == "gridded"
        axis = AXES[self.session.axis]
        radiation = " (Cu Kα)" if gridded and axis.name == "two_theta" else ""
        drawn = (self.session.axis, self.session.stage, tuple(self.session.files), tuple(self.session.hidden))
        with pn.io.hold():
            draw_patterns(
                self.figure, curves, scale=self.session.scale, offset=self.session.arrangement == "offset",
                unit="maximum 100" if gridded else "as measured",
                x_label=f"{axis.label}{radiation} [{axis.unit}]",
                window_edges=self.store.window_edges() if gridded and self.session.show_windows else None,
                keep_range=drawn == self._axis_drawn,
            )  # fmt: skip
            self._axis_drawn = drawn
            self.note.object = self._words(curves, absent)

    def _words(self, curves: list[Curve], absent: list[str]) -> str:
        """What is drawn, for those who do not see it, and what cannot be drawn."""
        if not self.session.files:
            return _EMPTY
        lines = []
        if absent:
            names = html.escape(", ".join(absent))
            lines.append(f"<p>Not drawn until the wavelength or range allows it: {names}</p>")
        if self.session.stage == "gridded" and curves:
            text = "Background removed, moved to Cu Kα, scaled to 100 on 5–90°."
            if self.session.show_windows:
                text += f" Dotted: the 17 windows that the model reads. Hatched: {HIDDEN}."
            lines.append(f"<p class='muted'>{text}</p>")
        elif curves:
            lines.append(f"<p class='muted'>{len(curves)} of {len(self.session.files)} patterns drawn as measured.</p>")
        return "".join(lines)


def _choice(parameter: param.Parameter, labels: dict[str, str], *, label: str) -> pmui.RadioButtonGroup:
    return pmui.RadioButtonGroup.from_param(
        parameter, label=label, options=labels, size="small", margin=0, description="", stylesheets=[_CHOICE]
    )
