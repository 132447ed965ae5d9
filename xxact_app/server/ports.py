"""What both servers do before they listen: check the port, and configure the log."""

from __future__ import annotations

import errno
import logging
import os
import socket

from bokeh.settings import settings

from xxact_core.errors import InputError

_LOG_FORMAT = "%(asctime)s %(message)s"  # of `panel serve`


def check_port(address: str, port: int) -> None:
    """Bind the port and release it, so that a port in use is reported before the server is built.

    Raises:
        InputError: the port is in use (E_APP).
    """
    try:
        for family, _, _, _, end in socket.getaddrinfo(address, port, type=socket.SOCK_STREAM):
            socket.create_server(end[:2], family=family).close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            msg = f"port {port} of {address} is in use: select another one with --port"
            raise InputError(msg, code="E_APP") from error


def configure_logging() -> None:
    """Log as `panel serve` does."""
    logging.basicConfig(format=_LOG_FORMAT)
    level = settings.py_log_level()
    logging.getLogger("bokeh").setLevel(logging.INFO if level is None else level)
    os.environ.setdefault("DASK_DISTRIBUTED__LOGGING__BOKEH", "info")  # otherwise importing distributed silences it
