"""The figure of docs/explanation/augmentation.md: each augmentation effect on the pattern of rutile.

python docs/effects_figure.py                # writes docs/images/distortions.png
python docs/effects_figure.py --output FILE  # writes the same to FILE
"""

from __future__ import annotations

import argparse
import tempfile
from io import BytesIO
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch

from xxact_core.augmentation.config import AugmentationConfig
from xxact_core.augmentation.effects import (
    AxialDivergence,
    Background,
    CalculatedCell,
    CountingNoise,
    CrystalliteSize,
    DetectorBins,
    Doublet,
    Effect,
    FilterEdge,
    FilterLines,
    Graininess,
    Impurity,
    InstrumentWidth,
    KAlpha2Ratio,
    LimitedRange,
    Microstrain,
    OtherRadiation,
    ProcessedBins,
    ProcessedSmoothing,
    PseudoVoigt,
    SampleDisplacement,
    ScanStep,
    Smoothing,
    Strain,
    Texture,
    ThermalMotion,
    ZeroPointError,
)
from xxact_core.dataset.building.build import BuildPlan, build_dataset
from xxact_core.dataset.loading.batches import BatchMaker
from xxact_core.dataset.table import StickTable, read_dataset
from xxact_core.patterns.grid import GRID

IMAGE = Path(__file__).resolve().parent / "images" / "distortions.png"

PHASES = {
    "rutile": ("'P 42/m n m'", (4.594, 4.594, 2.959), {"Ti": (0, 0, 0), "O": (0.3053, 0.3053, 0)}),
    "anatase": ("'I 41/a m d'", (3.785, 3.785, 9.514), {"Ti": (0, 0.75, 0.125), "O": (0, 0.75, 0.3331)}),
}
"""Two polymorphs of TiO2. Source: Howard, Sabine & Dickson (1991), Acta Cryst. B47, 462-468; rounded."""

PANELS: tuple[tuple[str, str, tuple[float, float], tuple[Effect, ...]], ...] = (
    (
        "strain",
        "all d +1 %, random strain 0.3 %",
        (52, 72),
        (Strain(isotropic=(0.01, 0.01), anisotropic=(0.003, 0.003)),),
    ),
    (
        "other radiation",
        "Mo Kα (0.71 Å), converted to Cu Kα",
        (50, 72),
        (OtherRadiation(share=1, anodes=("Mo",), first=(5, 5)),),
    ),
    (
        "texture",
        "March-Dollase r = 0.6, plates (110)",
        (25, 60),
        (Texture(share=1, r=(0.6, 0.6), planes=((1, 1, 0),)),),
    ),
    ("thermal motion", "B = 1.2 Å²", (60, 90), (ThermalMotion(b=(1.2, 1.2)),)),
    ("graininess", "spread of ln I 0.4", (25, 60), (Graininess(share=1, spread=(0.4, 0.4)),)),
    ("impurity", "anatase, strongest peak 15 %", (22, 60), (Impurity(share=1, weight=(0.15, 0.15)),)),
    (
        "doublet",
        "Cu Kα1 and Kα2, 2 : 1",
        (80, 90),
        (Doublet(share=1), InstrumentWidth(fwhm=(0.12, 0.12), u=(0, 0), dip=(0, 0))),
    ),
    (
        "displacement",
        "sample 0.2 mm too low, R = 200 mm",
        (26, 42),
        (SampleDisplacement(displacement=(0.2, 0.2), radius=(200, 200)),),
    ),
    ("zero shift", "+0.1°", (26, 42), (ZeroPointError(shift=(0.1, 0.1)),)),
    (
        "instrument width",
        "√W = 0.1°, U = 0.1 deg², c = 0.3",
        (26, 58),
        (InstrumentWidth(fwhm=(0.1, 0.1), u=(0.1, 0.1), dip=(0.3, 0.3)),),
    ),
    ("crystallite size", "L = 20 nm", (26, 46), (CrystalliteSize(size=(20, 20)),)),
    ("microstrain", "ε = 0.3 %", (50, 72), (Microstrain(strain=(0.003, 0.003)),)),
    ("line form", "pseudo-Voigt η = 0.8", (26, 38), (PseudoVoigt(lorentzian=(0.8, 0.8)),)),
    (
        "background",
        "not subtracted",
        (5, 90),
        (
            Background(
                smooth=(0.15, 0.15),
                hump=(0.15, 0.15),
                hump_position=(22, 22),
                hump_width=(8, 8),
                fluorescence=(0.1, 0.1),
                remains=(1, 1),
            ),
        ),
    ),
    (
        "counting noise",
        "500 counts, background subtracted",
        (25, 60),
        (CountingNoise(counts=(500, 500)), Background(fluorescence=(0.15, 0.15), smooth=(0, 0), hump=(0, 0))),
    ),
    ("limited range", "measured from 20° to 60°", (5, 90), (LimitedRange(share=1, first=(20, 20), last=(60, 60)),)),
    ("calculated cell", "scaled to measured ones, 0.989", (52, 72), (CalculatedCell(scale=(0.989, 0.989)),)),
    (
        "axial divergence",
        "S/L = H/L = 0.06",
        (24, 40),
        (
            AxialDivergence(share=1, divergence=(0.06, 0.06)),
            InstrumentWidth(fwhm=(0.06, 0.06), u=(0, 0), dip=(0, 0)),
        ),
    ),
    (
        "Kα2 ratio",
        "Kα2 / Kα1 = 0.1",
        (80, 90),
        (
            KAlpha2Ratio(share=1, ratio=(0.1, 0.1)),
            Doublet(share=1),
            InstrumentWidth(fwhm=(0.12, 0.12), u=(0, 0), dip=(0, 0)),
        ),
    ),
    (
        "filter lines",
        "Kβ 6 %, W Lα 3 %",
        (22, 45),
        (FilterLines(share=1, k_beta=(0.06, 0.06), tungsten=(0.03, 0.03)),),
    ),
    ("filter edge", "step of 4 % of the peak", (22, 45), (FilterEdge(share=1, height=(0.04, 0.04)),)),
    (
        "scan step",
        "step 0.08°, 500 counts",
        (26, 38),
        (ScanStep(share=1, step=(0.08, 0.08)), CountingNoise(counts=(500, 500)), InstrumentWidth(fwhm=(0.1, 0.1))),
    ),
    (
        "detector bins",
        "bins of 0.1°",
        (26, 32),
        (
            DetectorBins(share=1),
            ScanStep(share=1, step=(0.1, 0.1)),
            InstrumentWidth(fwhm=(0.06, 0.06), u=(0, 0), dip=(0, 0)),
        ),
    ),
    (
        "smoothing",
        "moving average, σ = 0.08°, 500 counts",
        (26, 46),
        (
            Smoothing(share=1, width=(0.08, 0.08), methods=("moving_average",)),
            CountingNoise(counts=(500, 500)),
            Background(fluorescence=(0.15, 0.15), smooth=(0, 0), hump=(0, 0)),
        ),
    ),
    (
        "processed smoothing",
        "σ = 0.08° after the subtraction",
        (26, 46),
        (
            ProcessedSmoothing(share=1, width=(0.08, 0.08), subtracted=(0, 0)),
            CountingNoise(counts=(500, 500)),
            Background(fluorescence=(0.15, 0.15), smooth=(0, 0), hump=(0, 0)),
        ),
    ),
    (
        "processed bins",
        "bins of 0.1° after the subtraction",
        (26, 46),
        (
            ProcessedBins(share=1, step=(0.1, 0.1)),
            CountingNoise(counts=(500, 500)),
            Background(fluorescence=(0.15, 0.15), smooth=(0, 0), hump=(0, 0)),
        ),
    ),
)
"""Title, text, shown range [deg 2θ] and effects of each panel."""


def phases_to_table(folder: Path) -> StickTable:
    """Both phases as a dataset of two materials, rutile first."""
    source = folder / "phases"
    source.mkdir()
    for number, (name, (group, lengths, sites)) in enumerate(PHASES.items()):
        lines = [f"data_{name}", f"_symmetry_space_group_name_H-M {group}"]
        lines += [f"_cell_length_{axis} {length}" for axis, length in zip("abc", lengths, strict=True)]
        lines += [f"_cell_angle_{angle} 90" for angle in ("alpha", "beta", "gamma")]
        lines += ["loop_", "_atom_site_label", *(f"_atom_site_fract_{axis}" for axis in "xyz")]
        lines += [" ".join(map(str, (element, *place))) for element, place in sites.items()]
        (source / f"{number}_{name}.cif").write_text("\n".join(lines) + "\n", encoding="utf-8")
    build_dataset(BuildPlan(source=str(source)), folder / "dataset", workers=1, progress=False)
    return read_dataset(folder / "dataset")


def pattern_with(table: StickTable, *effects: Effect, seed: int = 3) -> np.ndarray:
    """Intensities (0-100) of rutile with these effects; NaN where nothing was measured."""
    maker = BatchMaker(table, device=torch.device("cpu"), augmentation=AugmentationConfig.only(*effects))
    batch = maker.batch(np.array([0, 1]), seed=seed)
    hidden = batch.window_mask[0].repeat_interleave(GRID.window_points).numpy()
    return np.where(hidden, np.nan, batch.intensity[0].numpy())


def draw_figure(table: StickTable) -> bytes:
    """All panels as a PNG image."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    ideal = pattern_with(table)
    figure, axes = plt.subplots(7, 4, figsize=(15, 19.5), layout="constrained")
    for axis, (name, value, shown, effects) in zip(axes.flat, PANELS, strict=False):
        distorted = pattern_with(table, *effects)
        axis.fill_between(GRID.two_theta, distorted, color="#b3261e", alpha=0.3, linewidth=0)
        axis.plot(GRID.two_theta, distorted, color="#b3261e", linewidth=1.0, label="with the effect")
        axis.plot(GRID.two_theta, ideal, color="0.45", linewidth=0.9, label="ideal")
        axis.fill_between(
            GRID.two_theta, 200, where=np.isnan(distorted), color="0.87", linewidth=0, label="not measured"
        )
        inside = (GRID.two_theta >= shown[0]) & (GRID.two_theta <= shown[1])
        highest = max(np.nanmax(distorted[inside]), ideal[inside].max())
        axis.set(xlim=shown, ylim=(0, 1.22 * highest))
        axis.set_title(name, loc="left", fontsize=12, fontweight="bold")
        axis.text(0.02, 0.97, value, transform=axis.transAxes, va="top", fontsize=10)
        axis.tick_params(labelsize=9)
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.spines[["top", "right"]].set_visible(False)
    for axis in axes.flat[len(PANELS) :]:
        axis.set_axis_off()
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=3, frameon=False)
    figure.supxlabel("2θ at Cu Kα [deg]")
    figure.supylabel("intensity, strongest = 100")
    written = BytesIO()
    figure.savefig(written, format="png", dpi=110)
    plt.close(figure)
    return written.getvalue()


def main() -> None:
    """Draw the figure and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=IMAGE, metavar="FILE", help="default: in docs/images")
    output = parser.parse_args().output
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        image = draw_figure(phases_to_table(Path(scratch)))
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_bytes(image)


if __name__ == "__main__":
    main()
