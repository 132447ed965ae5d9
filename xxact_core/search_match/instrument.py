"""Width of the peaks that an instrument gives, measured on a standard and kept in a file."""

from __future__ import annotations

import json
import math
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from xxact_core.errors import InputError, os_error_to_text, shorten
from xxact_core.patterns.pattern import Pattern
from xxact_core.search_match.measured_profile import measure_profile
from xxact_core.search_match.phase_lines import PhaseLines, structure_to_phase_lines
from xxact_core.search_match.profile_fit import Freedom, fit_model, weighted_residual
from xxact_core.search_match.profile_model import InstrumentWidth, ModelState, PhaseState, voigt_width
from xxact_core.structures.structure import Structure

DEFAULT_INSTRUMENT = InstrumentWidth(w=0.06**2, x=0.02)
"""Width assumed where none was measured: a laboratory diffractometer of good resolution. Ours."""

LARGEST_RESIDUAL = 0.5
"""Largest R_wp of a standard that is accepted: above, the pattern is that of another material. Ours."""


@dataclass(frozen=True)
class Standard:
    """A line-profile standard."""

    name: str
    """Name, formula first."""
    cell: tuple[float, float, float, float, float, float]
    """Cell a, b, c [Å], α, β, γ [deg]."""
    atoms: tuple[tuple[int, float, float, float], ...]
    """Atomic number and fractional coordinates of all atoms."""


def _face_centred(number: int, *places: tuple[float, float, float]) -> tuple[tuple[int, float, float, float], ...]:
    shifts = ((0, 0, 0), (0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0))
    return tuple((number, (x + u) % 1, (y + v) % 1, (z + w) % 1) for x, y, z in places for u, v, w in shifts)


def _corundum() -> tuple[tuple[int, float, float, float], ...]:
    z, x = 0.35219, 0.30633
    atoms: list[tuple[int, float, float, float]] = []
    for a, b, c in ((0.0, 0.0, 0.0), (2 / 3, 1 / 3, 1 / 3), (1 / 3, 2 / 3, 2 / 3)):
        atoms += [(13, a % 1, b % 1, (c + height) % 1) for height in (z, 0.5 - z, -z, 0.5 + z)]
        for height, sign in ((0.25, 1), (0.75, -1)):
            places = ((sign * x, 0.0), (0.0, sign * x), (-sign * x, -sign * x))
            atoms += [(8, (a + u) % 1, (b + v) % 1, (c + height) % 1) for u, v in places]
    return tuple(atoms)


STANDARDS = {
    "LaB6": Standard(
        "LaB6 (SRM 660c)",
        (4.156826, 4.156826, 4.156826, 90.0, 90.0, 90.0),
        (
            (57, 0.0, 0.0, 0.0),
            *((5, *place) for place in ((0.1993, 0.5, 0.5), (0.8007, 0.5, 0.5), (0.5, 0.1993, 0.5))),
            *((5, *place) for place in ((0.5, 0.8007, 0.5), (0.5, 0.5, 0.1993), (0.5, 0.5, 0.8007))),
        ),
    ),
    "Si": Standard(
        "Si (SRM 640f)",
        (5.431144, 5.431144, 5.431144, 90.0, 90.0, 90.0),
        _face_centred(14, (0.0, 0.0, 0.0), (0.25, 0.25, 0.25)),
    ),
    "Al2O3": Standard("corundum (SRM 676a)", (4.759355, 4.759355, 12.99231, 90.0, 90.0, 120.0), _corundum()),
}
"""Standards by formula. Source: certificates of NIST SRM 660c, 640f and 676a; atoms of the structure types."""

WORKSPACE_VARIABLE = "XXACT_WORKSPACE"
"""Environment variable that names the workspace."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}")

OTHER_NAMES = {"corundum": "Al2O3", "alumina": "Al2O3", "silicon": "Si", "lanthanum hexaboride": "LaB6"}


@dataclass(frozen=True)
class InstrumentProfile:
    """Width of the peaks of a diffractometer: Γ_G² = U tan²θ + V tan θ + W, Γ_L = X / cos θ + Y tan θ."""

    u: float
    """U [deg²]."""
    v: float
    """V [deg²]."""
    w: float
    """W [deg²]."""
    x: float
    """X [deg]."""
    y: float
    """Y [deg]."""
    wavelength: float
    """Wavelength of the measurement [Å]."""
    standard: str
    """Material that was measured."""
    first: float
    """First angle of the measurement [deg 2θ]."""
    last: float
    """Last angle of the measurement [deg 2θ]."""
    weighted_residual: float
    """R_wp of the fit, 0-1."""

    @property
    def width(self) -> InstrumentWidth:
        """The widths for a calculation."""
        return InstrumentWidth(u=self.u, v=self.v, w=self.w, x=self.x, y=self.y)

    def fwhm(self, two_theta: np.ndarray | float) -> np.ndarray:
        """Full width at half maximum [deg] at these angles [deg]."""
        tangent = np.tan(np.radians(np.asarray(two_theta, dtype=np.float64) / 2))
        return voigt_width(self.width.gaussian(tangent), self.width.lorentzian(tangent))[0]

    def write(self, path: Path) -> None:
        """Write as a JSON file.

        Raises:
            InputError: the file cannot be written (E_WRITE).
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise InputError(os_error_to_text(error), code="E_WRITE") from error

    @classmethod
    def read(cls, path: Path) -> InstrumentProfile:
        """Read a file that `write` made.

        Raises:
            InputError: the file is missing, or no profile of an instrument (E_INSTRUMENT).
        """
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            numbers = {name: float(values[name]) for name in cls.__dataclass_fields__ if name != "standard"}
        except OSError as error:
            raise InputError(os_error_to_text(error), code="E_INSTRUMENT") from error
        except (ValueError, TypeError, KeyError) as error:
            msg = f"{shorten(path.name)}: is no instrument profile ({shorten(error)}); "
            msg += "expected a JSON file made by `xxact instrument`"
            raise InputError(msg, code="E_INSTRUMENT") from error
        if not all(math.isfinite(value) for value in numbers.values()) or numbers["w"] < 0:
            msg = f"{shorten(path.name)}: holds widths that are not finite, or a negative W"
            raise InputError(msg, code="E_INSTRUMENT")
        return cls(standard=str(values["standard"]), **numbers)


def instruments_folder() -> Path:
    """The folder of saved instruments: in the workspace, which the environment may name, as for the app."""
    import platformdirs  # noqa: PLC0415 - only where an instrument is saved or named

    chosen = os.environ.get(WORKSPACE_VARIABLE) or platformdirs.user_data_path("xxact", appauthor=False)
    return Path(chosen).expanduser() / "instruments"


def read_instrument(name: str) -> InstrumentProfile:
    """A saved instrument by its name, or by the path of its file.

    Raises:
        InputError: there is none of that name, or the file is no instrument profile (E_INSTRUMENT).
    """
    path = Path(name)
    if path.suffix == ".json" or path.exists():
        return InstrumentProfile.read(path)
    folder = instruments_folder()
    if not _NAME.fullmatch(name) or not (folder / f"{name}.json").is_file():
        names = sorted(found.stem for found in folder.glob("*.json")) if folder.is_dir() else []
        known = f"there are {', '.join(names)}" if names else "`xxact instrument FILE --standard LaB6` saves one"
        msg = f"no instrument is called {shorten(name)!r}; {known}"
        raise InputError(msg, code="E_INSTRUMENT")
    return InstrumentProfile.read(folder / f"{name}.json")


def save_instrument(profile: InstrumentProfile, name: str) -> Path:
    """Save an instrument under a name, in place of one of the same name; returns the file.

    Raises:
        InputError: the name is not valid (E_INSTRUMENT), or the file cannot be written (E_WRITE).
    """
    if not _NAME.fullmatch(name):
        msg = f"the name {shorten(name)!r} cannot be a file name: use up to 60 letters, digits, dots, - and _"
        raise InputError(msg, code="E_INSTRUMENT")
    path = instruments_folder() / f"{name}.json"
    profile.write(path)
    return path


def standard_lines(name: str, *, wavelength: float, two_theta_range: tuple[float, float]) -> PhaseLines:
    """Reflections of a standard.

    Raises:
        InputError: the standard is not known (E_INSTRUMENT).
    """
    standard = STANDARDS.get(OTHER_NAMES.get(name.lower(), name))
    if standard is None:
        msg = f"standard {shorten(name)!r} is not known; expected one of {', '.join([*STANDARDS, *OTHER_NAMES])}"
        raise InputError(msg, code="E_INSTRUMENT")
    structure = Structure(
        id=standard.name,
        cell=np.array(standard.cell),
        atomic_numbers=np.array([atom[0] for atom in standard.atoms]),
        frac_coords=np.array([atom[1:] for atom in standard.atoms]),
        occupancies=np.ones(len(standard.atoms)),
    )
    return structure_to_phase_lines(structure, wavelength=wavelength, two_theta_range=two_theta_range, measured=True)


def measure_instrument(pattern: Pattern, *, standard: str, wavelength: str | float | None = None) -> InstrumentProfile:
    """Fit the widths of an instrument to the pattern of a line-profile standard.

    The peaks of the standard are taken to be as narrow as the instrument shows any.

    Args:
        pattern: of the standard, at least 60° long for reliable widths.
        standard: one of `STANDARDS`, or a name such as corundum.
        wavelength: in Å or by name; overrides that of the file.

    Raises:
        InputError: the standard is not known, or the pattern is not that of the standard (E_INSTRUMENT).
        PatternError: the pattern cannot be used.
        WavelengthError: neither the file nor the call states the wavelength.
    """
    measured = measure_profile(pattern, wavelength=wavelength)
    angles = measured.two_theta
    reach = (max(float(angles[0]) - 1, 0.5), min(float(angles[-1]) + 1, 170.0))
    lines = standard_lines(standard, wavelength=measured.radiation.wavelength, two_theta_range=reach)
    phase = PhaseState(lines, np.zeros(len(lines.change)), size_width=measured.width / 4)
    model = ModelState((phase,), InstrumentWidth(w=(0.7 * measured.width) ** 2))
    fit = fit_model(measured, model, iterations=15)
    fit = fit_model(
        measured, fit.model, Freedom(width_slope=True, microstrains=True, displacements=True), iterations=25, reach=15
    )
    residual = weighted_residual(measured, fit.calculated)
    explained = 1 - fit.misfit / float((measured.weight * measured.net**2).sum())
    if explained < 1 - LARGEST_RESIDUAL:
        msg = f"{pattern.name}: is not the pattern of {STANDARDS[OTHER_NAMES.get(standard.lower(), standard)].name}: "
        msg += f"the standard explains {100 * max(explained, 0):.0f} % of it"
        raise InputError(msg, code="E_INSTRUMENT")
    fitted = fit.model.phases[0]
    width = fit.model.instrument
    return InstrumentProfile(
        u=width.u,
        v=width.v,
        w=width.w,
        x=fitted.size_width,
        y=fitted.strain_width,
        wavelength=measured.radiation.wavelength,
        standard=STANDARDS[OTHER_NAMES.get(standard.lower(), standard)].name,
        first=float(angles[0]),
        last=float(angles[-1]),
        weighted_residual=residual,
    )
