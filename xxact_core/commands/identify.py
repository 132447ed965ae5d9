"""The command `xxact identify`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xxact_core.commands.former_names import IdentifyOptions
from xxact_core.commands.options import ReferenceOption, ScanOption, WavelengthOption
from xxact_core.errors import FormulaError, WavelengthError
from xxact_core.structures.space_groups import space_group_name

if TYPE_CHECKING:
    from xxact_core.search_match.identify import Identification
    from xxact_core.search_match.phase_analysis import PhaseAnalysis

app = typer.Typer()

SHOWN_PEAKS = 5
"""Number of unexplained peaks printed."""


@app.command(cls=IdentifyOptions)
def identify(  # noqa: PLR0913 - one argument per option
    file: Annotated[Path, typer.Argument(help="Measured pattern file.")],
    *,
    elements: Annotated[
        str | None,
        typer.Option(
            help="Elements that the specimen contains: 'La,B'. Phases with other elements are not compared. By default "
            "all reference phases are compared."
        ),
    ] = None,
    maybe: Annotated[
        str | None, typer.Option(help="Elements that the specimen may contain besides --elements: 'C,H'.")
    ] = None,
    one_of: Annotated[
        str | None, typer.Option("--one-of", help="Elements of which the specimen contains at least one: 'Fe,Co'.")
    ] = None,
    exclude: Annotated[str | None, typer.Option(help="Elements that the specimen does not contain: 'F,Cl'.")] = None,
    formula: Annotated[
        str | None,
        typer.Option(help="Instead of --elements, a composition as in `xxact predict`: LaB6, 'La,B,?O', '?'."),
    ] = None,
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
    instrument: Annotated[
        str | None,
        typer.Option(
            help="Width of the instrument, for crystallite sizes: a name given to `xxact instrument --save`, or a file."
        ),
    ] = None,
    curves: Annotated[
        Path | None,
        typer.Option(help="Write measured and calculated curves to this netCDF file.", dir_okay=False),
    ] = None,
    gridded: Annotated[
        bool, typer.Option("--gridded", help="FILE is a pattern on the grid, written by write_gridded.")
    ] = False,
    progress: Annotated[bool, typer.Option(help="Print progress as lines of JSON before the result.")] = False,
) -> None:
    """Find the phases of a pattern, with weight fractions and cells, and the reference phases that match it best."""
    from xxact_core.patterns.gridded_files import read_gridded
    from xxact_core.readers.read import parse_scan
    from xxact_core.readers.read_untrusted import read_untrusted_pattern
    from xxact_core.search_match.element_states import parse_element_states
    from xxact_core.search_match.identify import Identifier
    from xxact_core.search_match.instrument import read_instrument

    def report(done: int, total: int) -> None:
        if progress:
            typer.echo(json.dumps({"done": done, "total": total}))

    if cache is not None:
        typer.echo("note: --cache is deprecated and has no effect, as nothing is stored any more", err=True)
    present, possible = _parse_elements(elements, formula)
    states = parse_element_states(  # before the database is read, which takes seconds
        elements=present,
        maybe=(*possible, *(parse_symbols(maybe) or ())) if possible else parse_symbols(maybe),
        one_of=parse_symbols(one_of),
        exclude=parse_symbols(exclude),
    )
    selected = parse_scan(scan)
    profile = None if instrument is None else read_instrument(instrument)
    pattern = read_gridded(file) if gridded else read_untrusted_pattern(file, scan=selected)
    try:
        found = Identifier.load(reference).identify(
            pattern,
            elements=states.must or None,
            maybe=states.may or None,
            one_of=states.one_of or None,
            exclude=states.never or None,
            wavelength=wavelength,
            count=count,
            instrument=profile,
            progress=report,
        )
    except WavelengthError as error:
        msg = f"{error} (--wavelength)"
        raise WavelengthError(msg, code=error.code) from error
    if curves is not None and found.analysis is not None:
        found.analysis.write_netcdf(curves)
    if as_json:
        typer.echo(json.dumps(found.to_dict(reflections=full), ensure_ascii=False))
    else:
        typer.echo(_to_text(file, found))


def _parse_elements(elements: str | None, formula: str | None) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
    """Elements that are present, None where neither option is given, and those of the formula that may be."""
    from xxact_core.compositions.partial import maybe_symbols, parse_composition

    if elements is not None and formula is not None:
        msg = "give either --elements or --formula"
        raise FormulaError(msg, code="E_FORMULA")
    if formula is not None:
        known = parse_composition(formula)
        return known.symbols or None, maybe_symbols(known)
    return parse_symbols(elements), ()


def parse_symbols(text: str | None) -> tuple[str, ...] | None:
    """The element symbols of an option, separated by commas or spaces; None where it is not given."""
    return None if text is None else tuple(part for part in re.split(r"[\s,;]+", text) if part)


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
