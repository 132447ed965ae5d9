"""Peaks of a batch → profiles on the shared grid, on any device: the fast form of `reference.sum_peaks`."""

from __future__ import annotations

import math
import warnings

import torch
from jaxtyping import Float, Int
from torch import Tensor

from xxact_core.patterns.grid import GRID
from xxact_core.peak_profiles.fast import box_nodes, broaden_arrays, check_shapes
from xxact_core.peak_profiles.peak_sums import BOX, FARTHEST, NODES, REACH, compile_loops
from xxact_core.peak_profiles.shapes import sigma_to_fwhm

_CACHED, _PARALLEL = 2**18, 2**26
"""Values computed at once: as many as fit a CPU cache, and as keep a GPU busy within its memory."""

_RUNS = 32
"""Groups of peaks of similar width that are summed one after another. With 32, an augmented peak is summed over 63
points on average, where the widest of a batch needs 183."""

_BOXES = math.ceil(GRID.points / BOX)

_BESIDE = 3
"""Boxes beyond the grid on either side, so that peaks off the grid need no special case."""


def broaden_peaks(
    two_theta: Float[Tensor, " peaks"],
    intensity: Float[Tensor, " peaks"],
    sample: Int[Tensor, " peaks"],
    *,
    batch: int,
    sigma: Float[Tensor, " batch"] | None = None,
    peak_sigma: Float[Tensor, " peaks"] | None = None,
    lorentzian: Float[Tensor, " batch"] | None = None,
    peak_lorentzian: Float[Tensor, " peaks"] | None = None,
    widest: float | None = None,
    out: Float[Tensor, "batch points"] | None = None,
) -> Float[Tensor, "batch points"]:
    """Sum of peaks of height `intensity` on the shared grid, float32, not scaled, without a gradient.

    Scaled to a maximum of 100, a profile is within 0.01 of the exact sum. On a CPU the sum is compiled by numba,
    and the same at every run.

    Args:
        two_theta: positions [deg], float32 or float64; a peak off the grid contributes as far as it extends into it,
            one without a finite position not at all.
        intensity: heights at the positions, in any unit. For broadened peaks that keep their areas, see
            `shapes.heights_of_equal_area`.
        sample: pattern of each peak, 0 to batch - 1, in any order.
        batch: number of patterns; those without peaks are zero everywhere.
        sigma: a width above 0 for each pattern [deg]; or else
        peak_sigma: a width above 0 for each peak [deg].
        lorentzian: Lorentzian fraction η for each pattern (0-1); or else
        peak_lorentzian: fraction η for each peak; without either the peaks are Gaussian.
        widest: upper limit of the widths [deg]; if given, the device is not synchronised.
        out: written to and returned, shape (batch, points), float32; saves allocating memory.

    Raises:
        ValueError: no width or two, two shares, or shapes that disagree; and, on a CPU only because it
            would synchronise a device, a sample outside the batch or a width that is not above 0.
    """
    if (sigma is None) == (peak_sigma is None) or not (lorentzian is None or peak_lorentzian is None):
        msg = "expected sigma or peak_sigma, and at most one of lorentzian and peak_lorentzian"
        raise ValueError(msg)
    per_peak = peak_sigma is not None or peak_lorentzian is not None
    width = _of_each(sigma, peak_sigma, sample, per_peak=per_peak)
    share = _of_each(lorentzian, peak_lorentzian, sample, per_peak=per_peak)
    assert width is not None
    if out is None:
        out = torch.empty((batch, GRID.points), dtype=torch.float32, device=two_theta.device)
    if two_theta.device.type != "cpu" or not _numba_is_there():
        broaden_tensors(
            two_theta, intensity, sample, out, sigma=width, lorentzian=share, per_peak=per_peak, widest=widest
        )
        return out
    broaden_arrays(
        two_theta.detach().numpy(),
        intensity.detach().numpy(),
        sample.numpy(),
        out.numpy(),
        sigma=width.detach().numpy(),
        lorentzian=None if share is None else share.detach().numpy(),
        per_peak=per_peak,
    )
    return out


@torch.no_grad()
def broaden_tensors(
    two_theta: Tensor,
    intensity: Tensor,
    sample: Tensor,
    out: Tensor,
    *,
    sigma: Tensor,
    lorentzian: Tensor | None = None,
    per_peak: bool = False,
    widest: float | None = None,
) -> None:
    """`fast.broaden_arrays` with operations of torch, for every device.

    Arguments as there and in `broaden_peaks`. On a device other than the CPU, the order of summation may differ between
    runs, unless torch is set to be deterministic.
    """
    check_shapes(two_theta, intensity, sample, out, sigma=sigma, lorentzian=lorentzian, per_peak=per_peak)
    on_cpu = two_theta.device.type == "cpu"
    if on_cpu:
        _check_samples(sample, batch=len(out))
    own = slice(None) if per_peak else sample
    width = (sigma[own] / GRID.step).float()
    if on_cpu and not bool(((width > 0) & width.isfinite()).all()):
        msg = "sigma holds a width that is not a positive number of degrees 2θ"
        raise ValueError(msg)
    share = None if lorentzian is None else lorentzian[own].float()
    exact = (two_theta.double() - GRID.start) / GRID.step
    place = exact.nan_to_num().clamp(-FARTHEST, FARTHEST)
    height = torch.where(exact.isfinite(), intensity, 0.0).float()
    order: Tensor | slice = slice(None)
    if widest is None or on_cpu:
        order = width.argsort(stable=True)
        pieces = _groups_of_similar_width(width[order])
    else:
        pieces = [(0, len(place), _reach_of(widest / GRID.step))]
    margin = 2 * max(2 * BOX, *(reach for _, _, reach in pieces))
    # A margin on both sides takes the contributions off the grid, so that no index has to be checked.
    padded = torch.zeros((len(out), GRID.points + 2 * margin), device=out.device)
    origin = sample * padded.shape[1] + margin
    if share is not None:
        _add_lorentzians(padded, place, height * share, width, sample, origin, margin=margin)
        height = height * (1 - share)
    place, height, width, origin = place[order], height[order], width[order], origin[order]
    for first, last, reach in pieces:
        together = max(1, (_CACHED if on_cpu else _PARALLEL) // (2 * reach + 1))
        for start in range(first, last, together):
            lines = slice(start, min(start + together, last))
            _add_gaussians(padded, place[lines], height[lines], width[lines], origin[lines], reach=reach)
    out.copy_(padded[:, margin : margin + GRID.points])


def _reach_of(width: float) -> int:
    """Points over which a Gaussian is summed to either side; width in grid steps."""
    return math.ceil(REACH * width) + 1


def _groups_of_similar_width(width: Tensor) -> list[tuple[int, int, int]]:
    """First and last peak of groups of similar width, and the reach of the widest of each; widths increase.

    A peak is summed over the reach of the widest in its group. Synchronises the device once.
    """
    lasts = [len(width) * (number + 1) // _RUNS for number in range(_RUNS)]
    widest = torch.stack([width[last - 1] for last in lasts]).tolist() if len(width) else [0.0] * _RUNS
    return [
        (first, last, _reach_of(wide))
        for first, last, wide in zip([0, *lasts[:-1]], lasts, widest, strict=True)
        if last > first
    ] or [(0, 0, 1)]


def _add_gaussians(padded: Tensor, place: Tensor, height: Tensor, width: Tensor, origin: Tensor, *, reach: int) -> None:
    centre = place.round().clamp(-reach, GRID.points - 1 + reach)
    offsets = torch.arange(-reach, reach + 1, device=place.device)
    values = (centre - place).float()[:, None] + offsets
    values.square_().mul_((-0.5 / width.square())[:, None]).exp_().mul_(height[:, None])
    index = (origin + centre.long())[:, None] + offsets
    padded.view(-1).scatter_add_(0, index.view(-1), values.view(-1))


def _add_lorentzians(
    padded: Tensor, place: Tensor, height: Tensor, width: Tensor, sample: Tensor, origin: Tensor, *, margin: int
) -> None:
    """Point by point in the box of each peak and its two neighbours, elsewhere at the nodes of the boxes."""
    nodes, weights = (torch.as_tensor(array, dtype=torch.float32, device=place.device) for array in box_nodes())
    box_of_node = torch.arange(-_BESIDE, _BOXES + _BESIDE, device=place.device).repeat_interleave(NODES)
    node_places = box_of_node * BOX + nodes.repeat(_BOXES + 2 * _BESIDE)
    three_boxes = torch.arange(3 * NODES, device=place.device)
    points = torch.arange(3 * BOX, device=place.device)
    tails = torch.zeros((len(padded), len(node_places)), device=place.device)
    box = (place / BOX).floor().clamp(-2, _BOXES + 1).long()
    begin = (box - 1) * BOX
    fwhm = sigma_to_fwhm(width)
    count = (_CACHED if place.device.type == "cpu" else _PARALLEL) // len(node_places)
    for first in range(0, len(place), count):
        lines = slice(first, first + count)
        form = {"fwhm": fwhm[lines, None], "height": height[lines, None]}
        far = _lorentzian_(node_places - place[lines, None].float(), **form)
        around = ((box[lines] - 1 + _BESIDE) * NODES)[:, None] + three_boxes
        tails.index_add_(0, sample[lines], far.scatter_(1, around, 0.0))
        near = _lorentzian_((begin - place)[lines, None].float() + points, **form)
        index = (origin + begin)[lines, None] + points
        padded.view(-1).scatter_add_(0, index.view(-1), near.view(-1))
    tails = tails.view(len(padded), -1, NODES)[:, _BESIDE:-_BESIDE]
    padded[:, margin : margin + _BOXES * BOX] += (tails @ weights).view(len(padded), -1)


def _lorentzian_(distance: Tensor, *, fwhm: Tensor, height: Tensor) -> Tensor:
    """`shapes.lorentzian` times a height, in place of the distances, which halves the memory traffic."""
    return torch.div(height, distance.mul_(2 / fwhm).square_().add_(1), out=distance)


def _of_each(of_pattern: Tensor | None, of_line: Tensor | None, sample: Tensor, *, per_peak: bool) -> Tensor | None:
    if of_line is None and of_pattern is not None and per_peak:
        if sample.device.type == "cpu":
            _check_samples(sample, batch=len(of_pattern))
        return of_pattern[sample]
    return of_pattern if of_line is None else of_line


def _check_samples(sample: Tensor, *, batch: int) -> None:
    if len(sample) and not (int(sample.min()) >= 0 and int(sample.max()) < batch):
        msg = f"sample runs from {int(sample.min())} to {int(sample.max())}; expected patterns 0 to {batch - 1}"
        raise ValueError(msg)


def _numba_is_there() -> bool:
    try:
        compile_loops()
    except ImportError as error:
        warnings.warn(f"peaks are broadened by torch, which is slower: {error}", stacklevel=3)
        return False
    return True
