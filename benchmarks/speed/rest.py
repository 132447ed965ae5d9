"""How long does a program wait for a prediction over HTTP, and does the server answer many at once?

    python benchmarks/speed/rest.py            # writes docs/results/rest.md
    python benchmarks/speed/rest.py --quick    # a few requests, writes nothing

`xxact serve` runs on one core with one thread. Requests take turns with predictions by the same model in this process,
from the gridded pattern: the model's own time. Both are also compared in CPU time, which other programs on the machine
do not change: that of the server and of the process in which it parses files.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the repository

import http.client
import os
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import psutil
import torch

from benchmarks.harness import EXAMPLES, REPOSITORY, Figure, argument_parser, figures_to_table, finish, seconds_of
from xxact_core.dataset.store import file_digest

EXAMPLE = EXAMPLES / "corundum.prn"
CLIENTS = 20
BOUNDARY = "a-boundary"
PATIENCE = 240.0
"""Time that a busy machine may take to start the server [s]."""

FIGURES = {
    "request_seconds": Figure("a prediction over HTTP, with upload and parsing of the file", "{:.1f} ms", factor=1000),
    "model_seconds": Figure("the model's own time", "{:.1f} ms", factor=1000),
    "overhead_ms": Figure("difference of the two [ms]", "{:.1f}", at_most=60),
    "overhead_cpu_ms": Figure("difference in CPU time [ms]", "{:.1f}", at_most=60),
    "clients_errors": Figure(f"errors with {CLIENTS} clients at once", at_most=0),
    "clients_per_second": Figure(f"predictions per second with {CLIENTS} clients at once", "{:.1f}"),
    "clients_p95_seconds": Figure(f"95th percentile of their waiting times with {CLIENTS} clients", "{:.2f} s"),
}


def form() -> bytes:
    """The body of a request."""
    head = b'--%b\r\nContent-Disposition: form-data; name="%b"%b\r\n\r\n%b\r\n'
    mark = BOUNDARY.encode()
    settings = {b"formula": b"Al2O3", b"wavelength": b"CuKa"}
    parts = [head % (mark, b"file", b'; filename="corundum.prn"', EXAMPLE.read_bytes())]
    parts += [head % (mark, name, b"", value) for name, value in settings.items()]
    return b"".join(parts) + b"--" + mark + b"--\r\n"


def ask(port: int, body: bytes) -> int:
    """Status of one request, on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        connection.request("POST", "/api/v1/predict", body=body, headers=headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


@contextmanager
def server() -> Iterator[tuple[int, psutil.Process]]:
    """`xxact serve` on a free port and, where the system allows it, one core."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    line = [sys.executable, "-m", "xxact_core.commands.main", "serve", "--port", str(port)]
    with tempfile.TemporaryDirectory() as workspace:
        surroundings = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY), "XXACT_WORKSPACE": workspace}
        child = subprocess.Popen(
            line, env={**os.environ, **surroundings}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        process = psutil.Process(child.pid)
        try:
            with suppress(AttributeError):  # no such setting on this system
                process.cpu_affinity([0])
            deadline = time.monotonic() + PATIENCE
            while time.monotonic() < deadline:
                with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                    break
                time.sleep(0.2)
            yield port, process
        finally:
            child.terminate()
            child.wait()


def cpu_of(process: psutil.Process) -> float:
    """CPU time of a process and its children [s]."""
    family = [process, *process.children(recursive=True)]
    return sum(sum(member.cpu_times()[:2]) for member in family)


def measure(*, requests: int, rounds: int) -> dict[str, float]:
    """All figures."""
    from xxact_core.prediction.predictor import Predictor
    from xxact_core.processing.gridding import put_on_grid
    from xxact_core.readers.read import read_pattern

    torch.set_num_threads(1)
    predictor, gridded = Predictor.load(), put_on_grid(read_pattern(EXAMPLE, wavelength="CuKa"))
    body = form()
    with server() as (port, process):
        for _ in range(3):  # loads the model, and whatever the libraries prepare at first use
            if ask(port, body) != http.client.OK:
                msg = "the server does not answer"
                raise RuntimeError(msg)
            predictor.predict(gridded, "Al2O3")
        time.sleep(5)  # the reference phases, which the server opens in the meantime, are not part of a prediction
        before, asked, own = cpu_of(process), [], []
        for _ in range(requests):
            asked.append(seconds_of(lambda: ask(port, body)))
            began = time.process_time()
            own.append((seconds_of(lambda: predictor.predict(gridded, "Al2O3")), time.process_time() - began))
        server_cpu = (cpu_of(process) - before) / requests
        times: list[float] = []
        statuses: list[int] = []

        def client(_: int) -> None:
            for _ in range(rounds):
                began = time.perf_counter()
                try:
                    statuses.append(ask(port, body))
                except OSError:
                    statuses.append(0)
                times.append(time.perf_counter() - began)

        with ThreadPoolExecutor(CLIENTS) as pool:
            together = seconds_of(lambda: list(pool.map(client, range(CLIENTS))))
    request, model = statistics.median(asked), statistics.median(wall for wall, _ in own)
    return {
        "request_seconds": request,
        "model_seconds": model,
        "overhead_ms": 1000 * (request - model),
        "overhead_cpu_ms": 1000 * (server_cpu - statistics.mean(cpu for _, cpu in own)),
        "clients_errors": sum(status != http.client.OK for status in statuses),
        "clients_per_second": len(statuses) / together,
        "clients_p95_seconds": sorted(times)[int(0.95 * len(times))],
    }


def main() -> None:
    """Measure, print, and write the page unless --quick is given."""
    arguments = argument_parser(__doc__).parse_args()
    figures = measure(requests=10 if arguments.quick else 100, rounds=1 if arguments.quick else 5)
    finish(
        __file__,
        figures_to_table(figures, FIGURES),
        figures,
        quick=arguments.quick,
        title="Predictions over HTTP",
        introduction="`xxact serve` on one core, the example corundum (145 kB) sent as a form, medians.",
        data_digest=file_digest(EXAMPLE),
    )


if __name__ == "__main__":
    main()
