"""Peaks of the patterns of a session, found once and kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from xxact_app.samples.sample import without_name
from xxact_app.samples.store import Store
from xxact_app.ui.safe_text import safe_message
from xxact_core.errors import InputError
from xxact_core.patterns.conversions import change_wavelength
from xxact_core.patterns.pattern import Pattern

if TYPE_CHECKING:
    from xxact_core.search_match.peak_search import PeakList

_MOST_KEPT = 100


class PeakStore:
    """Finds the peaks of patterns at their corrected angles, above the background of the processing steps."""

    def __init__(self, store: Store) -> None:
        self.store, self.session = store, store.session
        self._found = store.cache(_MOST_KEPT)

    def peaks(self, key: str) -> PeakList | str:
        """The peaks of a pattern, or the reason why there are none, a safe text."""
        from xxact_core.search_match.peak_search import find_peaks  # noqa: PLC0415 - few visitors look for peaks

        stages, least = self.store.stages, self.session.least_peak
        question = (stages.preparation(key), self.session.sample(key).scan, least)
        try:
            profile, background = stages.measured_with_background(key)
            pattern = Pattern(
                profile.two_theta, profile.intensity, name=profile.name,
                wavelength=None if profile.at_copper else self.store.wavelength(key),
            )  # fmt: skip
            found: PeakList = self._found.get_or_compute(
                key, question, lambda: find_peaks(pattern, background=background, least_height=least)
            )
        except InputError as error:
            return safe_message(without_name(error, self.store.samples[key].pattern.name))
        return found

    def positions(self, key: str, found: PeakList, *, drawn_at: float | None) -> np.ndarray:
        """Where the peaks are on the selected axis of a curve whose angles have the wavelength `drawn_at` [Å]."""
        angles, measured = np.array([peak.two_theta for peak in found.peaks]), self.store.wavelength(key)
        if measured is not None and drawn_at is not None:
            angles = change_wavelength(angles, measured=measured, target=drawn_at)
        return self.store.stages.on_axis(angles, wavelength=drawn_at)
