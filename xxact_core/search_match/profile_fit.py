"""Measured profile and phases → joint least-squares fit of scales, background, shifts, widths and cells."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from xxact_core.search_match.measured_profile import MeasuredProfile
from xxact_core.search_match.profile_model import ModelState, PhaseProfile, PhaseState, phase_profile

ZERO_SPREAD = 0.03
"""Standard deviation of the zero shift of diffractometers [deg 2θ]. Ours."""

DISPLACEMENT_SPREAD = 0.12
"""Standard deviation of the shift by sample displacement [deg 2θ]: 0.2 mm at a radius of 200 mm. Ours."""

LARGEST_ZERO, LARGEST_DISPLACEMENT = 0.3, 0.6
"""Largest shifts in both directions [deg 2θ]. Ours."""

LARGEST_STRAIN = 0.03
"""Largest strain in both directions. Ours."""

USUAL_B, B_SPREAD = 0.6, 0.3
"""Isotropic displacement parameter B of hard solids at 300 K, and its standard deviation [Å²]. Ours."""

SIZE_SPREAD = 0.3
"""Scale of the widths by crystallite size and microstrain [deg]; wide, so that data decide. Ours."""

WIDEST = 3.0
"""Largest width by crystallite size or microstrain [deg]. Ours."""

_DAMPING = 1e-3
_SMALLEST_B, _LARGEST_B = 0.05, 4.0


@dataclass(frozen=True)
class Freedom:
    """What is fitted besides the scales and the background."""

    shifts: bool = True
    """Zero shift and sample displacement."""
    widths: bool = True
    """Width of the instrument; not where it was measured."""
    width_slope: bool = False
    """Its increase with the angle."""
    cells: bool = True
    """Cells of the phases."""
    sizes: bool = True
    """Crystallite size of each phase."""
    microstrains: bool = False
    """Microstrain of each phase."""
    displacements: bool = False
    """B of each phase."""
    only: int | None = None
    """Index of the only phase whose cell and size are fitted; None for all."""


@dataclass(frozen=True, eq=False)
class JointFit:
    """A fitted model."""

    model: ModelState
    chi_squared: float
    """Weighted sum of squares in units of independent points, priors included."""
    misfit: float
    """The same without priors."""
    profiles: np.ndarray
    """Profiles of the phases with their scales, shape (phases, points)."""
    correction: np.ndarray
    """Correction of the background, shape (points,)."""
    names: tuple[tuple[str, int, int], ...] = ()
    """Name, phase and number of each parameter of the covariance."""
    covariance: np.ndarray | None = None
    """Covariance of the parameters, before scaling by χ²."""

    @property
    def calculated(self) -> np.ndarray:
        """Sum of all phases and the correction of the background, shape (points,)."""
        total: np.ndarray = self.profiles.sum(axis=0) + self.correction
        return total


@dataclass(frozen=True)
class _Parameter:
    name: str
    phase: int
    number: int
    mean: float
    spread: float
    low: float
    high: float


def fit_model(
    measured: MeasuredProfile,
    model: ModelState,
    freedom: Freedom = Freedom(),
    *,
    iterations: int = 6,
    reach: float = 8.0,
    weakest: float = 1e-3,
    covariance: bool = False,
    tolerance: float = 1e-3,
    frozen: Mapping[int, np.ndarray] = MappingProxyType({}),
) -> JointFit:
    """Fit by damped Gauss-Newton steps, with the scales and the background exact at each step.

    Args:
        measured: the measurement.
        model: starting values.
        freedom: what is fitted.
        iterations: largest number of steps.
        reach: see `phase_profile`.
        weakest: see `phase_profile`.
        covariance: with the covariance of all parameters.
        tolerance: decrease of χ² in a step, in units of independent points, below which the fit has converged.
        frozen: profiles of scale 1 of phases of which only the scale is fitted, by their index.
    """
    parameters = _parameters(measured, model, freedom)
    damping = _DAMPING
    settings: dict[str, Any] = {"derivatives": bool(parameters), "reach": reach, "weakest": weakest, "frozen": frozen}
    current, profiles = _evaluate(measured, model, parameters, **settings)
    for _ in range(iterations if parameters else 0):
        jacobian = _jacobian(current.model, profiles, parameters)
        step_matrix, gradient = _normal_equations(measured, current, jacobian, profiles, parameters)
        accepted = None
        for _attempt in range(4):
            system = step_matrix + np.diag(damping * np.diag(step_matrix) + 1e-12)
            steps = np.linalg.solve(system, gradient)
            moved = _move(current.model, parameters, steps[: len(parameters)])
            trial, trial_profiles = _evaluate(measured, moved, parameters, **settings)
            if trial.chi_squared < current.chi_squared:
                accepted = (trial, trial_profiles)
                damping = max(damping / 5, 1e-6)
                break
            damping *= 10
        if accepted is None:
            break
        gained = current.chi_squared - accepted[0].chi_squared
        current, profiles = accepted
        if gained < tolerance:
            break
    if not covariance:
        return current
    jacobian = _jacobian(current.model, profiles, parameters)
    matrix, _ = _normal_equations(measured, current, jacobian, profiles, parameters)
    names = [(parameter.name, parameter.phase, parameter.number) for parameter in parameters]
    names += [("scale", phase, 0) for phase in range(len(current.model.phases))]
    inverse = np.linalg.pinv(matrix, hermitian=True)[: len(names), : len(names)]
    return replace(current, names=tuple(names), covariance=inverse)


def residual_chi_squared(measured: MeasuredProfile, calculated: np.ndarray) -> float:
    """Weighted sum of squares of the net intensity less `calculated`, in units of independent points."""
    return float((measured.weight * np.square(measured.net - calculated)).sum())


def _parameters(measured: MeasuredProfile, model: ModelState, freedom: Freedom) -> list[_Parameter]:
    found = []
    if freedom.shifts:
        found.append(_Parameter("zero", -1, 0, 0.0, ZERO_SPREAD, -LARGEST_ZERO, LARGEST_ZERO))
        limit = LARGEST_DISPLACEMENT
        found.append(_Parameter("displacement", -1, 0, 0.0, DISPLACEMENT_SPREAD, -limit, limit))
    if freedom.widths:
        usual = (0.7 * measured.width) ** 2
        found.append(_Parameter("w", -1, 0, usual, usual, (measured.step) ** 2, (2 * measured.width) ** 2))
        if freedom.width_slope:
            found.append(_Parameter("u", -1, 0, 0.0, usual, -0.5 * usual, 4 * usual))
    for index, phase in enumerate(model.phases):
        if freedom.only is not None and index != freedom.only:
            continue
        if freedom.cells:
            for mode, spread in enumerate(phase.lines.strain_spread):
                mean = phase.lines.usual_strain if mode == 0 else 0.0
                found.append(_Parameter("strain", index, mode, mean, float(spread), -LARGEST_STRAIN, LARGEST_STRAIN))
        if freedom.sizes:
            found.append(_Parameter("size", index, 0, 0.0, SIZE_SPREAD, 0.0, WIDEST))
        if freedom.microstrains:
            found.append(_Parameter("microstrain", index, 0, 0.0, SIZE_SPREAD, 0.0, WIDEST))
        if freedom.displacements:
            found.append(_Parameter("b", index, 0, USUAL_B, B_SPREAD, _SMALLEST_B, _LARGEST_B))
    return found


def _value(model: ModelState, parameter: _Parameter) -> float:
    if parameter.phase < 0:
        values = {
            "zero": model.zero,
            "displacement": model.displacement,
            "w": model.instrument.w,
            "u": model.instrument.u,
        }
        return values[parameter.name]
    phase = model.phases[parameter.phase]
    if parameter.name == "strain":
        return float(phase.strain[parameter.number])
    return {"size": phase.size_width, "microstrain": phase.strain_width, "b": phase.b}[parameter.name]


def _move(model: ModelState, parameters: list[_Parameter], steps: np.ndarray) -> ModelState:
    """The model with the parameters moved by these steps, within their limits."""
    phases = list(model.phases)
    shared: dict[str, Any] = {"zero": model.zero, "displacement": model.displacement}
    instrument = model.instrument
    for parameter, step in zip(parameters, steps, strict=True):
        value = min(max(_value(model, parameter) + float(step), parameter.low), parameter.high)
        if parameter.name in shared:
            shared[parameter.name] = value
        elif parameter.name == "w":
            instrument = replace(instrument, w=value)
        elif parameter.name == "u":
            instrument = replace(instrument, u=value)
        else:
            phases[parameter.phase] = _with_value(phases[parameter.phase], parameter, value)
    return replace(model, phases=tuple(phases), instrument=instrument, **shared)


def _with_value(phase: PhaseState, parameter: _Parameter, value: float) -> PhaseState:
    if parameter.name == "strain":
        strain = phase.strain.copy()
        strain[parameter.number] = value
        return replace(phase, strain=strain)
    if parameter.name == "size":
        return replace(phase, size_width=value)
    if parameter.name == "microstrain":
        return replace(phase, strain_width=value)
    return replace(phase, b=value)


def _prior(model: ModelState, parameters: list[_Parameter]) -> float:
    deviations = ((_value(model, one) - one.mean) / one.spread for one in parameters)
    return float(sum(deviation * deviation for deviation in deviations))


def _evaluate(
    measured: MeasuredProfile,
    model: ModelState,
    parameters: list[_Parameter],
    *,
    derivatives: bool,
    reach: float,
    weakest: float,
    frozen: Mapping[int, np.ndarray],
) -> tuple[JointFit, list[PhaseProfile]]:
    """The best scales and background for these non-linear values."""
    profiles = [
        PhaseProfile(frozen[index])
        if index in frozen
        else phase_profile(
            phase,
            model,
            measured.two_theta,
            measured.radiation,
            derivatives=derivatives,
            reach=reach,
            weakest=weakest,
        )
        for index, phase in enumerate(model.phases)
    ]
    shapes = np.array([one.profile for one in profiles]).reshape(len(profiles), measured.two_theta.size)
    scales, coefficients = solve_scales(measured, shapes)
    correction = coefficients @ measured.smooth
    phases = tuple(replace(phase, scale=float(scale)) for phase, scale in zip(model.phases, scales, strict=True))
    of_phases = scales[:, None] * shapes
    misfit = residual_chi_squared(measured, of_phases.sum(axis=0) + correction)
    penalty = float(coefficients**2 @ measured.smooth_precision)
    fitted = replace(model, phases=phases, background=coefficients)
    chi_squared = misfit + penalty + _prior(fitted, parameters)
    return JointFit(fitted, chi_squared, misfit, of_phases, correction), profiles


def solve_scales(measured: MeasuredProfile, shapes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Non-negative scales of profiles of shape (phases, points), and coefficients of the background's correction."""
    phases = len(shapes)
    weighted = shapes * measured.weight
    top = weighted @ shapes.T
    cross = weighted @ measured.smooth.T
    matrix = np.block([[top, cross], [cross.T, measured.smooth_normal]])
    matrix[range(phases, len(matrix)), range(phases, len(matrix))] += measured.smooth_precision
    target = np.concatenate([weighted @ measured.net, measured.smooth_target])
    active = np.ones(len(matrix), dtype=np.bool_)
    norms = np.sqrt(np.maximum(np.diag(matrix), 1e-300))
    matrix = matrix / norms / norms[:, None] + np.eye(len(matrix)) * 1e-10
    target = target / norms
    for _ in range(phases + 1):
        solution = np.zeros(len(matrix))
        solution[active] = np.linalg.solve(matrix[np.ix_(active, active)], target[active])
        negative = solution[:phases] < 0
        if not negative.any():
            break
        active[int(np.argmin(solution[:phases]))] = False
    solution = solution / norms
    return np.maximum(solution[:phases], 0), solution[phases:]


def _jacobian(model: ModelState, profiles: list[PhaseProfile], parameters: list[_Parameter]) -> np.ndarray:
    """Derivatives of the calculated profile by the parameters, shape (parameters, points)."""
    points = profiles[0].profile.size if profiles else 0
    rows = np.zeros((len(parameters), points))
    for index, parameter in enumerate(parameters):
        for phase, profile in zip(model.phases, profiles, strict=True):
            if parameter.phase < 0:
                rows[index] += phase.scale * profile.derivative(parameter.name)
        if parameter.phase >= 0:
            scale = model.phases[parameter.phase].scale
            rows[index] = scale * profiles[parameter.phase].derivative(parameter.name, parameter.number)
    return rows


def _normal_equations(
    measured: MeasuredProfile,
    fit: JointFit,
    jacobian: np.ndarray,
    profiles: list[PhaseProfile],
    parameters: list[_Parameter],
) -> tuple[np.ndarray, np.ndarray]:
    """Normal matrix and gradient over the parameters, the scales and the background, with the priors."""
    shapes = [one.profile for one in profiles]
    columns = np.vstack([jacobian, *[shape[None] for shape in shapes], measured.smooth])
    weighted = columns * measured.weight
    matrix = weighted @ columns.T
    gradient = weighted @ (measured.net - fit.calculated)
    count = len(parameters)
    for index, parameter in enumerate(parameters):
        precision = 1 / parameter.spread**2
        matrix[index, index] += precision
        gradient[index] -= precision * (_value(fit.model, parameter) - parameter.mean)
        value = _value(fit.model, parameter)
        blocked = (value <= parameter.low and gradient[index] < 0) or (value >= parameter.high and gradient[index] > 0)
        if blocked:
            gradient[index] = 0.0
            matrix[index, index] *= 1e6
    first = count + len(shapes)
    rest = range(first, len(matrix))
    matrix[rest, rest] += measured.smooth_precision
    gradient[first:] -= measured.smooth_precision * fit.model.background
    for index, phase in enumerate(fit.model.phases):
        if phase.scale <= 0:
            matrix[count + index, count + index] += 1e6 * max(matrix[count + index, count + index], 1e-12)
    norms = np.diag(matrix).copy()
    matrix[np.diag_indices(len(matrix))] = np.where(norms > 0, norms, 1.0)
    return matrix, gradient


def weighted_residual(measured: MeasuredProfile, calculated: np.ndarray) -> float:
    """R_wp with weights of counting statistics, background included, 0-1."""
    weight = 1 / measured.variance
    difference = measured.net - calculated
    total = float((weight * measured.intensity**2).sum())
    return math.sqrt(float((weight * difference**2).sum()) / total) if total > 0 else math.nan
