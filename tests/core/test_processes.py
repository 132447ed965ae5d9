"""Child processes are found again by who they are, end with all that they started, and do not hang unseen."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

import xxact_core
from xxact_core.processes import (
    LOW_PRIORITY,
    ProcessIdentity,
    Watchdog,
    end_child,
    end_process,
    last_line,
    module_command,
    start_child,
)

PATIENCE = 60

STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(600)
"""

OBEDIENT = STUBBORN.replace("signal.SIG_IGN", "lambda *_: sys.exit(7)")


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[bytes]]]:
    children: list[subprocess.Popen[bytes]] = []
    yield children
    for child in children:
        end_child(child)


def start(started: list[subprocess.Popen[bytes]], code: str, **options: object) -> subprocess.Popen[bytes]:
    started.append(start_child((sys.executable, "-c", code), stdout=subprocess.PIPE, **options))
    return started[-1]


def gone(pid: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    return True


def until_gone(pid: int) -> None:
    end = time.monotonic() + PATIENCE
    while not gone(pid):
        assert time.monotonic() < end, "it is still there"
        time.sleep(0.02)


def test_a_child_finds_this_package_and_keeps_to_its_limits(
    started: list[subprocess.Popen[bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "")
    code = (
        "import os, xxact_core as x; print(x.__file__, os.environ['OMP_NUM_THREADS'], os.environ['MORE'], os.getcwd())"
    )
    child = start(started, code, folder=tmp_path, threads=1, environment={"MORE": "said"})
    assert child.stdout.read().decode().split() == [xxact_core.__file__, "1", "said", str(tmp_path)]
    assert os.getpgid(0) != child.pid


def test_a_child_of_low_priority_gives_way(started: list[subprocess.Popen[bytes]]) -> None:
    child = start(started, "import time; time.sleep(600)", low_priority=True)
    assert os.getpriority(os.PRIO_PROCESS, child.pid) >= LOW_PRIORITY
    assert os.getsid(child.pid) == child.pid
    group = Path(f"/proc/{child.pid}/autogroup")
    if group.is_file() and Path("/proc/sys/kernel/sched_autogroup_enabled").read_text().strip() == "1":
        assert group.read_text().split()[-1] == str(LOW_PRIORITY)


def test_a_module_is_run_without_the_modules_of_the_current_folder(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('the wrong module')")
    child = start_child(module_command("json.tool", "--help"), stdout=subprocess.DEVNULL, folder=tmp_path)
    assert child.wait(PATIENCE) == 0


@pytest.mark.parametrize(("code", "status"), [(STUBBORN, -signal.SIGKILL), (OBEDIENT, 7)])
def test_a_process_is_asked_then_killed_with_all_that_it_started(
    started: list[subprocess.Popen[bytes]], code: str, status: int
) -> None:
    child = start(started, code)
    grandchild = int(child.stdout.readline())
    end_child(child, grace=0.2 if status < 0 else PATIENCE)
    assert child.returncode == status
    until_gone(grandchild)


def test_an_identity_is_of_one_process_and_not_of_the_next_with_its_number(
    started: list[subprocess.Popen[bytes]],
) -> None:
    child = start(started, "import time; time.sleep(600)")
    identity = ProcessIdentity.of(child.pid)
    other = ProcessIdentity(child.pid, identity.started - 3600)
    assert other.find() is None
    end_process(other)
    assert identity.find() == psutil.Process(child.pid)
    end_process(identity)
    assert child.wait(PATIENCE) == -signal.SIGKILL
    assert identity.find() is None


def test_a_silent_child_is_killed_and_one_that_is_heard_of_is_not(started: list[subprocess.Popen[bytes]]) -> None:
    child = start(started, "import time\nfor n in range(6): print(n, flush=True); time.sleep(0.3)\ntime.sleep(600)")
    watchdog, heard = Watchdog(child, seconds=10), []
    with watchdog:
        for line in child.stdout:
            heard.append(int(line))
            watchdog._seconds = 1.2  # starting Python may take longer
            watchdog.renew()
    assert watchdog.expired
    assert heard == [0, 1, 2, 3, 4, 5]
    quick = start(started, "print('done')")
    watchdog = Watchdog(quick, seconds=PATIENCE)
    with watchdog:
        assert quick.stdout.read() == b"done\n"
    assert not watchdog.expired


def test_the_last_line_of_an_output_is_found_in_any_encoding(tmp_path: Path) -> None:
    path = tmp_path / "log"
    for content, wanted in ((b"", ""), (b"one\n two\n\n", "two"), (b"x" * 9000 + b"\nl\xe4st", "l\ufffdst")):
        path.write_bytes(content)
        with path.open("rb") as file:
            assert last_line(file) == wanted


@pytest.mark.skipif(sys.platform != "linux", reason="other systems cannot limit the memory of another process")
def test_a_child_gets_no_more_memory_than_it_may_have(started: list[subprocess.Popen[bytes]]) -> None:
    code = "import sys; sys.stdin.read(1); bytearray(400_000_000); print('allocated')"
    for memory, printed in ((200_000_000, b""), (2_000_000_000, b"allocated\n")):
        child = start(started, code, memory=memory, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert child.communicate(b"x", timeout=PATIENCE)[0] == printed
