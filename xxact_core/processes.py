"""Child processes of this package: how they are started, watched, recognised and ended, wherever one is needed.

Files of others are parsed in them (`sandbox`), shards of a dataset are built in them (`dataset.building.workers`), and
the app runs commands in them, some of which outlive it (`xxact_app.jobs`).
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING

from xxact_core.shipped import packages_folder

if TYPE_CHECKING:
    import psutil

LOW_PRIORITY = 10
"""Niceness of background processes on a machine that also serves pages."""

_SAME_START = 2.0
"""Seconds by which two readings of the start of one process may differ: systems report it in whole seconds."""

_TAIL = 4000
"""Bytes at the end of an output among which its last line is looked for."""

_POLL = 0.05
"""Seconds between two looks at a process that is to end."""


# ------------------------------------------------------------------------------------------------------------ starting
def module_command(module: str, *arguments: str) -> tuple[str, ...]:
    """The command that runs a module of this package; the current folder is not searched for modules."""
    return (sys.executable, "-P", "-m", module, *arguments)


def start_child(
    command: Sequence[str],
    *,
    stdin: int = subprocess.DEVNULL,
    stdout: int | IO[bytes] | None = None,
    stderr: int | IO[bytes] | None = None,
    folder: os.PathLike[str] | None = None,
    threads: int | None = None,
    low_priority: bool = False,
    memory: int | None = None,
    environment: Mapping[str, str] | None = None,
    own_session: bool = True,
) -> subprocess.Popen[bytes]:
    """Start a process that finds this package where this process has it.

    Args:
        command: as of `module_command`.
        stdin: as of `subprocess.Popen`, like the two that follow.
        stdout: as of `subprocess.Popen`.
        stderr: as of `subprocess.Popen`.
        folder: working directory; this process's own where none is given.
        threads: on which the numerical libraries compute; as many as they choose where none is given.
        low_priority: give way to other processes.
        memory: that it may allocate [bytes], on Linux; as much as there is where none is given.
        environment: further variables.
        own_session: neither Ctrl-C nor a closed terminal reaches it.
    """
    path = os.pathsep.join([str(packages_folder()), *filter(None, [os.environ.get("PYTHONPATH")])])
    limits = {} if threads is None else dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
    child = subprocess.Popen(  # noqa: S603 - our own modules; their arguments were checked before
        command, stdin=stdin, stdout=stdout, stderr=stderr, cwd=folder, start_new_session=own_session,
        env={**os.environ, **(environment or {}), **limits, "PYTHONPATH": path},
    )  # fmt: skip
    if low_priority and hasattr(os, "setpriority"):
        with suppress(ProcessLookupError):  # it has ended already
            os.setpriority(os.PRIO_PROCESS, child.pid, max(LOW_PRIORITY, os.getpriority(os.PRIO_PROCESS, 0)))
        if own_session:  # Linux may share out the CPU by session first: a nice value counts within a session only
            with suppress(OSError):  # no such system
                Path(f"/proc/{child.pid}/autogroup").write_text(str(LOW_PRIORITY), encoding="ascii")
    if memory is not None and sys.platform == "linux":
        import resource  # noqa: PLC0415 - not on every system

        with suppress(ProcessLookupError, PermissionError):  # it has ended already
            resource.prlimit(child.pid, resource.RLIMIT_DATA, (memory, memory))
    return child


# --------------------------------------------------------------------------------------------------------- recognising
@dataclass(frozen=True)
class ProcessIdentity:
    """What tells a process from any other, also from a later one with its number."""

    pid: int
    """Its number."""

    started: float
    """Seconds from the start of the machine to that of the process, which no change of the clock moves."""

    @classmethod
    def of(cls, pid: int) -> ProcessIdentity:
        """The identity of a process that is there.

        Raises:
            psutil.Error: it is not.
        """
        import psutil  # noqa: PLC0415 - not needed by most importers of this module

        return cls(pid, psutil.Process(pid).create_time() - psutil.boot_time())

    def find(self) -> psutil.Process | None:
        """The process; None where it has ended, even if another one has its number by now."""
        import psutil  # noqa: PLC0415 - as above

        try:
            process = psutil.Process(self.pid)
            ended = process.status() == psutil.STATUS_ZOMBIE
            other = abs(ProcessIdentity.of(self.pid).started - self.started) > _SAME_START
        except psutil.Error:
            return None
        return None if ended or other else process


# -------------------------------------------------------------------------------------------------------------- ending
def end_process(identity: ProcessIdentity, *, grace: float = 0.0) -> None:
    """Ask a process to end (SIGTERM), and kill it and all that it started where it is there after `grace` seconds.

    What it started is killed also where it ends in time by itself. Another process that has its number by now is left
    alone.
    """
    import psutil  # noqa: PLC0415 - as above

    process = identity.find()
    if process is None:
        return
    family: set[psutil.Process] = set()
    with suppress(psutil.NoSuchProcess):
        family.update(process.children(recursive=True))
        if grace > 0:
            process.terminate()
    deadline = time.monotonic() + grace
    while identity.find() is not None and time.monotonic() < deadline:
        time.sleep(_POLL)
    with suppress(psutil.NoSuchProcess):
        family.update(process.children(recursive=True))
    for member in (process, *family):
        with suppress(psutil.NoSuchProcess):  # psutil compares their starts, too
            member.kill()


def end_child(child: subprocess.Popen[bytes], *, grace: float = 0.0) -> None:
    """End a process that this one has started, as `end_process` does, and close the streams that led to it."""
    import psutil  # noqa: PLC0415 - as above

    with suppress(psutil.NoSuchProcess):
        if child.poll() is None:  # its number is its own until it has been waited for
            end_process(ProcessIdentity.of(child.pid), grace=grace)
    child.wait()
    for stream in (child.stdin, child.stdout, child.stderr):
        if stream is not None:
            with suppress(BrokenPipeError):  # what it has not read
                stream.close()


def last_line(output: IO[bytes]) -> str:
    """The last line that processes have written to a file, empty where there is none; at most 4000 bytes are read."""
    output.seek(max(0, output.seek(0, os.SEEK_END) - _TAIL))
    lines = output.read().decode("utf-8", errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else ""


class Watchdog:
    """Kills a child that is silent for too long; used as a context, in which `renew` is called when it is heard of.

    Args:
        child: the process; its end is seen at the end of its output.
        seconds: that it may be silent.
    """

    def __init__(self, child: subprocess.Popen[bytes], *, seconds: float) -> None:
        self.expired = False
        self._child, self._seconds = child, seconds
        self._changed = threading.Condition()
        self._deadline: float | None = time.monotonic() + seconds
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def renew(self) -> None:
        """Count anew from now on."""
        with self._changed:
            self._deadline = time.monotonic() + self._seconds

    def __enter__(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Watch no longer."""
        with self._changed:
            self._deadline = None
            self._changed.notify()
        self._thread.join()

    def _watch(self) -> None:
        with self._changed:
            while self._deadline is not None:
                left = self._deadline - time.monotonic()
                if left <= 0:
                    self.expired = True
                    self._child.kill()
                    return
                self._changed.wait(left)
