from __future__ import annotations

from xxact_app.samples.processing_steps import steps_to_pipeline
from xxact_app.session.session import MOST_DRAWN_AT_FIRST, Session
from xxact_core.processing.gridding import settings_to_pipeline


def test_saved_choices_come_back_equal() -> None:
    session = Session(
        axis="q",
        steps=[{"step": "smooth", "sigma": 0.2}],
        wavelengths={"a": 1.54},
        formulas={"a": "LaB6"},
        files=["a"],
        chosen="a",
    )
    restored = Session.from_json(session.to_json())
    names = [name for name in session.param if name != "name"]
    assert [getattr(restored, name) for name in names] == [getattr(session, name) for name in names]
    restored.axis = "d"
    assert restored.to_json() != session.to_json()


def test_a_formula_typed_before_any_file_belongs_to_the_first_file_only() -> None:
    session = Session()
    session.set_formula("ZnO")
    session.add(["a", "b"])
    assert session.formula == "ZnO"
    session.chosen = "b"
    assert session.formula == ""


def test_removing_forgets_everything_of_a_pattern() -> None:
    session = Session()
    session.add(["a", "b"], formulas={"a": "ZnO"}, wavelengths={"a": 1.5})
    session.remove(["a"])
    assert (session.files, session.chosen) == (["b"], "b")
    assert session.formulas == {}
    assert session.wavelengths == {}
    session.remove(["b"])
    assert (session.files, session.chosen) == ([], "")


def test_only_the_first_few_are_drawn_without_being_asked() -> None:
    session = Session()
    session.add([str(number) for number in range(MOST_DRAWN_AT_FIRST + 3)])
    assert len(session.hidden) == 3
    session.add(["more"])
    assert "more" in session.hidden


def test_the_app_prepares_a_pattern_as_the_command_line_does() -> None:
    assert steps_to_pipeline(Session().steps) == settings_to_pipeline()
