"""The command `xxact instrument`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from xxact_core.commands.options import JsonFlag, ScanOption, WavelengthOption
from xxact_core.errors import WavelengthError

app = typer.Typer()

SHOWN_ANGLES = (20, 40, 60, 80, 100, 120)
"""Angles 2θ [deg] at which the width is printed."""


@app.command()
def instrument(
    file: Annotated[Path, typer.Argument(help="Measured pattern of a line-profile standard.")],
    *,
    standard: Annotated[str, typer.Option(help="The standard: LaB6, Si or Al2O3 (corundum).")],
    save: Annotated[
        str | None,
        typer.Option(help="Name under which the instrument is saved in the workspace; by default that of the file."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Write the instrument to this JSON file instead.", dir_okay=False)
    ] = None,
    wavelength: WavelengthOption = None,
    scan: ScanOption = "0",
    as_json: JsonFlag = False,
) -> None:
    """Measure the peak width of an instrument on a standard, for `xxact identify --instrument`."""
    from xxact_core.readers.read import parse_scan
    from xxact_core.readers.read_untrusted import read_untrusted_pattern
    from xxact_core.search_match.instrument import measure_instrument, save_instrument

    pattern = read_untrusted_pattern(file, scan=parse_scan(scan))
    try:
        profile = measure_instrument(pattern, standard=standard, wavelength=wavelength)
    except WavelengthError as error:
        msg = f"{error} (--wavelength)"
        raise WavelengthError(msg, code=error.code) from error
    if output is None:
        path = save_instrument(profile, file.stem if save is None else save)
    else:
        profile.write(output)
        path = output
    if as_json:
        typer.echo(json.dumps({**asdict(profile), "file": str(path)}))
        return
    typer.echo(f"{profile.standard} at {profile.wavelength:.5f} Å, R_wp {100 * profile.weighted_residual:.1f} %")
    for angle in SHOWN_ANGLES:
        if profile.first <= angle <= profile.last:
            typer.echo(f"  width at {angle}°: {float(profile.fwhm(angle)):.4f}°")
    typer.echo(f"saved as {path}")
