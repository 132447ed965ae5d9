"""The claims as a page in Markdown and as plain values for JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from xxact_core.paper.claims import Claim, ErrorParts, Number
from xxact_core.paper.cost import hours_of_runs
from xxact_core.paper.layouts import ACCURACY, MAE
from xxact_core.paper.tables import finished_runs, runs_to_provenance
from xxact_core.paper.trials import read_trials

_HOW_JUDGED = (
    "Errors are means over the test split, with 95 % intervals by a bootstrap over formulas and, where there are "
    "several seeds, their scatter. A claim holds where the interval of every difference lies on its side of 0, does "
    "not hold at this size where one lies on the other side, and cannot be decided otherwise, or without its runs."
)

_WHY = (
    "Where the errors come from [meV/atom]: polymorphs have the same composition, so that only the pattern tells by "
    "how much the energy of a material differs from the median of its formula. A model that does not use the pattern "
    "predicts no difference, and its error of the difference is the mean size of the true one."
)


def claims_to_markdown(claims: Sequence[Claim], folder: Path) -> str:
    """A page: the verdicts as a table, then each claim with its numbers and the command that makes them again."""
    lines = ["# Claims of the paper", ""]
    lines += [_HOW_JUDGED, "", "| claim | here | shown in |", "|---|---|---|"]
    lines += [*(f"| {claim.title} | **{claim.verdict}** | {claim.figure} |" for claim in claims), ""]
    for claim in claims:
        missing = [name for name in claim.needs if not finished_runs(folder, name)]
        lines += [
            f"## {claim.title}",
            "",
            f"**{claim.verdict[0].upper()}{claim.verdict[1:]}.**"
            + (f" In the paper: {claim.paper}." if claim.paper else ""),
        ]
        if claim.numbers:
            lines += ["", "| number | value | 95 % interval | seeds |", "|---|---:|---:|---:|"]
            lines += [_number_to_line(number) for number in claim.numbers]
        lines += _parts_to_lines(claim.parts)
        lines += ["", *([f"Missing: {', '.join(missing)}.", ""] if missing else [])]
    lines += [*_settings_of_kinds(folder), *_provenance(claims, folder)]
    return "\n".join(lines).rstrip() + "\n"


def claims_to_dict(claims: Sequence[Claim]) -> list[dict[str, Any]]:
    """The claims as plain values for JSON."""
    return [asdict(claim) for claim in claims]


def _number_to_line(number: Number) -> str:
    unit = f" {number.unit}" if number.unit else ""
    ends = "" if number.low == number.high else f"{_text(number.low)} to {_text(number.high)}"
    return f"| {number.label} | {_text(number.value)}{unit} | {ends} | {number.seeds} |"


def _parts_to_lines(parts: Sequence[ErrorParts]) -> list[str]:
    if not parts:
        return []
    head = "| model | error of the formula's median | error of the difference from it | predicted difference |"
    lines = ["", _WHY, "", head, "|---|---:|---:|---:|"]
    for part in parts:
        numbers = (part.of_median, part.of_difference, part.predicted_difference)
        lines.append(f"| {part.label} | {' | '.join(f'{number.value:.1f}' for number in numbers)} |")
    return lines


def _text(value: float) -> str:
    return f"{value:.1f}" if abs(value) >= 100 else f"{value:.2f}" if abs(value) >= 1 else f"{value:.3f}"  # noqa: PLR2004 - three digits or more


def _settings_of_kinds(folder: Path) -> list[str]:
    """How batch size and learning rate of each kind were chosen."""
    trials = read_trials(folder)
    if not trials:
        return []
    lines = ["## Batch size and learning rate", ""]
    lines += ["Chosen once for each kind of model by runs on a quarter of the materials, on the validation split.", ""]
    lines += [
        "| kind | batch size | rate | Ef MAE [meV/atom] | crystal system [%] | |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for kind, entry in trials.items():
        for trial in entry["trials"]:
            mark = "chosen" if all(trial[name] == entry[name] for name in ("batch_size", "lr_peak")) else ""
            lines.append(
                f"| {kind} | {trial['batch_size']} | {trial['lr_peak']:g} | {trial[MAE]:.0f} "
                f"| {100 * trial[ACCURACY]:.1f} | {mark} |"
            )
    return [*lines, ""]


def _provenance(claims: Sequence[Claim], folder: Path) -> list[str]:
    names = list(dict.fromkeys(name for claim in claims for name in claim.needs))
    about = runs_to_provenance({name: finished_runs(folder, name) for name in names})
    lines = [f"- {name.replace('_', ' ')}: {', '.join(map(str, about[name]))}"
             for name in ("date", "commit", "data_digest", "hardware", "size", "epochs", "split")]  # fmt: skip
    runs, hours = hours_of_runs(folder)
    lines.append(f"- training: {runs} runs, {hours:.1f} hours of one process each")
    again = "Every number is made again by `xxact paper all DATASET RUNS`, or one run by `xxact paper run DATASET RUNS "
    again += "--experiment NAME --seed K`, and this page by `xxact paper claims RUNS`."
    return ["## Provenance", "", again, "", *lines]
