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
from xxact_app.store import HIDDEN, WINDOW_EDGES, Answer
from xxact_app.views.space_groups import space_group_name
from xxact_core.quantities import BAND_GAP, CRYSTAL_SYSTEM, FORMATION_ENERGY, SPACE_GROUP, SURE, Quantity

if TYPE_CHECKING:
    from xxact_core.compositions.composition import Composition
    from xxact_core.predict import Estimate, Prediction, RankedLabel


def composition_line(composition: Composition) -> str:
    """The parsed formula, as the model reads it."""
    pairs = sorted(zip(composition.symbols, composition.fractions, strict=True), key=lambda pair: -pair[1])
    parts = ", ".join(f"{symbol} {100 * fraction:.3g} %" for symbol, fraction in pairs)
    return f"<p class='muted'>Read as: {html.escape(parts)} (atomic)</p>"


def error_line(error: Exception) -> str:
    """What is wrong with the formula."""
    return f"<p class='wrong'>{html.escape(safe_message(error))}</p>"


def verdict(answer: Answer) -> str:
    """The answer in a sentence or two, or that there is no confident one."""
    prediction = answer.prediction
    formula, name = html.escape(safe_message(answer.formula)), html.escape(answer.sample.name)
    sentences = [
        _sentence(CRYSTAL_SYSTEM, prediction.crystal_system),
        _sentence(SPACE_GROUP, prediction.space_group),
    ]
    rule = f"“Not sure” is said where the most probable one has less than {SURE:.0%}."
    return (
        f"<h2>Prediction for {formula}</h2><p class='muted'>{name}</p><p class='verdict'>{' '.join(sentences)}</p>"
        f"<p class='muted'>{rule}</p>"
    )


def _sentence(quantity: Quantity, ranked: Sequence[RankedLabel]) -> str:
    """What is said of one quantity."""
    if not ranked:
        return f"{quantity.label}: this model does not predict it."
    best = f"{html.escape(label(quantity, ranked[0]))} ({ranked[0].probability:.0%})"
    if ranked[0].probability >= SURE:
        return f"{quantity.label}: <b>{best}</b>."
    others = " or ".join(f"{html.escape(label(quantity, item))} ({item.probability:.0%})" for item in ranked[1:3])
    return f"{quantity.label}: <b>not sure</b>, perhaps {best}, {others}."


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


def basis(prediction: Prediction, hidden_windows: np.ndarray, *, model: str = "") -> str:
    """What the prediction rests on: the share of the range that was measured, hidden windows, the model, warnings.

    model: run that the model is from; none is named where it is the one that ships.
    """
    hidden = hidden_ranges(hidden_windows)
    text = f"{prediction.coverage:.0%} of 5–90° 2θ (Cu Kα) was measured"
    if hidden:
        ranges = ", ".join(f"{low:g}–{high:g}°" for low, high in hidden)
        text += f"; {HIDDEN}: {ranges}."
    else:
        text += "; the model saw all of its 17 windows."
    lines = [f"<h2>What this rests on</h2><p>{text}</p>"]
    if model:
        lines.append(f"<p>The model is that of your run <b>{html.escape(safe_message(model))}</b>.</p>")
    if prediction.warnings:
        items = "".join(f"<li>{html.escape(safe_message(warning))}</li>" for warning in prediction.warnings)
        lines.append(f"<p>Please note:</p><ul>{items}</ul>")
    return "".join(lines)


def hidden_ranges(hidden_windows: np.ndarray) -> list[tuple[float, float]]:
    """Ranges [deg 2θ at Cu Kα] of neighbouring windows that are hidden from the model."""
    ranges: list[tuple[float, float]] = []
    for low, high, hidden in zip(WINDOW_EDGES[:-1], WINDOW_EDGES[1:], hidden_windows, strict=True):
        if not hidden:
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
    """What to call a ranked label: a space group by its symbol and number."""
    return space_group_name(item.label) if quantity is SPACE_GROUP else item.label


def _number(quantity: Quantity, estimate: Estimate | None) -> str:
    if estimate is None:
        return ""
    unit = html.escape(estimate.unit)
    interval = "no interval known"
    if estimate.low is not None and estimate.high is not None:
        interval = f"{_signed(estimate.low)} to {_signed(estimate.high)} {unit} (9 of 10 times)"
    return (
        f"<div class='figure'><h3>{quantity.label}</h3><b>{_signed(estimate.value)} {unit}</b>"
        f"<span class='muted'>{interval}</span></div>"
    )


def _signed(value: float) -> str:
    """Two decimals, with a true minus sign."""
    return f"{value:.2f}".replace("-", "−").replace("−0.00", "0.00")


def _cell(text: str) -> str:
    """Text that a spreadsheet takes for text: no formula starts from a file's name."""
    return f"'{text}" if text[:1] in {"=", "+", "-", "@", "\t", "\r"} else text
