"""Result of a refinement: phases with cells and weight fractions, agreement, curves."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from xxact_core.refinement.phases import StartingPhase
from xxact_core.refinement.settings import Method
from xxact_core.structures.cif_writing import with_uncertainty
from xxact_core.structures.space_groups import space_group_name

CELL_NAMES = ("a", "b", "c", "alpha", "beta", "gamma")
"""Names of the six numbers of a cell."""


@dataclass(frozen=True, eq=False)
class RefinedPhase:
    """A phase after a refinement; NaN where the pattern does not determine a value."""

    start: StartingPhase
    """The phase before the refinement."""
    name: str
    """By which the phase is shown, unique among the phases."""
    cell: np.ndarray
    """Refined cell a, b, c [Å], α, β, γ [deg], shape (6,)."""
    u_cell: np.ndarray
    """Standard uncertainties of the cell, 0 where a value is fixed by symmetry, shape (6,)."""
    weight_fraction: float
    """Fraction of the mass of all phases, 0-1; NaN in a Le Bail refinement."""
    u_weight_fraction: float
    """Standard uncertainty of the weight fraction."""
    scale_factor: float
    """S of Hill & Howard (1987): weight fractions are S Z M V, normalised to a sum of 1."""
    u_scale_factor: float
    """Standard uncertainty of the scale factor."""
    b_iso: float
    """Isotropic displacement parameter B of all atoms [Å²]."""
    u_b_iso: float
    """Standard uncertainty of B, 0 where B was not refined."""
    texture: float
    """March-Dollase coefficient along c: below 1 for plates, above for needles; NaN where there is no texture axis."""
    u_texture: float
    """Standard uncertainty of the coefficient, 0 where it was not refined."""
    size: float
    """Crystallite size from the Lorentzian width [nm]; NaN without the width of the instrument."""
    u_size: float
    """Standard uncertainty of the size [nm]."""
    strain: float
    """Microstrain Δd/d; NaN without the width of the instrument."""
    u_strain: float
    """Standard uncertainty of the microstrain."""
    r_bragg: float
    """R factor of the integrated intensities, 0-1."""
    two_theta: np.ndarray
    """Angles of the reflections of the first wavelength [deg], shape (reflections,)."""
    hkl: np.ndarray
    """Miller indices, shape (reflections, 3)."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, None instead of NaN; the keys are those of the phases of `xxact identify`."""
        numbers = (
            "weight_fraction", "u_weight_fraction", "scale_factor", "u_scale_factor", "b_iso", "u_b_iso", "texture",
            "u_texture", "size", "u_size", "strain", "u_strain", "r_bragg",
        )  # fmt: skip
        return {
            "formula": self.start.formula,
            "name": self.name,
            "space_group": self.start.structure.space_group,
            "symbol": self.start.structure.symbol,
            "id": self.start.id,
            "cell": _finite_list(self.cell),
            "u_cell": _finite_list(self.u_cell),
            "start_cell": _finite_list(self.start.cell),
            **{name: _finite(getattr(self, name)) for name in numbers},
        }


@dataclass(frozen=True, eq=False)
class Refinement:
    """Result of a Rietveld or Le Bail refinement."""

    name: str
    """Name of the pattern."""
    method: Method
    """`rietveld` or `lebail`."""
    converged: bool
    """Whether the last stage converged."""
    phases: tuple[RefinedPhase, ...]
    """In the order in which they were given."""
    wavelengths: tuple[float, ...]
    """Wavelengths of the radiation [Å]: one, or those of Kα1 and Kα2."""
    r_wp: float
    """Weighted profile R factor, background included, 0-1."""
    r_exp: float
    """The R_wp expected from counting statistics, 0-1."""
    chi_squared: float
    """Reduced χ², (R_wp / R_exp)²."""
    r_wp_without_background: float
    """R_wp relative to the intensity above the background, 0-1."""
    zero_shift: float
    """Zero shift of the angles [deg 2θ]; 0 where the sample displacement is refined."""
    u_zero_shift: float
    """Standard uncertainty of the zero shift [deg 2θ]."""
    displacement: float
    """Sample displacement [mm]; 0 where the zero shift is refined."""
    u_displacement: float
    """Standard uncertainty of the sample displacement [mm]."""
    two_theta: np.ndarray
    """Angles of the refined points [deg], shape (points,)."""
    observed: np.ndarray
    """Measured intensity, shape (points,)."""
    calculated: np.ndarray
    """Calculated intensity, background included, shape (points,)."""
    background: np.ndarray
    """Refined background, shape (points,)."""
    sigma: np.ndarray
    """Standard uncertainties of the measured intensity, shape (points,)."""
    seconds: float
    """Time that the refinement took [s]."""
    warnings: tuple[str, ...] = ()
    """What to check before the values are used."""
    program: str = ""
    """Program and version that refined."""
    library: Mapping[str, Any] = field(default_factory=dict)
    """Objects of that program, from which files for other programs are written."""

    @property
    def difference(self) -> np.ndarray:
        """Measured less calculated intensity, shape (points,)."""
        difference: np.ndarray = self.observed - self.calculated
        return difference

    def to_dict(self, *, curves: bool = False) -> dict[str, Any]:
        """Plain values for JSON, None instead of NaN; the curves only with `curves`."""
        numbers = (
            "r_wp", "r_exp", "chi_squared", "r_wp_without_background", "zero_shift", "u_zero_shift", "displacement",
            "u_displacement", "seconds",
        )  # fmt: skip
        arrays = ("two_theta", "observed", "calculated", "background", "difference")
        return {
            "pattern": self.name,
            "method": self.method,
            "converged": self.converged,
            "phases": [phase.to_dict() for phase in self.phases],
            **{name: _finite(getattr(self, name)) for name in numbers},
            "wavelengths": list(self.wavelengths),
            "range": [float(self.two_theta[0]), float(self.two_theta[-1])],
            "points": int(self.two_theta.size),
            "warnings": list(self.warnings),
            "program": self.program,
            **({"curves": {name: getattr(self, name).tolist() for name in arrays}} if curves else {}),
        }

    def to_text(self, *, instant: Iterable[Mapping[str, Any]] = ()) -> str:
        """A report of a few lines for people.

        Args:
            instant: phases of the instant analysis of the same phases, as in its JSON, shown beside the refined values.
        """
        state = "converged" if self.converged else "DID NOT CONVERGE"
        method = {"rietveld": "Rietveld", "lebail": "Le Bail"}[self.method]
        first, last = self.two_theta[0], self.two_theta[-1]
        agreement = f"R_wp {100 * self.r_wp:.2f} %, expected {100 * self.r_exp:.2f} %, χ² {self.chi_squared:.2f}"
        radiation = " and ".join(f"{length:.5f}" for length in self.wavelengths)
        lines = [
            f"{self.name}: {method} refinement of {_count(len(self.phases), 'phase')}, {state} in {self.seconds:.0f} s",
            f"  {agreement}; {first:.2f} to {last:.2f}° 2θ, λ {radiation} Å",
            f"  {self._shift()}",
        ]
        beside = {str(phase["id"]): phase for phase in instant}
        for phase in self.phases:
            group = space_group_name(str(phase.start.structure.space_group))
            identity = f", {phase.start.id}" if phase.start.id else ""
            lines.append(f"  {phase.name}  ({phase.start.formula}, {group}{identity})")
            lines.extend(f"    {line}" for line in _phase_lines(phase, beside.get(phase.start.id)))
        return "\n".join([*lines, *(f"  note: {warning}" for warning in self.warnings)])

    def _shift(self) -> str:
        if self.displacement or self.u_displacement:
            return f"sample displacement {with_uncertainty(self.displacement, self.u_displacement)} mm"
        return f"zero shift {with_uncertainty(self.zero_shift, self.u_zero_shift)}°"


def _phase_lines(phase: RefinedPhase, instant: Mapping[str, Any] | None) -> list[str]:
    lines = []
    if math.isfinite(phase.weight_fraction):
        text = f"{with_uncertainty(100 * phase.weight_fraction, 100 * phase.u_weight_fraction)} wt%"
        if instant is not None and instant.get("weight_fraction") is not None:
            text += f"   (instant analysis: {100 * instant['weight_fraction']:.1f})"
        lines.append(text)
    lines.append(f"cell {cell_to_text(phase.cell, phase.u_cell)}")
    if instant is not None and instant.get("cell") is not None:
        uncertainties = [math.nan if value is None else value for value in instant["u_cell"]]
        lines.append(f"     {cell_to_text(np.array(instant['cell']), np.array(uncertainties))}   (instant analysis)")
    if math.isfinite(phase.size):
        lines.append(f"crystallite size {with_uncertainty(phase.size, phase.u_size)} nm")
    if math.isfinite(phase.strain):
        lines.append(f"microstrain {with_uncertainty(100 * phase.strain, 100 * phase.u_strain)} %")
    if phase.u_b_iso > 0:
        lines.append(f"B {with_uncertainty(phase.b_iso, phase.u_b_iso)} Å²")
    if phase.u_texture > 0 and abs(phase.texture - 1) > 3 * phase.u_texture:
        lines.append(f"texture along c {with_uncertainty(phase.texture, phase.u_texture)} (March-Dollase)")
    return lines


def cell_to_text(cell: np.ndarray, u_cell: np.ndarray) -> str:
    """A cell with its uncertainties; angles that are fixed at 90 or 120° are left out."""
    parts = [
        f"{name} {with_uncertainty(float(value), float(u))}{'°' if name in CELL_NAMES[3:] else ' Å'}"
        for name, value, u in zip(CELL_NAMES, cell, u_cell, strict=True)
        if name in CELL_NAMES[:3] or not (u == 0 and round(float(value), 6) in {90.0, 120.0})
    ]
    return ", ".join(parts)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _finite_list(values: np.ndarray) -> list[float | None]:
    return [_finite(value) for value in values.tolist()]
