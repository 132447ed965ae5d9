"""A prediction as text: verdict, tables of the ranked classes, values with intervals, and basis."""

from __future__ import annotations

import csv
import html
import io
import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import numpy as np

from xxact_app.samples.prediction_result import Answer
from xxact_app.samples.processing import WINDOW_EDGES
from xxact_app.samples.store import HIDDEN
from xxact_app.ui.formatting import percent
from xxact_app.ui.safe_text import safe_message, spreadsheet_text
from xxact_core.quantities import BAND_GAP, CRYSTAL_SYSTEM, FORMATION_ENERGY, SPACE_GROUP, SURE, Quantity
from xxact_core.structures.space_groups import space_group_name

if TYPE_CHECKING:
    from xxact_core.compositions.composition import Composition
    from xxact_core.compositions.partial import PartialComposition
    from xxact_core.prediction.prediction import Estimate, Prediction, RankedLabel


HELP = """<details><summary>Accepted input</summary><ul>
<li>a formula: <code>LaB6</code>, <code>Ca(OH)2</code>, <code>CuSO4·5H2O</code></li>
<li>measured fractions with uncertainties (EDS, XRF): <code>Fe 40±2 O 60±3</code>, or in weight percent:
<code>Fe 72.4±0.5 wt%, O 27.6±1 wt%</code>; type <code>+-</code> for ±</li>
<li>elements without amounts: <code>Fe,O</code></li>
<li>optional elements, marked with a question mark: <code>La,B,?O</code> or <code>LaB6 ?O ?H</code></li>
<li>nothing: the prediction uses the pattern alone and is less certain</li></ul></details>"""
"""Accepted input of the composition field, as safe HTML."""

_UNIFORM_ENTROPY = math.log2(7)
"""Entropy [bit] of a uniform distribution over the seven crystal systems."""

_MOST_LISTED = 8

_COVERAGE = percent(0.9)
"""Nominal coverage of prediction sets and intervals."""


def composition_line(known: Composition | PartialComposition) -> str:
    """The composition as parsed, as safe HTML."""
    if not known.symbols:
        return "<p class='muted'>No composition: the prediction uses the pattern alone.</p>"
    if kind := getattr(known, "in_words", ""):
        return f"<p class='muted'>Read as {html.escape(kind)}: {html.escape(str(known))}</p>"
    exact = cast("Composition", known)
    pairs = sorted(zip(exact.symbols, exact.fractions, strict=True), key=lambda pair: -pair[1])
    parts = ", ".join(f"{symbol} {100 * fraction:.3g}\N{NO-BREAK SPACE}%" for symbol, fraction in pairs)
    return f"<p class='muted'>Atomic fractions: {html.escape(parts)}</p>"


def error_line(error: Exception) -> str:
    """The error of an invalid composition, as safe HTML."""
    return f"<p class='wrong'>{html.escape(safe_message(error))}</p>"


def verdict(answer: Answer) -> str:
    """Most probable classes, prediction sets and the uncertainty due to an incomplete composition, as safe HTML."""
    prediction = answer.prediction
    formula, name = html.escape(safe_message(answer.formula)), html.escape(answer.sample.name)
    sentences = [
        _sentence(CRYSTAL_SYSTEM, prediction.crystal_system),
        _sentence(SPACE_GROUP, prediction.space_group),
    ]
    sets = "".join(
        f"<p>{quantity.label}, {_COVERAGE} prediction set: {_names_of_set(quantity, names)}.</p>"
        for quantity, names in (
            (CRYSTAL_SYSTEM, prediction.crystal_system_set), (SPACE_GROUP, prediction.space_group_set)
        )
        if names
    )  # fmt: skip
    title = f"Prediction for {formula}" if formula else "Prediction without a composition"
    rule = ""
    if any(ranked and ranked[0].probability < SURE for ranked in (prediction.crystal_system, prediction.space_group)):
        rule = f"“Not sure” means that the most probable class has a probability below {percent(SURE)}."
    return (
        f"<h2>{title}</h2><p class='muted'>{name}</p><p class='verdict'>{' '.join(sentences)}</p>"
        f"{sets}{certainty(prediction)}{rule and _muted(rule)}"
    )


def _muted(text: str) -> str:
    return f"<p class='muted'>{text}</p>"


def certainty(prediction: Prediction) -> str:
    """Uncertainty due to an incomplete composition, as safe HTML; empty where the composition is complete."""
    text = certainty_words(prediction)
    return f"<p>{html.escape(text)}</p>" if text else ""


def certainty_words(prediction: Prediction) -> str:
    """Uncertainty due to an incomplete composition, as plain text."""
    cost = prediction.composition_cost
    if cost is None:
        return ""
    scale = f"0 = certain, {_UNIFORM_ENTROPY:.1f} = all seven equally likely"
    if not cost.draws:
        bits = cost.crystal_system_bits
        entropy = "" if bits is None else f" Entropy of the crystal system: {bits:.1f} bit ({scale})."
        return f"No composition: the prediction uses the pattern alone, without intervals.{entropy}"
    text = f"Composition known in part ({cost.known}): mean over {cost.draws} sampled compositions."
    if cost.crystal_system_bits is not None and cost.composition_bits is not None:
        text += (
            f" Entropy of the crystal system: {cost.crystal_system_bits:.1f} bit ({scale}), of which "
            f"{cost.composition_bits:.1f} bit are due to the composition."
        )
    spreads = ((FORMATION_ENERGY, cost.formation_energy_spread), (BAND_GAP, cost.band_gap_spread))
    known = [
        f"{quantity.label.lower()} {value:.2f} {quantity.unit}" for quantity, value in spreads if value is not None
    ]
    return text + (f" Standard deviation over the samples: {', '.join(known)}." if known else "")


def short_verdict(prediction: Prediction) -> str:
    """Whether the crystal system is sure, in a few words."""
    ranked = prediction.crystal_system
    if not ranked:
        return "not predicted"
    return "sure" if ranked[0].probability >= SURE else "not sure"


def notes(prediction: Prediction) -> tuple[str, ...]:
    """The warnings as they are, not escaped; without that about the composition, which `certainty_words` replaces."""
    return tuple(text for text in prediction.warnings if text != str(prediction.composition_cost))


def _names_of_set(quantity: Quantity, names: Sequence[str]) -> str:
    shown = [space_group_name(name) if quantity is SPACE_GROUP else name for name in names[:_MOST_LISTED]]
    more = f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
    return html.escape(", ".join(shown) + more)


def _sentence(quantity: Quantity, ranked: Sequence[RankedLabel]) -> str:
    """The most probable class of a quantity, or the candidates where none is sure; safe HTML."""
    if not ranked:
        return f"{quantity.label}: not predicted by this model."
    candidates = [f"{html.escape(label(quantity, item))}, {percent(item.probability)}" for item in ranked[:3]]
    if ranked[0].probability >= SURE:
        return f"{quantity.label}: <b>{candidates[0]}</b>."
    return f"{quantity.label}: <b>not sure</b>; candidates: {'; '.join(candidates)}."


def table(quantity: Quantity, ranked: Sequence[RankedLabel]) -> str:
    """The ranked labels as a table, the text alternative of the bars; safe HTML."""
    rows = "".join(
        f"<tr><td>{rank}</td><td>{html.escape(label(quantity, item))}</td>"
        f"<td>{percent(item.probability, digits=1)}</td></tr>"
        for rank, item in enumerate(ranked, start=1)
    )
    head = f"<tr><th>Rank</th><th>{quantity.label}</th><th>Probability</th></tr>"
    return f"<details><summary>As a table</summary><table><thead>{head}</thead><tbody>{rows}</tbody></table></details>"


def numbers(prediction: Prediction) -> str:
    """Formation energy and band gap with units and intervals, as safe HTML."""
    shown = [
        _number(FORMATION_ENERGY, prediction.formation_energy_per_atom),
        _number(BAND_GAP, prediction.band_gap),
    ]
    return f"<div class='figures'>{''.join(shown)}</div>"


def basis(prediction: Prediction, hidden_windows: np.ndarray, *, model: str = "") -> str:
    """Basis of a prediction: measured range, masked windows, model and warnings; safe HTML.

    Args:
        prediction: the prediction.
        hidden_windows: which windows are masked for the model, shape (windows,).
        model: name of the run whose model predicts; empty for the shipped model.
    """
    hidden = hidden_ranges(hidden_windows)
    text = f"{percent(prediction.coverage)} of 5–90° 2θ (Cu Kα) was measured"
    if hidden:
        ranges = ", ".join(f"{low:g}–{high:g}°" for low, high in hidden)
        text += f"; {HIDDEN}: {ranges}."
    else:
        text += "; no window is masked."
    lines = [f"<h2>Basis of this prediction</h2><p>{text}</p>"]
    if model:
        lines.append(f"<p>Model: run <b>{html.escape(safe_message(model))}</b>.</p>")
    if notes(prediction):
        items = "".join(f"<li>{html.escape(safe_message(warning))}</li>" for warning in notes(prediction))
        lines.append(f"<p>Warnings:</p><ul>{items}</ul>")
    return "".join(lines)


def hidden_ranges(hidden_windows: np.ndarray) -> list[tuple[float, float]]:
    """Ranges [deg 2θ at Cu Kα] of adjacent windows that are masked for the model."""
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
    """The prediction as JSON, with the original name of the file."""
    content = {"file": answer.sample.file, **answer.prediction.to_dict()}
    return json.dumps(content, indent=2, ensure_ascii=False).encode()


def to_csv(answer: Answer) -> bytes:
    """The prediction as rows of quantity, rank, label or value, unit, low, high and probability."""
    prediction = answer.prediction
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["file", "formula", "quantity", "rank", "value", "unit", "low", "high", "probability"])
    start = [spreadsheet_text(answer.sample.file), spreadsheet_text(answer.formula)]
    for quantity in (FORMATION_ENERGY, BAND_GAP):
        estimate = getattr(prediction, quantity.name)
        if estimate is not None:
            rows.writerow([*start, quantity.name, 1, estimate.value, estimate.unit, estimate.low, estimate.high, ""])
    for quantity in (CRYSTAL_SYSTEM, SPACE_GROUP):
        for rank, item in enumerate(getattr(prediction, quantity.name), start=1):
            rows.writerow([*start, quantity.name, rank, item.label, "", "", "", item.probability])
    return text.getvalue().encode()


def label(quantity: Quantity, item: RankedLabel) -> str:
    """The name of a class; a space group has its symbol and number."""
    return space_group_name(item.label) if quantity is SPACE_GROUP else item.label


def _number(quantity: Quantity, estimate: Estimate | None) -> str:
    if estimate is None:
        return ""
    unit = html.escape(estimate.unit)
    interval = "no interval available"
    if estimate.low is not None and estimate.high is not None:
        interval = f"{_COVERAGE} interval: {signed(estimate.low)} to {signed(estimate.high)} {unit}"
    return (
        f"<div class='figure'><h3>{quantity.label}</h3><b>{signed(estimate.value)} {unit}</b>"
        f"<span class='muted'>{interval}</span></div>"
    )


def signed(value: float) -> str:
    """A number with two decimals and a minus sign (U+2212)."""
    return f"{value:.2f}".replace("-", "−").replace("−0.00", "0.00")
