"""What the tests of the app share: patterns as files, and a model that answers without weights."""

from __future__ import annotations

import numpy as np

from xxact_app.samples.store import Store
from xxact_app.session.session import Session
from xxact_core.checkpoint import Checkpoint, make_model
from xxact_core.compositions.composition import Composition
from xxact_core.compositions.partial import PartialComposition
from xxact_core.model.config import PRESETS
from xxact_core.patterns.pattern import GriddedPattern
from xxact_core.prediction.predictor import Estimate, Prediction, Predictor, RankedLabel
from xxact_core.quantities import CRYSTAL_SYSTEMS


class FakePredictor:
    """Answers cubic with a chosen probability, and remembers what it was asked."""

    def __init__(self, *, probability: float = 0.9) -> None:
        self.probability = probability
        self.asked: list[tuple[GriddedPattern, Composition | PartialComposition]] = []
        self.checkpoint = Checkpoint(make_model(PRESETS["tiny"], seed=0).eval(), {})

    def predict(self, pattern: GriddedPattern, composition: Composition | PartialComposition) -> Prediction:
        self.asked.append((pattern, composition))
        rest = (1 - self.probability) / 6
        systems = [RankedLabel("cubic", self.probability)]
        systems += [RankedLabel(name, rest) for name in CRYSTAL_SYSTEMS if name != "cubic"]
        return Prediction(
            formula="LaB6",
            coverage=pattern.covered_fraction,
            formation_energy_per_atom=Estimate(-0.61, "eV/atom", -0.7, -0.5),
            band_gap=Estimate(0.02, "eV", None, None),
            crystal_system=tuple(systems),
            space_group=(RankedLabel("221", self.probability), RankedLabel("225", 1 - self.probability)),
            warnings=("a <b>warning</b>",),
        )


def scan_file(*, first: float = 10.0, last: float = 80.0, peak: float = 30.0, wavelength: str = "") -> bytes:
    """A scan of one peak over a slope as text; `wavelength` becomes a header line that says it."""
    two_theta = np.arange(first, last, 0.02)
    intensity = 100 + 2000 * np.exp(-0.5 * ((two_theta - peak) / 0.1) ** 2) - two_theta / 2
    header = [f"# wavelength: {wavelength}"] if wavelength else []
    rows = [f"{angle:.3f} {height:.2f}" for angle, height in zip(two_theta, intensity, strict=True)]
    return ("\n".join([*header, *rows]) + "\n").encode()


def loaded(
    *names: str, predictor: FakePredictor | Predictor | None = None, **scan: float | str
) -> tuple[Session, Store]:
    """A session with scans of these names, without wavelengths."""
    session = Session()
    store = Store(session, predictor=lambda: predictor or FakePredictor())
    session.add(store.read_files([(name, scan_file(**scan)) for name in names]))
    return session, store
