"""Rows of a dataset → batches: equal to the exact broadening, seeded, and distorted as a laboratory would."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from texture_reference import equivalent_axes

from xxact_core.augmentation.config import EFFECTS, AugmentationConfig
from xxact_core.augmentation.effects import (
    AxialDivergence,
    Background,
    CalculatedCell,
    CountingNoise,
    CrystalliteSize,
    DetectorBins,
    Doublet,
    Effect,
    FilterEdge,
    FilterLines,
    Graininess,
    Impurity,
    InstrumentWidth,
    KAlpha2Ratio,
    LimitedRange,
    Microstrain,
    OtherRadiation,
    ProcessedBins,
    ProcessedSmoothing,
    PseudoVoigt,
    SampleDisplacement,
    ScanStep,
    Smoothing,
    Strain,
    Texture,
    ThermalMotion,
    ZeroPointError,
)
from xxact_core.augmentation.peaks import reflections_to_peaks, sticks_to_reflections
from xxact_core.augmentation.pipeline import augment_sticks
from xxact_core.augmentation.profiles import sample_background, subtract_background
from xxact_core.augmentation.sampling import sample_effects
from xxact_core.augmentation.scans import FEW_COUNTS, measure_scans, sample_counts
from xxact_core.dataset.loading import batches
from xxact_core.dataset.loading.batches import BatchMaker
from xxact_core.dataset.loading.stick_source import StickSource, upload_sticks
from xxact_core.dataset.table import StickTable, read_dataset
from xxact_core.patterns.conversions import CU_K_ALPHA, WAVELENGTHS, change_wavelength
from xxact_core.patterns.grid import GRID
from xxact_core.peak_profiles import torch_kernels
from xxact_core.peak_profiles.corrections import entries_to_metric, march_dollase_factor
from xxact_core.peak_profiles.ragged_sticks import SticksOfRows, sticks_to_two_theta
from xxact_core.peak_profiles.reference import broaden_sticks, sum_peaks
from xxact_core.peak_profiles.shapes import PeakShape
from xxact_core.quantities import CRYSTAL_SYSTEMS
from xxact_core.simulation.lattice import cell_to_reciprocal_metric

CPU = torch.device("cpu")

STRONG: dict[str, Effect] = {
    "strain": Strain(isotropic=(0.01, 0.01), anisotropic=(0.005, 0.005)),
    "other_radiation": OtherRadiation(share=1, anodes=("Mo",)),
    "texture": Texture(share=1, r=(0.6, 0.6)),
    "thermal_motion": ThermalMotion(b=(2, 2)),
    "graininess": Graininess(share=1, spread=(0.4, 0.4)),
    "impurity": Impurity(share=1, weight=(0.2, 0.2)),
    "doublet": Doublet(share=1),
    "displacement": SampleDisplacement(displacement=(0.2, 0.2)),
    "zero_shift": ZeroPointError(shift=(0.1, 0.1)),
    "instrument_width": InstrumentWidth(fwhm=(0.1, 0.1), u=(0.02, 0.02), dip=(0.5, 0.5)),
    "crystallite_size": CrystalliteSize(size=(20, 20)),
    "microstrain": Microstrain(strain=(0.002, 0.002)),
    "peak_shape": PseudoVoigt(lorentzian=(0.8, 0.8)),
    "background": Background(smooth=(0.1, 0.1), remains=(0.5, 0.5)),
    "counting_noise": CountingNoise(counts=(1000, 1000)),
    "limited_range": LimitedRange(share=1, first=(20, 20), last=(60, 60)),
    "calculated_cell": CalculatedCell(scale=(0.985, 0.985)),
    "axial_divergence": AxialDivergence(share=1, divergence=(0.05, 0.05)),
    "k_alpha2": KAlpha2Ratio(share=1, ratio=(0.1, 0.1)),
    "filter_lines": FilterLines(share=1, k_beta=(0.1, 0.1), tungsten=(0.05, 0.05)),
    "filter_edge": FilterEdge(share=1, height=(0.05, 0.05)),
    "scan_step": ScanStep(share=1, step=(0.08, 0.08)),
    "detector_bins": DetectorBins(share=1),
    "smoothing": Smoothing(share=1, width=(0.1, 0.1)),
    "processed_smoothing": ProcessedSmoothing(share=1, width=(0.1, 0.1)),
    "processed_bins": ProcessedBins(share=1, step=(0.1, 0.1)),
}
"""Each effect strong enough to be seen, alike for every pattern."""

NEEDED: dict[str, tuple[Effect, ...]] = {
    "k_alpha2": (Doublet(),),
    "detector_bins": (ScanStep(share=1, step=(0.1, 0.1)),),
}
"""Effects that others change."""


def made(table: StickTable, *effects: Effect, rows: int = 32, seed: int = 0) -> torch.Tensor:
    distortions = AugmentationConfig.only(*effects)
    return BatchMaker(table, device=CPU, augmentation=distortions).batch(np.arange(rows), seed=seed).intensity


def lines_of(table: StickTable, rows: np.ndarray, *effects: Effect, seed: int = 0) -> tuple:
    """(sticks, reflections, lines) after these effects."""
    sticks = StickSource(table, device=CPU).take(rows)
    generator = torch.Generator().manual_seed(seed)
    drawn = sample_effects(AugmentationConfig.only(*effects), len(rows), generator=generator)
    reflections = sticks_to_reflections(sticks, drawn, generator=generator)
    return sticks, reflections, reflections_to_peaks(reflections, drawn, sigma=0.1)


def test_batch_equals_the_exact_smear_of_the_same_sticks(small_table: StickTable) -> None:
    rows = np.arange(0, len(small_table), 7)
    batch = BatchMaker(small_table, device=CPU).batch(rows, seed=0)
    for place, row in enumerate(rows):
        exact = broaden_sticks(small_table.sticks(row), sigma=0.1).intensity
        assert np.abs(exact - batch.intensity[place].numpy()).max() < 0.01
    assert not batch.window_mask.any()


def test_tensors_make_the_same_patterns_where_nothing_can_be_compiled(
    small_table: StickTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = np.arange(40)
    compiled = BatchMaker(small_table, device=CPU).batch(rows, seed=0)

    def missing() -> None:
        msg = "No module named 'numba'"
        raise ImportError(msg)

    monkeypatch.setattr(batches, "compile_stick_loops", missing)
    monkeypatch.setattr(torch_kernels, "compile_loops", missing)
    with pytest.warns(UserWarning, match="numba"):
        plain = BatchMaker(small_table, device=CPU).batch(rows, seed=0)
    torch.testing.assert_close(plain.intensity, compiled.intensity, atol=5e-3, rtol=0)


def test_sticks_that_were_uploaded_are_those_of_the_table(small_table: StickTable) -> None:
    rows = np.array([7, 0, 399])
    source = StickSource(small_table, device=CPU)
    taken = source.take(rows)
    source.uploaded = upload_sticks(small_table, device=CPU)
    uploaded = source.take(rows)
    for name in ("hkl", "intensity", "sample", "metric", "rotations", "rotation_count"):
        assert torch.equal(getattr(taken, name), getattr(uploaded, name)), name
    assert float(taken.intensity.max()) == pytest.approx(100)


def test_sticks_of_another_wavelength_stand_where_copper_shows_them(small_table: StickTable) -> None:
    table = replace(small_table, wavelength=WAVELENGTHS["MoKa"])
    made_now = BatchMaker(table, device=CPU).batch(np.array([3]), seed=0).intensity[0].numpy()
    np.testing.assert_allclose(made_now, broaden_sticks(table.sticks(3)).intensity, atol=0.01)


def test_threads_share_the_work_without_changing_it(small_table: StickTable) -> None:
    rows = np.arange(200)
    one, two = (BatchMaker(small_table, device=CPU, threads=count).batch(rows, seed=0) for count in (1, 2))
    assert torch.equal(one.intensity, two.intensity)


def test_sticks_from_disk_make_the_patterns_of_those_in_memory(small_dataset: Path, small_table: StickTable) -> None:
    streamed = read_dataset(small_dataset, resident=False)
    rows = np.array([3, 399, 0, 201, 17])
    for distortions in (None, AugmentationConfig(share=1.0)):
        made_of_both = [
            BatchMaker(table, device=CPU, augmentation=distortions).batch(rows, seed=2).intensity
            for table in (streamed, small_table)
        ]
        assert torch.equal(*made_of_both)


def test_batch_holds_its_own_rows_whatever_the_order(small_table: StickTable) -> None:
    maker = BatchMaker(small_table, device=CPU)
    rows = np.array([5, 17, 3, 200])
    batch, mirrored = maker.batch(rows, seed=0), maker.batch(rows[::-1].copy(), seed=0)
    torch.testing.assert_close(batch.intensity, mirrored.intensity.flip(0))
    torch.testing.assert_close(batch.fractions, mirrored.fractions.flip(0))
    for place, row in enumerate(rows):
        entries = slice(small_table.element_start[row], small_table.element_start[row + 1])
        present = batch.fractions[place] > 0
        np.testing.assert_array_equal(batch.atomic_numbers[place][present], small_table.atomic_number[entries])
        assert float(batch.targets["band_gap"][place]) == small_table.targets["band_gap"][row]


def test_distorted_batches_are_patterns_and_seeded(small_table: StickTable) -> None:
    maker = BatchMaker(small_table, device=CPU, augmentation=AugmentationConfig(share=1.0))
    rows = np.arange(64)
    batch, again, other = (maker.batch(rows, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(batch.intensity, again.intensity)
    assert not torch.equal(batch.intensity, other.intensity)
    torch.testing.assert_close(batch.intensity.amax(dim=1), torch.full((64,), 100.0))
    assert float(batch.intensity.min()) >= 0
    assert 0 < float(batch.window_mask.float().mean()) < 0.6
    inside = batch.window_mask.repeat_interleave(GRID.window_points, dim=1)
    assert float(batch.intensity[inside].mean()) < float(batch.intensity[~inside].mean())


def test_patterns_that_are_not_distorted_are_exactly_the_ideal_ones(small_table: StickTable) -> None:
    rows = np.arange(64)
    ideal = BatchMaker(small_table, device=CPU).batch(rows, seed=5).intensity
    mixed = BatchMaker(small_table, device=CPU, augmentation=AugmentationConfig()).batch(rows, seed=5).intensity
    same = (ideal == mixed).all(dim=1)
    assert 0.3 < float(same.float().mean()) < 0.9


@pytest.mark.parametrize("name", list(EFFECTS))
def test_each_effect_changes_every_pattern_and_none_but_its_own(small_table: StickTable, name: str) -> None:
    ideal = made(small_table)
    changed = made(small_table, *NEEDED.get(name, ()), STRONG[name])
    exact = BatchMaker(small_table, device=CPU).batch(np.arange(32), seed=0).intensity
    torch.testing.assert_close(ideal, exact, atol=0.01, rtol=0)
    # Texture along a plane that is alike for all crystallites, or a range without lines, leave a few as they are.
    assert float(((changed - ideal).abs().amax(dim=1) > 0.05).float().mean()) > 0.8
    absent = made(small_table, replace(STRONG[name], share=0.0))
    assert torch.equal(absent, made(small_table, replace(STRONG[name], share=0.0)))
    torch.testing.assert_close(absent, ideal, atol=0.01, rtol=0)


def test_a_shift_of_zero_moves_every_line_by_it(small_table: StickTable) -> None:
    sticks, _, lines = lines_of(small_table, np.arange(16), ZeroPointError(shift=(0.3, 0.3)))
    ideal = sticks_to_two_theta(sticks, wavelength=CU_K_ALPHA)
    torch.testing.assert_close(lines.two_theta, ideal + 0.3)


def test_strain_keeps_the_crystal_system(small_table: StickTable) -> None:
    system = CRYSTAL_SYSTEMS.index("cubic")
    rows = np.flatnonzero(small_table.targets["crystal_system"] == system)[:20]
    assert len(rows) > 5
    strained, ideal = (
        lines_of(small_table, rows, effect)[1].inverse_d_squared for effect in (STRONG["strain"], Strain(share=0))
    )
    sample = StickSource(small_table, device=CPU).take(rows).sample
    for place in range(len(rows)):
        scale = (strained / ideal)[sample == place]
        # Calculated cells are cubic to a few parts in a thousand only.
        assert float(scale.max() - scale.min()) < 0.03 * abs(float(scale.mean()) - 1)
        assert abs(float(scale.mean()) - 1) > 1e-3


def test_without_symmetry_a_strain_moves_lines_apart(small_table: StickTable) -> None:
    system = CRYSTAL_SYSTEMS.index("triclinic")
    rows = np.flatnonzero(small_table.targets["crystal_system"] == system)[:5]
    strained, ideal = (
        lines_of(small_table, rows, effect)[1].inverse_d_squared for effect in (STRONG["strain"], Strain(share=0))
    )
    assert float((strained / ideal).std()) > 1e-3


@pytest.mark.parametrize("plane", [(0, 0, 1), (1, 1, 0), (1, -1, 0), (1, 2, 3)])
def test_texture_is_the_mean_over_all_equivalent_axes(small_table: StickTable, plane: tuple) -> None:
    rows = np.arange(0, 400, 19)
    texture = Texture(share=1, r=(0.6, 0.6), planes=(plane,))
    sticks, reflections, _ = lines_of(small_table, rows, texture)
    factor = (reflections.intensity / sticks.intensity.double()).numpy()
    for place, row in enumerate(rows):
        own = slice(small_table.rotation_start[row], small_table.rotation_start[row + 1])
        axes = np.array(plane) @ small_table.rotations[own].astype(np.int64)
        metric = entries_to_metric(cell_to_reciprocal_metric(small_table.cell[row]))
        lines = (sticks.sample == place).numpy()
        hkl = sticks.hkl.numpy()[lines]
        lengths = np.einsum("ni,ij,nj->n", hkl, metric, hkl)[:, None] * np.einsum("ni,ij,nj->n", axes, metric, axes)
        expected = march_dollase_factor((hkl @ metric @ axes.T) ** 2 / lengths, r=0.6).mean(axis=1)
        np.testing.assert_allclose(factor[lines], expected, rtol=1e-6)
        assert len(equivalent_axes(np.array(plane), small_table.rotations[own])) <= len(axes)


def test_an_impurity_has_the_lines_of_another_row_in_its_weight(small_table: StickTable) -> None:
    rows = np.arange(12)
    sticks, reflections, _ = lines_of(small_table, rows, Impurity(share=1, weight=(0.1, 0.1)))
    own = len(sticks.sample)
    assert len(reflections.sample) > own
    torch.testing.assert_close(reflections.inverse_d_squared[:own].sqrt(), _inverse_d(sticks))
    for place in rows:
        foreign = reflections.intensity[own:][reflections.sample[own:] == place]
        assert float(foreign.max()) == pytest.approx(10.0, rel=1e-6)
        assert len(foreign) in {int((sticks.sample == other).sum()) for other in rows if other != place}


def _inverse_d(sticks: SticksOfRows) -> torch.Tensor:
    two_theta = sticks_to_two_theta(sticks, wavelength=CU_K_ALPHA)
    return 2 * torch.sin(torch.deg2rad(two_theta) / 2) / CU_K_ALPHA


def test_a_batch_of_one_has_no_impurity(small_table: StickTable) -> None:
    sticks, reflections, _ = lines_of(small_table, np.array([4]), STRONG["impurity"])
    assert len(reflections.sample) == len(sticks.sample)


def test_lines_are_those_of_the_reference_for_size_strain_instrument_form_and_doublet(small_table: StickTable) -> None:
    shape = PeakShape(
        caglioti=(0.02, -2 * 0.5 * np.sqrt(0.02) * 0.1, 0.01),
        crystallite_size=20,
        microstrain=0.002,
        lorentzian=0.8,
        anode="Cu",
    )
    names = ("instrument_width", "crystallite_size", "microstrain", "peak_shape", "doublet")
    patterns = made(small_table, *(STRONG[name] for name in names), rows=8)
    for row, pattern in enumerate(patterns):
        exact = broaden_sticks(small_table.sticks(row), sigma=0.1, shape=shape).intensity
        assert np.abs(exact - pattern.numpy()).max() < 0.02


def test_another_radiation_shows_the_same_spacings_in_other_ratios_and_range(small_table: StickTable) -> None:
    rows = np.arange(16)
    sticks, _, lines = lines_of(small_table, rows, STRONG["other_radiation"])
    torch.testing.assert_close(lines.two_theta, sticks_to_two_theta(sticks, wavelength=CU_K_ALPHA))
    # The polarisation of Mo hardly falls at these angles: high angles gain, and lines are wider seen at Cu.
    early, late = lines.two_theta < 20, lines.two_theta > 60
    ratio = lines.height / sticks.intensity
    assert float(lines.sigma.min()) > 0.19
    assert float(ratio[early].mean()) < float(ratio[late].mean())
    scan = OtherRadiation(share=1, anodes=("Cr",), first=(10, 10), last=(120, 120))
    batch = BatchMaker(small_table, device=CPU, augmentation=AugmentationConfig.only(scan)).batch(rows, seed=0)
    ends = change_wavelength(np.array([10.0, 120.0]), measured=WAVELENGTHS["CrKa"], target=CU_K_ALPHA)
    outside = torch.tensor((GRID.two_theta < ends[0]) | (GRID.two_theta > ends[1]))
    assert not batch.intensity[:, outside].any()
    assert batch.window_mask[:, -1].all()


def test_shifts_of_another_radiation_happen_on_its_own_axis(small_table: StickTable) -> None:
    sticks, _, lines = lines_of(small_table, np.arange(4), STRONG["other_radiation"], ZeroPointError(shift=(0.2, 0.2)))
    there = sticks_to_two_theta(sticks, wavelength=WAVELENGTHS["MoKa"]).numpy()
    expected = change_wavelength(there + 0.2, measured=WAVELENGTHS["MoKa"], target=CU_K_ALPHA)
    np.testing.assert_allclose(lines.two_theta.numpy(), expected, rtol=1e-9)


@pytest.mark.parametrize("counts", [20.0, 500.0])
def test_noise_is_that_of_counting(counts: float) -> None:
    """Mean and variance of counts are both the expected number, few (Poisson) or many (Gaussian)."""
    effects = AugmentationConfig.only(CountingNoise(counts=(counts, counts)), Background(fluorescence=(0.5, 0.5)))
    drawn = sample_effects(effects, 64, generator=torch.Generator().manual_seed(0))
    profile = torch.full((64, GRID.points), 0.5)
    assert (counts < FEW_COUNTS) == (counts == 20.0)
    per_unit = drawn.values["counting_noise", "counts"].float()
    counted = sample_counts(profile, per_unit, generator=torch.Generator().manual_seed(1)) * counts
    assert float(counted.mean()) == pytest.approx(0.5 * counts, rel=0.01)
    assert float(counted.var()) == pytest.approx(0.5 * counts, rel=0.02)


def test_background_is_subtracted_but_for_what_remains_and_its_noise_stays() -> None:
    effects = AugmentationConfig.only(Background(remains=(0.1, 0.1)), CountingNoise(counts=(1e5, 1e5)))
    drawn = sample_effects(effects, 16, generator=torch.Generator().manual_seed(0))
    background = sample_background(drawn, generator=torch.Generator().manual_seed(1))
    assert float(background.min()) >= 0
    observed = measure_scans(background, drawn, generator=torch.Generator().manual_seed(2))
    left = subtract_background(observed, background, drawn)
    torch.testing.assert_close(left.mean(dim=1), 0.1 * background.mean(dim=1), atol=2e-3, rtol=0)
    assert float((left - 0.1 * background).std()) == pytest.approx(float((background / 1e5).mean().sqrt()), rel=0.05)


def test_an_empty_range_is_no_pattern_but_no_nan_either(small_table: StickTable) -> None:
    sticks = StickSource(small_table, device=CPU).take(np.arange(8))
    everything = AugmentationConfig(share=1.0, limited_range=LimitedRange(share=1.0, first=(45, 45), last=(45.5, 45.5)))
    intensity, hidden = augment_sticks(sticks, everything, sigma=0.1, generator=torch.Generator().manual_seed(0))
    assert bool(torch.isfinite(intensity).all())
    assert bool(hidden.float().mean() > 0.9)


def test_ideal_lines_are_what_the_reference_sums(small_table: StickTable) -> None:
    sticks = small_table.sticks(0)
    direct = sum_peaks(sticks.two_theta, sticks.intensity, np.full(len(sticks.two_theta), 0.1))
    made_now = BatchMaker(small_table, device=CPU).batch(np.array([0]), seed=0).intensity[0].numpy()
    np.testing.assert_allclose(made_now, 100 * direct / direct.max(), atol=0.01)


@pytest.mark.gpu
def test_a_device_is_not_waited_for_when_ideal_batches_are_made(small_table: StickTable) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    maker, rows = BatchMaker(small_table, device=torch.device("cuda")), np.arange(64)
    maker.batch(rows, seed=0)
    torch.cuda.set_sync_debug_mode("error")
    try:
        maker.batch(rows, seed=0)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_the_host_samples_which_patterns_are_augmented(small_table: StickTable) -> None:
    """The draw is that of the seed alone, so that a device and a processor distort the same patterns."""
    rows = np.arange(64)
    ideal = BatchMaker(small_table, device=CPU).batch(rows, seed=3).intensity
    mixed = (
        BatchMaker(small_table, device=CPU, augmentation=AugmentationConfig(share=0.4)).batch(rows, seed=3).intensity
    )
    drawn = torch.rand(64, generator=torch.Generator().manual_seed(3)) < 0.4
    assert torch.equal((ideal != mixed).any(dim=1), drawn)


def test_strained_lattices_keep_their_crystal_system(small_table: StickTable) -> None:
    cpu = torch.device("cpu")
    rows = np.flatnonzero(small_table.targets["crystal_system"] == CRYSTAL_SYSTEMS.index("cubic"))
    assert len(rows)
    ideal = BatchMaker(small_table, device=cpu)
    related = BatchMaker(
        small_table, device=cpu, lattice_strain=Strain(isotropic=(0.01, 0.01), anisotropic=(0.03, 0.03))
    )
    metric = entries_to_metric(related._lattices(rows, generator=torch.Generator().manual_seed(0)))
    before = entries_to_metric(torch.from_numpy(cell_to_reciprocal_metric(small_table.cell[rows])))
    # A cubic lattice stays cubic, as far as it was: of strains of 3 % only the change of its size is left.
    scale = metric[:, 0, 0] / before[:, 0, 0]
    torch.testing.assert_close(metric, before * scale[:, None, None], rtol=3e-3, atol=2e-4)
    assert not torch.allclose(scale, torch.ones_like(scale), atol=1e-3)
    everything = np.arange(len(small_table))
    same, other, again = (maker.batch(everything, seed=1).intensity for maker in (ideal, related, related))
    assert float((same - other).abs().amax(dim=1).min()) > 1
    assert torch.equal(other, again)


def test_a_fraction_of_the_patterns_has_a_strained_lattice(small_table: StickTable) -> None:
    cpu, rows = torch.device("cpu"), np.arange(300) % len(small_table)
    some = Strain(share=0.3, isotropic=(0.01, 0.02), anisotropic=(0.01, 0.02))
    same, other = (
        BatchMaker(small_table, device=cpu, lattice_strain=strain).batch(rows, seed=0).intensity
        for strain in (None, some)
    )
    assert float((same != other).any(dim=1).float().mean()) == pytest.approx(0.3, abs=0.1)
