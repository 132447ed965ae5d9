from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch
from app_fixtures import FakePredictor, loaded, scan_file

from xxact_app.samples import sample as samples
from xxact_app.samples import store as sample_store
from xxact_app.samples.prediction_result import Answer, Missing
from xxact_app.samples.processing import Trace
from xxact_app.samples.processing_steps import set_value
from xxact_app.samples.store import Store, WavelengthError
from xxact_app.screens.prediction.conclusion import Conclusion
from xxact_app.screens.prediction.text import facts, to_csv
from xxact_app.session.session import Session
from xxact_app.ui.safe_text import plain_markdown, safe_text
from xxact_core.checkpoint import Checkpoint, make_model
from xxact_core.errors import CheckpointError, FormulaError
from xxact_core.model.config import PRESETS, Architecture
from xxact_core.prediction.predictor import Predictor
from xxact_core.quantities import PREDICTED


def test_equal_names_are_both_kept_under_names_of_their_own() -> None:
    session, store = loaded("scan.xy", "scan.xy")
    assert [sample.name for sample in store.samples.values()] == ["scan.xy", "scan.xy (2)"]
    assert len(set(session.files)) == 2


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("<img src=x onerror=alert(1)>.xy", "‹img src=x onerror=alert(1)›.xy"),
        ("../../etc/passwd", "passwd"),
        ("C:\\data\\a.xy", "a.xy"),
        ("a\x00b\u202ec.xy", "a b c.xy"),
        ("$$x$$.xy", "＄＄x＄＄.xy"),
        ("", "unnamed file"),
    ],
)
def test_names_are_made_safe_where_they_enter(name: str, shown: str) -> None:
    _, store = loaded(name)
    (sample,) = store.samples.values()
    assert sample.name == shown
    assert sample.file == name


def test_long_names_are_cut_and_markdown_in_them_is_text() -> None:
    assert len(safe_text("x" * 10_000)) == 120
    assert plain_markdown("*a*_b_[c](d)") == r"\*a\*\_b\_\[c\]\(d\)"


def test_session_holds_so_many_bytes_and_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    store, size = Store(Session()), len(scan_file())
    monkeypatch.setattr(sample_store, "LARGEST_SESSION", 2 * size)
    assert len(store.read_files([(f"{number}.xy", scan_file()) for number in range(4)])) == 2
    assert "0 MB in total" in store.problems[0].text
    assert store.problems[0].text.startswith("2.xy: not read")
    monkeypatch.setattr(sample_store, "LARGEST_SESSION", 2**30)
    monkeypatch.setattr(sample_store, "MOST_SAMPLES", 3)
    assert len(store.read_files([(f"{number}.xy", scan_file()) for number in range(4)])) == 1
    assert "at most 3 patterns" in store.problems[-1].text


@pytest.mark.parametrize("content", [b"", b"   \n", b"\x89PNG\r\n\x1a\n" + bytes(500), b"10 nan\n" * 50, b"hello"])
def test_a_bad_file_becomes_a_problem_in_words_and_the_good_one_stays(content: bytes) -> None:
    store = Store(Session())
    keys = store.read_files([("bad<b>.xy", content), ("good.xy", scan_file())])
    assert [sample.name for sample in store.samples.values()] == ["good.xy"]
    assert len(keys) == 1
    (problem,) = store.problems
    assert problem.text.startswith("bad‹b›.xy: ")
    assert "Traceback" not in problem.text
    store.session.dismissed = [problem.key]
    assert store.problems == []


def test_a_picture_is_refused_in_one_line() -> None:
    store = Store(Session(), predictor=FakePredictor)
    store.read_files([("photo.jpg", b"\xff\xd8\xff\xe0" + bytes(range(256)))])
    (problem,) = store.problems
    assert problem.text == "photo.jpg: is a JPEG image; expected a diffractogram (XRDML, RAW, RASX, CIF, XY …)"


def test_a_crash_of_a_reader_is_a_problem_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(samples, "read_untrusted_pattern", crash)
    store = Store(Session())
    assert store.read_files([("a.xy", b"1 2")]) == []
    assert store.problems[0].text.startswith("a.xy: cannot be read")


def test_a_missing_wavelength_is_asked_for_and_never_assumed() -> None:
    session, store = loaded("scan.xy")
    (key,) = session.files
    session.set_formula("LaB6")
    assert store.without_wavelength() == [key]
    with pytest.raises(WavelengthError):
        store.gridded(key)
    answer = store.answer()
    assert isinstance(answer, Missing)
    assert answer.what == "wavelength"
    session.change([key], wavelength=1.54184)
    assert store.without_wavelength() == []
    assert isinstance(store.answer(), Answer)


def test_the_answer_follows_the_settings_and_is_kept_while_they_stay() -> None:
    predictor = FakePredictor()
    session, store = loaded("scan.xy", predictor=predictor)
    session.change(session.files, wavelength=1.54184)
    session.set_formula("LaB6")
    first = store.answer()
    assert store.answer() == first
    assert len(predictor.asked) == 1
    assert predictor.asked[0][1].symbols == ("B", "La")
    session.steps = set_value(session.steps, "smooth", sigma=0.3)
    store.answer()
    assert len(predictor.asked) == 2
    wider, narrower = predictor.asked[1][0].intensity, predictor.asked[0][0].intensity
    assert np.count_nonzero(wider > 50) > np.count_nonzero(narrower > 50)


def test_another_wavelength_moves_the_peak_on_the_grid() -> None:
    session, store = loaded("scan.xy", peak=20.0, first=5.0, last=50.0)
    session.change(session.files, wavelength=0.71073)
    gridded = store.gridded(session.files[0])
    expected = 2 * np.rad2deg(np.arcsin(np.sin(np.deg2rad(10)) * 1.54184 / 0.71073))
    assert gridded.grid.two_theta[gridded.intensity.argmax()] == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize(
    ("formula", "word"),
    [("Xx2", "Xx"), ("co", "Co"), ("Fe0", "0"), ("Fe 40%", "at%"), ("?O", "an element that is present")],
)
def test_what_is_wrong_with_the_formula_is_said(formula: str, word: str) -> None:
    session, store = loaded("scan.xy")
    session.change(session.files, wavelength=1.54184)
    session.set_formula(formula)
    answer = store.answer()
    assert isinstance(answer, Missing)
    assert word in answer.text


@pytest.mark.parametrize(
    ("typed", "elements", "possible"),
    [("", (), ()), ("?", (), ()), ("La,B,?O", ("La", "B"), ("O",)), ("Fe 40±2 O 60±3", ("Fe", "O"), ())],
)
def test_the_model_is_asked_with_what_is_known_of_the_composition(
    typed: str, elements: tuple[str, ...], possible: tuple[str, ...]
) -> None:
    predictor = FakePredictor()
    session, store = loaded("scan.xy", predictor=predictor, wavelength="1.54184")
    session.set_formula(typed)
    assert isinstance(store.answer(), Answer)
    ((_, asked),) = predictor.asked
    assert (asked.symbols, asked.maybe) == (elements, possible)


def test_what_needs_a_whole_formula_says_so_where_it_is_open() -> None:
    _, store = loaded("scan.xy")
    assert store.composition("LaB6").symbols == ("B", "La")
    with pytest.raises(FormulaError, match="elements without amounts"):
        store.composition("La,B")


def test_too_little_coverage_needs_an_explicit_override() -> None:
    session, store = loaded("scan.xy", first=25.0, last=35.0)
    session.change(session.files, wavelength=1.54184)
    session.set_formula("LaB6")
    answer = store.answer()
    assert isinstance(answer, Missing)
    assert answer.what == "coverage"
    assert "at least 30\N{NO-BREAK SPACE}%" in answer.text
    session.override_coverage = True
    assert isinstance(store.answer(), Answer)


def test_without_a_model_the_app_says_so() -> None:
    def none() -> None:
        msg = "no checkpoint in <weights>"
        raise CheckpointError(msg)

    session = Session()
    store = Store(session, predictor=none)
    session.add(store.read_files([("a.xy", scan_file())]))
    session.change(session.files, wavelength=1.54184)
    session.set_formula("LaB6")
    answer = store.answer()
    assert isinstance(answer, Missing)
    assert answer.text == "The model cannot be loaded. no checkpoint in ‹weights›"


@pytest.mark.parametrize("kind", get_args(Architecture))
def test_a_model_of_every_kind_answers_what_it_knows(kind: Architecture) -> None:
    targets = ("crystal_system",) if kind == "extra-trees" else PREDICTED
    model = make_model(replace(PRESETS["tiny"], architecture=kind, targets=targets), seed=0).eval()
    statistics = {} if kind == "extra-trees" else {"formation_energy_per_atom": (-1.0, 1.0), "band_gap": (1.0, 1.0)}
    predictor = Predictor(Checkpoint(model, statistics), device=torch.device("cpu"))
    session, store = loaded("scan.xy", predictor=predictor, wavelength="1.54184")
    session.set_formula("LaB6")
    answer = store.answer()
    assert isinstance(answer, Answer)
    assert len(answer.prediction.crystal_system) == 7
    assert (answer.prediction.band_gap is None) == (kind == "extra-trees")
    conclusion = Conclusion("prediction only", answer=answer, alone=answer)
    said = facts(conclusion) + to_csv(conclusion).decode()
    assert ("not predicted by this model" in said) == (kind == "extra-trees")


def test_the_examples_come_with_formulas_and_wavelengths() -> None:
    session = Session()
    store = Store(session)
    examples = store.read_examples()
    session.add(list(examples), known=examples)
    assert store.problems == []
    assert len(examples) >= 12
    assert store.without_wavelength() == []
    assert store.gridded(store.first_predictable(examples)).extent > 0.3
    assert store.read_examples() == {}


def test_missing_examples_are_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "EXAMPLES", "data/none")
    store = Store(Session())
    assert store.read_examples() == {}
    assert "xxact_core/data/none is missing" in store.problems[0].text


def test_traces_say_the_same_on_every_axis() -> None:
    session, store = loaded("scan.xy")
    (key,) = session.files
    session.change([key], wavelength=1.54184)
    peak = {}
    for axis in ("two_theta", "q", "d"):
        session.axis = axis
        trace = store.trace(key)
        peak[axis] = trace.x[trace.intensity.argmax()]
    assert peak["two_theta"] == pytest.approx(30.0, abs=0.02)
    assert peak["d"] == pytest.approx(2 * np.pi / peak["q"])
    assert peak["d"] == pytest.approx(1.54184 / 2 / np.sin(np.deg2rad(15)), rel=1e-3)


def test_only_two_theta_can_be_drawn_without_a_wavelength() -> None:
    session, store = loaded("scan.xy")
    (key,) = session.files
    assert isinstance(store.trace(key), Trace)
    session.axis = "q"
    assert store.trace(key) == "wavelength missing"
    session.axis, session.stage = "two_theta", "gridded"
    assert "wavelength" in store.trace(key)


def test_windows_hidden_from_the_model_are_those_hardly_measured() -> None:
    session, store = loaded("scan.xy", first=12.0, last=80.0)
    session.change(session.files, wavelength=1.54184)
    hidden = store.hidden_windows(session.files[0])
    assert hidden.tolist() == store.gridded(session.files[0]).hidden_windows.tolist()
    assert np.flatnonzero(hidden).tolist() == [0, 15, 16]


def test_removed_patterns_are_forgotten() -> None:
    session, store = loaded("a.xy", "b.xy")
    session.remove(session.files[:1])
    assert [sample.name for sample in store.samples.values()] == ["b.xy"]
