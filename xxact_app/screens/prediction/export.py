"""Predictions of all patterns as a table and as files, and a prediction as Python code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from xxact_app.plots.export import columns_to_csv, columns_to_netcdf
from xxact_app.samples.prediction_result import Answer
from xxact_app.screens.prediction import text as words
from xxact_app.screens.prediction.matches_store import ReferenceTable
from xxact_app.screens.prediction.store import BatchRow
from xxact_app.ui.safe_text import safe_message, spreadsheet_text
from xxact_core.prediction.prediction import Estimate, Prediction
from xxact_core.quantities import BAND_GAP, CRYSTAL_SYSTEM, FORMATION_ENERGY, SPACE_GROUP
from xxact_core.structures.space_groups import space_group_name

COLUMNS = (
    "File", "Composition", "Crystal system", "Probability", "Space group", "Group probability", "Energy", "Gap",
    "Verdict", "Notes",
)  # fmt: skip
NUMBERS = ("Probability", "Group probability", "Energy", "Gap")
TITLES = {
    "Energy": "Formation energy [eV/atom]", "Gap": "Band gap [eV]", "Group probability": "Probability",
    "Verdict": "Verdict (crystal system)",
}  # fmt: skip

_VALUES = ("value", "low", "high")
_UNITS = {
    f"{quantity.name}_{part}": quantity.unit for quantity in (FORMATION_ENERGY, BAND_GAP) for part in _VALUES
}  # fmt: skip


def table_row(row: BatchRow) -> list[object]:
    """The cells of one pattern, in the order of `COLUMNS`."""
    if row.answer is None:
        return [row.sample.name, row.formula, "", np.nan, "", np.nan, np.nan, np.nan, "not run", ""]
    if not isinstance(row.answer, Answer):
        return [row.sample.name, row.formula, "", np.nan, "", np.nan, np.nan, np.nan, "no prediction", row.answer.text]
    prediction = row.answer.prediction
    (system, sure), (group, share) = _best(prediction)
    energy, gap = prediction.formation_energy_per_atom, prediction.band_gap
    notes = [text.rstrip(".") for text in (words.certainty_words(prediction), *words.notes(prediction))]
    return [
        row.sample.name, row.formula, system, sure, space_group_name(group), share,
        np.nan if energy is None else energy.value, np.nan if gap is None else gap.value,
        words.short_verdict(prediction), safe_message("; ".join(filter(None, notes))),
    ]  # fmt: skip


def to_table(rows: Sequence[BatchRow]) -> pd.DataFrame:
    """The table of all patterns, as shown on the screen."""
    return pd.DataFrame([table_row(row) for row in rows], columns=list(COLUMNS))


def to_columns(rows: Sequence[BatchRow]) -> dict[str, np.ndarray]:
    """Columns with one row per pattern; unknown numbers are NaN."""
    answers = [row.answer.prediction if isinstance(row.answer, Answer) else None for row in rows]

    best = [(("", np.nan), ("", np.nan)) if one is None else _best(one) for one in answers]
    table = to_table(rows)
    columns = {
        "file": np.array([row.sample.file for row in rows], dtype=str),
        "composition": np.array([row.formula for row in rows], dtype=str),
        "crystal_system": np.array([system for (system, _), _ in best], dtype=str),
        "crystal_system_probability": np.array([share for (_, share), _ in best]),
        "space_group": np.array([group for _, (group, _) in best], dtype=str),
        "space_group_probability": np.array([share for _, (_, share) in best]),
    }
    for quantity in (FORMATION_ENERGY, BAND_GAP):
        for part in _VALUES:
            columns[f"{quantity.name}_{part}"] = np.array(
                [np.nan if one is None else _part(getattr(one, quantity.name), part) for one in answers]
            )
    columns["coverage"] = np.array([np.nan if one is None else one.coverage for one in answers])
    columns["verdict"] = table["Verdict"].to_numpy(dtype=str)
    columns["notes"] = table["Notes"].to_numpy(dtype=str)
    return columns


def to_csv(rows: Sequence[BatchRow]) -> bytes:
    """All predictions as CSV."""
    columns = to_columns(rows)
    for name in ("file", "composition", "notes"):
        columns[name] = np.array([spreadsheet_text(text) for text in columns[name].tolist()], dtype=str)
    return columns_to_csv(columns)


def to_hdf5(rows: Sequence[BatchRow], *, about: dict[str, Any]) -> bytes:
    """All predictions as netCDF-4 (HDF5), with the probability of every class."""
    columns = to_columns(rows)
    for quantity in (CRYSTAL_SYSTEM, SPACE_GROUP):
        columns[f"{quantity.name}_probabilities"] = np.array(
            [_probabilities(row, quantity.name, quantity.classes) for row in rows], dtype=np.float64
        ).reshape(len(rows), len(quantity.classes))
    classes = {"crystal_systems": ", ".join(CRYSTAL_SYSTEM.classes), "space_groups": "1 to 230"}
    return columns_to_netcdf(columns, dimension="pattern", units=_UNITS, about={**about, **classes})


def python_code(
    answer: Answer, *, reading: str, model: str, table: ReferenceTable | None, elements: Sequence[str]
) -> str:
    """Python code of a prediction and of its search for reference phases, if that was run.

    Args:
        answer: the prediction with its sample and composition.
        reading: code that reads the file and processes the pattern to `gridded`.
        model: folder of the checkpoint.
        table: reference database that was searched, or None.
        elements: elements that the search was restricted to; empty for all.
    """
    search = ""
    if table is not None:
        restriction = f"elements={tuple(elements)!r}" if elements else "elements=None"
        search = f"""
from xxact_core import Identifier

identification = Identifier.load(Path({str(table.path)!r})).identify(gridded, {restriction})
for match in identification.matches:
    print(match.label, match.space_group, f"{{match.probability:.0%}}", f"{{match.score:.3f}}")
for phase in identification.phases:
    print(phase.label, phase.weight_text, phase.cell_text)
"""
        if elements:
            search += """
from xxact_core.search_match.combine import combine_with_matches

print(combine_with_matches(prediction, identification.matches).crystal_system[0])
"""
    return f"""from pathlib import Path

from xxact_core import Predictor
{reading}prediction = Predictor.load(Path({model!r})).predict(gridded, {answer.formula or "?"!r})
for ranked in prediction.crystal_system:
    print(ranked.label, f"{{ranked.probability:.1%}}")
for value in (prediction.formation_energy_per_atom, prediction.band_gap):
    print(value)
{search}"""


def _best(prediction: Prediction) -> tuple[tuple[str, float], tuple[str, float]]:
    """Crystal system and space group, each with its probability."""
    found = [
        (ranked[0].label, ranked[0].probability) if ranked else ("", np.nan)
        for ranked in (prediction.crystal_system, prediction.space_group)
    ]
    return found[0], found[1]


def _part(estimate: Estimate | None, part: str) -> float:
    value = None if estimate is None else getattr(estimate, part)
    return np.nan if value is None else float(value)


def _probabilities(row: BatchRow, name: str, classes: Sequence[str]) -> list[float]:
    ranked = getattr(row.answer.prediction, name) if isinstance(row.answer, Answer) else ()
    known = {item.label: item.probability for item in ranked}
    return [known.get(label, np.nan) for label in classes]
