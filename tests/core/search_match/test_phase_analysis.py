"""The result of a multi-phase analysis: sums of its curves, plain values, and its netCDF file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import xarray

from xxact_core.search_match.phase_analysis import AmorphousHump, Phase, PhaseAnalysis, UnexplainedPeak

TWO_THETA = np.linspace(20, 30, 101)


def phase(formula: str, position: float, *, weight_fraction: float, size: float = np.nan) -> Phase:
    return Phase(
        formula=formula,
        name=None,
        space_group=225,
        id=f"mp-{int(position)}",
        source_id=f"row {formula}",
        row=3,
        weight_fraction=weight_fraction,
        u_weight_fraction=0.01,
        cell=np.array([5.0, 5.0, 5.0, 90.0, 90.0, 90.0]),
        u_cell=np.array([1e-4, 1e-4, 1e-4, 0.0, 0.0, 0.0]),
        scale_factor=1e-3,
        matched=3,
        missing=0,
        probability=0.9,
        size=size,
        u_size=np.nan,
        strain=np.nan,
        u_strain=np.nan,
        calculated=100 * np.exp(-((TWO_THETA - position) ** 2) / 0.02),
        two_theta=np.array([position]),
        hkl=np.array([[1, 1, 1]]),
        intensity=np.array([100.0]),
    )


@pytest.fixture
def analysis() -> PhaseAnalysis:
    phases = (phase("NaCl", 23, weight_fraction=0.7, size=35.0), phase("KCl", 26, weight_fraction=0.3))
    background = np.full(TWO_THETA.size, 10.0)
    return PhaseAnalysis(
        phases=phases,
        two_theta=TWO_THETA,
        measured=background + phases[0].calculated + phases[1].calculated + 1,
        background=background,
        unexplained_peaks=(UnexplainedPeak(two_theta=28.0, d=3.18, height=2.0, area=0.01),),
        unexplained_fraction=0.02,
        amorphous=AmorphousHump(two_theta=24.0, width=6.0, fraction=0.1),
        verdict="mixture",
        wavelength=1.5406,
        zero_shift=0.01,
        u_zero_shift=0.002,
        displacement=-0.02,
        width=0.1,
        weighted_residual=0.08,
    )


def test_measured_is_calculated_plus_difference(analysis: PhaseAnalysis) -> None:
    np.testing.assert_allclose(analysis.difference, 1.0)
    np.testing.assert_allclose(analysis.calculated + analysis.difference, analysis.measured)


def test_plain_values_are_valid_json_without_nan(analysis: PhaseAnalysis) -> None:
    text = json.dumps(analysis.to_dict(reflections=True, curves=True), allow_nan=False)
    values = json.loads(text)
    first, second = values["phases"]
    assert first["formula"] == "NaCl"
    assert first["cell"] == [5.0, 5.0, 5.0, 90.0, 90.0, 90.0]
    assert (first["size"], second["size"]) == (35.0, None)
    assert first["hkl"] == [[1, 1, 1]]
    assert values["unexplained_peaks"][0]["d"] == 3.18
    assert len(values["curves"]["of_phases"]) == 2
    assert "curves" not in analysis.to_dict()


def test_the_netcdf_file_holds_curves_and_results(analysis: PhaseAnalysis, tmp_path: Path) -> None:
    analysis.write_netcdf(tmp_path / "phases.nc")
    with xarray.open_dataset(tmp_path / "phases.nc", engine="h5netcdf") as read:
        assert read["phase_intensity"].dims == ("phase", "two_theta")
        np.testing.assert_allclose(read["calculated"], analysis.calculated)
        np.testing.assert_allclose(read["weight_fraction"], [0.7, 0.3])
        assert read["formula"].to_numpy().tolist() == ["NaCl", "KCl"]
        assert read.attrs["verdict"] == "mixture"


def test_the_sentence_names_all_phases(analysis: PhaseAnalysis) -> None:
    assert "Mixture of 2 phases: NaCl (space group 225) and KCl (space group 225)" in analysis.sentence
