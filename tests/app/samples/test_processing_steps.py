"""The list of steps that a user edits: what it allows, and what follows from it."""

from __future__ import annotations

import numpy as np
import pytest
from app_fixtures import loaded

from xxact_app.samples.processing import Trace
from xxact_app.samples.processing_steps import (
    KINDS,
    NEEDED,
    add_step,
    addable,
    can_move,
    change_step,
    describe_step,
    move_step,
    remove_step,
    set_value,
    settings_of,
    steps_to_pipeline,
    switch_step,
    value_of,
)
from xxact_app.screens.patterns.steps_form import StepsForm
from xxact_app.session.session import Session
from xxact_core.errors import ProcessingError
from xxact_core.patterns.conversions import CU_K_ALPHA
from xxact_core.processing.gridding import put_on_grid
from xxact_core.processing.steps import STEPS


def names(steps: list[dict[str, object]]) -> list[object]:
    return [step["step"] for step in steps]


def test_every_step_of_the_core_has_words_and_a_form_for_all_its_numbers() -> None:
    assert list(KINDS) == list(STEPS)
    for name, kind in KINDS.items():
        formed = {setting.name: (setting.low, setting.high) for setting in kind.settings if not setting.choices}
        assert formed == {key: limits for key, limits in STEPS[name].LIMITS.items() if key != "wavelength"}


@pytest.mark.parametrize("name", sorted(set(KINDS) - set(NEEDED)))
def test_every_step_can_be_added_described_switched_off_and_taken_out(name: str) -> None:
    start = [step for step in Session().steps if step["step"] != name]
    steps = add_step(start, name)
    place = names(steps).index(name)
    assert len(describe_step(steps[place])) > 0
    assert len(settings_of(steps[place])) > 0
    assert steps_to_pipeline(switch_step(steps, place, on=False)) == steps_to_pipeline(start)
    assert switch_step(switch_step(steps, place, on=False), place, on=True) == steps
    assert remove_step(steps, place) == start
    assert (name in addable(steps)) is STEPS[name].REPEATS


def test_steps_stand_only_where_they_mean_something() -> None:
    steps = add_step(Session().steps, "zero_shift")
    assert names(steps)[0] == "zero_shift"
    assert not can_move(steps, 0, by=1)
    assert not can_move(steps, 0, by=-1)
    background = names(steps).index("subtract_background")
    assert can_move(steps, background, by=-1)
    moved = move_step(steps, background, by=-1)
    assert names(moved)[-1] == "put_on_grid"
    for name in NEEDED:
        with pytest.raises(ProcessingError, match=name):
            remove_step(steps, names(steps).index(name))
        with pytest.raises(ProcessingError, match=name):
            switch_step(steps, names(steps).index(name), on=False)
    with pytest.raises(ProcessingError, match="shift is 9"):
        change_step(steps, 0, shift=9.0)


def test_a_step_that_is_switched_off_can_always_be_switched_on_again() -> None:
    steps = switch_step(add_step(Session().steps, "strip_kalpha2"), 1, on=False)
    assert steps[1] == {"step": "strip_kalpha2", "off": True}
    assert not can_move(steps, 1, by=1)


def test_the_usual_controls_change_their_step_and_add_it_where_it_is_missing() -> None:
    steps = set_value(Session().steps, "smooth", sigma=0.1)
    assert value_of(steps, "smooth", "sigma") == 0.1
    off = switch_step(steps, names(steps).index("smooth"), on=False)
    assert value_of(off, "smooth", "sigma") is None
    assert set_value(off, "smooth", sigma=0.2) == set_value(steps, "smooth", sigma=0.2)


def test_what_the_model_sees_is_what_the_command_line_makes_of_the_same_settings() -> None:
    session, store = loaded("scan.xy")
    (key,) = session.files
    session.change([key], wavelength=0.71073)
    pattern = store.samples[key].pattern
    assert store.gridded(key) == put_on_grid(pattern, wavelength=0.71073, override_coverage=True)
    session.steps = set_value(session.steps, "zero_shift", shift=0.07)
    session.steps = set_value(session.steps, "subtract_background", method="snip")
    session.steps = set_value(session.steps, "smooth", sigma=0.09)
    wanted = {"background": "snip", "zero_shift": 0.07, "broadening": 0.09}
    assert store.gridded(key) == put_on_grid(pattern, wavelength=0.71073, override_coverage=True, **wanted)


def test_a_later_step_leaves_the_fitted_background_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    session, store = loaded("scan.xy", wavelength="1.54184")
    (key,) = session.files
    fits = []
    apply = STEPS["subtract_background"].apply
    monkeypatch.setattr(
        STEPS["subtract_background"], "apply", lambda step, profile: fits.append(step) or apply(step, profile)
    )
    session.stage = "gridded"
    for sigma in (0.05, 0.1, 0.15):
        session.steps = set_value(session.steps, "smooth", sigma=sigma)
        store.trace(key)
    assert len(fits) == 1
    session.steps = set_value(session.steps, "subtract_background", method="snip")
    store.trace(key)
    assert len(fits) == 2


def test_the_pattern_can_be_looked_at_after_each_step() -> None:
    session, store = loaded("scan.xy", wavelength="0.71073")
    (key,) = session.files
    session.stage, session.shown_step = "step", 0
    copper = store.trace(key)
    assert isinstance(copper, Trace)
    assert copper.wavelength == CU_K_ALPHA
    assert copper.two_theta[0] > 2 * store.samples[key].pattern.two_theta[0]
    assert copper.background is None
    session.shown_step = 1
    gridded = store.trace(key)
    assert gridded.two_theta.size == 4250
    session.shown_step = 2
    flat = store.trace(key)
    assert flat.background is None
    np.testing.assert_allclose(flat.intensity, gridded.intensity - gridded.background, equal_nan=True)


def test_what_makes_a_pattern_vanish_is_told_in_words() -> None:
    session, store = loaded("scan.xy", wavelength="1.54184")
    session.steps = change_step(add_step(session.steps, "crop_range"), 1, start=100.0, stop=120.0)
    session.stage = "gridded"
    assert store.trace(session.files[0]) == "no point lies within 100-120°"


@pytest.fixture
def form(tables: None) -> StepsForm:  # noqa: ARG001 - a fixture asked for what it does: Panel has its tables
    return StepsForm(Session())


def test_the_form_edits_the_list(form: StepsForm) -> None:
    session = form.session
    assert list(form.steps.options) == [
        "1. Convert to Cu Kα", "2. Resample to the grid", "3. Subtract background: arPLS",
    ]  # fmt: skip
    form.add.value = "zero_shift"
    assert names(session.steps)[0] == "zero_shift"
    assert (form.steps.value, form.add.value) == (0, "")
    form.numbers[0].value = 0.05
    assert session.steps[0] == {"step": "zero_shift", "shift": 0.05}
    assert form.zero_shift.value == 0.05
    form.enabled.value = False
    assert "(off)" in next(iter(form.steps.options))
    assert form.zero_shift.value == 0
    form.remove.param.trigger("clicks")
    assert session.steps == Session().steps
    form.steps.value = 2
    assert form.later.disabled
    form.earlier.param.trigger("clicks")
    assert names(session.steps) == ["convert_wavelength", "subtract_background", "put_on_grid"]
    assert form.steps.value == 1


def test_the_usual_controls_and_the_list_say_the_same(form: StepsForm) -> None:
    form.background.value = "none"
    assert form.session.steps[2]["off"] is True
    form.background.value = "snip"
    assert value_of(form.session.steps, "subtract_background", "method") == "snip"
    form.broadening.value = 0.1
    assert list(form.steps.options)[-1] == "4. Broaden: σ 0.1°"
    form.session.steps = Session().steps
    assert (form.background.value, form.broadening.value, form.zero_shift.value) == ("arpls", 0, 0)


def test_an_impossible_setting_is_told_and_the_list_stays(form: StepsForm) -> None:
    form.add.value = "crop_range"
    before = form.session.steps
    form.numbers[0].value = 95.0
    assert "expected the lower one first" in form.message.object
    assert form.session.steps == before
    assert form.numbers[0].value == 5.0
