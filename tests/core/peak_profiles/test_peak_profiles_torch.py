"""Lines summed fast, compiled or by torch, are the exact sums: any width, form and order, on the grid and off it."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from xxact_core.patterns.conversions import CU_K_ALPHA
from xxact_core.patterns.grid import GRID, TwoThetaGrid
from xxact_core.patterns.pattern import Sticks
from xxact_core.peak_profiles import torch_kernels
from xxact_core.peak_profiles.fast import broaden_arrays
from xxact_core.peak_profiles.peak_sums import compile_loops
from xxact_core.peak_profiles.reference import broaden_sticks, sum_peaks
from xxact_core.peak_profiles.shapes import PeakShape, heights_of_equal_area, split_doublet
from xxact_core.peak_profiles.torch_kernels import broaden_peaks, broaden_tensors

both_ways = pytest.mark.parametrize("way", ["compiled", "tensors"])


@dataclass(frozen=True)
class Lines:
    """Lines of a batch, with a width and a share for each line."""

    two_theta: Tensor
    intensity: Tensor
    sample: Tensor
    sigma: Tensor
    share: Tensor
    batch: int


def broaden_by(way: str, *lines: Tensor, **options: object) -> Tensor:
    with pytest.MonkeyPatch.context() as patch:
        if way == "tensors":
            patch.setattr(torch_kernels, "_numba_is_there", lambda: False)
        return broaden_peaks(*lines, **options)


def exact(lines: Lines) -> np.ndarray:
    """The float64 sum of each pattern, shape (batch, points)."""
    rows = []
    for pattern in range(lines.batch):
        own = (lines.sample == pattern).numpy()
        values = (tensor.double().numpy()[own] for tensor in (lines.two_theta, lines.intensity, lines.sigma))
        rows.append(sum_peaks(*values, lorentzian_share=lines.share.double().numpy()[own]))
    return np.stack(rows)


def largest_error(profile: Tensor, expected: np.ndarray) -> float:
    """Largest difference where every pattern's exact maximum is 100."""
    scale = 100 / expected.max(axis=1, keepdims=True)
    return float(np.abs(scale * profile.double().numpy() - scale * expected).max())


def random_lines(*, batch: int, peaks: int, seed: int, dtype: torch.dtype = torch.float64) -> Lines:
    """Lines in any order: patterns of many weak lines and few strong ones, σ of each pattern 0.03-0.3°."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    sample = torch.randint(batch, (peaks,), generator=generator)
    two_theta = (5 + 85 * uniform(peaks).double()).to(dtype)
    sigma = 0.03 + 0.27 * uniform(batch)
    return Lines(two_theta, 100 * uniform(peaks) ** 4, sample, sigma[sample], uniform(batch)[sample], batch)


@st.composite
def drawn_lines(draw: st.DrawFn) -> Lines:
    """A few lines of a few patterns, on the grid and beside it, also at one place; every width, form and precision."""
    batch = draw(st.integers(1, 4))
    line = st.tuples(
        st.floats(-2, 97) | st.sampled_from([4.99, 5.0, 40.0, 40.01, 89.98, 90.0]),
        st.floats(0, 100),
        st.integers(0, batch - 1),
        st.floats(0.02, 0.6),
        st.sampled_from([0.0, 1.0]) | st.floats(0, 1),
    )
    columns = np.array(draw(st.lists(line, max_size=12)), dtype=np.float64).reshape(-1, 5).T
    two_theta, intensity, sample, sigma, share = torch.from_numpy(columns)
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))
    return Lines(two_theta.to(dtype), intensity.float(), sample.long(), sigma.float(), share.float(), batch)


@both_ways
@settings(max_examples=150)
@given(lines=drawn_lines(), lorentzian=st.booleans())
def test_sum_is_exact_for_lines_of_any_width_form_and_place(way: str, lines: Lines, lorentzian: bool) -> None:
    profile = broaden_by(
        way,
        lines.two_theta,
        lines.intensity,
        lines.sample,
        batch=lines.batch,
        peak_sigma=lines.sigma,
        peak_lorentzian=lines.share if lorentzian else None,
    )
    if not lorentzian:
        lines = Lines(
            lines.two_theta, lines.intensity, lines.sample, lines.sigma, torch.zeros_like(lines.share), lines.batch
        )
    expected = exact(lines)
    assert profile.shape == (lines.batch, GRID.points)
    assert profile.dtype == torch.float32
    assert profile.is_contiguous()
    # Each line is right to 2e-5 of its height, wherever it stands.
    np.testing.assert_allclose(profile.numpy(), expected, rtol=1e-5, atol=2e-5 * float(lines.intensity.sum()) + 1e-12)


@both_ways
@pytest.mark.parametrize("form", ["gaussian", "pseudo-voigt"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_error_of_dense_patterns_stays_below_a_hundredth_of_a_percent(way: str, form: str, dtype: torch.dtype) -> None:
    lines = random_lines(batch=12, peaks=12 * 346, seed=1, dtype=dtype)
    first = [int(torch.nonzero(lines.sample == pattern)[0]) for pattern in range(12)]
    share = lines.share if form == "pseudo-voigt" else torch.zeros_like(lines.share)
    profile = broaden_by(
        way,
        lines.two_theta,
        lines.intensity,
        lines.sample,
        batch=12,
        sigma=lines.sigma[first],
        lorentzian=share[first] if form == "pseudo-voigt" else None,
    )
    of_form = Lines(lines.two_theta, lines.intensity, lines.sample, lines.sigma, share, 12)
    assert largest_error(profile, exact(of_form)) < 0.005


@both_ways
def test_widths_and_shares_of_patterns_are_those_of_all_their_lines(way: str) -> None:
    lines = random_lines(batch=5, peaks=300, seed=2)
    positions = (lines.two_theta, lines.intensity, lines.sample)
    sigma, share = torch.linspace(0.05, 0.2, 5), torch.linspace(0, 1, 5)
    of_patterns = broaden_by(way, *positions, batch=5, sigma=sigma, lorentzian=share)
    for options in (
        {"peak_sigma": sigma[lines.sample], "peak_lorentzian": share[lines.sample]},
        {"peak_sigma": sigma[lines.sample], "lorentzian": share},
        {"sigma": sigma, "peak_lorentzian": share[lines.sample]},
    ):
        torch.testing.assert_close(broaden_by(way, *positions, batch=5, **options), of_patterns)


@both_ways
def test_as_many_lines_as_patterns_are_no_riddle(way: str) -> None:
    positions, heights = torch.tensor([20.0, 60.0]), torch.ones(2)
    swapped = torch.tensor([1, 0])
    sigma = torch.tensor([0.05, 0.2])
    of_patterns = broaden_by(way, positions, heights, swapped, batch=2, sigma=sigma)
    of_lines = broaden_by(way, positions, heights, swapped, batch=2, peak_sigma=sigma)
    areas = sigma * (2 * torch.pi) ** 0.5 / GRID.step
    torch.testing.assert_close(of_patterns.sum(dim=1), areas, rtol=1e-4, atol=0)
    torch.testing.assert_close(of_lines.sum(dim=1), areas.flip(0), rtol=1e-4, atol=0)


@both_ways
@pytest.mark.parametrize(
    "shape",
    [
        PeakShape(caglioti=(0.03, -0.02, 0.02)),
        PeakShape(crystallite_size=15.0, microstrain=2e-3, lorentzian=0.6),
        PeakShape(anode="Cu", microstrain=1e-3),
    ],
)
def test_lines_of_an_instrument_equal_the_reference_pattern(way: str, shape: PeakShape) -> None:
    generator = np.random.default_rng(3)
    sticks = Sticks(generator.uniform(5, 90, 80), generator.exponential(20, 80), CU_K_ALPHA)
    positions, heights = sticks.two_theta, sticks.intensity
    if shape.anode is not None:
        positions, heights = split_doublet(positions, heights, anode=shape.anode)
    sigma = shape.sigma(positions, sigma=0.06)
    heights = heights_of_equal_area(heights, sigma=sigma, reference=0.06)
    profile = broaden_by(
        way,
        *(torch.tensor(values) for values in (positions, heights)),
        torch.zeros(len(positions), dtype=torch.long),
        batch=1,
        peak_sigma=torch.from_numpy(sigma),
        lorentzian=torch.tensor([shape.lorentzian]),
    )
    expected = broaden_sticks(sticks, sigma=0.06, shape=shape).intensity
    np.testing.assert_allclose(100 * profile[0].numpy() / profile[0].max().item(), expected, atol=0.005)


@both_ways
def test_patterns_without_lines_and_batches_without_lines_are_zero(way: str) -> None:
    nothing = torch.empty(0)
    for share in (None, torch.full((3,), 0.5)):
        empty = broaden_by(
            way, nothing, nothing, nothing.long(), batch=3, sigma=torch.full((3,), 0.1), lorentzian=share
        )
        assert empty.shape == (3, GRID.points)
        assert not empty.any()
        last = broaden_by(
            way,
            torch.tensor([40.0]),
            torch.ones(1),
            torch.tensor([2]),
            batch=3,
            sigma=torch.full((3,), 0.1),
            lorentzian=share,
        )
        assert not last[:2].any()
        assert float(last[2].max()) == pytest.approx(1, abs=1e-5)


@both_ways
def test_lines_that_no_angle_shows_add_nothing(way: str) -> None:
    positions = torch.tensor([40.0, float("nan"), float("inf"), -float("inf"), 1e30, -1e30])
    width, share, sample = torch.tensor([0.1]), torch.ones(1), torch.zeros(6).long()
    lost = broaden_by(way, positions, torch.ones(6), sample, batch=1, sigma=width, lorentzian=share)
    alone = broaden_by(way, positions[:1], torch.ones(1), sample[:1], batch=1, sigma=width, lorentzian=share)
    torch.testing.assert_close(lost, alone)


@both_ways
def test_the_order_of_lines_does_not_matter_and_runs_agree(way: str) -> None:
    lines = random_lines(batch=6, peaks=500, seed=4)
    sigma = torch.full((6,), 0.1)
    order = torch.argsort(lines.sample, stable=True)
    given_as = [lines.two_theta, lines.intensity, lines.sample]
    one = broaden_by(way, *given_as, batch=6, sigma=sigma)
    assert torch.equal(one, broaden_by(way, *given_as, batch=6, sigma=sigma))
    torch.testing.assert_close(broaden_by(way, *(values[order] for values in given_as), batch=6, sigma=sigma), one)


@both_ways
def test_a_given_buffer_is_overwritten_and_returned(way: str) -> None:
    lines = random_lines(batch=3, peaks=60, seed=5)
    arguments = (lines.two_theta, lines.intensity, lines.sample)
    buffer = torch.full((3, GRID.points), float("nan"))
    sigma = torch.full((3,), 0.1)
    assert broaden_by(way, *arguments, batch=3, sigma=sigma, out=buffer) is buffer
    torch.testing.assert_close(buffer, broaden_by(way, *arguments, batch=3, sigma=sigma))


@both_ways
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sigma": None}, "sigma or peak_sigma"),
        ({"peak_sigma": torch.ones(4)}, "sigma or peak_sigma"),
        ({"lorentzian": torch.ones(3), "peak_lorentzian": torch.ones(4)}, "lorentzian"),
        ({"sigma": torch.ones(4)}, r"sigma has shape \(4,\); expected \(3,\)"),
        ({"lorentzian": torch.ones(2)}, r"lorentzian has shape \(2,\); expected \(3,\)"),
        ({"batch": 2, "sigma": torch.ones(2)}, "sample runs from 0 to 2; expected patterns 0 to 1"),
        ({"sigma": torch.tensor([0.1, 0.0, 0.1])}, "positive number of degrees"),
        ({"sigma": torch.tensor([0.1, float("nan"), 0.1])}, "positive number of degrees"),
        ({"out": torch.ones(3, 4000)}, r"out has shape \(3, 4000\); expected \(3, 4250\)"),
    ],
)
def test_lines_that_do_not_fit_together_are_refused(way: str, change: dict[str, object], message: str) -> None:
    options: dict[str, object] = {"batch": 3, "sigma": torch.full((3,), 0.1)}
    with pytest.raises(ValueError, match=message):
        broaden_by(way, torch.full((4,), 40.0), torch.ones(4), torch.tensor([0, 1, 1, 2]), **options | change)


@both_ways
def test_a_negative_sample_is_refused(way: str) -> None:
    with pytest.raises(ValueError, match="sample runs from -1"):
        broaden_by(way, torch.ones(1), torch.ones(1), torch.tensor([-1]), batch=1, sigma=torch.ones(1))


@both_ways
@pytest.mark.parametrize("stranger", [-1, 2])
def test_a_sample_of_no_pattern_is_refused_beside_shares_of_lines(way: str, stranger: int) -> None:
    samples = torch.tensor([0, stranger])
    with pytest.raises(ValueError, match="expected patterns 0 to 1"):
        broaden_by(
            way, torch.ones(2), torch.ones(2), samples, batch=2, sigma=torch.ones(2), peak_lorentzian=torch.ones(2)
        )


def test_a_buffer_with_gaps_or_of_another_type_is_refused() -> None:
    line = np.array([40.0]), np.ones(1), np.zeros(1, dtype=np.int64)
    for buffer in (np.empty((1, 2 * GRID.points), dtype=np.float32)[:, ::2], np.empty((1, GRID.points))):
        with pytest.raises(ValueError, match="expected contiguous float32"):
            broaden_arrays(*line, buffer, sigma=np.array([0.1]))


@both_ways
def test_a_width_beyond_all_bounds_is_a_constant(way: str) -> None:
    wide = broaden_by(
        way, torch.tensor([40.0]), torch.ones(1), torch.zeros(1).long(), batch=1, sigma=torch.ones(1) * 5e3
    )
    torch.testing.assert_close(wide, torch.ones_like(wide), rtol=0, atol=1e-4)


@both_ways
def test_parameters_that_are_learned_give_a_profile_without_a_gradient(way: str) -> None:
    sigma = torch.full((1,), 0.1, requires_grad=True)
    profile = broaden_by(way, torch.tensor([40.0]), torch.ones(1), torch.zeros(1).long(), batch=1, sigma=sigma)
    assert not profile.requires_grad


def test_without_numba_the_sum_is_the_same_and_a_warning_says_that_it_is_slower(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = random_lines(batch=4, peaks=200, seed=6)
    arguments = (lines.two_theta, lines.intensity, lines.sample)
    compiled = broaden_peaks(*arguments, batch=4, peak_sigma=lines.sigma, peak_lorentzian=lines.share)
    monkeypatch.setitem(sys.modules, "numba", None)
    compile_loops.cache_clear()
    with pytest.warns(UserWarning, match=r"by torch, which is slower: .*numba"):
        slower = broaden_peaks(*arguments, batch=4, peak_sigma=lines.sigma, peak_lorentzian=lines.share)
    torch.testing.assert_close(slower, compiled, rtol=0, atol=1e-4 * float(compiled.max()))


def test_where_no_folder_keeps_the_compiled_sum_it_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    from numba.core import caching

    lines = random_lines(batch=2, peaks=50, seed=7)
    arguments = (lines.two_theta, lines.intensity, lines.sample)
    kept = broaden_peaks(*arguments, batch=2, peak_sigma=lines.sigma)
    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])
    compile_loops.cache_clear()
    assert torch.equal(broaden_peaks(*arguments, batch=2, peak_sigma=lines.sigma), kept)


def test_batches_made_in_threads_are_those_made_one_after_another() -> None:
    batches = [random_lines(batch=8, peaks=2000, seed=seed) for seed in range(8)]

    def broaden_one(lines: Lines) -> Tensor:
        return broaden_peaks(lines.two_theta, lines.intensity, lines.sample, batch=8, peak_sigma=lines.sigma)

    alone = [broaden_one(lines) for lines in batches]
    with ThreadPoolExecutor(4) as pool:
        for together, expected in zip(pool.map(broaden_one, batches), alone, strict=True):
            assert torch.equal(together, expected)


def test_another_grid_is_summed_on_its_own_points() -> None:
    grid = TwoThetaGrid(start=10.0, step=0.05, points=700, windows=7)
    generator = np.random.default_rng(8)
    positions, heights = generator.uniform(8, 50, 60), generator.uniform(0, 1, 60)
    out = np.empty((1, 700), dtype=np.float32)
    sample = np.zeros(60, dtype=np.int32)
    broaden_arrays(positions, heights, sample, out, sigma=np.array([0.15]), lorentzian=np.array([0.3]), grid=grid)
    expected = sum_peaks(positions, heights, np.full(60, 0.15), lorentzian_share=0.3, grid=grid)
    np.testing.assert_allclose(out[0], expected, atol=2e-5)


def test_tensors_are_smeared_alike_whatever_widest_allows() -> None:
    lines = random_lines(batch=3, peaks=90, seed=9)
    out, again = torch.empty(2, 3, GRID.points)
    for buffer, widest in ((out, None), (again, 0.001)):
        broaden_tensors(
            lines.two_theta, lines.intensity, lines.sample, buffer, sigma=lines.sigma, per_peak=True, widest=widest
        )
    assert torch.equal(out, again)


@pytest.mark.gpu
def test_a_device_sums_what_the_processor_sums() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    lines = random_lines(batch=6, peaks=2000, seed=10)
    tensors = (lines.two_theta, lines.intensity, lines.sample, lines.sigma, lines.share)
    there = [tensor.cuda() for tensor in tensors]
    here = broaden_peaks(*tensors[:3], batch=6, peak_sigma=tensors[3], peak_lorentzian=tensors[4])
    profile = broaden_peaks(*there[:3], batch=6, peak_sigma=there[3], peak_lorentzian=there[4], widest=0.3)
    torch.testing.assert_close(profile.cpu(), here, rtol=0, atol=1e-4 * float(here.max()))
