"""The commands `xxact refine` and `xxact index`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xxact_core.commands.options import (
    InstrumentOption,
    JsonFlag,
    MaybeOption,
    ReferenceOption,
    ScanOption,
    WavelengthOption,
)
from xxact_core.errors import InputError, WavelengthError

if TYPE_CHECKING:
    from xxact_core.patterns.pattern import Pattern

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
            help="A phase that is present: a CIF file, or the id or name of a reference phase, such as mp-2133 or "
            "corundum. May be given several times; then the phases are not searched for."
        ),
    ] = None,
    maybe: MaybeOption = None,
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
    instrument: InstrumentOption = None,
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
    reference: ReferenceOption = None,
    as_json: JsonFlag = False,
    progress: ProgressFlag = False,
) -> None:
    """Refine cells, weight fractions and peak widths of the phases of a pattern.

    Needs the extra `refine`: pip install "xxact[refine]". The phases are given with --phase or found with --elements.
    """
    from xxact_core.refinement.naming import identify_phases, named_phases
    from xxact_core.refinement.output_files import write_refinement
    from xxact_core.refinement.refine import refine as refine_phases
    from xxact_core.refinement.rietx_engine import check_installed
    from xxact_core.refinement.settings import RefinementSettings
    from xxact_core.requests.identifying import parse_symbols
    from xxact_core.search_match.identify import Identifier
    from xxact_core.search_match.instrument import read_instrument

    check_installed()
    profile = None if instrument is None else read_instrument(instrument)
    settings = RefinementSettings(
        method=method,  # type: ignore[arg-type]  # checked there
        geometry=geometry,  # type: ignore[arg-type]  # likewise
        instrument=profile,
        two_theta_range=angles,
    )
    pattern = _read(file, wavelength=wavelength, scan=scan)
    if phase and (elements is not None or maybe is not None):
        msg = "give either --phase or --elements"
        raise InputError(msg, code="E_REFINEMENT")

    def load() -> Identifier:
        return Identifier.load(reference)

    if phase:
        named = named_phases(phase, lambda: load().references, pattern=pattern, instrument=profile)
    elif elements is not None:
        named = identify_phases(
            pattern, load(), elements=parse_symbols(elements), maybe=parse_symbols(maybe), instrument=profile
        )
    else:
        msg = "give the phases (--phase FILE.cif or --phase mp-2133), or the elements to find them (--elements Zn,O)"
        raise InputError(msg, code="E_REFINEMENT")
    result = refine_phases(pattern, named.phases, settings=settings, progress=_progress(progress))
    result = replace(result, warnings=(*named.warnings, *result.warnings))
    files = () if output is None else write_refinement(result, output, instant=named.instant)
    if as_json:
        found = {**result.to_dict(), "instant_analysis": list(named.instant), "files": [str(path) for path in files]}
        typer.echo(json.dumps(found, ensure_ascii=False))
        return
    typer.echo(result.to_text(instant=named.instant))
    if output is not None:
        typer.echo(f"  {len(files)} files written to {output}")


@app.command()
def index(
    file: FileArgument,
    *,
    wavelength: WavelengthOption = None,
    scan: ScanOption = "0",
    systems: Annotated[
        str | None,
        typer.Option(help="Crystal systems to search: 'cubic,tetragonal'. By default all, until a cell has M20 >= 20."),
    ] = None,
    seconds: Annotated[float, typer.Option(help="Time limit of the search [s].")] = 60.0,
    as_json: JsonFlag = False,
    progress: ProgressFlag = False,
) -> None:
    """Find unit cells for a pattern of one unknown phase, from the positions of its peaks.

    Needs the extra `refine`: pip install "xxact[refine]". M20 is the figure of merit of de Wolff: above 10 a cell that
    explains all peaks is usually right, or a multiple of the right one.
    """
    from xxact_core.refinement.indexing import SYSTEMS, index_pattern
    from xxact_core.refinement.rietx_engine import check_installed

    check_installed()
    pattern = _read(file, wavelength=wavelength, scan=scan)
    asked = SYSTEMS if systems is None else tuple(part for part in re.split(r"[\s,;]+", systems.lower()) if part)
    found = index_pattern(pattern, systems=asked, seconds=seconds, progress=_progress(progress))
    typer.echo(json.dumps(found.to_dict(), ensure_ascii=False) if as_json else found.to_text())


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
