"""Pattern → gridded pattern in one call."""

from __future__ import annotations

from xxact_core.errors import ProcessingError
from xxact_core.patterns.pattern import GriddedPattern, Pattern
from xxact_core.processing.background import BACKGROUND_METHODS, BackgroundMethod
from xxact_core.processing.pipeline import ProcessingPipeline
from xxact_core.processing.steps import ConvertWavelength, CorrectZeroShift, PutOnGrid, Smooth, SubtractBackground


def put_on_grid(
    pattern: Pattern,
    *,
    wavelength: str | float | None = None,
    background: str = "arpls",
    zero_shift: float = 0.0,
    broadening: float = 0.0,
    override_coverage: bool = False,
) -> GriddedPattern:
    """Resample a pattern to the shared grid of Cu Kα, without background, on a scale of 0 to 100.

    In this order: `zero_shift` is added to the measured angles; the angles are converted to Cu Kα through q; finer
    steps are averaged over each grid cell, coarser ones interpolated linearly; the background of every stretch without
    a gap is subtracted; the pattern is convolved with a Gaussian; values below 0 become 0; the maximum becomes 100.
    Averaging and broadening precede the cut at 0, so that noise cancels. For other steps and intermediate results, use
    `ProcessingPipeline`.

    Measured peaks (σ about 0.03-0.06°) are narrower than the simulated ones (σ = 0.1°): `broadening=0.09` makes them
    look alike and removes two thirds of the noise. Do not use it for model inputs: models were trained with narrow
    peaks and white noise, and broadened noise resembles weak peaks.

    Args:
        pattern: as measured.
        wavelength: of the measurement, in Å or by name (`CuKa`); takes precedence over that of the file.
        background: one of `background.BACKGROUND_METHODS`.
        zero_shift: added to the measured angles [deg 2θ].
        broadening: standard deviation of the Gaussian [deg 2θ]; 0 for none.
        override_coverage: accept patterns that span under 30 % of the grid.

    Raises:
        WavelengthError: neither the pattern nor the call gives the wavelength (E_WAVELENGTH).
        PatternError: no overlap with the grid (E_RANGE), spanning under 30 % of it and not overridden (E_COVERAGE), or
            nothing above the background (E_VALUES).
        ProcessingError: a setting is out of range (E_PREPARATION).
    """
    pipeline = settings_to_pipeline(
        wavelength=wavelength, background=background, zero_shift=zero_shift, broadening=broadening
    )
    return pipeline.apply(pattern, override_coverage=override_coverage).gridded


def settings_to_pipeline(
    *,
    wavelength: str | float | None = None,
    background: str = "arpls",
    zero_shift: float = 0.0,
    broadening: float = 0.0,
) -> ProcessingPipeline:
    """The steps of `put_on_grid`; a shift and a broadening of 0 give no step."""
    if background not in BACKGROUND_METHODS:
        msg = f"background {background!r} is not known; expected one of {', '.join(BACKGROUND_METHODS)}"
        raise ProcessingError(msg, code="E_PREPARATION")
    method: BackgroundMethod = background
    pipeline = ProcessingPipeline(
        (ConvertWavelength(wavelength=wavelength), PutOnGrid(), SubtractBackground(method=method))
    )
    for step, value in ((CorrectZeroShift(shift=zero_shift), zero_shift), (Smooth(sigma=broadening), broadening)):
        pipeline = pipeline.with_step(step) if value else pipeline
    return pipeline
