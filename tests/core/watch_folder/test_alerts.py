"""Messages to a web address or a command: for what, how often, and what becomes of those that fail."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from xxact_core.errors import InputError
from xxact_core.watch_folder import alerts
from xxact_core.watch_folder.alerts import (
    AlertSettings,
    Courier,
    answer_to_events,
    answer_to_messages,
    post,
    run_command,
)
from xxact_core.watch_folder.ledger import AnsweredFile, Ledger

ANSWER = AnsweredFile(
    file="day/scan.xy", size=1, mtime_ns=2, sha256="ab" * 32, version=1, base="day/scan.xy", status="ok",
    sentence="Single phase: NaCl", verdict="single", phases=(("NaCl", 225),),
)  # fmt: skip


class Receiver:
    """A web address on this machine that answers with one status after the other, the last of them for ever."""

    def __init__(self) -> None:
        received: list[dict[str, Any]] = []
        statuses = [204]

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                received.append({"path": self.path, **json.loads(body)})
                self.send_response(statuses.pop(0) if len(statuses) > 1 else statuses[0])
                self.send_header("Location", "/elsewhere")
                self.end_headers()

            def log_message(self, *_arguments: object) -> None:
                pass

        self.received, self.statuses = received, statuses
        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}/hook?key=secret"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    yield found
    found.server.shutdown()
    found.server.server_close()


def events(answer: AnsweredFile, settings: AlertSettings, *, known: set[tuple[str, int]] | None = None) -> list[str]:
    return [event for event, _ in answer_to_events(answer, settings, phases=known or set())]


def test_new_phases_and_no_match_are_news_by_default() -> None:
    settings = AlertSettings()
    assert events(ANSWER, settings) == ["new phase"]
    assert events(ANSWER, settings, known={("NaCl", 225)}) == []
    assert events(ANSWER, settings, known={("NaCl", 221)}) == ["new phase"], "another polymorph is another phase"
    assert events(ANSWER, replace(settings, expected=("NaCl",))) == []
    unknown = replace(ANSWER, verdict="no match", phases=())
    assert events(unknown, settings) == ["no match"]
    assert events(unknown, replace(settings, events=("error", "answer"))) == ["answer"]
    failed = replace(ANSWER, status="error", verdict="", phases=())
    assert events(failed, settings) == []
    assert events(failed, replace(settings, events=("error",))) == ["error"]


def test_nothing_is_sent_by_default() -> None:
    assert answer_to_messages(ANSWER, AlertSettings(), phases=set(), json_file="") == []
    both = AlertSettings(webhook="http://127.0.0.1/", command="true")
    found = answer_to_messages(ANSWER, both, phases=set(), json_file="/out/day/scan.xy.json")
    assert [one["way"] for one in found] == ["webhook", "command"]
    assert len({one["id"] for one in found}) == 2
    assert found[0]["new_phases"] == ["NaCl"]
    assert found[0]["answer"] == "/out/day/scan.xy.json"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"webhook": "file:///etc/passwd"}, "expected an address such as http"),
        ({"webhook": "127.0.0.1:9000"}, "expected an address such as http"),
        ({"webhook": "http://[::1/hook"}, "expected an address such as http"),
        ({"webhook": "http://host:99999/"}, "expected an address such as http"),
        ({"webhook": "http://emmy:Bragg@host/"}, "without user and password"),
        ({"command": "say 'never ends"}, "--command"),
        ({"command": "  "}, "is empty"),
        ({"events": ("everything",)}, "expected one of no match, new phase, error, answer"),
    ],
)
def test_wrong_settings_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as raised:
        AlertSettings(**values)
    assert raised.value.code == "E_WATCH"


def test_a_webhook_gets_json_and_redirections_are_not_followed(receiver: Receiver) -> None:
    (message,) = answer_to_messages(ANSWER, AlertSettings(webhook=receiver.address), phases=set(), json_file="a")
    assert post(receiver.address, message) == ("", True)
    assert receiver.received == [{"path": "/hook?key=secret", **message}]
    receiver.statuses[:] = [302]
    trouble, final = post(receiver.address, message)
    assert "status 302" in trouble
    assert final
    assert len(receiver.received) == 2, "not sent to /elsewhere"
    receiver.statuses[:] = [503]
    trouble, final = post(receiver.address, message)
    assert "status 503" in trouble
    assert "secret" not in trouble
    assert not final


def test_a_message_is_sent_again_until_it_is_delivered(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alerts, "FIRST_WAIT", 0.05)
    receiver.statuses[:] = [503, 500, 200]
    courier = alerts.open_couriers(AlertSettings(webhook=receiver.address))["webhook"]
    courier.send({"id": "one"})
    courier.close(seconds=20)
    assert courier.outcomes.get_nowait() == ("one", "delivered")
    assert len(receiver.received) == 3
    assert "status 503; tried again in 0 s" in courier.troubles.get_nowait()


def test_a_message_that_always_fails_keeps_none_of_the_others_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alerts, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(alerts, "LONGEST_WAIT", 0.01)
    courier = Courier(lambda message: ("status 500", False) if message["id"] == "poison" else ("", True))
    for name in ("poison", "two", "three"):
        courier.send({"id": name})
    assert courier.outcomes.get(timeout=20) == ("two", "delivered")
    assert courier.outcomes.get(timeout=20) == ("three", "delivered")
    courier.close(seconds=0.1)
    courier._thread.join(20)
    assert not courier._thread.is_alive(), "also while a message waits"


def test_file_names_that_are_no_text_do_not_reach_other_programs() -> None:
    settings = AlertSettings(webhook="http://127.0.0.1/")
    (message,) = answer_to_messages(replace(ANSWER, file="latin\udce9.xy"), settings, phases=set(), json_file="a")
    assert message["file"] == "latin\ufffd.xy"
    assert json.dumps(message, ensure_ascii=False).encode()


def test_an_address_that_refuses_for_good_is_given_up() -> None:
    courier = Courier(lambda _message: ("the webhook answers with status 404", True))
    courier.send({"id": "one"})
    courier.close(seconds=20)
    assert courier.outcomes.get_nowait() == ("one", "the webhook answers with status 404")
    assert courier.troubles.get_nowait().endswith("given up")


def test_a_command_reads_the_message_and_variables(tmp_path: Path) -> None:
    target = tmp_path / "seen file.json"
    script = tmp_path / "script.py"
    script.write_text(
        "import json, os, sys\n"
        "json.dump({'message': json.load(sys.stdin), 'event': os.environ['XXACT_EVENT'],\n"
        "           'file': os.environ['XXACT_FILE'], 'new': os.environ['XXACT_NEW_PHASES'],\n"
        "           'leads its session': os.getpid() == os.getsid(0)},\n"
        "          open(sys.argv[1], 'w'))\n",
        encoding="utf-8",
    )
    command = f'"{sys.executable}" "{script}" "{target}"'
    (message,) = answer_to_messages(
        replace(ANSWER, file="$(touch pwned).xy"), AlertSettings(command=command), phases=set(), json_file="a"
    )
    assert run_command(command, message) == ""
    seen = json.loads(target.read_text(encoding="utf-8"))
    assert (seen["event"], seen["file"], seen["new"]) == ("new phase", "$(touch pwned).xy", "NaCl")
    assert seen["message"] == message
    assert seen["leads its session"], "so that Ctrl-C does not reach it"
    assert not Path("pwned").exists()
    assert "ended with 3" in run_command(f'"{sys.executable}" -c "raise SystemExit(3)"', message)
    assert "cannot be run" in run_command(str(tmp_path / "missing"), message)


def test_a_command_that_never_ends_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alerts, "COMMAND_SECONDS", 0.3)
    began = time.monotonic()
    (message,) = answer_to_messages(ANSWER, AlertSettings(command="x"), phases=set(), json_file="a")
    assert "was killed" in run_command(f'"{sys.executable}" -c "import time; time.sleep(60)"', message)
    assert time.monotonic() - began < 30


def test_messages_that_were_not_delivered_wait_in_the_ledger(tmp_path: Path) -> None:
    messages = answer_to_messages(ANSWER, AlertSettings(webhook="http://127.0.0.1/"), phases=set(), json_file="a")
    ledger = Ledger.open(tmp_path)
    ledger.add(ANSWER, messages)
    again = Ledger.open(tmp_path)
    assert list(again.pending.values()) == messages
    assert again.phases == {("NaCl", 225)}
    again.delivered(messages[0]["id"], outcome="delivered")
    assert Ledger.open(tmp_path).pending == {}


def test_a_ledger_survives_lines_that_were_cut_off(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path)
    ledger.add(ANSWER)
    ledger.add(replace(ANSWER, version=2, base="day/scan.xy.v2", phases=(("KCl", 225),)))
    path = tmp_path / ".xxact-watch" / "answered.jsonl"
    with path.open("a", encoding="utf-8") as file:
        file.write('{"answer": {"file": "cut o')
    again = Ledger.open(tmp_path)
    assert again.answered == {ANSWER.file: replace(ANSWER, version=2, base="day/scan.xy.v2", phases=(("KCl", 225),))}
    assert [one.version for one in again.answers.values()] == [1, 2]
    assert again.phases == {("NaCl", 225), ("KCl", 225)}, "also those of earlier versions"
    assert again.free_base("day/scan.xy", 1) == "day/scan.xy-1", "also the first version keeps its name"
    assert again.free_base("DAY/scan.XY", 2) == "DAY/scan.XY.v2.v2", "names that differ in case only are the same"


def test_what_could_not_be_entered_is_entered_with_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    ledger = Ledger.open(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            ledger.add(ANSWER)
    path = tmp_path / ".xxact-watch" / "answered.jsonl"
    path.write_bytes(path.read_bytes()[:30])  # what came to the disk
    second = replace(ANSWER, file="b.xy", base="b.xy")
    ledger.add(second)
    assert Ledger.open(tmp_path).answered == {ANSWER.file: ANSWER, "b.xy": second}
    before = path.stat().st_size
    ledger.add(replace(second, version=2, base="b.xy.v2"))
    assert path.read_bytes()[before:].count(b"\n") == 1, "nothing is written twice"
