"""The review page's requests: the page, its lists, a row, a sound; a review in, an undo."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp

from ..data.reviews import REVIEWS, VERDICTS, Review
from ..data.wording import shown
from ..errors import AudioError, SemiError
from ..evaluation.reviewed_precision import WANTED, precision
from .guard import Guard
from .page import render_page
from .query import Index, Query, progress
from .rows import HELD_OUT, ReviewTable
from .shown import detail, line, word
from .sound import Sounds, asked_part
from .words import Words

PAGE = 100  # rows of a list sent at once, at most
LISTS_KEPT = 32
NAME_LETTERS = 60  # of a reviewer


class RequestError(Exception):
    """What is wrong with a request, with the status of the answer."""

    def __init__(self, sentence: str, status: int = 400) -> None:
        super().__init__(sentence)
        self.status = status


def review_app(table: ReviewTable, token: str, reviewer: str = "") -> ASGIApp:
    """Returns the application that serves a run's review page.

    Args:
        table: the run's rows; reviews go to reviews.csv in its folder.
        token: what every request must bring.
        reviewer: name that the page begins with; '' = it asks.
    """
    pages = Requests(table, reviewer)
    routes = [
        Route("/", pages.page),
        Route("/api/rows", answering(pages.rows)),
        Route("/api/row", answering(pages.row)),
        Route("/api/reviews", answering(pages.review), methods=["POST"]),
        Route("/api/undo", answering(pages.undo), methods=["POST"]),
        Route("/audio", answering(pages.audio)),
    ]
    return Guard(Router(routes), token)


def answering(endpoint):
    """Returns an endpoint that runs beside the loop and tells errors in a sentence."""

    @functools.wraps(endpoint)
    async def answer(request: Request) -> Response:
        body = await request.body() if request.method == "POST" else b""
        try:
            return await run_in_threadpool(endpoint, request, body)
        except RequestError as error:
            return JSONResponse({"error": str(error)}, error.status)
        except ValueError as error:  # of Query and Review: the field and what it may be
            return JSONResponse({"error": str(error)}, 400)
        except SemiError as error:  # reviews.csv cannot be read or written
            return JSONResponse({"error": str(error)}, 500)

    return answer


class Requests:
    """The answers to the page's requests; the guard has let them through."""

    def __init__(self, table: ReviewTable, reviewer: str) -> None:
        """Opens the run's reviews; RunError where they cannot be read."""
        self.table, self.index = table, Index(table)
        self.words, self.sounds = Words(table.path / REVIEWS), Sounds(table)
        self.reviewer = reviewer
        self.learned = table.learned()
        self._stated = functools.lru_cache(maxsize=1)(self._precision)
        self._select = functools.lru_cache(maxsize=LISTS_KEPT)(self._selected)

    async def page(self, request: Request) -> Response:
        """Returns the page itself."""
        text, policy = render_page(self.table, self.reviewer)
        return HTMLResponse(text, headers={"Content-Security-Policy": policy})

    def rows(self, request: Request, _: bytes) -> Response:
        """Returns a part of a list: total, rows, and the lines of reviews.csv it was made from.

        A list asked for again with the same `lines` keeps its rows, whatever is said meanwhile.
        """
        given = request.query_params
        query, who = Query.parse(given), given.get("reviewer", "")[:NAME_LETTERS]
        now = self.words.refresh()
        lines = min(now, _number(given.get("lines", ""), now, "lines"))
        first = _number(given.get("first", ""), 0, "first")
        length = min(PAGE, _number(given.get("length", ""), PAGE, "length"))
        numbers = self._select(query, who, lines)
        own, drawn = self.words.own(who), self.words.picked("random")
        ids = self.index.columns["id"]

        def to_do(n: int) -> bool:
            return self.index.to_do(ids[n], query, own, drawn)

        rows = [line(self.table, n, own) | {"todo": to_do(n)}
                for n in numbers[first : first + length]]  # fmt: skip
        return JSONResponse(
            {
                "total": len(numbers),
                "first": first,
                "lines": lines,
                "rows": rows,
                "todo": next((k for k, n in enumerate(numbers) if to_do(n)), 0) if not first else 0,
                "progress": self._progress(who),
            }
        )

    def row(self, request: Request, _: bytes) -> Response:
        """Returns all about a row; others' words only beside one's own, or when asked for."""
        given = request.query_params
        number, who = self._numbered(given.get("id", "")), given.get("reviewer", "")
        self.words.refresh()
        own = self.words.own(who).get(given["id"])
        answer = detail(self.table, number, own)
        others = self.words.of_others(given["id"], who)
        visible = own is not None or given.get("others") == "yes"
        answer["others"] = [word(w) for w in others] if visible else []
        answer["others_hidden"] = 0 if visible else len(others)
        return JSONResponse(answer)

    def audio(self, request: Request, _: bytes) -> Response:
        """Returns the sound of a row, or the range of its bytes that is asked for."""
        number = self._numbered(request.query_params.get("id", ""))
        try:
            data = self.sounds.wav(number)
        except AudioError as error:
            raise RequestError(f"this sound cannot be played: {error}", 404) from None
        headers = {"Accept-Ranges": "bytes"}
        try:
            part = asked_part(request.headers.get("range", ""), len(data))
        except ValueError:
            headers["Content-Range"] = f"bytes */{len(data)}"
            return Response(status_code=416, headers=headers)
        if part is None:
            return Response(data, headers=headers, media_type="audio/wav")
        first, last = part
        headers["Content-Range"] = f"bytes {first}-{last - 1}/{len(data)}"
        return Response(data[first:last], 206, headers=headers, media_type="audio/wav")

    def review(self, request: Request, body: bytes) -> Response:
        """Writes a review and answers when it is on disk."""
        given = _json_object(request, body)
        name, who = _text(given, "id"), _reviewer(given)
        number, query = self._numbered(name), Query.parse(_query_of(given))
        row = {name: column[number] for name, column in self.table.columns.items()}
        if row["role"] in HELD_OUT and query.part != "held-out":
            raise RequestError("this row is held out; judge it in the part 'held-out' only", 409)
        verdict = _text(given, "verdict")
        if verdict not in VERDICTS[:-1]:
            raise RequestError(f"verdict must be one of {', '.join(VERDICTS[:-1])}")
        gold = row["role"] == "labeled"  # what the machine says of it counts nowhere
        review = Review(
            id=name, verdict=verdict, label=self._label(given) if verdict == "label" else "",
            reviewer=who, run=self.table.name,
            machine_label="" if gold else row["said"] or "",
            machine_confidence="" if gold or row["confidence"] != row["confidence"]
            else f"{row['confidence']:.6f}",
            pick=self.index.pick(name, query),
        )  # fmt: skip
        return self._written(review)

    def undo(self, request: Request, body: bytes) -> Response:
        """Takes back the reviewer's newest word, or the newest one on the row that is named."""
        who = _reviewer(given := _json_object(request, body))
        self.words.refresh()
        last = self.words.own(who).get(_text(given, "id")) if "id" in given else None
        last = last or (None if "id" in given else self.words.latest(who))
        if last is None:
            raise RequestError("There is nothing to undo", 409)
        return self._written(Review(id=last.id, verdict="undo", reviewer=who, run=self.table.name))

    def _written(self, review: Review) -> Response:
        review = self.words.add(review)
        own = self.words.own(review.reviewer)
        return JSONResponse(
            {
                "saved": {"id": review.id, "verdict": review.verdict, "label": review.label,
                          "time": review.time, "pick": review.pick},
                "own": word(own.get(review.id)),
                "progress": self._progress(review.reviewer),
            }
        )  # fmt: skip

    def _progress(self, who: str) -> dict[str, Any]:
        """Returns how many rows are done, and how right the machine is once enough random ones."""
        found = progress(self.index, self.words, who)
        lines = self.words.refresh() if found["random"] >= WANTED else 0
        return found | {"precision": self._stated(lines)}

    def _precision(self, lines: int) -> str:
        """Returns the precision of the pseudo-labels by the first lines of reviews.csv, or ''."""
        if not lines or not self.learned:
            return ""
        log = self.words.log()[:lines]
        found = precision(self.learned, log, several=self.table.several)
        return found.words(len(self.learned)) if found.rows >= WANTED else ""

    def _selected(self, query: Query, who: str, lines: int):
        return self.index.select(query, self.words.own(who, lines), self.words.picked("random"))

    def _numbered(self, name: str) -> int:
        number = self.table.number.get(name)
        if number is None:
            raise RequestError(f"this run has no row {shown(name, 60)}", 404)
        return number

    def _label(self, given: Mapping[str, Any]) -> str:
        """Returns the label of a review; RequestError where the run has no such class."""
        label, classes = _text(given, "label"), self.table.classes
        if not classes:
            raise RequestError("this run measures valence and arousal and has no classes")
        parts = label.split(";") if self.table.several else [label]
        if not set(parts) <= set(classes) or len(set(parts)) < len(parts):
            raise RequestError(f"label must be one of {', '.join(classes)}, got {shown(label, 60)}")
        return ";".join(c for c in classes if c in parts)


def _json_object(request: Request, body: bytes) -> dict[str, Any]:
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise RequestError("send JSON (Content-Type: application/json)", 415)
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        raise RequestError("the body is no JSON") from None
    if not isinstance(given, dict):
        raise RequestError("the body must be a JSON object")
    return given


def _text(given: Mapping[str, Any], name: str) -> str:
    value = given.get(name)
    if not isinstance(value, str) or not value:
        raise RequestError(f"{name} is missing")
    return value


def _query_of(given: Mapping[str, Any]) -> dict[str, str]:
    query = given.get("query", {})
    if not isinstance(query, dict) or not all(isinstance(v, str) for v in query.values()):
        raise RequestError("query must be an object of texts")
    return query


def _reviewer(given: Mapping[str, Any]) -> str:
    name = " ".join(_text(given, "reviewer").split())
    if not name or len(name) > NAME_LETTERS or not name.isprintable():
        raise RequestError(f"reviewer must be a name of at most {NAME_LETTERS} letters")
    return name


def _number(given: str, default: int, name: str) -> int:
    if not given:
        return default
    if not (given.isascii() and given.isdecimal()) or len(given) > 12:
        raise RequestError(f"{name} must be a whole number, 0 or more")
    return int(given)
