"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
ModelOption = Annotated[Path | None, typer.Option(help="Checkpoint folder; by default the shipped model.")]
ScanOption = Annotated[
    str, typer.Option(help="Scan of a file with several: its number, counted from 0, or 'sum' for their sum.")
]
WavelengthOption = Annotated[
    str | None,
    typer.Option(help="Wavelength in Å, or a name such as CuKa; required if the file does not state it."),
]
DatasetArgument = Annotated[Path, typer.Argument(help="Dataset folder, made by `xxact build`.")]
SplitOption = Annotated[str, typer.Option(help="Split to evaluate on: train, validation or test.")]
