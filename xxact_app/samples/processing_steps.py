"""The list of processing steps of a session, as plain values that can be added, changed, moved, disabled and removed.

A step is a dictionary as in `ProcessingPipeline.to_dict`, with `"off": True` if it is switched off. Every list that
these functions return is a valid pipeline with all of its steps switched on, so that switching one on never fails.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from xxact_core.errors import ProcessingError
from xxact_core.patterns.conversions import AXIS_KINDS
from xxact_core.processing.background import ARPLS_STIFFNESS
from xxact_core.processing.pipeline import ProcessingPipeline
from xxact_core.processing.steps import STEPS, SUBTRACTION_METHODS

NEEDED = ("convert_wavelength", "put_on_grid")
"""Steps required for the model input, which cannot be removed or disabled."""

_STARTS: dict[str, dict[str, Any]] = {
    "convert_axis": {"axis": "theta"},
    "zero_shift": {"shift": 0.0},
    "displacement": {"displacement": 0.0, "radius": 200.0},
    "crop_range": {"start": 5.0, "stop": 90.0},
    "subtract_background": {"method": "arpls"},
    "smooth": {"sigma": 0.05},
}
"""Settings of newly added steps, where they differ from the defaults."""


@dataclass(frozen=True)
class Setting:
    """A setting of a step in a form: a number within limits, or a choice.

    only_with: choice of the step's other setting without which this one means nothing; empty where it always counts.
    """

    name: str
    label: str
    low: float = 0.0
    high: float = 0.0
    increment: float = 0.01
    choices: tuple[str, ...] = ()
    only_with: str = ""


@dataclass(frozen=True)
class StepKind:
    """Label, description and settings of a kind of step."""

    name: str
    label: str
    words: str
    settings: tuple[Setting, ...] = ()


def _number(step: str, name: str, label: str, *, increment: float, only_with: str = "") -> Setting:
    low, high = STEPS[step].LIMITS[name]
    return Setting(name, label, low, high, increment, only_with=only_with)


KINDS = {
    kind.name: kind
    for kind in (
        StepKind(
            "convert_axis", "Convert to 2θ", "Converts the horizontal axis of the files to 2θ.",
            (Setting("axis", "Axis quantity", choices=AXIS_KINDS),),
        ),
        StepKind(
            "zero_shift", "Zero shift", "Adds a constant to every measured angle.",
            (_number("zero_shift", "shift", "Zero shift [° 2θ]", increment=0.01),),
        ),
        StepKind(
            "displacement", "Sample displacement", "Corrects for sample displacement.",
            (
                _number("displacement", "displacement", "Displacement below the axis [mm]", increment=0.01),
                _number("displacement", "radius", "Goniometer radius [mm]", increment=0.5),
            ),
        ),
        StepKind(
            "convert_wavelength", "Convert to Cu Kα", "Converts the angles from the wavelength of each file to Cu Kα."
        ),
        StepKind(
            "strip_kalpha2", "Strip Kα2", "Removes the Kα2 component.",
            (_number("strip_kalpha2", "ratio", "Intensity ratio Kα2/Kα1", increment=0.05),),
        ),
        StepKind(
            "crop_range", "Limit the range", "Points outside the range count as not measured.",
            (
                _number("crop_range", "start", "From [° 2θ]", increment=0.5),
                _number("crop_range", "stop", "To [° 2θ]", increment=0.5),
            ),
        ),
        StepKind("put_on_grid", "Resample to the grid", "Resamples to 4250 points from 5° to 90° 2θ."),
        StepKind(
            "subtract_background", "Subtract background", "Fits and subtracts the background.",
            (
                Setting("method", "Method", choices=SUBTRACTION_METHODS),
                _number("subtract_background", "stiffness", "Stiffness", increment=1e5, only_with="arpls"),
                _number("subtract_background", "half_window", "Half window [° 2θ]", increment=0.1, only_with="snip"),
            ),
        ),
        StepKind(
            "smooth", "Broaden", "Convolves the pattern with a Gaussian.",
            (_number("smooth", "sigma", "σ [° 2θ]", increment=0.01),),
        ),
    )
}  # fmt: skip
"""All kinds of steps, in their usual order."""


def steps_to_pipeline(steps: Sequence[dict[str, Any]], *, all_on: bool = False) -> ProcessingPipeline:
    """The enabled steps, or all, as a processing pipeline.

    Raises:
        ProcessingError: a step or a setting is not one, or stands where it cannot.
    """
    kept = [step for step in steps if all_on or not step.get("off")]
    plain = [{name: value for name, value in step.items() if name != "off"} for step in kept]
    return ProcessingPipeline.from_dict({"steps": plain})


def settings_of(step: dict[str, Any]) -> dict[str, Any]:
    """All settings of a step, with defaults."""
    kind = STEPS[step["step"]]
    return {item.name: step.get(item.name, item.default) for item in fields(kind)}


def describe_step(step: dict[str, Any]) -> str:
    """The main settings of a step as a short text; empty where it has none."""
    values = settings_of(step)
    words = {
        "convert_axis": lambda: str(values["axis"]).replace("_", " "),
        "zero_shift": lambda: f"{values['shift']:+g}°",
        "displacement": lambda: f"{values['displacement']:g} mm at {values['radius']:g} mm",
        "strip_kalpha2": lambda: f"ratio {values['ratio']:g}",
        "crop_range": lambda: f"{values['start']:g}–{values['stop']:g}°",
        "subtract_background": lambda: {
            "arpls": "arPLS" + ("" if values["stiffness"] == ARPLS_STIFFNESS else f", {values['stiffness']:.3g}"),
            "snip": f"SNIP, {values['half_window']:g}°",
            "points": f"{len(values['points'])} points",
        }.get(values["method"], "none"),
        "smooth": lambda: f"σ {values['sigma']:g}°",
    }
    name = step["step"]
    return words[name]() if name in words else ""


def step_title(step: dict[str, Any]) -> str:
    """Name and main settings of a step: `Subtract background: arPLS`."""
    settings = describe_step(step)
    return f"{KINDS[step['step']].label}{': ' if settings else ''}{settings}"


def addable(steps: Sequence[dict[str, Any]]) -> list[str]:
    """Names of the steps that can be added."""
    present = {step["step"] for step in steps}
    return [name for name in KINDS if STEPS[name].REPEATS or name not in present]


def add_step(steps: Sequence[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """The list with another step at its usual position."""
    rank = list(KINDS).index(name)
    later = (place for place, step in enumerate(steps) if list(KINDS).index(step["step"]) > rank)
    place = next(later, len(steps))
    return _checked([*steps[:place], {"step": name, **_STARTS.get(name, {})}, *steps[place:]])


def change_step(steps: Sequence[dict[str, Any]], place: int, **settings: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - numbers and names
    """The list with changed settings of the step at an index."""
    return _checked([*steps[:place], {**steps[place], **settings}, *steps[place + 1 :]])


def switch_step(steps: Sequence[dict[str, Any]], place: int, *, on: bool) -> list[dict[str, Any]]:
    """The list with the step at an index enabled or disabled."""
    step = {name: value for name, value in steps[place].items() if name != "off"}
    return _checked([*steps[:place], step if on else {**step, "off": True}, *steps[place + 1 :]])


def move_step(steps: Sequence[dict[str, Any]], place: int, *, by: int) -> list[dict[str, Any]]:
    """The list with a step moved; raises `ProcessingError` where it cannot be moved there."""
    moved = list(steps)
    if not 0 <= place + by < len(moved):
        msg = f"the step {moved[place]['step']!r} cannot move further"
        raise ProcessingError(msg, code="E_PREPARATION")
    moved.insert(place + by, moved.pop(place))
    return _checked(moved)


def can_move(steps: Sequence[dict[str, Any]], place: int, *, by: int) -> bool:
    """Whether a step can be moved by a number of positions."""
    try:
        move_step(steps, place, by=by)
    except ProcessingError:
        return False
    return True


def remove_step(steps: Sequence[dict[str, Any]], place: int) -> list[dict[str, Any]]:
    """The list without a step; raises `ProcessingError` where it is required."""
    return _checked([*steps[:place], *steps[place + 1 :]])


def place_of(steps: Sequence[dict[str, Any]], name: str) -> int | None:
    """Index of the first step with a name, or None."""
    return next((place for place, step in enumerate(steps) if step["step"] == name), None)


def value_of(steps: Sequence[dict[str, Any]], name: str, setting: str) -> Any:  # noqa: ANN401 - a number or a name
    """A setting of the first step with a name, or None where it is missing or disabled."""
    place = place_of(steps, name)
    return None if place is None or steps[place].get("off") else settings_of(steps[place])[setting]


def set_value(steps: Sequence[dict[str, Any]], name: str, **settings: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - numbers and names
    """The list with settings of the first step with a name, which is enabled, or added where it is missing."""
    if place_of(steps, name) is None:
        steps = add_step(steps, name)
    place = place_of(steps, name) or 0
    return change_step(switch_step(steps, place, on=True), place, **settings)


def _checked(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The list, after a check of the order of its steps and of the required ones."""
    steps_to_pipeline(steps, all_on=True)
    steps_to_pipeline(steps)
    return steps
