"""The command line for the tables and figures of XxaCT-NN: xxact paper run | table | figure."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xxact_core.errors import InputError

app = typer.Typer(help="The paper's tables and figures, from a data set to the page.", no_args_is_help=True)

Folder = Annotated[Path, typer.Argument(help="Folder of runs, made by `xxact paper run`.")]


@app.command()
def run(
    dataset: Annotated[Path, typer.Argument(help="A data set folder made by `xxact build`.")],
    folder: Annotated[Path, typer.Argument(help="Folder of runs; a rerun goes on where it ended.")],
    *,
    table: Annotated[int | None, typer.Option(help="Train what this table needs: 1 to 5.")] = None,
    figure: Annotated[int | None, typer.Option(help="Train what this figure needs: 2, 3 or 6.")] = None,
    only: Annotated[str | None, typer.Option(help="Of these only the experiments of this pattern: 'fcn-*'.")] = None,
    size: Annotated[str, typer.Option(help="Of the models: paper, small or tiny.")] = "paper",
    seeds: Annotated[int, typer.Option(help="Runs of each experiment.", min=1)] = 1,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="For all runs: --set epochs=5; for some: --set 'pretrain-*:epochs=10'."),
    ] = None,
) -> None:
    """Train and evaluate the models behind a table or a figure; what is finished is kept."""
    from fnmatch import fnmatchcase

    from xxact_core.paper.layouts import figure_runs, layout
    from xxact_core.paper.runs import run_experiments
    from xxact_core.training.config import parse_settings

    if (table is None) == (figure is None):
        msg = "give either --table N or --figure N"
        raise InputError(msg, code="E_PAPER")
    names = layout(table).runs if table is not None else figure_runs(figure or 0)
    chosen = [name for name in names if only is None or fnmatchcase(name, only)]
    if not chosen:
        msg = f"nothing is to be trained; the experiments are {tuple(names)}"
        raise InputError(msg, code="E_PAPER")
    for outcome in run_experiments(
        chosen, dataset, folder, size=size, seeds=seeds, settings=parse_settings(settings or []), progress=True
    ):
        typer.echo(f"{outcome.name}, seed {outcome.seed}: {outcome.state}")


@app.command()
def table(
    number: Annotated[int, typer.Argument(help="1 to 5.")],
    folder: Folder,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of Markdown.")] = False,
    output: Annotated[Path | None, typer.Option(help="Write it to this .md, .csv or .json file instead.")] = None,
) -> None:
    """A table of the paper with our numbers beside its own; runs that are not there are missing in it."""
    from xxact_core.paper.tables import folder_to_table
    from xxact_core.paper.texts import table_to_text, write_text

    made = folder_to_table(number, folder)
    if output is None:
        typer.echo(table_to_text(made, suffix=".json" if as_json else ".md"), nl=False)
        return
    write_text(output, table_to_text(made, suffix=output.suffix))
    typer.echo(f"table {number} in {output}")


@app.command()
def figure(
    number: Annotated[int, typer.Argument(help="2 to 6.")],
    source: Annotated[Path, typer.Argument(help="Folder of runs; of figures 4 and 5 a data set.")],
    *,
    output: Annotated[Path, typer.Option(help="The .html file; its data as .csv and .json stand beside it.")],
    split_by: Annotated[str, typer.Option(help="Of figures 4 and 5: formula or prototype.")] = "formula",
) -> None:
    """A figure of the paper as a page that needs no network, and its data."""
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
    typer.echo(f"figure {number} in {output}")
