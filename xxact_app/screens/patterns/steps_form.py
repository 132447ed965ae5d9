"""The preparation as a form: the usual controls, and all steps in order, each of which can be changed or taken out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import panel as pn
import panel_material_ui as pmui
import param

from xxact_app.samples.processing_steps import (
    KINDS,
    NEEDED,
    Setting,
    add_step,
    addable,
    can_move,
    change_step,
    describe_step,
    move_step,
    place_of,
    remove_step,
    set_value,
    settings_of,
    switch_step,
    value_of,
)
from xxact_app.session.session import Session
from xxact_app.ui.safe_text import safe_message
from xxact_app.ui.theme import TEXT_CSS
from xxact_core.errors import InputError

LARGEST_SMEARING = 0.5
LARGEST_ZERO_SHIFT = 1.0
"""What the usual controls offer [deg]; the list of steps goes further."""

_BACKGROUNDS = {"arPLS (smooth)": "arpls", "SNIP (peak clipping)": "snip", "none (keep it)": "none"}
_FIELD: dict[str, Any] = {"sizing_mode": "stretch_width", "size": "small"}
_MOST_NUMBERS = 3


class StepsForm:
    """Edits the session's steps; `panel` is the form."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._writing = False
        self._names: dict[pmui.FloatInput | pmui.Select, str] = {}
        self.background = pmui.Select(label="Background", options=_BACKGROUNDS, margin=(8, 0), **_FIELD)
        self.smearing = pmui.FloatSlider(
            label="Smearing σ [° 2θ]", start=0, end=LARGEST_SMEARING, step=0.01, margin=(8, 14), **_FIELD
        )
        self.zero_shift = pmui.FloatInput(
            label="Zero shift [° 2θ], added to every angle", start=-LARGEST_ZERO_SHIFT, end=LARGEST_ZERO_SHIFT,
            step=0.01, margin=(8, 0), **_FIELD,
        )  # fmt: skip
        self.steps = pmui.RadioBoxGroup(label="In this order", options={}, inline=False, size="small", margin=0)
        self.help = _words()
        self.done = pmui.Checkbox(label="Do this step", size="small", margin=0)
        self.numbers = [pmui.FloatInput(label="", margin=(8, 0), visible=False, **_FIELD) for _ in range(_MOST_NUMBERS)]
        self.choice = pmui.Select(label="", options=[], margin=(8, 0), visible=False, **_FIELD)
        self.earlier = _button("Earlier", lambda: move_step(self._steps, self._place, by=-1), self, shift=-1)
        self.later = _button("Later", lambda: move_step(self._steps, self._place, by=1), self, shift=1)
        self.remove = _button("Remove", lambda: remove_step(self._steps, self._place), self, shift=-1)
        self.look = pmui.Button(label="Show the pattern after it", variant="text", size="small", margin=0)
        self.look.on_click(self._look)
        self.add = pmui.Select(label="Add a step", options={}, margin=(8, 0), **_FIELD)
        self.told = _words()
        self.quick = pn.Column(self.background, self.smearing, self.zero_shift, sizing_mode="stretch_width", margin=0)
        self.panel = pn.Column(
            pn.pane.HTML("<h3>All steps</h3>", stylesheets=[TEXT_CSS], margin=(12, 0, 0, 0)),
            self.steps, self.help, self.done, self.choice, *self.numbers,
            pn.FlexBox(self.earlier, self.later, self.remove, self.look, gap="4px", margin=(4, 0)),
            self.add, self.told, sizing_mode="stretch_width", margin=0,
        )  # fmt: skip
        self.background.param.watch(self._choose_background, "value")
        self.smearing.param.watch(lambda event: self._set("smooth", sigma=event.new), "value")
        self.zero_shift.param.watch(lambda event: self._set("zero_shift", shift=event.new), "value")
        self.steps.param.watch(self._update, "value")
        self.done.param.watch(self._switch, "value")
        for field in (self.choice, *self.numbers):
            field.param.watch(self._change, "value")
        self.add.param.watch(self._add, "value")
        session.param.watch(self._update, "steps")
        self._update()

    @property
    def _steps(self) -> list[dict[str, Any]]:
        return self.session.steps

    @property
    def _place(self) -> int:
        """Place of the step that is looked at."""
        return min(self.steps.value or 0, len(self._steps) - 1)

    def _update(self, _event: object = None) -> None:
        """Show the session's steps, and the settings of the one that is looked at."""
        if self._writing:
            return
        self._writing = True
        try:
            with pn.io.hold():
                self._show()
        finally:
            self._writing = False

    def _show(self) -> None:
        steps, place = self._steps, self._place
        step = steps[place]
        kind, name = KINDS[step["step"]], step["step"]
        method = value_of(steps, "subtract_background", "method") or "none"
        self.background.value = method
        self.smearing.value = min(value_of(steps, "smooth", "sigma") or 0.0, LARGEST_SMEARING)
        shift = value_of(steps, "zero_shift", "shift") or 0.0
        self.zero_shift.value = max(-LARGEST_ZERO_SHIFT, min(shift, LARGEST_ZERO_SHIFT))
        labels = {_label(number, other): number for number, other in enumerate(steps)}
        self.steps.param.update(options=labels, value=place)
        self.help.object = f"<p class='muted'>{kind.words}</p>"
        self.done.param.update(value=not step.get("off"), visible=name not in NEEDED)
        self.earlier.disabled = not can_move(steps, place, by=-1)
        self.later.disabled = not can_move(steps, place, by=1)
        self.remove.disabled = name in NEEDED
        values = settings_of(step)
        choices = [setting for setting in kind.settings if setting.choices]
        self.choice.visible = bool(choices)
        for setting in choices:
            options = {choice.replace("_", " "): choice for choice in setting.choices}
            self.choice.param.update(label=setting.label, options=options, value=values[setting.name])
            self._names[self.choice] = setting.name
        counting = [setting for setting in kind.settings if setting.only_with in {"", *values.values()}]
        numbers = [setting for setting in counting if not setting.choices]
        for row, field in enumerate(self.numbers):
            self._show_number(field, numbers[row] if row < len(numbers) else None, values)
        added = {"choose a step …": "", **{KINDS[other].label: other for other in addable(steps)}}
        self.add.param.update(options=added, value="")

    def _show_number(self, field: pmui.FloatInput, setting: Setting | None, values: dict[str, Any]) -> None:
        field.visible = setting is not None
        if setting is not None:
            field.param.update(
                label=setting.label, start=setting.low, end=setting.high, step=setting.increment,
                value=values[setting.name],
            )  # fmt: skip
            self._names[field] = setting.name

    def edit(self, make: Callable[[], list[dict[str, Any]]], *, place: int | None = None) -> None:
        """Take up the steps that `make` makes, and look at the one at `place`; what is impossible is told."""
        if self._writing:
            return
        try:
            steps = make()
        except InputError as error:
            self.told.object = f"<p class='wrong'>{safe_message(error)}</p>"
            self._update()
            return
        self.told.object = ""
        if place is not None:
            self._writing = True
            labels = {_label(number, other): number for number, other in enumerate(steps)}
            self.steps.param.update(options=labels, value=max(0, min(place, len(steps) - 1)))
            self._writing = False
        if steps == self.session.steps:
            self._update()
        else:
            self.session.steps = steps

    def _set(self, name: str, **settings: float) -> None:
        self.edit(lambda: set_value(self._steps, name, **settings))

    def _choose_background(self, _event: object = None) -> None:
        method, place = self.background.value, place_of(self._steps, "subtract_background")
        if method != "none":
            self.edit(lambda: set_value(self._steps, "subtract_background", method=method))
        elif place is not None:
            self.edit(lambda: switch_step(self._steps, place, on=False))

    def _switch(self, _event: object = None) -> None:
        self.edit(lambda: switch_step(self._steps, self._place, on=self.done.value))

    def _change(self, event: param.parameterized.Event) -> None:
        if event.new is not None and not self._writing:
            self.edit(lambda: change_step(self._steps, self._place, **{self._names[event.obj]: event.new}))

    def _add(self, _event: object = None) -> None:
        name = self.add.value
        if name and not self._writing:
            before = sum(list(KINDS).index(step["step"]) <= list(KINDS).index(name) for step in self._steps)
            self.edit(lambda: add_step(self._steps, name), place=before)

    def _look(self, _event: object = None) -> None:
        self.session.param.update(stage="step", shown_step=self._place)


def _button(label: str, make: Callable[[], list[dict[str, Any]]], form: StepsForm, *, shift: int) -> pmui.Button:
    """A button that changes the list; the step that is looked at afterwards stands `shift` further."""
    button = pmui.Button(label=label, variant="outlined", size="small", margin=0)
    button.on_click(lambda _event: form.edit(make, place=form.steps.value + shift))
    return button


def _label(place: int, step: dict[str, Any]) -> str:
    settings = describe_step(step)
    off = " (off)" if step.get("off") else ""
    return f"{place + 1}. {KINDS[step['step']].label}{': ' if settings else ''}{settings}{off}"


def _words() -> pn.pane.HTML:
    return pn.pane.HTML("", stylesheets=[TEXT_CSS], sizing_mode="stretch_width", margin=0)
