"""The commands `xxact paper data | all | run | table | figure | claims | pages`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xxact_core.commands.options import DatasetArgument
from xxact_core.errors import InputError

if TYPE_CHECKING:
    from xxact_core.paper.driver import PlannedRun

app = typer.Typer(help="Reproduce the tables and figures of the XxaCT-NN paper.", no_args_is_help=True)

Folder = Annotated[Path, typer.Argument(help="Folder of runs, made by `xxact paper run`.")]


SizeOption = Annotated[str, typer.Option(help="Size of the models: paper, small, narrow or tiny.")]
SettingsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", help="Change a setting of all runs, --set epochs=5, or of some, --set 'pretrain-*:epochs=10'."
    ),
]
DftOption = Annotated[
    Path | None,
    typer.Option(help="Dataset with DFT labels and band gaps of the same materials, from `xxact paper data`."),
]
OnlyOption = Annotated[
    str | None, typer.Option(help="Only experiments whose name matches this pattern, for instance 'fcn-*'.")
]


@app.command()
def data(
    datasets: Annotated[
        list[Path], typer.Argument(help="Dataset folders, of materials_project and prototype_structures for instance.")
    ],
    *,
    into: Annotated[Path, typer.Option(help="Folder of the two datasets: teacher and dft.")],
    materials: Annotated[
        int | None, typer.Option(help="Number of materials that is not exceeded; all by default.", min=2)
    ] = None,
    energies: Annotated[
        Path,
        typer.Option(help="Table of energies of a teacher, from `xxact dataset label`; by default the shipped one."),
    ] = Path("teacher_energies"),
    seed: Annotated[int, typer.Option(help="Seed of the split by formula and of the choice of formulas.", min=0)] = 1,
) -> None:
    """Make a dataset with several polymorphs of each formula, labelled by a teacher, and one with their DFT labels."""
    from xxact_core.dataset.building.energy_table import read_energy_table
    from xxact_core.paper.data import write_paper_data
    from xxact_core.shipped import named_energies

    table = read_energy_table(named_energies(energies))
    counts = write_paper_data(datasets, into, table, materials=materials, seed=seed)
    typer.echo(f"{counts['teacher']} materials of {counts['formulas']} formulas in {into / 'teacher'}")
    typer.echo(f"{counts['dft']} of them with DFT labels in {into / 'dft'}")


@app.command("all")
def run_all(  # noqa: PLR0913 - an argument for each option
    dataset: DatasetArgument,
    folder: Annotated[Path, typer.Argument(help="Folder of runs; interrupted runs are resumed.")],
    *,
    hours: Annotated[
        float | None, typer.Option(help="Stop after this time; the same command continues. No limit by default.", min=0)
    ] = None,
    processes: Annotated[int, typer.Option(help="Number of runs at a time, each on one CPU core.", min=1)] = 1,
    together: Annotated[
        int | None,
        typer.Option(help="Number of processes or GPUs that train one run; by default those of torchrun, or 1.", min=1),
    ] = None,
    dft: DftOption = None,
    size: SizeOption = "narrow",
    only: OnlyOption = None,
    settings: SettingsOption = None,
    low_priority: Annotated[
        bool, typer.Option("--low-priority/--normal-priority", help="Whether the runs give way to other programs.")
    ] = True,
    show_plan: Annotated[bool, typer.Option("--plan", help="Print the runs and their estimated hours only.")] = False,
) -> None:
    """Train all models of the paper in the order in which they decide its claims, and write what is finished.

    Every run is a process. Batch size and learning rate of each kind of model are chosen by trials,
    unless both are set. Pages are written to RUNS/pages, output of the runs to RUNS/logs.
    """
    from datetime import datetime

    from xxact_core.paper.cost import Costs
    from xxact_core.paper.driver import Driver, plan, torchrun_processes
    from xxact_core.paper.runs import SIZES, check_settings, current_settings
    from xxact_core.paper.trials import read_choices
    from xxact_core.training.config import parse_settings

    if size not in SIZES:
        msg = f"there is no size {size!r}; choose from {', '.join(SIZES)}"
        raise InputError(msg, code="E_PAPER")
    rank, started = torchrun_processes()
    if rank:  # the first process on this machine starts those that train
        return
    if show_plan:
        chosen = current_settings(parse_settings(settings or []))
        check_settings(chosen)
        folder.mkdir(parents=True, exist_ok=True)
        costs = Costs(dataset, folder, size=size, settings=chosen, dft=dft, choices=read_choices(folder))
        typer.echo(_plan_to_text(plan(folder, costs, processes=processes, only=only), hours))
        return

    def notice(text: str) -> None:
        typer.echo(f"{datetime.now().astimezone():%Y-%m-%d %H:%M} {text}")

    driver = Driver(
        dataset, folder, size=size, processes=processes, together=together or started, hours=hours,
        settings=settings or (), dft=dft, only=only, low_priority=low_priority, notice=notice,
    )  # fmt: skip
    summary = driver.run()
    typer.echo(f"{len(summary.finished)} runs finished, {len(summary.failed)} failed, {len(summary.left)} left")
    for name, reason in summary.failed.items():
        typer.echo(f"{name}: {reason}")
    if summary.failed:
        raise typer.Exit(1)


def _plan_to_text(lines: Sequence[PlannedRun], hours: float | None) -> str:
    """The plan as a table, and the time that it takes."""
    rows = [f"{'run':52s} {'state':9s} {'epochs':>7s} {'materials':>9s} {'hours':>6s} {'ends in':>8s}"]
    for line in lines:
        name = f"{line.name}, seed {line.seed}"
        late = " later" if hours is not None and line.ends > hours and line.state != "finished" else ""
        ends = "" if line.state == "finished" else f"{line.ends:7.2f}h"
        rows.append(
            f"{name:52s} {line.state:9s} {line.epochs:7.3g} {line.materials:9d} {line.hours:6.2f} {ends:>8s}{late}"
        )
    left = max((line.ends for line in lines if line.state != "finished"), default=0.0)
    return "\n".join([*rows, f"{left:.1f} hours to the end of all runs"])


@app.command()
def run(  # noqa: PLR0913 - an argument for each option
    dataset: DatasetArgument,
    folder: Annotated[Path, typer.Argument(help="Folder of runs; interrupted runs are resumed.")],
    *,
    table: Annotated[int | None, typer.Option(help="Number of the table whose models to train, 1 to 5.")] = None,
    figure: Annotated[int | None, typer.Option(help="Number of the figure whose models to train: 2, 3 or 6.")] = None,
    experiment: Annotated[str | None, typer.Option(help="Name of a single experiment to train.")] = None,
    only: OnlyOption = None,
    size: SizeOption = "paper",
    seeds: Annotated[int, typer.Option(help="Number of runs per experiment.", min=1)] = 1,
    seed: Annotated[int | None, typer.Option(help="Train with this seed alone.", min=0)] = None,
    dft: DftOption = None,
    settings: SettingsOption = None,
) -> None:
    """Train and evaluate the models of a table or a figure, or one experiment; finished runs are kept."""
    from fnmatch import fnmatchcase

    from xxact_core.paper.layouts import figure_runs, layout
    from xxact_core.paper.runs import run_experiments
    from xxact_core.training.config import parse_settings

    if sum(choice is not None for choice in (table, figure, experiment)) != 1:
        msg = "give one of --table N, --figure N and --experiment NAME"
        raise InputError(msg, code="E_PAPER")
    names = [experiment] if experiment else layout(table).runs if table is not None else figure_runs(figure or 0)
    selected = [name for name in names if only is None or fnmatchcase(name, only)]
    if not selected:
        msg = f"no experiment matches {only!r}; choose from {', '.join(names)}"
        raise InputError(msg, code="E_PAPER")
    for outcome in run_experiments(
        selected, dataset, folder, size=size, seeds=seeds if seed is None else [seed],
        settings=parse_settings(settings or []), dft=dft, progress=experiment is None,
    ):  # fmt: skip
        typer.echo(f"{outcome.name}, seed {outcome.seed}: {outcome.state}")


@app.command()
def pages(
    folder: Folder,
    *,
    dataset: Annotated[Path | None, typer.Option(help="Dataset of the runs, for figures 4 and 5.")] = None,
    split_by: Annotated[str, typer.Option(help="Grouping of the split: formula or prototype.")] = "formula",
) -> None:
    """Write the claims, tables and figures of all finished runs to RUNS/pages."""
    from xxact_core.paper.pages import PAGES, write_pages

    written = write_pages(folder, dataset=dataset, split=split_by)
    typer.echo(f"{', '.join(written)} written to {folder / PAGES}")


@app.command()
def claims(
    folder: Folder,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of Markdown.")] = False,
    output: Annotated[Path | None, typer.Option(help="Write to this .md or .json file instead.")] = None,
) -> None:
    """Judge the claims of the paper by the finished runs: holds, does not hold at this size, or cannot be decided."""
    from xxact_core.paper.claims import folder_to_claims
    from xxact_core.paper.claims_text import claims_to_dict, claims_to_markdown
    from xxact_core.paper.texts import write_text

    found = folder_to_claims(folder)
    if as_json or (output is not None and output.suffix == ".json"):
        text = json.dumps(claims_to_dict(found), ensure_ascii=False) + "\n"
    else:
        text = claims_to_markdown(found, folder)
    if output is None:
        typer.echo(text, nl=False)
        return
    write_text(output, text)
    typer.echo(f"{len(found)} claims written to {output}")


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
        Path, typer.Option(help="The .html, .pdf, .svg or .png file to write; its data are written beside it.")
    ],
    split_by: Annotated[
        str, typer.Option(help="Grouping of the split for figures 4 and 5: formula or prototype.")
    ] = "formula",
) -> None:
    """Write a figure of the paper as a self-contained page or for print, and its data."""
    from xxact_core.paper.figures import figure_data
    from xxact_core.paper.pages import write_figure

    write_figure(figure_data(number, source, split=split_by), output)
    typer.echo(f"figure {number} written to {output}")
