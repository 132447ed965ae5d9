"""Pattern and reference database → the phases of the specimen with weight fractions, cells, sizes and what is left."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np

from xxact_core.patterns.pattern import GriddedPattern, Pattern
from xxact_core.peak_profiles.shapes import SCHERRER_CONSTANT
from xxact_core.quantities import space_group_to_crystal_system
from xxact_core.search_match.coarse_scan import LineIndex
from xxact_core.search_match.database import ReferenceDatabase, check_elements
from xxact_core.search_match.instrument import DEFAULT_INSTRUMENT, InstrumentProfile
from xxact_core.search_match.measured_profile import MeasuredProfile, measure_profile
from xxact_core.search_match.peak_finding import find_maxima
from xxact_core.search_match.phase_analysis import AmorphousHump, Phase, PhaseAnalysis, UnexplainedPeak, Verdict
from xxact_core.search_match.phase_lines import metric_to_cell
from xxact_core.search_match.phase_search import PhaseSearch, row_proposer, table_proposer
from xxact_core.search_match.profile_fit import (
    JointFit,
    fit_model,
    residual_chi_squared,
    solve_scales,
    weighted_residual,
)
from xxact_core.search_match.profile_model import (
    InstrumentWidth,
    ModelState,
    PhaseState,
    line_areas,
    line_positions,
    phase_profile,
    voigt_width,
)

MOST_PHASES = 5
"""Largest number of phases of a specimen."""

MOST_ROWS = 2500
"""Number of rows above which each scan of a residual first selects the most likely. Ours: half a second a scan."""

INTENSITY_ERROR = 0.06
"""Relative standard deviation of the intensity of a phase by absorption contrast, texture and thermal motion, which the
fit does not show. Ours: of the CPD round-robin mixtures."""

UNKNOWN_WIDTH_ERROR = 0.3
"""Relative standard deviation of sizes and strains where the width of the instrument was not measured. Ours."""

BROADENED = 0.25
"""Broadening relative to the width of the instrument from which sizes are stated. Ours."""

EXPLAINED_FACTOR = 1.5
"""Measured intensity up to this many times the calculated one nearby counts as explained. Ours."""

SMALLEST_UNEXPLAINED = 0.01
"""Smallest height of an unexplained peak relative to the strongest. Ours."""

NO_MATCH = 0.5
"""Fraction of the intensity unexplained above which nothing matches, unless two phases are sure. Ours."""

SURE = 0.9
"""Probability from which a phase is sure. Ours."""

MOST_PEAKS = 20
"""Largest number of unexplained peaks listed."""

TEXTURES = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.1, 1.25, 1.5, 2.0)
"""March-Dollase coefficients to try."""

TEXTURE_GAIN, TEXTURE_SHARE = 15.0, 0.15
"""Decrease of χ² by preferred orientation, absolute and relative, from which it is taken to be there. Ours."""

SMALLEST_HUMP = 0.08
"""Smallest area of a hump relative to all intensity above the background. Ours."""

HUMP_WIDTHS = (4.0, 15.0)
"""Widths of humps [deg 2θ]. Ours."""

HUMP_REACH = 1.0
"""Widths from the middle of a hump beyond which the background is that beside it. Ours."""

HUMP_HEIGHT, HUMP_SCATTER = 0.25, 4.0
"""Smallest height of a hump relative to the smooth background, and to the scatter about that. Ours."""

FEWEST_BESIDE = 100
"""Fewest points beside a hump."""


def find_phases(
    pattern: Pattern | GriddedPattern,
    references: ReferenceDatabase,
    *,
    rows: np.ndarray | None = None,
    elements: Iterable[str] | None = None,
    index: LineIndex | None = None,
    wavelength: str | float | None = None,
    instrument: InstrumentProfile | None = None,
    start: PhaseAnalysis | None = None,
    most_phases: int = MOST_PHASES,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> PhaseAnalysis:
    """Find the phases of a specimen, and fit their calculated patterns jointly.

    The phase that explains most of what is left is added to those found, one after the other, until none explains
    enough; then others are tried in place of each. Weight fractions are S Z M V of the calculated patterns on the
    absolute scale.

    Source: Hill & Howard (1987), J. Appl. Cryst. 20, 467-474, the weight fractions.

    Args:
        pattern: as measured; a pattern on the grid serves, but has lost its background and its steps.
        references: the database.
        rows: of the phases to search; by default those that contain only `elements`, else all.
        elements: that the specimen contains: a phase with one that no other phase holds is preferred.
        index: the strongest lines of the database, prepared for scans; by default prepared here.
        wavelength: in Å or by name; overrides that of the file.
        instrument: width of the instrument, measured on a standard; by default it is fitted, and sizes are estimates.
        start: the analysis of a similar pattern, such as the previous one of a series: its phases are fitted, those
            that vanished are left out, and others are searched only where intensity is left.
        most_phases: largest number of phases.
        progress: progress callback (done, total).

    Raises:
        FormulaError: an element is unknown.
        PatternError: the pattern cannot be used, for instance because no peak rises above the noise.
        WavelengthError: neither the file nor the call states the wavelength.
    """
    measured = measure_profile(pattern, wavelength=wavelength)
    symbols = () if elements is None else check_elements(elements)
    if rows is None and symbols:
        rows = references.rows_within(symbols)
    if rows is not None and len(rows) <= MOST_ROWS:
        proposer = row_proposer(references, rows)
    else:
        proposer = table_proposer(references, LineIndex(references) if index is None else index, rows)
    search = PhaseSearch(
        measured,
        references,
        proposer,
        required=symbols,
        instrument=None if instrument is None else instrument.width,
    )
    if start is None:
        fit = search.search(most=most_phases, progress=progress)
    else:
        fit = search.follow(start, most=most_phases)
    return fit_to_analysis(search, fit, instrument_is_known=instrument is not None, textures=start is None)


def fit_to_analysis(
    search: PhaseSearch, fit: JointFit, *, instrument_is_known: bool, textures: bool = True
) -> PhaseAnalysis:
    """The result for people: everything refined, with standard uncertainties.

    Args:
        search: with the measurement.
        fit: of the phases.
        instrument_is_known: whether the width of the instrument was measured.
        textures: whether preferred orientation is tried; that of the fit is kept.
    """
    measured = search.measured
    if fit.model.phases:
        fit = _fit_all(search, fit.model, instrument_is_known=instrument_is_known)
        if textures:
            fit = _with_textures(search, fit, instrument_is_known=instrument_is_known)
    phases = _phases(search, fit, instrument_is_known=instrument_is_known)
    order = sorted(range(len(phases)), key=lambda index: -_mass(phases[index]))
    unexplained, curve = _unexplained(measured, fit)
    verdict: Verdict = "no match"
    sure = sum(phase.probability >= SURE for phase in phases)
    if phases and (unexplained < NO_MATCH or sure > 1):
        verdict = "single" if len(phases) == 1 else "mixture"
    return PhaseAnalysis(
        phases=tuple(phases[index] for index in order),
        two_theta=measured.two_theta,
        measured=measured.intensity,
        background=measured.background + fit.correction,
        unexplained_peaks=_unexplained_peaks(measured, curve),
        unexplained_fraction=unexplained,
        amorphous=_amorphous_hump(measured),
        verdict=verdict,
        wavelength=measured.radiation.wavelength,
        zero_shift=fit.model.zero,
        u_zero_shift=_uncertainty(fit, "zero", -1, scale=_error_scale(measured, fit)),
        displacement=fit.model.displacement,
        width=_middle_width(fit.model, measured),
        weighted_residual=weighted_residual(measured, fit.calculated),
        warnings=(*measured.warnings, *_scale_warning(measured, search.stated_wavelength)),
    )


def _scale_warning(measured: MeasuredProfile, stated: float) -> tuple[str, ...]:
    """A note where the angles were scaled."""
    scale = measured.radiation.wavelength / stated
    if scale == 1:
        return ()
    note = (
        f"all lattice spacings would differ from those of known phases by {100 * abs(1 - scale):.1f} %: the angles or "
        "the wavelength of the file are taken to be wrong by this factor, and cells are uncertain by as much"
    )
    return (note,)


def _fit_all(search: PhaseSearch, model: ModelState, *, instrument_is_known: bool) -> JointFit:
    """The fit of everything, with the covariance."""
    return fit_model(
        search.measured,
        model,
        search.freedom(width_slope=True, displacements=True, microstrains=instrument_is_known),
        iterations=8,
        reach=15,
        covariance=True,
        tolerance=0.05,
    )


def _with_textures(search: PhaseSearch, fit: JointFit, *, instrument_is_known: bool) -> JointFit:
    """The fit with preferred orientation of the phases for which it explains much more."""
    measured, changed = search.measured, False
    states, misfit = list(fit.model.phases), fit.misfit
    shapes = [search.unscaled(fit, index) for index in range(len(states))]
    for index, state in enumerate(states):
        if search.misfit_near(fit, index) < TEXTURE_GAIN:
            continue
        best = (misfit - max(TEXTURE_GAIN, TEXTURE_SHARE * misfit), state, shapes[index])
        for axis in texture_axes(state.lines.space_group):
            for coefficient in TEXTURES:
                turned = replace(state, texture=coefficient, texture_axis=axis)
                shape = phase_profile(turned, fit.model, measured.two_theta, measured.radiation, reach=15).profile
                tried = np.array([*shapes[:index], shape, *shapes[index + 1 :]])
                scales, coefficients = solve_scales(measured, tried)
                left = residual_chi_squared(measured, scales @ tried + coefficients @ measured.smooth)
                if left < best[0]:
                    best = (left, turned, shape)
        if best[1] is not state:
            misfit, states[index], shapes[index] = best
            changed = True
    if not changed:
        return fit
    textured = _fit_all(search, replace(fit.model, phases=tuple(states)), instrument_is_known=instrument_is_known)
    return textured if textured.misfit < fit.misfit else fit


def texture_axes(space_group: int | None) -> tuple[tuple[int, int, int], ...]:
    """Axes of preferred orientation to try: those that every operation of the Laue group keeps or inverts."""
    if space_group is None:
        return ()
    system = space_group_to_crystal_system(space_group)
    if system in {"tetragonal", "trigonal", "hexagonal"}:
        return ((0, 0, 1),)
    return () if system == "cubic" else ((1, 0, 0), (0, 1, 0), (0, 0, 1))


def _mass(phase: Phase) -> float:
    return phase.weight_fraction if math.isfinite(phase.weight_fraction) else float(phase.calculated.sum())


def _error_scale(measured: MeasuredProfile, fit: JointFit) -> float:
    """Factor on standard uncertainties: the square root of the reduced χ², at least 1."""
    independent = measured.two_theta.size * measured.step / measured.width
    return math.sqrt(max(1.0, fit.misfit / max(independent - len(fit.names), 1.0)))


def _uncertainty(fit: JointFit, name: str, phase: int, *, number: int = 0, scale: float = 1.0) -> float:
    key = (name, phase, number)
    if fit.covariance is None or key not in fit.names:
        return math.nan
    index = fit.names.index(key)
    return scale * math.sqrt(max(float(fit.covariance[index, index]), 0.0))


def _phases(search: PhaseSearch, fit: JointFit, *, instrument_is_known: bool) -> list[Phase]:
    measured, references, states = search.measured, search.references, fit.model.phases
    scale = _error_scale(measured, fit)
    fractions, u_fractions = _weight_fractions(fit, scale=scale)
    found = []
    for index, state in enumerate(states):
        row = state.lines.row
        wavelength = measured.radiation.wavelength
        angle, sine_squared, _ = line_positions(state.lines, state.strain, wavelength=wavelength)
        with np.errstate(invalid="ignore"):
            angle = angle + fit.model.zero + fit.model.displacement * np.sqrt(1 - sine_squared)
            inside = (angle >= measured.two_theta[0]) & (angle <= measured.two_theta[-1])
        order = np.flatnonzero(inside)[np.argsort(angle[inside], kind="stable")]
        areas = line_areas(state, wavelength=wavelength)[order]
        strong = search.reflections(fit, index)
        size, u_size, strain, u_strain = _size_and_strain(
            measured, fit, index, scale=scale, instrument_is_known=instrument_is_known
        )
        found.append(
            Phase(
                formula=references.formula(row),
                name=references.name(row),
                space_group=state.lines.space_group,
                id=references.public_id(row),
                source_id=str(references.id[row]),
                row=row,
                weight_fraction=fractions[index],
                u_weight_fraction=u_fractions[index],
                cell=state.lines.cell(state.strain),
                u_cell=_cell_uncertainty(fit, index, scale=scale),
                scale_factor=state.scale,
                matched=strong.matched,
                missing=strong.missing,
                probability=search.probability(fit, index),
                size=size,
                u_size=u_size,
                strain=strain,
                u_strain=u_strain,
                texture=state.texture,
                texture_axis=state.texture_axis,
                calculated=fit.profiles[index],
                two_theta=angle[order],
                hkl=state.lines.hkl[order],
                intensity=100 * areas / areas.max(initial=1e-300),
            )
        )
    return found


def _weight_fractions(fit: JointFit, *, scale: float) -> tuple[list[float], list[float]]:
    """Weight fractions S ρ V², normalised, with the scales of `PhaseLines` per volume squared, and uncertainties."""
    states = fit.model.phases
    masses = np.array([state.scale * state.lines.mass_density for state in states])
    total = masses.sum()
    if not (states and total > 0):
        return [math.nan] * len(states), [math.nan] * len(states)
    fractions = masses / total
    covariance = np.zeros((len(states), len(states)))
    if fit.covariance is not None:
        places = [fit.names.index(("scale", index, 0)) for index in range(len(states))]
        scales = np.array([max(state.scale, 1e-300) for state in states])
        covariance = scale**2 * fit.covariance[np.ix_(places, places)] / np.outer(scales, scales)
    covariance = covariance + np.eye(len(states)) * INTENSITY_ERROR**2
    slopes = np.diag(fractions) - np.outer(fractions, fractions)
    variances = np.diag(slopes @ covariance @ slopes.T)
    return fractions.tolist(), np.sqrt(np.maximum(variances, 0)).tolist()


def _cell_uncertainty(fit: JointFit, index: int, *, scale: float) -> np.ndarray:
    """Standard uncertainties of the cell, from the covariance of the strains, shape (6,)."""
    state = fit.model.phases[index]
    keys = [("strain", index, mode) for mode in range(len(state.strain))]
    if fit.covariance is None or any(key not in fit.names for key in keys):
        return np.full(6, math.nan)
    places = [fit.names.index(key) for key in keys]
    covariance = scale**2 * fit.covariance[np.ix_(places, places)]
    step = 1e-5
    metric = state.lines.metric + np.tensordot(state.strain, state.lines.metric_change, axes=1)
    centre = metric_to_cell(metric)
    slopes = np.stack([(metric_to_cell(metric + step * one) - centre) / step for one in state.lines.metric_change])
    slopes[np.abs(slopes) < 1e-6] = 0  # noqa: PLR2004 - round-off at angles fixed by symmetry
    uncertainty: np.ndarray = np.sqrt(np.maximum(np.diag(slopes.T @ covariance @ slopes), 0))
    return uncertainty


def _size_and_strain(
    measured: MeasuredProfile, fit: JointFit, index: int, *, scale: float, instrument_is_known: bool
) -> tuple[float, float, float, float]:
    """Crystallite size [nm] and microstrain with uncertainties; NaN where peaks are not broadened.

    With a known instrument these are the fitted Lorentzian widths: Scherrer for X, and Y = 4 ε. Else the fitted widths
    less those of `DEFAULT_INSTRUMENT` are drawn against sin θ, as Williamson & Hall do.

    Source: Scherrer (1918), K = 0.9; Williamson & Hall (1953), Acta Metall. 1, 22-31.
    """
    state = fit.model.phases[index]
    length = SCHERRER_CONSTANT * measured.radiation.wavelength / 10
    nothing = (math.nan, math.nan, math.nan, math.nan)
    if instrument_is_known:
        u_x = _uncertainty(fit, "size", index, scale=scale)
        u_y = _uncertainty(fit, "microstrain", index, scale=scale)
        x, y = math.radians(state.size_width), math.radians(state.strain_width)
        size = length / x if state.size_width > 2 * u_x else math.nan
        strain = y / 4 if state.strain_width > 2 * u_y else math.nan
        return size, size * u_x / max(state.size_width, 1e-9), strain, math.radians(u_y) / 4 if y else math.nan
    angle, _, _ = line_positions(state.lines, state.strain, wavelength=measured.radiation.wavelength)
    areas = line_areas(state, wavelength=measured.radiation.wavelength)
    with np.errstate(invalid="ignore"):
        inside = (angle > measured.two_theta[0]) & (angle < measured.two_theta[-1])
    if not inside.any():
        return nothing
    theta, weight = np.radians(angle[inside] / 2), areas[inside]
    total = _widths(fit.model.instrument, np.tan(theta), state)
    own = _widths(DEFAULT_INSTRUMENT, np.tan(theta), None)
    broadening = np.sqrt(np.maximum(total**2 - own**2, 0))
    if np.average(broadening / own, weights=weight) < BROADENED:
        return nothing
    ordinate = np.radians(broadening) * np.cos(theta)
    abscissa = 4 * np.sin(theta)
    spread = np.average((abscissa - np.average(abscissa, weights=weight)) ** 2, weights=weight)
    covariance = np.average(
        (abscissa - np.average(abscissa, weights=weight)) * (ordinate - np.average(ordinate, weights=weight)),
        weights=weight,
    )
    strain = max(covariance / spread, 0.0) if spread > 0 else 0.0
    intercept = np.average(ordinate, weights=weight) - strain * np.average(abscissa, weights=weight)
    if intercept <= 0:
        return math.nan, math.nan, strain, UNKNOWN_WIDTH_ERROR * strain
    size = length / intercept
    return size, UNKNOWN_WIDTH_ERROR * size, strain or math.nan, UNKNOWN_WIDTH_ERROR * strain or math.nan


def _widths(instrument: InstrumentWidth, tangent: np.ndarray, state: PhaseState | None) -> np.ndarray:
    lorentzian = instrument.lorentzian(tangent)
    if state is not None:
        lorentzian = lorentzian + state.size_width * np.sqrt(1 + tangent**2) + state.strain_width * tangent
    return voigt_width(instrument.gaussian(tangent), lorentzian)[0]


def _middle_width(model: ModelState, measured: MeasuredProfile) -> float:
    """Mean width over the phases in the middle of the pattern [deg]."""
    middle = np.tan(np.radians(np.array([(measured.two_theta[0] + measured.two_theta[-1]) / 4])))
    widths = [float(_widths(model.instrument, middle, state)[0]) for state in model.phases]
    return float(np.mean(widths)) if widths else measured.width


def _unexplained(measured: MeasuredProfile, fit: JointFit) -> tuple[float, np.ndarray]:
    """Fraction of the net intensity beyond what the phases explain, and that intensity, shape (points,).

    Intensity near a calculated peak counts as explained up to `EXPLAINED_FACTOR` times its height, so that errors of
    profiles and of intensities do not count as foreign.
    """
    from scipy.ndimage import gaussian_filter1d, maximum_filter1d  # noqa: PLC0415 - slow to import

    points = measured.width / measured.step
    net = gaussian_filter1d(measured.net - fit.correction, max(points / 6, 0.3))
    calculated = fit.profiles.sum(axis=0) if len(fit.profiles) else np.zeros_like(net)
    near = maximum_filter1d(calculated, max(1, round(points)))
    noise = 2 * np.sqrt(measured.variance / max(points / 2, 1))
    left = np.maximum(net - EXPLAINED_FACTOR * near - noise, 0)
    steps = np.minimum(np.gradient(measured.two_theta), 2 * measured.step)
    total = float((np.maximum(net - noise, 0) * steps).sum())
    return (float((left * steps).sum()) / total if total > 0 else 0.0), left


def _unexplained_peaks(measured: MeasuredProfile, left: np.ndarray) -> tuple[UnexplainedPeak, ...]:
    points = max(1, round(measured.width / measured.step))
    lowest = SMALLEST_UNEXPLAINED * measured.highest
    places = find_maxima(np.concatenate([[0], left, [0]]), height=lowest, distance=points) - 1
    steps = np.minimum(np.gradient(measured.two_theta), 2 * measured.step)
    total = float((np.maximum(measured.net, 0) * steps).sum())
    strongest = places[np.argsort(-left[places], kind="stable")[:MOST_PEAKS]]
    return tuple(
        UnexplainedPeak(
            two_theta=float(measured.two_theta[place]),
            d=measured.radiation.wavelength / (2 * math.sin(math.radians(measured.two_theta[place] / 2))),
            height=100 * float(left[place]) / measured.highest,
            area=float((left * steps)[max(place - points, 0) : place + points + 1].sum()) / max(total, 1e-300),
        )
        for place in strongest
    )


def _amorphous_hump(measured: MeasuredProfile) -> AmorphousHump | None:
    """A broad maximum of the background, well above the smooth background beside it.

    The maximum is sought above the lower convex envelope of the background. Beside it, the background is fitted with a
    constant, a slope, and 1/2θ for scattering by air; the hump is what lies above the continuation of that fit.
    """
    angles, background = measured.two_theta, measured.background
    if not background.any():
        return None
    above = background - _convex_envelope(angles, background)
    top = int(above.argmax())
    high = above >= above[top] / 2
    first = top - int(np.argmin(high[top::-1])) if not high[: top + 1].all() else 0
    last = top + int(np.argmin(high[top:])) if not high[top:].all() else len(angles) - 1
    width = float(angles[last] - angles[first])
    if first == 0 or last == len(angles) - 1 or not HUMP_WIDTHS[0] <= width <= HUMP_WIDTHS[1]:
        return None
    near = np.abs(angles - angles[top]) < HUMP_REACH * width
    terms = np.stack([np.ones_like(angles), angles / 90, 10 / angles])
    if (~near).sum() < FEWEST_BESIDE or angles[near][0] == angles[0]:
        return None
    smooth = np.linalg.lstsq(terms[:, ~near].T, background[~near], rcond=None)[0] @ terms
    hump = np.where(near, np.maximum(background - smooth, 0), 0)
    scatter = float(np.std((background - smooth)[~near]))
    noise = float(np.sqrt(np.median(measured.variance[near])))
    if hump[top] < max(HUMP_HEIGHT * smooth[top], HUMP_SCATTER * scatter, noise):
        return None
    steps = np.minimum(np.gradient(angles), 2 * measured.step)
    area, peaks = (float((part * steps).sum()) for part in (hump, np.maximum(measured.net, 0)))
    fraction = area / max(area + peaks, 1e-300)
    if fraction < SMALLEST_HUMP:
        return None
    return AmorphousHump(two_theta=float(angles[top]), width=width, fraction=fraction)


def _convex_envelope(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The largest convex function that lies nowhere above the points, at x, shape (points,)."""
    kept: list[int] = []
    for place in range(len(x)):
        while len(kept) > 1:
            a, b = kept[-2], kept[-1]
            if (y[b] - y[a]) * (x[place] - x[a]) < (y[place] - y[a]) * (x[b] - x[a]):
                break
            kept.pop()
        kept.append(place)
    envelope: np.ndarray = np.interp(x, x[kept], y[kept])
    return envelope
