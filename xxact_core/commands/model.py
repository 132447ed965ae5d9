"""The commands that take a trained model: xxact finish | embed | reconstruct | export | retrieval attach."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from xxact_core.commands.options import DatasetArgument, SplitOption

Model = Annotated[Path, typer.Argument(help="Checkpoint folder, for instance RUN/model.")]
JsonLines = Annotated[bool, typer.Option("--json", help="Print progress and results as lines of JSON.")]


def add_to(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    app.command()(finish)
    app.command()(embed)
    app.command()(reconstruct)
    app.command()(export)
    retrieval = typer.Typer(help="k-nearest-neighbour retrieval from the training materials.", no_args_is_help=True)
    retrieval.command("attach")(finish)
    app.add_typer(retrieval, name="retrieval", hidden=True)  # its former name
    app.command("remember", hidden=True)(finish)  # its name in version 0.1.0


def embed(
    model: Model,
    dataset: DatasetArgument,
    file: Annotated[Path, typer.Argument(help="The .h5 file to write.")],
    *,
    limit: Annotated[int | None, typer.Option(help="Use only the first N materials.", min=1)] = None,
    with_t_sne: Annotated[
        bool, typer.Option("--t-sne", help="Also compute coordinates of a t-SNE; two minutes for 20,000 materials.")
    ] = False,
    compact: Annotated[bool, typer.Option("--compact", help="Half precision and compressed.")] = False,
    as_json: JsonLines = False,
) -> None:
    """Write embeddings of a dataset: those of the fusion, the pattern encoder and the composition encoder."""
    from tqdm import tqdm

    from xxact_core.evaluation.embeddings import embed_dataset, write_embeddings
    from xxact_core.evaluation.projection import t_sne

    with tqdm(unit="material", disable=as_json) as bar:

        def show_progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)
            if as_json:
                typer.echo(json.dumps({"done": done, "total": total}))

        embedded = embed_dataset(model, dataset, limit=limit, progress=show_progress)
    if with_t_sne:
        embedded = replace(embedded, t_sne={name: t_sne(values) for name, values in embedded.parts.items()})
    write_embeddings(file, embedded, compact=compact)
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
    errors = reconstruct_rows(checkpoint, maker, rows, ratio=ratio, seed=seed).over_windows()
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


def export(
    model: Model,
    folder: Annotated[Path, typer.Argument(help="Folder to write; must not exist.")],
    *,
    name: Annotated[str | None, typer.Option(help="Name of the model; by default that of the folder.")] = None,
    license_name: Annotated[
        str, typer.Option("--license", help="License as model hubs name it, for instance cc-by-4.0.")
    ] = "bsd-3-clause",
) -> None:
    """Write a model in the layout of model hubs: model.safetensors, config.json and README.md, the model card.

    XxaCT reads the folder like any other checkpoint. Nothing is uploaded.
    """
    from xxact_core.evaluation.model_hub import export_checkpoint

    export_checkpoint(model, folder, name=name, license_name=license_name)
    typer.echo(f"model in {folder}; complete README.md before you publish it")


def finish(
    model: Model,
    dataset: DatasetArgument,
    output: Annotated[Path, typer.Argument(help="Folder to write the new checkpoint to, in bfloat16.")],
    *,
    materials: Annotated[
        int | None,
        typer.Option(
            help="Number of training materials to retrieve from; 0 for none; by default as many as --size allows.",
            min=0,
        ),
    ] = None,
    size: Annotated[int, typer.Option(help="Largest size of the checkpoint [bytes].", min=1)] = 16_000_000,
    extra: Annotated[
        list[Path] | None,
        typer.Option(help="Another dataset of the training to retrieve from, such as one of measured cells."),
    ] = None,
    mean_with: Annotated[
        list[Path] | None,
        typer.Option(help="A checkpoint that started from the same model; the mean of the weights is used."),
    ] = None,
) -> None:
    """Finish a trained model: attach k-nearest-neighbour retrieval from its training materials, and calibrate it.

    Settings of the retrieval, temperatures of probabilities, 90 % intervals and sets, and what counts as doubtful are
    fitted on augmented patterns of the validation split. Takes some minutes for 100,000 materials on one core.
    """
    from dataclasses import replace

    import torch

    from xxact_core.checkpoint import describe_checkpoint, load_checkpoint, save_checkpoint
    from xxact_core.errors import CheckpointError
    from xxact_core.training.config import Recipe
    from xxact_core.training.finish import finished_checkpoint, mean_checkpoint, retrieval_that_fits, round_weights
    from xxact_core.training.start import open_table

    folders = [model, *(mean_with or ())]
    checkpoint = mean_checkpoint([load_checkpoint(folder) for folder in folders])
    if output.exists():
        msg = f"{output} exists already; choose another folder"
        raise CheckpointError(msg, code="E_CHECKPOINT")
    described = Recipe.from_dict(checkpoint.about["recipe"])
    # `data_digest` stays that of the dataset: extra datasets have digests of their own.
    table = open_table(replace(described, extra_datasets=tuple(map(str, extra or ()))), dataset)
    round_weights(checkpoint.model)
    wanted = len(table.rows("train")) if materials is None else min(materials, len(table.rows("train")))
    stored, components = retrieval_that_fits(checkpoint.model, materials=wanted, size=size) if wanted else (0, 2)
    about = {**checkpoint.about, "recipe": {**checkpoint.about["recipe"], "retrieval_rows": stored}}
    if mean_with:
        about["mean_of"] = [describe_checkpoint(folder)["weights_sha256"] for folder in folders]
    finished = finished_checkpoint(
        checkpoint.model,
        table,
        replace(described, retrieval_rows=stored),
        checkpoint.statistics,
        device=torch.device("cpu"),
        components=components,
    )
    output.mkdir(parents=True)
    save_checkpoint(output, replace(finished, about=about), dtype=torch.bfloat16)
    taken = sum(file.stat().st_size for file in output.iterdir())
    typer.echo(f"model with retrieval from {stored} materials in {output}, {taken / 1e6:.1f} MB")
