"""The steps from a measured pattern to the grid: each does its physics, and all can be seen, changed and kept."""

from __future__ import annotations

import json
import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import patterns

from xxact_core.errors import PatternError, ProcessingError, WavelengthError
from xxact_core.patterns.conversions import (
    AXIS_KINDS,
    CU_K_ALPHA,
    WAVELENGTHS,
    AxisKind,
    axis_to_two_theta,
    change_wavelength,
    other_axes,
    two_theta_to_d,
    two_theta_to_q,
)
from xxact_core.patterns.grid import GRID
from xxact_core.patterns.pattern import GriddedPattern, Pattern
from xxact_core.peak_profiles.corrections import displacement_shift
from xxact_core.processing.background import baseline
from xxact_core.processing.gridding import put_on_grid
from xxact_core.processing.pipeline import ProcessingPipeline, read_pipeline
from xxact_core.processing.steps import (
    STEPS,
    ConvertAxis,
    ConvertWavelength,
    CorrectDisplacement,
    CorrectZeroShift,
    CropRange,
    PutOnGrid,
    Smooth,
    StripKAlpha2,
    SubtractBackground,
    update_step,
)
from xxact_core.readers.read import read_pattern

TWO_THETA = np.arange(10, 85, 0.01)
POSITIONS = (28.44, 47.3, 56.12, 69.13, 76.4)
EVERY_STEP = ProcessingPipeline(
    (
        CorrectZeroShift(shift=0.05),
        CorrectDisplacement(displacement=0.1, radius=217.5),
        ConvertWavelength(wavelength="CuKa1"),
        StripKAlpha2(),
        CropRange(start=15, stop=80),
        PutOnGrid(),
        SubtractBackground(method="snip", half_window=2.0),
        Smooth(sigma=0.03),
    )
)


def lines(two_theta: np.ndarray, positions: np.ndarray | tuple[float, ...] = POSITIONS) -> np.ndarray:
    return 1000 * np.exp(-0.5 * ((two_theta[:, None] - positions) / 0.06) ** 2).sum(axis=1)


def scan(**options: object) -> Pattern:
    background = 100 * (1 + np.exp(-TWO_THETA / 30))
    return Pattern(TWO_THETA, lines(TWO_THETA) + background, **{"wavelength": CU_K_ALPHA, **options})


def highest(gridded: GriddedPattern, near: float) -> float:
    window = np.abs(GRID.two_theta - near) < 1.5
    return float(GRID.two_theta[window][np.argmax(gridded.intensity[window])])


def by_hand(pattern: Pattern) -> np.ndarray:
    """The default way from a pattern without gaps to the grid, written out."""
    angles = change_wavelength(pattern.two_theta, measured=pattern.wavelength, target=CU_K_ALPHA)
    reached = np.isfinite(angles)
    angles, intensity = angles[reached], pattern.intensity[reached]
    if np.median(np.diff(angles)) >= 0.99 * GRID.step:
        on_grid = np.interp(GRID.two_theta, angles, intensity)
    else:
        edges = np.append(GRID.two_theta - GRID.step / 2, GRID.two_theta[-1] + GRID.step / 2)
        knots = np.union1d(angles, edges)
        heights = np.interp(knots, angles, intensity)
        area = np.append(0, np.cumsum(np.diff(knots) * (heights[1:] + heights[:-1]) / 2))
        on_grid = np.diff(area[np.searchsorted(knots, edges)]) / np.diff(edges)
    covered = (GRID.two_theta >= angles[0] - GRID.step / 2) & (GRID.two_theta <= angles[-1] + GRID.step / 2)
    values = np.zeros(GRID.points)
    values[covered] = np.clip(on_grid[covered] - baseline(on_grid[covered]), 0, None)
    return (100 * (values / values.max())).astype(np.float32)


@settings(max_examples=10)
@given(patterns())
def test_the_default_preparation_is_the_one_that_models_were_made_for(pattern: Pattern) -> None:
    gridded = ProcessingPipeline().apply(pattern).gridded
    np.testing.assert_array_equal(gridded.intensity, by_hand(pattern))
    assert gridded == put_on_grid(pattern)


def test_settings_of_the_one_call_are_steps() -> None:
    asked = put_on_grid(scan(), wavelength="CuKa1", background="snip", zero_shift=0.1, broadening=0.05)
    steps = (
        CorrectZeroShift(shift=0.1),
        ConvertWavelength(wavelength="CuKa1"),
        PutOnGrid(),
        SubtractBackground(method="snip"),
    )
    assert asked == ProcessingPipeline((*steps, Smooth(sigma=0.05))).apply(scan()).gridded
    assert asked != put_on_grid(scan(), wavelength="CuKa1", background="snip", zero_shift=0.1)


def test_every_stage_can_be_seen() -> None:
    prepared = ProcessingPipeline().apply(scan())
    measured, moved, on_grid, without = prepared.stages
    np.testing.assert_array_equal(measured.intensity, scan().intensity)
    np.testing.assert_array_equal(moved.two_theta, TWO_THETA)
    assert on_grid.on_grid
    assert on_grid.background is None
    np.testing.assert_allclose(on_grid.intensity, without.intensity + without.background)
    truth = 100 * (1 + np.exp(-GRID.two_theta / 30))
    assert np.abs(without.background - truth)[without.covered].max() < 20
    np.testing.assert_array_equal(prepared.gridded.coverage, without.covered)


def test_background_may_be_taken_away_before_the_grid_too() -> None:
    steps = (ConvertWavelength(), SubtractBackground(), PutOnGrid())
    first = ProcessingPipeline(steps).apply(scan())
    assert first.stages[2].background.shape == TWO_THETA.shape
    assert np.abs(first.gridded.intensity - ProcessingPipeline().apply(scan()).gridded.intensity).max() < 1
    gap = (TWO_THETA < 40) | (TWO_THETA > 45)
    holed = Pattern(TWO_THETA[gap], scan().intensity[gap], CU_K_ALPHA)
    assert ProcessingPipeline(steps).apply(holed).gridded.coverage.sum() < first.gridded.coverage.sum() - 240


@pytest.mark.parametrize("anode", ["Cu", "Mo", "Co"])
@pytest.mark.parametrize("assumed", ["Ka", "Ka1"])
def test_stripping_kalpha2_leaves_the_lines_of_kalpha1(anode: str, assumed: str) -> None:
    two_theta = np.arange(5, 140, 0.01)
    singles, total = [], np.zeros_like(two_theta)
    for name, share in (("Ka1", 1.0), ("Ka2", 0.5)):
        places = change_wavelength(np.array(POSITIONS), measured=WAVELENGTHS["CuKa1"], target=WAVELENGTHS[anode + name])
        singles.append(lines(two_theta, places))
        total += share * singles[-1]
    pattern = Pattern(two_theta, total + 50, WAVELENGTHS[anode + assumed])
    preparation = ProcessingPipeline((ConvertWavelength(), StripKAlpha2(), PutOnGrid(), SubtractBackground()))
    stripped = preparation.apply(pattern)
    single = stripped.stages[2].intensity
    assert np.abs(single - 50 / 1.5 - singles[0][: single.size]).max() < 25  # of 1000
    expected = change_wavelength(np.array(POSITIONS), measured=WAVELENGTHS["CuKa1"], target=CU_K_ALPHA)
    for position in expected:
        assert highest(stripped.gridded, position) == pytest.approx(position, abs=0.021)


def test_kalpha2_is_stripped_of_the_radiation_of_tubes_only() -> None:
    with pytest.raises(WavelengthError, match=r"0\.8 Å is no Kα radiation of Cu, Mo"):
        ProcessingPipeline().with_step(StripKAlpha2()).apply(scan(wavelength=0.8))


def test_a_displaced_specimen_is_put_back_in_its_place() -> None:
    angles = np.array(POSITIONS)
    seen = angles + displacement_shift(np.cos(np.deg2rad(angles) / 2), displacement=0.4, radius=200.0)
    assert (seen < angles - 0.15).all()
    pattern = Pattern(TWO_THETA, lines(TWO_THETA, seen), CU_K_ALPHA)
    corrected = (
        ProcessingPipeline().with_step(CorrectDisplacement(displacement=0.4, radius=200.0)).apply(pattern).gridded
    )
    for position in POSITIONS:
        assert highest(corrected, position) == pytest.approx(position, abs=0.021)


def test_a_range_is_kept_before_the_grid_and_on_it() -> None:
    for place in (1, 2):
        kept = ProcessingPipeline().with_step(CropRange(start=20, stop=60), place=place).apply(scan()).gridded
        covered = GRID.two_theta[kept.coverage]
        assert covered[0] == pytest.approx(20, abs=0.03)
        assert covered[-1] == pytest.approx(60, abs=0.03)
        assert kept.hidden_windows.tolist() == [True] * 3 + [False] * 8 + [True] * 6
    with pytest.raises(PatternError, match=r"no point lies within 1-2°"):
        ProcessingPipeline().with_step(CropRange(start=1, stop=2)).apply(scan())


@pytest.mark.parametrize("kind", AXIS_KINDS)
def test_any_axis_is_read_once_it_is_named(kind: AxisKind) -> None:
    q = two_theta_to_q(TWO_THETA, wavelength=CU_K_ALPHA)
    positions = {
        "two_theta": TWO_THETA,
        "theta": TWO_THETA / 2,
        "two_theta_radians": np.deg2rad(TWO_THETA),
        "theta_radians": np.deg2rad(TWO_THETA / 2),
        "q": q,
        "q_per_nm": 10 * q,
        "d": two_theta_to_d(TWO_THETA, wavelength=CU_K_ALPHA)[::-1],
    }[kind]
    order = slice(None, None, -1) if kind == "d" else slice(None)
    np.testing.assert_allclose(axis_to_two_theta(positions, kind=kind, wavelength=CU_K_ALPHA)[order], TWO_THETA)
    wavelength = None if kind in {"q", "q_per_nm", "d"} else CU_K_ALPHA
    pattern = Pattern(positions, scan().intensity[order], wavelength)
    read = ProcessingPipeline().with_step(ConvertAxis(axis=kind)).apply(pattern).gridded
    np.testing.assert_allclose(read.intensity, ProcessingPipeline().apply(scan()).gridded.intensity, atol=0.01)


def test_a_wavelength_that_is_said_does_not_move_what_came_from_q() -> None:
    pattern = Pattern(two_theta_to_q(TWO_THETA, wavelength=CU_K_ALPHA), scan().intensity)
    steps = ProcessingPipeline().with_step(ConvertAxis(axis="q"))
    assert (
        steps.apply(pattern).gridded == steps.replace_step(ConvertWavelength(wavelength="MoKa")).apply(pattern).gridded
    )
    with pytest.raises(WavelengthError, match="cannot be stripped without a wavelength"):
        steps.with_step(StripKAlpha2()).apply(pattern)


def test_an_axis_that_cannot_be_degrees_is_asked_for() -> None:
    with pytest.raises(
        PatternError, match=r"if the axis up to 1\.483 is two_theta_radians or theta_radians or q or d.*ConvertAxis"
    ):
        put_on_grid(Pattern(np.deg2rad(TWO_THETA), scan().intensity, CU_K_ALPHA))
    with pytest.raises(PatternError, match=r"if the axis.*is q or d"):
        put_on_grid(Pattern(two_theta_to_q(TWO_THETA, wavelength=0.7), scan().intensity, CU_K_ALPHA))
    assert other_axes(TWO_THETA) == ()
    with pytest.raises(PatternError, match="taken as theta ends at 2θ = 200°; expected up to 180°"):
        ProcessingPipeline().with_step(ConvertAxis(axis="theta")).apply(
            Pattern([*TWO_THETA, 100.0], [*scan().intensity, 1.0])
        )


def test_steps_are_put_in_taken_out_and_exchanged_without_touching_the_first() -> None:
    first = ProcessingPipeline()
    longer = first.with_step(Smooth(sigma=0.1)).with_step(CorrectZeroShift(shift=0.2))
    assert [step.NAME for step in longer.steps] == ["zero_shift", *(step.NAME for step in first.steps), "smooth"]
    changed = longer.replace_step(CorrectZeroShift(shift=0.3))
    assert changed.steps[0] == CorrectZeroShift(shift=0.3)
    assert changed.without_step(0).without_step(changed.place_of("smooth") - 1) == first == ProcessingPipeline()
    with pytest.raises(ProcessingError, match=r"no step 'smooth'; it has \['convert_wavelength', 'put_on_grid'"):
        first.replace_step(Smooth(sigma=0.1))
    with pytest.raises(ProcessingError, match="no step 3; expected an index from 0 to 2"):
        first.without_step(3)


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ((PutOnGrid(),), "without convert_wavelength does not end on the grid"),
        ((), "without convert_wavelength and put_on_grid"),
        ((PutOnGrid(), ConvertWavelength()), "'convert_wavelength' comes after 'put_on_grid'"),
        (
            (ConvertWavelength(), CorrectZeroShift(shift=0.1), PutOnGrid()),
            "'zero_shift' comes after 'convert_wavelength'",
        ),
        ((StripKAlpha2(), ConvertWavelength(), PutOnGrid()), "'convert_wavelength' comes after 'strip_kalpha2'"),
        ((ConvertWavelength(), Smooth(sigma=0.1), PutOnGrid()), "'put_on_grid' comes after 'smooth'"),
        ((ConvertWavelength(), ConvertWavelength(), PutOnGrid()), "'convert_wavelength' occurs twice"),
        (
            (CorrectZeroShift(shift=0.1), ConvertAxis(axis="q"), ConvertWavelength(), PutOnGrid()),
            "'convert_axis' comes after",
        ),
    ],
)
def test_impossible_orders_are_refused(steps: tuple, said: str) -> None:
    with pytest.raises(ProcessingError, match=said):
        ProcessingPipeline(steps)


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ({"step": "zero_shift", "shift": 9}, "step 'zero_shift': shift is 9; expected a number from -5 to 5"),
        ({"step": "zero_shift", "shift": "0.1"}, "shift is '0.1'; expected a number"),
        ({"step": "zero_shift"}, r"'zero_shift' requires all of \['shift'\]"),
        ({"step": "zero_shift", "shift": 0.1, "unit": "deg"}, r"has no setting 'unit'; it has shift"),
        ({"step": "zero"}, "is not a step; expected"),
        ("zero_shift", "is not a step; expected"),
        ({"step": "convert_axis", "axis": "channels"}, "axis is 'channels'; expected one of"),
        ({"step": "convert_wavelength", "wavelength": 9.0}, r"wavelength is 9; expected a number from 0\.1 to 5"),
        ({"step": "crop_range", "start": 60, "stop": 20}, "expected the lower one first"),
        ({"step": "subtract_background", "method": "als"}, "method is 'als'; expected one of"),
        ({"step": "smooth", "sigma": float("nan")}, "sigma is nan; expected a number"),
    ],
)
def test_what_a_step_cannot_be_is_named(step: object, said: str) -> None:
    with pytest.raises(ProcessingError, match=said):
        ProcessingPipeline.from_dict({"steps": [step]})


def test_a_message_about_a_file_of_steps_begins_with_its_path(tmp_path: Path) -> None:
    path = tmp_path / "steps.json"
    path.write_text('{"steps": [{"step": "zero"}]}', encoding="utf-8")
    with pytest.raises(ProcessingError, match="is not a step") as caught:
        read_pipeline(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert caught.value.code == "E_PREPARATION"


@pytest.mark.parametrize("values", [{}, [], {"steps": 1}, {"steps": [], "more": 1}, None])
def test_what_is_no_preparation_is_refused(values: object) -> None:
    with pytest.raises(ProcessingError, match="a processing pipeline is"):
        ProcessingPipeline.from_dict(values)


@given(st.floats(-0.5, 0.5), st.sampled_from(["arpls", "snip", "none"]), st.floats(10, 1e9))
def test_a_saved_preparation_comes_back_equal(shift: float, method: str, stiffness: float) -> None:
    background = SubtractBackground(method=method, stiffness=stiffness)
    kept = EVERY_STEP.replace_step(CorrectZeroShift(shift=shift)).replace_step(background)
    restored = ProcessingPipeline.from_dict(json.loads(json.dumps(kept.to_dict())))
    assert restored == kept
    assert restored != kept.replace_step(replace(background, stiffness=2 * stiffness))


def test_every_kind_of_step_is_named_once() -> None:
    assert {type(step).NAME for step in EVERY_STEP.steps} | {"convert_axis"} == set(STEPS)


def test_the_written_python_gives_the_same_pattern(tmp_path: Path) -> None:
    file = tmp_path / 'scan "one".xy'
    np.savetxt(file, np.column_stack([TWO_THETA, scan().intensity]), fmt="%.5f")
    script = tmp_path / "prepare.py"
    script.write_text(EVERY_STEP.to_python(str(file)), encoding="utf-8")
    assert runpy.run_path(str(script))["gridded"] == EVERY_STEP.apply(read_pattern(file)).gridded


def test_steps_that_version_0_1_0_wrote_are_read() -> None:
    former = [
        {"step": "read_axis", "kind": "q"},
        {"step": "zero_shift", "shift": 0.1},
        {"step": "to_copper", "wavelength": None},
        {"step": "keep_range", "start": 10.0, "stop": 80.0},
        {"step": "put_on_grid"},
    ]
    steps = (
        ConvertAxis(axis="q"),
        CorrectZeroShift(shift=0.1),
        ConvertWavelength(),
        CropRange(start=10.0, stop=80.0),
        PutOnGrid(),
    )
    assert ProcessingPipeline.from_dict({"steps": former}) == ProcessingPipeline(steps)
    assert [update_step(step) for step in former] == ProcessingPipeline(steps).to_dict()["steps"]
