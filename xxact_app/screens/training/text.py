"""Texts of the Training screen: datasets, estimates, progress and curves."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from xxact_app.screens.training.choices import ERRORS
from xxact_app.ui.formatting import duration, percent, short_probability
from xxact_app.ui.safe_text import safe_text
from xxact_core.quantities import TARGETS

if TYPE_CHECKING:
    from xxact_app.screens.training.choices import DatasetFacts
    from xxact_app.screens.training.estimates import Estimate
    from xxact_app.screens.training.rows import RunRow
    from xxact_app.screens.training.run_curves import RunCurves

STATES = {
    "queued": "queued", "starting": "starting", "running": "running", "stopping": "stopping", "finished": "finished",
    "cancelled": "stopped", "failed": "failed", "interrupted": "interrupted", "diverged": "failed",
    "opened": "not started",
}  # fmt: skip
"""States of jobs and runs → text."""

COUNTS_CSS = """
.counts { width: 100%; margin: 6px 0; font-size: 13px; border-collapse: collapse; }
.counts caption { text-align: left; font-size: 13px; padding: 0 0 2px; }
.counts th, .counts td { padding: 1px 6px 1px 0; border: 0; text-align: right; white-space: nowrap; font-weight: 400; }
.counts th { text-align: left; } .counts .bar { width: 55%; text-align: left; }
.counts .bar span { display: block; height: 10px; border-radius: 2px; background: var(--panel-primary-color); }
"""
"""Styles of the counts of a dataset, besides those of all texts."""

_METRICS = {
    "mae": "MAE", "mae_ev": "MAE [eV]", "mae_mev_per_atom": "MAE [meV/atom]", "top_3_accuracy": "top-3 accuracy",
}  # fmt: skip
"""Ends of the names of metrics → text, where it is more than the name without underscores."""

_OBJECTIVES = {"mxm": "masked XRD modelling", "contrastive": "contrastive learning"}
"""Names of objectives → text, where it is more than the name without underscores."""

_SIGNIFICANT = 4
_MILLION, _LARGE = 1e6, 1e8


def facts(found: DatasetFacts) -> str:
    """The properties of a dataset, as safe HTML."""
    labels = [TARGETS[name].label.lower() for name in list(TARGETS)[:_SIGNIFICANT] if found.labelled.get(name)]
    counts = f"{found.train:,} for training, {found.validation:,} for validation, {_bytes(found.size)}"
    lines = [
        f"{found.materials:,} materials from {html.escape(safe_text(found.source))}: {counts}.",
        f"Labels: {', '.join([*labels, 'density', 'lattice'])}.",
    ]
    if found.errors:
        lines.append(f"{found.errors:,} structure{'' if found.errors == 1 else 's'} could not be used.")
    return "".join(f"<p class='muted'>{line}</p>" for line in lines) + _reasons(found) + class_counts(found)


def _reasons(found: DatasetFacts) -> str:
    """Why structures could not be used, one click away; safe HTML."""
    if not found.reasons:
        return ""
    items = "".join(f"<li>{html.escape(safe_text(reason, limit=300))}</li>" for reason in found.reasons)
    left = found.errors - len(found.reasons)
    more = f"<p class='muted'>{left:,} more: {ERRORS} in the folder of the dataset.</p>" if left > 0 else ""
    return f"<details><summary>Reasons</summary><ul>{items}</ul>{more}</details>"


def class_counts(found: DatasetFacts) -> str:
    """The number of materials of each crystal system, as a table with bars; safe HTML."""
    largest = max([*found.crystal_systems.values(), 1])
    rows = "".join(
        f"<tr><th scope='row'>{name}</th><td class='bar'><span style='width:{100 * count / largest:.1f}%'></span></td>"
        f"<td>{count:,}</td><td>{short_probability(count / max(found.materials, 1))}</td></tr>"
        for name, count in found.crystal_systems.items()
    )
    groups = f"{found.space_groups} space group{'' if found.space_groups == 1 else 's'}"
    title = f"<caption>Materials by crystal system ({groups})</caption>"
    return f"<table class='counts'>{title}<tbody>{rows}</tbody></table>"


def estimate_text(found: Estimate) -> str:
    """Estimated time, memory and disk space of a training, as safe HTML."""
    low, high = duration(found.seconds / found.factor), duration(found.seconds * found.factor)
    where = "the GPU" if found.device == "cuda" else "the CPU of this machine"
    size = f"{found.steps:,} steps, {_count(found.parameters)} parameters"
    room = (
        f"Memory: about {_bytes(found.memory)} of {_bytes(found.memory_free)} free. Disk: about {_bytes(found.disk)}."
    )
    lines = [
        f"<p><b>About {duration(found.seconds)}</b> on {where} ({low} to {high}), {size}.</p>",
        f"<p{'' if found.fits else ' class=wrong'}>{room}</p>",
    ]
    if not found.fits and found.fitting_micro_batch is None:
        lines.append("<p class='wrong'>Too large for this machine: select a smaller recipe, or set preset=small.</p>")
    return "".join(lines)


def progress(row: RunRow, *, log: str) -> str:
    """Progress of a build or training: bar, state, time left and reason of a failure; safe HTML."""
    name, state = html.escape(row.name), STATES.get(row.state, row.state)
    share = "" if row.progress is None else f", {percent(row.progress)}"
    value = "" if row.progress is None and row.state in {"starting", "running"} else f" value='{row.progress or 0:.4f}'"
    bar = f"<progress max='1'{value} aria-label='Progress of {name}'></progress>"
    left = f", about {duration(row.seconds_left)} left" if row.seconds_left else ""
    lines = [f"<h3>{name}: {state}{share}</h3>{bar}<p class='muted'>{html.escape(row.status)}{left}</p>"]
    if row.state == "stopping":
        lines.append("<p>Saving after the current step; the process is killed after two minutes.</p>")
    if row.reason:
        lines.append(f"<p class='wrong'>{html.escape(row.reason)}</p>")
    if row.can_resume:
        lines.append("<p class='muted'>“Resume” continues from the last snapshot.</p>")
    if log and row.reason:
        lines.append(f"<details><summary>End of the log</summary><pre>{html.escape(log)}</pre></details>")
    return "".join(lines)


def curves_table(runs: Mapping[str, RunCurves], metrics: Sequence[str]) -> str:
    """The latest values of the runs side by side, the text alternative of the curves; safe HTML."""
    names = list(runs)
    if not names:
        return ""
    losses = list(dict.fromkeys(name for run in runs.values() for name in run.values if name.startswith("loss")))
    rows = [("Step", [f"{run.step:,}" for run in runs.values()])]
    for name in (*losses, "learning_rate", "samples_per_second", *metrics):
        values = [run.latest(name) for run in runs.values()]
        rows.append((curve_label(name), ["" if value is None else f"{value:.4g}" for value in values]))
    head = "".join(f"<th scope='col'>{html.escape(name)}</th>" for name in ("Latest", *map(safe_text, names)))
    body = "".join(
        f"<tr><th scope='row'>{html.escape(label)}</th>{''.join(f'<td>{value}</td>' for value in values)}</tr>"
        for label, values in rows
    )
    return (
        f"<details><summary>Latest values as a table</summary><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></details>"
    )


def curve_label(name: str) -> str:
    """The label of a curve: `Formation energy, MAE` for `formation_energy_per_atom_mae`."""
    fixed = {"loss": "Loss", "learning_rate": "Learning rate", "samples_per_second": "Materials per second"}
    if name in fixed:
        return fixed[name]
    bare = name.removeprefix("loss of ")
    for target in TARGETS.values():
        if bare.startswith(target.name):
            if bare != name:
                return f"Loss of {target.label.lower()}"
            rest = bare.removeprefix(target.name).strip("_")
            rest = _METRICS.get(rest, rest.replace("_", " "))
            return f"{target.label}, {rest}" if rest else target.label
    if bare != name:
        return safe_text(f"Loss of {_OBJECTIVES.get(bare, bare.replace('_', ' '))}")
    return safe_text(name.replace("_", " "))


def loss_term_label(name: str) -> str:
    """The label of a curve among the terms of the loss: `Band gap` for `loss of band_gap`."""
    label = curve_label(name).removeprefix("Loss of ")
    return label[:1].upper() + label[1:]


def _count(number: int) -> str:
    return f"{number / 1e6:.1f} million" if number >= _MILLION else f"{number:,}"


def _bytes(size: float) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= _LARGE else f"{max(size / 1e6, 0.1):,.{0 if size >= _MILLION else 1}f} MB"
