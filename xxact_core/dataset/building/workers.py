"""Builds shards in separate processes, which are stopped if they hang and restarted if they crash.

One process per shard costs two seconds of start-up; in return a structure, a full disk or a faulty library that crashes
the process affects neither other shards nor the calling process.
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

MAX_CRASHES = 3
"""Crashes at one structure, after which it is skipped."""

COMMAND = module_command("xxact_core.dataset.building.shard")
"""Command that builds one shard."""

GRACE = 30.0
"""Time [s] added to the limit per structure for start-up, writing, and code that signals do not interrupt."""

MAX_LINE_BYTES = 200_000
"""Longest line of output that is read [bytes]."""

CONNECT_TIMEOUT = 10
"""Time limit for connecting to a scheduler [s]."""


@dataclass(frozen=True)
class Workers:
    """Executor of the processes that build shards."""

    executor: Executor
    """Runs `build_in_process`."""
    count: Callable[[], int]
    """Current number of workers; a cluster may grow and shrink."""


def build_in_process(text: str) -> dict[str, Any]:
    """Build the shard of a task (JSON) in a separate process; structures that hang or crash it become error rows.

    Raises:
        DatasetError: the shard cannot be written or its source cannot be read; or the process crashes or hangs outside
            of any structure.
    """
    task = ShardTask.from_json(text)
    crashes: Counter[int] = Counter()
    while True:
        item, answer, reason = _run_once(task)
        if "shard" in answer:
            shard: dict[str, Any] = answer["shard"]
            return shard
        if "failed" in answer:
            msg = f"{task.folder}: the shard at item {task.block.start} cannot be built: {answer['failed']}"
            raise DatasetError(msg, code="E_DATASET")
        if reason == "hangs":
            task = _without(task, item, f"took longer than {task.timeout:g} s and had to be killed")
            continue
        crashes[item] += 1
        if crashes[item] < MAX_CRASHES:
            continue
        if 0 <= item < task.block.rows:
            task = _without(task, item, f"its process crashed {MAX_CRASHES} times ({shorten(reason)})")
        else:
            msg = f"the process of the shard at item {task.block.start} crashes outside of any structure: {reason}"
            raise DatasetError(msg, code="E_DATASET")


def _without(task: ShardTask, item: int, reason: str) -> ShardTask:
    if not 0 <= item < task.block.rows:
        msg = f"the process of the shard at item {task.block.start} hangs outside of any structure"
        raise DatasetError(msg, code="E_DATASET")
    return replace(task, skipped={**task.skipped, item: reason})


def _run_once(task: ShardTask) -> tuple[int, dict[str, Any], str]:
    """Run one process; returns its last item (-1 for none), its answer, or the reason why there is none."""
    item, answer = -1, {}
    with tempfile.TemporaryFile() as errors:
        # In this session, so that Ctrl-C in a terminal stops it, too.
        child = start_child(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, own_session=False)
        assert child.stdin is not None
        assert child.stdout is not None
        watchdog = Watchdog(child, seconds=task.timeout + GRACE)
        with watchdog:
            try:
                child.stdin.write(task.to_json().encode() + b"\n")
                child.stdin.flush()
                while "item" in (answer := _parse(child.stdout.readline(MAX_LINE_BYTES))):
                    item = answer["item"]
                    watchdog.renew()
            except BrokenPipeError:
                pass  # it crashed before it read its task; the reason follows
            finally:
                end_child(child)
        if answer:
            return item, answer, ""
        if watchdog.expired:
            return item, {}, "hangs"
        complaint = last_line(errors)
    return item, {}, f"exit code {child.returncode}" + (f", {complaint}" if complaint else "")


def _parse(line: bytes) -> dict[str, Any]:
    """Message of a line; empty at the end of the output, or if the process crashed while writing the line."""
    message: dict[str, Any] = json.loads(line) if line.endswith(b"\n") else {}
    return message


@contextmanager
def open_workers(*, workers: int, scheduler: str | None) -> Iterator[Workers]:
    """Open processes on this machine, or a Dask cluster that shares the paths of source and dataset.

    Raises:
        DatasetError: the scheduler does not answer.
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
    """Accept a scheduler over TLS or on this machine only, because an open one runs code of anyone on its workers.

    Raises:
        DatasetError: the address is of another kind.
    """
    url = urlsplit(address)
    local = url.scheme == "tcp" and url.hostname in {"127.0.0.1", "localhost", "::1"}
    if not (url.port and (url.scheme == "tls" or local)):
        msg = f"the scheduler {shorten(address)!r} is not accepted; expected tls://HOST:PORT, or tcp://127.0.0.1:PORT"
        raise DatasetError(msg, code="E_SCHEDULER")
