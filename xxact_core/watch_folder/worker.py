"""The process that answers files: `python -m xxact_core.watch_folder.worker`.

Reference tables and model are loaded once. The first request has `settings` (of `AnalysisSettings`) and `formats`.
Every other one names a `file`, its `path`, `size` and `mtime_ns`, its `version`, the `known_sha256` of the version
before, the folder `parts` to write to, and a `number` as the name of what is written there. Its answer has a `state`:
`gone`, `changed` (while it was read), `same` (content as before), `unwritten` (with an `error`), or `answered`, with
the `facts` of `AnsweredFile`, the `kinds` of files written, and the `seconds` that it took.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import time
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from xxact_core.errors import InputError, os_error_to_text, shorten
from xxact_core.readers.content import MAX_BYTES
from xxact_core.reports.analysed_pattern import AnalysisSettings, PatternAnalyser
from xxact_core.reports.files import analysed_to_files, write_atomically
from xxact_core.reports.html_report import write_error_html
from xxact_core.sandbox.framing import read_message, write_message
from xxact_core.watch_folder.ledger import KEY, FileState, printable

_BLOCK = 2**20


def answer_file(analyser: PatternAnalyser | None, formats: tuple[str, ...], request: dict[str, Any]) -> dict[str, Any]:
    """Analyse a file and write its answer to the folder of parts.

    Args:
        analyser: with tables and model; None to write `request["error"]` as the answer.
        formats: of the answer; JSON is always among them.
        request: see above.

    Raises:
        OSError: the answer cannot be written.
    """
    path, state = Path(request["path"]), FileState(request["size"], request["mtime_ns"])
    began = time.monotonic()
    content, digest = b"", ""
    error: InputError | None = None
    try:
        content, digest = _read_whole(path, state)
    except _ChangedError:
        return {"state": "changed"}
    except FileNotFoundError:
        return {"state": "gone"}
    except OSError as problem:
        error = InputError(os_error_to_text(problem), code="E_OPEN")
    if digest and digest == request["known_sha256"]:
        return {"state": "same", "sha256": digest}
    when = datetime.now(UTC).astimezone()
    name = printable(path.name)
    facts: dict[str, Any] = {
        "file": request["file"],
        "size": state.size,
        "mtime_ns": state.mtime_ns,
        "sha256": digest,
        "version": request["version"],
        "answered_at": when.isoformat(timespec="seconds"),
        "code": "",
    }
    contents: dict[str, bytes] = {}
    if error is None and analyser is None:
        error = InputError(str(request["error"]), code="E_ANALYSIS")
    if error is None and analyser is not None:
        try:
            analysed = analyser.analyse(content, name=name)
            facts |= {
                "status": "ok",
                "sentence": analysed.sentence,
                "verdict": analysed.found.verdict,
                "phases": [(phase.formula, phase.space_group or 0) for phase in analysed.found.phases],
            }
            more = {"status": "ok", KEY: facts, "seconds": round(time.monotonic() - began, 3)}
            contents = analysed_to_files(analysed, formats, content=content, more=more, when=when, stem=name)
        except InputError as problem:
            error = problem
        except Exception as problem:  # noqa: BLE001 - one bad file must not end a night of watching
            traceback.print_exc(file=sys.stderr)
            text = f"{name}: the analysis failed ({type(problem).__name__}: {shorten(problem)})"
            error = InputError(text, code="E_ANALYSIS")
    if error is not None:
        facts |= {"status": "error", "sentence": str(error), "code": error.code, "verdict": "", "phases": []}
        contents = _error_files(name, facts, formats)
    parts = Path(request["parts"])
    for kind, data in contents.items():
        write_atomically(parts / f"{request['number']}.{kind}", data)
    return {"state": "answered", "facts": facts, "kinds": list(contents), "seconds": time.monotonic() - began}


def _error_files(name: str, facts: dict[str, Any], formats: tuple[str, ...]) -> dict[str, bytes]:
    """The answer of a file that could not be analysed: JSON, and a report where one is wanted."""
    error = facts["sentence"]
    plain = {"file": name, "status": "error", "error": error, "code": facts["code"], KEY: facts}
    contents = {"json": (json.dumps(plain, ensure_ascii=False, indent=1) + "\n").encode("utf-8", "replace")}
    if "html" in formats:
        remark = f"Tried {facts['answered_at']}"
        contents["html"] = write_error_html(name, error, remarks=[remark]).encode("utf-8", "replace")
    return contents


class _ChangedError(Exception):
    """A file is not in the state in which it was seen."""


def _read_whole(path: Path, state: FileState) -> tuple[bytes, str]:
    """Content and SHA-256; of a file over the limit of the readers, just so much that they see that."""
    if FileState.of(path.stat()) != state:
        raise _ChangedError
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
        digest = hashlib.sha256(content)
        while block := file.read(_BLOCK):
            digest.update(block)
    if FileState.of(path.stat()) != state:
        raise _ChangedError
    return content, digest.hexdigest()


def main() -> None:
    """Answer files until the input ends."""
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C in a terminal reaches all processes; the watcher ends this one
    outgoing = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints must not mix with the messages
    incoming = sys.stdin.buffer
    message = read_message(incoming, max_bytes=0)
    if message is None:
        return
    formats = tuple(message[0]["formats"])
    try:
        analyser = PatternAnalyser(AnalysisSettings.from_dict(message[0]["settings"]))
    except (InputError, OSError) as error:
        write_message(outgoing, {"error": str(error), "code": getattr(error, "code", "E_INPUT")})
        return
    write_message(outgoing, {"state": "ready"})
    while (message := read_message(incoming, max_bytes=0)) is not None:
        try:
            write_message(outgoing, answer_file(analyser, formats, message[0]))
        except OSError as error:
            write_message(outgoing, {"state": "unwritten", "error": os_error_to_text(error)})


if __name__ == "__main__":
    main()
