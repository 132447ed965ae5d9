"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
ModelOption = Annotated[Path | None, typer.Option(help="Checkpoint folder; by default the shipped model.")]
ScanOption = Annotated[
    str,
    typer.Option(
        help="Scan of a file with several: its number from 0, 'sum' for their sum, or 'join' for its ranges as one."
    ),
]
WavelengthOption = Annotated[
    str | None,
    typer.Option(help="Wavelength in Å, with a unit, or a name such as CuKa; required if the file does not state it."),
]
ReferenceOption = Annotated[
    list[Path] | None,
    typer.Option(
        help="Reference phases instead of the shipped ones: a table of `xxact reference build`, a dataset, or "
        "some CIF files; repeatable. `reference_materials` names the shipped table, to search own phases beside it."
    ),
]
DatasetArgument = Annotated[Path, typer.Argument(help="Dataset folder, made by `xxact build`.")]
SplitOption = Annotated[str, typer.Option(help="Split to evaluate on: train, validation or test.")]
