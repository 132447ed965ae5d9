"""Phases of a measured pattern: weight fractions, refined cells, curves, and what they leave unexplained."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from xxact_core.errors import InputError, shorten
from xxact_core.quantities import LATTICE_ANGLES

if TYPE_CHECKING:
    from xarray import Dataset

Verdict = Literal["single", "mixture", "no match"]
"""One phase, several phases, or no phase that explains the pattern."""

SAME_LENGTH = 1e-6
"""Cell lengths [Å] closer than this are equal by symmetry."""

RIGHT_ANGLES = (90.0, 120.0)
"""Angles [deg] that are not printed."""

_SIZES = ("size", "u_size", "strain", "u_strain")

CELL_NAMES = ("a", "b", "c", "alpha", "beta", "gamma")
"""Names of the six numbers of a cell."""


@dataclass(frozen=True, eq=False)
class Phase:
    """A reference phase that is part of a measured specimen.

    Standard uncertainties are NaN where the pattern does not determine a value.
    """

    formula: str
    """Reduced formula, as chemists write it."""
    name: str | None
    """Name of the mineral or material, None where there is none."""
    space_group: int | None
    """Number, 1-230; None where it is unknown."""
    id: str
    """Id by which the phase is shown: that of the Materials Project or another database where known."""
    source_id: str
    """Id in the reference database."""
    row: int
    """Row of the reference database."""
    weight_fraction: float
    """Fraction of the mass of all crystalline phases found, 0-1; NaN where the atoms of the phase are unknown."""
    u_weight_fraction: float
    """Standard uncertainty of the weight fraction."""
    cell: np.ndarray
    """Refined conventional cell a, b, c [Å], α, β, γ [deg], shape (6,)."""
    u_cell: np.ndarray
    """Standard uncertainties of the cell, 0 for angles fixed by symmetry, shape (6,)."""
    scale_factor: float
    """S of Hill & Howard (1987): weight fractions are S Z M V, normalised to a sum of 1; arbitrary unit."""
    matched: int
    """Number of reflections that should be visible and are."""
    missing: int
    """Number of reflections that should be visible and are not."""
    probability: float
    """Probability that the phase is present, 0-1."""
    size: float
    """Volume-weighted crystallite size [nm]; NaN where peaks are not broader than the instrument makes them."""
    u_size: float
    """Standard uncertainty of the size [nm]."""
    strain: float
    """Microstrain ε (relative); NaN where peaks are not broader than the instrument makes them."""
    u_strain: float
    """Standard uncertainty of the microstrain."""
    calculated: np.ndarray
    """Calculated intensity of this phase alone at the angles of the analysis, shape (points,)."""
    two_theta: np.ndarray
    """Fitted angles of the reflections [deg 2θ at the measured wavelength], shape (reflections,)."""
    hkl: np.ndarray
    """Miller indices of the reflections in the conventional cell, shape (reflections, 3)."""
    intensity: np.ndarray
    """Integrated intensities of the reflections relative to the strongest, 0-100, shape (reflections,)."""
    texture: float = 1.0
    """March-Dollase coefficient r of preferred orientation: below 1 for plates, above 1 for needles, 1 for none."""
    texture_axis: tuple[int, int, int] | None = None
    """Miller indices of the texture axis; None where the orientation is random."""

    @property
    def label(self) -> str:
        """Formula with name, or with the space group: `TiO2 (rutile)`."""
        return f"{self.formula} ({self.name or f'space group {self.space_group}'})"

    @property
    def weight_text(self) -> str:
        """Weight fraction in per cent with its uncertainty: `34.2(9)`."""
        return value_with_uncertainty(100 * self.weight_fraction, 100 * self.u_weight_fraction)

    @property
    def size_text(self) -> str:
        """Crystallite size [nm] with its uncertainty; `-` where it is unknown."""
        return value_with_uncertainty(self.size, self.u_size)

    @property
    def cell_text(self) -> str:
        """The cell with uncertainties, `a 4.7585(4)  c 12.9901(14)`: equal lengths once, without 90° and 120°."""
        return cell_to_text(self.cell, self.u_cell)

    def to_dict(self, *, reflections: bool = False) -> dict[str, Any]:
        """Plain values for JSON, None instead of NaN; angles, indices and intensities only with `reflections`."""
        names = ("formula", "name", "space_group", "id", "source_id")
        numbers = ("weight_fraction", "u_weight_fraction", "scale_factor", "probability")
        arrays = {
            "two_theta": _finite_list(self.two_theta),
            "hkl": self.hkl.tolist(),
            "intensity": _finite_list(self.intensity),
        }
        return {
            **{name: getattr(self, name) for name in names},
            **{name: _finite(getattr(self, name)) for name in numbers[:2]},
            "cell": _finite_list(self.cell),
            "u_cell": _finite_list(self.u_cell),
            "scale_factor": _finite(self.scale_factor),
            "matched": self.matched,
            "missing": self.missing,
            "probability": _finite(self.probability),
            **{name: _finite(getattr(self, name)) for name in _SIZES},
            "texture": self.texture,
            "texture_axis": None if self.texture_axis is None else list(self.texture_axis),
            **(arrays if reflections else {}),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, calculated: np.ndarray) -> Phase:
        """The inverse of `to_dict(reflections=True)`; the row of the database, which that leaves out, is -1.

        Args:
            values: as of `to_dict`.
            calculated: intensity of this phase at the angles of the analysis, shape (points,).
        """
        given = {item.name: values[item.name] for item in fields(cls) if item.name in values}
        for name in ("weight_fraction", "u_weight_fraction", "scale_factor", "probability", *_SIZES):
            given[name] = _or_nan(given[name])
        for name in ("cell", "u_cell", "two_theta", "intensity"):
            given[name] = np.array([_or_nan(value) for value in values[name]], dtype=np.float64)
        given["hkl"] = np.array(values["hkl"], dtype=np.int64).reshape(-1, 3)
        axis = values["texture_axis"]
        return cls(**{**given, "texture_axis": axis and tuple(axis), "row": -1, "calculated": calculated})


@dataclass(frozen=True)
class UnexplainedPeak:
    """A measured peak that no phase explains."""

    two_theta: float
    """Position [deg 2θ at the measured wavelength]."""
    d: float
    """Lattice spacing [Å]."""
    height: float
    """Height above background and calculated pattern, relative to the strongest measured peak, 0-100."""
    area: float
    """Area relative to the net area of the pattern, 0-1."""

    def to_dict(self) -> dict[str, float]:
        """Plain values for JSON."""
        return {"two_theta": self.two_theta, "d": self.d, "height": self.height, "area": self.area}


@dataclass(frozen=True)
class AmorphousHump:
    """A broad maximum of the background, as amorphous material gives; it is not fitted as a phase."""

    two_theta: float
    """Position [deg 2θ at the measured wavelength]."""
    width: float
    """Full width at half maximum [deg 2θ]."""
    fraction: float
    """Area relative to that of the hump and all peaks together, 0-1; not a weight fraction."""

    def to_dict(self) -> dict[str, float]:
        """Plain values for JSON."""
        return {"two_theta": self.two_theta, "width": self.width, "fraction": self.fraction}


@dataclass(frozen=True, eq=False)
class PhaseAnalysis:
    """The phases of a pattern with the joint fit of their calculated patterns."""

    phases: tuple[Phase, ...]
    """Largest weight fraction first; empty where nothing matches."""
    two_theta: np.ndarray
    """Angles of the curves [deg 2θ at the measured wavelength], shape (points,)."""
    measured: np.ndarray
    """Measured intensity, shape (points,)."""
    background: np.ndarray
    """Fitted background, shape (points,)."""
    unexplained_peaks: tuple[UnexplainedPeak, ...]
    """Measured peaks that no phase explains, highest first."""
    unexplained_fraction: float
    """Fraction of the net measured intensity that no phase explains, 0-1."""
    amorphous: AmorphousHump | None
    """A broad maximum of the background; None where there is none."""
    verdict: Verdict
    """`single`, `mixture` or `no match`."""
    wavelength: float
    """Wavelength of the curves [Å]: that of Kα1 where `doublet`."""
    zero_shift: float
    """Zero shift, added to the calculated angles [deg 2θ]."""
    u_zero_shift: float
    """Standard uncertainty of the zero shift [deg 2θ]."""
    displacement: float
    """Shift by sample displacement, in proportion to cos θ and added to the calculated angles [deg 2θ at θ = 0]."""
    width: float
    """Full width at half maximum of the peaks in the middle of the pattern [deg 2θ]."""
    weighted_residual: float
    """R_wp of the fit, background included, 0-1."""
    warnings: tuple[str, ...] = ()
    """Notes for the user."""

    @property
    def calculated(self) -> np.ndarray:
        """Background and all phases, shape (points,)."""
        total: np.ndarray = sum((phase.calculated for phase in self.phases), start=self.background)
        return total

    @property
    def difference(self) -> np.ndarray:
        """Measured less calculated intensity, shape (points,)."""
        difference: np.ndarray = self.measured - self.calculated
        return difference

    @property
    def sentence(self) -> str:
        """The verdict as a sentence."""
        if not self.phases:
            return "No match: no reference phase explains the pattern."
        if self.verdict == "no match":
            unexplained = f"{100 * self.unexplained_fraction:.0f} % of the intensity"
            return f"No match: the phases found leave {unexplained} unexplained."
        explained = f"{100 * (1 - self.unexplained_fraction):.0f} % of the intensity"
        if self.verdict == "single":
            return f"Single phase: {self.phases[0].label} explains {explained}."
        *first, last = [phase.label for phase in self.phases]
        return f"Mixture of {len(self.phases)} phases: {', '.join(first)} and {last} explain {explained}."

    def to_dict(self, *, reflections: bool = False, curves: bool = False) -> dict[str, Any]:
        """Plain values for JSON.

        Args:
            reflections: with the reflections of each phase.
            curves: with the measured, calculated and background intensities.
        """
        arrays = {
            "two_theta": self.two_theta.tolist(),
            "measured": self.measured.tolist(),
            "background": self.background.tolist(),
            "calculated": self.calculated.tolist(),
            "difference": self.difference.tolist(),
            "of_phases": [phase.calculated.tolist() for phase in self.phases],
        }
        return {
            "verdict": self.verdict,
            "phases": [phase.to_dict(reflections=reflections) for phase in self.phases],
            "unexplained_fraction": _finite(self.unexplained_fraction),
            "unexplained_peaks": [peak.to_dict() for peak in self.unexplained_peaks],
            "amorphous": None if self.amorphous is None else self.amorphous.to_dict(),
            "zero_shift": _finite(self.zero_shift),
            "displacement": _finite(self.displacement),
            "width": _finite(self.width),
            "weighted_residual": _finite(self.weighted_residual),
            "wavelength": self.wavelength,
            "sentence": self.sentence,
            **({"curves": arrays} if curves else {}),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, curves: np.ndarray) -> PhaseAnalysis:
        """The inverse of `to_dict(reflections=True)`.

        What that leaves out is unknown here: rows of the database are -1, the uncertainty of the zero shift is NaN.

        Args:
            values: as of `to_dict`; others, such as those of an identification, are ignored.
            curves: angles, measured intensity, background and each phase, shape (3 + phases, points).
        """
        two_theta, measured, background = np.asarray(curves[:3], dtype=np.float64)
        hump = values["amorphous"]
        return cls(
            phases=tuple(
                Phase.from_dict(one, calculated=np.asarray(curve, dtype=np.float64))
                for one, curve in zip(values["phases"], curves[3:], strict=True)
            ),
            two_theta=two_theta,
            measured=measured,
            background=background,
            unexplained_peaks=tuple(UnexplainedPeak(**peak) for peak in values["unexplained_peaks"]),
            unexplained_fraction=_or_nan(values["unexplained_fraction"]),
            amorphous=None if hump is None else AmorphousHump(**hump),
            verdict=values["verdict"],
            wavelength=values["wavelength"],
            zero_shift=_or_nan(values["zero_shift"]),
            u_zero_shift=math.nan,
            displacement=_or_nan(values["displacement"]),
            width=_or_nan(values["width"]),
            weighted_residual=_or_nan(values["weighted_residual"]),
        )

    def to_xarray(self) -> Dataset:
        """The curves over 2θ, those of the phases over `phase` too, with the results of the phases as coordinates."""
        import xarray  # noqa: PLC0415 - slow to import

        unit = {"units": "deg"}
        along, of_phase = ("two_theta",), ("phase", "two_theta")
        curves = (
            np.stack([phase.calculated for phase in self.phases]) if self.phases else np.zeros((0, self.two_theta.size))
        )
        cells = np.array([phase.cell for phase in self.phases]).reshape(-1, len(CELL_NAMES))
        u_cells = np.array([phase.u_cell for phase in self.phases]).reshape(-1, len(CELL_NAMES))
        numbers = ("weight_fraction", "u_weight_fraction", "probability", "size", "strain")
        return xarray.Dataset(
            {
                "measured": (along, self.measured),
                "background": (along, self.background),
                "calculated": (along, self.calculated),
                "difference": (along, self.difference),
                "phase_intensity": (of_phase, curves),
                "cell": (("phase", "cell_parameter"), cells, {"units": "Å, Å, Å, deg, deg, deg"}),
                "u_cell": (("phase", "cell_parameter"), u_cells, {"units": "Å, Å, Å, deg, deg, deg"}),
                **{
                    name: (("phase",), np.array([getattr(phase, name) for phase in self.phases], dtype=np.float64))
                    for name in numbers
                },
            },
            coords={
                "two_theta": (along, self.two_theta, unit),
                "cell_parameter": list(CELL_NAMES),
                "formula": (("phase",), np.array([phase.formula for phase in self.phases], dtype=str)),
                "source_id": (("phase",), np.array([phase.source_id for phase in self.phases], dtype=str)),
            },
            attrs={
                "verdict": self.verdict,
                "unexplained_fraction": self.unexplained_fraction,
                "wavelength": self.wavelength,
                "zero_shift": self.zero_shift,
                "displacement": self.displacement,
            },
        )

    def write_netcdf(self, path: Path) -> None:
        """Write `to_xarray()` as a netCDF file.

        Raises:
            InputError: the file cannot be written (E_WRITE).
        """
        try:
            self.to_xarray().to_netcdf(path, engine="h5netcdf")
        except OSError as error:
            msg = f"{shorten(path.name)}: cannot be written ({shorten(error)})"
            raise InputError(msg, code="E_WRITE") from error


def _or_nan(value: float | None) -> float:
    """A number of JSON, where None stands for one that is unknown."""
    return math.nan if value is None else float(value)


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _finite_list(values: np.ndarray) -> list[float | None]:
    return [_finite(value) for value in values.tolist()]


def cell_to_text(cell: np.ndarray, uncertainty: np.ndarray) -> str:
    """A cell with uncertainties, `a 4.7585(4)  c 12.9901(14)`: equal lengths once, without 90° and 120°."""
    parts: list[str] = []
    lengths: list[float] = []
    for name, value, error in zip(("a", "b", "c", *LATTICE_ANGLES), cell, uncertainty, strict=True):
        if name in LATTICE_ANGLES:
            if round(float(value), 3) in RIGHT_ANGLES:
                continue
        elif any(abs(value - other) < SAME_LENGTH for other in lengths):
            continue
        else:
            lengths.append(float(value))
        parts.append(f"{LATTICE_ANGLES.get(name, name)} {value_with_uncertainty(value, error)}")
    return "  ".join(parts)


def value_with_uncertainty(value: float, uncertainty: float) -> str:
    """A number with its standard uncertainty in units of the last digit, 4.7585(4), to at most four decimals.

    Source: International Union of Crystallography, the notation and the rule of one digit, or two up to 19.
    """
    if not math.isfinite(value):
        return "-"
    if not (math.isfinite(uncertainty) and uncertainty > 0):
        return f"{value:.4g}"
    digits = -math.floor(math.log10(uncertainty))
    if round(uncertainty * 10**digits) == 1:
        digits += 1
    digits = min(max(digits, 0), 4)
    return f"{value:.{digits}f}({max(round(uncertainty * 10**digits), 1)})"
