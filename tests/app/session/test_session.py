from __future__ import annotations

import json

from xxact_app.samples.processing_steps import steps_to_pipeline
from xxact_app.session.sample_choices import SampleChoices
from xxact_app.session.session import HEATMAP_FROM, Session
from xxact_core.processing.gridding import settings_to_pipeline


def test_saved_choices_come_back_equal() -> None:
    session = Session(
        axis="q",
        steps=[{"step": "smooth", "sigma": 0.2}],
        samples={"a": SampleChoices(formula="LaB6", wavelength=1.54, masked=(3, 4), scan="sum"), "b": SampleChoices()},
        chosen="a",
    )
    restored = Session.from_dict(json.loads(json.dumps(session.to_dict())))
    names = [name for name in session.param if name != "name"]
    assert [getattr(restored, name) for name in names] == [getattr(session, name) for name in names]
    restored.axis = "d"
    assert restored.to_dict() != session.to_dict()


def test_a_formula_typed_before_any_file_belongs_to_the_first_file_only() -> None:
    session = Session()
    session.set_formula("ZnO")
    session.add(["a", "b"])
    assert session.formula == "ZnO"
    session.chosen = "b"
    assert session.formula == ""


def test_removing_forgets_everything_of_a_pattern() -> None:
    session = Session()
    session.add(["a", "b"], known={"a": SampleChoices(formula="ZnO", wavelength=1.5)})
    session.remove(["a"])
    assert (session.files, session.chosen) == (["b"], "b")
    assert session.samples == {"b": SampleChoices()}
    session.remove(["b"])
    assert (session.files, session.chosen) == ([], "")


def test_dropped_patterns_are_drawn_and_arranged_by_their_number_until_the_user_arranges_them() -> None:
    session = Session()
    session.add(["a", "b"])
    assert session.arrangement == "overlay"
    session.add(["c"])
    assert session.arrangement == "offset"
    session.arrangement = "overlay"
    session.add(["d"])
    assert session.arrangement == "overlay"
    session.add([str(number) for number in range(HEATMAP_FROM)])
    assert all(record.visible for record in session.samples.values())
    assert session.arrangement == "heatmap"
    session.arrangement = "waterfall"
    session.add(["more"])
    assert session.sample("more").visible
    assert session.arrangement == "waterfall"


def test_a_pattern_with_steps_of_its_own_leaves_the_others_alone() -> None:
    session = Session()
    session.add(["a", "b"])
    own = ({"step": "convert_wavelength"}, {"step": "put_on_grid"})
    session.change(["a"], own_steps=own)
    assert session.steps_of("a") == list(own)
    assert session.steps_of("b") == session.steps
    assert Session.from_dict(session.to_dict()).sample("a").own_steps == own


def test_who_watches_is_called_once_for_all_that_changes_together_and_for_nothing_else() -> None:
    session, seen = Session(), []
    session.add(["a", "b"])
    session.watch(lambda *events: seen.append({event.name for event in events}), ["formula", "files", "axis"])
    session.change(["a"], masked=(3,), wavelength=1.5)
    session.change(["a"], formula="")
    session.dark = True
    assert seen == []
    session.change(["a"], formula="ZnO")
    session.param.update(axis="q", samples={})
    assert seen == [{"samples"}, {"samples", "axis"}]


def test_a_record_of_no_pattern_is_not_made_by_a_change() -> None:
    session = Session()
    session.change(["a"], formula="ZnO")
    assert session.samples == {}


def test_the_app_prepares_a_pattern_as_the_command_line_does() -> None:
    assert steps_to_pipeline(Session().steps) == settings_to_pipeline()
