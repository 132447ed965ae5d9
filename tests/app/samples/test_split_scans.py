"""A file with several scans, split into patterns of its own."""

from __future__ import annotations

import numpy as np
import pytest
from app_fixtures import FakePredictor

from xxact_app.page.session_file import file_to_saved, restore_session, session_to_file
from xxact_app.samples.store import Store
from xxact_app.screens.patterns.sample_list import PatternList
from xxact_app.screens.patterns.scans import ScanForm
from xxact_app.session.session import Session

ANGLES = np.arange(10, 80, 0.05)


def table(*titles: str) -> bytes:
    """A CSV file with one column of intensities for each title; the k-th is k + 1 times as high."""
    heights = 20 + 900 * np.exp(-(((ANGLES - 30) / 0.2) ** 2))
    rows = [",".join(f"{value:.2f}" for value in (angle, *(height * np.arange(1, len(titles) + 1))))
            for angle, height in zip(ANGLES, heights, strict=True)]  # fmt: skip
    return "\n".join([",".join(("2theta", *titles)), *rows, ""]).encode()


def with_table(*titles: str) -> tuple[Session, Store]:
    session = Session()
    store = Store(session, predictor=FakePredictor)
    session.add(store.read_files([("heating.csv", table(*titles))]))
    session.change(session.files, wavelength=0.8)
    return session, store


def names(session: Session, store: Store) -> list[str]:
    return [store.samples[key].name for key in session.files]


def test_every_scan_becomes_a_pattern_named_for_its_column() -> None:
    session, store = with_table("300K", "400K", "500K")
    form = ScanForm(session, store)
    assert form.split.visible is True
    form.split.param.trigger("clicks")
    assert names(session, store) == ["heating 300 K.csv", "heating 400 K.csv", "heating 500 K.csv"]
    heights = [store.samples[key].pattern.intensity.max() for key in session.files]
    np.testing.assert_allclose(np.array(heights) / heights[0], [1, 2, 3], rtol=1e-3)
    assert [store.wavelength(key) for key in session.files] == [0.8] * 3
    assert session.chosen == session.files[0]
    assert session.arrangement == "offset"
    assert form.panel.visible is False, "nothing is left to split"
    assert PatternList(session, store).table.value["notes"].tolist() == ["", "", ""]


def test_scans_that_have_no_titles_of_their_own_are_numbered() -> None:
    session, store = with_table("counts", "counts")
    store.split_scans(session.files[0])
    assert names(session, store) == ["heating scan 1.csv", "heating scan 2.csv"]


def test_names_of_scans_outlive_the_session() -> None:
    session, store = with_table("300K", "<b>400K")
    store.split_scans(session.files[0])
    expected = names(session, store)
    saved = file_to_saved(session_to_file(session, store), name="saved.xxact")
    again = Session()
    fresh = Store(again, predictor=FakePredictor)
    for _ in restore_session(saved, again, fresh, name="saved.xxact"):
        pass
    assert names(again, fresh) == expected
    assert not any("<" in name for name in expected)
    for before, after in zip(session.files, again.files, strict=True):
        np.testing.assert_allclose(fresh.samples[after].pattern.intensity, store.samples[before].pattern.intensity)


def test_a_file_that_would_exceed_the_session_is_not_split(monkeypatch: pytest.MonkeyPatch) -> None:
    session, store = with_table("300K", "400K")
    monkeypatch.setattr("xxact_app.samples.store.LARGEST_SESSION", 2 * len(table("300K", "400K")))
    store.split_scans(session.files[0])
    assert names(session, store) == ["heating.csv"]
    assert "not split" in store.problems[-1].text


def test_notes_do_not_tell_how_scans_are_read_in_python() -> None:
    _, store = with_table("300K", "400K")
    (sample,) = store.samples.values()
    assert any("holds 2 scans" in text for text in sample.pattern.warnings)
    assert not any("scan=" in text for text in sample.pattern.warnings)
    store.split_scans(sample.key)
    assert len(store.samples) == 2
    first = next(iter(store.samples))
    store.session.change([first], scan=1)
    store.session.change([first], scan=0)
    assert not any("scan=" in text for text in store.samples[first].pattern.warnings)
