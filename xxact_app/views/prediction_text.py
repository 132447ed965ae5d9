"""A prediction in words: the verdict, tables that say what the bars show, the numbers, and what it rests on."""

from __future__ import annotations

import csv
import html
import io
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from xxact_app.escaping import safe_message
from xxact_app.store import WINDOW_EDGES, Answer
from xxact_core.quantities import BAND_GAP, CRYSTAL_SYSTEM, FORMATION_ENERGY, SPACE_GROUP, Quantity

if TYPE_CHECKING:
    from xxact_core.compositions.composition import Composition
    from xxact_core.patterns.pattern import GriddedPattern
    from xxact_core.predict import Estimate, Prediction, RankedLabel

SURE = 0.5
"""Below this probability of the best label the app says that it is not sure."""


def composition_line(composition: Composition) -> str:
    """The parsed formula, as the model reads it."""
    pairs = sorted(zip(composition.symbols, composition.fractions, strict=True), key=lambda pair: -pair[1])
    parts = ", ".join(f"{symbol} {100 * fraction:.3g} %" for symbol, fraction in pairs)
    return f"<p class='muted'>Read as: {html.escape(parts)} (atomic)</p>"


def error_line(error: Exception) -> str:
    """What is wrong with the formula."""
    return f"<p class='wrong'>{html.escape(safe_message(error))}</p>"


def verdict(answer: Answer) -> str:
    """One or two sentences with the answer, or that there is no confident one."""
    prediction = answer.prediction
    system, group = prediction.crystal_system[0], prediction.space_group[0]
    formula = html.escape(safe_message(answer.formula))
    name = html.escape(answer.sample.name)
    title = f"<h2>Prediction for {formula}</h2><p class='muted'>{name}</p>"
    if system.probability < SURE:
        second = prediction.crystal_system[1]
        text = (
            f"<b>Not sure.</b> The best guess is <b>{system.label}</b> with {system.probability:.0%}, "
            f"then {second.label} with {second.probability:.0%}."
        )
    else:
        text = f"Crystal system: <b>{system.label}</b> ({system.probability:.0%})."
    if group.probability < SURE:
        text += f" Space group: <b>not sure</b>; best guess {label(SPACE_GROUP, group)} ({group.probability:.0%})."
    else:
        text += f" Space group: <b>{label(SPACE_GROUP, group)}</b> ({group.probability:.0%})."
    rule = f"<p class='muted'>“Not sure” is said where the best label has less than {SURE:.0%}.</p>"
    return f"{title}<p class='verdict'>{text}</p>{rule}"


def table(quantity: Quantity, ranked: Sequence[RankedLabel]) -> str:
    """The ranked labels as a table, the twin of the bars."""
    rows = "".join(
        f"<tr><td>{rank}</td><td>{html.escape(label(quantity, item))}</td><td>{item.probability:.1%}</td></tr>"
        for rank, item in enumerate(ranked, start=1)
    )
    head = f"<tr><th>Rank</th><th>{quantity.label}</th><th>Probability</th></tr>"
    return f"<details><summary>As a table</summary><table><thead>{head}</thead><tbody>{rows}</tbody></table></details>"


def numbers(prediction: Prediction) -> str:
    """Formation energy and band gap with their units and intervals."""
    shown = [
        _number(FORMATION_ENERGY, prediction.formation_energy_per_atom),
        _number(BAND_GAP, prediction.band_gap),
    ]
    return f"<div class='figures'>{''.join(shown)}</div>"


def basis(prediction: Prediction, gridded: GriddedPattern) -> str:
    """What the prediction rests on: the share of the range that was measured, hidden windows, warnings."""
    hidden = unmeasured_windows(gridded.window_coverage)
    text = f"{prediction.coverage:.0%} of 5–90° 2θ (Cu Kα) was measured"
    if hidden:
        ranges = ", ".join(f"{low:g}–{high:g}°" for low, high in hidden)
        text += f"; the windows {ranges} hold no measured point and were hidden from the model."
    else:
        text += "; every one of the model's 17 windows holds measured points."
    lines = [f"<h2>What this rests on</h2><p>{text}</p>"]
    if prediction.warnings:
        items = "".join(f"<li>{html.escape(safe_message(warning))}</li>" for warning in prediction.warnings)
        lines.append(f"<p>Please note:</p><ul>{items}</ul>")
    return "".join(lines)


def unmeasured_windows(window_coverage: np.ndarray) -> list[tuple[float, float]]:
    """Ranges [deg 2θ at Cu Kα] of neighbouring windows without any measured point."""
    ranges: list[tuple[float, float]] = []
    for low, high, share in zip(WINDOW_EDGES[:-1], WINDOW_EDGES[1:], window_coverage, strict=True):
        if share > 0:
            continue
        if ranges and np.isclose(ranges[-1][1], low):
            ranges[-1] = (ranges[-1][0], float(high))
        else:
            ranges.append((float(low), float(high)))
    return ranges


def to_json(answer: Answer) -> bytes:
    """The prediction as JSON, with the file's own name."""
    content = {"file": answer.sample.file, **answer.prediction.to_dict()}
    return json.dumps(content, indent=2, ensure_ascii=False).encode()


def to_csv(answer: Answer) -> bytes:
    """The prediction as rows of quantity, rank, label or value, unit, low, high and probability."""
    prediction = answer.prediction
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["file", "formula", "quantity", "rank", "value", "unit", "low", "high", "probability"])
    start = [_cell(answer.sample.file), _cell(answer.formula)]
    for quantity in (FORMATION_ENERGY, BAND_GAP):
        estimate = getattr(prediction, quantity.name)
        if estimate is not None:
            rows.writerow([*start, quantity.name, 1, estimate.value, estimate.unit, estimate.low, estimate.high, ""])
    for quantity in (CRYSTAL_SYSTEM, SPACE_GROUP):
        for rank, item in enumerate(getattr(prediction, quantity.name), start=1):
            rows.writerow([*start, quantity.name, rank, item.label, "", "", "", item.probability])
    return text.getvalue().encode()


def label(quantity: Quantity, item: RankedLabel) -> str:
    """What to call a ranked label: a space group by its number is said to be one."""
    return f"No. {item.label}" if quantity is SPACE_GROUP and item.label.isdigit() else item.label


def _number(quantity: Quantity, estimate: Estimate | None) -> str:
    if estimate is None:
        return ""
    low, high = (_signed(value) for value in (estimate.low, estimate.high))
    return (
        f"<div class='figure'><h3>{quantity.label}</h3><b>{_signed(estimate.value)} {html.escape(estimate.unit)}</b>"
        f"<span class='muted'>between {low} and {high} {html.escape(estimate.unit)}</span></div>"
    )


def _signed(value: float) -> str:
    """Two decimals, with a true minus sign."""
    return f"{value:.2f}".replace("-", "−").replace("−0.00", "0.00")


def _cell(text: str) -> str:
    """Text that a spreadsheet takes for text: no formula starts from a file's name."""
    return f"'{text}" if text[:1] in {"=", "+", "-", "@", "\t", "\r"} else text
