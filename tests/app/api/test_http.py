from __future__ import annotations

import base64
import json
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from api_programs import Program
from rock_salt import ROCK_SALT_CIF
from typer.testing import CliRunner

from xxact_app.api import handlers, operations
from xxact_app.api.jobs import ApiJobs
from xxact_app.api.operations import OPERATIONS
from xxact_core.commands.main import app
from xxact_core.shipped import example_path

ZINCITE = example_path("zincite.prn")
PREDICT = {"formula": "ZnO", "wavelength": "CuKa"}
SALT = ROCK_SALT_CIF.encode()


def command(*words: str) -> object:
    """What the command line prints as JSON, without the path of the file."""
    printed = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    return printed[0] if isinstance(printed, list) else printed


def wait_until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not happened() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert happened()


def same(answer: dict[str, object], printed: object) -> None:
    assert isinstance(printed, dict)
    assert {**answer, "file": ""} == {**printed, "file": ""}


# ------------------------------------------------------------------------------------------------------------- answers
def test_reading_predicting_and_simulating_answer_as_the_command_line_prints(program: Program, tmp_path: Path) -> None:
    read = program.post("read", file=ZINCITE.read_bytes(), name="zincite.prn", wavelength="CuKa")
    assert read.status == 200
    assert read.json["file"] == "zincite.prn"
    same(read.json, command("read", str(ZINCITE), "--wavelength", "CuKa"))
    predicted = program.post("predict", file=ZINCITE.read_bytes(), **PREDICT)
    same(predicted.json, command("predict", str(ZINCITE), "--wavelength", "CuKa", "--formula", "ZnO"))
    cif = tmp_path / "salt.cif"
    cif.write_bytes(SALT)
    same(program.post("simulate", file=SALT, name="salt.cif").json, command("simulate", str(cif)))


@pytest.mark.slow
def test_identifying_answers_as_the_command_line_prints_and_phases_are_part_of_it(program: Program) -> None:
    settings = {"elements": "Zn,O", "wavelength": "CuKa"}
    identified = program.post("identify", file=ZINCITE.read_bytes(), **settings)
    assert identified.status == 200, identified.text
    printed = command("identify", str(ZINCITE), "--elements", "Zn,O", "--wavelength", "CuKa")
    same(identified.json, {**printed, "file": ""})
    found = program.post("phases", file=ZINCITE.read_bytes(), curves="true", **settings).json
    curves = found.pop("curves")
    assert found["phases"][0]["name"] == "zincite"
    assert "matches" not in found
    assert {name: identified.json[name] for name in found if name != "file"} == {
        name: value for name, value in found.items() if name != "file"
    }
    lengths = {name: len(values) for name, values in curves.items() if name != "of_phases"}
    assert len(set(lengths.values())) == 1
    assert len(curves["of_phases"]) == len(found["phases"])
    middle = lengths["two_theta"] // 2
    total = curves["background"][middle] + sum(phase[middle] for phase in curves["of_phases"])
    assert curves["calculated"][middle] == pytest.approx(total, rel=1e-3)


@pytest.mark.slow
def test_a_prediction_is_combined_with_reference_phases_as_on_the_command_line(program: Program) -> None:
    combined = program.post("predict", file=ZINCITE.read_bytes(), search_match="true", **PREDICT)
    options = ("--wavelength", "CuKa", "--formula", "ZnO", "--search-match")
    same(combined.json, command("predict", str(ZINCITE), *options))


def test_a_file_is_sent_as_a_form_as_json_as_bytes_or_as_arrays(program: Program) -> None:
    data = ZINCITE.read_bytes()
    expected = program.post("read", file=data, name="pattern", wavelength="CuKa").json
    for content in ({"content": data.decode()}, {"content_base64": base64.b64encode(data).decode()}):
        assert program.post_json("read", wavelength="CuKa", **content).json == expected
    address = "/read?wavelength=CuKa&name=pattern"
    as_bytes = program.ask(address, method="POST", body=data, Content_Type="application/octet-stream")
    assert as_bytes.json == expected
    arrays = {name: expected[name] for name in ("two_theta", "intensity", "wavelength")}
    of_arrays = program.post_json("read", **arrays).json
    assert of_arrays["two_theta"] == expected["two_theta"]
    assert program.post_json("predict", formula="ZnO", **arrays).json["crystal_system"][0]["label"] == "hexagonal"


def test_twenty_programs_at_once_get_the_same_answer(program: Program) -> None:
    data = ZINCITE.read_bytes()
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: program.post("predict", file=data, **PREDICT), range(20)))
    assert [answer.status for answer in answers] == [200] * 20
    assert len({answer.text for answer in answers}) == 1
    wait_until(lambda: handlers.Bytes.held == 0)


# ---------------------------------------------------------------------------------------------------------- bad input
@pytest.mark.parametrize(
    ("settings", "code", "said"),
    [
        ({"formel": "ZnO"}, "E_INPUT", "did you mean 'formula'"),
        ({}, "E_INPUT", "lacks formula"),
        ({"formula": "ZnO"}, "E_WAVELENGTH", "do not state the wavelength"),
        ({"formula": "Zn0", "wavelength": "CuKa"}, "E_FORMULA", "Zn0"),
        ({"formula": "ZnO", "wavelength": "CuKa", "override_coverage": "maybe"}, "E_INPUT", "true or false"),
        ({"formula": "ZnO", "wavelength": "CuKa", "model": "../x"}, "E_WORKSPACE", "no run"),
    ],
)
def test_a_setting_that_is_wrong_is_named(settings: dict[str, str], code: str, said: str, program: Program) -> None:
    answer = program.post("predict", file=ZINCITE.read_bytes(), **settings)
    assert (answer.status, answer.code) == (400, code)
    assert said in answer.json["error"]["message"]


@pytest.mark.parametrize(
    ("media_type", "body", "said"),
    [
        ("text/plain", b"x", "expected one of multipart/form-data"),
        ("", b"x", "Content-Type"),
        ("application/json", b"{", "no JSON"),
        ("application/json", b"[1]", "expected a JSON object"),
        ("application/json", b"[" * 100_000, "no JSON"),
        ("application/json", b"{}", "give one of a file"),
        ("application/json", b'{"formel": 1}', "no setting 'formel'"),
        ("application/json", b'{"content_base64": "%%%"}', "no Base64"),
        ("application/json", b'{"two_theta": [1, 2]}', "both"),
        ("application/json", b'{"two_theta": ["a"], "intensity": [1]}', "two_theta"),
        ("multipart/form-data; boundary=x", b"nothing", "the form cannot be read"),
        ("multipart/form-data; boundary=x", b"--x--\r\n", "expected one, called file"),
    ],
)
def test_a_body_that_is_damaged_is_refused(media_type: str, body: bytes, said: str, program: Program) -> None:
    answer = program.ask("/read", method="POST", body=body, Content_Type=media_type)
    assert (answer.status, answer.code) == (400, "E_INPUT")
    assert said in answer.json["error"]["message"]


def test_a_file_that_is_no_pattern_is_refused_with_its_name(program: Program) -> None:
    answer = program.post("read", file=b"\x89PNG\r\n\x1a\n" + bytes(1000), name="C:\\data\\scan.xy")
    assert (answer.status, answer.code) == (400, "E_FORMAT")
    assert answer.json["error"]["message"].startswith("scan.xy")
    assert program.post("simulate", file=b"data_x\n", name="x.cif").code == "E_STRUCTURE"


def test_other_addresses_and_methods_are_refused(program: Program) -> None:
    assert program.ask("/predict").status == 405
    assert program.ask("/nothing", method="POST", body=b"").status == 404
    assert "read, predict, identify, phases, simulate" in program.ask("/nothing").json["error"]["message"]
    assert program.ask("/jobs/none").code == "E_JOB"


def test_an_error_of_the_program_is_not_shown(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        msg = "secret detail"
        raise RuntimeError(msg)

    monkeypatch.setattr(handlers, "answer", fail)
    answer = program.post("read", file=ZINCITE.read_bytes(), wavelength="CuKa")
    assert (answer.status, answer.code) == (500, "E_APP")
    assert "secret" not in answer.text
    wait_until(lambda: handlers.Bytes.held == 0)


def test_more_data_than_the_server_holds_is_refused_until_there_is_room(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handlers, "MOST_BYTES", 100)
    answer = program.post("read", file=ZINCITE.read_bytes(), wavelength="CuKa")
    assert (answer.status, answer.code, answer.headers["Retry-After"]) == (503, "E_JOB", "5")
    monkeypatch.undo()
    assert program.post("read", file=ZINCITE.read_bytes(), wavelength="CuKa").status == 200


def test_a_setting_that_the_address_has_twice_is_refused(program: Program) -> None:
    address = "/read?wavelength=CuKa&wavelength=MoKa&name=pattern"
    answer = program.ask(address, method="POST", body=ZINCITE.read_bytes(), Content_Type="application/octet-stream")
    assert (answer.status, answer.code) == (400, "E_INPUT")
    assert "the address has wavelength more than once" in answer.json["error"]["message"]


# --------------------------------------------------------------------------------------------------------------- jobs
def test_the_files_of_jobs_count_until_they_are_answered(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    data, gate = ZINCITE.read_bytes(), threading.Event()
    monkeypatch.setattr(handlers, "_JOBS", ApiJobs())
    monkeypatch.setattr(operations, "answer", lambda *_: gate.wait(60) and {})
    assert program.post("read", file=data, wavelength="CuKa", prefer="respond-async").status == 202
    wait_until(lambda: handlers.Bytes.held == 0)
    monkeypatch.setattr(handlers, "MOST_BYTES", 2 * len(data))
    assert program.post("read", file=data, wavelength="CuKa", prefer="respond-async").status == 503
    gate.set()
    wait_until(lambda: handlers._JOBS.held == 0)
    assert program.post("read", file=data, wavelength="CuKa", prefer="respond-async").status == 202


def test_jobs_take_turns_and_one_that_waits_is_cancelled(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    data, gate, most, running = ZINCITE.read_bytes(), threading.Event(), [0], [0]

    def wait(*_: object) -> dict[str, object]:
        running[0] += 1
        most[0] = max(most[0], running[0])
        gate.wait(60)
        running[0] -= 1
        return {}

    monkeypatch.setattr(operations, "answer", wait)
    paths = [
        program.post("read", file=data, wavelength="CuKa", prefer="respond-async").headers["Location"] for _ in range(6)
    ]
    wait_until(lambda: running[0] == operations.AT_ONCE)
    last = paths[-1].removeprefix("/api/v1")
    assert program.ask(last, method="DELETE").json["state"] == "cancelled"
    gate.set()
    wait_until(lambda: program.ask(paths[-2].removeprefix("/api/v1")).json["state"] == "finished")
    assert most[0] == operations.AT_ONCE


def test_a_request_becomes_a_job_when_the_program_prefers_that(program: Program) -> None:
    started = program.post("predict", file=ZINCITE.read_bytes(), name="z.prn", prefer="respond-async", **PREDICT)
    assert started.status == 202
    assert (started.json["operation"], started.json["file"]) == ("predict", "z.prn")
    path = started.headers["Location"].removeprefix("/api/v1")
    deadline = time.monotonic() + 120
    while (job := program.ask(path).json)["state"] in {"starting", "running"} and time.monotonic() < deadline:
        time.sleep(0.05)
    assert job["state"] == "finished"
    assert job["result"] == program.post("predict", file=ZINCITE.read_bytes(), name="z.prn", **PREDICT).json
    assert program.ask(path, method="DELETE").status == 200
    assert program.ask(path).status == 404


def test_a_job_that_fails_states_the_code(program: Program) -> None:
    started = program.post("predict", file=ZINCITE.read_bytes(), prefer="respond-async", formula="ZnO")
    path = started.headers["Location"].removeprefix("/api/v1")
    deadline = time.monotonic() + 120
    while (job := program.ask(path).json)["state"] in {"starting", "running"} and time.monotonic() < deadline:
        time.sleep(0.05)
    assert (job["state"], job["error"]["code"]) == ("failed", "E_WAVELENGTH")


def test_a_search_is_cancelled(program: Program) -> None:
    settings = {"wavelength": "CuKa", "prefer": "respond-async"}
    path = program.post("identify", file=ZINCITE.read_bytes(), **settings).headers["Location"]
    cancelled = program.ask(path.removeprefix("/api/v1"), method="DELETE").json
    assert cancelled["state"] == "cancelled"
    assert program.ask(path.removeprefix("/api/v1")).json["state"] == "cancelled"


# ------------------------------------------------------------------------------------------------------------- OpenAPI
def test_the_description_names_every_operation_and_setting_and_needs_nothing_from_elsewhere(program: Program) -> None:
    document = program.ask("/openapi.json").json
    assert set(document["paths"]) == {f"/api/v1/{name}" for name in OPERATIONS} | {"/api/v1/jobs/{id}"}
    page = program.ask("").text
    for name in OPERATIONS:
        content = document["paths"][f"/api/v1/{name}"]["post"]["requestBody"]["content"]
        settings = content["multipart/form-data"]["schema"]["properties"]
        assert all(f"<code>{setting}</code>" in page for setting in settings if setting != "file")
    assert "http://" not in page.replace("http://127.0.0.1:5006", "")
    assert "https://" not in page
    assert "<script" not in page
    references = {part.split('"')[0] for part in json.dumps(document).split('"#/components/schemas/')[1:]}
    assert references <= set(document["components"]["schemas"])


# -------------------------------------------------------------------------------------------- programs that disconnect
def send_part(port: int, head: str, body: bytes) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), timeout=60)
    client.sendall(f"POST /api/v1/{head}\r\nHost: 127.0.0.1:{port}\r\n".encode() + body)
    return client


def test_memory_is_released_when_a_program_disconnects_in_the_middle(program: Program) -> None:
    client = send_part(program.port, "read HTTP/1.1", b"Content-Length: 1000000\r\n\r\nsome")
    wait_until(lambda: handlers.Bytes.held == 1_000_000)
    client.close()
    wait_until(lambda: handlers.Bytes.held == 0)


def test_a_search_ends_when_nobody_waits_for_it(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = ApiJobs()
    monkeypatch.setattr(handlers, "_JOBS", jobs)
    data = ZINCITE.read_bytes()
    head = f"Content-Type: application/octet-stream\r\nContent-Length: {len(data)}\r\n\r\n".encode()
    client = send_part(program.port, "identify?wavelength=CuKa&name=zincite.prn HTTP/1.1", head + data)
    wait_until(lambda: bool(jobs._jobs))
    (job,) = jobs._jobs.values()
    client.close()
    wait_until(lambda: job.task.state == "cancelled")
    wait_until(lambda: not jobs._jobs and handlers.Bytes.held == 0)
