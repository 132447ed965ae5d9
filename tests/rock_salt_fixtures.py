"""Two phases as CIF files, and measured files of them, which are analysed in a moment."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from pattern_files import cif_of_rock_salt

from xxact_core.patterns.conversions import CU_K_ALPHA
from xxact_core.peak_profiles.reference import broaden_sticks
from xxact_core.reports.analysed_pattern import AnalysisSettings
from xxact_core.simulation.diffraction import arrays_to_sticks

FACE_CENTRED = np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
PHASES = {"NaCl": (5.6402, 11), "KCl": (6.2917, 19)}
"""Edge of the cell [Å] and atomic number of the cation."""


@pytest.fixture(scope="session")
def analysis(tmp_path_factory: pytest.TempPathFactory) -> AnalysisSettings:
    """Search in two phases, without a model."""
    folder = tmp_path_factory.mktemp("phases")
    (folder / "NaCl.cif").write_text(cif_of_rock_salt(edge=PHASES["NaCl"][0]), encoding="utf-8")
    potassium = cif_of_rock_salt(edge=PHASES["KCl"][0]).replace("data_NaCl", "data_KCl").replace("Na 0", "K 0")
    (folder / "KCl.cif").write_text(potassium, encoding="utf-8")
    reference = (str(folder / "NaCl.cif"), str(folder / "KCl.cif"))
    return AnalysisSettings(reference=reference, wavelength="CuKa", predict=False)


@pytest.fixture(scope="session")
def measured() -> Callable[..., str]:
    """Writes a measured file: `measured("NaCl", seed=1)`."""
    ideal = {}
    for formula, (edge, cation) in PHASES.items():
        places = np.concatenate([FACE_CENTRED, FACE_CENTRED + np.array([0.5, 0, 0])])
        sticks = arrays_to_sticks(
            cell=np.array([edge, edge, edge, 90, 90, 90]),
            atomic_numbers=np.repeat([cation, 17], 4),
            frac_coords=places,
            wavelength=CU_K_ALPHA,
        )
        pattern = broaden_sticks(sticks)
        ideal[formula] = (pattern.grid.two_theta[500:3800:2], pattern.intensity[500:3800:2])

    def text(formula: str, *, seed: int = 0) -> str:
        angles, profile = ideal[formula]
        counts = np.random.default_rng(seed).poisson(4000 * profile / profile.max() + 60)
        return "".join(f"{angle:.2f} {count}\n" for angle, count in zip(angles, counts, strict=True))

    return text
