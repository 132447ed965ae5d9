"""The plot of an answer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from app_fixtures import loaded
from test_conclusion import SINGLE

from xxact_app.screens.prediction.answer_plot import AnswerPlot
from xxact_app.screens.prediction.phases_store import FittedCurves


def test_what_was_measured_outside_the_range_of_the_fit_is_drawn_too() -> None:
    session, store = loaded("scan.xy", wavelength="1.54184")
    (key,) = store.samples
    plot = AnswerPlot(session, store)
    plot.show(key, None, None)
    assert plot.figure.legend.visible is False
    pattern = store.samples[key].pattern
    fitted = pattern.two_theta[200:-300]
    level = np.ones(fitted.size)
    curves = FittedCurves(fitted, pattern.intensity[200:-300], level, level[None])
    plot.show(key, replace(SINGLE, curves=curves), None)
    drawn = plot.figure.pattern.lines[0].data_source.data["x"]
    assert (drawn[0], drawn[-1]) == pytest.approx((pattern.two_theta[0], pattern.two_theta[-1]))
    calculated = plot.figure.pattern.calculated[0].data_source.data
    inside = calculated["x"][np.isfinite(calculated["y"])]
    assert (inside[0], inside[-1]) == pytest.approx((fitted[0], fitted[-1]))
    assert plot.figure.legend.visible is True
    assert [item.visible for item in plot.figure.legend.items] == [True, True, session.show_background]
