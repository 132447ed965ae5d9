"""The commands `xxact dataset info | compact | verify | merge | split | substitute`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from xxact_core.commands.options import DatasetArgument, JsonFlag
from xxact_core.errors import DatasetError
from xxact_core.shipped import named_structures

app = typer.Typer(
    help="Inspect, verify, merge and split datasets, compact tables, and generate element-substituted structures.",
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


def _to_text(value: Any) -> str:  # noqa: ANN401 - any value of a description
    if isinstance(value, dict):
        return ", ".join(f"{name} {entry}" for name, entry in value.items())
    return f"{value:,.1f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
