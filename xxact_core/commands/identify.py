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
            help="Elements that the specimen contains: 'La,B'. Phases with other elements are not compared. By default "
            "all reference phases are."
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
    reference: Annotated[
        Path | None,
        typer.Option(
            help="Reference phases to search: a Parquet table or a dataset; by default Materials Project structures."
        ),
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(help="Deprecated, no longer needed: nothing is stored.", hidden=True),
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
    from xxact_core.search_match.element_states import parse_element_states
    from xxact_core.search_match.identify import Identifier

    def report(done: int, total: int) -> None:
        if progress:
            typer.echo(json.dumps({"done": done, "total": total}))

    if cache is not None:
        typer.echo("note: --cache is deprecated and has no effect, as nothing is stored any more", err=True)
    states = {
        "elements": _parse_elements(elements, formula),
        "maybe": parse_symbols(maybe),
        "one_of": parse_symbols(one_of),
        "exclude": parse_symbols(exclude),
    }
    selected = parse_scan(scan)
    parse_element_states(**states)  # before the database is read, which takes seconds
    pattern = read_gridded(file) if gridded else read_untrusted_pattern(file, scan=selected)
    try:
        found = Identifier.load(None if reference is None else named_structures(reference)).identify(
            pattern, **states, wavelength=wavelength, count=count, progress=report
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
    return parse_symbols(elements)


def parse_symbols(text: str | None) -> tuple[str, ...] | None:
    """The element symbols of an option, separated by commas or spaces; None where it is not given."""
    return None if text is None else tuple(part for part in re.split(r"[\s,;]+", text) if part)


def _to_text(file: Path, found: Identification) -> str:
    searched = f" of {', '.join(found.elements)}" if found.elements else ""
    lines = [f"{file}  ({found.candidates} reference phases{searched} compared)"]
    if not found.matches:
        return f"{lines[0]}\n  no match: the database holds no phase of these elements"
    lines.append(
        f"  {'formula':20s}{'name':16s}{'space group':>16s}{'probability':>13s}{'score':>8s}{'shift [°]':>11s}"
        f"{'cell scale':>12s}  id"
    )
    for match in found.matches:
        group = "-" if match.space_group is None else space_group_name(str(match.space_group))
        probability = "-" if match.probability is None else f"{match.probability:.0%}"
        lines.append(
            f"  {match.formula:20s}{match.name or '':16s}{group:>16s}{probability:>13s}{match.score:8.3f}"
            f"{match.shift:+11.2f}{match.scale:12.4f}  {match.shown_id or '-'}"
        )
    lines.append(f"  {'not in the database':52s}{found.no_match:>13.0%}")
    if found.mixture is not None:
        lines.append(f"  {found.mixture.sentence}")
    return "\n".join([*lines, *(f"  note: {warning}" for warning in found.warnings)])
