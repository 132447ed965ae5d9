"""An analysed pattern → a report: one HTML file with the plot inside, which any browser shows and prints."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape

from xxact_core.errors import shorten
from xxact_core.quantities import BAND_GAP, CRYSTAL_SYSTEM, FORMATION_ENERGY, SPACE_GROUP
from xxact_core.reports.analysed_pattern import AnalysedPattern
from xxact_core.structures.space_groups import space_group_name

SHOWN_MATCHES, SHOWN_CLASSES, SHOWN_PEAKS = 5, 3, 10
"""Most matches, classes of a prediction, and unexplained peaks in a report."""

_STYLE = """
:root { color-scheme: light dark; --line: #c8ccd2; --soft: #5d6670; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.3rem; margin: 0 0 .2rem; overflow-wrap: anywhere; }
h2 { font-size: 1.05rem; margin: 1.6rem 0 .4rem; }
p { margin: .3rem 0; }
img { width: 100%; height: auto; background: white; border: 1px solid var(--line); }
.table { overflow-x: auto; }
table { border-collapse: collapse; min-width: 100%; font-size: .93rem; }
th, td { text-align: left; padding: .25rem .8rem .25rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
.soft, footer { color: var(--soft); font-size: .87rem; overflow-wrap: anywhere; }
@media (prefers-color-scheme: dark) { :root { --line: #454c55; --soft: #a6b0bb; } }
@media print { body { margin: 0; max-width: none; } }
"""


def write_html(analysed: AnalysedPattern, *, plot: bytes | None = None, remarks: Sequence[str] = ()) -> str:
    """The report as text; everything that comes from the file is escaped.

    Args:
        analysed: the pattern.
        plot: of `figure.draw_plot` as PNG; left out where there is none.
        remarks: further lines for the end, such as when the file was answered.
    """
    fit, found = analysed.analysis, analysed.found
    parts = [
        f"<h1>{_text(analysed.source.name)}</h1>",
        f"<p><strong>{_text(fit.sentence)}</strong> {_text(_certainty(analysed))}</p>",
        f'<p class="soft">{_text(_basis(analysed))}</p>',
    ]
    if plot is not None:
        encoded = base64.b64encode(plot).decode("ascii")
        parts.append(f'<img alt="{_text(_plot_text(analysed))}" src="data:image/png;base64,{encoded}">')
    parts += _phases(analysed)
    parts += _prediction(analysed)
    parts += _matches(analysed)
    warnings = list(dict.fromkeys([*found.warnings, *fit.warnings, *analysed.notes]))
    if analysed.prediction is not None:
        warnings = list(dict.fromkeys([*warnings, *analysed.prediction.warnings]))
    if warnings:
        parts.append("<h2>Notes</h2><ul>" + "".join(f"<li>{_text(one)}</li>" for one in warnings) + "</ul>")
    program = analysed.program
    facts = [
        f"SHA-256 of the file: {analysed.source.sha256}",
        f"{program['name']} {program['version']}, reference tables {str(program['reference_digest'])[:16]}"
        + (f", model {program['model_sha256'][:16]}" if program["model_sha256"] else ""),
        *remarks,
    ]
    parts.append("<footer>" + "<br>".join(_text(fact, limit=300) for fact in facts) + "</footer>")
    return _page(analysed.source.name, parts)


def write_error_html(name: str, error: str, *, remarks: Sequence[str] = ()) -> str:
    """The report of a file that could not be analysed."""
    parts = [
        f"<h1>{_text(name)}</h1>",
        f"<p><strong>No result.</strong> {_text(error, limit=600)}</p>",
        "<footer>" + "<br>".join(_text(one, limit=300) for one in remarks) + "</footer>",
    ]
    return _page(name, parts)


def _page(title: str, parts: Iterable[str]) -> str:
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_text(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n" + "\n".join(parts) + "\n"
        "</body>\n</html>\n"
    )


def _text(value: object, *, limit: int = 200) -> str:
    return escape(shorten(value, limit=limit))


def _certainty(analysed: AnalysedPattern) -> str:
    """How sure the phases are, with the conditions that are not met."""
    if analysed.certainty == "no match":
        return ""
    missing = "; ".join(one.text for one in analysed.conditions if not one.met)
    return "The phases are likely." if analysed.certainty == "likely" else f"The phases are uncertain: {missing}."


def _basis(analysed: AnalysedPattern) -> str:
    pattern, settings = analysed.pattern, analysed.settings
    angles = pattern.two_theta
    known = settings.composition
    composition = "no elements given" if known == "?" else f"composition given: {known}"
    sample = pattern.metadata.get("sample")
    return (
        f"{pattern.format}, {angles.size} points from {angles[0]:g} to {angles[-1]:g}° 2θ, wavelength "
        f"{analysed.analysis.wavelength:.5g} Å; {composition}; {analysed.found.candidates} reference phases compared"
        + (f"; sample {sample}" if sample else "")
    )


def _plot_text(analysed: AnalysedPattern) -> str:
    names = ", ".join(phase.label for phase in analysed.analysis.phases) or "no phase"
    return f"Measured and calculated pattern with the reflections of {names}, and their difference"


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    head = "".join(f'<th scope="col">{_text(cell)}</th>' for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="table"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _group(number: int | str | None) -> str:
    return "-" if number is None else space_group_name(str(number))


def _phases(analysed: AnalysedPattern) -> list[str]:
    fit = analysed.analysis
    parts = ["<h2>Phases</h2>"]
    if fit.phases:
        parts.append(
            _table(
                ("phase", "name", "space group", "wt%", "probability", "size [nm]", "cell [Å, °]", "id"),
                (
                    (
                        phase.formula,
                        phase.name or "",
                        _group(phase.space_group),
                        phase.weight_text,
                        f"{phase.probability:.0%}",
                        phase.size_text,
                        phase.cell_text.replace("  ", ", "),
                        phase.id,
                    )
                    for phase in fit.phases
                ),
            )
        )
    rest = f"Unexplained: {100 * fit.unexplained_fraction:.1f} % of the intensity"
    if fit.unexplained_peaks:
        peaks = ", ".join(
            f"{peak.two_theta:.2f}° (d = {peak.d:.3f} Å, {peak.height:.0f} %)"
            for peak in fit.unexplained_peaks[:SHOWN_PEAKS]
        )
        rest += f"; strongest peaks at {peaks}"
    parts.append(f"<p>{_text(rest, limit=700)}. R<sub>wp</sub> = {100 * fit.weighted_residual:.1f} %.</p>")
    if fit.amorphous is not None:
        hump = fit.amorphous
        parts.append(
            f"<p>A broad hump at {hump.two_theta:.1f}° with {100 * hump.fraction:.0f} % of the intensity: amorphous "
            "material may be present; it is not part of the weight fractions.</p>"
        )
    return parts


def _prediction(analysed: AnalysedPattern) -> list[str]:
    prediction = analysed.prediction
    if prediction is None:
        return []
    rows: list[tuple[str, str]] = []
    for quantity, ranked in (
        (CRYSTAL_SYSTEM, prediction.crystal_system),
        (SPACE_GROUP, prediction.space_group),
    ):
        shown = ", ".join(
            f"{_group(one.label) if quantity is SPACE_GROUP else one.label} {one.probability:.0%}"
            for one in ranked[:SHOWN_CLASSES]
        )
        if shown:
            rows.append((quantity.label, shown))
    for quantity in (FORMATION_ENERGY, BAND_GAP):
        value = getattr(prediction, quantity.name)
        if value is not None:
            interval = "" if value.low is None else f" (90 % interval: {value.low:.2f} to {value.high:.2f})"
            rows.append((quantity.label, f"{value.value:.2f} {value.unit}{interval}"))
    return [f"<h2>Prediction for {_text(prediction.formula)}</h2>", _table(("property", "value"), rows)]


def _matches(analysed: AnalysedPattern) -> list[str]:
    matches, mixture = analysed.found.matches[:SHOWN_MATCHES], analysed.found.verdict == "mixture"
    if not matches:
        return []
    rows = [
        (
            match.formula,
            match.name or "",
            _group(match.space_group),
            "-" if match.probability is None or mixture else f"{match.probability:.0%}",
            f"{match.score:.3f}",
            match.id or "-",
        )
        for match in matches
    ]
    header = ("formula", "name", "space group", "probability", "score", "id")
    return ["<h2>Single phases compared</h2>", _table(header, rows)]
