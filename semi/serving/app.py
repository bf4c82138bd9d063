"""The service's addresses: predict, predict/batch, health, metrics, and what describes them."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import sys
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, Request  # pyright: ignore[reportMissingImports]
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, PlainTextResponse, Response

from .. import __version__
from .answers import Answers, ErrorAnswer, Health, Reply
from .batching import Batcher, QueueFull, TooSlow
from .called import CalledAs
from .docs_page import docs_page
from .labelling import Answer, RunLabeller, Utterance, labelled
from .metrics import ServiceMetrics
from .uploads import (
    HEADROOM,
    Refused,
    UploadLimits,
    declared_bytes,
    one_utterance,
    several_utterances,
)

OPEN = ("/health", "/health/live", "/health/ready")  # without a token: a probe has none
REFUSALS: dict[int | str, dict[str, Any]] = {
    code: {"model": ErrorAnswer, "description": what}
    for code, what in {
        400: "no whole form, or no JSON", 401: "the token is missing", 408: "the body is too slow",
        413: "too large", 415: "another kind of body", 421: "called by a name that is not its own",
        422: "it cannot be labelled: why",
        429: "the queue is full: come again after Retry-After seconds",
        503: "not labelled in time",
    }.items()
}  # fmt: skip
FORM_PARTS = {
    "file": {"type": "string", "format": "binary", "description": "a sound file"},
    "text": {"type": "string", "description": "what was said"},
}


@dataclass(frozen=True)
class ServiceLimits:
    """How much a service takes at a time."""

    uploads: UploadLimits = field(default_factory=UploadLimits)
    places: int = 64  # utterances that may wait, and requests that may be open
    together: int = 16  # utterances labelled at once, at most
    pause: float = 0.004  # seconds waited for more of them
    seconds: float = 30.0  # until an utterance must be labelled
    held: int = 8  # largest requests whose bytes may be in memory together


def serving_app(
    labeller: RunLabeller, limits: ServiceLimits | None = None, token: str = "",
    called: CalledAs | None = None,
) -> FastAPI:  # fmt: skip
    """Returns the application that labels by a run.

    Args:
        labeller: a run's model, warm.
        limits: how much is taken at a time.
        token: what every request but those for health must bring; '' = nothing.
        called: the names that they may call it by; None = any.
    """
    service = Service(labeller, limits or ServiceLimits())
    app = FastAPI(
        title=f"semi serve {labeller.name}", version=__version__, docs_url=None, redoc_url=None,
        description="Labels sounds and texts by a finished run of semi.", lifespan=service.lifespan,
    )  # fmt: skip
    app.middleware("http")(service.around(token, called))
    app.post("/predict", response_model=Reply, responses=REFUSALS, summary="Label one utterance",
             openapi_extra=_form(FORM_PARTS))(service.predict)  # fmt: skip
    several = {name: {"type": "array", "items": part} for name, part in FORM_PARTS.items()}
    batch = _form(several, _rows(labeller.sendable))
    app.post("/predict/batch", response_model=Answers, responses=REFUSALS,
             summary="Label several utterances",
             openapi_extra=batch)(service.predict_batch)  # fmt: skip
    for path, endpoint in (("/health", service.ready), ("/health/ready", service.ready),
                           ("/health/live", service.live)):  # fmt: skip
        app.get(path, response_model=Health)(endpoint)
    app.get("/metrics", response_class=PlainTextResponse)(service.metrics_text)
    app.get("/docs", include_in_schema=False)(docs_page(app, secured=bool(token)))
    app.state.service = service
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(HTTPException, _http)
    return app


class Service:
    """The answers to requests; one batcher and one thread that computes."""

    def __init__(self, labeller: RunLabeller, limits: ServiceLimits) -> None:
        """Takes a warm labeller."""
        self.labeller, self.limits = labeller, limits
        self.batcher: Batcher[Utterance, Answer] = Batcher(
            labeller.label, places=limits.places, rows=limits.together, pause=limits.pause
        )
        self.metrics = ServiceMetrics(lambda: self.batcher.waiting)
        self.batcher.on_batch = self.metrics.on_batch
        self.open = self.open_bytes = 0  # requests that are being read or answered
        self.worker: asyncio.Task[None] | None = None

    @contextlib.asynccontextmanager
    async def lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        """Runs the batcher as long as the application."""
        self.worker = asyncio.create_task(self.batcher.run())
        try:
            yield
        finally:
            self.worker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self.worker
            self.batcher.close()

    def around(
        self, token: str, called: CalledAs | None = None
    ) -> Callable[..., Awaitable[Response]]:
        """Returns the middleware: who may ask, counts, and a sentence where something broke."""

        async def middleware(request: Request, call_next: Callable[..., Any]) -> Response:
            begun, path = time.perf_counter(), request.url.path
            response = None if path in OPEN else _turned_away(request, token, called)
            if response is None:
                try:
                    response = await call_next(request)
                except Exception:  # a fault of ours: told in full to the log, not to the client
                    traceback.print_exc(file=sys.stderr)
                    response = JSONResponse({"error": "the service failed; its log says why"}, 500)
            response.headers["X-Content-Type-Options"] = "nosniff"
            known = path if path in _PATHS else "other"
            self.metrics.on_request(known, response.status_code, time.perf_counter() - begun)
            return response

        return middleware

    async def predict(self, request: Request) -> Response:
        """Labels one utterance: a form with the part `file` (a sound), `text`, or both."""
        async with self._place(request):
            row = await one_utterance(request, self.limits.uploads)
            (answer,) = await self._label([row])
        if not labelled(answer):
            return JSONResponse({"error": _why(answer)}, 422)
        return JSONResponse(answer)

    async def predict_batch(self, request: Request) -> Response:
        """Labels several: a form with parts `file` and `text`, or JSON with `rows`.

        Each row has its answer, or an error. Status 422 where none has an answer.
        """
        async with self._place(request):
            rows = await several_utterances(request, self.limits.uploads, self.labeller.sendable)
            answers = await self._label(rows)
        found = [a if labelled(a) else {"error": _why(a)} for a in answers]
        status = 200 if any(map(labelled, answers)) else 422
        words = {} if status == 200 else {"error": "no utterance could be labelled"}
        return JSONResponse({**words, "answers": found}, status)

    async def live(self) -> Response:
        """Says that the process answers."""
        return JSONResponse({"live": True, "ready": self._works()})

    async def ready(self) -> Response:
        """Says whether requests are labelled; status 503 where they are not."""
        works = self._works()
        return JSONResponse({"live": True, "ready": works}, 200 if works else 503)

    async def metrics_text(self) -> Response:
        """Returns the counters as Prometheus reads them."""
        return Response(self.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    def _works(self) -> bool:
        return self.worker is not None and not self.worker.done()

    @contextlib.asynccontextmanager
    async def _place(self, request: Request) -> AsyncIterator[None]:
        """Holds one of the places; where there is none, nothing of the body is read."""
        uploads = self.limits.uploads
        size = declared_bytes(request, uploads)
        if not self._works():
            raise Refused(503, "the service is not ready", retry_after=5)
        full = self.open_bytes + size > self.limits.held * (uploads.bytes + HEADROOM)
        if self.open >= self.limits.places or full:
            raise _full(1)
        try:
            self.batcher.room()
        except QueueFull as full:
            raise _full(full.retry_after) from None
        self.open += 1
        self.open_bytes += size
        try:
            yield
        finally:
            self.open -= 1
            self.open_bytes -= size

    async def _label(self, rows: list[Utterance]) -> list[Answer]:
        try:
            answers = await self.batcher.label(rows, seconds=self.limits.seconds)
        except QueueFull as full:
            raise _full(full.retry_after) from None
        except TooSlow:
            raise Refused(
                503, f"not labelled within {self.limits.seconds:g} s; come again", retry_after=5
            ) from None
        lost = sum(not labelled(answer) for answer in answers)
        self.metrics.utterances.inc(len(answers) - lost)
        self.metrics.unlabelled.inc(lost)
        return answers


_PATHS = {"/predict", "/predict/batch", "/metrics", "/docs", "/openapi.json", *OPEN}


def _full(seconds: int) -> Refused:
    return Refused(429, f"the queue is full; come again in {seconds} s", retry_after=seconds)


def _why(answer: Answer) -> str:
    return answer["reason"] or "nothing to go by"


def _turned_away(request: Request, token: str, called: CalledAs | None) -> Response | None:
    """Returns the answer to who may not ask, before anything of the body is read."""
    if called is not None and (problem := called.problem(request.headers.getlist("host"))):
        return JSONResponse({"error": problem}, 421, {"Connection": "close"})
    if token and not _brings(request, token):
        return JSONResponse({"error": "send the token: Authorization: Bearer TOKEN"}, 401,
                            {"WWW-Authenticate": "Bearer"})  # fmt: skip
    return None


def _brings(request: Request, token: str) -> bool:
    kind, _, given = request.headers.get("authorization", "").partition(" ")
    return kind.lower() == "bearer" and secrets.compare_digest(_bytes(given), token.encode())


def _bytes(header: str) -> bytes:
    """Returns what was sent: Starlette reads headers as Latin-1, whatever letters they hold."""
    return header.encode("latin-1", "replace")


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    # what is left of the body is not read: the connection ends with this answer
    headers = {"Connection": "close"}
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    return JSONResponse({"error": str(error)}, error.status, headers)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    words = {404: "no such address; /docs lists them", 405: "another method; /docs lists them"}
    sentence = words.get(error.status_code, "the request cannot be read")
    return JSONResponse({"error": sentence}, error.status_code, dict(error.headers or {}))


def _form(parts: Mapping[str, Any], rows: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Returns what OpenAPI says of a body: a form of such parts, or JSON of such rows."""
    kinds: dict[str, Any] = {
        "multipart/form-data": {"schema": {"type": "object", "properties": dict(parts)}}
    }
    if rows:
        kinds["application/json"] = {"schema": rows}
    return {"requestBody": {"required": True, "content": kinds}}


def _rows(sendable: Mapping[str, int]) -> dict[str, Any]:
    vectors = {
        m: {"type": "array", "items": {"type": "number"}, "minItems": width, "maxItems": width}
        for m, width in sendable.items()
    }
    row = {"text": {"type": "string"}, "vectors": {"type": "object", "properties": vectors}}
    listed = {"type": "array", "items": {"type": "object", "properties": row}}
    return {"type": "object", "properties": {"rows": listed}, "required": ["rows"]}
