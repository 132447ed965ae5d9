"""Answers that somebody wants to know of → a message to a web address, or to a command.

Messages wait in the ledger until they are delivered, so that none is lost by a restart. A message may arrive twice
where the watcher is killed just after it was delivered; its `id` tells.
"""

from __future__ import annotations

import http.client
import json
import os
import queue
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

from xxact_core.errors import InputError, shorten
from xxact_core.watch_folder.ledger import AnsweredFile, printable

Event = Literal["no match", "new phase", "error", "answer"]
EVENTS: tuple[Event, ...] = get_args(Event)
"""What a message may be about: no reference phase explains a pattern, a phase was not found in any file before, a file
cannot be analysed, or any answer."""

Way = Literal["webhook", "command"]
WAYS: tuple[Way, ...] = get_args(Way)
"""How messages are delivered."""

DEFAULT_EVENTS: tuple[Event, ...] = ("no match", "new phase")
"""What messages are sent for where nothing else is chosen."""

TIMEOUT, COMMAND_SECONDS = 10.0, 60.0
"""Time that a web address and a command may take for a message [s]. Ours."""

FIRST_WAIT, LONGEST_WAIT = 5.0, 600.0
"""Time until a message that could not be delivered is sent again, which doubles up to the longest [s]. Ours."""

_AGAIN = frozenset({408, 425, 429})
"""Answers of a server in the range of refusals after which a message is sent again. Source: RFC 9110, 8470 and 6585."""


@dataclass(frozen=True)
class AlertSettings:
    """Where messages go, and what they are about.

    Raises:
        InputError: the address is not one of http or https, or the command or an event is none (E_WATCH).
    """

    webhook: str | None = None
    """Web address that messages are posted to as JSON."""
    command: str | None = None
    """Command that is run for every message: JSON on standard input, and variables that begin with `XXACT_`."""
    events: tuple[str, ...] = DEFAULT_EVENTS
    """What messages are sent for, of `EVENTS`."""
    expected: tuple[str, ...] = ()
    """Formulas of phases that are no news."""

    def __post_init__(self) -> None:
        """Check the address, the command and the events."""
        if wrong := [event for event in self.events if event not in EVENTS]:
            msg = f"--on {shorten(wrong[0], limit=40)!r}: expected one of {', '.join(EVENTS)}"
            raise InputError(msg, code="E_WATCH")
        if self.webhook is not None and not _is_address(self.webhook):
            msg = f"--webhook {shorten(self.webhook, limit=60)!r}: expected an address such as http://127.0.0.1:9000/, "
            msg += "without user and password"
            raise InputError(msg, code="E_WATCH")
        if self.command is not None:
            try:
                words = split_command(self.command)
            except ValueError as error:
                msg = f"--command {shorten(self.command, limit=60)!r}: {error}"
                raise InputError(msg, code="E_WATCH") from error
            if not words:
                msg = "--command is empty; expected a program with its arguments"
                raise InputError(msg, code="E_WATCH")

    @property
    def used(self) -> bool:
        """Whether messages go anywhere."""
        return self.webhook is not None or self.command is not None


def _is_address(text: str) -> bool:
    """Whether a text is an address of http or https; names and passwords in it would not be sent."""
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        return False
    return url.scheme in {"http", "https"} and bool(url.hostname) and url.username is None and port != 0


def split_command(command: str) -> list[str]:
    """The words of a command; no shell interprets them.

    Raises:
        ValueError: a quotation has no end.
    """
    words = shlex.split(command, posix=sys.platform != "win32")
    return [word.strip('"') for word in words] if sys.platform == "win32" else words


def answer_to_events(
    answer: AnsweredFile, settings: AlertSettings, *, phases: set[tuple[str, int]]
) -> list[tuple[Event, list[str]]]:
    """What an answer is news of, each with the formulas of new phases.

    Args:
        answer: of a file.
        settings: with the events.
        phases: that were found before.
    """
    new = [
        formula
        for formula, group in answer.phases
        if (formula, group) not in phases and formula not in settings.expected
    ]
    found: list[tuple[Event, list[str]]] = []
    if answer.status == "error":
        found.append(("error", []))
    if answer.verdict == "no match":
        found.append(("no match", []))
    if new:
        found.append(("new phase", new))
    found.append(("answer", []))
    return [one for one in found if one[0] in settings.events]


def answer_to_messages(
    answer: AnsweredFile, settings: AlertSettings, *, phases: set[tuple[str, int]], json_file: str
) -> list[dict[str, Any]]:
    """The messages of an answer as plain values: one for each event and each way of delivery."""
    ways: list[Way] = [way for way in WAYS if getattr(settings, way) is not None]
    return [
        _to_message(answer, event, new, way=way, json_file=json_file)
        for event, new in answer_to_events(answer, settings, phases=phases)
        for way in ways
    ]


def _to_message(
    answer: AnsweredFile, event: Event, new_phases: Sequence[str], *, way: Way, json_file: str
) -> dict[str, Any]:
    return {
        "id": f"{answer.sha256[:16]}-{answer.version}-{event.replace(' ', '-')}-{way}-{printable(answer.file)}",
        "way": way,
        "event": event,
        "file": printable(answer.file),
        "version": answer.version,
        "status": answer.status,
        "verdict": answer.verdict,
        "sentence": answer.sentence,
        "code": answer.code,
        "phases": [{"formula": formula, "space_group": group or None} for formula, group in answer.phases],
        "new_phases": list(new_phases),
        "answer": json_file,
        "answered_at": answer.answered_at,
    }


class Courier:
    """Delivers messages in one way, in a thread of its own, so that a slow address delays no answer."""

    def __init__(self, deliver: Callable[[Mapping[str, Any]], tuple[str, bool]]) -> None:
        """Deliver by `deliver`: why that failed, empty where it did not, and whether it would always fail."""
        self._deliver = deliver
        self.outcomes: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
        """Ids of messages that are done with, each with what became of it: `delivered`, or why it was given up."""
        self.troubles: queue.SimpleQueue[str] = queue.SimpleQueue()
        """Notes for the user on messages that could not be delivered."""
        self._waiting: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._deliver_all, daemon=True)
        self._thread.start()

    def send(self, message: Mapping[str, Any]) -> None:
        """Deliver a message as soon as those before it are."""
        self._waiting.put(dict(message))

    def close(self, *, seconds: float) -> None:
        """Stop; messages that are still waiting get some time."""
        self._waiting.put(None)
        self._thread.join(seconds)
        self._stopped.set()

    def _deliver_all(self) -> None:
        wait, closing = FIRST_WAIT, False
        while not self._stopped.is_set() and not (closing and self._waiting.empty()):
            message = self._waiting.get()
            if message is None:
                closing = True
                continue
            trouble, final = self._deliver(message)
            if trouble and not final:
                self._waiting.put(message)  # behind the others, so that one that always fails keeps none of them back
                self.troubles.put(f"{trouble}; tried again in {wait:.0f} s")
                self._stopped.wait(wait)
                wait = min(2 * wait, LONGEST_WAIT)
                continue
            wait = FIRST_WAIT
            if trouble:
                self.troubles.put(f"{trouble}; given up")
            self.outcomes.put((str(message["id"]), trouble or "delivered"))


def open_couriers(settings: AlertSettings) -> dict[str, Courier]:
    """A courier for each way of delivery that is used."""
    couriers: dict[str, Courier] = {}
    if settings.webhook is not None:
        address = settings.webhook
        couriers["webhook"] = Courier(lambda message: post(address, message))
    if settings.command is not None:
        command = settings.command
        couriers["command"] = Courier(lambda message: (run_command(command, message), True))
    return couriers


def post(address: str, message: Mapping[str, Any]) -> tuple[str, bool]:
    """Post a message as JSON; why that failed, empty where it did not, and whether it would always fail.

    Redirections are not followed, and no proxy is used.
    """
    url = urlsplit(address)
    assert url.hostname is not None, "checked before"
    where = f"the webhook at {url.hostname}"  # the rest of the address may hold a secret
    maker = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    body = json.dumps(message).encode()
    headers = {"Content-Type": "application/json", "User-Agent": "xxact-watch"}
    try:
        connection = maker(url.hostname, url.port, timeout=TIMEOUT)
        try:
            path = (url.path or "/") + (f"?{url.query}" if url.query else "")
            connection.request("POST", path, body=body, headers=headers)
            status = connection.getresponse().status
        finally:
            connection.close()
    except (OSError, http.client.HTTPException, ValueError) as error:
        return f"{where} cannot be reached ({shorten(error, limit=80)})", False
    if 200 <= status < 300:  # noqa: PLR2004 - success, by RFC 9110
        return "", True
    refused = 300 <= status < 500 and status not in _AGAIN  # noqa: PLR2004 - likewise
    return f"{where} answers with status {status}", refused


def run_command(command: str, message: Mapping[str, Any]) -> str:
    """Run a command for a message; why that failed, empty where it did not."""
    words = split_command(command)
    texts = {
        f"XXACT_{name.upper()}": str(message[name])
        for name in ("event", "file", "verdict", "sentence", "answer", "status")
    }
    texts["XXACT_NEW_PHASES"] = ",".join(message["new_phases"])
    environment = {**os.environ, **{name: text.replace("\0", "") for name, text in texts.items()}}
    began = time.monotonic()
    try:
        done = subprocess.run(  # noqa: S603 - the user names the command, and no shell interprets it
            words,
            input=json.dumps(message).encode(),
            env=environment,
            timeout=COMMAND_SECONDS,
            check=False,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C ends the watcher, not a message on its way
        )
    except subprocess.TimeoutExpired:
        return f"the command {shorten(words[0], limit=60)} was killed after {time.monotonic() - began:.0f} s"
    except (OSError, ValueError) as error:
        return f"the command {shorten(words[0], limit=60)} cannot be run ({shorten(error, limit=80)})"
    return "" if done.returncode == 0 else f"the command {shorten(words[0], limit=60)} ended with {done.returncode}"
