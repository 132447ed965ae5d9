"""The commands of `xxact dataset`: info, compact, verify, merge, split, and generators of structures and labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from xxact_core.commands.options import DatasetArgument, JsonFlag
from xxact_core.errors import DatasetError
from xxact_core.shipped import named_energies, named_structures

app = typer.Typer(
    help="Inspect, verify, merge and split datasets, compact tables, and generate structures and labels.",
    no_args_is_help=True,
)


_LABELS = {"lines_per_material": "reflections per material"}
"""Labels of the fields that are not named as in JSON, whose keys are those of version 0.1.0."""


@app.command()
def info(dataset: DatasetArgument, *, as_json: JsonFlag = False) -> None:
    """Describe a dataset: counts, labels, sizes and origin."""
    from xxact_core.dataset.inspection import describe_dataset

    description = describe_dataset(dataset)
    if as_json:
        typer.echo(json.dumps(description))
        return
    for name, value in description.items():
        typer.echo(f"{_LABELS.get(name, name.replace('_', ' ')):25s} {_to_text(value)}")


@app.command()
def compact(
    source: Annotated[Path, typer.Argument(help="Parquet table with the columns of cells, species and coordinates.")],
    out: Annotated[Path, typer.Argument(help="Table to write; must not exist.")],
) -> None:
    """Store the structures of a table as asymmetric units, a third of the size; rows and labels stay as they are."""
    from xxact_core.structures.packing import pack_table

    if out.exists():
        msg = f"{out} exists already; choose another name"
        raise DatasetError(msg, code="E_DATASET")
    rows = pack_table(source, out)
    before, after = source.stat().st_size / 1e6, out.stat().st_size / 1e6
    typer.echo(f"{out}: {rows} structures, {after:.1f} MB instead of {before:.1f} MB")


@app.command()
def verify(dataset: DatasetArgument) -> None:
    """Check every shard of a dataset against its digest and counts; exit with code 2 if one is damaged."""
    from xxact_core.dataset.inspection import verify_dataset

    problems = verify_dataset(dataset)
    if problems:
        raise DatasetError(f"{dataset} is damaged: " + "; ".join(problems), code="E_DATASET")
    typer.echo(f"{dataset} is intact")


@app.command()
def merge(
    datasets: Annotated[list[Path], typer.Argument(help="Dataset folders.")],
    *,
    into: Annotated[Path, typer.Option(help="Folder of the merged dataset; must not exist.")],
) -> None:
    """Merge several datasets; duplicate materials are listed in duplicates.csv."""
    from xxact_core.dataset.building.merge_split import merge_datasets

    counts = merge_datasets(datasets, into)
    typer.echo(f"{counts['materials']} materials in {into}, {counts['duplicates']} of them duplicates")


@app.command()
def split(
    dataset: DatasetArgument,
    *,
    into: Annotated[Path, typer.Option(help="Folder for the parts, each a dataset in its own folder.")],
    by: Annotated[str, typer.Option(help="Split by: split (train, validation, test) or crystal_system.")] = "split",
) -> None:
    """Split a dataset into several."""
    from xxact_core.dataset.building.merge_split import split_dataset

    for name, materials in split_dataset(dataset, into, by=by).items():
        typer.echo(f"{materials:8d} materials in {into / name}")


@app.command()
def substitute(
    source: Annotated[Path, typer.Argument(help="File or folder of structures, as for `xxact build`.")],
    table: Annotated[Path, typer.Argument(help="Parquet table to write, for `xxact build`; must not exist.")],
    *,
    copies: Annotated[int, typer.Option(help="Substituted structures per training structure.", min=1)] = 2,
    seed: Annotated[int, typer.Option(help="Seed of the substitutions.", min=0)] = 0,
    split_seed: Annotated[int, typer.Option(help="Seed of the split, the --seed of `xxact build`.")] = 0,
) -> None:
    """Generate structures with elements replaced by similar ones, as more training data for symmetry."""
    from xxact_core.dataset.building.element_substitution import write_substituted_structures

    count = write_substituted_structures(
        named_structures(source), table, copies=copies, seed=seed, split_seed=split_seed
    )
    typer.echo(f"{count} element-substituted structures in {table}")


@app.command()
def disorder(
    source: Annotated[Path, typer.Argument(help="Structures, as for `xxact build`; or reference_materials.")],
    table: Annotated[
        Path, typer.Argument(help="Parquet table to write, for `xxact build --measured-cells`; must not exist.")
    ],
    *,
    count: Annotated[int, typer.Option(help="Number of disordered structures, approximately.", min=1)] = 50_000,
    seed: Annotated[int, typer.Option(help="Seed of the disorder.", min=0)] = 0,
    split_seed: Annotated[int, typer.Option(help="Seed of the split, the --seed of `xxact build`.")] = 0,
) -> None:
    """Generate solid solutions, vacancies and exchanged sites that keep the symmetry of training structures."""
    from xxact_core.dataset.building.site_disorder import write_disordered_structures

    written = write_disordered_structures(
        named_structures(source), table, count=count, seed=seed, split_seed=split_seed
    )
    typer.echo(f"{written} disordered structures in {table}")


@app.command()
def measured(
    source: Annotated[Path, typer.Argument(help="Reference table, or a table with the column cell_is_measured.")],
    table: Annotated[
        Path, typer.Argument(help="Parquet table to write, for `xxact build --measured-cells`; must not exist.")
    ],
    *,
    split_seed: Annotated[int, typer.Option(help="Seed of the split, the --seed of `xxact build`.")] = 0,
) -> None:
    """Select the structures with measured cells and training formulas, minerals for instance."""
    from xxact_core.dataset.building.measured_cells import write_measured_structures

    count = write_measured_structures(named_structures(source), table, split_seed=split_seed)
    typer.echo(f"{count} structures with measured cells in {table}")


@app.command()
def label(
    source: Annotated[Path, typer.Argument(help="File or folder of structures, as for `xxact build`.")],
    out: Annotated[Path, typer.Argument(help="Table of energies to write (.parquet), for `xxact build --energies`.")],
    *,
    teacher: Annotated[str, typer.Option(help="Model that computes the energies: chgnet.")] = "chgnet",
    labelled: Annotated[
        Path | None,
        typer.Option(
            help="Structures with formation energies, known by id or public_id, to which the reference energies of the "
            "elements are fitted; by default the source itself and materials_project."
        ),
    ] = None,
    known: Annotated[
        list[Path] | None,
        typer.Option(help="CSV table of energies that need not be computed: id, energy_per_atom [eV]; repeatable."),
    ] = None,
    split_seed: Annotated[int, typer.Option(help="Seed of the split, the --seed of `xxact build`.")] = 0,
    limit: Annotated[int | None, typer.Option(help="Use only the first N structures.", min=1)] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace an existing table.")] = False,
) -> None:
    """Compute the energies of structures by a teacher, and with them formation energies for rows that have none.

    An interrupted run continues where it ended. Beside OUT are written: OUT.journal.csv (the energies as they are
    computed), OUT.errors.csv (failures) and OUT.contradicted.csv (labels that differ by more than 0.5 eV/atom).
    """
    from tqdm import tqdm

    from xxact_core.dataset.building.energy_table import read_total_energies
    from xxact_core.dataset.building.teacher_labels import CONTRADICTED, ERRORS, label_structures
    from xxact_core.structures.sources import count_items
    from xxact_core.teachers import open_teacher

    if out.exists() and not overwrite:
        msg = f"{out} exists already; choose another name, or give --overwrite"
        raise DatasetError(msg, code="E_DATASET")
    found: dict[str, float] = {}
    for path in known or ():
        found |= read_total_energies(path)
    structures = named_structures(source)
    with tqdm(total=limit or count_items(structures), unit="structure") as bar:
        counts = label_structures(
            structures,
            out,
            open_teacher(teacher),
            labelled=named_structures(labelled or Path("materials_project")),
            known=found,
            split_seed=split_seed,
            limit=limit,
            progress=lambda done: bar.update(done - bar.n) and None,
        )
    typer.echo(f"{out}: {counts.energies} energies, {counts.elements} elements with a reference energy")
    typer.echo(f"median difference from training labels: {1000 * counts.error:.0f} meV/atom")
    if counts.failed:
        typer.echo(f"{counts.failed} structures without an energy: {out}{ERRORS}")
    if counts.contradicted:
        typer.echo(f"{counts.contradicted} labels are contradicted: {out}{CONTRADICTED}")


@app.command()
def prototypes(
    out: Annotated[Path, typer.Argument(help="Prototype table to write (.parquet), for `xxact build`.")],
    *,
    structures: Annotated[int, typer.Option(help="Number of candidates; about 80 % become rows.", min=1)] = 150_000,
    teacher: Annotated[str, typer.Option(help="Model that computes the energies: chgnet.")] = "chgnet",
    energies: Annotated[
        Path, typer.Option(help="Table of energies of the same teacher, with the reference energies of the elements.")
    ] = Path("teacher_energies"),
    seed: Annotated[int, typer.Option(help="Seed of the draw.", min=0)] = 0,
    most_atoms: Annotated[int, typer.Option(help="Atoms in the primitive cell of a prototype.", min=1)] = 8,
    overwrite: Annotated[bool, typer.Option(help="Replace an existing table.")] = False,
) -> None:
    """Put other elements into prototypes, several for one formula, at the volume where a teacher's energy is lowest.

    An interrupted run continues where it ended; with more structures it is extended. Beside OUT are written:
    OUT.settings.json, OUT.journal.csv (every candidate) and OUT.errors.csv (those that were left out).
    """
    from tqdm import tqdm

    from xxact_core.dataset.building.energy_table import read_energy_table
    from xxact_core.dataset.building.prototype_structures import ERRORS, build_prototype_table
    from xxact_core.teachers import open_teacher

    if out.exists() and not overwrite:
        msg = f"{out} exists already; choose another name, or give --overwrite"
        raise DatasetError(msg, code="E_DATASET")
    with tqdm(total=structures, unit="structure") as bar:
        counts = build_prototype_table(
            out,
            open_teacher(teacher),
            read_energy_table(named_energies(energies)),
            structures=structures,
            seed=seed,
            most_atoms=most_atoms,
            progress=lambda done: bar.update(done - bar.n) and None,
        )
    typer.echo(f"{out}: {counts['structures']} structures of {counts['formulas']} formulas")
    typer.echo(f"{counts['errors']} candidates were left out: {out}{ERRORS}")


def _to_text(value: Any) -> str:  # noqa: ANN401 - any value of a description
    if isinstance(value, dict):
        return ", ".join(f"{name} {entry}" for name, entry in value.items())
    return f"{value:,.1f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
