"""Pattern → gridded pattern in one call: a measurement, made comparable with smeared sticks."""

from __future__ import annotations

from xxact_core.errors import PreparationError
from xxact_core.patterns.pattern import GriddedPattern, Pattern
from xxact_core.processing.axis_steps import ToCopper, ZeroShift
from xxact_core.processing.background import BACKGROUND_METHODS, BackgroundMethod
from xxact_core.processing.pipeline import LEAST_COVERAGE, Preparation
from xxact_core.processing.steps import PutOnGrid, Smooth, SubtractBackground

__all__ = ["LEAST_COVERAGE", "put_on_grid", "settings_to_preparation"]


def put_on_grid(
    pattern: Pattern,
    *,
    wavelength: str | float | None = None,
    background: str = "arpls",
    zero_shift: float = 0.0,
    smearing: float = 0.0,
    override_coverage: bool = False,
) -> GriddedPattern:
    """The pattern as if measured with Cu Kα on the shared grid: no background, at least 0, maximum 100.

    In this order: `zero_shift` [deg] is added to the measured angles; the angles are moved to Cu Kα through q; a
    finer measured step is averaged over each grid cell, a coarser one interpolated linearly; the background of every
    stretch without a gap is subtracted; a Gaussian of σ = `smearing` [deg] is laid over it; values below 0 become 0;
    the maximum becomes 100. Averaging and smearing come before the cut at 0, so that noise cancels rather than adds.
    Other steps, other orders and what lies between them: `xxact_core.processing.pipeline`.

    A diffractometer's lines are narrower (σ about 0.03-0.06°) than the simulated ones (σ = 0.1°):
    `smearing=0.09` makes them alike for the eye and takes out two thirds of the noise. A trained model is better left
    without: it has seen narrow lines and white noise, and smeared noise looks like weak lines.

    wavelength: of the measurement, in Å or by name (`CuKa`); goes before what the file says.
    background: one of `background.BACKGROUND_METHODS`.

    Raises:
        WavelengthError: neither the pattern nor the call says the wavelength (E_WAVELENGTH).
        PatternError: no overlap with the grid (E_RANGE), spanning under 30 % of it and not overridden (E_COVERAGE), or
            nothing above the background (E_VALUES).
        PreparationError: a setting is impossible (E_PREPARATION).
    """
    preparation = settings_to_preparation(
        wavelength=wavelength, background=background, zero_shift=zero_shift, smearing=smearing
    )
    return preparation.apply(pattern, override_coverage=override_coverage).gridded


def settings_to_preparation(
    *,
    wavelength: str | float | None = None,
    background: str = "arpls",
    zero_shift: float = 0.0,
    smearing: float = 0.0,
) -> Preparation:
    """The steps of `put_on_grid`; a shift and a smearing of 0 are none."""
    if background not in BACKGROUND_METHODS:
        msg = f"background {background!r} is not known; expected one of {', '.join(BACKGROUND_METHODS)}"
        raise PreparationError(msg, code="E_PREPARATION")
    method: BackgroundMethod = background
    preparation = Preparation((ToCopper(wavelength=wavelength), PutOnGrid(), SubtractBackground(method=method)))
    for step, wanted in ((ZeroShift(shift=zero_shift), zero_shift), (Smooth(sigma=smearing), smearing)):
        preparation = preparation.with_step(step) if wanted else preparation
    return preparation
