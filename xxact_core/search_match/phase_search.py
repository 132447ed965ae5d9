"""Measured profile and candidate rows → the phases that together explain it, one after the other."""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from threading import Lock
from weakref import WeakKeyDictionary

import numpy as np

from xxact_core.errors import StructureError
from xxact_core.patterns.conversions import CU_K_ALPHA, change_wavelength
from xxact_core.patterns.grid import GRID
from xxact_core.search_match.coarse_scan import LineIndex
from xxact_core.search_match.database import ReferenceDatabase
from xxact_core.search_match.fit import profile_to_distribution
from xxact_core.search_match.measured_profile import MeasuredProfile
from xxact_core.search_match.phase_analysis import PhaseAnalysis
from xxact_core.search_match.phase_lines import (
    COMPUTED_SCALE,
    COMPUTED_SPREAD,
    MEASURED_SCALE,
    MEASURED_SPREAD,
    PhaseLines,
    read_phase_lines,
)
from xxact_core.search_match.plausibility import (
    SCAN_WEIGHTS,
    PlausibilityWeights,
    features_to_log_odds,
    phase_features,
)
from xxact_core.search_match.profile_fit import DISPLACEMENT_SPREAD, Freedom, JointFit, fit_model, solve_scales
from xxact_core.search_match.profile_model import (
    InstrumentWidth,
    ModelState,
    PhaseState,
    Radiation,
    line_areas,
    line_positions,
    phase_profile,
)
from xxact_core.search_match.residual_scan import Proposal, ScanAxis, scan_rows

TRIED = 14
"""Number of proposals of a scan whose profiles are fitted. Ours."""

ALIKE = 2
"""Largest number of entries of one formula and space group among them. Ours."""

REPLACEMENTS = 6
"""Number of proposals tried in place of each phase at the end. Ours."""

SMALLEST_GAIN = 6.0
"""Decrease of χ², in units of independent points, below which a phase is not added. Ours."""

LIKELY = 0.5
"""Probability from which a phase is taken to be present."""

VISIBLE = 0.12
"""Reflections of at least this area relative to the strongest of a phase are judged as matched or missing. Ours."""

NEAR = 0.03
"""Profile of a phase relative to its highest point above which it has peaks. Ours."""

PRESENT = 0.35
"""Measured height relative to the calculated one above which a reflection is matched. Ours."""

PHASE_WEIGHTS = PlausibilityWeights(
    merit=1.2, strains=-0.5, experimental=2.0, known=1.0, disordered=-3.0, volume=-0.4, missing=-0.4
)
"""Log-odds among phases that compete to explain a residual; `merit` is for each unit of the square root of the χ²
explained, whose standard deviation is 1. Ours, near those of `plausibility.FIT_WEIGHTS`."""

PHASE_WEIGHTS_OF_ALL = replace(PHASE_WEIGHTS, merit=1.8, disordered=-5.0, volume=-0.7)
"""The same without elements."""

SCAN_SHARE = 0.5
"""Weight of the gain of a scan, which is less exact, relative to that of a fit. Ours."""

PROBABILITY = (-5.1, 0.7, 3.1, -3.1, 1.3)
"""Coefficients of the logarithm of the odds that a phase is present: constant; logarithm of the χ² that it alone
explains over the χ² left there; logarithm of one plus its distinct reflections, at most `ENOUGH`; fraction of missing
ones; known. Ours: a logistic regression on 256 phases of measured mixtures and single phases."""

ENOUGH = 8
"""Number of distinct reflections beyond which more do not make a phase more likely. Ours."""

ALIKE_BLUR, ALIKE_OVERLAP = 1.0, 0.85
"""Two phases are alike whose profiles, blurred by this many widths, overlap by more than this, 1 if equal. Ours."""

DISPLACEMENTS = (0.0, -0.15, 0.15, -0.3, 0.3)
"""Shifts by displacement at which a search may start [deg 2θ]. Ours."""

DISPLACED_ROWS, DISPLACED_BEST = 50, 4
"""Number of likely phases at each scale with which the displacement is chosen, and of the best of them. Ours."""

ANGLE_SCALES = (1.0, 0.992, 1.008, 0.984, 1.016)
"""Factors on sin θ at which a search may start: the axis of a file can be wrong by a factor. Ours."""

SCALED = 1.0
"""Increase of the mean log-odds of the likeliest phases from which a search with scaled angles is made, too. Ours."""

BETTER = 0.85
"""χ² with scaled angles relative to that without below which they are taken. Ours."""

ONE_LINE = 0.8
"""χ² without Kα2 relative to that with it, below which there is none. Ours."""

GASES = frozenset(
    (
        "H2", "N2", "O2", "O3", "F2", "Cl2", "He", "Ne", "Ar", "Kr", "Xe", "CO", "CO2", "CH4", "NH3", "N2O", "NO",
        "NO2", "HCl", "HF", "SO2", "H2S", "H2O", "H2O2",
    )
)  # fmt: skip
"""Formulas of phases that are no solids at room temperature; databases hold them frozen."""

SELECTED = 400
"""Number of phases that a scan of a whole database selects. Ours."""

_KEPT_PHASES = 400
_START_SIZE = 0.03
_RANGE_MARGIN = 2.5

_LINES: WeakKeyDictionary[ReferenceDatabase, OrderedDict[tuple[int, float, float, float], PhaseLines | None]] = (
    WeakKeyDictionary()
)
_LINES_LOCK = Lock()
"""Threads that search the same database share the lines."""


Proposer = Callable[[MeasuredProfile], Callable[[np.ndarray, float], Sequence[Proposal]]]
"""Makes, of a measurement, a function that ranks phases by what they explain of a residual, at a zero shift."""


@dataclass(frozen=True, eq=False)
class Addition:
    """A phase tried beside others."""

    row: int
    fit: JointFit
    """Joint fit, of which the tried phase is the last."""
    gain: float
    """Decrease of χ²."""
    score: float
    """Logarithm of the odds among phases that compete, up to a constant."""


@dataclass(frozen=True)
class Reflections:
    """Numbers of strong reflections of a phase."""

    matched: int
    """That are measured."""
    missing: int
    """That are not."""
    distinct: int
    """That are measured where the phase is stronger than all others within a width."""


class PhaseSearch:
    """Searches the phases of one pattern among rows of a database."""

    def __init__(
        self,
        measured: MeasuredProfile,
        references: ReferenceDatabase,
        proposer: Proposer,
        *,
        required: Iterable[str] = (),
        instrument: InstrumentWidth | None = None,
    ) -> None:
        """Prepare a search.

        Args:
            measured: the measurement.
            references: the database.
            proposer: ranks phases by what they explain of a residual of the measurement, at a zero shift.
            required: elements that are in the specimen: phases that hold one that no other phase holds are preferred.
            instrument: width of the instrument where it is known.
        """
        self.required = frozenset(required)
        self.weights = PHASE_WEIGHTS if self.required else PHASE_WEIGHTS_OF_ALL
        self.measured, self.references, self.proposer = measured, references, proposer
        self.propose = proposer(measured)
        self.stated_wavelength = measured.radiation.wavelength
        self.width_is_known = instrument is not None
        self.instrument = InstrumentWidth(w=(0.7 * measured.width) ** 2) if instrument is None else instrument
        self._kinds: dict[int, tuple[str, int]] = {}
        self.empty = fit_model(measured, ModelState((), self.instrument), Freedom(shifts=False, widths=False))

    def lines(self, row: int) -> PhaseLines | None:
        """Reflections of one row; None where it has none."""
        with _LINES_LOCK:
            kept = _LINES.setdefault(self.references, OrderedDict())
        angles = self.measured.two_theta
        reach = (max(float(angles[0]) - 1, 0.5), min(float(angles[-1]) + _RANGE_MARGIN, 170.0))
        wavelength = self.measured.radiation.wavelength
        key = (row, round(wavelength, 6), round(reach[0]), round(reach[1]))
        with _LINES_LOCK:
            if key in kept:
                kept.move_to_end(key)
                return kept[key]
        try:
            lines = read_phase_lines(self.references, row, wavelength=wavelength, two_theta_range=reach)
        except StructureError:
            lines = None
        with _LINES_LOCK:
            kept[key] = lines
            while len(kept) > _KEPT_PHASES:
                kept.popitem(last=False)
        return lines

    def freedom(self, **more: bool) -> Freedom:
        """What is fitted jointly."""
        return Freedom(widths=not self.width_is_known, **more)

    def add(self, fit: JointFit, row: int, *, strain: float) -> Addition | None:
        """The row beside the phases of a fit, which stay as they are but for their scales."""
        lines = self.lines(row)
        if lines is None:
            return None
        sizes = [phase.size_width for phase in fit.model.phases]
        strains = np.zeros(len(lines.change))
        strains[0] = strain
        phase = PhaseState(lines, strains, size_width=float(np.median(sizes)) if sizes else _START_SIZE)
        model = replace(fit.model, phases=(*fit.model.phases, phase))
        frozen = {index: self.unscaled(fit, index) for index in range(len(fit.model.phases))}
        only = Freedom(shifts=False, widths=False, only=len(frozen))
        added = fit_model(self.measured, model, only, iterations=5, reach=5, weakest=0.01, frozen=frozen, tolerance=0.3)
        gain = fit.misfit - added.misfit
        present = {symbol for phase in fit.model.phases for symbol in phase.lines.elements}
        lacking = len(self.required - present - set(lines.elements))
        features = phase_features(
            self.references,
            np.array([row]),
            merit=np.sqrt(np.array([max(gain, 0.0)])) / 100,
            strains=len(strains),
            missing=lacking,
        )
        deviation = (added.model.phases[-1].strain[0] - lines.usual_strain) / lines.strain_spread[0]
        score = float(features_to_log_odds(features, self.weights)[0]) - float(deviation**2) / 2
        return Addition(row, added, gain, score)

    def unscaled(self, fit: JointFit, index: int) -> np.ndarray:
        """Profile of scale 1 of one phase."""
        phase = fit.model.phases[index]
        if phase.scale > 0:
            unscaled: np.ndarray = fit.profiles[index] / phase.scale
            return unscaled
        return phase_profile(phase, fit.model, self.measured.two_theta, self.measured.radiation).profile

    def kind(self, row: int) -> tuple[str, int]:
        """Formula and space group of a row, by which entries of one phase are recognised."""
        if row not in self._kinds:
            self._kinds[row] = (self.references.formula(row), int(self.references.space_group[row]))
        return self._kinds[row]

    def is_possible(self, row: int) -> bool:
        """Whether a phase is a solid at the temperature of the laboratory."""
        return self.kind(row)[0] not in GASES

    def best_addition(self, fit: JointFit, *, count: int = TRIED, alike: int = ALIKE) -> list[Addition]:
        """Phases that explain the residual of a fit, best first.

        Args:
            fit: the phases so far.
            count: number of proposals to fit.
            alike: largest number of entries of one formula and space group among them.
        """
        residual = self.measured.net - fit.calculated
        kinds = Counter({self.kind(phase.lines.row): alike for phase in fit.model.phases})
        tried: list[Addition] = []
        for proposal in self.propose(residual, fit.model.zero + fit.model.displacement):
            kind = self.kind(proposal.row)
            kinds[kind] += 1
            if kinds[kind] > alike or not self.is_possible(proposal.row):
                continue
            addition = self.add(fit, proposal.row, strain=proposal.strain)
            if addition is not None and addition.gain > 0:
                tried.append(addition)
            count -= 1
            if count == 0:
                break
        return sorted(tried, key=lambda one: -one.score)

    def search(self, *, most: int, progress: Callable[[int, int], None] = lambda _done, _total: None) -> JointFit:
        """Add phases one by one as long as each explains enough, then try to replace and to remove each.

        Where phases would fit better with scaled angles, both searches are made, and the better fit is taken.
        """
        usual, *scaled = self.starts()
        fit = self._search_from(*usual, most=most, progress=progress)
        for start in scaled:
            measured = self.measured
            other = self._search_from(*start, most=most, progress=progress)
            if other.chi_squared < BETTER * fit.chi_squared:
                fit = other
            else:
                self.set_measured(measured)
        return fit

    def _search_from(
        self,
        measured: MeasuredProfile,
        displacement: float,
        *,
        most: int,
        progress: Callable[[int, int], None],
    ) -> JointFit:
        if measured is not self.measured:
            self.set_measured(measured)
        fit = replace(self.empty, model=replace(self.empty.model, displacement=displacement))
        for number in range(most):
            progress(number, most)
            fit, grown = self._grow(fit)
            if not grown:
                break
            if number == 0:
                fit = self.choose_radiation(fit)
        fit = self.replace_each(fit)
        return self.prune(fit)

    def starts(self) -> list[tuple[MeasuredProfile, float]]:
        """Measurement and displacement of the sample at which phases explain most; a second with scaled angles.

        Displacement and scale look like a change of all cells, which would favour phases of other cells.
        """
        scaled_profiles = [
            self.measured if scale == 1 else replace(self.measured, radiation=self.measured.radiation.scaled(scale))
            for scale in ANGLE_SCALES
        ]
        likely = [
            proposal.row
            for measured in scaled_profiles
            for proposal in self.proposer(measured)(measured.net, 0.0)[:DISPLACED_ROWS]
        ]
        rows = np.unique(np.array(likely, dtype=np.intp))
        found = [(*self._best_displacement(measured, rows), measured) for measured in scaled_profiles]
        usual, *others = found
        starts = [(usual[2], usual[1])]
        best = max(others, key=lambda one: one[0])
        if best[0] > usual[0] + SCALED:
            starts.append((best[2], best[1]))
        return starts

    def _best_displacement(self, measured: MeasuredProfile, rows: np.ndarray) -> tuple[float, float]:
        """Mean log-odds of the likeliest phases of these rows at the best displacement, and that displacement."""
        axis, best, displacement = ScanAxis(measured), -math.inf, 0.0
        for shift in DISPLACEMENTS:
            found = scan_rows(axis, measured.net, self.references, rows, zero=shift)
            odds = np.sort(proposals_to_log_odds(found, self.references, self.weights))[::-1][:DISPLACED_BEST]
            total = float(odds.mean()) - (shift / DISPLACEMENT_SPREAD) ** 2 / 2 if odds.size else -math.inf
            if total > best:
                best, displacement = total, shift
        return best, displacement

    def set_measured(self, measured: MeasuredProfile) -> None:
        """Take the measurement with other wavelengths."""
        self.measured = measured
        self.propose = self.proposer(measured)
        self.empty = fit_model(measured, ModelState((), self.instrument), Freedom(shifts=False, widths=False))

    def choose_radiation(self, fit: JointFit) -> JointFit:
        """Fit the first phase without Kα2, too, which a monochromator or software may have removed."""
        radiation = self.measured.radiation
        if not radiation.second:
            return fit
        doublet = self.measured
        self.measured = replace(doublet, radiation=Radiation(radiation.wavelength))
        alone = fit_model(self.measured, fit.model, self.freedom(), iterations=6, tolerance=0.3)
        if alone.misfit < ONE_LINE * fit.misfit:
            self.empty = fit_model(self.measured, self.empty.model, Freedom(shifts=False, widths=False))
            return alone
        self.measured = doublet
        return fit

    def follow(self, start: PhaseAnalysis, *, most: int) -> JointFit:
        """Fit the phases of another analysis, leave out those that vanished, and add phases where intensity is left."""
        fit = self.restart(start)
        fit = self.prune(fit)
        while len(fit.model.phases) < most:
            fit, grown = self._grow(fit)
            if not grown:
                break
        return fit

    def restart(self, start: PhaseAnalysis) -> JointFit:
        """The phases of another analysis with their cells, fitted to this pattern."""
        states = []
        for phase in start.phases:
            lines = self.lines(phase.row)
            if lines is not None:
                state = PhaseState(lines, lines.strains_of(phase.cell), size_width=_START_SIZE)
                states.append(replace(state, texture=phase.texture, texture_axis=phase.texture_axis))
        model = ModelState(tuple(states), self.instrument, zero=start.zero_shift, displacement=start.displacement)
        return fit_model(self.measured, model, self.freedom(), iterations=6, tolerance=0.3)

    def probability(self, fit: JointFit, index: int) -> float:
        """Probability that a phase is present, from what it alone explains and from its reflections."""
        gain = self.gain_of(fit, index)
        strong = self.reflections(fit, index)
        if not strong.distinct:
            return 0.0
        odds = PROBABILITY[0] + PROBABILITY[1] * math.log(max(gain, 1e-3) / max(self.misfit_near(fit, index), 1.0))
        odds += PROBABILITY[2] * math.log(1 + min(strong.distinct, ENOUGH))
        odds += PROBABILITY[3] * strong.missing / max(strong.matched + strong.missing, 1)
        odds += PROBABILITY[4] * bool(self.references.known[fit.model.phases[index].lines.row])
        return 1 / (1 + math.exp(-odds))

    def _grow(self, fit: JointFit) -> tuple[JointFit, bool]:
        additions = self.best_addition(fit)
        for addition in additions[:3]:
            joint = fit_model(self.measured, addition.fit.model, self.freedom(), iterations=6, tolerance=0.3)
            if self.is_supported(joint, len(joint.model.phases) - 1):
                return joint, True
        return fit, False

    def is_supported(self, fit: JointFit, index: int) -> bool:
        """Whether a phase explains enough that nothing else in the fit does, and its strong reflections are there."""
        if self.gain_of(fit, index) < SMALLEST_GAIN or self.probability(fit, index) < LIKELY:
            return False
        return not any(self.are_alike(fit, index, other) for other in range(index))

    def are_alike(self, fit: JointFit, one: int, other: int) -> bool:
        """Whether two phases have the same peaks, as a superstructure and its parent or two members of a series.

        Two of them together imitate the shape of broad peaks.
        """
        from scipy.ndimage import gaussian_filter1d  # noqa: PLC0415 - slow to import

        sigma = ALIKE_BLUR * self.measured.width / self.measured.step
        first, second = (gaussian_filter1d(self.unscaled(fit, index), sigma) for index in (one, other))
        norm = math.sqrt(float(first @ first) * float(second @ second))
        return float(first @ second) > ALIKE_OVERLAP * norm

    def gain_of(self, fit: JointFit, index: int) -> float:
        """Increase of χ² if a phase is left out and the scales of the others are fitted."""
        others = [self.unscaled(fit, other) for other in range(len(fit.model.phases)) if other != index]
        shapes = np.array(others).reshape(len(others), self.measured.two_theta.size)
        scales, coefficients = solve_scales(self.measured, shapes)
        calculated = scales @ shapes + coefficients @ self.measured.smooth
        misfit = float((self.measured.weight * np.square(self.measured.net - calculated)).sum())
        return misfit - fit.misfit

    def misfit_near(self, fit: JointFit, index: int) -> float:
        """χ² where a phase has peaks."""
        own = fit.profiles[index]
        near = own > NEAR * own.max(initial=0.0)
        squares = self.measured.weight * np.square(self.measured.net - fit.calculated)
        return float(squares[near].sum())

    def reflections(self, fit: JointFit, index: int) -> Reflections:
        """How the strong reflections of a phase agree with the measurement."""
        from scipy.ndimage import maximum_filter1d  # noqa: PLC0415 - slow to import

        measured, phase = self.measured, fit.model.phases[index]
        areas = line_areas(phase, wavelength=measured.radiation.wavelength)
        angle, sine_squared, _ = line_positions(phase.lines, phase.strain, wavelength=measured.radiation.wavelength)
        with np.errstate(invalid="ignore"):
            angle = angle + fit.model.zero + fit.model.displacement * np.sqrt(1 - sine_squared)
            inside = (angle > measured.two_theta[0]) & (angle < measured.two_theta[-1])
        if not inside.any():
            return Reflections(0, 0, 0)
        visible = inside & (areas >= VISIBLE * areas[inside].max())
        own = np.interp(angle[visible], measured.two_theta, fit.profiles[index])
        others = fit.profiles.sum(axis=0) - fit.profiles[index]
        near = maximum_filter1d(others, max(1, 2 * round(measured.width / measured.step)))
        rest = np.interp(angle[visible], measured.two_theta, near)
        left = _smooth(measured.net - fit.correction - others, measured)
        present = np.interp(angle[visible], measured.two_theta, left) >= PRESENT * own
        noise = np.sqrt(np.interp(angle[visible], measured.two_theta, measured.variance))
        judged = own > np.maximum(2 * noise, 0.003 * measured.highest)
        return Reflections(
            matched=int((judged & present).sum()),
            missing=int((judged & ~present).sum()),
            distinct=int((judged & present & (own > rest)).sum()),
        )

    def replace_each(self, fit: JointFit) -> JointFit:
        """Try other phases in place of each; keep the one that, with its penalties, fits best."""
        for index in range(len(fit.model.phases)):
            others = self.without(fit, index)
            present = self.add(
                others, fit.model.phases[index].lines.row, strain=float(fit.model.phases[index].strain[0])
            )
            if present is None:
                continue
            rivals = self.best_addition(others, count=REPLACEMENTS)
            best = max(rivals, key=lambda one: one.score, default=present)
            if best.row == present.row or best.score <= present.score:
                continue
            joint = fit_model(self.measured, best.fit.model, self.freedom(), iterations=6, tolerance=0.3)
            if joint.chi_squared < fit.chi_squared and self.is_supported(joint, len(joint.model.phases) - 1):
                phases = list(joint.model.phases)
                phases.insert(index, phases.pop())
                profiles = np.insert(joint.profiles[:-1], index, joint.profiles[-1], axis=0)
                fit = replace(joint, model=replace(joint.model, phases=tuple(phases)), profiles=profiles)
        return fit

    def without(self, fit: JointFit, index: int) -> JointFit:
        """The fit without one phase, the scales of the others fitted again."""
        phases = tuple(phase for other, phase in enumerate(fit.model.phases) if other != index)
        kept = [other for other in range(len(fit.model.phases)) if other != index]
        frozen = {new: self.unscaled(fit, other) for new, other in enumerate(kept)}
        fixed = Freedom(shifts=False, widths=False, cells=False, sizes=False)
        return fit_model(self.measured, replace(fit.model, phases=phases), fixed, frozen=frozen)

    def prune(self, fit: JointFit) -> JointFit:
        """Remove phases that are not supported, the least important first."""
        while fit.model.phases:
            gains = [self.gain_of(fit, index) for index in range(len(fit.model.phases))]
            weak = [index for index in np.argsort(gains) if not self.is_supported(fit, int(index))]
            if not weak:
                break
            fewer = self.without(fit, int(weak[0]))
            fit = fit_model(self.measured, fewer.model, self.freedom(), iterations=6, tolerance=0.3)
        return fit


def _smooth(curve: np.ndarray, measured: MeasuredProfile) -> np.ndarray:
    """A curve blurred by a third of a peak."""
    from scipy.ndimage import gaussian_filter1d  # noqa: PLC0415 - slow to import

    blurred: np.ndarray = gaussian_filter1d(curve, max(measured.width / measured.step / 6, 0.3))
    return blurred


def row_proposer(references: ReferenceDatabase, rows: np.ndarray) -> Proposer:
    """Proposals among these rows."""

    def propose_for(measured: MeasuredProfile) -> Callable[[np.ndarray, float], Sequence[Proposal]]:
        axis = ScanAxis(measured)
        return lambda residual, zero: most_likely(scan_rows(axis, residual, references, rows, zero=zero), references)

    return propose_for


def table_proposer(references: ReferenceDatabase, index: LineIndex, rows: np.ndarray | None) -> Proposer:
    """Proposals among all phases of a database, or so many rows that each scan first selects the most likely."""
    return lambda measured: _propose_from_table(measured, references, index, rows)


def _propose_from_table(
    measured: MeasuredProfile, references: ReferenceDatabase, index: LineIndex, rows: np.ndarray | None
) -> Callable[[np.ndarray, float], Sequence[Proposal]]:
    axis = ScanAxis(measured)
    angles = change_wavelength(measured.two_theta, measured=measured.radiation.wavelength, target=CU_K_ALPHA)
    on_grid = np.isfinite(angles) & (angles > GRID.start) & (angles < GRID.stop)

    def propose(residual: np.ndarray, zero: float) -> Sequence[Proposal]:
        left = np.where(residual > np.sqrt(measured.variance), np.maximum(_smooth(residual, measured), 0), 0)[on_grid]
        if not left.sum() > 0:
            return []
        distribution = profile_to_distribution(angles[on_grid], left, np.ones(left.size, dtype=np.bool_))
        scan = index.scan(distribution, rows)
        features = phase_features(references, scan.rows, merit=scan.agreement)
        best = scan.best(SELECTED, features_to_log_odds(features, SCAN_WEIGHTS))
        return most_likely(scan_rows(axis, residual, references, best.rows, zero=zero), references)

    return propose


def most_likely(proposals: Sequence[Proposal], references: ReferenceDatabase) -> list[Proposal]:
    """Proposals in the order of their probability."""
    if not proposals:
        return []
    order = np.argsort(-proposals_to_log_odds(proposals, references, PHASE_WEIGHTS), kind="stable")
    return [proposals[place] for place in order]


def proposals_to_log_odds(
    proposals: Sequence[Proposal], references: ReferenceDatabase, weights: PlausibilityWeights
) -> np.ndarray:
    """Log-odds of proposals up to a constant, shape (proposals,)."""
    rows = np.array([one.row for one in proposals], dtype=np.intp)
    gains = np.array([one.gain for one in proposals])
    measured = references.experimental[rows]
    usual = np.where(measured, 1 - 1 / MEASURED_SCALE, 1 - 1 / COMPUTED_SCALE)
    spread = np.where(measured, MEASURED_SPREAD, COMPUTED_SPREAD)
    deviation = (np.array([one.strain for one in proposals]) - usual) / spread
    features = phase_features(references, rows, merit=SCAN_SHARE * np.sqrt(gains) / 100)
    log_odds: np.ndarray = features_to_log_odds(features, weights) - deviation**2 / 2
    return log_odds
