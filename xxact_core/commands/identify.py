"""The command line for known materials: xxact identify."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xxact_core.errors import FormulaError, WavelengthError
from xxact_core.shipped import named_structures

if TYPE_CHECKING:
    from xxact_core.search_match.identify import Identification

app = typer.Typer()


@app.command()
def identify(  # noqa: PLR0913 - a command has as many options as there are things to say
    file: Annotated[Path, typer.Argument(help="A file of a diffractometer.")],
    *,
    elements: Annotated[
        str | None, typer.Option(help="All that may be in the specimen: 'La,B'. Without: every material, less sure.")
    ] = None,
    formula: Annotated[
        str | None, typer.Option(help="Instead of --elements: what is known, as for predict: LaB6, 'La,B,?O', '?'.")
    ] = None,
    wavelength: Annotated[
        str | None, typer.Option(help="In Å, or a name such as CuKa; needed where a file has none.")
    ] = None,
    scan: Annotated[str, typer.Option(help="Of a file of several scans: its number, from 0, or 'sum'.")] = "0",
    table: Annotated[
        Path | None,
        typer.Option(help="Known materials, a .parquet table or a data set; the Materials Project's where not given."),
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder of the index that is used without elements; the user's cache else.")
    ] = None,
    count: Annotated[int, typer.Option(help="Materials to name at most.", min=1)] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print the list of materials as JSON.")] = False,
    whole: Annotated[
        bool,
        typer.Option(help="With --json: an object of the list with its lines, the verdict on mixtures, the warnings."),
    ] = False,
    prepared: Annotated[bool, typer.Option(help="FILE is a pattern on the grid, as write_gridded writes it.")] = False,
    progress: Annotated[bool, typer.Option(help="Before the answer, lines of JSON that say how far it is.")] = False,
) -> None:
    """Which known materials a pattern agrees with, and whether one of them is enough."""
    from xxact_core.patterns.gridded_files import read_gridded
    from xxact_core.readers.read import parse_scan
    from xxact_core.readers.read_untrusted import read_untrusted_pattern
    from xxact_core.search_match.database import check_elements
    from xxact_core.search_match.identify import Identifier

    def tell(done: int, total: int) -> None:
        if progress:
            typer.echo(json.dumps({"done": done, "total": total}))

    symbols, chosen = _elements(elements, formula), parse_scan(scan)
    if symbols is not None:
        check_elements(symbols)  # before seconds are spent on the table
    pattern = read_gridded(file) if prepared else read_untrusted_pattern(file, scan=chosen)
    try:
        found = Identifier.load(None if table is None else named_structures(table), cache=cache).identify(
            pattern, elements=symbols, wavelength=wavelength, count=count, tell=tell
        )
    except WavelengthError as error:
        msg = f"{error} (--wavelength)"
        raise WavelengthError(msg, code=error.code) from error
    if as_json:
        answer = found.to_dict(lines=whole)
        typer.echo(json.dumps(answer if whole else answer["neighbours"], ensure_ascii=False))
    else:
        typer.echo(_to_text(file, found))


def _elements(elements: str | None, formula: str | None) -> tuple[str, ...] | None:
    from xxact_core.compositions.partial import possible_symbols
    from xxact_core.compositions.partial_text import parse_composition

    if elements is not None and formula is not None:
        msg = "give either --elements or --formula"
        raise FormulaError(msg, code="E_FORMULA")
    if formula is not None:
        return possible_symbols(parse_composition(formula)) or None
    return None if elements is None else tuple(part for part in re.split(r"[\s,;]+", elements) if part)


def _to_text(file: Path, found: Identification) -> str:
    among = f" of {', '.join(found.elements)}" if found.elements else " whose lines are most alike"
    lines = [f"{file}  ({found.candidates} known materials{among})"]
    if not found.neighbours:
        return f"{lines[0]}\n  none: the table holds no material of these elements that scatters"
    lines.append(f"  {'formula':20s}{'space group':>12s}{'score':>8s}{'shift':>8s}{'scale':>8s}  id")
    for one in found.neighbours:
        group = "-" if one.space_group is None else str(one.space_group)
        lines.append(f"  {one.formula:20s}{group:>12s}{one.score:8.3f}{one.shift:+8.2f}{one.scale:8.4f}  {one.id}")
    if found.mixture is not None:
        lines.append(f"  {found.mixture.sentence}")
    return "\n".join([*lines, *(f"  note: {warning}" for warning in found.warnings)])
