"""An analysed pattern → a NeXus file after NXxrd_pan or NXxrd: pattern, processing steps, phases and prediction.

Source: the application definitions NXxrd_pan, NXxrd and NXmonopd, the base classes NXprocess, NXparameters and NXdata,
and the names of fields of NXsample, of the NeXus definitions as FAIRmat extends them, 2026.
"""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import h5py
import numpy as np

from xxact_core.patterns.conversions import WAVELENGTHS
from xxact_core.patterns.pattern import Pattern
from xxact_core.reports.analysed_pattern import AnalysedPattern
from xxact_core.structures.space_groups import space_group_name

KEV_ANGSTROM = 12.398419843320026
"""hc [keV Å]: photon energy times wavelength. Source: exact, from the SI of 2019."""

NOT_STATED = "not stated"
"""Text in place of what the definition requires and the measured file does not state; numbers are NaN."""

_TUBE_TOLERANCE = 2e-4
"""Relative difference of the wavelength from that of the tube up to which it is that of its Kα lines. Ours."""

_DIGITS = 6
"""Digits of the strongest intensity that are kept where whole numbers are required. Ours."""

_TEMPERATURE_UNITS = {"K": "K", "°C": "degC"}
"""Units of temperatures in the metadata of a pattern → in NeXus."""

_LARGEST_COUNT, _LARGEST_POWER = 2.0**62, 300
"""Whole numbers of 64 bits and powers of ten in double precision end a little above these."""

_RATIO = re.compile(r"ratio ([0-9.]+)")


def pattern_to_nexus(pattern: Pattern, *, start: datetime | None = None) -> bytes:
    """A measured pattern alone as the content of a NeXus file.

    Args:
        pattern: with or without a wavelength.
        start: start of the measurement, or the best that is known of it; stated as such.
    """
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        _write_pattern(file, pattern, file_name=pattern.name, wavelength=pattern.wavelength, start=start)
    return buffer.getvalue()


def analysed_to_nexus(analysed: AnalysedPattern, *, when: datetime, start: datetime | None = None) -> bytes:
    """An analysed pattern as the content of a NeXus file.

    `read_pattern` reads the measured points and their wavelength back.

    Args:
        analysed: the pattern.
        when: time of the analysis.
        start: start of the measurement; `when` in its place is stated to be that of the analysis.
    """
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        wavelength = analysed.pattern.wavelength or analysed.analysis.wavelength
        entry = _write_pattern(
            file, analysed.pattern, file_name=analysed.source.name, wavelength=wavelength, start=start, when=when
        )
        program = _program(analysed)
        entry["program_name"] = program[0]
        entry["program_name"].attrs["version"] = program[1]
        _write_processing(entry, analysed, when=when)
        _write_phases(entry, analysed, when=when)
        _write_prediction(entry, analysed, when=when)
    return buffer.getvalue()


def _program(analysed: AnalysedPattern) -> tuple[str, str]:
    program = analysed.program
    return str(program["name"]), str(program["version"])


# ------------------------------------------------------------------------------------------------------ the measurement
def _write_pattern(
    file: h5py.File,
    pattern: Pattern,
    *,
    file_name: str,
    wavelength: float | None,
    start: datetime | None,
    when: datetime | None = None,
) -> h5py.Group:
    """The entry with instrument, sample and measured points."""
    tube = _tube_lines(pattern, wavelength)
    file.attrs["default"] = "entry"
    entry = _group(file, "entry", "NXentry")
    entry.attrs["default"] = "experiment_result"
    entry["definition"] = "NXxrd_pan" if tube else "NXxrd"
    entry["title"] = _clean(pattern.name)
    notes = []
    if (stated := start or when) is not None:
        entry["start_time"] = stated.astimezone().isoformat(timespec="seconds")
    if start is None and when is not None:
        notes.append("start_time is the time of the analysis: the start of the measurement is not stated")
    if tube and "anode" not in pattern.metadata:
        notes.append("the material of the tube was inferred from the wavelength")
    if tube:
        entry["data_file"] = _clean(file_name)
        entry["method"] = "X-Ray Diffraction (XRD)"
        entry["measurement_type"] = "powder diffraction"
    instrument = _group(entry, "instrument", "NXinstrument")
    _write_source(_group(instrument, "source", "NXsource"), tube)
    if wavelength is not None:
        beam = _group(instrument, "beam", "NXbeam")
        _number(beam, "incident_energy", KEV_ANGSTROM / wavelength, "keV")
        _number(beam, "incident_wavelength", wavelength, "angstrom")
        _number(_group(instrument, "crystal", "NXcrystal"), "wavelength", [wavelength], "angstrom")
    detector = _group(instrument, "detector", "NXdetector")
    _number(detector, "polar_angle", pattern.two_theta, "deg")
    counts, factor = _whole_numbers(pattern.intensity)
    _array(detector, "data", counts)
    detector["data"].attrs["long_name"] = "counts"
    if factor != 1:
        notes.append(f"detector/data is the intensity times {factor:g}, as whole numbers; experiment_result is exact")
    seconds = _to_number(pattern.metadata.get("step_seconds", ""))
    if math.isfinite(seconds):
        _number(detector, "count_time", seconds, "s")
    if tube:
        detector["scan_axis"] = _clean(pattern.metadata.get("scan_axis", NOT_STATED))
        detector["scan_mode"] = NOT_STATED
    _write_sample(entry, pattern, more=tube is not None)
    monitor = _group(entry, "control", "NXmonitor")
    monitor["mode"] = "timer"
    _number(monitor, "preset", seconds, "s")
    _number(monitor, "integral", math.nan, "counts")
    result = _group(entry, "experiment_result", "NXdata")
    result.attrs.update({"signal": "intensity", "axes": ["two_theta"], "two_theta_indices": 0})
    result["two_theta"] = result["polar_angle"] = detector["polar_angle"]  # one dataset under the names of both
    _array(result, "intensity", pattern.intensity)
    result["data"] = result["intensity"]
    if notes:
        _group(entry, "note", "NXnote")["description"] = "; ".join(notes)
    return entry


def _tube_lines(pattern: Pattern, wavelength: float | None) -> tuple[str, float, float, float] | None:
    """Anode, Kα1 [Å], Kα2 [Å] and their ratio; None where the radiation is not that of a known tube."""
    anode = pattern.metadata.get("anode")
    names = [anode] if anode else ["Cu", "Co", "Mo", "Fe", "Cr", "Ag"]
    for name in names:
        known = [WAVELENGTHS.get(f"{name}{line}") for line in ("Ka1", "Ka2", "Ka")]
        if wavelength is None or None in known:
            continue
        first, second, mean = (float(value) for value in known if value is not None)
        if math.isclose(wavelength, first, rel_tol=_TUBE_TOLERANCE):
            return name, first, second, 0.0
        if math.isclose(wavelength, mean, rel_tol=_TUBE_TOLERANCE):
            ratio = _RATIO.match(pattern.metadata.get("kalpha2", ""))
            return name, first, second, float(ratio[1]) if ratio and float(ratio[1]) > 0 else 0.5
    return None


def _write_source(source: h5py.Group, tube: tuple[str, float, float, float] | None) -> None:
    source["probe"] = "x-ray"
    source["name"] = NOT_STATED
    if tube is None:
        source["type"] = NOT_STATED
        source["type"].attrs["custom"] = True
        return
    anode, first, second, ratio = tube
    source["type"] = "Fixed Tube X-ray"
    source["xray_tube_material"] = anode
    _number(source, "xray_tube_current", math.nan, "mA")
    _number(source, "xray_tube_voltage", math.nan, "kV")
    _number(source, "k_alpha_one", first, "angstrom")
    _number(source, "k_alpha_two", second, "angstrom")
    _number(source, "ratio_k_alphatwo_k_alphaone", ratio, "")


def _whole_numbers(intensity: np.ndarray) -> tuple[np.ndarray, float]:
    """The intensities as whole numbers, as NXmonopd requires counts, and the power of ten by which they were scaled."""
    largest = float(np.abs(intensity).max())
    factor = 1.0
    if largest >= _LARGEST_COUNT:
        factor = 10.0 ** math.floor(_DIGITS - math.log10(largest))
    elif not (intensity == np.round(intensity)).all() and largest > 0:
        factor = 10.0 ** min(max(0, math.ceil(_DIGITS - math.log10(largest))), _LARGEST_POWER)
    return np.rint(intensity * factor).astype(np.int64), factor


def _write_sample(entry: h5py.Group, pattern: Pattern, *, more: bool) -> None:
    """The sample; `more` with the fields of NXxrd_pan."""
    sample = _group(entry, "sample", "NXsample")
    name = _clean(pattern.metadata.get("sample", pattern.name))
    sample["name"] = name
    if more:
        sample["sample_mode"] = "powder"
        sample["sample_id"] = NOT_STATED
        sample["sample_name"] = name
    _number(sample, "rotation_angle", math.nan, "deg")
    value, _, unit = pattern.metadata.get("temperature", "").partition(" ")
    if math.isfinite(_to_number(value)) and unit in _TEMPERATURE_UNITS:
        _number(sample, "temperature", float(value), _TEMPERATURE_UNITS[unit])


# ----------------------------------------------------------------------------------------------- processing and results
def _write_processing(entry: h5py.Group, analysed: AnalysedPattern, *, when: datetime) -> None:
    """A process for each step to the grid, with its settings, and the gridded pattern."""
    for number, (step, stage) in enumerate(
        zip(analysed.pipeline.steps, analysed.processed.stages[1:], strict=True), start=1
    ):
        process = _process(entry, f"process_{number}", analysed, when=when, number=number)
        settings = _group(process, "settings", "NXparameters")
        values = step.to_dict()
        process["note/description"] = str(values.pop("step"))
        for name, value in values.items():
            if value is not None:
                settings[name] = value if isinstance(value, bool | int | float | str) else json.dumps(value)
        if stage.background is not None:
            background = _group(process, "background", "NXdata")
            background.attrs.update({"signal": "background", "axes": ["two_theta"], "two_theta_indices": 0})
            _number(background, "two_theta", stage.two_theta, "deg")
            background["background"] = stage.background
    gridded = analysed.processed.gridded
    process = _process(entry, "model_input", analysed, when=when, number=len(analysed.pipeline.steps) + 1)
    process["note/description"] = "the pattern on the grid of the model, at Cu Kα, scaled to a maximum of 100"
    grid = _group(process, "gridded", "NXdata")
    grid.attrs.update({"signal": "intensity", "axes": ["two_theta"], "two_theta_indices": 0})
    _number(grid, "two_theta", gridded.grid.two_theta, "deg")
    _array(grid, "intensity", gridded.intensity)
    _array(grid, "coverage", gridded.coverage.astype(np.uint8))


def _write_phases(entry: h5py.Group, analysed: AnalysedPattern, *, when: datetime) -> None:
    fit, found = analysed.analysis, analysed.found
    process = _process(entry, "phase_analysis", analysed, when=when, number=len(analysed.pipeline.steps) + 2)
    process["note/description"] = "search in reference phases, and joint fit of the phases found"
    results = _group(process, "results", "NXparameters")
    results["verdict"], results["sentence"] = fit.verdict, fit.sentence
    results["certainty"] = analysed.certainty
    results["composition_given"] = analysed.settings.composition
    results["data_file"] = _clean(analysed.source.name)
    results["sha256_of_data_file"] = analysed.source.sha256
    results["reference_digest"] = analysed.reference_digest
    results["candidates"] = found.candidates
    for name, value, unit in (
        ("unexplained_fraction", fit.unexplained_fraction, ""),
        ("no_match_probability", found.no_match_probability, ""),
        ("weighted_residual", fit.weighted_residual, ""),
        ("zero_shift", fit.zero_shift, "deg"),
        ("displacement_shift", fit.displacement, "deg"),
        ("peak_width", fit.width, "deg"),
        ("fit_wavelength", fit.wavelength, "angstrom"),
    ):
        _number(results, name, value, unit)
    if warnings := [*found.warnings, *fit.warnings]:
        results["warnings"] = "\n".join(dict.fromkeys(warnings))
    curves = _group(process, "fit", "NXdata")
    curves.attrs.update({
        "signal": "measured", "axes": ["two_theta"], "two_theta_indices": 0,
        "auxiliary_signals": ["calculated", "background", "difference"],
    })  # fmt: skip
    _number(curves, "two_theta", fit.two_theta, "deg")
    for name in ("measured", "calculated", "background", "difference"):
        _array(curves, name, getattr(fit, name))
    for number, phase in enumerate(fit.phases, start=1):
        group = _group(process, f"phase_{number}", "NXparameters")
        group["chemical_formula"], group["label"] = phase.formula, phase.label
        group["reference_id"] = phase.source_id
        if phase.name:
            group["mineral_name"] = phase.name
        if phase.space_group is not None:
            group["space_group"] = space_group_name(str(phase.space_group))
            group["space_group_number"] = phase.space_group
        for name, values, unit in (
            ("weight_fraction", phase.weight_fraction, ""),
            ("weight_fraction_errors", phase.u_weight_fraction, ""),
            ("unit_cell_abc", phase.cell[:3], "angstrom"),
            ("unit_cell_abc_errors", phase.u_cell[:3], "angstrom"),
            ("unit_cell_alphabetagamma", phase.cell[3:], "deg"),
            ("unit_cell_alphabetagamma_errors", phase.u_cell[3:], "deg"),
            ("probability", phase.probability, ""),
            ("crystallite_size", phase.size, "nm"),
            ("crystallite_size_errors", phase.u_size, "nm"),
            ("microstrain", phase.strain, ""),
            ("reflection_two_theta", phase.two_theta, "deg"),
            ("reflection_intensity", phase.intensity, ""),
        ):
            _number(group, name, values, unit)
        group["reflection_hkl"] = phase.hkl
        _array(group, "calculated", phase.calculated)


def _write_prediction(entry: h5py.Group, analysed: AnalysedPattern, *, when: datetime) -> None:
    prediction = analysed.prediction
    if prediction is None:
        return
    process = _process(entry, "prediction", analysed, when=when, number=len(analysed.pipeline.steps) + 3)
    process["note/description"] = "prediction of a trained model, in agreement with the phases"
    results = _group(process, "results", "NXparameters")
    results["composition"] = prediction.formula
    if analysed.model_digest is not None:
        results["model_sha256"] = analysed.model_digest
    for name in ("formation_energy_per_atom", "band_gap"):
        estimate = getattr(prediction, name)
        if estimate is None:
            continue
        _number(results, name, estimate.value, estimate.unit)
        for end in ("low", "high"):
            if getattr(estimate, end) is not None:
                _number(results, f"{name}_{end}", getattr(estimate, end), estimate.unit)
    for name in ("crystal_system", "space_group"):
        ranked = [one for one in getattr(prediction, name) if one.probability >= 0.001]  # noqa: PLR2004 - as shown
        if ranked:
            results[name] = ranked[0].label
            results[f"{name}_labels"] = [one.label for one in ranked]
            _number(results, f"{name}_probabilities", np.array([one.probability for one in ranked]), "")


# ---------------------------------------------------------------------------------------------------------- small parts
def _clean(text: str) -> str:
    """Text without characters that HDF5 cannot store."""
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", " ")


def _to_number(text: str) -> float:
    """The number that a text of the metadata is; NaN where it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _group(parent: h5py.Group, name: str, kind: str) -> h5py.Group:
    group = parent.create_group(name)
    group.attrs["NX_class"] = kind
    return group


def _process(entry: h5py.Group, name: str, analysed: AnalysedPattern, *, when: datetime, number: int) -> h5py.Group:
    process = _group(entry, name, "NXprocess")
    process["program"], process["version"] = _program(analysed)
    process["date"] = when.astimezone().isoformat(timespec="seconds")
    process["sequence_index"] = number
    _group(process, "note", "NXnote")
    return process


def _number(group: h5py.Group, name: str, value: Any, unit: str) -> None:  # noqa: ANN401 - a number or an array
    """Write a number or an array of floats with its unit; NaN says that it is not known."""
    group[name] = np.asarray(value, dtype=np.float64)
    attributes: Mapping[str, str] = {"units": unit} if unit else {}
    group[name].attrs.update(attributes)


def _array(group: h5py.Group, name: str, values: np.ndarray) -> None:
    """Write a long array, compressed, with a checksum."""
    group.create_dataset(name, data=values, compression="gzip", compression_opts=4, shuffle=True, fletcher32=True)
