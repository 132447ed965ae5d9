"""Atomic scattering factors for x-rays."""

from __future__ import annotations

from functools import cache

import numpy as np

from xxact_core.compositions.element_table import ATOMIC_NUMBERS, SYMBOLS
from xxact_core.errors import StructureError
from xxact_core.patterns.conversions import WAVELENGTHS
from xxact_core.shipped import shipped_path

SCALE = 41.78214
"""Mott-Bethe constant between electron and x-ray scattering [Å²]. Source: De Graef & McHenry (2007), eq. 12.7."""


_DISPERSION_TABLE = "simulation/dispersion.csv"

SAME_RADIATION = 0.005
"""Relative difference between a wavelength and Kα1 of an anode up to which its dispersion corrections hold. Ours."""


@cache
def load_dispersion() -> tuple[np.ndarray, np.ndarray]:
    """Wavelengths [Å], shape (anodes,), and f' + i f'' at each, shape (anodes, 119), indexed by atomic number.

    Elements that are not in the table, H, He and those beyond U, have 0.

    Source: the method of Cromer & Liberman (1981), Acta Cryst. A37, 267-268; dispersion.csv.
    """
    lines = [
        line for line in shipped_path(_DISPERSION_TABLE).read_text(encoding="utf-8").splitlines() if line[0] != "#"
    ]
    anodes = [name.removesuffix("_real") for name in lines[0].split(",")[1::2]]
    table = np.zeros((len(anodes), len(SYMBOLS) + 1), dtype=np.complex128)
    for line in lines[1:]:
        symbol, *numbers = line.split(",")
        table[:, ATOMIC_NUMBERS[symbol]] = np.array(numbers, dtype=np.float64).reshape(-1, 2) @ [1, 1j]
    table.setflags(write=False)
    return np.array([WAVELENGTHS[f"{anode}Ka1"] for anode in anodes]), table


def dispersion_corrections(atomic_numbers: np.ndarray, *, wavelength: float) -> np.ndarray:
    """Corrections f' + i f'' [electrons] of the scattering factors, shape of `atomic_numbers`, complex128.

    0 for a wavelength [Å] that is not the Kα of Cr, Fe, Co, Cu, Mo or Ag.
    """
    wavelengths, table = load_dispersion()
    nearest = int(np.abs(wavelengths - wavelength).argmin())
    if abs(wavelengths[nearest] / wavelength - 1) > SAME_RADIATION:
        return np.zeros(len(atomic_numbers), dtype=np.complex128)
    corrections: np.ndarray = table[nearest, atomic_numbers]
    return corrections


@cache
def load_scattering_parameters() -> np.ndarray:
    """Coefficients a_k and b_k [Å²], shape (119, 4, 2), indexed by atomic number; NaN where there are none.

    Source: De Graef & McHenry, Structure of Materials (2007), as tabulated by pymatgen; 99 elements have values.
    """
    table = np.full((len(SYMBOLS) + 1, 4, 2), np.nan)
    text = shipped_path("simulation/scattering_factors.csv").read_text(encoding="utf-8")
    for line in text.splitlines():
        if line.startswith(("#", "symbol")):
            continue
        symbol, *numbers = line.split(",")
        table[ATOMIC_NUMBERS[symbol]] = np.array(numbers, dtype=np.float64).reshape(2, 4).T
    table.setflags(write=False)
    return table


def scattering_factors(atomic_numbers: np.ndarray, s_squared: np.ndarray) -> np.ndarray:
    """Scattering factors f(s) = Z - 41.78214 s² Σ a_k exp(-b_k s²) of several elements.

    Args:
        atomic_numbers: shape (elements,).
        s_squared: (sin θ / λ)² [Å⁻²], shape (n,).

    Returns:
        Electrons, shape (elements, n).

    Raises:
        StructureError: no coefficients are known for an element.
    """
    coefficients = load_scattering_parameters()[atomic_numbers]
    unknown = np.isnan(coefficients[:, 0, 0])
    if unknown.any():
        number = int(atomic_numbers[unknown.argmax()])
        msg = f"no x-ray scattering factor is known for {SYMBOLS[number - 1]} (atomic number {number})"
        raise StructureError(msg, code="E_ELEMENT")
    gaussians = np.multiply.outer(-coefficients[:, :, 1], s_squared)
    np.exp(gaussians, out=gaussians)
    summed = np.matmul(coefficients[:, None, :, 0], gaussians)[:, 0]
    factors: np.ndarray = atomic_numbers[:, None] - SCALE * s_squared * summed
    return factors
