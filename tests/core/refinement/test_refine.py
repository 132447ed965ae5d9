"""Refinement of known phases: cells and weight fractions of calculated and measured patterns; bad input."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cif_fixtures import cubic, make_cif

from tests.core.refinement.phase_fixtures import mixture_pattern, rock_salt
from xxact_core.errors import InputError, PatternError, WavelengthError
from xxact_core.patterns.pattern import Pattern
from xxact_core.readers.read import read_pattern
from xxact_core.refinement.phases import read_phase, structure_to_phase
from xxact_core.refinement.refine import RefinementCancelledError, intensity_to_sigma, refine
from xxact_core.refinement.results import Refinement
from xxact_core.refinement.settings import RefinementSettings
from xxact_core.structures.structure import Structure

pytest.importorskip("rietx", reason="the extra refine is not installed")

SALT, PERICLASE = rock_salt(11, 17, 5.6402, name="halite"), rock_salt(12, 8, 4.2117, name="periclase")

CORUNDUM = """data_corundum
_cell_length_a 4.7602
_cell_length_b 4.7602
_cell_length_c 12.9933
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 120
_space_group_name_H-M_alt 'R -3 c'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Al Al 0 0 0.35216
O O 0.30624 0 0.25
"""


def shifted(structure: Structure, factor: float) -> Structure:
    """The structure with a cell that is too long, as that of a database."""
    return replace(structure, cell=structure.cell * np.array([factor] * 3 + [1] * 3))


@pytest.fixture(scope="module")
def mixture() -> Refinement:
    pattern = mixture_pattern([(SALT, 0.3), (PERICLASE, 0.7)], zero=0.03)
    reports: list[tuple[int, int]] = []
    starts = [structure_to_phase(shifted(structure, 1.006)) for structure in (SALT, PERICLASE)]
    result = refine(pattern, starts, progress=lambda done, total: reports.append((done, total)))
    assert reports[0][0] == 0
    assert reports[-1][0] == reports[-1][1]
    assert [done for done, _ in reports] == sorted(done for done, _ in reports)
    return result


def test_cells_of_a_mixture_are_found_from_cells_0_6_percent_too_long(mixture: Refinement) -> None:
    assert mixture.converged
    for phase, structure in zip(mixture.phases, (SALT, PERICLASE), strict=True):
        assert phase.cell[:3] == pytest.approx(structure.cell[:3], rel=2e-4)
        assert phase.cell[3:] == pytest.approx([90, 90, 90])
        assert np.all(phase.u_cell[:3] > 0)
        assert np.all(phase.u_cell[:3] < 1e-3)
        assert phase.u_cell[3:] == pytest.approx(0)


def test_weight_fractions_of_a_mixture_are_those_it_was_calculated_with(mixture: Refinement) -> None:
    assert [phase.weight_fraction for phase in mixture.phases] == pytest.approx([0.3, 0.7], abs=0.02)
    assert sum(phase.weight_fraction for phase in mixture.phases) == pytest.approx(1)
    assert all(0 < phase.u_weight_fraction < 0.02 for phase in mixture.phases)
    assert [phase.b_iso for phase in mixture.phases] == pytest.approx([0.6, 0.6], abs=0.3)


def test_a_mixture_is_fitted_to_the_noise(mixture: Refinement) -> None:
    assert mixture.chi_squared < 1.5
    assert mixture.r_wp < 0.12
    assert mixture.warnings == ()
    assert np.abs(np.mean(mixture.difference / mixture.sigma)) < 0.1
    assert len(mixture.wavelengths) == 2


def test_the_result_is_plain_values(mixture: Refinement) -> None:
    values = mixture.to_dict(curves=True)
    assert [phase["formula"] for phase in values["phases"]] == ["NaCl", "MgO"]
    assert [phase["space_group"] for phase in values["phases"]] == [225, 225]
    assert len(values["curves"]["observed"]) == values["points"]
    assert values["phases"][0]["size"] is None
    text = mixture.to_text(instant=[{"id": "", "weight_fraction": 0.31, "cell": None}])
    assert "converged" in text
    assert "instant analysis: 31.0" in text


def test_le_bail_finds_the_cells_without_intensities() -> None:
    pattern = mixture_pattern([(PERICLASE, 1.0)])
    result = refine(pattern, [shifted(PERICLASE, 1.004)], settings=RefinementSettings(method="lebail"))
    assert result.phases[0].cell[0] == pytest.approx(4.2117, rel=2e-4)
    assert math.isnan(result.phases[0].weight_fraction)
    assert result.r_wp < 0.12


def test_the_cell_of_measured_corundum_is_that_of_the_standard(examples: Path, tmp_path: Path) -> None:
    """Source: NIST certificate of SRM 676a, a 4.759091 Å, c 12.991779 Å."""
    file = tmp_path / "corundum.cif"
    file.write_text(CORUNDUM)
    settings = RefinementSettings(two_theta_range=(20, 120))
    result = refine(read_pattern(examples / "corundum.prn"), [file], wavelength="CuKa", settings=settings)
    assert result.phases[0].cell[[0, 2]] == pytest.approx([4.759091, 12.991779], rel=2e-4)
    assert result.phases[0].name == "corundum"
    assert result.r_wp_without_background < 0.2


def test_a_phase_that_is_not_there_is_reported() -> None:
    pattern = mixture_pattern([(PERICLASE, 1.0)])
    result = refine(pattern, [PERICLASE, SALT], settings=RefinementSettings(two_theta_range=(20, 90)))
    assert any("NaCl is not seen" in warning for warning in result.warnings)
    assert result.phases[0].weight_fraction == pytest.approx(1, abs=0.02)


def test_a_wrong_phase_is_reported() -> None:
    result = refine(mixture_pattern([(PERICLASE, 1.0)]), [SALT])
    assert any("poor fit" in warning for warning in result.warnings)


def test_too_few_iterations_are_reported_as_no_convergence() -> None:
    pattern = mixture_pattern([(PERICLASE, 1.0)])
    result = refine(pattern, [shifted(PERICLASE, 1.006)], settings=RefinementSettings(most_iterations=1))
    assert not result.converged
    assert "did not converge" in result.warnings[0]
    assert "DID NOT CONVERGE" in result.to_text()


def test_a_refinement_stops_when_it_is_cancelled() -> None:
    asked: list[int] = []

    def cancelled() -> bool:
        asked.append(1)
        return len(asked) > 5

    with pytest.raises(RefinementCancelledError):
        refine(mixture_pattern([(PERICLASE, 1.0)]), [PERICLASE], cancelled=cancelled)


def test_a_pattern_without_wavelength_is_refused() -> None:
    pattern = replace(mixture_pattern([(PERICLASE, 1.0)]), wavelength=None)
    with pytest.raises(WavelengthError, match=r"mixture.xy: the file does not state the wavelength"):
        refine(pattern, [PERICLASE])


def test_no_phases_are_refused() -> None:
    with pytest.raises(InputError, match="0 phases cannot be refined"):
        refine(mixture_pattern([(PERICLASE, 1.0)]), [])


@pytest.mark.parametrize(("low", "high"), [(15, 15.5), (15, 25)])
def test_a_range_without_points_or_reflections_is_refused(low: float, high: float) -> None:
    with pytest.raises(PatternError, match="the first reflection is at") as error:
        refine(
            mixture_pattern([(PERICLASE, 1.0)]),
            [rock_salt(12, 8, 2.1, name="small")],
            settings=RefinementSettings(two_theta_range=(low, high)),
        )
    assert error.value.code == "E_RANGE"


def test_a_flat_pattern_is_refused() -> None:
    flat = Pattern(two_theta=np.arange(10, 90, 0.02), intensity=np.full(4000, 7.0), wavelength=1.5418, name="flat.xy")
    with pytest.raises(PatternError, match="all intensities are 7"):
        refine(flat, [PERICLASE])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "pawley"}, "'pawley' is not known; expected one of rietveld, lebail"),
        ({"geometry": "flat"}, "expected one of bragg_brentano, debye_scherrer"),
        ({"two_theta_range": (50.0, 20.0)}, "the range of the refinement is 50 to 20°"),
        ({"most_iterations": 0}, "most_iterations is 0; expected at least 1"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message.replace("(", r"\(")):
        RefinementSettings(**settings)  # type: ignore[arg-type]  # that is what is tested


def test_uncertainties_are_those_of_counts_also_of_scaled_intensities() -> None:
    counts = np.random.default_rng(1).poisson(400, size=5000).astype(float)
    assert np.median(intensity_to_sigma(counts)) == pytest.approx(20, rel=0.05)
    assert np.median(intensity_to_sigma(counts / 37)) == pytest.approx(20 / 37, rel=0.1)


def test_what_was_assumed_of_a_cif_file_is_noted(tmp_path: Path) -> None:
    file = tmp_path / "salt.cif"
    file.write_text(make_cif(cubic(5.6402), "Na1 Na 0 0 0 1", "Cl1 Cl 0.5 0.5 0.5 1"))
    assert read_phase(file).notes == ("no symmetry is stated; P 1 was assumed",)
    result = refine(mixture_pattern([(SALT, 1.0)]), [file], settings=RefinementSettings(most_iterations=2))
    assert "salt: no symmetry is stated; P 1 was assumed" in result.warnings


def test_a_cif_file_keeps_its_setting(tmp_path: Path) -> None:
    file = tmp_path / "corundum.cif"
    file.write_text(CORUNDUM)
    phase = read_phase(file)
    assert phase.structure.space_group == 167
    assert phase.cell[2] == pytest.approx(12.9933)
    assert [site.multiplicity for site in phase.structure.sites] == [12, 18]
