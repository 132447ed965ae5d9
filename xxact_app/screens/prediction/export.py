"""Predictions of all patterns as a table and as files, and a prediction as Python code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from xxact_app.plots.export import columns_to_csv, columns_to_netcdf
from xxact_app.samples.prediction_result import Answer
from xxact_app.screens.prediction import text as words
from xxact_app.screens.prediction.phases_store import PhaseRow, ReferenceTable
from xxact_app.screens.prediction.store import BatchRow
from xxact_app.ui.safe_text import safe_message, spreadsheet_text
from xxact_core.prediction.prediction import Estimate, Prediction
from xxact_core.quantities import BAND_GAP, CRYSTAL_SYSTEM, FORMATION_ENERGY, SPACE_GROUP
from xxact_core.search_match.element_states import ElementStates
from xxact_core.structures.space_groups import space_group_name

COLUMNS = (
    "File", "Composition", "Verdict", "Phases", "Weights", "Purity", "Crystal system", "Probability", "Space group",
    "Energy", "Gap", "Notes",
)  # fmt: skip
NUMBERS = ("Purity", "Probability", "Energy", "Gap")
TITLES = {
    "Energy": "Formation energy [eV/atom]", "Gap": "Band gap [eV]", "Weights": "Weight fractions [wt%]",
    "Purity": "Purity: main phase [wt%]", "Probability": "Probability of system",
}  # fmt: skip

_MOST_SHOWN = 0.99
"""The highest probability in the table: no prediction is certain."""

_VALUES = ("value", "low", "high")
_UNITS = {
    f"{quantity.name}_{part}": quantity.unit for quantity in (FORMATION_ENERGY, BAND_GAP) for part in _VALUES
}  # fmt: skip


def table_row(row: BatchRow) -> list[object]:
    """The cells of one pattern, in the order of `COLUMNS`."""
    start = [row.sample.name, row.formula, verdict(row), *_phases(row)]
    prediction = None if row.shown is None else row.shown.prediction
    if prediction is None:
        return [*start, "", np.nan, "", np.nan, np.nan, note(row)]
    (system, sure), (group, _) = _best(prediction)
    energy, gap = prediction.formation_energy_per_atom, prediction.band_gap
    return [
        *start, system, min(sure, _MOST_SHOWN), space_group_name(group), np.nan if energy is None else energy.value,
        np.nan if gap is None else gap.value, note(row),
    ]  # fmt: skip


def verdict(row: BatchRow) -> str:
    """How sure the answer for a pattern is, in a few words."""
    if row.answer is None:
        return "not run"
    if row.conclusion is not None:
        return row.conclusion.level
    return "prediction only" if isinstance(row.answer, Answer) else "no prediction"


def _named(row: BatchRow) -> tuple[PhaseRow, ...]:
    """The phases of a pattern; none where those found do not explain it."""
    conclusion = row.conclusion
    if conclusion is None or conclusion.found is None or conclusion.level == "no match":
        return ()
    return conclusion.found.phases


def _phases(row: BatchRow) -> tuple[str, str, float]:
    """Phases, their weight fractions [wt%] in the same order, and that of the main phase [wt%]."""
    phases = _named(row)
    texts = [one.weight for one in phases]
    purity = 100 * phases[0].fraction if phases else np.nan
    return "; ".join(one.label for one in phases), "; ".join(texts), purity


def note(row: BatchRow) -> str:
    """What the model says of its prediction, or why there is none."""
    if row.answer is None:
        return ""
    if not isinstance(row.answer, Answer):
        return row.answer.text
    prediction = row.answer.prediction
    shown = None if row.shown is None else row.shown.prediction
    notes = [text.rstrip(".") for text in (words.certainty_words(prediction), *words.notes(prediction, shown))]
    if row.conclusion is not None and row.conclusion.mixture:
        notes.insert(0, "A mixture: crystal system, energy and band gap are predicted for one phase only")
    return safe_message("; ".join(filter(None, notes)))


def to_table(rows: Sequence[BatchRow]) -> pd.DataFrame:
    """The table of all patterns, as shown on the screen."""
    return pd.DataFrame([table_row(row) for row in rows], columns=list(COLUMNS))


def to_columns(rows: Sequence[BatchRow]) -> dict[str, np.ndarray]:
    """Columns with one row per pattern; unknown numbers are NaN."""
    answers = [None if row.shown is None else row.shown.prediction for row in rows]
    alone = [row.answer.prediction if isinstance(row.answer, Answer) else None for row in rows]
    found = [None if row.conclusion is None else row.conclusion.found for row in rows]
    best = [(("", np.nan), ("", np.nan)) if one is None else _best(one) for one in answers]
    table = to_table(rows)
    columns = {
        "file": np.array([row.sample.file for row in rows], dtype=str),
        "composition": np.array([row.formula for row in rows], dtype=str),
        "phases": table["Phases"].to_numpy(dtype=str),
        "weight_percent": table["Weights"].to_numpy(dtype=str),
        "purity_percent": table["Purity"].to_numpy(dtype=np.float64),
        "unexplained_fraction": np.array([np.nan if one is None else one.unexplained for one in found]),
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
    columns["coverage"] = np.array([np.nan if one is None else one.coverage for one in alone])
    columns["crystal_system_verdict"] = np.array(
        ["" if one is None else words.short_verdict(one) for one in answers], dtype=str
    )
    columns["verdict"] = table["Verdict"].to_numpy(dtype=str)
    columns["notes"] = table["Notes"].to_numpy(dtype=str)
    return columns


def to_csv(rows: Sequence[BatchRow]) -> bytes:
    """All predictions as CSV."""
    columns = to_columns(rows)
    for name in ("file", "composition", "phases", "notes"):
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
    answer: Answer,
    *,
    reading: str,
    model: str,
    table: ReferenceTable | None,
    states: ElementStates,
    wavelength: float | None,
) -> str:
    """Python code of a prediction and of its search for reference phases, if that was run.

    Args:
        answer: the prediction with its sample and composition.
        reading: code that reads the file and processes the pattern to `gridded`.
        model: folder of the checkpoint.
        table: reference database that was searched, or None.
        wavelength: entered for the pattern [Å]; None where that of the file counts.
        states: what was known of the elements in the search.
    """
    search = ""
    if table is not None:
        given = {"elements": states.must, "maybe": states.may, "one_of": states.one_of, "exclude": states.never}
        restriction = ", ".join(f"{name}={symbols!r}" for name, symbols in given.items() if symbols)
        entered = "" if wavelength is None else f"wavelength={wavelength!r}"
        asked = ", ".join(filter(None, ["pattern", restriction, entered]))
        search = f"""
from xxact_core import Identifier

identification = Identifier.load(Path({str(table.path)!r})).identify({asked})
for match in identification.matches:
    print(match.label, match.space_group, f"{{match.probability:.0%}}", f"{{match.score:.3f}}")
for phase in identification.phases:
    print(phase.label, phase.weight_text, phase.cell_text)
"""
        if states.must:
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
    ranked = () if row.shown is None else getattr(row.shown.prediction, name)
    known = {item.label: item.probability for item in ranked}
    return [known.get(label, np.nan) for label in classes]
