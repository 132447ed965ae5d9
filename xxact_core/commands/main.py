"""The command line: xxact predict, identify, build, dataset, train, evaluate, paper ..."""

from __future__ import annotations

import atexit
import gc
import json
import os
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from xxact_core.commands import dataset as dataset_commands
from xxact_core.commands import examples as examples_command
from xxact_core.commands import identify as identify_command
from xxact_core.commands import instrument as instrument_command
from xxact_core.commands import model as model_commands
from xxact_core.commands import paper as paper_commands
from xxact_core.commands import patterns as pattern_commands
from xxact_core.commands import recipes as recipes_command
from xxact_core.commands import reference as reference_commands
from xxact_core.commands import refine as refine_command
from xxact_core.commands import series as series_command
from xxact_core.commands import watch as watch_command
from xxact_core.commands.extras import missing_extra
from xxact_core.commands.former_names import PredictOptions
from xxact_core.commands.options import (
    DatasetArgument,
    JsonFlag,
    ModelOption,
    ReferenceOption,
    ScanOption,
    SplitOption,
    WavelengthOption,
)
from xxact_core.errors import InputError, RecipeError, WavelengthError, is_disk_error, os_error_to_text, shorten
from xxact_core.shipped import named_energies, named_structures

if TYPE_CHECKING:
    from typer._click.core import Context

ORDER = (
    *("predict", "identify", "series", "watch", "refine", "index", "read", "simulate", "instrument", "reference"),
    *("examples", "info", "app", "serve", "mcp"),
    *("build", "dataset", "recipes", "train", "progress", "finish", "export", "evaluate", "system-table", "embed"),
    *("reconstruct", "retrieval", "paper"),
)
"""Commands in the order of the help; those of other packages come last."""


class OrderedCommands(TyperGroup):
    """The commands in the order of `ORDER`, by how soon one needs them."""

    def list_commands(self, ctx: Context) -> list[str]:
        """Names of the commands in the order of the help."""
        names = super().list_commands(ctx)
        return sorted(names, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))


app = typer.Typer(
    rich_markup_mode="markdown",  # the default takes units in brackets for markup
    cls=OrderedCommands,
    help="Predict and identify materials from powder X-ray diffraction and composition.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(dataset_commands.app, name="dataset")
app.add_typer(paper_commands.app, name="paper")
app.add_typer(reference_commands.app, name="reference")
app.add_typer(identify_command.app)
app.add_typer(pattern_commands.app)
app.add_typer(refine_command.app)
app.add_typer(instrument_command.app)
app.add_typer(series_command.app)
app.add_typer(watch_command.app)
app.add_typer(recipes_command.app)
app.add_typer(examples_command.app)
model_commands.add_to(app)


COMMANDS = "xxact.commands"
"""Entry-point group of the commands of other packages."""

ANSWERING = frozenset({"identify", "info", "predict", "read", "simulate"})
"""Commands that print a result and write no file."""

_OBJECTS_BETWEEN_COLLECTIONS = 100_000


def add_installed_commands(commands: typer.Typer) -> None:
    """Add the commands that other packages offer under the entry-point group `xxact.commands`, such as `xxact app`."""
    for entry in sorted(entry_points(group=COMMANDS), key=lambda entry: entry.name):
        commands.add_typer(entry.load())


def main() -> None:
    """Run the command line; invalid input prints one line on standard error and exits with code 2."""
    add_installed_commands(app)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads are slow beside another busy process
    try:
        app()
    except (InputError, FloatingPointError) as error:
        sys.stderr.write(f"xxact: {error}\n")
        sys.exit(2)
    except OSError as error:
        if error.filename is None and not is_disk_error(error):
            raise
        sys.stderr.write(f"xxact: {os_error_to_text(error)}\n")
        sys.exit(2)
    except ModuleNotFoundError as error:
        if (advice := missing_extra(error)) is None:
            raise
        sys.stderr.write(f"xxact: {advice}\n")
        sys.exit(2)


def run() -> None:
    """Run the command line as the main program.

    For the commands in `ANSWERING`, the garbage collector runs rarely, because the objects created by imports live to
    the end (saves a tenth of the time), and the process exits without finalising the interpreter, whose memory the
    operating system frees anyway (for torch alone, finalising takes a third of the time of its import).
    """
    answering = sys.argv[1:2] and sys.argv[1] in ANSWERING
    if answering:
        gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
        os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # the default one zeroes huge pages first, slowly
    try:
        main()
    except SystemExit as end:
        if answering and isinstance(end.code, int | None):
            atexit._run_exitfuncs()  # noqa: SLF001 - ends the processes that read files; `os._exit` skips it
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(end.code or 0)
        raise


@app.command()
def build(  # noqa: PLR0913 - an argument for each option
    source: Annotated[
        Path,
        typer.Argument(
            help="File or folder of structures: CIF files or archives of them, a Parquet table, extended XYZ, or JSON "
            "of pymatgen, Alexandria, Matbench, JARVIS, ASE or OPTIMADE; or a shipped table: "
            "materials_project, reference_materials or prototype_structures."
        ),
    ],
    dataset: Annotated[Path, typer.Argument(help="Folder to write the dataset to; an interrupted build is resumed.")],
    *,
    label: Annotated[
        list[str] | None, typer.Option(help="Field and unit of a target, for instance 'band_gap=gap pbe:eV'.")
    ] = None,
    wavelength: Annotated[str, typer.Option(help="Wavelength in Å, or a name such as CuKa, CoKa, MoKa.")] = "CuKa",
    workers: Annotated[int | None, typer.Option(help="Number of processes; by default one per core.", min=1)] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="Address of a Dask scheduler to use: tls://HOST:PORT or tcp://127.0.0.1:PORT.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the split by reduced formula.")] = 0,
    energies: Annotated[
        Path | None,
        typer.Option(
            help="Energies of a teacher for structures without a formation energy, from `xxact dataset label`, or "
            "teacher_energies, the shipped ones; labels that they contradict are replaced and listed in notes.csv."
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Use only the first N structures.", min=1)] = None,
    shard_rows: Annotated[int, typer.Option(help="Structures per shard.", min=1)] = 4096,
    symmetry: Annotated[bool, typer.Option(help="Determine crystal system and space group with spglib.")] = True,
    symprec: Annotated[float, typer.Option(help="Symmetry tolerance of spglib [Å].", min=1e-6)] = 0.1,
    measured_cells: Annotated[
        bool, typer.Option("--measured-cells", help="The cells were measured; augmentation shrinks calculated ones.")
    ] = False,
    timeout: Annotated[float, typer.Option(help="Time limit per structure [s].", min=0.1)] = 60,
) -> None:
    """Build a dataset from structures: calculated reflections, compositions, labels and a split."""
    from xxact_core.dataset.building.build import ERRORS, NOTES, build_dataset
    from xxact_core.dataset.building.duplicates import DUPLICATES
    from xxact_core.dataset.building.plan import BuildPlan
    from xxact_core.patterns.conversions import parse_wavelength

    plan = BuildPlan(
        source=str(named_structures(source)),
        shard_rows=shard_rows,
        seed=seed,
        wavelength=parse_wavelength(wavelength),
        symprec=symprec,
        symmetry=symmetry,
        labels=tuple(label or ()),
        energies=None if energies is None else str(named_energies(energies).resolve()),
        limit=limit,
        measured_cells=measured_cells,
    )
    counts = build_dataset(plan, dataset, workers=workers, scheduler=scheduler, timeout=timeout)
    typer.echo(f"{counts['materials']} materials in {dataset}, {counts['errors']} errors in {dataset / ERRORS}")
    if counts["duplicates"]:
        typer.echo(f"{counts['duplicates']} materials are duplicates of another: {dataset / DUPLICATES}")
    notes = sum(1 for _ in (dataset / NOTES).open(encoding="utf-8")) - 1 if (dataset / NOTES).is_file() else 0
    if notes:
        typer.echo(f"{notes} notes on how structures were read: {dataset / NOTES}")


@app.command()
def train(
    dataset: DatasetArgument,
    run: Annotated[
        Path, typer.Argument(help="Run folder; an interrupted training is resumed from its latest snapshot.")
    ],
    *,
    recipe: Annotated[
        str, typer.Option(help="Name of a recipe, or a .toml file that names one and changes settings.")
    ] = "compact",
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Change a setting, for instance --set epochs=2.")
    ] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Start again at step 0; the files of the run folder are renamed and kept.")
    ] = False,
) -> None:
    """Train a model with a recipe."""
    from xxact_core.setting_types import check_names, field_names
    from xxact_core.stored_names import rename_recipe
    from xxact_core.training.config import Recipe, override, parse_settings
    from xxact_core.training.recipes import recipe_by_name
    from xxact_core.training.run import train as train_run

    def notice(former: str, present: str) -> None:
        typer.echo(f"xxact: the setting {former} is now called {present}", err=True)

    values: dict[str, Any] = {}
    if recipe.endswith(".toml"):
        try:
            values = tomllib.loads(Path(recipe).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            msg = f"the recipe file {recipe} cannot be read: {shorten(error)}"
            raise RecipeError(msg, code="E_RECIPE") from error
        owner, recipe = recipe, str(values.pop("recipe", "compact"))
        values = rename_recipe(values, owner=owner, notice=notice)
        check_names(f"{owner}: a recipe", values, known=field_names(Recipe))
    changes = parse_settings(settings or [], notice=notice)
    check_names("--set: a recipe", changes, known=field_names(Recipe))
    chosen = override(recipe_by_name(recipe), values | changes, notice=notice)
    folder = train_run(
        chosen, dataset, run, progress=True, restart=restart, notice=lambda text: typer.echo(f"xxact: {text}", err=True)
    )
    finished = folder.name == "model"
    typer.echo(f"model written to {folder}" if finished else f"stopped; the same command resumes from {folder}")


@app.command()
def progress(
    run: Annotated[Path, typer.Argument(help="Run folder of `xxact train`.")],
    *,
    tensorboard: Annotated[
        Path | None, typer.Option(help="Also write the curves to this folder, for TensorBoard.")
    ] = None,
) -> None:
    """Show the progress of a training run: step, speed, time left, loss and validation metrics."""
    from xxact_core.training.curves import describe_progress, journal_to_curves

    typer.echo(describe_progress(run))
    if tensorboard is not None:
        typer.echo(f"{journal_to_curves(run, tensorboard)} points written to {tensorboard}")


app.command(name="journal", hidden=True)(progress)  # its name in version 0.1.0


@app.command()
def evaluate(
    model: Annotated[Path, typer.Argument(help="Checkpoint folder, for instance RUN/model.")],
    dataset: DatasetArgument,
    *,
    split: SplitOption = "test",
    split_by: Annotated[
        str | None, typer.Option(help="Grouping of the split: formula or prototype; by default that of the training.")
    ] = None,
    predictions: Annotated[Path | None, typer.Option(help="Also write all predictions to this .h5 file.")] = None,
    augmented: Annotated[
        bool, typer.Option("--augmented", help="Add instrument and sample effects to all patterns.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Evaluate a model on a split, with 95 % intervals in parentheses.

    Errors and accuracies, also without the pattern, by the kind of the energy label, the number of polymorphs and
    whether the prototype was seen; order and differences of polymorphs; silhouettes; masked windows where the model was
    trained to reconstruct them. For a model that was only pretrained, silhouettes and masked windows alone.
    """
    from xxact_core.evaluation.report import evaluate_checkpoint

    report = evaluate_checkpoint(
        model, dataset, split=split, split_by=split_by, predictions_file=predictions, augmented=augmented
    )
    if as_json:
        typer.echo(json.dumps(report.to_dict()))
        return
    for name, value in report.metrics.items():
        low, high = report.intervals.get(name, (None, None))
        typer.echo(f"{name:50s} {value:10.4f}" + ("" if low is None else f"  ({low:.4f} to {high:.4f})"))


@app.command()
def system_table(
    files: Annotated[
        list[Path], typer.Argument(help="Files of `xxact evaluate --predictions`; several are runs with other seeds.")
    ],
    *,
    as_json: JsonFlag = False,
) -> None:
    """Tabulate accuracy and silhouette by crystal system, as CSV; means and standard errors for several files."""
    from xxact_core.evaluation.tables import read_system_predictions, rows_to_csv, runs_to_rows, systems_to_rows

    runs = [systems_to_rows(read_system_predictions(file)) for file in files]
    rows = runs[0] if len(runs) == 1 else runs_to_rows(runs)
    typer.echo(json.dumps(rows) if as_json else rows_to_csv(rows), nl=as_json)


app.command(name="tables", hidden=True)(system_table)  # its name in version 0.1.0


@app.command(cls=PredictOptions)
def predict(
    files: Annotated[list[Path], typer.Argument(help="Measured pattern files.")],
    *,
    formula: Annotated[
        str,
        typer.Option(
            help="Composition: LaB6, or what is known of it: 'Fe 40±2 O 60±3', 'Fe 72 wt% ?O', 'Fe,O', '?' for nothing."
        ),
    ],
    wavelength: WavelengthOption = None,
    scan: ScanOption = "0",
    model: ModelOption = None,
    processing: Annotated[
        Path | None, typer.Option(help="JSON file with the processing steps; by default the standard steps.")
    ] = None,
    override_coverage: Annotated[
        bool, typer.Option(help="Predict even if less than 30 % of the 2θ range was measured.")
    ] = False,
    search_match: Annotated[
        bool, typer.Option("--search-match", help="Combine the prediction with matching reference phases.")
    ] = False,
    reference: ReferenceOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Predict formation energy, band gap, crystal system and space group from patterns and a composition.

    Exits with code 2 if there is no prediction for one of the files.
    """
    from xxact_core.prediction.prediction import answer_to_text
    from xxact_core.prediction.predictor import Predictor
    from xxact_core.processing.pipeline import read_pipeline
    from xxact_core.readers.read_untrusted import prepare_reading
    from xxact_core.requests.predicting import PredictRequest, predict_pattern

    request = PredictRequest(  # checked here, so that a mistake is reported once, not for every file
        formula=formula,
        wavelength=wavelength,
        scan=scan,
        processing=None if processing is None else read_pipeline(processing).to_dict(),
        override_coverage=override_coverage,
    )
    prepare_reading()
    predictor, identifier = Predictor.load(model), None
    if search_match or reference:
        from xxact_core.search_match.identify import Identifier

        identifier = Identifier.load(reference)
    answers: list[dict[str, Any]] = []
    for file in files:
        try:
            prediction = predict_pattern(request.read(file), request, predictor, identifier=identifier)
            answers.append({"file": str(file), **prediction})
        except WavelengthError as error:
            text = f"{error} (--wavelength)"
            answers.append({"file": str(file), "formula": formula, "error": text})
        except InputError as error:
            answers.append({"file": str(file), "formula": formula, "error": str(error)})
        except OSError as error:
            answers.append({"file": str(file), "formula": formula, "error": os_error_to_text(error)})
    if as_json:
        typer.echo(json.dumps(answers, ensure_ascii=False))
    else:
        for answer in answers:
            typer.echo(answer_to_text(answer), err="error" in answer)
    if any("error" in answer for answer in answers):
        raise typer.Exit(2)


@app.command()
def info(
    *,
    model: ModelOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Describe a checkpoint: recipe, number of parameters, digest of the dataset, test metrics and baselines."""
    from xxact_core.checkpoint import describe_checkpoint
    from xxact_core.evaluation.summary import BASELINES, rows_to_text, summarise
    from xxact_core.shipped import CHECKPOINT, shipped_path
    from xxact_core.stored_names import CHECKPOINT_FACTS

    description = describe_checkpoint(shipped_path(CHECKPOINT) if model is None else model)
    about = description["about"]
    baselines = {name: summarise(metrics) for name, metrics in about.get("baselines", {}).items()}
    measured = summarise(about.get("test_metrics", {}), about.get("test_metrics_distorted"))
    if as_json:
        calibration = {name: fit for name, fit in description["calibration"].items() if name != "domain"}  # long
        facts = {**about, **measured, "baselines": baselines, "model": description["model"], "calibration": calibration}
        facts |= {former: about[present] for former, present in CHECKPOINT_FACTS.items() if present in about}
        typer.echo(json.dumps(facts))
        return
    typer.echo(f"recipe {about['recipe']['name']}, {about['parameters']:,} parameters, seed {about['seed']}")
    typer.echo(f"data digest {about['data_digest']}")
    if "test_metrics" in about:
        typer.echo(
            rows_to_text({"this model": measured} | {BASELINES.get(name, name): row for name, row in baselines.items()})
        )
    else:
        typer.echo("no test metrics; `xxact evaluate` measures them")


if __name__ == "__main__":
    run()
