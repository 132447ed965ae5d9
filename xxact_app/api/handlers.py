"""The HTTP handlers: a question is posted with its file and answered with JSON, at once or as a job."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Any, TypeVar

from tornado.web import HTTPError, RequestHandler, stream_request_body

from xxact_app.api.bodies import Body, parse_body
from xxact_app.api.jobs import ApiJob, ApiJobs, BusyError, MissingJobError, error_of
from xxact_app.api.openapi import openapi_document, openapi_page
from xxact_app.api.operations import AT_ONCE, OPERATIONS, Operation, answer, answer_step, is_search
from xxact_app.jobs.tasks import BackgroundTask
from xxact_core.errors import InputError
from xxact_core.requests.json_text import to_json

logger = logging.getLogger(__name__)

ROOT = "/api/v1"
"""Path below which all addresses of the interface are."""

LARGEST_BODY = 90 * 2**20
"""Largest body of a request [bytes]: a file of 64 MB in Base64, and its settings."""

TOO_LARGE = f"The request body is larger than {LARGEST_BODY // 2**20} MB."

BODY_SECONDS = 120.0
"""Time in which a body has to arrive [s]."""

MOST_BYTES = 512 * 2**20
"""Total size of the bodies that are received or wait for their answers [bytes]: as much as a session of the app."""

_POLL = 0.05
"""Interval [s] at which a request looks whether its search has ended."""

_STATUS = {"E_TOO_LARGE": 413, "E_INSTALLATION": 500}
"""HTTP status of errors by code; 400 for all others that bad input causes."""

Value = TypeVar("Value")

_POOL = ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="xxact-api")
_JOBS = ApiJobs()


class ApiHandler(RequestHandler):
    """What all handlers share: JSON, and errors with a code and a message."""

    def check_xsrf_cookie(self) -> None:
        """Accept requests without a cookie: the guard has refused those that other sites send."""

    def send(self, values: object, *, status: int = 200) -> None:
        """Answer with JSON, and finish."""
        self.set_status(status)
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.set_header("Cache-Control", "no-store")
        self.finish(to_json(values) + "\n")

    def refuse(self, error: InputError) -> None:
        """Answer with an error."""
        status = _STATUS.get(error.code, 400)
        if isinstance(error, MissingJobError):
            status = 404
        elif isinstance(error, BusyError):
            status = 503
            self.set_header("Retry-After", "5")
        self.send({"error": {"code": error.code, "message": str(error)}}, status=status)

    def write_error(self, status_code: int, **_details: Any) -> None:  # noqa: ANN401 - as Tornado declares it
        """Answer to an error that is not one of bad input, without its details; the log has them."""
        unexpected = status_code == HTTPStatus.INTERNAL_SERVER_ERROR
        reason = "an error in XxaCT; see the log of the server" if unexpected else self._reason
        self.send({"error": {"code": "E_APP", "message": reason}}, status=status_code)


class Bytes:
    """How many bytes of bodies are in memory, those of jobs aside, which count theirs."""

    held = 0


@stream_request_body
class OperationHandler(ApiHandler):
    """Answers a question about the file in the body."""

    operation: Operation

    def initialize(self) -> None:
        """Begin without a body."""
        self._body = bytearray()
        self._counted = 0
        self._job: ApiJob | None = None
        self._closed = False

    def prepare(self) -> None:
        """Refuse what does not exist, and bodies beyond the memory for them, before the body is read."""
        name = self.path_kwargs["operation"]
        if name not in OPERATIONS:
            raise HTTPError(404, reason=f"There is no such operation; there are {', '.join(OPERATIONS)}.")
        if self.request.method != "POST":
            self.set_header("Allow", "POST")
            raise HTTPError(405, reason="Operations are called by POST.")
        self.operation = OPERATIONS[name]
        length = self.request.headers.get("Content-Length")
        expected = LARGEST_BODY if length is None else int(length)
        if Bytes.held + _JOBS.held + expected > MOST_BYTES:
            msg = "too much data is being received: try again later"
            self.refuse(BusyError(msg, code="E_JOB"))
            return
        Bytes.held += expected
        self._counted = expected

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        """Keep a part of the body, unless one that does not state its size is larger than it may be."""
        if len(self._body) + len(chunk) > LARGEST_BODY and not self._finished:
            self._body = bytearray()
            self.refuse(InputError(TOO_LARGE, code="E_TOO_LARGE"))
        elif not self._finished:
            self._body += chunk
        return None

    def on_finish(self) -> None:
        """Release the memory."""
        Bytes.held -= self._counted
        self._counted = 0
        self._body = bytearray()

    def on_connection_close(self) -> None:
        """Stop a search whose answer nobody is waiting for."""
        self._closed = True
        if self._job is not None:
            _JOBS.remove(self._job)
        self.on_finish()

    async def post(self, operation: str) -> None:
        """Answer at once, or start a job where the client prefers that (`Prefer: respond-async`)."""
        assert operation == self.operation.name, "checked before the body was read"
        if self._finished:
            return
        body = Body(self.request.headers.get("Content-Type", ""), bytes(self._body), self.request.arguments)
        self._body = bytearray()
        in_background = "respond-async" in self.request.headers.get("Prefer", "").lower()
        try:
            source, request = await in_thread(lambda: parse_body(body, self.operation))
            if not in_background and not is_search(request):
                found = await in_thread(lambda: answer(source, request))
                if not self._closed:
                    self.send(found)
                return
            step = answer_step(self.operation, source, request)
            size = len(body.content) if in_background else 0  # of other requests this handler counts the bytes
            job = _JOBS.start(step, operation=operation, file=source.name, size=size)
        except InputError as error:
            self.refuse(error)
            return
        if in_background:
            self.set_header("Location", f"{self.request.path.removesuffix(operation)}jobs/{job.identity}")
            self.set_header("Preference-Applied", "respond-async")
            self.send(job.to_dict(), status=202)
            return
        self._job = job
        await ended(job.task)
        if self._closed:
            return
        _JOBS.remove(job)
        if job.task.state == "finished":
            self.send(job.task.result)
        else:
            self.send({"error": error_of(job.task)}, status=_STATUS.get(job.task.code, 400) if job.task.code else 500)


class JobHandler(ApiHandler):
    """State of a job, and a way to cancel it."""

    def get(self, identity: str) -> None:
        """The state of a job, with its answer where it has ended."""
        try:
            self.send(_JOBS.get(identity).to_dict())
        except InputError as error:
            self.refuse(error)

    async def delete(self, identity: str) -> None:
        """Cancel a job, or forget one that has ended; the answer is its last state."""
        try:
            job = _JOBS.get(identity)
        except InputError as error:
            self.refuse(error)
            return
        if job.task.active:
            job.task.cancel()
            await ended(job.task)
        else:
            _JOBS.remove(job)
        self.send(job.to_dict())


class DocumentHandler(ApiHandler):
    """The description of the interface as OpenAPI."""

    def get(self) -> None:
        """The document."""
        self.send(openapi_document())


class PageHandler(ApiHandler):
    """The description of the interface as a page."""

    def get(self) -> None:
        """The page, which needs nothing else from anywhere; its link is relative to the address without a slash."""
        if self.request.path.endswith("/"):
            self.redirect(self.request.path.rstrip("/"))
            return
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.finish(openapi_page())


ROUTES: tuple[tuple[str, type[ApiHandler]], ...] = (
    (rf"{ROOT}/?", PageHandler),
    (rf"{ROOT}/openapi\.json", DocumentHandler),
    (rf"{ROOT}/jobs/(?P<identity>[\w-]+)", JobHandler),
    (rf"{ROOT}/(?P<operation>.+)", OperationHandler),
)
"""Paths, without the prefix of the server, and their handlers."""

OPEN = (PageHandler, DocumentHandler)
"""Handlers that need no token: they describe the interface, and hold nothing of the server."""


def largest_body(handler: type[ApiHandler]) -> int:
    """Size at which a connection is closed while a body arrives [bytes].

    An operation answers before that to a body that does not state its size and is larger than `LARGEST_BODY`. All other
    requests have no bodies.
    """
    return 2 * LARGEST_BODY if handler is OperationHandler else 2**16


def find_route(path: str) -> tuple[type[ApiHandler], dict[str, bytes]] | None:
    """Handler and arguments of a path; None where there is none."""
    for pattern, handler in ROUTES:
        if match := re.fullmatch(pattern, path):
            return handler, {name: value.encode() for name, value in match.groupdict().items()}
    return None


async def in_thread(work: Callable[[], Value]) -> Value:
    """Do something in a thread, a few at a time, while the server answers others."""
    return await asyncio.get_running_loop().run_in_executor(_POOL, work)


async def ended(task: BackgroundTask) -> None:
    """Wait until a task has ended."""
    while task.active:  # noqa: ASYNC110 - the task is a thread
        await asyncio.sleep(_POLL)
