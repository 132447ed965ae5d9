from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from rock_salt import ROCK_SALT_CIF
from typer.testing import CliRunner

from xxact_core.commands.main import app
from xxact_core.errors import PatternError
from xxact_core.requests.identifying import IdentifyRequest, keep_phases
from xxact_core.requests.reading import ReadPointsRequest, pattern_to_dict
from xxact_core.requests.simulating import SimulateRequest, simulate_cif
from xxact_core.shipped import example_path


def test_reading_reports_range_step_and_wavelength() -> None:
    request = ReadPointsRequest(wavelength="CuKa")
    found = pattern_to_dict(request.read(example_path("corundum.prn")), points=True)
    assert (found["first_angle"], found["last_angle"], found["points"]) == (5, 150, 7251)
    assert found["step"] == pytest.approx(0.02)
    assert found["wavelength"] == pytest.approx(1.54184)
    assert len(found["two_theta"]) == len(found["intensity"]) == found["points"]
    assert max(found["intensity"]) == found["largest_intensity"]
    assert "two_theta" not in pattern_to_dict(request.read(example_path("corundum.prn")), points=False)


def test_salt_has_its_reflections() -> None:
    found = simulate_cif(ROCK_SALT_CIF.encode(), SimulateRequest(wavelength="CuKa1", width=0.1), name="salt.cif")
    strongest = int(np.argmax(found["intensity"]))
    assert found["hkl"][strongest] == [2, 0, 0]
    assert found["two_theta"][strongest] == pytest.approx(31.70, abs=0.01)
    assert found["d"][strongest] == pytest.approx(5.6402 / 2, abs=1e-6)
    assert found["multiplicity"][strongest] == 6
    assert (found["formula"], found["space_group"]) == ("NaCl", 225)
    curve = found["curve"]
    highest = int(np.argmax(curve["intensity"]))
    assert curve["two_theta"][highest] == pytest.approx(31.70, abs=0.02)
    assert curve["intensity"][highest] == pytest.approx(100)
    above = np.array(curve["two_theta"])[np.array(curve["intensity"]) >= 50]
    assert np.ptp(above[np.abs(above - 31.70) < 1]) == pytest.approx(0.1, abs=0.021)


@pytest.mark.parametrize("angles", [(5.0, 90.0), (10.0, 40.02), (20.0, 31.8), (31.72, 31.735)])
def test_a_curve_has_all_points_of_its_range(angles: tuple[float, float]) -> None:
    request = SimulateRequest(two_theta_range=angles, width=0.1)
    curve = simulate_cif(ROCK_SALT_CIF.encode(), request, name="salt.cif")["curve"]["two_theta"]
    assert curve[0] == angles[0]
    assert angles[1] - 0.02 < curve[-1] <= angles[1] + 1e-6


def test_reflections_outside_the_range_and_weak_ones_are_left_out() -> None:
    everything = simulate_cif(ROCK_SALT_CIF.encode(), SimulateRequest(), name="salt.cif")
    some = simulate_cif(
        ROCK_SALT_CIF.encode(), SimulateRequest(two_theta_range=(40, 60), least_intensity=10), name="salt.cif"
    )
    kept = [
        angle
        for angle, intensity in zip(everything["two_theta"], everything["intensity"], strict=True)
        if 40 <= angle <= 60 and intensity >= 10
    ]
    assert some["two_theta"] == kept
    with pytest.raises(PatternError, match="no reflection"):
        simulate_cif(ROCK_SALT_CIF.encode(), SimulateRequest(two_theta_range=(5, 6)), name="salt.cif")


def test_phases_are_the_part_of_identification_without_single_matches() -> None:
    identified = {"phases": [1], "verdict": "single", "matches": [2], "neighbours": [2], "mixture": None}
    assert keep_phases(identified) == {"phases": [1], "verdict": "single"}


def test_elements_of_a_formula_are_those_that_it_names() -> None:
    states = IdentifyRequest(formula="Zn,O,?C").states
    assert set(states.must) == {"Zn", "O"}
    assert states.may == ("C",)


@pytest.mark.parametrize("as_json", [True, False])
def test_commands_read_and_simulate_print_the_same_values(as_json: bool, tmp_path: Path) -> None:
    cif = tmp_path / "salt.cif"
    cif.write_text(ROCK_SALT_CIF)
    options = ["--json"] if as_json else []
    read = CliRunner().invoke(app, ["read", str(example_path("quartz.xrdml")), *options])
    simulated = CliRunner().invoke(app, ["simulate", str(cif), *options])
    assert read.exit_code == simulated.exit_code == 0
    if as_json:
        assert json.loads(read.stdout)["format"] == "XRDML"
        reflections = simulate_cif(ROCK_SALT_CIF.encode(), SimulateRequest(), name="salt.cif")
        assert json.loads(simulated.stdout) == {"file": str(cif), **reflections}
    else:
        assert "quartz.xrdml" in read.stdout
        assert "2 0 0" in simulated.stdout
