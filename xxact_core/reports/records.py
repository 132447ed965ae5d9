"""An analysed pattern → a record of named values with units, and a table with a row for each pattern."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from xxact_core.quantities import BAND_GAP, CRYSTAL_SYSTEM, FORMATION_ENERGY, SPACE_GROUP
from xxact_core.reports.analysed_pattern import AnalysedPattern
from xxact_core.structures.space_groups import space_group_name

TAGS = "XRD|powder diffraction|XxaCT"
"""Tags of a record, as lab notebooks import them."""


@dataclass(frozen=True)
class RecordValue:
    """A named value of a record."""

    name: str
    """Name for people, as `weight fraction of TiO2 (rutile)`."""
    value: str | float
    """Text, or a number in its unit."""
    unit: str = ""
    """Unit as text; empty for none."""


def analysed_to_record(analysed: AnalysedPattern) -> list[RecordValue]:
    """The results as named values, the verdict first; values that are unknown are left out."""
    fit, pattern = analysed.analysis, analysed.pattern
    values = [
        RecordValue("verdict", fit.verdict),
        RecordValue("result", fit.sentence),
        RecordValue("certainty", analysed.certainty),
        RecordValue("unexplained intensity", 100 * fit.unexplained_fraction, "%"),
        RecordValue("R_wp", 100 * fit.weighted_residual, "%"),
        RecordValue("zero shift", fit.zero_shift, "°"),
        RecordValue("wavelength", fit.wavelength, "Å"),
        RecordValue("first angle", float(pattern.two_theta[0]), "°"),
        RecordValue("last angle", float(pattern.two_theta[-1]), "°"),
        RecordValue("composition given", analysed.settings.composition),
    ]
    if "sample" in pattern.metadata:
        values.append(RecordValue("sample", pattern.metadata["sample"]))
    for phase in fit.phases:
        label = phase.label
        values += [
            RecordValue(f"weight fraction of {label}", 100 * phase.weight_fraction, "%"),
            RecordValue(f"uncertainty of the weight fraction of {label}", 100 * phase.u_weight_fraction, "%"),
            RecordValue(f"probability of {label}", phase.probability),
            RecordValue(f"cell of {label}", phase.cell_text, "Å, °"),
            RecordValue(f"crystallite size of {label}", phase.size, "nm"),
        ]
        if phase.space_group is not None:
            values.append(RecordValue(f"space group of {label}", space_group_name(str(phase.space_group))))
    prediction = analysed.prediction
    if prediction is not None:
        for quantity, ranked in ((CRYSTAL_SYSTEM, prediction.crystal_system), (SPACE_GROUP, prediction.space_group)):
            if ranked:
                label = space_group_name(ranked[0].label) if quantity is SPACE_GROUP else ranked[0].label
                values.append(RecordValue(f"predicted {quantity.label.lower()}", label))
        for quantity in (FORMATION_ENERGY, BAND_GAP):
            estimate = getattr(prediction, quantity.name)
            if estimate is not None:
                values.append(RecordValue(f"predicted {quantity.label.lower()}", estimate.value, estimate.unit))
    return [one for one in values if isinstance(one.value, str) or math.isfinite(one.value)]


def analysed_to_row(analysed: AnalysedPattern, *, when: datetime) -> dict[str, str]:
    """The results as one row of text; lists are separated by semicolons, the phases in the same order in each."""
    fit = analysed.analysis
    prediction = analysed.prediction

    def of_phases(texts: Iterable[str]) -> str:
        return "; ".join(texts)

    return {
        "title": analysed.source.name,
        "date": when.date().isoformat(),
        "tags": TAGS,
        "file": analysed.source.name,
        "sha256": analysed.source.sha256,
        "composition_given": analysed.settings.composition,
        "verdict": fit.verdict,
        "certainty": analysed.certainty,
        "phases": of_phases(phase.label for phase in fit.phases),
        "weight_percent": of_phases(_number(100 * phase.weight_fraction) for phase in fit.phases),
        "u_weight_percent": of_phases(_number(100 * phase.u_weight_fraction) for phase in fit.phases),
        "probability": of_phases(_number(phase.probability) for phase in fit.phases),
        "space_group": of_phases("" if one.space_group is None else str(one.space_group) for one in fit.phases),
        "cell_angstrom_degree": of_phases(phase.cell_text for phase in fit.phases),
        "size_nm": of_phases(_number(phase.size) for phase in fit.phases),
        "reference_id": of_phases(phase.id for phase in fit.phases),
        "unexplained_percent": _number(100 * fit.unexplained_fraction),
        "r_wp_percent": _number(100 * fit.weighted_residual),
        "wavelength_angstrom": _number(fit.wavelength, digits=6),
        "predicted_crystal_system": prediction.crystal_system[0].label
        if prediction is not None and prediction.crystal_system
        else "",
        "predicted_formation_energy_ev_per_atom": _estimate(analysed, "formation_energy_per_atom"),
        "predicted_band_gap_ev": _estimate(analysed, "band_gap"),
        "analysed_at": when.isoformat(timespec="seconds"),
        "program": f"XxaCT {analysed.program['version']}",
    }


def record_to_csv(analysed: AnalysedPattern, *, when: datetime) -> str:
    """The row of a pattern as CSV with a header."""
    return rows_to_csv([analysed_to_row(analysed, when=when)])


def rows_to_csv(rows: Iterable[Mapping[str, str]], *, header: bool = True) -> str:
    """Rows of the same columns as CSV; texts that a spreadsheet would take for formulas are quoted by an apostrophe."""
    rows = [{name: _plain_cell(value) for name, value in row.items()} for row in rows]
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
        if header:
            writer.writeheader()
        writer.writerows(rows)
    return text.getvalue()


def _plain_cell(value: str) -> str:
    """A cell that no spreadsheet evaluates: file names may begin with =, + or @."""
    risky = value[:1] in {"=", "+", "@", "\t", "\r"} or (value[:1] == "-" and not _is_number(value))
    return f"'{value}" if risky else value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _number(value: float, *, digits: int = 4) -> str:
    return f"{value:.{digits}g}" if math.isfinite(value) else ""


def _estimate(analysed: AnalysedPattern, name: str) -> str:
    estimate = None if analysed.prediction is None else getattr(analysed.prediction, name)
    return "" if estimate is None else _number(estimate.value)
