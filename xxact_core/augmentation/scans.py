"""Expected intensities on the grid → counts at the points of a scan → smoothed by software → interpolated to the grid.

The scan has its own step and first angle. Going back to the grid follows `processing.resampling.points_to_grid`, as for
a measured file: steps as coarse as the grid's or coarser are interpolated linearly, finer ones averaged over each cell.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from xxact_core.augmentation.sampling import SampledEffects
from xxact_core.patterns.grid import GRID
from xxact_core.peak_profiles.smoothing import smooth, smoothing_weights

FEW_COUNTS = 50
"""Expected counts below which a Poisson distribution is sampled; above, a Gaussian of the same mean and variance,
whose skewness 1/√n is then below 0.15."""

AVERAGED_BELOW = 0.99
"""Step relative to the grid's below which points are averaged over each cell: that of `points_to_grid`."""


_BEFORE = 2
"""Points of a scan before and after those of the grid, over which the cells of the grid's ends are averaged."""


@dataclass(frozen=True)
class ScanPoints:
    """Angles of the points of a batch of scans."""

    step: Float[Tensor, " batch"]
    """Step [deg]."""
    before: Float[Tensor, " batch"]
    """Position of the first point of the grid relative to that of the scan, in steps of the scan, at least 0."""
    count: int
    """Points of each scan; all reach beyond the end of the grid."""

    def grid_positions(self, *, dtype: torch.dtype = torch.float32) -> Float[Tensor, "batch points"]:
        """Positions of the points of the grid in steps of each scan, from its first point."""
        points = torch.arange(GRID.points, device=self.step.device, dtype=dtype)
        return points * (GRID.step / self.step.to(dtype))[:, None] + self.before[:, None]

    def positions_on_grid(self) -> Float[Tensor, "batch scan_points"]:
        """Positions of the points of the scans in steps of the grid, from its first point."""
        points = torch.arange(self.count, device=self.step.device, dtype=torch.float32)
        return (points - self.before[:, None]) * (self.step / GRID.step)[:, None]


def sample_counts(
    expected: Float[Tensor, "batch points"], counts: Float[Tensor, " batch"], *, generator: torch.Generator
) -> Float[Tensor, "batch points"]:
    """Observed intensities, from expected ones and the counts per unit of intensity; all without noise for infinity."""
    per_unit = counts[:, None]
    noise = torch.randn(expected.shape, generator=generator, device=expected.device)
    observed = noise.mul_((expected / per_unit).sqrt_()).add_(expected)
    few = (expected * per_unit < FEW_COUNTS).nonzero(as_tuple=True)
    per_intensity = counts[few[0]]
    observed[few] = torch.poisson(expected[few] * per_intensity, generator=generator) / per_intensity
    return observed


def measure_scans(
    expected: Float[Tensor, "batch points"], effects: SampledEffects, *, generator: torch.Generator
) -> Float[Tensor, "batch points"]:
    """Expected intensities on the grid as a diffractometer measures them, and software stores and resamples them."""
    noisy = "counting_noise" in effects.occurring
    counts = effects.values["counting_noise", "counts"].float()
    scanned = effects.present["scan_step"] | effects.present["smoothing"]
    if not effects.occurring & {"scan_step", "smoothing"}:
        return sample_counts(expected, counts, generator=generator) if noisy else expected
    step = effects.values["scan_step", "step"].float()
    fine = step < AVERAGED_BELOW * GRID.step
    observed = torch.empty_like(expected)
    # Fine steps have up to twice the points of the others, so that their patterns are computed apart.
    for own, resampled in ((~scanned, False), (scanned & ~fine, True), (scanned & fine, True)):
        rows = own.nonzero().squeeze(1)
        if not len(rows):
            continue
        values, points = expected[rows], None
        if resampled:
            points = sample_points(step[rows], own=effects.present["scan_step"][rows], generator=generator)
            values = grid_to_scan(values, points, binned=effects.present["detector_bins"][rows])
        if noisy:
            values = sample_counts(values, counts[rows], generator=generator)
        observed[rows] = values if points is None else scan_to_grid(_smoothed(values, points, effects, rows), points)
    return observed


def sample_points(
    step: Float[Tensor, " batch"], *, own: Bool[Tensor, " batch"], generator: torch.Generator
) -> ScanPoints:
    """Points of scans with these steps [deg], the first at random; those without a step of their own are the grid's."""
    before = _BEFORE + torch.rand(len(step), generator=generator, device=step.device)
    count = int(GRID.points * GRID.step / float(step.min())) + 2 * _BEFORE + 3
    return ScanPoints(step, torch.where(own, before, 0.0), count)


def grid_to_scan(
    expected: Float[Tensor, "batch points"], points: ScanPoints, *, binned: Bool[Tensor, " batch"]
) -> Float[Tensor, "batch scan_points"]:
    """Intensities at the points of scans: between those of the grid, or means over bins as wide as the step."""
    position = points.positions_on_grid()
    values = interpolate_rows(expected, position)
    rows = binned.nonzero().squeeze(1)
    if len(rows):
        total = torch.nn.functional.pad(expected[rows].double().cumsum(1), (1, 0))
        half = (points.step[rows] / GRID.step / 2)[:, None]
        # The sum up to a position, where the point i of the grid covers i - 1/2 to i + 1/2.
        upper, lower = (interpolate_rows(total, position[rows] + 0.5 + side * half) for side in (1, -1))
        values[rows] = ((upper - lower) / (2 * half)).float()
    return values.clamp_(min=0)


def scan_to_grid(scan: Float[Tensor, "batch scan_points"], points: ScanPoints) -> Float[Tensor, "batch points"]:
    """Intensities at the points of the grid: interpolated, or means over the cells where steps are finer."""
    averaged = points.step < AVERAGED_BELOW * GRID.step
    if not averaged.any():
        return interpolate_rows(scan, points.grid_positions())
    position = points.grid_positions(dtype=torch.float64)  # integrals of 8,500 points, of which differences are taken
    total = torch.nn.functional.pad(((scan[:, 1:] + scan[:, :-1]) / 2).double().cumsum(1), (1, 0))
    half = (GRID.step / points.step / 2)[:, None]
    upper, lower = (_integral(scan, total, position + side * half) for side in (1, -1))
    means = ((upper - lower) / (2 * half)).float()
    return means if averaged.all() else torch.where(averaged[:, None], means, interpolate_rows(scan, position))


def _integral(scan: Tensor, total: Tensor, position: Tensor) -> Float[Tensor, "batch points"]:
    """Integral of the linearly interpolated scan up to positions in steps."""
    index = position.floor().long().clamp_(0, scan.shape[1] - 2)
    rest = (position - index).clamp_(0, 1)
    low, high = scan.gather(1, index), scan.gather(1, index + 1)
    integral: Tensor = total.gather(1, index) + rest * low + rest.square() / 2 * (high - low)
    return integral


def interpolate_rows(
    values: Float[Tensor, "batch points"], position: Float[Tensor, "batch others"]
) -> Float[Tensor, "batch others"]:
    """Linear interpolation of each row at positions in points; the end values continue beyond the ends."""
    index = position.floor().long().clamp_(0, values.shape[1] - 2)
    return torch.lerp(values.gather(1, index), values.gather(1, index + 1), (position - index).clamp_(0, 1).to(values))


def _smoothed(scan: Tensor, points: ScanPoints, effects: SampledEffects, rows: Tensor) -> Tensor:
    """The scans after smoothing by software, where they are smoothed."""
    chosen = effects.present["smoothing"][rows].nonzero().squeeze(1)
    if not len(chosen):
        return scan
    width = effects.values["smoothing", "width"].float()[rows[chosen]] / points.step[chosen]
    scan[chosen] = smooth(scan[chosen], smoothing_weights(width, effects.filter_number[rows[chosen]]))
    return scan


def reprocess(
    profile: Float[Tensor, "batch points"],
    measured: Bool[Tensor, "batch points"],
    effects: SampledEffects,
    *,
    generator: torch.Generator,
) -> Float[Tensor, "batch points"]:
    """Processed patterns, at least 0, that software smooths or bins before they are processed once more."""
    smoothed, binned = effects.present["processed_smoothing"], effects.present["processed_bins"]
    rows = binned.nonzero().squeeze(1)
    if len(rows):
        step = effects.values["processed_bins", "step"].float()[rows]
        points = sample_points(step, own=torch.ones_like(rows, dtype=torch.bool), generator=generator)
        scan = grid_to_scan(profile[rows], points, binned=torch.ones_like(rows, dtype=torch.bool))
        profile[rows] = scan_to_grid(scan, points)
    rows = smoothed.nonzero().squeeze(1)
    if len(rows):
        width = effects.values["processed_smoothing", "width"].float()[rows] / GRID.step
        values = smooth(profile[rows], smoothing_weights(width, torch.zeros_like(rows)))
        base = torch.where(measured[rows], values, torch.nan).nanmedian(dim=1).values.nan_to_num(0.0)
        subtracted = effects.values["processed_smoothing", "subtracted"].float()[rows]
        profile[rows] = (values - (base * subtracted)[:, None]).clamp_(min=0)
    return profile.mul_(measured)
