"""The command `xxact identify`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xxact_core.commands.former_names import IdentifyOptions
from xxact_core.commands.options import (
    ElementsOption,
    ExcludeOption,
    FormulaOption,
    InstrumentOption,
    MaybeOption,
    OneOfOption,
    ReferenceOption,
    ScanOption,
    WavelengthOption,
)
from xxact_core.errors import InputError, WavelengthError
from xxact_core.structures.space_groups import space_group_name

if TYPE_CHECKING:
    from xxact_core.patterns.pattern import Pattern
    from xxact_core.requests.identifying import IdentifyRequest
    from xxact_core.search_match.identify import Identification
    from xxact_core.search_match.phase_analysis import PhaseAnalysis

app = typer.Typer()

SHOWN_PEAKS = 5
"""Number of unexplained peaks printed."""


@app.command(cls=IdentifyOptions)
def identify(  # noqa: PLR0913 - one argument per option
    file: Annotated[Path, typer.Argument(help="Measured pattern file.")],
    *,
    elements: ElementsOption = None,
    maybe: MaybeOption = None,
    one_of: OneOfOption = None,
    exclude: ExcludeOption = None,
    formula: FormulaOption = None,
    wavelength: WavelengthOption = None,
    scan: ScanOption = "0",
    reference: ReferenceOption = None,
    cache: Annotated[
        Path | None,
        typer.Option(help="Deprecated, no longer needed: nothing is stored.", hidden=True),
    ] = None,
    count: Annotated[int, typer.Option(help="Largest number of matches to print.", min=1)] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print matches and phases as a JSON object.")] = False,
    full: Annotated[
        bool, typer.Option("--full", help="With --json, also print the fitted reflections of matches and phases.")
    ] = False,
    instrument: InstrumentOption = None,
    curves: Annotated[
        Path | None,
        typer.Option(help="Write measured and calculated curves to this netCDF file.", dir_okay=False),
    ] = None,
    output: Annotated[
        list[Path] | None,
        typer.Option(
            help="Write the results to a file: .html (report), .png, .svg or .pdf (plot), .nxs (NeXus), .eln (archive "
            "for lab notebooks), .jsonld, .csv or .json; repeatable.",
            dir_okay=False,
        ),
    ] = None,
    gridded: Annotated[
        bool, typer.Option("--gridded", help="FILE is a pattern on the grid, written by write_gridded.")
    ] = False,
    progress: Annotated[bool, typer.Option(help="Print progress as lines of JSON before the result.")] = False,
) -> None:
    """Find the phases of a pattern, with weight fractions and cells, and the reference phases that match it best."""
    from xxact_core.patterns.gridded_files import read_gridded
    from xxact_core.patterns.pattern import Pattern
    from xxact_core.readers.content import read_source
    from xxact_core.requests.identifying import IdentifyRequest, identify_pattern
    from xxact_core.search_match.identify import Identifier
    from xxact_core.search_match.instrument import read_instrument

    def report(done: int, total: int) -> None:
        if progress:
            typer.echo(json.dumps({"done": done, "total": total}))

    if cache is not None:
        typer.echo("note: --cache is deprecated and has no effect, as nothing is stored any more", err=True)
    request = IdentifyRequest(  # checked before the database is read, which takes seconds
        elements=elements,
        maybe=maybe,
        one_of=one_of,
        exclude=exclude,
        formula=formula,
        wavelength=wavelength,
        scan=scan,
        count=count,
        full=full,
    )
    _check_outputs(output, gridded=gridded)
    profile = None if instrument is None else read_instrument(instrument)
    content = b"" if gridded else read_source(file)[0]  # read once, as the file may change during the search
    pattern = read_gridded(file) if gridded else request.read(content, name=file.name)
    try:
        identifier = Identifier.load(reference)
        found = identify_pattern(pattern, request, identifier, instrument=profile, progress=report)
    except WavelengthError as error:
        msg = f"{error} (--wavelength)"
        raise WavelengthError(msg, code=error.code) from error
    if curves is not None and found.analysis is not None:
        found.analysis.write_netcdf(curves)
    if output and isinstance(pattern, Pattern):
        _write_outputs(output, (file.name, content), pattern, found, request, digest=identifier.references.digest)
    if as_json:
        typer.echo(json.dumps(found.to_dict(reflections=full), ensure_ascii=False))
    else:
        typer.echo(_to_text(file, found))


def _check_outputs(output: list[Path] | None, *, gridded: bool) -> None:
    """Refuse files that cannot be written before the search, which takes seconds."""
    from xxact_core.reports.files import format_of

    for path in output or ():
        format_of(path)
    if output and gridded:
        msg = "--output needs the measured pattern; a gridded one has lost its background and its angles"
        raise InputError(msg, code="E_WRITE")


def _write_outputs(
    output: list[Path],
    source: tuple[str, bytes],
    pattern: Pattern,
    found: Identification,
    request: IdentifyRequest,
    *,
    digest: str,
) -> None:
    """Write the results; `source` is the name and the content of the measured file."""
    from dataclasses import asdict

    from xxact_core.reports.analysed_pattern import AnalysisSettings, FileFacts, to_analysed_pattern
    from xxact_core.reports.files import write_report

    name, content = source
    analysed = to_analysed_pattern(
        found,
        pattern,
        source=FileFacts.of(content, name=name),
        settings=AnalysisSettings(**asdict(request)),
        reference_digest=digest,
    )
    for path in output:
        write_report(analysed, path, content=content)


def _phases_to_lines(analysis: PhaseAnalysis) -> list[str]:
    """The phases as a table, and what they leave unexplained."""
    lines = ["", f"  {analysis.sentence}"]
    if analysis.phases:
        lines.append(
            f"  {'phase':20s}{'name':16s}{'space group':>14s}{'wt%':>12s}{'probability':>13s}{'size [nm]':>11s}"
            "  cell [Å, °]"
        )
    for phase in analysis.phases:
        group = "-" if phase.space_group is None else space_group_name(str(phase.space_group))
        lines.append(
            f"  {phase.formula:20s}{phase.name or '':16s}{group:>14s}{phase.weight_text:>12s}"
            f"{phase.probability:>13.0%}{phase.size_text:>11s}  {phase.cell_text}"
        )
    lines += [
        f"  Preferred orientation of {phase.label} along {''.join(map(str, phase.texture_axis))}: March-Dollase r = "
        f"{phase.texture:.2f}"
        for phase in analysis.phases
        if phase.texture_axis is not None
    ]
    rest = f"  Unexplained: {100 * analysis.unexplained_fraction:.1f} % of the intensity"
    if analysis.unexplained_peaks:
        strongest = analysis.unexplained_peaks[:SHOWN_PEAKS]
        peaks = ", ".join(f"{peak.two_theta:.2f}° (d = {peak.d:.3f} Å, {peak.height:.0f} %)" for peak in strongest)
        rest += f"; strongest peaks at {peaks}"
    lines.append(rest)
    if analysis.amorphous is not None:
        hump = analysis.amorphous
        lines.append(
            f"  Broad hump at {hump.two_theta:.1f}° with {100 * hump.fraction:.0f} % of the intensity: amorphous "
            "material may be present; it is not part of the weight fractions."
        )
    return lines


def _to_text(file: Path, found: Identification) -> str:
    searched = f" of {', '.join(found.elements)}" if found.elements else ""
    lines = [f"{file}  ({found.candidates} reference phases{searched} compared)"]
    if not found.matches:
        return f"{lines[0]}\n  no match: the database holds no phase of these elements"
    if found.analysis is not None:
        lines += _phases_to_lines(found.analysis)
    lines += [
        "",
        "  Single phases compared:",
        (
            f"  {'formula':20s}{'name':16s}{'space group':>16s}{'probability':>13s}{'score':>8s}{'shift [°]':>11s}"
            f"{'cell scale':>12s}  id"
        ),
    ]
    mixture = found.verdict == "mixture"
    for match in found.matches:
        group = "-" if match.space_group is None else space_group_name(str(match.space_group))
        probability = "-" if match.probability is None or mixture else f"{match.probability:.0%}"
        lines.append(
            f"  {match.formula:20s}{match.name or '':16s}{group:>16s}{probability:>13s}{match.score:8.3f}"
            f"{match.shift:+11.2f}{match.scale:12.4f}  {match.id or '-'}"
        )
    if not mixture:
        lines.append(f"  {'not in the database':52s}{found.no_match:>13.0%}")
    return "\n".join([*lines, *(f"  note: {warning}" for warning in found.warnings)])
