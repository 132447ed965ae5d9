"""The commands that take a finished model: xxact embed | reconstruct | retrieval attach."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from xxact_core.commands.options import DatasetArgument, SplitOption

Model = Annotated[Path, typer.Argument(help="Checkpoint folder, for instance RUN/model.")]
JsonLines = Annotated[bool, typer.Option("--json", help="Print progress and results as lines of JSON.")]


def add_to(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    app.command()(embed)
    app.command()(reconstruct)
    retrieval = typer.Typer(help="k-nearest-neighbour retrieval from the training materials.", no_args_is_help=True)
    retrieval.command()(attach)
    app.add_typer(retrieval, name="retrieval")
    app.command("remember", hidden=True)(attach)  # its name in version 0.1.0


def embed(
    model: Model,
    dataset: DatasetArgument,
    file: Annotated[Path, typer.Argument(help="The .h5 file to write.")],
    *,
    limit: Annotated[int | None, typer.Option(help="Use only the first N materials.", min=1)] = None,
    as_json: JsonLines = False,
) -> None:
    """Write embeddings of a dataset: those of the fusion, the pattern encoder and the composition encoder."""
    from tqdm import tqdm

    from xxact_core.evaluation.embeddings import embed_dataset, write_embeddings

    with tqdm(unit="material", disable=as_json) as bar:

        def show_progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)
            if as_json:
                typer.echo(json.dumps({"done": done, "total": total}))

        embedded = embed_dataset(model, dataset, limit=limit, progress=show_progress)
    write_embeddings(file, embedded)
    result = {"file": str(file), "materials": len(embedded), "parts": list(embedded.parts)}
    typer.echo(json.dumps(result) if as_json else f"{len(embedded)} materials in {file}")


def reconstruct(
    model: Model,
    dataset: DatasetArgument,
    *,
    split: SplitOption = "test",
    ratio: Annotated[float, typer.Option(help="Fraction of windows to mask, 0-1.", min=0, max=1)] = 0.05,
    seed: Annotated[int, typer.Option(help="Seed of the random windows.", min=0)] = 0,
    as_json: JsonLines = False,
) -> None:
    """Measure the error of a model in masked windows of a split, compared with that of an empty pattern.

    Errors are in % of the strongest peak. For models trained with the objective mxm, such as the recipe pretrain-mxm.
    """
    import numpy as np
    import torch

    from xxact_core.checkpoint import load_checkpoint
    from xxact_core.dataset.loading.batches import BatchMaker
    from xxact_core.dataset.table import read_dataset
    from xxact_core.errors import DatasetError
    from xxact_core.evaluation.reconstruction import reconstruct_rows

    checkpoint, table = load_checkpoint(model), read_dataset(dataset)
    rows = table.rows(split)
    if not len(rows):
        msg = f"the dataset {dataset} has no materials in its split {split!r}"
        raise DatasetError(msg, code="E_DATASET")
    maker = BatchMaker(table, device=torch.device("cpu"))
    errors = reconstruct_rows(checkpoint, maker, rows, ratio=ratio, seed=seed)
    error, empty = errors.total
    if as_json:
        columns = {"error": errors.error, "empty": errors.empty}
        plain = {
            name: [None if np.isnan(value) else float(value) for value in values] for name, values in columns.items()
        }
        result = {"materials": len(rows), "patterns": errors.patterns.tolist(), **plain}
        typer.echo(json.dumps({**result, "total_error": error, "total_empty": empty}))
        return
    typer.echo("window  patterns    error    empty pattern")
    for number, (count, of_model, of_nothing) in enumerate(
        zip(errors.patterns, errors.error, errors.empty, strict=True), start=1
    ):
        typer.echo(f"{number:6d}  {count:8d}  {of_model:7.3f}  {of_nothing:7.3f}")
    typer.echo(f"   all  {errors.patterns.sum():8d}  {error:7.3f}  {empty:7.3f}")


def attach(
    model: Model,
    dataset: DatasetArgument,
    output: Annotated[Path, typer.Argument(help="Folder to write the new checkpoint to.")],
    *,
    materials: Annotated[
        int,
        typer.Option(
            help="Number of training materials to retrieve from, the first ones of the dataset; 0 for none.", min=0
        ),
    ] = 85_000,
    mean_with: Annotated[
        list[Path] | None,
        typer.Option(help="A checkpoint that started from the same model; the mean of the weights is used."),
    ] = None,
) -> None:
    """Attach k-nearest-neighbour retrieval from training materials to a trained model, and calibrate it again."""
    from dataclasses import replace

    import torch

    from xxact_core.checkpoint import describe_checkpoint, load_checkpoint, save_checkpoint
    from xxact_core.errors import CheckpointError
    from xxact_core.training.config import Recipe
    from xxact_core.training.finish import finished_checkpoint, mean_checkpoint
    from xxact_core.training.start import open_table

    folders = [model, *(mean_with or ())]
    checkpoint = mean_checkpoint([load_checkpoint(folder) for folder in folders])
    if output.exists():
        msg = f"{output} exists already; choose another folder"
        raise CheckpointError(msg, code="E_CHECKPOINT")
    about = {**checkpoint.about, "recipe": {**checkpoint.about["recipe"], "retrieval_rows": materials}}
    if mean_with:
        about["mean_of"] = [describe_checkpoint(folder)["weights_sha256"] for folder in folders]
    # Only materials of the dataset itself are retrieved.
    recipe = replace(Recipe.from_dict(about["recipe"]), extra_datasets=())
    finished = finished_checkpoint(
        checkpoint.model, open_table(recipe, dataset), recipe, checkpoint.statistics, device=torch.device("cpu")
    )
    output.mkdir(parents=True)
    save_checkpoint(output, replace(finished, about=about))
    typer.echo(f"model with retrieval from {materials} materials in {output}")
