"""The commands `xxact refine` and `xxact index`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xxact_core.commands.options import JsonFlag, ScanOption, WavelengthOption
from xxact_core.errors import InputError, WavelengthError
from xxact_core.shipped import named_structures

if TYPE_CHECKING:
    from xxact_core.patterns.pattern import Pattern
    from xxact_core.refinement.naming import NamedPhases
    from xxact_core.search_match.database import ReferenceDatabase

app = typer.Typer()

FileArgument = Annotated[Path, typer.Argument(help="Measured pattern file, as measured: with background and Kα2.")]
ProgressFlag = Annotated[bool, typer.Option(help="Print progress as lines of JSON before the result.")]


@app.command()
def refine(  # noqa: PLR0913 - one argument per option
    file: FileArgument,
    *,
    elements: Annotated[
        str | None,
        typer.Option(help="All elements that the specimen may contain: the phases are found as by `xxact identify`."),
    ] = None,
    phase: Annotated[
        list[str] | None,
        typer.Option(
            help="A phase that is present: a CIF file, or the id of a reference phase such as mp-2133. May be given "
            "several times; then the phases are not searched for."
        ),
    ] = None,
    wavelength: WavelengthOption = None,
    scan: ScanOption = "0",
    method: Annotated[
        str,
        typer.Option(help="rietveld: intensities from the structures; lebail: free intensities, cells only."),
    ] = "rietveld",
    geometry: Annotated[
        str | None,
        typer.Option(
            help="bragg_brentano (flat plate) or debye_scherrer (capillary); by default the former for Kα radiation."
        ),
    ] = None,
    angles: Annotated[
        tuple[float, float] | None,
        typer.Option("--range", help="First and last angle to refine [deg 2θ]; by default the whole pattern."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the report, the curves, a CIF of each phase, the pattern, and project files of TOPAS, "
            "FullProf, GSAS and GSAS-II."
        ),
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(help="Reference phases to search, instead of the shipped ones: a Parquet table or a dataset."),
    ] = None,
    as_json: JsonFlag = False,
    progress: ProgressFlag = False,
) -> None:
    """Refine cells, weight fractions and peak widths of the phases of a pattern.

    Needs the extra `refine`: pip install "xxact[refine]". The phases are given with --phase or found with --elements.
    """
    from xxact_core.refinement.output_files import write_refinement
    from xxact_core.refinement.refine import refine as refine_phases
    from xxact_core.refinement.rietx_engine import check_installed
    from xxact_core.refinement.settings import RefinementSettings

    check_installed()
    settings = RefinementSettings(method=method, geometry=geometry, two_theta_range=angles)  # type: ignore[arg-type]  # checked there
    pattern = _read(file, wavelength=wavelength, scan=scan)
    report = _progress(progress)
    named = _name_phases(pattern, phase, elements, reference)
    result = refine_phases(pattern, named.phases, settings=settings, progress=report)
    files = () if output is None else write_refinement(result, output, instant=named.instant)
    if as_json:
        found = {**result.to_dict(), "instant_analysis": list(named.instant), "files": [str(path) for path in files]}
        typer.echo(json.dumps(found, ensure_ascii=False))
        return
    typer.echo(result.to_text(instant=named.instant))
    if output is not None:
        typer.echo(f"  {len(files)} files written to {output}")


def _read(file: Path, *, wavelength: str | None, scan: str) -> Pattern:
    """The pattern, with a wavelength.

    Raises:
        WavelengthError: neither the file nor the option states it.
    """
    from xxact_core.patterns.conversions import parse_wavelength
    from xxact_core.readers.read import parse_scan
    from xxact_core.readers.read_untrusted import read_untrusted_pattern

    length = None if wavelength is None else parse_wavelength(wavelength)
    pattern = read_untrusted_pattern(file, wavelength=length, scan=parse_scan(scan))
    if pattern.wavelength is None:
        msg = f"{pattern.name}: the file does not state the wavelength; give it, for instance --wavelength CuKa"
        raise WavelengthError(msg, code="E_WAVELENGTH")
    return pattern


def _progress(wanted: bool) -> Callable[[int, int], None]:  # noqa: FBT001 - one private caller a command
    def report(done: int, total: int) -> None:
        if wanted:
            typer.echo(json.dumps({"done": done, "total": total}))

    return report


def _name_phases(
    pattern: Pattern, phase: list[str] | None, elements: str | None, reference: Path | None
) -> NamedPhases:
    from xxact_core.commands.identify import parse_symbols
    from xxact_core.refinement.naming import identify_phases, named_phases
    from xxact_core.search_match.identify import Identifier

    def references() -> ReferenceDatabase:
        return Identifier.load(None if reference is None else named_structures(reference)).references

    if phase and elements is not None:
        msg = "give either --phase or --elements"
        raise InputError(msg, code="E_REFINEMENT")
    if phase:
        return named_phases(phase, references)
    if elements is None:
        msg = "give the phases (--phase FILE.cif or --phase mp-2133), or the elements to find them (--elements Zn,O)"
        raise InputError(msg, code="E_REFINEMENT")
    return identify_phases(pattern, references(), elements=parse_symbols(elements))
