"""What is refined, and how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from xxact_core.errors import InputError
from xxact_core.search_match.instrument import InstrumentProfile

Method = Literal["rietveld", "lebail"]
METHODS: tuple[Method, ...] = get_args(Method)
"""Rietveld: intensities from the structures, which gives weight fractions. Le Bail: free intensities, which gives cells
without a trusted structure."""

Geometry = Literal["bragg_brentano", "debye_scherrer"]
GEOMETRIES: tuple[Geometry, ...] = get_args(Geometry)
"""Reflection from a flat plate, and transmission through a capillary."""


@dataclass(frozen=True)
class RefinementSettings:
    """Settings of a refinement.

    Raises:
        InputError: a setting is out of its range (E_REFINEMENT).
    """

    method: Method = "rietveld"
    """`rietveld` or `lebail`."""

    geometry: Geometry | None = None
    """`bragg_brentano` or `debye_scherrer`; by default the first for Kα radiation of an X-ray tube, else the second."""

    instrument: InstrumentProfile | None = None
    """Width of the instrument, measured on a standard: it is kept, and crystallite sizes and strains are refined. By
    default the widths are refined, which gives no sizes."""

    two_theta_range: tuple[float, float] | None = None
    """First and last angle that is refined [deg 2θ]; by default from 3° below the first possible reflection to the end
    of the pattern."""

    displacements: bool = True
    """Whether one isotropic displacement parameter B is refined for each phase of at least 5 wt%."""

    texture: bool = True
    """Whether preferred orientation along c (March-Dollase) is refined for each tetragonal, trigonal or hexagonal phase
    of at least 5 wt%."""

    most_iterations: int = 100
    """Largest number of iterations of each stage, at least 1."""

    def __post_init__(self) -> None:
        """Check the choices and the range."""
        for name, value, choices in (("method", self.method, METHODS), ("geometry", self.geometry, GEOMETRIES)):
            if value is not None and value not in choices:
                msg = f"{name} {value!r} is not known; expected one of {', '.join(choices)}"
                raise InputError(msg, code="E_REFINEMENT")
        if self.most_iterations < 1:
            msg = f"most_iterations is {self.most_iterations}; expected at least 1"
            raise InputError(msg, code="E_REFINEMENT")
        if self.two_theta_range is not None:
            low, high = self.two_theta_range
            if not 0 <= low < high <= 180:  # noqa: PLR2004 - the range of a scattering angle
                msg = f"the range of the refinement is {low:g} to {high:g}°; expected 2θ within 0-180°, ascending"
                raise InputError(msg, code="E_REFINEMENT")
