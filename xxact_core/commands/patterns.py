"""The commands `xxact read` and `xxact simulate`: a measured and a calculated pattern as values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from xxact_core.commands.options import JsonFlag, ScanOption, WavelengthOption

app = typer.Typer()

SHOWN = 20
"""Number of reflections printed."""


@app.command()
def read(
    file: Annotated[Path, typer.Argument(help="Measured pattern file.")],
    *,
    wavelength: WavelengthOption = None,
    scan: ScanOption = "0",
    points: Annotated[bool, typer.Option(help="With --json, print angles and intensities.")] = True,
    as_json: JsonFlag = False,
) -> None:
    """Read a measured pattern: its range, step, wavelength, metadata and warnings."""
    from xxact_core.requests.reading import ReadPointsRequest, pattern_to_dict

    request = ReadPointsRequest(wavelength=wavelength, scan=scan, points=points)
    found = {"file": str(file), **pattern_to_dict(request.read(file), points=points)}
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
        return
    length = "not stated" if found["wavelength"] is None else f"{found['wavelength']:g} Å"
    typer.echo(f"{file}  ({found['format']})")
    typer.echo(
        f"  {found['points']} points from {found['first_angle']:g} to {found['last_angle']:g}° 2θ, "
        f"step {found['step']:.4g}°, wavelength {length}"
    )
    for name, value in found["metadata"].items():
        typer.echo(f"  {name}: {value}")
    for warning in found["warnings"]:
        typer.echo(f"  note: {warning}")


@app.command()
def simulate(
    file: Annotated[Path, typer.Argument(help="CIF file.")],
    *,
    wavelength: Annotated[str, typer.Option(help="Wavelength in Å, with a unit, or a name such as CuKa.")] = "CuKa",
    angles: Annotated[
        tuple[float, float], typer.Option("--range", "--two-theta-range", help="First and last angle [deg 2θ].")
    ] = (
        5.0,
        90.0,
    ),
    least_intensity: Annotated[
        float, typer.Option(help="Intensity (0-100) below which reflections are left out.", min=0, max=100)
    ] = 0.0,
    width: Annotated[
        float | None,
        typer.Option(help="With --json, also calculate a curve with peaks of this full width at half maximum [deg]."),
    ] = None,
    index: Annotated[int, typer.Option(help="Number of the structure in a file with several, from 0.", min=0)] = 0,
    as_json: JsonFlag = False,
) -> None:
    """Calculate the reflections of a structure: angles, lattice spacings, intensities and Miller indices."""
    from xxact_core.requests.simulating import SimulateRequest, simulate_cif
    from xxact_core.structures.space_groups import space_group_name

    request = SimulateRequest(
        wavelength=wavelength,
        two_theta_range=angles,
        least_intensity=least_intensity,
        width=width,
        index=index,
    )
    found = {"file": str(file), **simulate_cif(file.read_bytes(), request, name=file.name)}
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
        return
    typer.echo(f"{file}  ({found['formula']}, {space_group_name(str(found['space_group']))})")
    typer.echo(f"  {'2θ [°]':>8s}{'d [Å]':>10s}{'I':>8s}   h k l")
    rows = sorted(range(len(found["d"])), key=lambda row: -found["intensity"][row])[:SHOWN]
    for row in sorted(rows):
        indices = " ".join(map(str, found["hkl"][row]))
        typer.echo(f"  {found['two_theta'][row]:8.3f}{found['d'][row]:10.4f}{found['intensity'][row]:8.2f}   {indices}")
    if len(found["d"]) > SHOWN:
        typer.echo(f"  the {SHOWN} strongest of {len(found['d'])} reflections")
    for note in found["notes"]:
        typer.echo(f"  note: {note}")
