"""Refinement by rietx, the library of the extra `refine`; nothing else in the package knows its names.

Source: Y. Wu and M. W. Gaultois, rietx 1.10 (MIT licence).
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from xxact_core.errors import InputError, shorten
from xxact_core.quantities import space_group_to_crystal_system
from xxact_core.refinement.phases import StartingPhase, unique_names
from xxact_core.refinement.results import CELL_NAMES, RefinedPhase, Refinement
from xxact_core.refinement.settings import Geometry, RefinementSettings

WEAK_PHASE = 0.05
"""Weight fraction below which no displacement parameter is refined. Ours: a weaker pattern does not determine it."""

CELL_LIMIT = 0.03
"""Largest relative change of cell lengths. Ours: cells of reference databases are within 3 % of measured ones."""

ANGLE_LIMIT = 3.0
"""Largest change of cell angles [deg]. Ours."""

START_B = 0.5
"""Displacement parameter B from which phases start [Å²]. Ours: typical of inorganic materials at room temperature."""

LARGEST_B = 4.0
"""Largest B [Å²]. Ours: twice that of ordinary inorganic materials at room temperature."""

STRONGEST = 12
"""Number of strongest peaks whose median width starts the peak widths. Ours."""

START_WIDTH = 0.1
"""Width from which peaks start where none is found [deg]. Ours: usual for a laboratory diffractometer."""

POOR_FIT = 0.4
"""R_wp above background from which the fit is called poor. Ours: one of two equal phases missing gives about 0.6."""

LARGEST_ERROR = 0.5
"""Relative standard uncertainty from which sizes and strains are not stated. Ours."""

ANGSTROMS = 10.0
"""Å in a nanometre."""

WIDTHS_OF_STRAIN = 2.0
"""rietx states the full width of the distribution of d; the microstrain ε is half of it, Γ = 4 ε tan θ."""

LE_BAIL_PASSES = 8
"""Number of times that intensities are redistributed. Source: rietx, recommended for `mode="lebail"`."""

_AXIAL = "instrument.geometry.axial_"
"""Axial divergence: sample and receiving slit over radius, which only their sum determines."""

_SHIFTS = {
    "bragg_brentano": "instrument.geometry.sample_displacement",
    "debye_scherrer": "instrument.zero_shift",
}
"""The one parameter that shifts angles: few patterns distinguish zero shift and displacement."""


@dataclass(frozen=True, eq=False)
class Job:
    """What is refined; checked by `refine.refine`."""

    name: str
    """Name of the pattern."""
    two_theta: np.ndarray
    """Angles [deg 2θ], shape (points,)."""
    intensity: np.ndarray
    """Intensities, shape (points,)."""
    sigma: np.ndarray
    """Their standard uncertainties, shape (points,)."""
    wavelength: float
    """Wavelength [Å]."""
    anode: str | None
    """Anode of the X-ray tube; None for other radiation."""
    phases: tuple[StartingPhase, ...]
    """Phases in the order of the result."""
    settings: RefinementSettings
    """Method, geometry and what is refined."""


class Token:
    """The cancellation of rietx: an object that is asked between two evaluations."""

    def __init__(self, cancelled: Callable[[], bool]) -> None:
        self.is_set = cancelled

    def __bool__(self) -> bool:
        return self.is_set()


def check_installed() -> None:
    """Load the library, which takes about a second.

    Raises:
        ModuleNotFoundError: it is not installed.
    """
    import rietx  # noqa: PLC0415, F401 - an extra, and slow to import


def run(job: Job, *, progress: Callable[[int, int], None], cancelled: Callable[[], bool]) -> Refinement | None:
    """Refine; None where `cancelled` returned true.

    Raises:
        InputError: the library cannot refine these phases on this pattern (E_REFINEMENT).
        ModuleNotFoundError: rietx is not installed.
    """
    import rietx  # noqa: PLC0415 - an extra, and slow to import
    from rietx import RefinementCancelled  # noqa: PLC0415 - likewise

    began = time.perf_counter()
    names = unique_names(job.phases)
    lebail = job.settings.method == "lebail"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they are repeated among the diagnostics of the result
            data = rietx.PatternData(
                two_theta=job.two_theta.tolist(), intensity=job.intensity.tolist(), sigma=job.sigma.tolist()
            )
            structure = rietx.Structure(
                phases=[
                    phase_to_rietx(phase, name=name, texture=job.settings.texture and not lebail)
                    for phase, name in zip(job.phases, names, strict=True)
                ]
            )
            instrument = _instrument(job, data)
            refinement = rietx.Refinement(structure, instrument, history=False)
            if instrument.geometry.kind == "bragg_brentano":
                refinement.tie_equal([f"{_AXIAL}hl"], source=f"{_AXIAL}sl")
            stages = _stages(job)
            report = _Progress(progress, total=len(stages) + (1 if lebail else 2))
            fit = {"telemetry": False, "events": report, "cancel": Token(cancelled)}
            fit |= {"mode": job.settings.method, "two_theta_limits": (job.two_theta[0], job.two_theta[-1])}
            result = refinement.fit(data, plan=_plan(stages, job, last=lebail), **fit)
            if not lebail:
                parameters = [glob for _, globs in stages for glob in globs]
                parameters += _intensity_parameters(refinement, result, job)
                result = refinement.fit(data, plan=_plan([("intensities", parameters)], job, last=True), **fit)
            report.finish()
    except RefinementCancelled:
        return None
    except (ValueError, RuntimeError, ArithmeticError, np.linalg.LinAlgError) as error:
        msg = f"{job.name}: cannot be refined: {shorten(error, limit=300)}"
        raise InputError(msg, code="E_REFINEMENT") from error
    library = {"result": result, "structure": refinement.structure, "instrument": refinement.instrument, "data": data}
    return _to_refinement(job, names, library, seconds=time.perf_counter() - began)


class _Progress:
    """The events of rietx as progress, one unit a stage."""

    def __init__(self, progress: Callable[[int, int], None], *, total: int) -> None:
        self._progress, self._done, self._total = progress, 0, total
        progress(0, total)

    def __call__(self, event: Mapping[str, Any]) -> None:
        if event.get("kind") == "stage_end":
            self._done = min(self._done + 1, self._total - 1)
            self._progress(self._done, self._total)

    def finish(self) -> None:
        self._progress(self._total, self._total)


# --------------------------------------------------------------------------------------------------- what goes in
def phase_to_rietx(phase: StartingPhase, *, name: str, texture: bool) -> Any:  # noqa: ANN401 - rietx is optional
    """A phase of rietx: the setting by its operations, mixed sites as several atoms."""
    import rietx  # noqa: PLC0415 - an extra
    from gemmi import find_spacegroup_by_ops, symops_from_hall  # noqa: PLC0415 - comes with rietx

    known = find_spacegroup_by_ops(symops_from_hall(phase.structure.hall_symbol))
    limits = [(value * (1 - CELL_LIMIT), value * (1 + CELL_LIMIT)) for value in phase.cell[:3]]
    limits += [(value - ANGLE_LIMIT, value + ANGLE_LIMIT) for value in phase.cell[3:]]
    cell = {
        key: rietx.Parameter(value=float(value), min=low, max=high)
        for key, value, (low, high) in zip(CELL_NAMES, phase.cell, limits, strict=True)
    }
    atoms = []
    for site in phase.structure.sites:
        for place, (symbol, occupancy) in enumerate(site.species):
            x, y, z = (rietx.Parameter(value=float(value)) for value in site.position)
            label = site.label if place == 0 else f"{site.label}{chr(ord('A') + place)}"
            atoms.append(
                rietx.Atom(
                    label=label, species=symbol, x=x, y=y, z=z,
                    occ=rietx.Parameter(value=occupancy, min=0.0),
                    biso=rietx.Parameter(value=START_B, min=0.0, max=LARGEST_B),
                )
            )  # fmt: skip
    return rietx.Phase(
        name=name,
        space_group=phase.structure.symbol if known is None else known.xhm(),
        symmetry_operations=list(phase.structure.operations) if known is None else None,
        cell=rietx.Cell(**cell),
        atoms=atoms,
        preferred_orientation=_texture(phase) if texture else None,
    )


def _texture(phase: StartingPhase) -> Any:  # noqa: ANN401 - rietx is optional
    """No texture to start from, along c of a phase with one main axis; None for other phases."""
    import rietx  # noqa: PLC0415 - an extra

    if space_group_to_crystal_system(phase.structure.space_group) not in {"tetragonal", "trigonal", "hexagonal"}:
        return None
    return rietx.PreferredOrientation(axis=(0, 0, 1), r=rietx.Parameter(value=1.0, min=0.2, max=3.0))


def bare_instrument(*, wavelength: float, anode: str | None, geometry: Geometry | None) -> Any:  # noqa: ANN401 - rietx is optional
    """Radiation and geometry, by default a flat plate for Kα radiation and a capillary for other radiation."""
    import rietx  # noqa: PLC0415 - an extra

    geometry = geometry or ("debye_scherrer" if anode is None else "bragg_brentano")
    if geometry == "debye_scherrer" and anode is None:
        return rietx.Instrument.debye_scherrer(wavelength)
    instrument = rietx.Instrument.bragg_brentano(radiation=f"{anode or 'Cu'}Ka")
    if anode is None:
        instrument.source.lines = [rietx.EmissionLine(wavelength=wavelength)]
    instrument.geometry.kind = geometry
    return instrument


def _instrument(job: Job, data: Any) -> Any:  # noqa: ANN401 - rietx is optional
    """The instrument with a background and peak widths to start from."""
    import rietx  # noqa: PLC0415 - an extra

    instrument = bare_instrument(wavelength=job.wavelength, anode=job.anode, geometry=job.settings.geometry)
    instrument.background = rietx.auto_background(
        data, kind="chebyshev", seed=job.settings.method == "lebail"
    ).background
    if (known := job.settings.instrument) is not None:
        for key in ("u", "v", "w", "x", "y"):
            getattr(instrument.profile, key).value = getattr(known, key)
        return instrument
    peaks = sorted(rietx.pick_peaks(data, instrument).peaks, key=lambda peak: -peak.intensity)[:STRONGEST]
    width = float(np.median([peak.fwhm for peak in peaks])) if peaks else START_WIDTH
    instrument.profile.w.value = (0.6 * width) ** 2
    instrument.profile.x.value = 0.6 * width  # the sum of both parts is as wide as the peaks
    return instrument


def _stages(job: Job) -> list[tuple[str, list[str]]]:
    """Names and parameters of the stages, each of which keeps refining those of the stages before.

    Source: McCusker et al. (1999), J. Appl. Cryst. 32, 36-50.
    """
    tube = job.anode is not None
    geometry = job.settings.geometry or ("bragg_brentano" if tube else "debye_scherrer")
    scales = [] if job.settings.method == "lebail" else ["phases.*.scale"]
    stages = [
        ("background", [*scales, "instrument.background.*"]),
        ("shift", [_SHIFTS[geometry]]),
        ("cells", ["phases.*.cell.*"]),
    ]
    if job.settings.instrument is not None:
        stages.append(("broadening", ["phases.*.lor_size", "phases.*.lor_strain"]))
    else:
        stages += [
            ("widths", ["instrument.profile.w", "instrument.profile.x"]),
            ("profile", ["instrument.profile.u", "instrument.profile.v", "instrument.profile.y", "phases.*.lor_size"]),
        ]
    if tube:
        stages.append(("doublet", ["instrument.source.lines.*.weight"]))
    if tube and geometry == "bragg_brentano":
        stages.append(("asymmetry", [f"{_AXIAL}sl"]))
    return stages


def _plan(stages: Sequence[tuple[str, list[str]]], job: Job, *, last: bool) -> Any:  # noqa: ANN401 - rietx is optional
    """A plan; the last one ends with a stage in which everything is refined, peak tails included, to full precision."""
    import rietx  # noqa: PLC0415 - an extra

    plan = rietx.RefinementPlan(
        stages=[rietx.Stage(name, globs, max_iter=job.settings.most_iterations) for name, globs in stages]
    )
    plan.lebail_passes = LE_BAIL_PASSES
    if not last:
        plan.closing_window_tol = None
        plan.stages[-1].ftol = plan.intermediate_ftol
    return plan


def _intensity_parameters(refinement: Any, result: Any, job: Job) -> list[str]:  # noqa: ANN401 - rietx is optional
    """Paths of one B and of the texture of each phase that is strong enough to determine them."""
    if result.qpa is None:
        return []
    weights, paths = {one.name: one.weight_fraction or 0.0 for one in result.qpa.phases}, []
    for place, phase in enumerate(refinement.structure.phases):
        if weights.get(phase.name, 0.0) < WEAK_PHASE:
            continue
        if phase.preferred_orientation is not None:
            paths.append(f"phases.{place}.preferred_orientation.r")
        if job.settings.displacements:
            paths.append(f"phases.{place}.atoms.0.biso")
            if len(phase.atoms) > 1:
                refinement.tie_equal([f"phases.{place}.atoms.*.biso"], source=paths[-1])
    return paths


# -------------------------------------------------------------------------------------------------- what comes out
def _to_refinement(job: Job, names: Sequence[str], library: dict[str, Any], *, seconds: float) -> Refinement:
    import rietx  # noqa: PLC0415 - an extra

    result, instrument = library["result"], library["instrument"]
    values = {one.path: one for one in result.parameters}
    phases = tuple(
        _to_phase(place, start, name, job, library, values)
        for place, (start, name) in enumerate(zip(job.phases, names, strict=True))
    )
    statistics = result.statistics
    refinement = Refinement(
        name=job.name,
        method=job.settings.method,
        converged=result.status == "converged",
        phases=phases,
        wavelengths=tuple(float(line.wavelength.value) for line in instrument.source.lines),
        r_wp=float(statistics.rwp),
        r_exp=float(statistics.rexp),
        chi_squared=float(statistics.chi2),
        r_wp_without_background=_number(statistics.rwp_background_subtracted),
        zero_shift=_value(values, "instrument.zero_shift"),
        u_zero_shift=_uncertainty(values, "instrument.zero_shift"),
        displacement=_value(values, _SHIFTS["bragg_brentano"]),
        u_displacement=_uncertainty(values, _SHIFTS["bragg_brentano"]),
        two_theta=np.array(result.two_theta),
        observed=np.array(result.y_obs),
        calculated=np.array(result.y_calc),
        background=np.array(result.y_background),
        sigma=np.array(result.sigma),
        seconds=seconds,
        program=f"rietx {rietx.__version__}",
        library=library,
    )
    found = [*_to_warnings(refinement, values), *_errors(result)]
    return Refinement(**{**vars(refinement), "warnings": tuple(found)})


def _to_phase(
    place: int, start: StartingPhase, name: str, job: Job, library: dict[str, Any], values: Mapping[str, Any]
) -> RefinedPhase:
    result = library["result"]
    refined = library["structure"].phases[place].cell
    cell = np.array([getattr(refined, key).value for key in CELL_NAMES])
    u_cell = np.array([_uncertainty(values, f"phases.{place}.cell.{key}") for key in CELL_NAMES])
    quantity = next((one for one in result.qpa.phases if one.name == name), None) if result.qpa else None
    agreement = next((one for one in result.phase_agreement if one.name == name), None)
    path = f"phases.{place}.atoms.0.biso"
    known = job.settings.instrument is not None
    size, u_size = _broadening(result, place, "lor_size") if known else (math.nan, math.nan)
    strain, u_strain = _broadening(result, place, "lor_strain") if known else (math.nan, math.nan)
    return RefinedPhase(
        start=start,
        name=name,
        cell=cell,
        u_cell=_tied(u_cell, cell, place, values),
        weight_fraction=_number(quantity and quantity.weight_fraction),
        u_weight_fraction=_number(quantity and quantity.weight_fraction_stderr),
        scale_factor=_value(values, f"phases.{place}.scale"),
        u_scale_factor=_uncertainty(values, f"phases.{place}.scale"),
        b_iso=_value(values, path),
        u_b_iso=_uncertainty(values, path),
        texture=_value(values, f"phases.{place}.preferred_orientation.r"),
        u_texture=_uncertainty(values, f"phases.{place}.preferred_orientation.r"),
        size=size / ANGSTROMS,
        u_size=u_size / ANGSTROMS,
        strain=strain / WIDTHS_OF_STRAIN,
        u_strain=u_strain / WIDTHS_OF_STRAIN,
        r_bragg=_number(agreement and agreement.r_bragg),
        two_theta=np.array(result.ticks.get(name, [])),
        hkl=np.array(result.tick_hkl.get(name, []), dtype=np.int64).reshape(-1, 3),
    )


def _broadening(result: Any, place: int, name: str) -> tuple[float, float]:  # noqa: ANN401 - rietx is optional
    """Size [Å] or strain of a phase with its standard uncertainty; NaN where its peaks are no broader than by it."""
    term = next((one.term(name) for one in result.microstructure if one.phase_index == place), None)
    if term is None or term.value is None or not _number(term.esd) < LARGEST_ERROR * term.value:
        return math.nan, math.nan
    return float(term.value), float(term.esd)


def _tied(u_cell: np.ndarray, cell: np.ndarray, place: int, values: Mapping[str, Any]) -> np.ndarray:
    """Uncertainties of lengths and angles that symmetry makes equal to another one."""
    for group in ((0, 1, 2), (3, 4, 5)):
        for index in group:
            row = values.get(f"phases.{place}.cell.{CELL_NAMES[index]}")
            if u_cell[index] == 0 and (row is None or not row.vary):
                equal = [other for other in group if u_cell[other] > 0 and math.isclose(cell[other], cell[index])]
                u_cell[index] = u_cell[equal[0]] if equal else 0.0
    return u_cell


def _to_warnings(refinement: Refinement, values: Mapping[str, Any]) -> list[str]:
    found = []
    if not refinement.converged:
        found.append("the refinement did not converge: the values are those where it stopped")
    for place, phase in enumerate(refinement.phases):
        if refinement.method == "rietveld" and not phase.scale_factor > 3 * phase.u_scale_factor:
            found.append(f"{phase.name} is not seen in the pattern: its scale is within three uncertainties of 0")
        at_limit = [key for key in CELL_NAMES if _at_bound(values, f"phases.{place}.cell.{key}")]
        if at_limit:
            found.append(
                f"the cell of {phase.name} reached the limit of its change ({', '.join(at_limit)}): it is another "
                f"phase, or starts too far from the measured cell"
            )
    if refinement.r_wp_without_background > POOR_FIT:
        found.append(
            f"poor fit: R_wp is {100 * refinement.r_wp_without_background:.0f} % above the background; a phase is "
            f"missing or wrong"
        )
    return found


def _errors(result: Any) -> list[str]:  # noqa: ANN401 - rietx is optional
    return [shorten(one.message, limit=300) for one in result.diagnostics if one.level == "error"]


def _at_bound(values: Mapping[str, Any], path: str) -> bool:
    return path in values and values[path].at_bound is True


def _value(values: Mapping[str, Any], path: str) -> float:
    return _number(values[path].value) if path in values else math.nan


def _uncertainty(values: Mapping[str, Any], path: str) -> float:
    """Standard uncertainty of a parameter: 0 where it was not refined, NaN where the pattern does not determine it."""
    if path not in values or not values[path].vary:
        return 0.0
    return _number(values[path].stderr)


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


# ------------------------------------------------------------------------------------------------- for other programs
def write_projects(library: Mapping[str, Any], folder: Path) -> tuple[list[Path], dict[str, str]]:
    """Write the fit as a page, and the refinement as project files of TOPAS, FullProf, GSAS and GSAS-II.

    Returns:
        Paths of the files, and for each file that lacks something what it lacks.

    Raises:
        OSError: a file cannot be written.
    """
    import rietx  # noqa: PLC0415 - an extra
    from rietx.viz.html import write_html  # noqa: PLC0415 - likewise

    structure, instrument, data = library["structure"], library["instrument"], library["data"]
    symmetric = instrument.model_copy(deep=True)  # a .pcr expresses displacement and asymmetry in another way
    for name in ("sample_displacement", "axial_sl", "axial_hl"):
        getattr(symmetric.geometry, name).value = 0.0
    refined = [one.path for one in library["result"].parameters if one.vary]
    writers: dict[str, Callable[[Path, list[Any]], None]] = {
        "report.html": lambda path, _notes: write_html(library["result"], str(path)),
        "topas.inp": lambda path, notes: rietx.write_topas_inp(
            structure, path, diagnostics=notes, instrument=instrument, pattern=data, free=refined
        ),
        "fullprof.pcr": lambda path, notes: rietx.write_fullprof_pcr(
            structure, path, diagnostics=notes, instrument=symmetric
        ),
        "gsas.EXP": lambda path, notes: rietx.write_gsas_exp(structure, path, diagnostics=notes),
        "gsas2.instprm": lambda path, notes: rietx.write_gsas2_instprm(instrument, path, diagnostics=notes),
    }
    written, lacking = [], {}
    for name, write in writers.items():
        path = folder / name
        notes: list[Any] = []
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # they are among the notes
                write(path, notes)
        except (ValueError, RuntimeError, NotImplementedError) as error:
            lacking[name] = f"not written: {shorten(error, limit=300)}"
            continue
        written.append(path)
        if notes:
            lacking[name] = "; ".join(dict.fromkeys(shorten(note.message, limit=300) for note in notes))
    if (folder / "fullprof.pcr") in written and symmetric != instrument:
        notes = [
            lacking.get("fullprof.pcr"),
            "states neither sample displacement nor asymmetry: let FullProf refine them",
        ]
        lacking["fullprof.pcr"] = "; ".join(filter(None, notes))
    if (folder / "topas.inp") in written:
        written.append(folder / "topas.xye")
    return written, lacking
