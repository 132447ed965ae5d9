"""A prediction in words: the verdict, tables that say what the bars show, the numbers, and what it rests on."""

from __future__ import annotations

import csv
import html
import io
import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import numpy as np

from xxact_app.samples.store import HIDDEN, WINDOW_EDGES, Answer
from xxact_app.ui.safe_text import safe_message
from xxact_app.ui.space_groups import space_group_name
from xxact_core.quantities import BAND_GAP, CRYSTAL_SYSTEM, FORMATION_ENERGY, SPACE_GROUP, SURE, Quantity

if TYPE_CHECKING:
    from xxact_core.compositions.composition import Composition
    from xxact_core.compositions.partial import PartialComposition
    from xxact_core.prediction.predictor import Estimate, Prediction, RankedLabel


HELP = """<details><summary>What can be typed</summary><ul>
<li>a formula: <code>LaB6</code>, <code>Ca(OH)2</code>, <code>CuSO4·5H2O</code></li>
<li>measured fractions with their errors (EDS, XRF): <code>Fe 40±2 O 60±3</code>, or in percent by weight
<code>Fe 72.4±0.5 wt%, O 27.6±1 wt%</code>; <code>+-</code> does for ±</li>
<li>elements without amounts: <code>Fe,O</code></li>
<li>besides, elements that may be there: <code>La,B,?O</code> or <code>LaB6 ?O ?H</code></li>
<li>nothing: the pattern alone answers, with less certainty</li></ul></details>"""
"""What the composition box takes, as safe HTML."""

_MOST_DOUBT = math.log2(7)
_SHOWN_OF_A_SET = 8


def composition_line(known: Composition | PartialComposition) -> str:
    """What was typed of the composition, as the model reads it."""
    if not known.symbols:
        return "<p class='muted'>No composition: the pattern alone answers.</p>"
    if kind := getattr(known, "in_words", ""):
        return f"<p class='muted'>Read as {html.escape(kind)}: {html.escape(str(known))}</p>"
    exact = cast("Composition", known)
    pairs = sorted(zip(exact.symbols, exact.fractions, strict=True), key=lambda pair: -pair[1])
    parts = ", ".join(f"{symbol} {100 * fraction:.3g} %" for symbol, fraction in pairs)
    return f"<p class='muted'>Read as: {html.escape(parts)} (atomic)</p>"


def error_line(error: Exception) -> str:
    """What is wrong with the formula."""
    return f"<p class='wrong'>{html.escape(safe_message(error))}</p>"


def verdict(answer: Answer) -> str:
    """The answer in a sentence or two, or that there is no confident one; and what an open composition costs."""
    prediction = answer.prediction
    formula, name = html.escape(safe_message(answer.formula)), html.escape(answer.sample.name)
    sentences = [
        _sentence(CRYSTAL_SYSTEM, prediction.crystal_system),
        _sentence(SPACE_GROUP, prediction.space_group),
    ]
    sets = "".join(
        f"<p>{quantity.label}: nine times of ten it is one of {_names_of_set(quantity, names)}.</p>"
        for quantity, names in (
            (CRYSTAL_SYSTEM, prediction.crystal_system_set), (SPACE_GROUP, prediction.space_group_set)
        )
        if names
    )  # fmt: skip
    title = f"Prediction for {formula}" if formula else "Prediction without a composition"
    rule = f"“Not sure” is said where the most probable one has less than {SURE:.0%}."
    return (
        f"<h2>{title}</h2><p class='muted'>{name}</p><p class='verdict'>{' '.join(sentences)}</p>"
        f"{sets}{certainty(prediction)}<p class='muted'>{rule}</p>"
    )


def certainty(prediction: Prediction) -> str:
    """What it cost that the composition is known in part or not at all, as safe HTML; nothing where it is known."""
    text = certainty_words(prediction)
    return f"<p>{html.escape(text)}</p>" if text else ""


def certainty_words(prediction: Prediction) -> str:
    """The same as plain text."""
    cost = prediction.composition_cost
    if cost is None:
        return ""
    scale = f"0 is certain, {_MOST_DOUBT:.1f} is no idea"
    if not cost.draws:
        doubt = cost.crystal_system_bits
        said = "" if doubt is None else f" Doubt about the crystal system: {doubt:.1f} bit ({scale})."
        return f"No composition: the pattern alone answers, and no intervals are known.{said}"
    text = f"The composition is known in part ({cost.known}): the mean over {cost.draws} that it may be."
    if cost.crystal_system_bits is not None and cost.composition_bits is not None:
        text += (
            f" Doubt about the crystal system: {cost.crystal_system_bits:.1f} bit ({scale}), of which "
            f"{cost.composition_bits:.1f} come from the composition."
        )
    spreads = ((FORMATION_ENERGY, cost.formation_energy_spread), (BAND_GAP, cost.band_gap_spread))
    told = [f"{one.label.lower()} by {value:.2f} {one.unit}" for one, value in spreads if value is not None]
    return text + (f" The values spread:  {', '.join(told)}." if told else "")


def short_verdict(prediction: Prediction) -> str:
    """The verdict in a few words: the crystal system where it is sure."""
    ranked = prediction.crystal_system
    if not ranked:
        return "no crystal system from this model"
    return "sure" if ranked[0].probability >= SURE else "not sure"


def notes(prediction: Prediction) -> tuple[str, ...]:
    """The warnings but for the cost of the composition, which is told apart; as they came, not made safe."""
    return tuple(text for text in prediction.warnings if text != str(prediction.composition_cost))


def _names_of_set(quantity: Quantity, names: Sequence[str]) -> str:
    shown = [space_group_name(name) if quantity is SPACE_GROUP else name for name in names[:_SHOWN_OF_A_SET]]
    more = f" and {len(names) - _SHOWN_OF_A_SET} more" if len(names) > _SHOWN_OF_A_SET else ""
    return html.escape(", ".join(shown) + more)


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
    if notes(prediction):
        items = "".join(f"<li>{html.escape(safe_message(warning))}</li>" for warning in notes(prediction))
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


def spreadsheet_text(text: str) -> str:
    """Text that a spreadsheet takes for text: no formula starts from a file's name."""
    return f"'{text}" if text[:1] in {"=", "+", "-", "@", "\t", "\r"} else text
