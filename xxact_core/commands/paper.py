"""The commands `xxact paper run | table | figure`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xxact_core.commands.options import DatasetArgument
from xxact_core.errors import InputError

app = typer.Typer(help="Reproduce the tables and figures of the XxaCT-NN paper.", no_args_is_help=True)

Folder = Annotated[Path, typer.Argument(help="Folder of runs, made by `xxact paper run`.")]


@app.command()
def run(
    dataset: DatasetArgument,
    folder: Annotated[Path, typer.Argument(help="Folder of runs; interrupted runs are resumed.")],
    *,
    table: Annotated[int | None, typer.Option(help="Number of the table whose models to train, 1 to 5.")] = None,
    figure: Annotated[int | None, typer.Option(help="Number of the figure whose models to train: 2, 3 or 6.")] = None,
    only: Annotated[
        str | None, typer.Option(help="Train only experiments whose name matches this pattern, for instance 'fcn-*'.")
    ] = None,
    size: Annotated[str, typer.Option(help="Size of the models: paper, small or tiny.")] = "paper",
    seeds: Annotated[int, typer.Option(help="Number of runs per experiment.", min=1)] = 1,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Change a setting of all runs, --set epochs=5, or of some, --set 'pretrain-*:epochs=10'."
        ),
    ] = None,
) -> None:
    """Train and evaluate the models of a table or a figure; finished runs are kept."""
    from fnmatch import fnmatchcase

    from xxact_core.paper.layouts import figure_runs, layout
    from xxact_core.paper.runs import run_experiments
    from xxact_core.training.config import parse_settings

    if (table is None) == (figure is None):
        msg = "give either --table N or --figure N"
        raise InputError(msg, code="E_PAPER")
    names = layout(table).runs if table is not None else figure_runs(figure or 0)
    selected = [name for name in names if only is None or fnmatchcase(name, only)]
    if not selected:
        msg = f"no experiment matches {only!r}; choose from {', '.join(names)}"
        raise InputError(msg, code="E_PAPER")
    for outcome in run_experiments(
        selected, dataset, folder, size=size, seeds=seeds, settings=parse_settings(settings or []), progress=True
    ):
        typer.echo(f"{outcome.name}, seed {outcome.seed}: {outcome.state}")


@app.command()
def table(
    number: Annotated[int, typer.Argument(help="Number of the table, 1 to 5.")],
    folder: Folder,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of Markdown.")] = False,
    output: Annotated[
        Path | None, typer.Option(help="Write the table to this .md, .csv or .json file instead.")
    ] = None,
) -> None:
    """Print a table of the paper with our numbers beside the published ones; missing runs are left out."""
    from xxact_core.paper.tables import folder_to_table
    from xxact_core.paper.texts import table_to_text, write_text

    content = folder_to_table(number, folder)
    if output is None:
        typer.echo(table_to_text(content, suffix=".json" if as_json else ".md"), nl=False)
        return
    write_text(output, table_to_text(content, suffix=output.suffix))
    typer.echo(f"table {number} written to {output}")


@app.command()
def figure(
    number: Annotated[int, typer.Argument(help="Number of the figure, 2 to 6.")],
    source: Annotated[Path, typer.Argument(help="Folder of runs; for figures 4 and 5 a dataset.")],
    *,
    output: Annotated[
        Path, typer.Option(help="The .html file to write; its data are written beside it as .csv and .json.")
    ],
    split_by: Annotated[
        str, typer.Option(help="Grouping of the split for figures 4 and 5: formula or prototype.")
    ] = "formula",
) -> None:
    """Write a figure of the paper as a self-contained page, and its data."""
    from xxact_core.paper.drawings import write_page
    from xxact_core.paper.figures import figure_data
    from xxact_core.paper.texts import rows_to_text, write_text

    if output.suffix != ".html":
        msg = f"{output} does not end in .html"
        raise InputError(msg, code="E_PAPER")
    data = figure_data(number, source, split=split_by)
    write_page(data, output)
    for suffix in (".csv", ".json"):
        about = {"figure": data.number, "title": data.title, **data.about}
        write_text(output.with_suffix(suffix), rows_to_text(data.rows, about, suffix=suffix))
    typer.echo(f"figure {number} written to {output}")
