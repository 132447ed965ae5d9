"""The command line for data sets: xxact dataset info | verify | merge | split | substitute."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from xxact_core.errors import DatasetError
from xxact_core.shipped import named_structures

app = typer.Typer(
    help="Look into data sets, check them, put them together, take them apart, and make relatives of structures.",
    no_args_is_help=True,
)

Dataset = Annotated[Path, typer.Argument(help="A data set folder made by `xxact build`.")]


@app.command()
def info(dataset: Dataset, *, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Counts, labels, sizes and origin of a data set."""
    from xxact_core.dataset.inspection import describe_dataset

    description = describe_dataset(dataset)
    if as_json:
        typer.echo(json.dumps(description))
        return
    for name, value in description.items():
        typer.echo(f"{name.replace('_', ' '):20s} {_to_text(value)}")


@app.command()
def verify(dataset: Dataset) -> None:
    """Read every shard and compare it with its digest and counts. Exit code 2 where something is wrong."""
    from xxact_core.dataset.inspection import verify_dataset

    problems = verify_dataset(dataset)
    if problems:
        raise DatasetError(f"{dataset} is damaged: " + "; ".join(problems), code="E_DATASET")
    typer.echo(f"{dataset} is whole")


@app.command()
def merge(
    datasets: Annotated[list[Path], typer.Argument(help="Data set folders.")],
    *,
    into: Annotated[Path, typer.Option(help="Folder of the merged data set; must be new.")],
) -> None:
    """Put several data sets together; materials that are alike are named in duplicates.csv."""
    from xxact_core.dataset.building.merge_split import merge_datasets

    counts = merge_datasets(datasets, into)
    typer.echo(f"{counts['materials']} materials in {into}, {counts['duplicates']} of them like another")


@app.command()
def split(
    dataset: Dataset,
    *,
    into: Annotated[Path, typer.Option(help="Folder for the parts, each a data set in a folder of its own.")],
    by: Annotated[str, typer.Option(help="split (train, validation, test) or crystal_system.")] = "split",
) -> None:
    """Take a data set apart."""
    from xxact_core.dataset.building.merge_split import split_dataset

    for name, materials in split_dataset(dataset, into, by=by).items():
        typer.echo(f"{materials:8d} materials in {into / name}")


@app.command()
def substitute(
    source: Annotated[Path, typer.Argument(help="Structures, as `xxact build` takes them.")],
    table: Annotated[Path, typer.Argument(help="The .parquet table to write, for `xxact build`; must be new.")],
    *,
    copies: Annotated[int, typer.Option(help="Relatives of each training structure.", min=1)] = 2,
    seed: Annotated[int, typer.Option(help="Of what is exchanged.", min=0)] = 0,
    split_seed: Annotated[int, typer.Option(help="The --seed of `xxact build`.")] = 0,
) -> None:
    """Make relatives of structures with similar elements in their places, to learn symmetry from more of them."""
    from xxact_core.dataset.building.element_substitution import write_relatives

    count = write_relatives(named_structures(source), table, copies=copies, seed=seed, split_seed=split_seed)
    typer.echo(f"{count} relatives in {table}")


def _to_text(value: Any) -> str:  # noqa: ANN401 - whatever a description holds
    if isinstance(value, dict):
        return ", ".join(f"{name} {entry}" for name, entry in value.items())
    return f"{value:,.1f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
