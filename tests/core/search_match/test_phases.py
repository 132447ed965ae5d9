"""Phases of simulated specimens: names, weight fractions, cells, what is left unexplained, and unusable patterns."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from xxact_core.compositions.element_table import SYMBOLS
from xxact_core.errors import FormulaError, InputError, PatternError, WavelengthError
from xxact_core.patterns.conversions import WAVELENGTHS
from xxact_core.patterns.pattern import Pattern
from xxact_core.search_match import phase_search
from xxact_core.search_match.database import ReferenceDatabase
from xxact_core.search_match.instrument import STANDARDS, InstrumentProfile, measure_instrument, standard_lines
from xxact_core.search_match.measured_profile import measure_profile
from xxact_core.search_match.opening import open_references
from xxact_core.search_match.phase_lines import structure_to_phase_lines
from xxact_core.search_match.phase_search import PhaseSearch, row_proposer
from xxact_core.search_match.phases import NO_MATCH, find_phases
from xxact_core.search_match.profile_model import InstrumentWidth, ModelState, PhaseState, Radiation, phase_profile
from xxact_core.structures.packing import pack_table
from xxact_core.structures.structure import Structure
from xxact_core.structures.tables import COLUMNS

CU = Radiation(WAVELENGTHS["CuKa1"], WAVELENGTHS["CuKa2"], 0.5)
TWO_THETA = np.arange(15, 100, 0.02)
WIDTH = InstrumentWidth(w=0.08**2)
FACE_CENTRED = np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])


def rock_salt(name: str, length: float, cation: int, anion: int) -> Structure:
    return Structure(
        id=name,
        cell=np.array([length, length, length, 90, 90, 90]),
        atomic_numbers=np.repeat([cation, anion], 4),
        frac_coords=np.concatenate([FACE_CENTRED, FACE_CENTRED + np.array([0.5, 0, 0])]),
        occupancies=np.ones(8),
    )


def rutile() -> Structure:
    u = 0.305
    oxygen = [[u, u, 0], [1 - u, 1 - u, 0], [0.5 + u, 0.5 - u, 0.5], [0.5 - u, 0.5 + u, 0.5]]
    return Structure(
        id="rutile",
        cell=np.array([4.65, 4.65, 2.97, 90, 90, 90]),
        atomic_numbers=np.array([22, 22, 8, 8, 8, 8]),
        frac_coords=np.array([[0, 0, 0], [0.5, 0.5, 0.5], *oxygen]),
        occupancies=np.ones(6),
    )


STRUCTURES = (
    rock_salt("MgO", 4.26, 12, 8),
    rock_salt("NiO", 4.22, 28, 8),
    rock_salt("MnO", 4.49, 25, 8),
    rutile(),
)


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory) -> ReferenceDatabase:
    """The structures as a table, in their order."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = tmp_path_factory.mktemp("simulated")
    rows = [
        {
            "id": one.id,
            **dict(zip(COLUMNS[:6], one.cell.tolist(), strict=True)),
            "species": [SYMBOLS[number - 1] for number in one.atomic_numbers],
            "frac_coords": one.frac_coords.ravel().tolist(),
        }
        for one in STRUCTURES
    ]
    pq.write_table(pa.Table.from_pylist(rows), folder / "structures.parquet")
    pack_table(folder / "structures.parquet", folder / "simulated.parquet")
    return open_references(folder / "simulated.parquet")


def specimen(
    fractions: dict[int, float], *, zero: float = 0.02, seed: int = 1, radiation: Radiation = CU, size: float = 0.05
) -> Pattern:
    """A mixture by weight of rows, with cells 1 % shorter than in the database, on a background with noise."""
    total = np.zeros_like(TWO_THETA)
    for row, fraction in fractions.items():
        lines = structure_to_phase_lines(
            STRUCTURES[row], wavelength=radiation.wavelength, two_theta_range=(10, 110), measured=False
        )
        strain = np.zeros(len(lines.change))
        strain[0] = 1 - 1 / 0.99
        phase = PhaseState(lines, strain, size_width=size)
        model = ModelState((phase,), WIDTH, zero=zero)
        profile = phase_profile(phase, model, TWO_THETA, radiation, reach=30).profile
        total += fraction / lines.mass_density * profile
    counts = 5000 * total / total.max() + 100 + 200 * np.exp(-TWO_THETA / 20)
    noisy = np.random.default_rng(seed).poisson(counts).astype(np.float64)
    return Pattern(TWO_THETA, noisy, wavelength=radiation.wavelength, name="specimen")


def test_a_mixture_is_named_and_weighed(references: ReferenceDatabase) -> None:
    found = find_phases(specimen({0: 0.5, 3: 0.3, 1: 0.2}), references, elements=["Mg", "Ni", "Mn", "Ti", "O"])
    assert found.verdict == "mixture"
    assert [phase.source_id for phase in found.phases] == ["MgO", "rutile", "NiO"]
    for phase, fraction in zip(found.phases, (0.5, 0.3, 0.2), strict=True):
        assert phase.weight_fraction == pytest.approx(fraction, abs=0.02)
        assert 0 < phase.u_weight_fraction < 0.05
        assert phase.probability > 0.5
    assert sum(phase.weight_fraction for phase in found.phases) == pytest.approx(1)
    assert found.unexplained_fraction < 0.02
    np.testing.assert_allclose(found.calculated + found.difference, found.measured)


def test_cells_are_refined_within_their_uncertainty(references: ReferenceDatabase) -> None:
    (found,) = find_phases(specimen({3: 1.0}), references, elements=["Ti", "O"]).phases
    expected = np.array([4.65 * 0.99, 4.65 * 0.99, 2.97 * 0.99])
    # The generated cell is 1 / √(1 - 2ε) times that of the database, with ε = 1 - 1 / 0.99.
    expected *= 1 / 0.99 / np.sqrt(1 - 2 * (1 - 1 / 0.99))
    np.testing.assert_allclose(found.cell[:3], expected, rtol=3e-4)
    assert (np.abs(found.cell[:3] - expected) < 4 * found.u_cell[:3] + 1e-6).all()
    np.testing.assert_array_equal(found.u_cell[3:], 0)
    np.testing.assert_array_equal(found.cell[3:], 90)


def test_a_single_phase_is_single(references: ReferenceDatabase) -> None:
    found = find_phases(specimen({2: 1.0}), references, elements=["Mg", "Ni", "Mn", "Ti", "O"])
    assert found.verdict == "single"
    assert found.phases[0].formula == "MnO"
    assert found.phases[0].missing == 0


def test_what_no_phase_explains_is_listed(references: ReferenceDatabase) -> None:
    pattern = specimen({0: 1.0, 3: 1.0})
    found = find_phases(pattern, references, elements=["Mg", "O"])
    assert [phase.formula for phase in found.phases] == ["MgO"]
    assert found.unexplained_fraction > 0.2
    strongest = found.unexplained_peaks[0]
    assert strongest.two_theta == pytest.approx(27.7, abs=0.5)  # rutile 110
    assert strongest.d == pytest.approx(3.22, abs=0.06)


@pytest.mark.parametrize("background", [0.0, 1e-30, 100.0])
def test_a_calculated_pattern_without_noise_is_recognised(references: ReferenceDatabase, background: float) -> None:
    lines = structure_to_phase_lines(STRUCTURES[0], wavelength=CU.wavelength, two_theta_range=(10, 110), measured=False)
    phase = PhaseState(lines, np.zeros(len(lines.change)))
    profile = phase_profile(phase, ModelState((phase,), WIDTH), TWO_THETA, CU, reach=30).profile
    pattern = Pattern(TWO_THETA, 5000 * profile / profile.max() + background, wavelength=CU.wavelength)
    found = find_phases(pattern, references, elements=["Mg", "O"])
    assert found.verdict == "single"
    assert found.phases[0].formula == "MgO"


@pytest.mark.parametrize("intensity", [np.full_like(TWO_THETA, 7.0), np.linspace(900, 100, TWO_THETA.size)])
def test_a_pattern_without_peaks_is_refused(references: ReferenceDatabase, intensity: np.ndarray) -> None:
    with pytest.raises(PatternError, match="no peak rises above the noise"):
        find_phases(Pattern(TWO_THETA, intensity, wavelength=CU.wavelength), references)


def test_threads_share_the_lines_of_a_database(references: ReferenceDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phase_search, "_KEPT_PHASES", 1)
    search = PhaseSearch(measure_profile(specimen({0: 1.0})), references, row_proposer(references, np.arange(4)))
    lines = [search.lines(row) for row in range(4)]
    monkeypatch.setattr(phase_search, "read_phase_lines", lambda _references, row, **_settings: lines[row])
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as threads:
            rows = [0, 1, 2, 3] * 5000
            found = list(threads.map(search.lines, rows))
    finally:
        sys.setswitchinterval(interval)
    assert all(mine is lines[row] for mine, row in zip(found, rows, strict=True))


def test_another_material_is_no_match(references: ReferenceDatabase) -> None:
    found = find_phases(specimen({3: 1.0}), references, elements=["Ni", "O"])
    assert found.verdict == "no match"
    assert found.sentence.startswith("No match")


def test_two_sure_phases_are_told_where_most_of_the_intensity_is_of_others(references: ReferenceDatabase) -> None:
    found = find_phases(specimen({1: 0.2, 2: 0.2, 3: 0.6}), references, elements=["Mn", "Ni", "O"])
    assert {phase.source_id for phase in found.phases} == {"NiO", "MnO"}
    assert found.unexplained_fraction > NO_MATCH
    assert found.verdict == "mixture"


def test_preferred_orientation_is_found_and_does_not_change_the_weights(references: ReferenceDatabase) -> None:
    lines = structure_to_phase_lines(STRUCTURES[3], wavelength=CU.wavelength, two_theta_range=(10, 110), measured=False)
    strain = np.array([1 - 1 / 0.99, *[0.0] * (len(lines.change) - 1)])
    total = np.zeros_like(TWO_THETA)
    magnesia = structure_to_phase_lines(
        STRUCTURES[0], wavelength=CU.wavelength, two_theta_range=(10, 110), measured=False
    )
    for phase in (
        PhaseState(lines, strain, size_width=0.05, texture=0.6, texture_axis=(0, 0, 1)),
        PhaseState(magnesia, strain[:1], size_width=0.05),
    ):
        profile = phase_profile(phase, ModelState((phase,), WIDTH), TWO_THETA, CU, reach=30).profile
        total += 0.5 / phase.lines.mass_density * profile
    counts = np.random.default_rng(2).poisson(5000 * total / total.max() + 100).astype(np.float64)
    found = find_phases(Pattern(TWO_THETA, counts, wavelength=CU.wavelength), references, elements=["Mg", "Ti", "O"])
    by_formula = {phase.formula: phase for phase in found.phases}
    assert by_formula["TiO2"].texture_axis == (0, 0, 1)
    assert by_formula["TiO2"].texture == pytest.approx(0.6, abs=0.11)
    assert by_formula["TiO2"].weight_fraction == pytest.approx(0.5, abs=0.03)
    assert by_formula["MgO"].texture_axis is None


def test_a_broad_hump_is_reported_and_crystalline_specimens_have_none(references: ReferenceDatabase) -> None:
    crystalline = specimen({3: 1.0})
    assert find_phases(crystalline, references, elements=["Ti", "O"]).amorphous is None
    hump = 600 * np.exp(-(((TWO_THETA - 24) / 5) ** 2))
    glassy = Pattern(TWO_THETA, crystalline.intensity + hump, wavelength=crystalline.wavelength)
    found = find_phases(glassy, references, elements=["Ti", "O"])
    assert [phase.formula for phase in found.phases] == ["TiO2"]
    assert found.amorphous is not None
    assert found.amorphous.two_theta == pytest.approx(24, abs=2)
    assert found.amorphous.width == pytest.approx(8.3, abs=2)  # 2 √ln 2 · 5°


def test_an_axis_that_is_wrong_by_a_factor_is_noticed(references: ReferenceDatabase) -> None:
    pattern = specimen({0: 0.5, 3: 0.5})
    stretched = np.degrees(2 * np.arcsin(np.sin(np.radians(TWO_THETA / 2)) * 0.985))
    found = find_phases(
        Pattern(stretched, pattern.intensity, wavelength=pattern.wavelength), references, elements=["Mg", "Ti", "O"]
    )
    assert {phase.source_id for phase in found.phases} == {"MgO", "rutile"}


def test_an_analysis_starts_the_next(references: ReferenceDatabase) -> None:
    elements = ["Mg", "Ni", "Mn", "Ti", "O"]
    first = find_phases(specimen({0: 0.6, 3: 0.4}), references, elements=elements)
    same = find_phases(specimen({0: 0.3, 3: 0.7}, seed=2), references, elements=elements, start=first)
    assert [phase.source_id for phase in same.phases] == ["rutile", "MgO"]
    assert same.phases[0].weight_fraction == pytest.approx(0.7, abs=0.03)
    vanished = find_phases(specimen({0: 1.0}, seed=3), references, elements=elements, start=first)
    assert [phase.source_id for phase in vanished.phases] == ["MgO"]
    appeared = find_phases(specimen({0: 0.4, 3: 0.3, 2: 0.3}, seed=4), references, elements=elements, start=first)
    assert {phase.source_id for phase in appeared.phases} == {"MgO", "rutile", "MnO"}


def test_other_radiation_and_fine_steps(references: ReferenceDatabase) -> None:
    molybdenum = Radiation(WAVELENGTHS["MoKa1"], WAVELENGTHS["MoKa2"], 0.5)
    found = find_phases(specimen({0: 0.5, 3: 0.5}, radiation=molybdenum), references, elements=["Mg", "Ti", "O"])
    assert {phase.source_id for phase in found.phases} == {"MgO", "rutile"}
    coarse = specimen({0: 0.5, 3: 0.5})
    angles = np.linspace(15, 99.9, 60_000)
    fine = Pattern(angles, np.interp(angles, coarse.two_theta, coarse.intensity), wavelength=coarse.wavelength)
    found = find_phases(fine, references, elements=["Mg", "Ti", "O"])
    assert {phase.source_id for phase in found.phases} == {"MgO", "rutile"}
    assert found.two_theta.size <= 7001


def test_unusable_patterns_are_refused_with_a_reason(references: ReferenceDatabase) -> None:
    noise = np.random.default_rng(0).poisson(100, TWO_THETA.size).astype(np.float64)
    with pytest.raises(PatternError, match="no peak rises above the noise"):
        find_phases(Pattern(TWO_THETA, noise, wavelength=1.5406), references, elements=["Mg", "O"])
    with pytest.raises(WavelengthError, match="wavelength"):
        find_phases(Pattern(TWO_THETA, noise), references, elements=["Mg", "O"])
    with pytest.raises(PatternError, match="expected at least 50"):
        find_phases(Pattern(TWO_THETA[:20], noise[:20], wavelength=1.5406), references, elements=["Mg", "O"])
    with pytest.raises(FormulaError, match="is not a chemical element"):
        find_phases(specimen({0: 1.0}), references, elements=["Xx"])


def test_five_degrees_and_negative_counts_are_answered(references: ReferenceDatabase) -> None:
    whole = specimen({0: 1.0})
    part = (whole.two_theta > 41) & (whole.two_theta < 46)
    narrow = Pattern(whole.two_theta[part], whole.intensity[part], wavelength=whole.wavelength)
    assert find_phases(narrow, references, elements=["Mg", "O"]).phases[0].formula == "MgO"
    below_zero = Pattern(whole.two_theta, whole.intensity - 150, wavelength=whole.wavelength)
    assert find_phases(below_zero, references, elements=["Mg", "O"]).verdict == "single"


def test_the_instrument_is_measured_on_a_standard_and_gives_sizes(
    references: ReferenceDatabase, tmp_path: Path
) -> None:
    lines = standard_lines("LaB6", wavelength=CU.wavelength, two_theta_range=(10, 110))
    phase = PhaseState(lines, np.zeros(1), size_width=0.02)
    true = InstrumentWidth(u=0.004, w=0.08**2)
    profile = phase_profile(phase, ModelState((phase,), true), TWO_THETA, CU, reach=30).profile
    counts = np.random.default_rng(5).poisson(20000 * profile / profile.max() + 50).astype(np.float64)
    instrument = measure_instrument(Pattern(TWO_THETA, counts, wavelength=CU.wavelength), standard="LaB6")
    tangent = np.tan(np.radians(np.array([20.0, 50.0, 80.0]) / 2))
    expected = true.gaussian(tangent) + 0.5 * 0.02 / np.cos(np.arctan(tangent))  # nearly, for narrow Lorentzians
    np.testing.assert_allclose(instrument.fwhm(np.array([20.0, 50.0, 80.0])), expected, rtol=0.05)

    instrument.write(tmp_path / "goniometer.json")
    assert InstrumentProfile.read(tmp_path / "goniometer.json") == instrument
    (tmp_path / "other.json").write_text("[1, 2]", encoding="utf-8")
    with pytest.raises(InputError, match="no instrument profile"):
        InstrumentProfile.read(tmp_path / "other.json")
    with pytest.raises(InputError, match="is not known; expected one of LaB6, Si"):
        measure_instrument(specimen({0: 1.0}), standard="MgO")
    with pytest.raises(InputError, match="is not the pattern of LaB6"):
        measure_instrument(specimen({3: 1.0}), standard="LaB6")

    known = InstrumentProfile(
        u=0,
        v=0,
        w=WIDTH.w,
        x=0,
        y=0,
        wavelength=CU.wavelength,
        standard="none",
        first=15,
        last=100,
        weighted_residual=0,
    )
    wide = 0.4  # Scherrer: 0.9 · 0.154 nm / 0.4° in radians = 19.9 nm
    (found,) = find_phases(specimen({0: 1.0}, size=wide), references, elements=["Mg", "O"], instrument=known).phases
    assert found.size == pytest.approx(19.9, rel=0.25)  # the estimated background takes part of the tails
    assert found.u_size < 6


@pytest.mark.parametrize("name", STANDARDS)
def test_the_standards_have_their_space_groups(name: str) -> None:
    lines = standard_lines(name, wavelength=CU.wavelength, two_theta_range=(10, 110))
    assert lines.space_group == {"LaB6": 221, "Si": 227, "Al2O3": 167}[name]
