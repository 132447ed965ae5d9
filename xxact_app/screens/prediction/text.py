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

from xxact_app.samples.prediction_result import Answer, Missing
from xxact_app.samples.processing import WINDOW_EDGES
from xxact_app.samples.store import HIDDEN
from xxact_app.screens.prediction.conclusion import Conclusion
from xxact_app.screens.prediction.phases_store import SearchResult
from xxact_app.ui.formatting import fine_probability, high_probability, percent, short_probability
from xxact_app.ui.safe_text import safe_message, spreadsheet_text
from xxact_core.prediction.prediction import uncertainty_warning
from xxact_core.quantities import (
    BAND_GAP,
    CRYSTAL_SYSTEM,
    FORMATION_ENERGY,
    SPACE_GROUP,
    SURE,
    Quantity,
    space_group_to_crystal_system,
)
from xxact_core.search_match.certainty import credible_set
from xxact_core.structures.space_groups import space_group_name

if TYPE_CHECKING:
    from xxact_core.compositions.composition import Composition
    from xxact_core.compositions.partial import PartialComposition
    from xxact_core.prediction.prediction import Estimate, Prediction, RankedLabel
    from xxact_core.search_match.element_states import ElementStates


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

_MOST_LISTED = 4

_COVERAGE = percent(0.9)
"""Nominal coverage of prediction sets and intervals."""


def composition_line(known: Composition | PartialComposition, states: ElementStates | None = None) -> str:
    """The composition as parsed and the elements set in the periodic table, as safe HTML."""
    besides = [] if states is None else [
        f"{word}: {', '.join(symbols)}"
        for word, symbols in (("may", states.may), ("one of", states.one_of), ("never", states.never))
        if symbols
    ]  # fmt: skip
    if not known.symbols:
        text = "" if besides or (states is not None and states.must) else "No composition: all elements are possible."
    elif kind := getattr(known, "in_words", ""):
        text = f"Read as {kind}: {known}"
    else:
        exact = cast("Composition", known)
        pairs = sorted(zip(exact.symbols, exact.fractions, strict=True), key=lambda pair: -pair[1])
        parts = ", ".join(f"{symbol} {100 * fraction:.3g}\N{NO-BREAK SPACE}%" for symbol, fraction in pairs)
        text = f"Atomic fractions: {parts}"
    line = "; ".join(filter(None, [text, *besides]))
    return f"<p class='muted'>{html.escape(line)}</p>" if line else ""


def error_line(error: Exception) -> str:
    """The error of an invalid composition, as safe HTML."""
    return f"<p class='wrong'>{html.escape(safe_message(error))}</p>"


LEVELS = {
    "likely": ("✓", "Likely"),
    "uncertain": ("?", "Uncertain"),
    "no match": ("–", "No match"),
    "prediction only": ("…", "Prediction"),
}
"""Sign and word of each level of an answer."""

ANSWER_CSS = """
.level { display: inline-flex; align-items: center; gap: 6px; border-radius: 999px; padding: 1px 12px 1px 8px;
  font-weight: 600; border: 1.5px solid currentColor; font-size: 14px; vertical-align: 3px; margin-right: 8px; }
.level.likely { color: #1B6E3C; } .level.uncertain { color: #8A5300; } .level.none { color: #5B6470; }
.dark .level.likely { color: #6FD69A; } .dark .level.uncertain { color: #F0B45A; } .dark .level.none { color: #AEB7C2; }
h2 { font-size: 1.3rem; }
.phases { width: 100%; } .phases td { vertical-align: top; padding: 3px 8px 3px 0; line-height: 1.35; }
.phases th { padding: 0 8px 2px 0; font-size: 12px; opacity: 0.8; }
.phases td.number { white-space: nowrap; text-align: right; } .phases th.number { text-align: right; }
.phases small { font-size: 12px; opacity: 0.8; }
.phases tr + tr td { border-top: 1px solid var(--border-color, #8883); }
.dot { display: inline-block; width: 10px; height: 10px; border-radius: 2px; margin-right: 6px; }
.figures { display: grid; grid-template-columns: 1fr 1fr; gap: 8px; }
.figure { padding: 6px 10px; min-width: 0; } .figure h3 { font-size: 12px; font-weight: 400; opacity: 0.8; }
.figure b { font-size: 1.1rem; line-height: 1.25; }
.figure .muted { font-size: 12px; line-height: 1.3; display: block; }
.basis li { margin: 0; } .basis ul { list-style: none; padding-left: 4px; }
.purity { margin-top: 4px; font-size: 13px; }
"""
"""Styles of the texts of an answer, besides those of all texts."""


def headline(conclusion: Conclusion, *, searching: bool = False, waiting: bool = False) -> str:
    """The answer in one line, and what the level rests on; safe HTML.

    Args:
        conclusion: the answer.
        searching: whether phases are searched now.
        waiting: whether the search starts by itself in a moment.
    """
    found = conclusion.found
    if found is None and (searching or waiting):
        text = "Identifying the phases …" if searching else "Identifying the phases in a moment …"
        return f"<h2>{text}</h2>"
    if found is None:
        missing = conclusion.alone.what if isinstance(conclusion.alone, Missing) else ""
        text = "Enter the wavelength to identify the phases" if missing == "wavelength" else "Phases not identified yet"
        return f"<h2>{text}</h2>"
    if not found.phases or conclusion.level == "no match":
        what = "no reference material explains the pattern"
    else:
        what = _names_of_phases(found)
        if conclusion.level == "uncertain":
            what = f"perhaps {what}"
    return f"<h2>{level_sign(conclusion.level)}{what}</h2>{conditions(conclusion)}"


def _names_of_phases(found: SearchResult) -> str:
    labels = [phase.label for phase in found.phases]
    return labels[0] if len(labels) == 1 else f"a mixture of {', '.join(labels[:-1])} and {labels[-1]}"


def level_sign(level: str) -> str:
    """The level of an answer as a coloured word; safe HTML."""
    sign, word = LEVELS[level]
    style = level if level in {"likely", "uncertain"} else "none"
    return f"<span class='level {style}'><span aria-hidden='true'>{sign}</span>{word}</span>"


def conditions(conclusion: Conclusion) -> str:
    """What the level rests on, one click away; safe HTML, empty where phases were not searched."""
    if not conclusion.conditions:
        return ""
    items = "".join(
        f"<li><span aria-hidden='true'>{'✓' if one.met else '✗'}</span> {html.escape(one.text)}"
        f"{'' if one.met else ' <span class=muted>(not met)</span>'}</li>"
        for one in conclusion.conditions
    )
    rule = (
        "“Likely” requires all of these. On measured patterns of known phases at least 90 % of such answers are right."
        if conclusion.level != "no match"
        else "Some phases may be missing in the reference materials, or the elements may be wrong."
    )
    title = f"Why “{LEVELS[conclusion.level][1].lower()}”?"
    return f"<details class='basis'><summary>{title}</summary><ul>{items}</ul>{_muted(rule)}</details>"


def phases(conclusion: Conclusion, *, colours: Sequence[str]) -> str:
    """The phases with weight fractions, cells, sizes and probabilities, and the purity; safe HTML.

    colours: of the phases in the plot.
    """
    found = conclusion.found
    if found is None:
        return ""
    if not found.matches:
        return "<p>The reference materials have no phase of these elements.</p>"
    if not found.phases:
        return purity(found)
    rows = []
    for number, one in enumerate(found.phases):
        dot = f"<span class='dot' style='background:{colours[number % len(colours)]}'></span>"
        size = "" if one.size == "-" else f" · crystallites {one.size} nm"
        rows.append(
            f"<tr><td>{dot}<b>{one.formula}</b> {one.name}<br><small>{html.escape(one.space_group)} · "
            f"{cell_text(one.cell)}{size}</small></td>"
            f"<td class='number'>{one.weight}</td><td class='number'>{high_probability(one.probability)}</td></tr>"
        )
    title = "Closest reference materials" if conclusion.level == "no match" else "Phase"
    head = (
        f"<tr><th scope='col'>{title}</th><th scope='col' class='number'>wt%</th>"
        "<th scope='col' class='number'>Probability</th></tr>"
    )
    lacking = ""
    if found.no_match >= SURE:
        lacking = _muted(
            f"The reference materials probably lack the phase of this specimen ({percent(found.no_match)})."
        )
    table = f"<table class='phases'><thead>{head}</thead><tbody>{''.join(rows)}</tbody></table>"
    return f"{table}{lacking}{purity(found)}"


def cell_text(cell: str) -> str:
    """The cell of a phase with commas, and with the unit where it has lengths only."""
    angles = any(name in cell for name in "αβγ")
    return cell.replace("  ", ", ") + ("" if angles else "\N{NO-BREAK SPACE}Å")


def purity(found: SearchResult) -> str:
    """How much of the pattern the phases explain, and what else is in it; safe HTML."""
    parts = []
    if found.phases:
        main = found.phases[0]
        if not found.several:
            parts.append("<b>Purity:</b> one crystalline phase found")
        elif math.isfinite(main.fraction):
            parts.append(f"<b>Purity:</b> main phase {percent(main.fraction)} by weight")
    parts.append(f"{short_probability(found.unexplained)} of the intensity unexplained")
    if found.unexplained_peaks:
        listed = ", ".join(
            f"{angle:.2f}° ({height:.0f}\N{NO-BREAK SPACE}%)" for angle, height in found.unexplained_peaks[:3]
        )
        parts.append(f"strongest unexplained peaks: {listed}")
    if found.amorphous is not None:
        parts.append(f"broad hump with {percent(found.amorphous)} of the intensity: amorphous material may be present")
    return f"<p class='purity'>{'; '.join(parts)}.</p>"


def facts(conclusion: Conclusion) -> str:
    """Crystal system, space group, formation energy and band gap, as safe HTML."""
    if conclusion.mixture:
        return _muted(
            "Crystal system, formation energy and band gap are predicted for specimens of one phase. The space groups "
            "of the phases are in the table above."
        )
    if not isinstance(conclusion.answer, Answer):
        return ""
    prediction = conclusion.answer.prediction
    boxes = [
        _class_box(CRYSTAL_SYSTEM, prediction.crystal_system, prediction.crystal_system_set),
        _class_box(SPACE_GROUP, prediction.space_group, prediction.space_group_set),
        _number(FORMATION_ENERGY, prediction.formation_energy_per_atom),
        _number(BAND_GAP, prediction.band_gap),
    ]
    of = ""
    if conclusion.of_phase and conclusion.found is not None:
        of = _muted(f"Formation energy and band gap for {conclusion.found.phases[0].formula}, the phase found.")
    elif prediction.composition_cost is not None:
        of = _muted(
            "Formation energy and band gap over all amounts of the elements that are possible: enter a formula for a "
            "narrower interval."
            if prediction.composition_cost.draws
            else "Formation energy and band gap from the pattern alone, without a composition: rough values."
        )
    return f"<div class='figures'>{''.join(boxes)}</div>{_other_system(prediction)}{of}"


def _other_system(prediction: Prediction) -> str:
    """Why the most probable space group is of another crystal system than the most probable one, as safe HTML."""
    if not prediction.crystal_system or not prediction.space_group:
        return ""
    first, group = prediction.crystal_system[0].label, prediction.space_group[0]
    system = space_group_to_crystal_system(int(group.label))
    if system == first:
        return ""
    symbol = html.escape(label(SPACE_GROUP, group))
    return _muted(
        f"{symbol} is {system}. It is the most probable single space group, while the {first} ones together are more "
        "probable."
    )


def _class_box(quantity: Quantity, ranked: Sequence[RankedLabel], calibrated: Sequence[str] | None) -> str:
    """The most probable class with its probability, and the classes that together have 90 %."""
    if not ranked:
        return (
            f"<div class='figure'><h3>{quantity.label}</h3><span class='muted'>not predicted by this model</span></div>"
        )
    sure = ranked[0].probability >= SURE
    first = html.escape(label(quantity, ranked[0]))
    names = credible_set(ranked, calibrated)
    text = high_probability(ranked[0].probability)
    if len(names) > 1:
        text += f"; {_COVERAGE} set: {_names_of_set(quantity, names)}"
    shown = f"<b>{first}</b>" if sure else f"<b>not sure</b><span class='muted'>most probable: {first}</span>"
    return f"<div class='figure'><h3>{quantity.label}</h3>{shown}<span class='muted'>{text}</span></div>"


def answered_by(*, model: str, references: str, candidates: int | None) -> str:
    """The model and the reference materials that answer; safe HTML."""
    compared = "" if candidates is None else f" ({candidates:,} compared)"
    return f"<p class='muted'>Model: <b>{html.escape(model)}</b> · {html.escape(references)}{compared}</p>"


def guess_line(symbols: Sequence[str]) -> str:
    """Elements that the file name suggests, as safe HTML."""
    return f"<p>Guess from the file name: <b>{html.escape(', '.join(symbols))}</b></p>"


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


def notes(prediction: Prediction, shown: Prediction | None) -> tuple[str, ...]:
    """The warnings as they are, not escaped; without that about the composition, which `certainty_words` replaces.

    Args:
        prediction: of the model alone.
        shown: in agreement with the phases, whose crystal system can be more certain; None for a mixture.
    """
    outdated = {str(prediction.composition_cost), *uncertainty_warning(prediction.crystal_system)}
    doubts = () if shown is None else uncertainty_warning(shown.crystal_system)
    return (*(text for text in prediction.warnings if text not in outdated), *doubts)


def _names_of_set(quantity: Quantity, names: Sequence[str]) -> str:
    shown = [space_group_name(name) if quantity is SPACE_GROUP else name for name in names[:_MOST_LISTED]]
    more = f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
    return html.escape(", ".join(shown) + more)


def table(quantity: Quantity, ranked: Sequence[RankedLabel]) -> str:
    """The ranked labels as a table, the text alternative of the bars; safe HTML."""
    rows = "".join(
        f"<tr><td>{rank}</td><td>{html.escape(label(quantity, item))}</td>"
        f"<td>{fine_probability(item.probability)}</td></tr>"
        for rank, item in enumerate(ranked, start=1)
    )
    head = f"<tr><th>Rank</th><th>{quantity.label}</th><th>Probability</th></tr>"
    return f"<details><summary>As a table</summary><table><thead>{head}</thead><tbody>{rows}</tbody></table></details>"


def basis(prediction: Prediction, hidden_windows: np.ndarray, *, shown: Prediction | None, model: str = "") -> str:
    """Basis of a prediction: measured range, masked windows, model and warnings; safe HTML.

    Args:
        prediction: the prediction of the model alone.
        hidden_windows: which windows are masked for the model, shape (windows,).
        shown: the prediction in agreement with the phases; None for a mixture.
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
    if warnings := notes(prediction, shown):
        items = "".join(f"<li>{html.escape(safe_message(warning))}</li>" for warning in warnings)
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


def plain_headline(conclusion: Conclusion) -> str:
    """The answer in one line, as plain text."""
    found, word = conclusion.found, LEVELS[conclusion.level][1]
    if found is None:
        return "Phases not identified"
    if not found.phases or conclusion.level == "no match":
        return "No match among the reference materials"
    return f"{word}: {_names_of_phases(found)}"


def to_json(conclusion: Conclusion) -> bytes:
    """The answer as JSON, with the original name of the file; for a mixture, the prediction is that of the model."""
    answer = _answer_of(conclusion)
    content: dict[str, object] = {"file": answer.sample.file, **answer.prediction.to_dict(), "level": conclusion.level}
    content["conditions"] = [{"text": one.text, "met": one.met} for one in conclusion.conditions]
    if (found := conclusion.found) is not None:
        content |= {"verdict": found.verdict, "unexplained_fraction": found.unexplained}
        content["phases"] = [
            {
                "formula": phase.plain_formula, "name": phase.name or None, "space_group": phase.number,
                "id": phase.source_id, "weight_percent": phase.weight, "cell": phase.cell, "size_nm": phase.size,
                "probability": phase.probability,
            }
            for phase in found.phases
        ]  # fmt: skip
    return json.dumps(content, indent=2, ensure_ascii=False).encode()


def to_csv(conclusion: Conclusion) -> bytes:
    """The answer as rows of quantity, rank, label or value, unit, low, high and probability."""
    answer = _answer_of(conclusion)
    prediction = answer.prediction
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["file", "formula", "quantity", "rank", "value", "unit", "low", "high", "probability"])
    start = [spreadsheet_text(answer.sample.file), spreadsheet_text(answer.formula)]
    for rank, phase in enumerate(() if conclusion.found is None else conclusion.found.phases, start=1):
        named = spreadsheet_text(f"{phase.plain_formula} {phase.name}".strip())
        rows.writerow([*start, "phase", rank, named, "", "", "", phase.probability])
        rows.writerow([*start, "weight_fraction", rank, 100 * phase.fraction, "wt%", "", "", ""])
    for quantity in (FORMATION_ENERGY, BAND_GAP):
        estimate = getattr(prediction, quantity.name)
        if estimate is not None:
            rows.writerow([*start, quantity.name, 1, estimate.value, estimate.unit, estimate.low, estimate.high, ""])
    for quantity in (CRYSTAL_SYSTEM, SPACE_GROUP):
        for rank, item in enumerate(getattr(prediction, quantity.name), start=1):
            rows.writerow([*start, quantity.name, rank, item.label, "", "", "", item.probability])
    return text.getvalue().encode()


def _answer_of(conclusion: Conclusion) -> Answer:
    """The prediction in agreement with the phases, or that of the model alone."""
    shown = conclusion.answer if isinstance(conclusion.answer, Answer) else conclusion.alone
    assert isinstance(shown, Answer), "files are written of answers"
    return shown


def label(quantity: Quantity, item: RankedLabel) -> str:
    """The name of a class; a space group has its symbol and number."""
    return space_group_name(item.label) if quantity is SPACE_GROUP else item.label


def _number(quantity: Quantity, estimate: Estimate | None) -> str:
    if estimate is None:
        return ""
    unit = html.escape(estimate.unit)
    interval = "no interval available"
    if estimate.low is not None and estimate.high is not None:
        interval = f"{_COVERAGE} interval: {signed(estimate.low)} to {signed(estimate.high)}"
    return (
        f"<div class='figure'><h3>{quantity.label}</h3><b>{signed(estimate.value)} {unit}</b>"
        f"<span class='muted'>{interval}</span></div>"
    )


def signed(value: float) -> str:
    """A number with two decimals and a minus sign (U+2212)."""
    return f"{value:.2f}".replace("-", "−").replace("−0.00", "0.00")
