"""Atomic scattering factors for x-rays."""

from __future__ import annotations

from functools import cache

import numpy as np

from xxact_core.compositions.element_table import ATOMIC_NUMBERS, SYMBOLS
from xxact_core.errors import StructureError
from xxact_core.shipped import shipped_path

SCALE = 41.78214
"""Mott-Bethe constant between electron and x-ray scattering [Å²]. Source: De Graef & McHenry (2007), eq. 12.7."""


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
