from __future__ import annotations

from urllib.parse import parse_qs

import pytest

from xxact_app.session.sample_choices import SampleChoices
from xxact_app.session.session import Session
from xxact_app.session.url_state import IN_ADDRESS, query_to_session, session_to_query

OFFERED = {
    "model": lambda: {"mine": "run mine", "run mine": "run mine"},
    "reconstruction_model": lambda: ["shipped", "run mine"],
    "map_models": lambda: ["shipped", "run mine"],
    "map_materials": lambda: ["", "data mine"],
    "map_colour": lambda: ["crystal_system", "band_gap"],
}


def arguments(query: str) -> dict[str, list[bytes]]:
    return {name: [value.encode() for value in values] for name, values in parse_qs(query).items()}


def test_a_session_at_its_start_needs_no_query() -> None:
    assert session_to_query(Session()) == ""


def test_the_view_comes_back_from_its_address() -> None:
    session = Session(
        screen="embeddings", axis="q", scale="log", stage="gridded", arrangement="offset", show_windows=False,
        model="run mine", reconstruction_model="run mine", map_models=["run mine", "shipped"],
        map_materials="data mine",
        map_part="pattern", map_projection="t-sne", map_colour="band_gap",
    )  # fmt: skip
    again = Session()
    assert query_to_session(arguments(session_to_query(session)), again, offered=OFFERED) == ""
    assert {name: getattr(again, name) for name in IN_ADDRESS} == {name: getattr(session, name) for name in IN_ADDRESS}


def test_an_address_with_the_former_name_of_a_screen_opens_it() -> None:
    session = Session(screen="training")
    assert query_to_session(arguments("screen=prediction"), session, offered=OFFERED) == ""
    assert session.screen == "answer"


def test_nothing_of_the_files_is_in_the_address() -> None:
    records = {"secret-1": SampleChoices(formula="U", visible=False)}
    session = Session(samples=records, chosen="secret-1", draft_formula="U", dark=True)
    assert session_to_query(session) == ""


@pytest.mark.parametrize(
    "query",
    [
        "screen=admin",
        "axis=q&axis=energy",
        "scale=" + "x" * 100_000,
        "show_windows=True",
        "model=../../etc",
        "map_models=run other",
        "&".join(["map_models=shipped"] * 100),
        "map_colour=<script>",
    ],
)
def test_what_an_address_may_not_ask_for_is_left_out_and_told_once(query: str) -> None:
    session = Session()
    told = query_to_session({**arguments(query), "stage": [b"gridded"]}, session, offered=OFFERED)
    assert told.startswith("Unknown settings in the address were ignored")
    assert told.count("ignored") == 1
    assert "<" not in told
    assert len(told) < 200
    assert session.stage == "gridded"
    session.stage = "measured"
    assert session_to_query(session) == ""


def test_choices_that_nobody_offers_are_not_taken() -> None:
    session = Session()
    assert query_to_session({"model": [b"mine"]}, session, offered={}) != ""
    assert session.model == "shipped"


def test_the_address_of_version_0_1_0_names_a_model_by_its_run() -> None:
    session = Session()
    assert query_to_session({"model": [b"mine"]}, session, offered=OFFERED) == ""
    assert session.model == "run mine"


def test_arguments_of_others_are_not_ours_to_judge() -> None:
    session = Session()
    before = session.to_dict()
    assert query_to_session({"theme": [b"dark"], "files": [b"x"], "formulas": [b"{}"]}, session, offered=OFFERED) == ""
    assert session.to_dict() == before
