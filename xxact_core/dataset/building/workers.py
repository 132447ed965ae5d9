"""Shards made in processes of their own: watched, stopped when they hang, tried again when they die.

A process a shard costs two seconds of start-up and buys that no structure, full disk or broken library can take
anything else with it: not the other shards, not the process that asked.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from xxact_core.dataset.building.shard import ShardTask
from xxact_core.errors import DatasetError, shorten
from xxact_core.processes import Watchdog, end_child, last_line, module_command, start_child

MOST_DEATHS = 3
"""Processes that may die at one structure before it is given up."""

COMMAND = module_command("xxact_core.dataset.building.shard")
"""What makes one shard."""

GRACE = 30.0
"""Seconds beyond a structure's time-out, for starting up, for writing, and for code that signals do not interrupt."""

LARGEST_ANSWER = 200_000
"""Bytes of a line that are read."""


CONNECT_TIMEOUT = 10
"""Seconds to wait for a scheduler."""


@dataclass(frozen=True)
class Workers:
    """Where shards are made, and how many can be at a time; a cluster may grow and shrink meanwhile."""

    executor: Executor
    count: Callable[[], int]


def make_shard(text: str) -> dict[str, Any]:
    """Make the shard of a task (as JSON) in a process of its own; structures that hang or kill it become error rows.

    Raises:
        DatasetError: the shard cannot be written or its source cannot be read, with the reason; or processes die
            before they begin.
    """
    task = ShardTask.from_json(text)
    deaths: Counter[int] = Counter()
    while True:
        item, answer, reason = _run_once(task)
        if "shard" in answer:
            shard: dict[str, Any] = answer["shard"]
            return shard
        if "failed" in answer:
            msg = f"{task.folder}: the shard at item {task.block.start} cannot be made: {answer['failed']}"
            raise DatasetError(msg, code="E_DATASET")
        if reason == "hangs":
            task = _without(task, item, f"took longer than {task.timeout:g} s and did not stop by itself")
            continue
        deaths[item] += 1
        if deaths[item] < MOST_DEATHS:
            continue
        if 0 <= item < task.block.rows:
            task = _without(task, item, f"the process that worked on it died {MOST_DEATHS} times ({shorten(reason)})")
        else:
            msg = f"the process that makes the shard at item {task.block.start} dies outside any structure: {reason}"
            raise DatasetError(msg, code="E_DATASET")


def _without(task: ShardTask, item: int, reason: str) -> ShardTask:
    if not 0 <= item < task.block.rows:
        msg = f"the process that makes the shard at item {task.block.start} hangs outside any structure"
        raise DatasetError(msg, code="E_DATASET")
    return replace(task, skipped={**task.skipped, item: reason})


def _run_once(task: ShardTask) -> tuple[int, dict[str, Any], str]:
    """One process: the item it was at (-1: none yet), what it answered, and otherwise how it ended."""
    item, answer = -1, {}
    with tempfile.TemporaryFile() as errors:
        # In this session, so that Ctrl-C at a terminal reaches it, too.
        child = start_child(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, own_session=False)
        assert child.stdin is not None
        assert child.stdout is not None
        watchdog = Watchdog(child, seconds=task.timeout + GRACE)
        with watchdog:
            try:
                child.stdin.write(task.to_json().encode() + b"\n")
                child.stdin.flush()
                while "item" in (answer := _parse(child.stdout.readline(LARGEST_ANSWER))):
                    item = answer["item"]
                    watchdog.renew()
            except BrokenPipeError:
                pass  # it died before it read its task; how is told below
            finally:
                end_child(child)
        if answer:
            return item, answer, ""
        if watchdog.expired:
            return item, {}, "hangs"
        said = last_line(errors)
    return item, {}, f"exit code {child.returncode}" + (f", {said}" if said else "")


def _parse(line: bytes) -> dict[str, Any]:
    """The message of a line; empty at the end of the output, and where the process died while it wrote the line."""
    message: dict[str, Any] = json.loads(line) if line.endswith(b"\n") else {}
    return message


@contextmanager
def open_workers(*, workers: int, scheduler: str | None) -> Iterator[Workers]:
    """Processes on this machine, or the workers of a Dask cluster, which see source and dataset under the same paths.

    Raises:
        DatasetError: nobody answers at the scheduler's address.
    """
    if scheduler is None:
        pool = ThreadPoolExecutor(max_workers=workers)
        try:
            yield Workers(pool, lambda: workers)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        return
    from distributed import Client, Security  # noqa: PLC0415 - slow to import, and only clusters need it

    if scheduler.startswith("tls:") and Security().get_connection_args("client")["ssl_context"] is None:
        msg = f"{scheduler} needs certificates: set distributed.comm.tls (ca-file, client.cert, client.key) in "
        msg += "Dask's configuration"
        raise DatasetError(msg, code="E_SCHEDULER")
    try:
        client = Client(scheduler, timeout=CONNECT_TIMEOUT, set_as_default=False)
    except (OSError, TypeError, ValueError) as error:  # refused, or tls without certificates
        msg = f"no Dask scheduler can be reached at {scheduler}: {shorten(error)}"
        raise DatasetError(msg, code="E_SCHEDULER") from error
    with client:
        if not client.nthreads():
            msg = f"the Dask scheduler at {scheduler} has no workers; start some with `dask worker {scheduler}`"
            raise DatasetError(msg, code="E_SCHEDULER")
        yield Workers(client.get_executor(pure=False), lambda: max(1, sum(client.nthreads().values())))


def check_scheduler(address: str) -> None:
    """Take a scheduler over TLS, or on this machine: whoever reaches an open one can run code on its workers.

    Raises:
        DatasetError: the address is neither.
    """
    url = urlsplit(address)
    local = url.scheme == "tcp" and url.hostname in {"127.0.0.1", "localhost", "::1"}
    if not (url.port and (url.scheme == "tls" or local)):
        msg = f"the scheduler {shorten(address)!r} is not taken; expected tls://HOST:PORT, or tcp://127.0.0.1:PORT"
        raise DatasetError(msg, code="E_SCHEDULER")
