"""The command `xxact series`."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xxact_core.commands.options import FileNamesOption, ReferenceOption, WavelengthOption
from xxact_core.errors import InputError, WavelengthError, shorten

if TYPE_CHECKING:
    from xxact_core.series.frames import Frames
    from xxact_core.series.journal import Journal
    from xxact_core.series.phase_series import PhaseSeries

app = typer.Typer()


@app.command()
def series(  # noqa: PLR0913 - one argument per option
    source: Annotated[Path, typer.Argument(help="Folder of measured patterns, or a file with several scans.")],
    *,
    by: Annotated[
        str | None,
        typer.Option(
            help="Quantity that the series runs over: temperature, pressure, time, frame, or another name in the "
            "file names, as in voltage=3.7V. By default the first of them that changes."
        ),
    ] = None,
    values: Annotated[
        Path | None,
        typer.Option(help="Table of files and values, such as a CSV file with the columns file,temperature."),
    ] = None,
    elements: Annotated[
        str | None,
        typer.Option(
            help="All elements that the specimens may contain: 'Ca,C,O'. By default all reference phases are searched, "
            "which is less reliable and slower."
        ),
    ] = None,
    files: FileNamesOption = "*",
    wavelength: WavelengthOption = None,
    reference: ReferenceOption = None,
    most_phases: Annotated[int, typer.Option(help="Largest number of phases in a frame.", min=1, max=10)] = 5,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Folder for series.csv, series.json, series.nc (netCDF) and series.png. An interrupted analysis is "
            "resumed there."
        ),
    ] = None,
    plot: Annotated[
        list[Path] | None, typer.Option(help="Also draw the series to this file: .png, .svg or .pdf.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV instead of a table.")] = False,
    progress: Annotated[bool, typer.Option(help="Print progress as lines of JSON before the result.")] = False,
) -> None:
    """Find phases, weight fractions and cells over a series of patterns, and where phases appear and vanish."""
    from xxact_core.search_match.database import check_elements
    from xxact_core.search_match.identify import Identifier
    from xxact_core.search_match.opening import reference_notes
    from xxact_core.search_match.phases import find_phases
    from xxact_core.series.figure import FORMATS, write_figure
    from xxact_core.series.frames import read_frames
    from xxact_core.series.outputs import series_to_csv, write_series
    from xxact_core.series.phases import find_phases_of_series

    symbols = None if elements is None else tuple(part for part in re.split(r"[\s,;]+", elements) if part)
    if symbols is not None:
        check_elements(symbols)  # before anything is read, which takes seconds
    wrong = [shorten(path.name) for path in plot or () if path.suffix.lower() not in FORMATS]
    if wrong:
        msg = f"--plot {wrong[0]}: a figure ends in {', '.join(FORMATS)}"
        raise InputError(msg, code="E_SERIES")
    frames = read_frames(source, by=by, values=values, files=files, wavelength=wavelength)
    _check_wavelengths(frames)
    identifier = Identifier.load(reference)
    references, index = identifier.references, identifier.index
    frames = replace(frames, notes=(*frames.notes, *reference_notes(references)))
    settings = {"elements": symbols, "reference": references.digest, "most_phases": most_phases}
    found = find_phases_of_series(
        frames,
        lambda pattern, *, rows, start: find_phases(
            pattern, references, rows=rows, elements=symbols, index=index, start=start, most_phases=most_phases
        ),
        journal=None if output is None else _open_journal(output, settings),
        progress=_report_lines if progress else _report_to_terminal,
    )
    written = [] if output is None else write_series(found, output)
    for path in plot or ():
        write_figure(found, path)
        written.append(path)
    if as_json:
        typer.echo(json.dumps(found.to_dict(), ensure_ascii=False))
    elif as_csv:
        typer.echo(series_to_csv(found), nl=False)
    else:
        typer.echo("\n".join([_to_text(source, found), *(f"written: {path}" for path in written)]))


def _open_journal(output: Path, settings: dict[str, Any]) -> Journal:
    from xxact_core.series.journal import Journal
    from xxact_core.series.outputs import JOURNAL

    output.mkdir(parents=True, exist_ok=True)
    journal = Journal(output / JOURNAL, settings)
    if len(journal):
        typer.echo(f"xxact: {len(journal)} results of an earlier run are used again", err=True)
    return journal


def _report_lines(done: int, total: int) -> None:
    typer.echo(json.dumps({"done": done, "total": total}))


def _report_to_terminal(done: int, total: int) -> None:
    if sys.stderr.isatty():
        typer.echo(f"\r{done} of {total} frames", err=True, nl=done == total)


def _check_wavelengths(frames: Frames) -> None:
    """One error for all frames without a wavelength, instead of one for each."""
    without = [frame.name for frame in frames.frames if frame.pattern is not None and frame.pattern.wavelength is None]
    if without and len(without) == sum(frame.pattern is not None for frame in frames.frames):
        msg = f"{shorten(without[0])} and the other files do not state their wavelength; give it as --wavelength CuKa"
        raise WavelengthError(msg, code="E_WAVELENGTH")


def _to_text(source: Path, found: PhaseSeries) -> str:
    """A table with a line for each frame: value, weight fractions with uncertainties, share that is not explained."""
    unit = f" [{found.unit}]" if found.unit else ""
    lines = [f"{source}  ({len(found.frames)} frames by {found.by}{unit})"]
    labels = [f"{number}  {phase.label}" for number, phase in enumerate(found.phases, 1)]
    lines += [f"  phase {label}" for label in labels]
    header = "".join(f"{f'phase {number}':>16s}" for number in range(1, len(labels) + 1))
    lines.append(f"  {found.by:>12s}{header}{'not explained':>16s}  file")
    fractions, errors = 100 * found.weight_fraction, 100 * found.u_weight_fraction
    for number, (frame, result) in enumerate(zip(found.frames, found.results, strict=True)):
        value = "-" if frame.value is None else f"{frame.value:g}"
        if result.error:
            lines.append(f"  {value:>12s}  {frame.name}: {result.error}")
            continue
        cells = "".join(
            f"{'-' if place is None else _percent(fractions[number, index], errors[number, index]):>16s}"
            for index, place in enumerate(found.places[number])
        )
        lines.append(f"  {value:>12s}{cells}{100 * result.unexplained_fraction:14.0f} %  {frame.name}")
    return "\n".join(
        [*lines, *(f"  {change}" for change in found.changes()), *(f"  note: {note}" for note in found.notes)]
    )


def _percent(value: float, error: float) -> str:
    return f"{value:.1f} %" if error != error else f"{value:.1f} ± {error:.1f} %"  # noqa: PLR0124 - NaN
