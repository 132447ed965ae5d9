"""Lines of a batch → profiles on the shared grid, on any device: the fast form of `patterns.smearing.sum_lines`."""

from __future__ import annotations

import math
import warnings

import torch
from jaxtyping import Float, Int
from torch import Tensor

from xxact_core.patterns.grid import GRID
from xxact_core.peak_profiles.fast import box_nodes, check_shapes, smear_arrays
from xxact_core.peak_profiles.line_sums import BOX, FARTHEST, NODES, REACH, compile_loops
from xxact_core.peak_profiles.shapes import sigma_to_fwhm

_CACHED, _PARALLEL = 2**18, 2**26
"""Values computed at once: what a processor's cache holds, and what keeps a device busy and fits into its memory."""

_RUNS = 32
"""Runs of lines of like width that are summed one after another. With 32, a distorted line is summed over 63 points on
average, where the widest of a batch asks for 183."""

_BOXES = math.ceil(GRID.points / BOX)

_BESIDE = 3
"""Boxes beside the grid on either side, so that a line there has its own, too, and no box has to be looked for."""


def smear_lines(
    two_theta: Float[Tensor, " peaks"],
    intensity: Float[Tensor, " peaks"],
    sample: Int[Tensor, " peaks"],
    *,
    batch: int,
    sigma: Float[Tensor, " batch"] | None = None,
    line_sigma: Float[Tensor, " peaks"] | None = None,
    lorentzian: Float[Tensor, " batch"] | None = None,
    line_lorentzian: Float[Tensor, " peaks"] | None = None,
    widest: float | None = None,
    out: Float[Tensor, "batch points"] | None = None,
) -> Float[Tensor, "batch points"]:
    """Sum of lines of height `intensity` on the shared grid, float32, not scaled, without a gradient.

    Scaled to a maximum of 100, a profile is within 0.01 of the exact sum. On a processor the sum is compiled by numba,
    and the same at every run.

    Args:
        two_theta: positions [deg], float32 or float64; a line off the grid counts as far as it reaches into it, and one
            without a finite position not at all.
        intensity: heights at the positions, in any unit. Lines that shall keep their areas where they get wider have
            their heights from `patterns.line_shapes.heights_of_equal_area`.
        sample: the pattern of the batch that each line belongs to, 0 to batch - 1, in any order.
        batch: number of patterns; one without lines is zero everywhere.
        sigma: a width above 0 for each pattern [deg]; or else
        line_sigma: a width above 0 for each line [deg].
        lorentzian: pseudo-Voigt share η for each pattern (0-1); or else
        line_lorentzian: share η for each line; without either the lines are Gaussian.
        widest: no width is larger than this [deg]; where it is given, a device is not waited for.
        out: written to and returned, shape (batch, points), float32; saves the time that fresh memory takes.

    Raises:
        ValueError: no width or two, two shares, or shapes that disagree; and, on a processor only because asking a
            device means to wait for it, a sample that is none of the batch or a width that is not above 0.
    """
    if (sigma is None) == (line_sigma is None) or not (lorentzian is None or line_lorentzian is None):
        msg = "expected sigma or line_sigma, and at most one of lorentzian and line_lorentzian"
        raise ValueError(msg)
    each_line = line_sigma is not None or line_lorentzian is not None
    width = _of_each(sigma, line_sigma, sample, each_line=each_line)
    share = _of_each(lorentzian, line_lorentzian, sample, each_line=each_line)
    assert width is not None
    if out is None:
        out = torch.empty((batch, GRID.points), dtype=torch.float32, device=two_theta.device)
    if two_theta.device.type != "cpu" or not _numba_is_there():
        smear_tensors(
            two_theta, intensity, sample, out, sigma=width, lorentzian=share, each_line=each_line, widest=widest
        )
        return out
    smear_arrays(
        two_theta.detach().numpy(),
        intensity.detach().numpy(),
        sample.numpy(),
        out.numpy(),
        sigma=width.detach().numpy(),
        lorentzian=None if share is None else share.detach().numpy(),
        each_line=each_line,
    )
    return out


@torch.no_grad()
def smear_tensors(
    two_theta: Tensor,
    intensity: Tensor,
    sample: Tensor,
    out: Tensor,
    *,
    sigma: Tensor,
    lorentzian: Tensor | None = None,
    each_line: bool = False,
    widest: float | None = None,
) -> None:
    """What `patterns.fast_smearing.smear_arrays` does, with the operations of torch: for every device.

    Arguments as there and in `smear_lines`. On a device other than the processor sums may come in another order at each
    run, unless torch is told to be deterministic.
    """
    check_shapes(two_theta, intensity, sample, out, sigma=sigma, lorentzian=lorentzian, each_line=each_line)
    on_processor = two_theta.device.type == "cpu"
    if on_processor:
        _check_samples(sample, batch=len(out))
    own = slice(None) if each_line else sample
    width = (sigma[own] / GRID.step).float()
    if on_processor and not bool(((width > 0) & width.isfinite()).all()):
        msg = "sigma holds a width that is not a positive number of degrees 2θ"
        raise ValueError(msg)
    share = None if lorentzian is None else lorentzian[own].float()
    exact = (two_theta.double() - GRID.start) / GRID.step
    place = exact.nan_to_num().clamp(-FARTHEST, FARTHEST)
    height = torch.where(exact.isfinite(), intensity, 0.0).float()
    order: Tensor | slice = slice(None)
    if widest is None or on_processor:
        order = width.argsort(stable=True)
        pieces = _pieces_of_like_width(width[order])
    else:
        pieces = [(0, len(place), _reach_of(widest / GRID.step))]
    margin = 2 * max(2 * BOX, *(reach for _, _, reach in pieces))
    # A margin on both sides takes what falls off the grid, so that no index has to be checked.
    padded = torch.zeros((len(out), GRID.points + 2 * margin), device=out.device)
    origin = sample * padded.shape[1] + margin
    if share is not None:
        _add_lorentzians(padded, place, height * share, width, sample, origin, margin=margin)
        height = height * (1 - share)
    place, height, width, origin = place[order], height[order], width[order], origin[order]
    for first, last, reach in pieces:
        together = max(1, (_CACHED if on_processor else _PARALLEL) // (2 * reach + 1))
        for start in range(first, last, together):
            lines = slice(start, min(start + together, last))
            _add_gaussians(padded, place[lines], height[lines], width[lines], origin[lines], reach=reach)
    out.copy_(padded[:, margin : margin + GRID.points])


def _reach_of(width: float) -> int:
    """Points that a Gaussian reaches to either side; width in grid steps."""
    return math.ceil(REACH * width) + 1


def _pieces_of_like_width(width: Tensor) -> list[tuple[int, int, int]]:
    """Where runs of lines of like width begin and end, and how far the widest of each reaches; widths in rising order.

    A line is summed over what the widest of its run reaches. A device is asked once.
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
    """Point by point in the box of each line and the two beside it, elsewhere at the nodes of the boxes."""
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
    """`patterns.line_shapes.lorentzian` times a height, in the memory of the distances: half of what a device moves."""
    return torch.div(height, distance.mul_(2 / fwhm).square_().add_(1), out=distance)


def _of_each(of_pattern: Tensor | None, of_line: Tensor | None, sample: Tensor, *, each_line: bool) -> Tensor | None:
    if of_line is None and of_pattern is not None and each_line:
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
        warnings.warn(f"lines are smeared by torch, which is slower: {error}", stacklevel=3)
        return False
    return True
