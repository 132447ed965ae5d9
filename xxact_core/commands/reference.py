"""The commands `xxact reference build | energies | info | find`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from xxact_core.commands.options import JsonFlag
from xxact_core.errors import DatasetError
from xxact_core.shipped import named_structures

app = typer.Typer(
    help="Build and inspect tables of reference phases for search-match.",
    no_args_is_help=True,
)

SHOWN = 20
"""Notes on structures that are printed."""

ERRORS = ".errors.csv"
"""Ending of the list of structures that could not be used, beside a table."""


@app.command()
def build(
    out: Annotated[Path, typer.Argument(help="Table to write (.parquet).")],
    sources: Annotated[
        list[Path],
        typer.Argument(
            help="CIF files, folders or archives, JSON, Parquet tables; of duplicates the ids of the first are shown."
        ),
    ],
    *,
    experimental: Annotated[
        list[Path] | None,
        typer.Option(help="One of the sources whose cells were measured; repeatable."),
    ] = None,
    energies: Annotated[
        Path | None, typer.Option(help="CSV table with the columns id and energy_above_hull [eV/atom].")
    ] = None,
    credit: Annotated[
        list[str] | None, typer.Option(help="Origin and licence of a source, which the table states.")
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace an existing table.")] = False,
    progress: Annotated[bool, typer.Option(help="Print progress as lines of JSON.")] = False,
) -> None:
    """Build a table of reference phases: symmetry, duplicates merged, strongest reflections of every phase.

    Structures that cannot be used are listed in OUT.errors.csv; the rest is used.
    """
    from xxact_core.dataset.store import write_csv
    from xxact_core.search_match.reference_building import Source, build_reference_table, read_energies

    if out.exists() and not overwrite:
        msg = f"{out} exists already; choose another name, or give --overwrite"
        raise DatasetError(msg, code="E_DATASET")
    measured = {str(path) for path in experimental or []}
    if unknown := measured - {str(path) for path in sources}:
        msg = f"--experimental {min(unknown)} is not one of the sources {', '.join(map(str, sources))}"
        raise DatasetError(msg, code="E_DATASET")

    def report(stage: str, done: int) -> None:
        if progress:
            typer.echo(json.dumps({"stage": stage, "done": done}))

    built = build_reference_table(
        out,
        [Source(named_structures(path), experimental=str(path) in measured) for path in sources],
        credit=credit or (),
        energies=None if energies is None else read_energies(energies),
        progress=report,
    )
    list_of_errors = out.with_name(out.name + ERRORS)
    list_of_errors.unlink(missing_ok=True)
    typer.echo(f"{out}: {built.phases} phases from {built.structures} structures")
    if built.renamed:
        shown = ", ".join(built.renamed[:3]) + (" ..." if len(built.renamed) > 3 else "")  # noqa: PLR2004 - examples
        typer.echo(f"{len(built.renamed)} ids occur in an earlier source, too, and got the name of theirs: {shown}")
    for identity, note in built.notes[:SHOWN]:
        typer.echo(f"note: {identity}: {note}")
    if len(built.notes) > SHOWN:
        typer.echo(f"and {len(built.notes) - SHOWN} more notes on how structures were read")
    if built.errors:
        write_csv(list_of_errors, ("source", "id", "reason"), list(built.errors))
        typer.echo(f"{len(built.errors)} structures could not be used; see {list_of_errors}")


@app.command()
def energies(
    out: Annotated[Path, typer.Argument(help="CSV table to write: id, energy_above_hull.")],
    tables: Annotated[list[Path], typer.Argument(help="Structure tables with the formulas and, where known, labels.")],
    *,
    total: Annotated[
        list[Path] | None,
        typer.Option(help="CSV table of energies by one method: id, energy_per_atom [eV]; repeatable."),
    ] = None,
) -> None:
    """Calculate energies above the convex hull, for `xxact reference build --energies`.

    Energies by one method are brought to formation energies by element references that are fitted to the labels.
    """
    from xxact_core.dataset.building.energy_table import read_total_energies
    from xxact_core.dataset.store import write_csv
    from xxact_core.search_match.hull_energies import (
        energies_above_hull,
        formation_energies,
        read_formulas_and_labels,
    )

    formulas: dict[str, str] = {}
    labels: dict[str, float] = {}
    for table in tables:
        formulas_here, labels_here = read_formulas_and_labels(named_structures(table))
        formulas = {**formulas_here, **formulas}
        labels = {**labels_here, **labels}
    known: dict[str, float] = {}
    for path in total or ():
        known |= read_total_energies(path)
    above = energies_above_hull(formulas, formation_energies(formulas, known, labels))
    rows = [(identity, f"{energy:.4f}") for identity, energy in above.items()]
    write_csv(out, ("id", "energy_above_hull"), rows)
    typer.echo(f"{out}: {len(rows)} energies above the hull")


@app.command()
def info(
    table: Annotated[Path, typer.Argument(help="Reference table; by default the shipped one.")] = Path(
        "reference_materials"
    ),
    *,
    as_json: JsonFlag = False,
) -> None:
    """Describe a table of reference phases: counts, sources and licences."""
    from xxact_core.search_match.reference_files import read_reference_table
    from xxact_core.search_match.reference_table import describe_table

    description = describe_table(read_reference_table(named_structures(table)))
    if as_json:
        typer.echo(json.dumps(description, ensure_ascii=False))
        return
    for name, value in description.items():
        for number, line in enumerate(value if isinstance(value, list) else [value]):
            typer.echo(f"{name.replace('_', ' ') if number == 0 else '':25s} {line}")


@app.command()
def find(
    name: Annotated[str, typer.Argument(help="Name, formula or id of a phase: rutile, TiO2, mp-2657.")],
    *,
    reference: Annotated[Path, typer.Option(help="Reference table; by default the shipped one.")] = Path(
        "reference_materials"
    ),
    as_json: JsonFlag = False,
) -> None:
    """List the phases of a name, formula or id, the best known first."""
    from xxact_core.search_match.reference_files import read_reference_table
    from xxact_core.search_match.reference_table import describe_phase
    from xxact_core.structures.space_groups import space_group_name

    table = read_reference_table(named_structures(reference))
    phases = [describe_phase(table, int(row)) for row in table.find(name)]
    if as_json:
        typer.echo(json.dumps(phases, ensure_ascii=False))
        return
    if not phases:
        typer.echo(f"no phase called {name}")
        return
    typer.echo(f"{'formula':20s}{'name':18s}{'space group':>14s}  {'a, b, c [Å], α, β, γ [°]':46s}id")
    for phase in phases:
        group = "-" if phase["space_group"] is None else space_group_name(str(phase["space_group"]))
        cell = ", ".join(f"{value:.5g}" for value in phase["cell"])
        identity = phase["id"] or phase["ids"][0]
        kind = "measured" if phase["experimental"] else "calculated"
        typer.echo(f"{phase['formula']:20s}{phase['name'] or '':18s}{group:>14s}  {cell:46s}{identity} ({kind})")
