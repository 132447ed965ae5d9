"""Pattern and phases → arguments of `xxact refine`, which runs in a process of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from xxact_core.errors import InputError
from xxact_core.requests.identifying import Symbols, parse_symbols
from xxact_core.requests.reading import ReadRequest


@dataclass(frozen=True, kw_only=True)
class RefineRequest(ReadRequest):
    """Which phases are refined, and how.

    Raises:
        InputError: neither phases nor elements are given, or both (E_REFINEMENT).
    """

    phases: tuple[str, ...] = ()
    """Phases that are present: paths of CIF files, or ids or names of reference phases, such as mp-2133 or corundum."""

    elements: Symbols | None = None
    """Instead of phases: all elements that the specimen may contain, `La,B` or a list; the phases are searched."""

    maybe: Symbols | None = None
    """Elements that the specimen may contain besides `elements`."""

    method: Literal["rietveld", "lebail"] = "rietveld"
    """`rietveld`: intensities from the structures, which gives weight fractions; `lebail`: free intensities, cells
    only."""

    geometry: Literal["bragg_brentano", "debye_scherrer"] | None = None
    """`bragg_brentano` (flat plate) or `debye_scherrer` (capillary); by default the former for Kα radiation."""

    two_theta_range: tuple[float, float] | None = None
    """First and last angle to refine [deg 2θ]; by default the whole pattern."""

    output: str | None = None
    """Folder for the report, the curves, a CIF of each phase, and project files of other programs: a new one in the
    workspace."""

    def __post_init__(self) -> None:
        """Check that the phases are named or can be searched."""
        super().__post_init__()
        if bool(self.phases) == (self.elements is not None):
            msg = "give either the phases, such as mp-2133, or the elements to find them"
            raise InputError(msg, code="E_REFINEMENT")

    def arguments(self, file: Path) -> list[str]:
        """The command line that refines the pattern in a file and prints progress and result as JSON."""
        options = {
            "--elements": _listed(self.elements),
            "--maybe": _listed(self.maybe),
            "--wavelength": None if self.wavelength is None else str(self.wavelength),
            "--scan": str(self.scan),
            "--method": self.method,
            "--geometry": self.geometry,
            "--output": self.output,
        }
        line = ["refine", "--json", "--progress"]
        line += [f"{name}={value}" for name, value in options.items() if value is not None]
        line += [f"--phase={phase}" for phase in self.phases]
        if self.two_theta_range is not None:
            line += ["--range", *(f"{angle:g}" for angle in self.two_theta_range)]
        return [*line, "--", str(file)]


def _listed(symbols: Symbols | None) -> str | None:
    given = parse_symbols(symbols)
    return None if given is None else ",".join(given)
