"""Patterns of known cells and weight fractions, calculated without the package's simulation or the refining library."""

from __future__ import annotations

from itertools import product

import numpy as np

from xxact_core.patterns.pattern import Pattern
from xxact_core.structures.structure import Structure

WAVELENGTHS = ((1.540593, 1.0), (1.544427, 0.5))
"""Cu Kα1 and Kα2 [Å] with their relative intensities."""

FACES = np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])

MASSES = {11: 22.98977, 12: 24.305, 17: 35.453, 8: 15.999}

# Source: International Tables for Crystallography C, table 6.1.1.4 (neutral atoms).
FACTORS = {
    8: ((3.0485, 13.2771), (2.2868, 5.7011), (1.5463, 0.3239), (0.867, 32.9089), 0.2508),
    11: ((4.7626, 3.285), (3.1736, 8.8422), (1.2674, 0.3136), (1.1128, 129.424), 0.676),
    12: ((5.4204, 2.8275), (2.1735, 79.2611), (1.2269, 0.3808), (2.3073, 7.1937), 0.8584),
    17: ((11.4604, 0.0104), (7.1964, 1.1662), (6.2556, 18.5194), (1.6455, 47.7784), -9.5574),
}


def rock_salt(first: int, second: int, a: float, *, name: str) -> Structure:
    """A structure of the NaCl type."""
    return Structure(
        id=name,
        cell=np.array([a, a, a, 90.0, 90.0, 90.0]),
        atomic_numbers=np.repeat([first, second], 4),
        frac_coords=np.concatenate([FACES, FACES + np.array([0.5, 0, 0])]),
        occupancies=np.ones(8),
    )


def integrated_intensities(structure: Structure, wavelength: float, *, b: float) -> tuple[np.ndarray, np.ndarray]:
    """2θ [deg] and intensities |F|² L p of all reflections of a cubic structure at 10-120°."""
    a = structure.cell[0]
    hkl = np.array([index for index in product(range(-9, 10), repeat=3) if any(index)])
    sine = np.linalg.norm(hkl, axis=1) * wavelength / (2 * a)
    kept = (sine > np.sin(np.deg2rad(5))) & (sine < np.sin(np.deg2rad(60)))
    hkl, sine = hkl[kept], sine[kept]
    s_squared = (sine / wavelength) ** 2
    total = np.zeros(len(hkl), dtype=complex)
    for number, position in zip(structure.atomic_numbers, structure.frac_coords, strict=True):
        *pairs, constant = FACTORS[int(number)]
        factor = constant + sum(amplitude * np.exp(-width * s_squared) for amplitude, width in pairs)
        total += factor * np.exp(2j * np.pi * hkl @ position)
    theta = np.arcsin(sine)
    lorentz_polarisation = (1 + np.cos(2 * theta) ** 2) / (np.sin(theta) ** 2 * np.cos(theta))
    intensity = np.abs(total) ** 2 * np.exp(-2 * b * s_squared) * lorentz_polarisation
    angles, place = np.unique(np.round(np.degrees(2 * theta), 6), return_inverse=True)
    return angles, np.bincount(place, weights=intensity)


def mixture_pattern(
    parts: list[tuple[Structure, float]], *, zero: float = 0.0, counts: float = 20_000, seed: int = 0
) -> Pattern:
    """Counts of a mixture of weight fractions, on a sloping background, with pseudo-Voigt peaks of 0.12°."""
    two_theta = np.arange(15, 110, 0.02)
    signal = np.zeros_like(two_theta)
    for structure, weight in parts:
        mass = sum(MASSES[int(number)] for number in structure.atomic_numbers)
        scale = weight / (mass * structure.cell[0] ** 3)  # Hill & Howard: w is proportional to S Z M V
        for wavelength, share in WAVELENGTHS:
            angles, intensities = integrated_intensities(structure, wavelength, b=0.6)
            for angle, intensity in zip(angles, intensities, strict=True):
                x = (two_theta - angle - zero) / 0.06
                signal += scale * share * intensity * (0.5 * np.exp(-np.log(2) * x**2) + 0.5 / (1 + x**2) * 0.678)
    background = 300 - two_theta
    expected = counts * signal / signal.max() + background
    noisy = np.random.default_rng(seed).poisson(expected).astype(float)
    return Pattern(two_theta=two_theta, intensity=noisy, wavelength=1.5418, name="mixture.xy")
