"""The command `xxact identify`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xxact_core.commands.former_names import IdentifyOptions
from xxact_core.commands.options import ScanOption, WavelengthOption
from xxact_core.errors import FormulaError, WavelengthError
from xxact_core.shipped import named_structures
from xxact_core.structures.space_groups import space_group_name

if TYPE_CHECKING:
    from xxact_core.search_match.identify import Identification

app = typer.Typer()


@app.command(cls=IdentifyOptions)
def identify(  # noqa: PLR0913 - one argument per option
    file: Annotated[Path, typer.Argument(help="Measured pattern file.")],
    *,
    elements: Annotated[
        str | None,
        typer.Option(
            help="All elements that the specimen may contain: 'La,B'. By default all reference phases are searched, "
            "which is less reliable."
        ),
    ] = None,
    formula: Annotated[
        str | None,
        typer.Option(help="Instead of --elements, a composition as in `xxact predict`: LaB6, 'La,B,?O', '?'."),
    ] = None,
    wavelength: WavelengthOption = None,
    scan: ScanOption = "0",
    reference: Annotated[
        Path | None,
        typer.Option(
            help="Reference phases to search: a Parquet table or a dataset; by default Materials Project structures."
        ),
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(help="Folder of the peak index, used without elements; by default the user's cache folder."),
    ] = None,
    count: Annotated[int, typer.Option(help="Largest number of matches to print.", min=1)] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print the matches as JSON.")] = False,
    full: Annotated[
        bool,
        typer.Option(
            "--full", help="With --json, print an object with fitted reflections, mixture analysis and warnings."
        ),
    ] = False,
    gridded: Annotated[
        bool, typer.Option("--gridded", help="FILE is a pattern on the grid, written by write_gridded.")
    ] = False,
    progress: Annotated[bool, typer.Option(help="Print progress as lines of JSON before the result.")] = False,
) -> None:
    """Find the reference phases that match a pattern, and decide whether one of them explains it."""
    from xxact_core.patterns.gridded_files import read_gridded
    from xxact_core.readers.read import parse_scan
    from xxact_core.readers.read_untrusted import read_untrusted_pattern
    from xxact_core.search_match.database import check_elements
    from xxact_core.search_match.identify import Identifier

    def report(done: int, total: int) -> None:
        if progress:
            typer.echo(json.dumps({"done": done, "total": total}))

    symbols, selected = _parse_elements(elements, formula), parse_scan(scan)
    if symbols is not None:
        check_elements(symbols)  # before the database is read, which takes seconds
    pattern = read_gridded(file) if gridded else read_untrusted_pattern(file, scan=selected)
    try:
        found = Identifier.load(None if reference is None else named_structures(reference), cache=cache).identify(
            pattern, elements=symbols, wavelength=wavelength, count=count, progress=report
        )
    except WavelengthError as error:
        msg = f"{error} (--wavelength)"
        raise WavelengthError(msg, code=error.code) from error
    if as_json:
        result = found.to_dict(reflections=full)
        typer.echo(json.dumps(result if full else result["neighbours"], ensure_ascii=False))
    else:
        typer.echo(_to_text(file, found))


def _parse_elements(elements: str | None, formula: str | None) -> tuple[str, ...] | None:
    from xxact_core.compositions.partial import parse_composition, possible_symbols

    if elements is not None and formula is not None:
        msg = "give either --elements or --formula"
        raise FormulaError(msg, code="E_FORMULA")
    if formula is not None:
        return possible_symbols(parse_composition(formula)) or None
    return None if elements is None else tuple(part for part in re.split(r"[\s,;]+", elements) if part)


def _to_text(file: Path, found: Identification) -> str:
    searched = f"of {', '.join(found.elements)}" if found.elements else "with the most similar peaks"
    lines = [f"{file}  ({found.candidates} reference phases {searched} compared)"]
    if not found.matches:
        return f"{lines[0]}\n  no match: the database holds no phase of these elements"
    lines.append(
        f"  {'formula':20s}{'name':16s}{'space group':>16s}{'score':>8s}{'shift [°]':>11s}{'cell scale':>12s}  id"
    )
    for match in found.matches:
        group = "-" if match.space_group is None else space_group_name(str(match.space_group))
        lines.append(
            f"  {match.formula:20s}{match.name or '':16s}{group:>16s}{match.score:8.3f}{match.shift:+11.2f}"
            f"{match.scale:12.4f}  {match.shown_id or '-'}"
        )
    if found.mixture is not None:
        lines.append(f"  {found.mixture.sentence}")
    return "\n".join([*lines, *(f"  note: {warning}" for warning in found.warnings)])
