"""Atomic scattering factors for x-rays."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import numpy as np

from xxact_core.compositions.element_table import ATOMIC_NUMBERS, SYMBOLS
from xxact_core.errors import StructureError

SCALE = 41.78214
"""Mott-Bethe constant between electron and x-ray scattering [Å²]. Source: De Graef & McHenry (2007), eq. 12.7."""


@cache
def load_scattering_parameters() -> np.ndarray:
    """Coefficients a_k and b_k [Å²], shape (119, 4, 2), indexed by atomic number; NaN where there are none.

    Source: De Graef & McHenry, Structure of Materials (2007), as tabulated by pymatgen; 99 elements have values.
    """
    table = np.full((len(SYMBOLS) + 1, 4, 2), np.nan)
    text = files("xxact_core.simulation").joinpath("scattering_factors.csv").read_text(encoding="utf-8")
    for line in text.splitlines():
        if line.startswith(("#", "symbol")):
            continue
        symbol, *numbers = line.split(",")
        table[ATOMIC_NUMBERS[symbol]] = np.array(numbers, dtype=np.float64).reshape(2, 4).T
    table.setflags(write=False)
    return table


def scattering_factor(atomic_number: int, s_squared: np.ndarray) -> np.ndarray:
    """Scattering factor f(s) = Z - 41.78214 s² Σ a_k exp(-b_k s²), same shape as `s_squared` = (sin θ / λ)² [Å⁻²].

    Raises:
        StructureError: no coefficients are known for the element.
    """
    coefficients = load_scattering_parameters()[atomic_number]
    if np.isnan(coefficients).any():
        msg = f"no x-ray scattering factor is known for {SYMBOLS[atomic_number - 1]} (atomic number {atomic_number})"
        raise StructureError(msg, code="E_ELEMENT")
    total = np.zeros_like(s_squared)
    for amplitude, width in coefficients:
        total += amplitude * np.exp(-width * s_squared)
    return atomic_number - SCALE * s_squared * total
