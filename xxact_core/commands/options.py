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
ElementsOption = Annotated[
    str | None,
    typer.Option(
        help="Elements that the specimen contains: 'La,B'. Phases with other elements are not compared. By default all "
        "reference phases are compared."
    ),
]
MaybeOption = Annotated[
    str | None, typer.Option(help="Elements that the specimen may contain besides --elements: 'C,H'.")
]
OneOfOption = Annotated[
    str | None, typer.Option("--one-of", help="Elements of which the specimen contains at least one: 'Fe,Co'.")
]
ExcludeOption = Annotated[str | None, typer.Option(help="Elements that the specimen does not contain: 'F,Cl'.")]
FormulaOption = Annotated[
    str | None,
    typer.Option(help="Instead of --elements, a composition as in `xxact predict`: LaB6, 'La,B,?O', '?'."),
]
InstrumentOption = Annotated[
    str | None,
    typer.Option(
        help="Width of the instrument, for crystallite sizes: a name given to `xxact instrument --save`, or a file."
    ),
]
FileNamesOption = Annotated[str, typer.Option(help="Only the files of these names: '*.xy'.")]
DatasetArgument = Annotated[Path, typer.Argument(help="Dataset folder, made by `xxact build`, or a URL of one.")]
SplitOption = Annotated[str, typer.Option(help="Split to evaluate on: train, validation or test.")]
