"""The processing steps as a form: common settings, and the list of all steps with their settings."""

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
    move_step,
    place_of,
    remove_step,
    set_value,
    settings_of,
    step_title,
    switch_step,
    value_of,
)
from xxact_app.session.session import Session
from xxact_app.ui.choices import set_options
from xxact_app.ui.safe_text import safe_message
from xxact_app.ui.theme import CHOICE_CSS, TEXT_CSS
from xxact_core.errors import InputError

LARGEST_BROADENING = 0.5
LARGEST_ZERO_SHIFT = 1.0
"""Limits of the common settings [deg]; the list of steps allows more."""

_BACKGROUNDS = {"arPLS": "arpls", "SNIP": "snip", "points by hand": "points", "none": "none"}
_SCOPES = {"all patterns": False, "selected pattern": True}
_FIELD: dict[str, Any] = {"sizing_mode": "stretch_width", "size": "small"}
_MOST_NUMBERS = 3


class StepsForm:
    """Edits the processing steps of all patterns or of the selected one.

    `scope` chooses which, `quick` holds the common settings, `panel` the list of steps.

    suggest_points: background points to begin with.
    """

    def __init__(self, session: Session, *, suggest_points: Callable[[], list[list[float | None]]] = list) -> None:
        self.session = session
        self._suggest_points = suggest_points
        self.scope = pmui.RadioButtonGroup(
            label="Steps of", options=_SCOPES, size="small", margin=(4, 0), stylesheets=[CHOICE_CSS]
        )
        self._writing = False
        self._names: dict[pmui.FloatInput | pmui.Select, str] = {}
        self.background = pmui.Select(label="Background", options=_BACKGROUNDS, margin=(8, 0), **_FIELD)
        self.broadening = pmui.FloatSlider(
            label="Broadening σ [° 2θ]", start=0, end=LARGEST_BROADENING, step=0.01, margin=(8, 14), **_FIELD
        )
        self.zero_shift = pmui.FloatInput(
            label="Zero shift [° 2θ]", start=-LARGEST_ZERO_SHIFT, end=LARGEST_ZERO_SHIFT,
            step=0.01, margin=(8, 0), **_FIELD,
        )  # fmt: skip
        self.steps = pmui.RadioBoxGroup(label="Select a step", options={}, inline=False, size="small", margin=0)
        self.help = _text()
        self.enabled = pmui.Checkbox(label="Apply this step", size="small", margin=0)
        self.numbers = [pmui.FloatInput(label="", margin=(8, 0), visible=False, **_FIELD) for _ in range(_MOST_NUMBERS)]
        self.choice = pmui.Select(label="", options=[], margin=(8, 0), visible=False, **_FIELD)
        self.earlier = _button("Move up", lambda: move_step(self._steps, self._place, by=-1), self, shift=-1)
        self.later = _button("Move down", lambda: move_step(self._steps, self._place, by=1), self, shift=1)
        self.remove = _button("Remove", lambda: remove_step(self._steps, self._place), self, shift=-1)
        self.show_result = pmui.Button(label="Show result", variant="text", size="small", margin=0)
        self.show_result.on_click(self._show_result)
        self.add = pmui.Select(label="Add a step", options={}, margin=(8, 0), **_FIELD)
        self.message = _text()
        self.quick = pn.Column(self.background, self.broadening, self.zero_shift, sizing_mode="stretch_width", margin=0)
        self.panel = pn.Column(
            pn.pane.HTML("<h3>Processing steps</h3>", stylesheets=[TEXT_CSS], margin=(12, 0, 0, 0)),
            self.steps, self.help, self.enabled, self.choice, *self.numbers,
            pn.FlexBox(self.earlier, self.later, self.remove, self.show_result, gap="4px", margin=(4, 0)),
            self.add, self.message, sizing_mode="stretch_width", margin=0,
        )  # fmt: skip
        self.background.param.watch(self._choose_background, "value")
        self.broadening.param.watch(lambda event: self._set("smooth", sigma=event.new), "value")
        self.zero_shift.param.watch(lambda event: self._set("zero_shift", shift=event.new), "value")
        self.steps.param.watch(self._update, "value")
        self.enabled.param.watch(self._switch, "value")
        for field in (self.choice, *self.numbers):
            field.param.watch(self._change, "value")
        self.add.param.watch(self._add, "value")
        self.scope.param.watch(self._choose_scope, "value")
        session.watch(self._update, ["steps", "own_steps", "chosen", "files"])
        self._update()

    @property
    def _steps(self) -> list[dict[str, Any]]:
        return self.session.steps_of(self.session.chosen)

    @property
    def _place(self) -> int:
        """Index of the selected step."""
        return min(self.steps.value or 0, len(self._steps) - 1)

    def _update(self, *_events: object) -> None:
        """Show the steps and the settings of the selected one."""
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
        self.broadening.value = min(value_of(steps, "smooth", "sigma") or 0.0, LARGEST_BROADENING)
        shift = value_of(steps, "zero_shift", "shift") or 0.0
        self.zero_shift.value = max(-LARGEST_ZERO_SHIFT, min(shift, LARGEST_ZERO_SHIFT))
        self.scope.value = self.session.sample(self.session.chosen).own_steps is not None
        self.scope.visible = len(self.session.files) > 1 or self.scope.value
        set_options(self.steps, _labels(steps), place)
        self.help.object = f"<p class='muted'>{kind.words}</p>"
        self.enabled.param.update(value=not step.get("off"), visible=name not in NEEDED)
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
        added = {"select …": "", **{KINDS[other].label: other for other in addable(steps)}}
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
        """Apply the steps that `make` returns and select the one at `place`; an invalid change shows a message."""
        if self._writing:
            return
        try:
            steps = make()
        except InputError as error:
            self.message.object = f"<p class='wrong'>{safe_message(error)}</p>"
            self._update()
            return
        self.message.object = ""
        if place is not None:
            self._writing = True
            set_options(self.steps, _labels(steps), max(0, min(place, len(steps) - 1)))
            self._writing = False
        if steps == self._steps:
            self._update()
        else:
            self.session.set_steps(self.session.chosen, steps)

    def _choose_scope(self, _event: object = None) -> None:
        """Give the selected pattern steps of its own, or those of all patterns again."""
        if not self._writing and self.session.chosen in self.session.files:
            own = tuple(self.session.steps) if self.scope.value else None
            self.session.change([self.session.chosen], own_steps=own)

    def _with_points(self, settings: dict[str, Any]) -> dict[str, Any]:
        """The settings of a background, with points to begin with where it has none."""
        present = value_of(self._steps, "subtract_background", "points")
        begins = settings.get("method") == "points" and not present
        return {**settings, "points": self._suggest_points()} if begins else settings

    def _set(self, name: str, **settings: float) -> None:
        self.edit(lambda: set_value(self._steps, name, **settings))

    def _choose_background(self, _event: object = None) -> None:
        method, place = self.background.value, place_of(self._steps, "subtract_background")
        if method != "none":
            settings = self._with_points({"method": method})
            self.edit(lambda: set_value(self._steps, "subtract_background", **settings))
        elif place is not None:
            self.edit(lambda: switch_step(self._steps, place, on=False))

    def _switch(self, _event: object = None) -> None:
        self.edit(lambda: switch_step(self._steps, self._place, on=self.enabled.value))

    def _change(self, event: param.parameterized.Event) -> None:
        if event.new is not None and not self._writing:
            settings = self._with_points({self._names[event.obj]: event.new})
            self.edit(lambda: change_step(self._steps, self._place, **settings))

    def _add(self, _event: object = None) -> None:
        name = self.add.value
        if name and not self._writing:
            before = sum(list(KINDS).index(step["step"]) <= list(KINDS).index(name) for step in self._steps)
            self.edit(lambda: add_step(self._steps, name), place=before)

    def _show_result(self, _event: object = None) -> None:
        self.session.param.update(stage="step", shown_step=self._place)


def _button(label: str, make: Callable[[], list[dict[str, Any]]], form: StepsForm, *, shift: int) -> pmui.Button:
    """A button that changes the list and then moves the selection by `shift`."""
    button = pmui.Button(label=label, variant="outlined", size="small", margin=0)
    button.on_click(lambda _event: form.edit(make, place=form.steps.value + shift))
    return button


def _labels(steps: list[dict[str, Any]]) -> dict[str, int]:
    """Label of each step → its index."""
    return {_label(number, step): number for number, step in enumerate(steps)}


def _label(place: int, step: dict[str, Any]) -> str:
    return f"{place + 1}. {step_title(step)}{' (off)' if step.get('off') else ''}"


def _text() -> pn.pane.HTML:
    return pn.pane.HTML("", stylesheets=[TEXT_CSS], sizing_mode="stretch_width", margin=0)
